//! Media types by file name, for the kinds of file that fal's models take and make.

/// The media type that a file name's ending means; `application/octet-stream` if it means none.
pub(crate) fn content_type_of(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let found = ending.and_then(|ending| TYPES.iter().find(|(known, _)| *known == ending));
    found.map_or("application/octet-stream", |(_, content_type)| content_type)
}

/// The ending that a media type means; `bin` if it means none.
pub(crate) fn ending_of(content_type: &str) -> &'static str {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    TYPES.iter().find(|(_, known)| *known == essence).map_or("bin", |(ending, _)| ending)
}

/// Of several endings for one type the usual one comes first.
const TYPES: [(&str, &str); 37] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("avif", "image/avif"),
    ("heic", "image/heic"),
    ("bmp", "image/bmp"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("svg", "image/svg+xml"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
    ("ogg", "audio/ogg"),
    ("flac", "audio/flac"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
    ("opus", "audio/opus"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("obj", "model/obj"),
    ("stl", "model/stl"),
    ("ply", "model/ply"),
    ("zip", "application/zip"),
    ("tar", "application/x-tar"),
    ("gz", "application/gzip"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("safetensors", "application/octet-stream"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_go_both_ways() {
        assert_eq!(content_type_of("a/b.C.PNG"), "image/png");
        assert_eq!(content_type_of("noending"), "application/octet-stream");
        assert_eq!(ending_of("image/jpeg; charset=x"), "jpg");
        assert_eq!(ending_of("x/y"), "bin");
    }
}
