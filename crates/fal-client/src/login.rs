//! The login of fal's own program, as credentials. Behind the feature `login`.
//!
//! `fal auth login` leaves a token file, and fal's programs keep it fresh. [`LoginFile`] reads it anew for
//! every attempt and **never writes it**: what it holds can be refreshed only by replacing the refresh token,
//! which logs out every program that does not learn of the new one. So when its access token has expired, the
//! call fails and says what to do: let fal's program refresh it (any of its commands that calls the service
//! does), log in again, or use a key. For programs that run for long, use a key.

use std::env;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use fal_protocol::auth::login::{TOKEN_FILE_BYTES_MAX, access_token};
use fal_protocol::{Credentials, Token};

use crate::credentials::{CredentialsError, CredentialsProvider};
use crate::environment::Login;
use crate::error::Error;

/// The token file of fal's own program, which is read for every attempt.
///
/// ```no_run
/// use fal_client::Client;
/// use fal_client::login::LoginFile;
///
/// let file = LoginFile::from_env().ok_or("there is no home directory")?;
/// let client = Client::builder().credentials_provider(file).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFile {
    path: PathBuf,
}

impl LoginFile {
    /// The file at this path.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where fal's programs have it: `auth0_token` in `FAL_HOME_DIR` (a `~` at its start is the home
    /// directory), else in `~/.fal`. `None` when no home directory is known. It need not exist.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let home = || env::var_os(HOME).filter(|home| !home.is_empty()).map(PathBuf::from);
        let directory = env::var_os("FAL_HOME_DIR").filter(|directory| !directory.is_empty());
        directory_of(directory.map(PathBuf::from), home())
            .map(|directory| Self::at(directory.join("auth0_token")))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The access token in it.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and [`Error::Config`] when what it holds is of no use now.
    pub fn read(&self) -> Result<Token, Error> {
        let bytes = self.bytes().map_err(|error| Error::file(&self.path, error))?;
        access_token(&bytes, SystemTime::now()).map_err(|error| {
            Error::config(format!(
                "the login in {} cannot be used: {error}; run `fal auth login`, or set FAL_KEY, or FAL_KEY_ID and \
                 FAL_KEY_SECRET",
                self.path.display()
            ))
        })
    }

    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // One byte more, so that what is too long is known to be.
        let limit = TOKEN_FILE_BYTES_MAX as u64 + 1;
        File::open(&self.path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What the environment's login is worth now.
    pub(crate) fn find() -> Login {
        let Some(file) = Self::from_env() else { return Login::Absent };
        match file.read() {
            Ok(_) => Login::Usable(file),
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Login::Absent
            }
            Err(error) => Login::Unusable(error.to_string().into()),
        }
    }
}

#[async_trait]
impl CredentialsProvider for LoginFile {
    async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let file = self.clone();
        let token = tokio::task::spawn_blocking(move || file.read()).await??;
        Ok(token.into())
    }
}

/// The directory of the file, from `FAL_HOME_DIR` and the home directory.
fn directory_of(chosen: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    match chosen {
        None => Some(home?.join(".fal")),
        Some(chosen) => match chosen.strip_prefix("~") {
            Ok(rest) => Some(home?.join(rest)),
            Err(_) => Some(chosen),
        },
    }
}

const HOME: &str = if cfg!(windows) { "USERPROFILE" } else { "HOME" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_may_be_chosen() {
        let home = || Some(PathBuf::from("/home/me"));
        let of = |chosen: Option<&str>, home| {
            directory_of(chosen.map(PathBuf::from), home).map(|path| path.display().to_string())
        };
        assert_eq!(of(None, home()).as_deref(), Some("/home/me/.fal"));
        assert_eq!(of(Some("~/x"), home()).as_deref(), Some("/home/me/x"));
        assert_eq!(of(Some("/x"), None).as_deref(), Some("/x"));
        assert_eq!(
            of(Some("~x"), home()).as_deref(),
            Some("~x"),
            "another user's, which is not looked up"
        );
        assert_eq!((of(None, None), of(Some("~"), None)), (None, None));
    }
}
