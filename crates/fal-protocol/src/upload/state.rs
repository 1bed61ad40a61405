use std::fmt;
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Serialize};

use super::dialect::{Addresses, Label};
use super::plan::Plan;
use super::route::Route;
use crate::error::InputError;
use crate::wire::display_without_query;

/// An upload in parts that was begun: enough to go on with it, from any process on any machine.
///
/// Plain data; its text form is JSON, some 40 bytes per part. It holds no key and no token. What it does
/// hold is the signed address that the parts go to, because without it nobody could go on: **whoever has
/// the state can write to this one file until the address expires** (about an hour, inferred). Keep it where
/// only its owner reads. `Debug` hides the signature.
///
/// ```
/// use fal_protocol::upload::UploadState;
///
/// let text = r#"{"version":1,"route":"initiate","file_name":"a.mp4","content_type":"video/mp4","total":25,
///     "part_bytes":10,"file_url":"https://v3.fal.media/files/a.mp4",
///     "target":"https://v3.fal.media/files/a.mp4?signature=s","etags":["\"e1\"",null,null]}"#;
/// let state: UploadState = text.parse()?;
/// assert_eq!((state.parts_done(), state.plan().parts(), state.bytes_done()), (1, 3, 10));
/// # Ok::<(), fal_protocol::InputError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct UploadState {
    pub(super) route: Route,
    pub(super) file_name: String,
    pub(super) content_type: String,
    pub(super) plan: Plan,
    /// The public address of the file.
    pub(super) file_url: String,
    /// What parts are written below: the signed address, or on the CDN the file's own.
    pub(super) target: Uri,
    /// The CDN's name for this upload.
    pub(super) upload_id: Option<String>,
    /// What the store answered, by part; `None` where it is still to be sent.
    pub(super) etags: Vec<Option<Box<str>>>,
    source: Option<String>,
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    route: Route,
    file_name: String,
    content_type: String,
    total: u64,
    part_bytes: u64,
    file_url: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload_id: Option<String>,
    etags: Vec<Option<Box<str>>>,
    /// Of the shell: what the content was when the upload began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl UploadState {
    /// An upload that has a place, and no part there yet.
    pub(super) fn new(
        route: Route,
        label: &Label,
        plan: Plan,
        addresses: Addresses,
        upload_id: Option<String>,
    ) -> Self {
        Self {
            route,
            file_name: label.file_name.clone(),
            content_type: label.content_type_text(),
            plan,
            file_url: addresses.file_url,
            target: addresses.target,
            upload_id,
            etags: vec![None; plan.parts() as usize],
            source: None,
        }
    }

    /// The route that it goes by.
    #[must_use]
    pub const fn route(&self) -> Route {
        self.route
    }

    /// The name that the file gets.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// How it is cut.
    #[must_use]
    pub const fn plan(&self) -> Plan {
        self.plan
    }

    /// The address that the file has once all parts are there.
    #[must_use]
    pub fn file_url(&self) -> &str {
        &self.file_url
    }

    /// How many parts are there.
    #[must_use]
    pub fn parts_done(&self) -> u32 {
        u32::try_from(self.etags.iter().flatten().count()).unwrap_or(u32::MAX)
    }

    /// How many bytes they have.
    #[must_use]
    pub fn bytes_done(&self) -> u64 {
        (1_u32..)
            .zip(&self.etags)
            .filter(|(_, etag)| etag.is_some())
            .map(|(number, _)| {
                let range = self.plan.range(number);
                range.end - range.start
            })
            .sum()
    }

    /// What the shell noted about the content, such as its time of change.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// Notes something about the content, at most [`SOURCE_BYTES_MAX`]: whoever goes on can tell whether it
    /// is still the same. Longer notes are cut.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        let mut source = source.into();
        let end =
            (0..=SOURCE_BYTES_MAX.min(source.len())).rev().find(|at| source.is_char_boundary(*at));
        source.truncate(end.unwrap_or(0));
        self.source = Some(source);
        self
    }

    /// The first part from `number` on that is still to be sent.
    pub(super) fn next_missing(&self, number: u32) -> Option<u32> {
        let rest = self.etags.iter().enumerate().skip(number.saturating_sub(1) as usize);
        rest.filter(|(_, etag)| etag.is_none()).find_map(|(at, _)| u32::try_from(at + 1).ok())
    }

    /// A part has arrived.
    pub(super) fn put(&mut self, number: u32, etag: Box<str>) {
        let at = (number as usize).checked_sub(1);
        if let Some(place) = at.and_then(|at| self.etags.get_mut(at)) {
            *place = Some(etag);
        }
    }
}

impl TryFrom<Wire> for UploadState {
    type Error = InputError;

    fn try_from(wire: Wire) -> Result<Self, InputError> {
        if wire.version != VERSION {
            return Err(refuse(format!("its version is {}, not {VERSION}", wire.version)));
        }
        let plan = Plan::new(wire.total, wire.part_bytes)?;
        if plan.part_bytes() != wire.part_bytes || plan.parts() as usize != wire.etags.len() {
            return Err(refuse(format!(
                "it has {} parts of {} bytes for {} bytes",
                wire.etags.len(),
                wire.part_bytes,
                wire.total
            )));
        }
        if wire.etags.iter().flatten().any(|etag| !is_etag(etag)) {
            return Err(refuse("one of its etags is none"));
        }
        if wire.upload_id.as_ref().is_some_and(|id| !is_upload_id(id)) {
            return Err(refuse("its upload id is none"));
        }
        if wire.upload_id.is_some() != (wire.route == Route::Cdn) {
            return Err(refuse("the CDN's uploads have an id, and no others"));
        }
        let target: Uri = wire.target.parse().map_err(|_| refuse("its target is no address"))?;
        if target.scheme().is_none() || target.authority().is_none_or(|a| a.as_str().contains('@'))
        {
            return Err(refuse("its target is no absolute address without a user name"));
        }
        Ok(Self {
            route: wire.route,
            file_name: wire.file_name,
            content_type: wire.content_type,
            plan,
            file_url: wire.file_url,
            target,
            upload_id: wire.upload_id,
            etags: wire.etags,
            source: wire.source,
        })
    }
}

