//! The binary in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Error;

/// A running mock; ends with it.
pub(crate) struct Mock {
    child: Child,
    pub(crate) port: u16,
}

impl Mock {
    pub(crate) fn start(flags: &[&str]) -> Result<Self, Error> {
        let program = std::env::var("FAL_MOCK_BIN")
            .map_err(|_| "FAL_MOCK_BIN names the binary: use `cargo xtask bench mock`")?;
        let mut child = Command::new(program)
            .args(["--port", "0", "--quiet"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the child has an output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line.trim().rsplit(':').next().unwrap_or_default().parse()?;
        Ok(Self { child, port })
    }

    /// Bytes that are resident now.
    pub(crate) fn resident(&self) -> Result<u64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 =
            line.ok_or("the kernel counts it")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
