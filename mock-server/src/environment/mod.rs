//! Settings under which unmodified programs reach a mock where they believe to reach fal.

mod bundle;
mod script;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use script::{Runtime, Shell};

use crate::tls::{make_fresh_dir, make_private_dir, replace};

/// A key of the usual form that no account has. It is no secret, and differs from call to call.
#[must_use]
pub fn fresh_key() -> String {
    let bits = || RandomState::new().hash_one(());
    format!("fal-mock-{:016x}:{:016x}", bits(), bits())
}

/// Environment variables that lead a program to a mock, and the files that they name.
///
/// The program keeps its code: hosts stay `queue.fal.run` and so on. Its connections to them go to the mock by
/// way of the proxy variables, or in Node.js, whose `fetch` ignores those, by a file that is loaded before the
/// program. It trusts the mock's certificate authority beside those that the system trusts. A real key does not
/// reach it: [`Environment::apply`] replaces `FAL_KEY` and takes the variables away that go before it, and those
/// that name other hosts.
///
/// ```
/// use fal_mock::MockFal;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mock = MockFal::start().await;
/// let environment = mock.environment("any:key")?;
/// let mut command = std::process::Command::new("python3");
/// environment.apply(command.arg("app.py"));
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Environment {
    settings: Vec<Setting>,
    /// Holds the files; removed with this value if it was made for it.
    _folder: Option<TempFolder>,
}

#[derive(Debug)]
struct Setting {
    name: &'static str,
    /// `None`: the variable is taken away.
    value: Option<String>,
    whom: Whom,
}

/// Which programs look at a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    All,
    Only(&'static [Runtime]),
}

impl Environment {
    /// Settings for a mock at `url`, such as `http://127.0.0.1:8787`, with files in a new folder of the system's
    /// place for temporary ones, which is removed with this value.
    ///
    /// # Errors
    /// When the files cannot be written, or the folder's name is no text.
    pub fn temporary(url: &str, ca_pem: &str, key: &str) -> io::Result<Self> {
        let folder = TempFolder::new()?;
        let mut environment = Self::kept_in(&folder.path, url, ca_pem, key)?;
        environment._folder = Some(folder);
        Ok(environment)
    }

    /// The same with files in `folder`, which is made if there is none, and stays.
    ///
    /// # Errors
    /// When the files cannot be written, or the folder's name is no text.
    pub fn kept_in(folder: &Path, url: &str, ca_pem: &str, key: &str) -> io::Result<Self> {
        make_private_dir(folder)?;
        let absolute = std::path::absolute(folder)?;
        let path_of = |name: &str| {
            absolute.join(name).into_os_string().into_string().map_err(|_| {
                let text = format!("{} is not UTF-8: choose another folder", folder.display());
                io::Error::new(io::ErrorKind::InvalidInput, text)
            })
        };
        let before = std::env::var("NODE_OPTIONS").unwrap_or_default();
        let files = files(ca_pem, true);
        for (name, text) in &files {
            replace(&absolute.join(name), text.as_bytes())?;
        }
        let [own, bundle, preload] = files.map(|(name, _)| path_of(name));
        let settings = settings(url, key, [&own?, &bundle?, &preload?], &before);
        Ok(Self { settings, _folder: None })
    }

    /// Sets and takes away the variables of a program that is to be started.
    pub fn apply(&self, command: &mut Command) {
        for (name, value) in self.variables() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }

    /// Names and values; `None` for a variable that must not be there.
    pub fn variables(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.settings.iter().map(|setting| (setting.name, setting.value.as_deref()))
    }

    /// Lines that set the variables in a shell, for one kind of program or for all.
    #[must_use]
    pub fn script(&self, shell: Shell, runtime: Option<Runtime>) -> String {
        let is_for = |whom| match (whom, runtime) {
            (Whom::All, _) | (_, None) => true,
            (Whom::Only(list), Some(runtime)) => list.contains(&runtime),
        };
        let mut script = String::new();
        for setting in self.settings.iter().filter(|setting| is_for(setting.whom)) {
            shell.push_line(&mut script, setting.name, setting.value.as_deref());
        }
        script
    }
}

