//! Ctrl-C and SIGTERM, as things that happen during a call.

use crate::problem::Problem;

/// The requests to stop. While it exists, they do not end the process by themselves.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> Result<Self, Problem> {
        use tokio::signal::unix::{SignalKind, signal};

        use crate::exit::Exit;

        let listen = |kind| {
            signal(kind).map_err(|error| {
                Problem::new(Exit::Other, format!("cannot listen for signals: {error}"))
            })
        };
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Resolves at the next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The requests to stop. While it exists, they do not end the process by themselves.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals {}

#[cfg(not(unix))]
impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> Result<Self, Problem> {
        Ok(Self {})
    }

    /// Resolves at the next one.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // Then Ctrl-C ends the process by itself, which is also a stop.
            std::future::pending().await
        }
    }
}
