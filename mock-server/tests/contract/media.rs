//! Whether files are what their answers say.

use bytes::Bytes;
use http::Response;
use serde_json::Value;

/// Checks a download against what an answer says of it: type, length, name, size, and that it is of its kind.
#[track_caller]
pub(crate) fn check(url: &str, about: &Value, file: &Response<Bytes>) {
    let content_type = file.headers()["content-type"].to_str().expect("a text");
    let bytes = file.body();
    if let Some(stated) = about["content_type"].as_str() {
        assert_eq!(stated, content_type, "{url}");
    }
    if let Some(stated) = about["file_size"].as_u64() {
        assert_eq!(stated, bytes.len() as u64, "{url}");
    }
    if let Some(stated) = about["file_name"].as_str() {
        assert!(url.ends_with(stated), "{url}: {stated}");
    }
    let size = match content_type {
        "image/png" => Some(png_size(bytes)),
        "image/jpeg" => Some(jpeg_size(bytes)),
        "image/webp" => Some(webp_size(bytes)),
        "video/mp4" => Some(mp4_size(bytes)),
        _ => None,
    };
    if let Some((width, height)) = size {
        if let (Some(w), Some(h)) = (about["width"].as_u64(), about["height"].as_u64()) {
            assert_eq!((w, h), (width, height), "{url}");
        }
        return;
    }
    match content_type {
        "audio/wav" => {
            assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]), "{url}");
            let stated = u32::from_le_bytes(bytes[40..44].try_into().expect("four bytes"));
            assert_eq!(stated as usize + 44, bytes.len(), "{url}");
        }
        "audio/mpeg" => {
            assert!(bytes.chunks(104).all(|frame| frame.starts_with(&[0xFF, 0xFB])), "{url}")
        }
        "model/gltf-binary" => {
            let stated = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
            assert_eq!((&bytes[..4], stated as usize), (&b"glTF"[..], bytes.len()), "{url}");
        }
        "application/zip" => {
            assert!(
                bytes.starts_with(b"PK\x03\x04")
                    && bytes[bytes.len() - 22..].starts_with(b"PK\x05\x06"),
                "{url}"
            );
        }
        "application/json" => {
            serde_json::from_slice::<Value>(bytes).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        "application/octet-stream" if url.ends_with(".safetensors") => {
            let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
            let header: Value =
                serde_json::from_slice(&bytes[8..8 + len]).expect("a header of JSON");
            assert!(header.as_object().is_some_and(|header| header.len() > 1), "{url}");
        }
        "image/svg+xml" => assert!(bytes.starts_with(b"<svg "), "{url}"),
        "model/obj"
        | "model/stl"
        | "text/plain"
        | "application/x-subrip"
        | "application/octet-stream" => {
            assert!(std::str::from_utf8(bytes).is_ok_and(|text| !text.is_empty()), "{url}");
        }
        other => panic!("{url}: unexpected type {other}"),
    }
}

/// Decodes the whole picture.
fn png_size(bytes: &[u8]) -> (u64, u64) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
    reader.next_frame(&mut pixels).expect("all rows");
    (reader.info().width.into(), reader.info().height.into())
}

/// Goes to the head of the frame, and to the end marker.
fn jpeg_size(bytes: &[u8]) -> (u64, u64) {
    assert!(bytes.starts_with(&[0xFF, 0xD8]) && bytes.ends_with(&[0xFF, 0xD9]));
    let half = |at: usize| u64::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let mut at = 2;
    while !matches!(bytes[at + 1], 0xC0..=0xC2) {
        assert_eq!(bytes[at], 0xFF);
        at += 2 + half(at + 2) as usize;
    }
    (half(at + 7), half(at + 5))
}

fn webp_size(bytes: &[u8]) -> (u64, u64) {
    assert_eq!((&bytes[..4], &bytes[8..16]), (&b"RIFF"[..], &b"WEBPVP8L"[..]));
    assert_eq!(
        u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize + 8,
        bytes.len()
    );
    let bits = u32::from_le_bytes(bytes[21..25].try_into().expect("four bytes"));
    (u64::from(bits & 0x3FFF) + 1, u64::from(bits >> 14 & 0x3FFF) + 1)
}

/// The boxes of the file are whole, and the head of the track says how large the picture is.
fn mp4_size(bytes: &[u8]) -> (u64, u64) {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut at, mut kinds) = (0, Vec::new());
    while at < bytes.len() {
        kinds.push(&bytes[at + 4..at + 8]);
        at += word(at) as usize;
    }
    assert_eq!((at, kinds), (bytes.len(), vec![&b"ftyp"[..], b"moov", b"mdat"]));
    let head = bytes.windows(4).position(|four| four == b"tkhd").expect("a track");
    (u64::from(word(head + 80) >> 16), u64::from(word(head + 84) >> 16))
}