/// The files that settings name, as they are to be written: the certificate, the roots of trust, what Node.js loads.
///
/// Without the roots that the system trusts a client in Python is ready in a tenth of the time.
pub(crate) fn files(ca_pem: &str, with_system_roots: bool) -> [(&'static str, String); 3] {
    let bundle = match with_system_roots {
        true => bundle::with_system_roots(ca_pem),
        false => ca_pem.to_owned(),
    };
    [
        ("ca.pem", ca_pem.to_owned()),
        ("bundle.pem", bundle),
        ("fal-mock-preload.cjs", PRELOAD.to_owned()),
    ]
}

/// The settings; `paths` are where the [`files`] are, `node_options` is what the program would have got.
fn settings(url: &str, key: &str, paths: [&str; 3], node_options: &str) -> Vec<Setting> {
    let [own, bundle, preload] = paths;
    let mut settings = Vec::new();
    let mut set = |names: &[&'static str], value: &str, whom| {
        settings.extend(names.iter().map(|name| Setting {
            name,
            value: Some(value.to_owned()),
            whom,
        }));
    };
    let tls = Whom::Only(&[Runtime::Python, Runtime::Rust, Runtime::Curl]);
    set(&["FAL_KEY", "FAL_API_KEY"], key, Whom::All);
    set(&["FAL_MOCK_URL"], url, Whom::All);
    set(&["FAL_BASE_URL"], url, Whom::Only(&[Runtime::Rust]));
    set(&PROXIES, url, Whom::All);
    set(&["NO_PROXY", "no_proxy"], "localhost,127.0.0.1,::1", Whom::All);
    set(&["SSL_CERT_FILE"], bundle, tls);
    set(&["REQUESTS_CA_BUNDLE"], bundle, Whom::Only(&[Runtime::Python]));
    set(&["CURL_CA_BUNDLE"], bundle, Whom::Only(&[Runtime::Curl]));
    // Node.js adds these to its own.
    set(&["NODE_EXTRA_CA_CERTS"], own, Whom::Only(&[Runtime::Node]));
    let node_options = with_preload(node_options, preload);
    set(&["NODE_OPTIONS"], &node_options, Whom::Only(&[Runtime::Node]));
    settings.extend(TAKEN_AWAY.map(|name| Setting { name, value: None, whom: Whom::All }));
    settings
}

/// Names and values for programs on whichever machine, which will find the [`files`] at `paths` there; `None` for
/// a variable that must not be there.
pub(crate) fn variables(
    url: &str,
    key: &str,
    paths: [&str; 3],
    node_options: &str,
) -> Vec<(&'static str, Option<String>)> {
    let settings = settings(url, key, paths, node_options);
    settings.into_iter().map(|setting| (setting.name, setting.value)).collect()
}

/// `before` with `--require` for the file at its end, unless it is there.
fn with_preload(before: &str, preload: &str) -> String {
    let quoted = preload.replace('\\', "\\\\").replace('"', "\\\"");
    let option = format!("--require \"{quoted}\"");
    match before.trim() {
        "" => option,
        before if before.contains(&option) => before.to_owned(),
        before => format!("{before} {option}"),
    }
}

/// A folder that only this user can enter, removed when dropped.
#[derive(Debug)]
struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    fn new() -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let name = format!("fal-mock-{}-{:016x}", std::process::id(), fresh_bits());
            let path = std::env::temp_dir().join(name);
            match make_fresh_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES_MAX => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to remove.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Other bits each time, for a name.
fn fresh_bits() -> u64 {
    RandomState::new().hash_one(())
}

/// Names for a temporary folder that are tried when others have taken them.
const TRIES_MAX: u32 = 100;

/// What a program in Node.js loads before itself.
const PRELOAD: &str = include_str!("preload.cjs");

/// Where programs look for their proxy, by what they want to reach.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that name a real credential, or a host that is not fal's.
///
/// Source: the official Python client and fal's SDK (official client source).
const TAKEN_AWAY: [&str; 9] = [
    "FAL_KEY_ID",
    "FAL_KEY_SECRET",
    "FAL_FORCE_AUTH_BY_USER",
    "FAL_RUN_HOST",
    "FAL_QUEUE_RUN_HOST",
    "FAL_REST_HOST",
    "FAL_CDN_V3_HOST",
    "FAL_HOST",
    "FAL_GRPC_HOST",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_node_are_kept_and_the_file_is_named_once() {
        let path = r#"/tmp/a "b"\c.cjs"#;
        let option = r#"--require "/tmp/a \"b\"\\c.cjs""#;
        assert_eq!(with_preload("", path), option);
        let both = format!("--max-old-space-size=99 {option}");
        assert_eq!(with_preload(" --max-old-space-size=99", path), both);
        assert_eq!(with_preload(&both, path), both);
    }

    #[test]
    fn a_temporary_folder_is_private_and_goes() {
        let folder = TempFolder::new().unwrap();
        let path = folder.path.clone();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;

            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_variable_is_named_once() {
        let environment = Environment::temporary("http://127.0.0.1:1", "PEM", "a:b").unwrap();
        let mut names: Vec<&str> = environment.variables().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
