//! Starting the binary, and reading what it says.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// The secret half of the key that every call has: it must never be printed.
pub(crate) const SECRET: &str = "s3cr3t-half";

/// The binary with nothing of the caller's environment that it reads.
pub(crate) fn fal_cli(base_url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fal-cli"));
    for name in ["FAL_KEY_ID", "FAL_KEY_SECRET", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    // The login of whoever runs the tests is none of theirs.
    command.env_remove("FAL_FORCE_AUTH_BY_USER").env("FAL_HOME_DIR", "/nowhere/at/all");
    command.env("FAL_KEY", format!("id:{SECRET}")).env("FAL_BASE_URL", base_url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended and all that it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
        let code = output.status.code();
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }.checked()
    }

    /// What holds for every command: no key, no control sequence, no panic.
    #[track_caller]
    fn checked(self) -> Self {
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains(SECRET), "the key is in: {text}");
            assert!(!text.contains('\x1b'), "a control sequence is in: {text:?}");
            assert!(!text.contains("panicked"), "{text}");
        }
        self
    }

    /// The exit code, with everything said if it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The JSON lines of stdout.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect(line);
        self.stdout.lines().map(parse).collect()
    }

    /// The last JSON line, of this event.
    #[track_caller]
    pub(crate) fn last(&self, event: &str) -> Value {
        let last = self.lines().pop().expect("there is a line");
        assert_eq!(last["event"], event, "{last}");
        last
    }

    /// Error lines on stderr.
    pub(crate) fn errors(&self) -> usize {
        self.stderr.lines().filter(|line| line.starts_with("error:")).count()
    }
}

/// A command whose stdout is read line by line while it runs.
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    seen: String,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, stdout, seen: String::new() }
    }

    /// Reads on until this event and returns it.
    #[track_caller]
    pub(crate) fn until(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).expect("stdout can be read");
            assert!(length > 0, "no {event} in: {}", self.seen);
            self.seen.push_str(&line);
            let value: Value = serde_json::from_str(&line).expect("a JSON line");
            if value["event"] == event {
                return value;
            }
        }
    }

    /// Sends a signal by name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill starts").success());
    }

    /// Ends it as nothing can be ended that still has a word to say.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    /// Closes its stdout and waits for its end.
    #[track_caller]
    pub(crate) fn end_unread(mut self) -> Said {
        drop(self.stdout);
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("stderr is piped");
        pipe.read_to_string(&mut stderr).expect("stderr is text");
        let code = self.child.wait().expect("it was started here").code();
        Said { code, stdout: self.seen, stderr }.checked()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Said {
        self.stdout.read_to_string(&mut self.seen).expect("stdout is text");
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("stderr is piped");
        pipe.read_to_string(&mut stderr).expect("stderr is text");
        let code = self.child.wait().expect("it was started here").code();
        Said { code, stdout: self.seen, stderr }.checked()
    }
}

/// Runs a command with this on its stdin.
#[track_caller]
pub(crate) fn with_stdin(command: &mut Command, input: &[u8]) -> Said {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input).expect("stdin is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it was started here");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    let code = output.status.code();
    Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }.checked()
}

/// A folder that goes away with the test.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fal-cli-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("the temporary folder can be written");
        path.to_string_lossy().into_owned()
    }

    /// The names in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder is there");
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed may have left it half made; the system cleans up such folders too.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Decodes a whole PNG: its width and height.
#[track_caller]
pub(crate) fn png_size(path: &Path) -> (u32, u32) {
    let file = BufReader::new(fs::File::open(path).expect("the picture is there"));
    let mut reader = png::Decoder::new(file).read_info().expect("it is a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it has a size")];
    let info = reader.next_frame(&mut pixels).expect("it is whole");
    (info.width, info.height)
}
