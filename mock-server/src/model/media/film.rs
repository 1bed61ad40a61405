//! Films: MP4 with one silent track of H.264, a new colour each second.

use fal_protocol::rand::SplitMix64;

use super::h264::{CONSTRAINTS, Colour, PROFILE, Stream};
use super::{SIDE_MAX, Size};

/// What a film depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Film {
    /// Even sides.
    pub(crate) size: Size,
    pub(crate) frames: u32,
    /// Frames in a second.
    pub(crate) rate: u32,
    /// Decides the colours.
    pub(crate) seed: u64,
}

impl Film {
    /// A film within the limits; odd sides grow by one.
    pub(crate) fn new(size: Size, frames: u64, rate: u32, seed: u64) -> Self {
        let even = |side: u32| (side.clamp(2, SIDE_MAX) + 1) & !1;
        let size = Size { width: even(size.width), height: even(size.height) };
        let rate = rate.clamp(1, RATE_MAX);
        let most = FRAMES_MAX.min(SECONDS_MAX * rate);
        let frames = u32::try_from(frames).unwrap_or(u32::MAX).clamp(1, most);
        Self { size, frames, rate, seed }
    }

    pub(crate) fn millis(&self) -> u64 {
        u64::from(self.frames) * 1000 / u64::from(self.rate)
    }

    /// Source: ISO/IEC 14496-12 and 14496-15, the boxes that every player needs (documented).
    pub(crate) fn make(&self) -> Vec<u8> {
        let stream = Stream::new(self.size);
        let mut rng = SplitMix64::new(self.seed);
        let mut sizes = Vec::with_capacity(self.frames as usize);
        let mut keys = Vec::new();
        let mut data = Vec::new();
        for frame in 0..self.frames {
            let since_key = frame % self.rate;
            let unit = if since_key == 0 {
                keys.push(frame + 1);
                let mut level = |reach: i8| {
                    i8::try_from(rng.below(2 * reach.unsigned_abs() as u64 + 1)).expect("a level")
                        - reach
                };
                let colour = Colour { levels: [level(4), level(8), level(8)] };
                stream.key(colour, keys.len() % 2 == 0)
            } else {
                stream.repeat(since_key)
            };
            sizes.push(length(unit.len() + 4));
            data.extend_from_slice(&length(unit.len()).to_be_bytes());
            data.extend_from_slice(&unit);
        }
        let head = boxed(b"ftyp", &[b"isom\0\0\x02\0isomiso2avc1mp41"]);
        // The table of places has one entry, whose value does not change the length of its box.
        let place = head.len() + self.moov(&stream, &sizes, &keys, 0).len() + 8;
        let moov = self.moov(&stream, &sizes, &keys, length(place));
        [head, moov, boxed(b"mdat", &[&data])].concat()
    }

