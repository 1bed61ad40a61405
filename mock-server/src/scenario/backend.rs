//! Who does the work of an app, in place of outputs that are made up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::files::Files;
use super::read::{Fields, Path, Reader};
use super::tree::Node;

/// Who does the work of an app.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) doer: Doer,
    /// How long one attempt may take, in real time.
    pub(crate) time_max: Duration,
}

/// The two kinds of them.
#[derive(Clone, Debug)]
pub(crate) enum Doer {
    /// A server, by its address.
    Http(Uri),
    /// A program with its arguments, started for each call.
    Exec {
        command: Box<[Box<str>]>,
        /// Where it is started: beside the scenario, if that is a file.
        folder: Option<PathBuf>,
    },
}

impl Backend {
    /// Reads `http` or `exec`, and `timeout`.
    pub(super) fn read(
        reader: &mut Reader,
        fields: &Fields<'_>,
        path: &Path<'_>,
        disk: &dyn Files,
    ) -> Option<Self> {
        let time_max = fields.get("timeout").map(|node| {
            let path = path.key("timeout");
            if fields.get("http").is_none() && fields.get("exec").is_none() {
                reader.wrong(node.span, &path, "a timeout belongs to http or exec");
            }
            let time = reader.time(node, &path);
            if time.is_some_and(|time| time.is_zero()) {
                reader.wrong(
                    node.span,
                    &path,
                    "without time nothing can be done: give a longer one",
                );
            }
            time
        });
        let doer = match (fields.get("http"), fields.get("exec")) {
            (Some(_), Some(node)) => {
                reader.wrong(node.span, &path.key("exec"), "http and exec exclude each other");
                None
            }
            (Some(node), None) => server(reader, node, &path.key("http")).map(Doer::Http),
            (None, Some(node)) => {
                let path = path.key("exec");
                let command = program(reader, node, &path)?;
                Some(Doer::Exec { command, folder: disk.folder() })
            }
            (None, None) => None,
        };
        Some(Self { doer: doer?, time_max: time_max.flatten().unwrap_or(TIME_MAX) })
    }

    /// Why a server must not be asked, if so: what callers send is not given to strangers by accident.
    pub(crate) fn refusal(&self, may_be_far: bool) -> Option<String> {
        match &self.doer {
            Doer::Http(uri) if !may_be_far && !is_near(uri.host().unwrap_or_default()) => {
                Some(format!(
                    "{} is neither this machine nor in a private network: start fal-mock with \
                     --backend-hosts any if inputs may go there",
                    uri.host().unwrap_or_default()
                ))
            }
            _ => None,
        }
    }

    pub(crate) const fn is_program(&self) -> bool {
        matches!(self.doer, Doer::Exec { .. })
    }
}

/// Whether a host is this machine or one of a private network, by its name alone.
fn is_near(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        // A name without a dot is found in hosts files and in networks of containers only.
        Err(_) => {
            !host.contains('.')
                || [".local", ".internal", ".localhost"].iter().any(|end| host.ends_with(end))
        }
    }
}

fn server(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Uri> {
    let want = "the address of a server, such as http://127.0.0.1:8000";
    let text = reader.text(node, path, want)?;
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        is_http && uri.host().is_some_and(|host| !host.is_empty())
    });
    let has_user = |uri: &Uri| uri.authority().is_some_and(|it| it.as_str().contains('@'));
    match uri {
        Some(uri) if !has_user(&uri) => Some(uri),
        Some(_) => {
            reader.wrong(node.span, path, "an address with a user name is not supported");
            None
        }
        None => {
            reader.wrong(node.span, path, format!("{text:?} is no address: give {want}"));
            None
        }
    }
}

fn program(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Box<[Box<str>]>> {
    let before = reader.problems.len();
    let words = reader.one_or_more(node, path, WORDS_MAX, |reader, node, path| {
        let word =
            reader.text(node, path, "a program and its arguments, such as [python3, model.py]");
        let word: Box<str> = word?.into();
        if word.contains('\0') {
            reader.wrong(node.span, path, "a program cannot be given a zero byte");
        }
        Some(word)
    });
    if words.first().is_some_and(|program| program.is_empty()) {
        reader.wrong(node.span, path, "the name of the program is empty");
    }
    (reader.problems.len() == before).then(|| words.into())
}

/// How long an attempt may take where nothing else is said: an hour.
///
/// Source: docs.fal.ai, app configuration page: the request timeout of apps (documented).
const TIME_MAX: Duration = Duration::from_secs(3600);

/// Words of one command.
const WORDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_told_by_names() {
        for near in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "10.1.2.3",
            "192.168.0.9",
            "model",
            "gpu.local",
            "host.docker.internal",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in ["8.8.8.8", "fal.run", "[2606:4700::1]", "localhost.evil.test", "172.32.0.1"] {
            assert!(!is_near(far), "{far}");
        }
    }
}
