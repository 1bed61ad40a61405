//! Events in words, made safe for a terminal.

use std::io::IsTerminal as _;
use std::time::Instant;

use fal_client::Event;

use crate::job_name;

/// What is told of an event, if anything.
pub(super) fn of(event: &Event) -> Option<String> {
    Some(match event {
        Event::Uploading { .. } => return None,
        Event::InputWarning(finding) => format!("warning: {finding}"),
        Event::Uploaded { name, url } => format!("uploaded {name} to {}", job_name::shown(url)),
        Event::PartUploaded { name, done, parts, .. } => {
            // Of hundreds of parts every tenth of the way is news.
            let tenth = |done: u32| u64::from(done) * 10 / u64::from((*parts).max(1));
            if tenth(*done) == tenth(done.saturating_sub(1)) {
                return None;
            }
            format!("{name}: {done} of {parts} parts")
        }
        Event::PartRetrying { name, number, attempt, rest, cause } => {
            let rest = rest.as_secs_f64();
            format!(
                "{name}: attempt {attempt} of part {number} failed ({cause}); again in {rest:.1} s"
            )
        }
        Event::RouteFailed { name, route, next, cause } => {
            format!("{name}: {route} failed ({cause}); now {next}")
        }
        Event::Submitted(handle) => format!("submitted as {handle}"),
        Event::Queued { .. } | Event::Started => status(event)?,
        Event::Log(line) => match line.level.as_deref() {
            None | Some("INFO" | "STDOUT" | "STDERR") => format!("log: {}", line.message),
            Some(level) => format!("log: {level}: {}", line.message),
        },
        Event::UnknownStatus(text) => format!("the service says {text}"),
        Event::Completed(completed) => match (&completed.failure, completed.inference_time()) {
            (Some(_), _) => "the job has failed".to_owned(),
            (None, Some(seconds)) => format!("completed, {seconds:.2} s of inference"),
            (None, None) => "completed".to_owned(),
        },
        Event::NotReady => "the result is not ready yet".to_owned(),
        Event::Retrying { attempt, rest, cause } => {
            format!("attempt {attempt} failed ({cause}); again in {:.1} s", rest.as_secs_f64())
        }
        _ => return None,
    })
}

/// Whether it is worth a line of its own on a terminal, where the live line tells the rest.
pub(super) const fn stays(event: &Event) -> bool {
    !matches!(
        event,
        Event::Queued { .. } | Event::Started | Event::Completed(_) | Event::PartUploaded { .. }
    )
}

/// What the live line says from an event on.
pub(super) fn status(event: &Event) -> Option<String> {
    Some(match event {
        Event::Uploading { .. } => "uploading".to_owned(),
        Event::Submitted(_) => "submitted".to_owned(),
        Event::Queued { position: Some(position) } => format!("in the queue, position {position}"),
        Event::Queued { position: None } => "in the queue".to_owned(),
        Event::Started => "running".to_owned(),
        Event::Completed(_) => "completed".to_owned(),
        _ => return None,
    })
}

/// A line with the time since the start before it.
pub(super) fn timed(began: &Instant, text: &str) -> String {
    let text = clean(text).replace('\n', "\n          ");
    format!("{:>7.2}s  {text}", began.elapsed().as_secs_f64())
}

/// Without control characters: what a model logs must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    steady(text.trim_end())
}

/// The same with the white space at its end: a part of a text that goes on.
pub(super) fn steady(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

/// A word in colour, where stderr shows colours and `NO_COLOR` does not forbid them.
pub(super) fn label(word: &str, color: &str) -> String {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match std::io::stderr().is_terminal() && !is_set("NO_COLOR") && !is_dumb {
        true => format!("\x1b[1;{color}m{word}\x1b[0m"),
        false => word.to_owned(),
    }
}

pub(super) const RED: &str = "31";
pub(super) const CYAN: &str = "36";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_do_not_steer_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\rc\u{9b}d\ne\n"), "a [2Jb c d\ne");
    }

    #[test]
    fn addresses_are_told_without_their_query() {
        let event = Event::Uploaded { name: "a".into(), url: "https://x/a?sig=secret".into() };
        assert_eq!(of(&event).as_deref(), Some("uploaded a to https://x/a"));
    }
}
