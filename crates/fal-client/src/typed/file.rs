//! Files in typed inputs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::input::{FileInput, Input};
use crate::media::{Audio, File, Image, Video};

/// A file of an input: an address that is there already, or something that is uploaded before the call.
///
/// | From | Is |
/// |---|---|
/// | `&str`, `String` | an address (`https:` or a data URI) |
/// | a file of an output, such as [`Image`] | its address |
/// | `&Path`, `PathBuf` | a local file, to be uploaded |
/// | [`Input::file`], [`Input::bytes`] | the same with a name, a media type, a lifetime |
///
/// ```
/// use fal_client::Input;
/// use fal_client::typed::FileOrUrl;
///
/// let there: FileOrUrl = "https://example.com/face.png".into();
/// let local: FileOrUrl = std::path::Path::new("face.png").into();
/// let named: FileOrUrl = Input::bytes(b"...".as_slice(), "image/png").named("face.png").into();
/// # assert_ne!(there, local);
/// # assert_ne!(local, named);
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum FileOrUrl {
    /// An address: `https:`, or a data URI.
    Url(String),
    /// A file to be uploaded. Only the client can put its address in its place.
    #[serde(skip_deserializing)]
    File(FileInput),
}

macro_rules! from_address {
    ($($type:ty),*) => {
        $(impl From<$type> for FileOrUrl {
            fn from(address: $type) -> Self {
                Self::Url(address.into())
            }
        })*
    };
}

from_address!(&str, String, &String, File, &File, Image, &Image, Video, &Video, Audio, &Audio);

impl From<FileInput> for FileOrUrl {
    fn from(file: FileInput) -> Self {
        Self::File(file)
    }
}

impl From<PathBuf> for FileOrUrl {
    fn from(path: PathBuf) -> Self {
        Self::File(Input::file(path))
    }
}

impl From<&Path> for FileOrUrl {
    fn from(path: &Path) -> Self {
        Self::File(Input::file(path))
    }
}
