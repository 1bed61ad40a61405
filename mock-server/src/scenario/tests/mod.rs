mod decide;
mod format;
mod schema;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::operation::Operation;
use super::play::Play;
use super::when::{Facts, Input};
use super::{Problems, Scenario};
use crate::model::JobState;

/// A request as tests write it.
#[derive(Clone, Debug)]
struct Call {
    operation: Operation,
    endpoint: String,
    headers: HeaderMap,
    input: String,
    state: Option<JobState>,
}

impl Call {
    fn new(operation: Operation, endpoint: &str, input: &str) -> Self {
        let (endpoint, input) = (endpoint.to_owned(), input.to_owned());
        Self { operation, endpoint, headers: HeaderMap::new(), input, state: None }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    fn state(mut self, state: JobState) -> Self {
        self.state = Some(state);
        self
    }

    fn with<T>(&self, f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let input = Input::new(self.input.as_bytes());
        f(&Facts {
            operation: self.operation,
            endpoint: &self.endpoint,
            headers: &self.headers,
            input: &input,
            state: self.state,
        })
    }
}

#[track_caller]
fn scenario(source: &str) -> Scenario {
    Scenario::parse("test", source).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn problems(source: &str) -> Problems {
    Scenario::parse("test.yaml", source).expect_err("it is wrong")
}

#[track_caller]
fn play(source: &str) -> Play {
    Play::new(Arc::new(scenario(source)), 0)
}