    fn moov(&self, stream: &Stream, sizes: &[u32], keys: &[u32], place: u32) -> Vec<u8> {
        let (scale, time) = (self.rate * TICKS, self.frames * TICKS);
        let Size { width, height } = self.size;
        let matrix = words(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
        let mvhd = boxed(
            b"mvhd",
            &[
                &words(&[0, 0, 0, scale, time, 0x1_0000, 0x0100_0000, 0, 0]),
                &matrix,
                &words(&[0, 0, 0, 0, 0, 0, 2]),
            ],
        );
        let tkhd = boxed(
            b"tkhd",
            &[
                &words(&[3, 0, 0, 1, 0, time, 0, 0, 0, 0]),
                &matrix,
                &words(&[width << 16, height << 16]),
            ],
        );
        let mdhd = boxed(b"mdhd", &[&words(&[0, 0, 0, scale, time, 0x55C4_0000])]);
        let hdlr = boxed(b"hdlr", &[&words(&[0, 0]), b"vide", &words(&[0, 0, 0]), b"fal-mock\0"]);
        let vmhd = boxed(b"vmhd", &[&words(&[1, 0, 0])]);
        let dref = boxed(b"dref", &[&words(&[0, 1]), &boxed(b"url ", &[&words(&[1])])]);
        let (sps, pps) = (stream.sequence(), stream.picture());
        let avcc = boxed(
            b"avcC",
            &[
                &[1, PROFILE, CONSTRAINTS, stream.level(), 0xFF, 0xE1],
                &half(sps.len()),
                &sps,
                &[1],
                &half(pps.len()),
                &pps,
            ],
        );
        let avc1 = boxed(
            b"avc1",
            &[
                &words(&[0, 1, 0, 0, 0, 0]),
                &half(width as usize),
                &half(height as usize),
                &words(&[0x48_0000, 0x48_0000, 0]),
                &half(1),
                &[0; 32],
                &[0, 24, 0xFF, 0xFF],
                &avcc,
            ],
        );
        let stbl = boxed(
            b"stbl",
            &[
                &boxed(b"stsd", &[&words(&[0, 1]), &avc1]),
                &boxed(b"stts", &[&words(&[0, 1, self.frames, TICKS])]),
                &boxed(b"stss", &[&words(&[0, length(keys.len())]), &words(keys)]),
                &boxed(b"stsc", &[&words(&[0, 1, 1, self.frames, 1])]),
                &boxed(b"stsz", &[&words(&[0, 0, self.frames]), &words(sizes)]),
                &boxed(b"stco", &[&words(&[0, 1, place])]),
            ],
        );
        let minf = boxed(b"minf", &[&vmhd, &boxed(b"dinf", &[&dref]), &stbl]);
        let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
        boxed(b"moov", &[&mvhd, &boxed(b"trak", &[&tkhd, &mdia])])
    }
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let len = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&length(len).to_be_bytes());
    out.extend_from_slice(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn half(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("sides and parameter sets are small").to_be_bytes()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("the limits keep films far below four gigabytes")
}

/// Frames in a second at most.
const RATE_MAX: u32 = 120;

/// Longest film: 10 minutes.
const SECONDS_MAX: u32 = 600;

/// Most frames of a film.
const FRAMES_MAX: u32 = 20_000;

/// Units of time for each frame.
const TICKS: u32 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a box below others.
    fn find<'a>(mut bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
        let (first, rest) = path.split_first()?;
        while bytes.len() >= 8 {
            let len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            let content = &bytes[8..len];
            if bytes[4..8] == first[..] {
                return if rest.is_empty() { Some(content) } else { find(content, rest) };
            }
            bytes = &bytes[len..];
        }
        None
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at * 4..at * 4 + 4].try_into().unwrap())
    }

    #[test]
    fn boxes_agree_with_the_data() {
        let film = Film::new(Size { width: 639, height: 360 }, 60, 24, 7);
        let bytes = film.make();
        let stbl: [&[u8; 4]; 5] = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];
        let table = |name: &'static [u8; 4]| find(&bytes, &[&stbl[..], &[name]].concat()).unwrap();
        let sizes = table(b"stsz");
        assert_eq!(word(sizes, 2), 60);
        let total: u32 = (0..60).map(|frame| word(sizes, 3 + frame)).sum();
        let data = find(&bytes, &[b"mdat"]).unwrap();
        assert_eq!(total as usize, data.len());
        let place = word(table(b"stco"), 2) as usize;
        assert_eq!(bytes.len() - place, data.len());
        // Each sample is one unit behind its length.
        let mut at = place;
        for frame in 0..60 {
            let size = word(sizes, 3 + frame) as usize;
            assert_eq!(
                u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize,
                size - 4
            );
            assert_eq!(bytes[at + 4] & 31, if frame % 24 == 0 { 5 } else { 1 });
            at += size;
        }
        let header = find(&bytes, &[b"moov", b"trak", b"tkhd"]).unwrap();
        assert_eq!((word(header, 19) >> 16, word(header, 20) >> 16), (640, 360));
        let header = find(&bytes, &[b"moov", b"mvhd"]).unwrap();
        assert_eq!(u64::from(word(header, 4)) * 1000 / u64::from(word(header, 3)), film.millis());
    }

    #[test]
    fn films_are_within_limits() {
        let film = Film::new(Size { width: 0, height: 99_999 }, u64::MAX, 999, 0);
        assert_eq!((film.size, film.rate), (Size { width: 2, height: SIDE_MAX }, RATE_MAX));
        assert_eq!(film.frames, FRAMES_MAX);
        let film = Film::new(Size { width: 2, height: 2 }, 0, 0, 0);
        assert_eq!((film.frames, film.rate), (1, 1));
    }

    #[test]
    fn films_follow_from_their_seed() {
        let film = |seed| Film::new(Size { width: 64, height: 64 }, 48, 24, seed).make();
        assert_eq!(film(1), film(1));
        assert_ne!(film(1), film(2));
    }
}
