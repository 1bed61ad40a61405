//! The size of a picture that somebody gave, read from the head of its file.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};
use base64::{alphabet, engine::DecodePaddingMode};

use super::{SIDE_MAX, Size};

/// The size of a PNG, JPEG, WebP or GIF; `None` if it is none, or if a side is 0. Sides are cut to [`SIDE_MAX`].
pub(crate) fn size_of(bytes: &[u8]) -> Option<Size> {
    let (width, height) =
        png(bytes).or_else(|| jpeg(bytes)).or_else(|| webp(bytes)).or_else(|| gif(bytes))?;
    let side = |side: u32| side.min(SIDE_MAX);
    (width > 0 && height > 0).then_some(Size { width: side(width), height: side(height) })
}

/// The same of a data URI in base64, of which only the start is decoded.
pub(crate) fn size_of_data_uri(uri: &str) -> Option<Size> {
    let (head, data) = uri.strip_prefix("data:")?.split_once(',')?;
    if !head.ends_with(";base64") {
        return None;
    }
    // Whole groups of four, so that the cut is no error.
    let end = data.len().min(DATA_URI_CHARS_MAX) / 4 * 4;
    let start = data.get(..end)?;
    let bytes = LENIENT.decode(start).or_else(|_| STANDARD.decode(start)).ok()?;
    size_of(&bytes)
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let body = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    (body.get(4..8)? == b"IHDR").then_some((big(body.get(8..12)?), big(body.get(12..16)?)))
}

fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    let body = bytes.strip_prefix(b"GIF87a").or_else(|| bytes.strip_prefix(b"GIF89a"))?;
    Some((little(body.get(..2)?), little(body.get(2..4)?)))
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let body = bytes.get(20..)?;
    match bytes.get(12..16)? {
        b"VP8X" => Some((little(body.get(4..7)?) + 1, little(body.get(7..10)?) + 1)),
        b"VP8L" => {
            let bits = little(body.get(1..5)?);
            Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1))
        }
        b"VP8 " => Some((little(body.get(6..8)?) & 0x3FFF, little(body.get(8..10)?) & 0x3FFF)),
        _ => None,
    }
}

/// Goes from segment to segment to the head of the frame.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.strip_prefix(b"\xFF\xD8")?;
    for _ in 0..SEGMENTS_MAX {
        let marker = *rest.get(1).filter(|_| rest[0] == 0xFF)?;
        if marker == 0xFF {
            rest = &rest[1..]; // A fill byte.
            continue;
        }
        let is_frame = matches!(marker, 0xC0..=0xCF) && !matches!(marker, 0xC4 | 0xC8 | 0xCC);
        if is_frame {
            return Some((big(rest.get(7..9)?), big(rest.get(5..7)?)));
        }
        let length = big(rest.get(2..4)?) as usize;
        rest = rest.get(2 + length.max(2)..)?;
    }
    None
}

fn big(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn little(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Padding may be missing: people cut it off.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes of a file that are looked at.
pub(crate) const HEAD_BYTES_MAX: u64 = 256 << 10;

/// Characters of a data URI that are decoded; photos have a preview of some tens of KiB before their size.
const DATA_URI_CHARS_MAX: usize = 256 << 10;

/// Segments of a JPEG that are passed over.
const SEGMENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::super::{Media, Picture, PictureFormat};
    use super::*;

    fn picture(format: PictureFormat) -> Vec<u8> {
        let size = Size { width: 37, height: 21 };
        Media::Picture(
            Picture { size, seed: 1, endpoint: "a/b".into(), prompt: "x".into() },
            format,
        )
        .make()
    }

    #[test]
    fn what_is_made_here_is_measured() {
        for format in [PictureFormat::Png, PictureFormat::Jpeg, PictureFormat::Webp] {
            let bytes = picture(format);
            assert_eq!(size_of(&bytes), Some(Size { width: 37, height: 21 }), "{format:?}");
            let uri = format!("data:image/x;base64,{}", STANDARD.encode(&bytes));
            assert_eq!(size_of_data_uri(&uri), size_of(&bytes));
            assert_eq!(size_of_data_uri(uri.trim_end_matches('=')), size_of(&bytes));
            for end in 0..bytes.len().min(64) {
                let _ = size_of(&bytes[..end]);
            }
        }
    }

    #[test]
    fn other_heads_are_read() {
        assert_eq!(size_of(b"GIF89a\x05\x00\x03\x00"), Some(Size { width: 5, height: 3 }));
        let mut lossy = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a".to_vec();
        lossy.extend_from_slice(&[0x10, 0, 0x20, 0]);
        assert_eq!(size_of(&lossy), Some(Size { width: 16, height: 32 }));
        assert_eq!(size_of(b"GIF89a\x00\x00\x03\x00"), None);
        for other in [&b""[..], b"\xFF\xD8", b"\xFF\xD8\xFF", b"RIFF", b"hello"] {
            assert_eq!(size_of(other), None);
        }
        for other in
            ["", "data:", "data:,x", "data:image/png;base64,", "data:image/png;base64,é==="]
        {
            assert_eq!(size_of_data_uri(other), None, "{other}");
        }
    }
}
