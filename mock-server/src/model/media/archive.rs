//! ZIP archives: two small files, stored without compression.

use super::{Picture, Size};

/// What an archive depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) seed: u64,
}

impl Archive {
    pub(crate) fn make(&self) -> Vec<u8> {
        let picture = Picture {
            size: Size { width: 64, height: 64 },
            seed: self.seed,
            endpoint: "".into(),
            prompt: "".into(),
        };
        let about = format!("made by fal-mock from {:016x}\n", self.seed);
        zip(&[("about.txt", about.as_bytes()), ("0000.png", &picture.render())])
    }
}

/// Source: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16 (documented).
fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in files {
        let offset = length(out.len());
        let mut common = Vec::new();
        // Version 2.0, no flags, stored, midnight of 1 January 1980.
        for half in [20u16, 0, 0, 0, 0x21] {
            common.extend_from_slice(&half.to_le_bytes());
        }
        for word in [crc32(bytes), length(bytes.len()), length(bytes.len()), length(name.len())] {
            common.extend_from_slice(&word.to_le_bytes());
        }
        // The name's length has two bytes, and so has that of the extra field, which is empty.
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]); // Comment, disk, attributes.
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, size) = (length(out.len()), length(directory.len()));
    let count = u16::try_from(files.len()).expect("two files");
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("archives here are small")
}

/// CRC-32 as in ZIP and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn the_directory_points_at_the_files() {
        let bytes = Archive { seed: 3 }.make();
        let end = bytes.len() - 22;
        assert_eq!(&bytes[end..end + 4], b"PK\x05\x06");
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (size, start) = (word(end + 12), word(end + 16));
        assert_eq!(start + size, end);
        let mut at = start;
        let mut names = Vec::new();
        while at < end {
            assert_eq!(&bytes[at..at + 4], b"PK\x01\x02");
            let (crc, len, name_len, offset) =
                (word(at + 16), word(at + 24), bytes[at + 28], word(at + 42));
            let name_len = usize::from(name_len);
            let name = &bytes[at + 46..at + 46 + name_len];
            assert_eq!(&bytes[offset..offset + 4], b"PK\x03\x04");
            assert_eq!(&bytes[offset + 30..offset + 30 + name_len], name);
            let content = &bytes[offset + 30 + name_len..][..len];
            assert_eq!(crc32(content) as usize, crc);
            names.push(String::from_utf8(name.to_vec()).unwrap());
            at += 46 + name_len;
        }
        assert_eq!(names, ["about.txt", "0000.png"]);
    }
}
