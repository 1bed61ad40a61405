//! Files inside a JSON document, as `data:` addresses.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

/// Renders a file as a base64 data URI, in one allocation.
///
/// fal's endpoints take such an address wherever they take the URL of a file, at the price of a third
/// more bytes. A content type that cannot stand there (white space, a comma, anything but visible
/// ASCII) is replaced by [`CONTENT_TYPE_UNKNOWN`].
///
/// ```
/// use fal_protocol::data_uri;
///
/// assert_eq!(data_uri::encode("image/png", b"\x89PNG"), "data:image/png;base64,iVBORw==");
/// ```
///
/// Source: docs.fal.ai, file inputs of model APIs (documented).
#[must_use]
pub fn encode(content_type: &str, bytes: &[u8]) -> String {
    let fits =
        content_type.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'#'));
    let content_type = if fits { content_type } else { CONTENT_TYPE_UNKNOWN };
    let encoded_len = bytes.len().div_ceil(3) * 4;
    let len = SCHEME.len() + content_type.len() + BASE64_MARK.len() + 1 + encoded_len;
    let mut uri = String::with_capacity(len);
    for part in [SCHEME, content_type, BASE64_MARK, ","] {
        uri.push_str(part);
    }
    FORGIVING.encode_string(bytes, &mut uri);
    debug_assert_eq!(uri.len(), len, "the length is known before");
    uri
}

/// Reads a data URI whose content has at most [`DATA_URI_BYTES_MAX`] bytes.
///
/// Takes base64 with or without padding, with white space or percent escapes in it, and the plain
/// percent-encoded form. What follows a `#` is not part of the content.
///
/// ```
/// use fal_protocol::data_uri;
///
/// let svg = data_uri::decode("data:image/svg+xml;charset=utf-8,%3Csvg/%3E")?;
/// assert_eq!((&*svg.content_type, &*svg.bytes), ("image/svg+xml;charset=utf-8", &b"<svg/>"[..]));
/// # Ok::<(), data_uri::DataUriError>(())
/// ```
///
/// # Errors
/// [`DataUriError`] when it is none, is broken, or is too long.
///
/// Source: fetch.spec.whatwg.org, 6, `data:` URLs (documented).
pub fn decode(uri: &str) -> Result<DataUri, DataUriError> {
    decode_up_to(uri, DATA_URI_BYTES_MAX)
}

/// Reads a data URI whose content has at most `bytes_max` bytes. As [`decode`] otherwise.
///
/// # Errors
/// As [`decode`].
pub fn decode_up_to(uri: &str, bytes_max: usize) -> Result<DataUri, DataUriError> {
    if !is_data_uri(uri) {
        return Err(DataUriError::NotData);
    }
    let (head, content) = uri[SCHEME.len()..].split_once(',').ok_or(DataUriError::NoComma)?;
    let content = content.split('#').next().unwrap_or_default().as_bytes();
    let (content_type, is_base64) = read_head(head);
    let too_long = DataUriError::TooLong { bytes_max };

    // Escapes and white space make the encoded form longer, never shorter than this.
    let bytes = if is_base64 {
        let is_clean = !content.iter().any(|byte| *byte == b'%' || byte.is_ascii_whitespace());
        if is_clean && content.len() / 4 * 3 > bytes_max.saturating_add(2) {
            return Err(too_long);
        }
        let decoded =
            if is_clean { FORGIVING.decode(content) } else { FORGIVING.decode(clean(content)) };
        decoded.map_err(|_| DataUriError::Base64)?
    } else {
        percent_decode(content)
    };
    if bytes.len() > bytes_max {
        return Err(too_long);
    }
    Ok(DataUri { content_type, bytes: Bytes::from(bytes) })
}

/// Whether a text claims to be a data URI. Its content may still be broken.
#[must_use]
pub fn is_data_uri(text: &str) -> bool {
    text.as_bytes()
        .get(..SCHEME.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(SCHEME.as_bytes()))
}

/// A file that stood in a `data:` address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataUri {
    /// The media type with its parameters; [`CONTENT_TYPE_DEFAULT`] when there is none.
    pub content_type: Box<str>,
    /// The content.
    pub bytes: Bytes,
}

/// Prints the length only: the content can be a private picture.
impl fmt::Debug for DataUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataUri({}, {} bytes)", self.content_type, self.bytes.len())
    }
}

/// Why a text is not a usable data URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataUriError {
    /// It does not start with `data:`.
    NotData,
    /// No comma ends its type.
    NoComma,
    /// It says base64 and is not.
    Base64,
    /// Its content is longer than the limit.
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
}

impl fmt::Display for DataUriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotData => f.write_str("it does not start with data:"),
            Self::NoComma => {
                f.write_str("the data URI has no comma between its type and its content")
            }
            Self::Base64 => f.write_str("the content of the data URI is not base64"),
            Self::TooLong { bytes_max } => {
                write!(f, "the content of the data URI has more than {bytes_max} bytes")
            }
        }
    }
}

impl std::error::Error for DataUriError {}

/// The content type, and whether the content is base64.
fn read_head(head: &str) -> (Box<str>, bool) {
    let head = head.trim_ascii();
    let (essence, is_base64) = match head.rsplit_once(';') {
        Some((rest, mark)) if mark.trim_ascii_start().eq_ignore_ascii_case("base64") => {
            (rest, true)
        }
        _ => (head, false),
    };
    let essence = essence.trim_ascii();
    if essence.starts_with(';') {
        // Parameters alone belong to the default type.
        return (format!("text/plain{essence}").into(), is_base64);
    }
    let name = essence.split(';').next().unwrap_or_default().trim_ascii_end();
    let is_token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    match name.split_once('/') {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => (essence.into(), is_base64),
        _ => (CONTENT_TYPE_DEFAULT.into(), is_base64),
    }
}

