//! The live line: spinner, state, elapsed time, and a bar per file on its way.

use std::io::Write;
use std::time::{Duration, Instant};

use fal_client::Event;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::words;

/// What changes in place on stderr.
#[derive(Debug)]
pub(super) struct Live {
    all: MultiProgress,
    /// Drawn from the first status on, so that quick commands do not flicker.
    line: Option<ProgressBar>,
    uploads: Vec<(String, ProgressBar)>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { all: MultiProgress::new(), line: None, uploads: Vec::new() }
    }

    /// Prints above the live line.
    pub(super) fn print(&self, began: &Instant, text: &str) {
        let line = words::timed(began, text);
        // `println` of the bars counts a line that wraps as one, and leaves remains of them behind.
        self.all.suspend(|| {
            // The terminal went away: nothing is left to draw on.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        });
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Uploading { name, sent, total } => {
                let at = self.uploads.iter().position(|(known, _)| known == name);
                let at = at.unwrap_or_else(|| {
                    let bar = self.new_bar(name);
                    self.uploads.push((name.clone(), bar));
                    self.uploads.len() - 1
                });
                let bar = &self.uploads[at].1;
                bar.set_length(*total);
                bar.set_position(*sent);
            }
            Event::PartUploaded { name, done, parts, .. } => {
                if let Some((_, bar)) = self.uploads.iter().find(|(known, _)| known == name) {
                    bar.set_message(words::clean(&format!("{name} ({done} of {parts} parts)")));
                }
            }
            Event::Uploaded { name, .. } => {
                if let Some(at) = self.uploads.iter().position(|(known, _)| known == name) {
                    self.uploads.remove(at).1.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(status) = words::status(event) {
            self.status(&status);
        }
    }

    pub(super) fn status(&mut self, text: &str) {
        let text = words::clean(text);
        if let Some(line) = &self.line {
            return line.set_message(text);
        }
        let line = ProgressBar::new_spinner().with_message(text);
        line.set_style(style("{spinner} {msg}  {elapsed}"));
        let line = self.line.insert(self.all.add(line));
        line.enable_steady_tick(TICK);
    }

    pub(super) fn bar(&mut self, name: &str) -> Bar {
        Bar(self.new_bar(name))
    }

    pub(super) fn clear(&mut self) {
        for (_, bar) in self.uploads.drain(..) {
            bar.finish_and_clear();
        }
        if let Some(line) = self.line.take() {
            line.finish_and_clear();
        }
    }

    fn new_bar(&self, name: &str) -> ProgressBar {
        let bar = ProgressBar::no_length();
        bar.set_style(style("  {msg} [{bar:28}] {bytes}/{total_bytes}"));
        bar.set_message(words::clean(name));
        self.all.insert(0, bar)
    }
}

/// The progress of one file. Clones show the same bar.
#[derive(Clone, Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(crate) fn set(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is one of this file")
}

/// Quick enough to look alive, slow enough to cost nothing.
const TICK: Duration = Duration::from_millis(100);
