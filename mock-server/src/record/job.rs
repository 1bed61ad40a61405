//! A queued request as its caller saw it: polls tell the whole log, streams what is new, and either may be missing.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cassette::{Answered, End, Job, LogLine, Step, millis};

/// What has been seen of a job.
#[derive(Debug)]
pub(crate) struct Trace {
    since: Instant,
    job: Job,
}

/// A status, whatever else it says.
#[derive(Deserialize)]
struct Status {
    status: String,
    queue_position: Option<u64>,
    #[serde(default)]
    logs: Option<Vec<Box<RawValue>>>,
    metrics: Option<Box<RawValue>>,
    error: Option<String>,
    error_type: Option<String>,
}

impl Trace {
    /// Of a job that was submitted then.
    pub(crate) fn new(since: Instant) -> Self {
        Self { since, job: Job::default() }
    }

    /// Milliseconds since the submit.
    pub(crate) fn at(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.since))
    }

    /// Sees a status at a time since the submit. Returns whether it is worth writing.
    pub(crate) fn status(&mut self, at_ms: u64, body: &str, is_streamed: bool) -> bool {
        let Ok(status) = serde_json::from_str::<Status>(body) else { return false };
        self.see_logs(at_ms, status.logs.unwrap_or_default(), is_streamed);
        if status.status == COMPLETED {
            let is_first = self.job.end.is_none();
            self.job.end.get_or_insert(End {
                after_ms: at_ms,
                metrics: status.metrics,
                error: status.error,
                error_type: status.error_type,
            });
            return is_first;
        }
        let step =
            Step { after_ms: at_ms, status: status.status, queue_position: status.queue_position };
        let last = self.job.steps.last();
        let is_news = last.is_none_or(|last| {
            (&last.status, last.queue_position) != (&step.status, step.queue_position)
        });
        if is_news && self.job.steps.len() < STEPS_MAX {
            self.job.steps.push(step);
        }
        false
    }

    /// Sees an answer of the result's address. Returns whether it was the result.
    pub(crate) fn result(&mut self, answered: Answered) -> bool {
        let is_early = answered.status == 202
            || answered.status == 400 && body_of(&answered).contains("still in progress");
        // What comes from before the service is none of its answers.
        let is_ingress =
            answered.status >= 500 && !answered.headers.contains_key("x-fal-request-id");
        if is_early || (is_ingress && self.job.result.is_some()) {
            return false;
        }
        if self.job.end.is_none() && !is_ingress {
            self.job.end = Some(End {
                after_ms: answered.after_ms,
                metrics: None,
                error: None,
                error_type: None,
            });
        }
        // The last word counts, without news it is the first.
        let is_news = self.job.result.as_ref().is_none_or(|known| {
            (known.status, body_of(known)) != (answered.status, body_of(&answered))
        });
        if is_news {
            self.job.result = Some(answered);
        }
        is_news
    }

    /// Sees the answer to a cancel. The first one counts.
    pub(crate) fn cancel(&mut self, answered: Answered) -> bool {
        let is_first = self.job.cancel.is_none();
        self.job.cancel.get_or_insert(answered);
        is_first
    }

    pub(crate) const fn job(&self) -> &Job {
        &self.job
    }

    fn see_logs(&mut self, at_ms: u64, lines: Vec<Box<RawValue>>, is_streamed: bool) {
        let known = &mut self.job.logs;
        // How often each line is there already: equal lines of one view are different lines.
        let mut left: BTreeMap<String, usize> = BTreeMap::new();
        for line in known.iter() {
            *left.entry(line.line.get().to_owned()).or_default() += 1;
        }
        for line in lines {
            match left.get_mut(line.get()) {
                Some(count) if *count > 0 && (!is_streamed || has_time(&line)) => *count -= 1,
                _ if known.len() < LOGS_MAX => known.push(LogLine { after_ms: at_ms, line }),
                _ => {}
            }
        }
    }
}

/// A line with a time is the same line wherever it is seen again.
fn has_time(line: &RawValue) -> bool {
    line.get().contains("\"timestamp\"")
}

fn body_of(answered: &Answered) -> String {
    let body = answered.body.as_ref();
    body.and_then(|body| Some(body.inline()?.into_owned())).unwrap_or_default()
}

/// The last status of every request.
pub(crate) const COMPLETED: &str = "COMPLETED";

/// Steps of one job.
const STEPS_MAX: usize = 10_000;

/// Log lines of one job.
const LOGS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassette::Encoded;

    fn line(number: u64) -> String {
        format!(r#"{{"message":"m{number}","timestamp":"t{number}"}}"#)
    }

    fn status(state: &str, lines: &[u64]) -> String {
        let logs: Vec<String> = lines.iter().map(|number| line(*number)).collect();
        format!(
            r#"{{"status":"{state}","queue_position":null,"logs":[{}],"metrics":{{}}}}"#,
            logs.join(",")
        )
    }

    #[test]
    fn logs_of_polls_and_streams_are_one_log() {
        let mut trace = Trace::new(Instant::now());
        trace.status(1, r#"{"status":"IN_QUEUE","queue_position":2,"logs":null}"#, false);
        trace.status(2, r#"{"status":"IN_QUEUE","queue_position":2}"#, false);
        trace.status(3, r#"{"status":"IN_QUEUE","queue_position":0}"#, true);
        trace.status(4, &status("IN_PROGRESS", &[1]), true);
        trace.status(5, &status("IN_PROGRESS", &[1, 2]), false);
        trace.status(6, &status("IN_PROGRESS", &[2, 3]), true);
        assert!(trace.status(7, &status("COMPLETED", &[1, 2, 3, 4]), false));
        assert!(!trace.status(8, &status("COMPLETED", &[1, 2, 3, 4]), false));
        let logs: Vec<(u64, &str)> =
            trace.job().logs.iter().map(|log| (log.after_ms, log.line.get())).collect();
        let lines = [1, 2, 3, 4].map(line);
        assert_eq!(logs, [(4, &*lines[0]), (5, &*lines[1]), (6, &*lines[2]), (7, &*lines[3])]);
        let steps: Vec<_> =
            trace.job().steps.iter().map(|step| (step.after_ms, step.queue_position)).collect();
        assert_eq!(steps, [(1, Some(2)), (3, Some(0)), (4, None)]);
        assert_eq!(trace.job().end.as_ref().unwrap().after_ms, 7);
    }

    #[test]
    fn early_and_foreign_answers_are_no_results() {
        let answered = |status: u16, body: &str, id: bool| Answered {
            after_ms: 9,
            status,
            headers: id.then(|| ("x-fal-request-id".into(), "x".into())).into_iter().collect(),
            body: Some(Encoded::text(body, "application/json").content),
            chunks: None,
        };
        let mut trace = Trace::new(Instant::now());
        assert!(!trace.result(answered(400, r#"{"detail":"Request is still in progress"}"#, true)));
        assert!(!trace.result(answered(202, "{}", true)));
        assert!(trace.result(answered(502, "<html>", false)) && trace.job().end.is_none());
        assert!(trace.result(answered(200, r#"{"a":1}"#, true)));
        assert!(!trace.result(answered(502, "<html>", false)));
        assert!(!trace.result(answered(200, r#"{"a":1}"#, true)));
        assert_eq!(trace.job().end.as_ref().unwrap().after_ms, 9);
        assert!(
            trace.cancel(answered(202, "{}", true)) && !trace.cancel(answered(400, "{}", true))
        );
    }
}