/// Base64 that was escaped like any text, or broken into lines.
fn clean(content: &[u8]) -> Vec<u8> {
    let mut bytes = percent_decode(content);
    bytes.retain(|byte| !byte.is_ascii_whitespace());
    bytes
}

/// An escape that is none stands for itself, as in browsers.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two digits make a byte"));
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes
}

/// Longest content that [`decode`] takes: 64 MiB.
///
/// Precedent: [`EVENT_BYTES_MAX`](crate::sse::EVENT_BYTES_MAX), because events carry such addresses.
pub const DATA_URI_BYTES_MAX: usize = 64 << 20;

/// What a data URI without a type has, as the standard says.
pub const CONTENT_TYPE_DEFAULT: &str = "text/plain;charset=US-ASCII";

/// The type of bytes that nobody knows the type of.
pub const CONTENT_TYPE_UNKNOWN: &str = "application/octet-stream";

const SCHEME: &str = "data:";
const BASE64_MARK: &str = ";base64";

/// Writes padding; reads with or without it, and ignores the bits behind the last byte.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(uri: &str, content_type: &str, bytes: impl AsRef<[u8]>) {
        let decoded = decode(uri).unwrap();
        assert_eq!(
            (&*decoded.content_type, &*decoded.bytes),
            (content_type, bytes.as_ref()),
            "{uri}"
        );
    }

    #[test]
    fn every_form_is_read() {
        check("data:image/png;base64,iVBORw==", "image/png", b"\x89PNG");
        check("data:image/png;base64,iVBORw", "image/png", b"\x89PNG");
        check("DATA:image/png;BASE64,iVBORw==", "image/png", b"\x89PNG");
        check("data:image/png; base64,iVBORw==", "image/png", b"\x89PNG");
        check("data:image/png;base64,iVBO\r\n Rw==", "image/png", b"\x89PNG");
        check("data:image/png;base64,iVBORw%3D%3d", "image/png", b"\x89PNG");
        check("data:image/png;name=a.png;base64,iVBORw==", "image/png;name=a.png", b"\x89PNG");
        check("data:image/png;base64,iVBORw==#fragment", "image/png", b"\x89PNG");
        check("data:image/png;base64,", "image/png", "");
        check("data:text/html,%3Cb%3Ea%2cb</b>", "text/html", "<b>a,b</b>");
        check(
            "data:text/plain;charset=utf-8,gr%C3%BC%C3%9fe ü",
            "text/plain;charset=utf-8",
            "grüße ü",
        );
        check("data:,100%", CONTENT_TYPE_DEFAULT, "100%");
        check("data:,%zz%4", CONTENT_TYPE_DEFAULT, "%zz%4");
        check("data:;base64,YQ==", CONTENT_TYPE_DEFAULT, "a");
        check("data:;charset=utf-8,a", "text/plain;charset=utf-8", "a");
        check("data:nonsense,a", CONTENT_TYPE_DEFAULT, "a");
        check("data:base64,YQ==", CONTENT_TYPE_DEFAULT, "YQ==");
    }

    #[test]
    fn broken_ones_say_why() {
        for (uri, error) in [
            ("", DataUriError::NotData),
            ("https://example.com/a.png", DataUriError::NotData),
            ("dätä:", DataUriError::NotData),
            ("data:image/png;base64", DataUriError::NoComma),
            ("data:image/png;base64,a", DataUriError::Base64),
            ("data:image/png;base64,iVB*Rw==", DataUriError::Base64),
            ("data:image/png;base64,iVBO=Rw=", DataUriError::Base64),
        ] {
            assert_eq!(decode(uri), Err(error), "{uri}");
        }
    }

    #[test]
    fn limit_holds_on_both_sides() {
        let too_long = Err(DataUriError::TooLong { bytes_max: 4 });
        assert!(decode_up_to("data:;base64,iVBORw==", 4).is_ok());
        assert_eq!(decode_up_to("data:;base64,iVBORwA=", 4), too_long);
        assert_eq!(decode_up_to(&format!("data:;base64,{}", "A".repeat(1000)), 4), too_long);
        assert!(decode_up_to("data:,%41%41%41%41", 4).is_ok());
        assert_eq!(decode_up_to("data:,AAAAA", 4), too_long);
    }

    #[test]
    fn type_that_cannot_stand_there_is_replaced() {
        for bad in ["image/png, text/html", "a b", "image/png#", "ä/b"] {
            assert_eq!(encode(bad, b"a"), "data:application/octet-stream;base64,YQ==", "{bad}");
        }
        check(&encode("", b"a"), CONTENT_TYPE_DEFAULT, "a");
        assert!(!format!("{:?}", decode("data:,secret")).contains("secret"));
    }

    proptest! {
        #[test]
        fn decode_inverts_encode(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in "[a-z]{1,8}/[a-z0-9.+-]{1,8}(;[a-z]{1,3}=[a-z0-9]{1,3})?") {
            let decoded = decode(&encode(&kind, &bytes)).unwrap();
            prop_assert_eq!(&*decoded.content_type, kind.as_str());
            prop_assert_eq!(decoded.bytes, bytes);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(data:)?\\PC{0,12}(;base64)?,?[A-Za-z0-9%=+/ #]{0,20}") {
            let bytes_max = 8;
            if let Ok(decoded) = decode_up_to(&text, bytes_max) {
                prop_assert!(decoded.bytes.len() <= bytes_max);
            }
        }

        #[test]
        fn percent_encoding_is_undone(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(decode(&format!("data:,{escaped}")).unwrap().bytes, bytes);
        }
    }
}
