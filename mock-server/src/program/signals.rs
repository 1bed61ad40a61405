//! What a program is told through the process that started it.

use std::io;

/// The signals that are passed on. While it exists, they do not end this process.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Signals {
    streams: Vec<(rustix::process::Signal, tokio::signal::unix::Signal)>,
    /// Whether a terminal sends Ctrl-C and Ctrl-\ to the program itself.
    has_terminal: bool,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> io::Result<Self> {
        use io::IsTerminal as _;

        use rustix::process::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        let mut streams = Vec::new();
        for number in
            [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::USR2]
        {
            streams.push((number, signal(SignalKind::from_raw(number.as_raw()))?));
        }
        let has_terminal =
            io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal();
        Ok(Self { streams, has_terminal })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> rustix::process::Signal {
        std::future::poll_fn(|cx| {
            for (number, stream) in &mut self.streams {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Sends one to a program.
    pub(super) fn pass_on(&self, signal: rustix::process::Signal, id: Option<u32>) {
        use rustix::process::{Pid, Signal, kill_process};

        // Both are in the terminal's foreground group. Twice, they would mean "now at once" to many.
        if self.has_terminal && (signal == Signal::INT || signal == Signal::QUIT) {
            return;
        }
        let id = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It may have ended in this moment.
            let _ = kill_process(id, signal);
        }
    }
}

/// Ctrl-C, which the console sends to the program itself. While it exists, it does not end this process.
#[cfg(not(unix))]
#[derive(Debug)]
pub(super) struct Signals {}

#[cfg(not(unix))]
impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }

    /// Nothing is to be done.
    pub(super) fn pass_on(&self, (): (), _id: Option<u32>) {}
}
