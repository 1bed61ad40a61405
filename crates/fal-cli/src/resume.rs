//! The files that hold what it takes to go on with an upload. They are secrets: only their owner reads them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use fal_client::UploadState;

use crate::problem::Problem;

/// Reads one; `None` if there is no such file yet.
pub(crate) fn read(path: &Path) -> Result<Option<UploadState>, Problem> {
    let mut text = String::new();
    // One byte more than is read as a state, so that a longer one is noticed.
    let read = |file: File| file.take(BYTES_MAX + 1).read_to_string(&mut text);
    match File::open(path).and_then(read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::file(path, &error)),
        Ok(_) => {}
    }
    let state = text.parse::<UploadState>();
    let state = state.map_err(|error| Problem::usage(format!("{}: {error}", path.display())))?;
    Ok(Some(state))
}

/// Writes one in place of an older one, at once or not at all.
pub(crate) fn write(path: &Path, state: &UploadState) -> Result<(), Problem> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = create(&beside)
        .and_then(|mut file| file.write_all(state.to_string().as_bytes()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        // It may not have come into being.
        let _ = fs::remove_file(&beside);
        Problem::file(path, &error)
    })
}

/// Writes one to the folder for temporary files: the address in it ends soon, too.
pub(crate) fn write_new(state: &UploadState) -> Result<PathBuf, Problem> {
    let folder = std::env::temp_dir();
    let mut number = 0_u32;
    loop {
        let path = folder.join(format!("fal-upload-{}-{number}.json", std::process::id()));
        match create(&path) {
            Ok(mut file) => {
                let written = file.write_all(state.to_string().as_bytes());
                return written
                    .map(|()| path.clone())
                    .map_err(|error| Problem::file(&path, &error));
            }
            // Of an earlier process with the same number; nothing is ever overwritten.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < NUMBERS_MAX => {
                number += 1;
            }
            Err(error) => return Err(Problem::file(&path, &error)),
        }
    }
}

/// Removes one that is of no more use.
pub(crate) fn remove(path: &Path) -> Result<(), Problem> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Problem::file(path, &error)),
        _ => Ok(()),
    }
}

/// A new file that nobody else can read.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Longest file that is read: what the client takes as a state.
const BYTES_MAX: u64 = 5 << 20;
/// Names that are tried.
const NUMBERS_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> UploadState {
        let text = r#"{"version":1,"route":"initiate","file_name":"a","content_type":"a/b","total":2,
            "part_bytes":1,"file_url":"https://x.test/a","target":"https://x.test/a?s","etags":["e",null]}"#;
        text.parse().expect("it is a state")
    }

    #[test]
    fn states_are_read_as_written_by_their_owner_only() {
        let path = write_new(&state()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(state()));
        write(&path, &state()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(state()));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &fs::metadata(&path).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o600);
        }
        let other = write_new(&state()).unwrap();
        assert_ne!(other, path, "nothing is overwritten");
        remove(&other).unwrap();
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path).unwrap(), None);
    }
}
