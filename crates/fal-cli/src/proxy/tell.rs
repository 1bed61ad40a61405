//! What is told of each call.

use std::fmt;
use std::time::Instant;

use http::{Method, StatusCode};
use tokio::sync::mpsc;

use crate::show::Line;

/// One call, when it is over. Holds no query, no header and no body.
#[derive(Debug)]
pub(super) struct Record {
    method: Method,
    /// The address that it was for, without its query; of a refused call nothing is repeated.
    target: Option<String>,
    status: StatusCode,
    /// Bytes of the answer that went back.
    bytes: u64,
    elapsed_ms: u64,
    /// Why it was not forwarded, or broke.
    problem: Option<String>,
}

impl Record {
    pub(super) fn line(&self, line: Line) -> Line {
        line.with("method", self.method.as_str())
            .maybe("target", self.target.as_deref())
            .with("status", &self.status.as_u16())
            .with("bytes", &self.bytes)
            .with("ms", &self.elapsed_ms)
            .maybe("problem", self.problem.as_deref())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.target.as_deref().unwrap_or("-");
        write!(f, "{} {} {}", self.status.as_u16(), self.method, target)?;
        write!(f, ", {} bytes in {} ms", self.bytes, self.elapsed_ms)?;
        match &self.problem {
            Some(problem) => write!(f, ": {problem}"),
            None => Ok(()),
        }
    }
}

/// A call under way. Told when it is dropped, which is when its answer has gone out or nobody wants it.
#[derive(Debug)]
pub(super) struct Telling {
    record: Option<Record>,
    began: Instant,
    teller: mpsc::Sender<Record>,
}

impl Telling {
    pub(super) fn new(method: Method, teller: mpsc::Sender<Record>) -> Self {
        let record = Record {
            method,
            target: None,
            // Who leaves before there is an answer gets none: the code that others log then.
            status: StatusCode::from_u16(499).expect("499 is a status"),
            bytes: 0,
            elapsed_ms: 0,
            problem: None,
        };
        Self { record: Some(record), began: Instant::now(), teller }
    }

    pub(super) fn set_target(&mut self, target: String) {
        if let Some(record) = &mut self.record {
            record.target = Some(target);
        }
    }

    pub(super) const fn set_status(&mut self, status: StatusCode) {
        if let Some(record) = &mut self.record {
            record.status = status;
        }
    }

    pub(super) fn set_problem(&mut self, problem: String) {
        if let Some(record) = &mut self.record {
            record.problem = Some(problem);
        }
    }

    pub(super) const fn add_bytes(&mut self, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes += bytes as u64;
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            // A reader that is slower than the calls loses lines, not the calls their speed.
            let _ = self.teller.try_send(record);
        }
    }
}