impl From<UploadState> for Wire {
    fn from(state: UploadState) -> Self {
        Self {
            version: VERSION,
            route: state.route,
            file_name: state.file_name,
            content_type: state.content_type,
            total: state.plan.total(),
            part_bytes: state.plan.part_bytes(),
            file_url: state.file_url,
            target: state.target.to_string(),
            upload_id: state.upload_id,
            etags: state.etags,
            source: state.source,
        }
    }
}

/// Its JSON, for a file or a database.
impl fmt::Display for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

/// Reads its JSON.
impl FromStr for UploadState {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        if text.len() > STATE_BYTES_MAX {
            return Err(refuse(format!("it is longer than {STATE_BYTES_MAX} bytes")));
        }
        // What serde says may quote a text, and one of them is a secret.
        let wire: Wire = serde_json::from_str(text).map_err(|error| {
            refuse(format!("line {}, column {} is wrong", error.line(), error.column()))
        })?;
        Self::try_from(wire)
    }
}

/// Shows no signature.
impl fmt::Debug for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadState")
            .field("route", &self.route)
            .field("file_name", &self.file_name)
            .field("total", &self.plan.total())
            .field("part_bytes", &self.plan.part_bytes())
            .field("parts_done", &self.parts_done())
            .field("target", &display_without_query(&self.target))
            .finish_non_exhaustive()
    }
}

fn refuse(problem: impl fmt::Display) -> InputError {
    InputError::option("upload state", problem)
}

/// Whether a text can be the store's name for a part.
pub(super) fn is_etag(text: &str) -> bool {
    (1..=ETAG_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether a text can be the CDN's name for an upload.
pub(super) fn is_upload_id(text: &str) -> bool {
    (1..=UPLOAD_ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

const VERSION: u32 = 1;

/// Longest etag of a part that is taken: 200 bytes. Those of known stores have 34 to 66.
pub const ETAG_BYTES_MAX: usize = 200;
/// Longest name of an upload that is taken: 1 KiB.
pub const UPLOAD_ID_BYTES_MAX: usize = 1 << 10;
/// Longest note about the content: 1 KiB.
pub const SOURCE_BYTES_MAX: usize = 1 << 10;
/// Longest text that is read as a state: 5 MiB, with room for [`PARTS_MAX`](super::PARTS_MAX) etags.
pub const STATE_BYTES_MAX: usize = 5 << 20;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wire() -> Value {
        json!({
            "version": 1, "route": "initiate", "file_name": "a.bin", "content_type": "a/b", "total": 25,
            "part_bytes": 10, "file_url": "https://v3.fal.media/files/a.bin",
            "target": "https://v3.fal.media/files/a.bin?signature=secret", "etags": ["e1", null, null],
        })
    }

    #[track_caller]
    fn with(name: &str, value: Value) -> Result<UploadState, InputError> {
        let mut wire = wire();
        wire[name] = value;
        wire.to_string().parse()
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let mut state: UploadState = wire().to_string().parse().unwrap();
        state.put(3, "e3".into());
        let state = state.with_source("len 25");
        let again: UploadState = state.to_string().parse().unwrap();
        assert_eq!(again, state);
        assert_eq!((again.parts_done(), again.bytes_done()), (2, 15));
        assert_eq!((again.next_missing(1), again.next_missing(3)), (Some(2), None));
        assert_eq!(again.source(), Some("len 25"));
        let cut = again.with_source("ü".repeat(SOURCE_BYTES_MAX));
        assert_eq!(cut.source().map(str::len), Some(SOURCE_BYTES_MAX));
    }

    #[test]
    fn states_that_do_not_hold_together_are_refused() {
        for (name, value) in [
            ("version", json!(2)),
            ("route", json!("tape")),
            ("total", json!(0)),
            ("total", json!(31)),
            ("part_bytes", json!(0)),
            ("etags", json!([])),
            ("etags", json!(["e1", "", null])),
            ("etags", json!(["e1", "a\nb", null])),
            ("etags", json!(["e1", "e".repeat(ETAG_BYTES_MAX + 1), null])),
            ("upload_id", json!("mp_1")),
            ("target", json!("relative")),
            ("target", json!("https://user@x.test/a")),
            ("target", json!(5)),
        ] {
            let error = with(name, value.clone()).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{name}: {value}: {error}");
        }
        with("etags", json!(["e1", "e".repeat(ETAG_BYTES_MAX), null])).unwrap();
        let long = format!("{}{}", wire(), " ".repeat(STATE_BYTES_MAX));
        long.parse::<UploadState>().unwrap_err();
    }

    #[test]
    fn the_largest_state_can_be_read() {
        let parts = super::super::PARTS_MAX;
        let mut wire = wire();
        wire["total"] = json!(u64::from(parts) * 10);
        wire["etags"] = json!(vec!["\"".repeat(ETAG_BYTES_MAX); parts as usize]);
        let state: UploadState = wire.to_string().parse().unwrap();
        assert_eq!(state.parts_done(), parts);
    }

    #[test]
    fn debug_shows_no_signature() {
        let state: UploadState = wire().to_string().parse().unwrap();
        assert!(!format!("{state:?}").contains("secret"));
        assert!(state.to_string().contains("secret"), "it could not be taken up without");
    }
}
