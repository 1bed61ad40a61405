//! Sounds: a melody as WAV, or silence as MP3.

use std::f64::consts::TAU;

use fal_protocol::rand::SplitMix64;

/// What a sound depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// How long it is, at most [`SOUND_MILLIS_MAX`].
    pub(crate) millis: u64,
    /// Samples in a second; of no meaning for MP3.
    pub(crate) rate: u32,
    /// Which melody.
    pub(crate) seed: u64,
    pub(crate) format: SoundFormat,
}

/// How a sound is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SoundFormat {
    /// PCM of 16 bits, one channel.
    Wav,
    /// MPEG-1 layer III, one channel, 44.1 kHz, 32 kbit/s: silence, because there is no encoder here.
    Mp3,
}

impl Sound {
    /// A sound within the limits: longer ones are cut, and where it would be too large its rate is lower.
    pub(crate) fn new(millis: u64, rate: u32, seed: u64, format: SoundFormat) -> Self {
        let millis = millis.min(SOUND_MILLIS_MAX);
        let rate = rate.clamp(RATE_MIN, RATE_MAX);
        let is_large = millis * u64::from(rate) * 2 / 1000 > WAV_BYTES_MAX;
        Self { millis, rate: if is_large { RATE_MIN } else { rate }, seed, format }
    }

    /// Samples in a second, as the file has them.
    pub(crate) const fn rate(&self) -> u32 {
        match self.format {
            SoundFormat::Wav => self.rate,
            SoundFormat::Mp3 => MP3_RATE,
        }
    }

    pub(crate) fn make(&self) -> Vec<u8> {
        match self.format {
            SoundFormat::Wav => self.wav(),
            SoundFormat::Mp3 => self.mp3(),
        }
    }

    /// What a WAV has after its head: samples of 16 bits, the lower half first.
    pub(crate) fn pcm(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.samples() * 2);
        self.push_samples(&mut out);
        out
    }

    fn samples(&self) -> usize {
        usize::try_from(self.millis * u64::from(self.rate) / 1000).expect("within the limits")
    }

    fn wav(&self) -> Vec<u8> {
        let samples = self.samples();
        let data = u32::try_from(samples * 2).expect("within the limits");
        let mut out = Vec::with_capacity(WAV_HEAD_BYTES + samples * 2);
        out.extend_from_slice(b"RIFF");
        out.extend_from_slice(&(data + 36).to_le_bytes());
        out.extend_from_slice(b"WAVEfmt ");
        out.extend_from_slice(&16u32.to_le_bytes());
        for half in [1u16, 1] {
            out.extend_from_slice(&half.to_le_bytes()); // PCM, one channel.
        }
        for word in [self.rate, self.rate * 2] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for half in [2u16, 16] {
            out.extend_from_slice(&half.to_le_bytes()); // Bytes of a sample, bits of a sample.
        }
        out.extend_from_slice(b"data");
        out.extend_from_slice(&data.to_le_bytes());
        self.push_samples(&mut out);
        out
    }

    fn push_samples(&self, out: &mut Vec<u8>) {
        let samples = self.samples();
        let note_samples = (self.rate / NOTES_PER_SECOND) as usize;
        let mut rng = SplitMix64::new(self.seed);
        let mut written = 0;
        while written < samples {
            let step = u32::try_from(rng.below(SCALE.len() as u64)).expect("an index");
            let pitch = LOWEST_HZ * SCALE[step as usize];
            for at in 0..note_samples.min(samples - written) {
                // Each note swells and fades, so that nothing clicks.
                let part = at as f64 / note_samples as f64;
                let loud = LOUDNESS * (part * TAU / 2.0).sin();
                let wave = (TAU * pitch * at as f64 / f64::from(self.rate)).sin();
                out.extend_from_slice(&((loud * wave) as i16).to_le_bytes());
            }
            written += note_samples.min(samples - written);
        }
    }

    /// Frames whose main data is empty decode to silence.
    fn mp3(&self) -> Vec<u8> {
        let frames = (self.millis * u64::from(MP3_RATE)).div_ceil(1000 * MP3_FRAME_SAMPLES).max(1);
        let mut frame = [0u8; MP3_FRAME_BYTES];
        frame[..4].copy_from_slice(&[0xFF, 0xFB, 0x10, 0xC0]);
        frame.repeat(usize::try_from(frames).expect("within the limits"))
    }
}

/// Longest sound: 10 minutes.
pub(crate) const SOUND_MILLIS_MAX: u64 = 600_000;

/// Samples in a second where nothing is asked.
pub(crate) const RATE: u32 = 24_000;

/// Fewest and most samples in a second.
const RATE_MIN: u32 = 8_000;
const RATE_MAX: u32 = 48_000;

/// Longer files get [`RATE_MIN`]: 8 MiB.
const WAV_BYTES_MAX: u64 = 8 << 20;

const WAV_HEAD_BYTES: usize = 44;
const NOTES_PER_SECOND: u32 = 4;
const LOWEST_HZ: f64 = 220.0;
const LOUDNESS: f64 = 9000.0;

/// Two octaves of a pentatonic scale, in which any two notes go together.
const SCALE: [f64; 10] =
    [1.0, 9.0 / 8.0, 5.0 / 4.0, 3.0 / 2.0, 5.0 / 3.0, 2.0, 9.0 / 4.0, 5.0 / 2.0, 3.0, 10.0 / 3.0];

const MP3_RATE: u32 = 44_100;
const MP3_FRAME_SAMPLES: u64 = 1152;

/// 144 * 32,000 / 44,100, rounded down: no frame is padded.
const MP3_FRAME_BYTES: usize = 104;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wav_is_as_long_as_its_header_says() {
        for (millis, rate) in [(0, 8000), (1500, 24_000), (999, 44_100)] {
            let bytes = Sound::new(millis, rate, 1, SoundFormat::Wav).make();
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(
                (&bytes[..4], &bytes[8..16], &bytes[36..40]),
                (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..])
            );
            assert_eq!((word(4) as usize + 8, word(24), word(28)), (bytes.len(), rate, rate * 2));
            assert_eq!(word(40) as usize, bytes.len() - WAV_HEAD_BYTES);
            assert_eq!(u64::from(word(40)), millis * u64::from(rate) / 1000 * 2);
            let pcm = Sound::new(millis, rate, 1, SoundFormat::Wav).pcm();
            assert!(pcm == bytes[WAV_HEAD_BYTES..], "the same without its head");
        }
    }

    #[test]
    fn long_sounds_are_cut_and_coarse() {
        let longest = Sound::new(SOUND_MILLIS_MAX, RATE_MAX, 1, SoundFormat::Wav);
        assert_eq!((longest.millis, longest.rate), (SOUND_MILLIS_MAX, RATE_MIN));
        let longer = Sound::new(SOUND_MILLIS_MAX + 1, RATE, 1, SoundFormat::Wav);
        assert_eq!(longer.millis, SOUND_MILLIS_MAX);
    }

    #[test]
    fn an_mp3_is_whole_frames() {
        let bytes = Sound::new(1000, RATE, 1, SoundFormat::Mp3).make();
        assert_eq!(bytes.len(), 39 * MP3_FRAME_BYTES, "39 frames are 1.02 s");
        assert!(bytes.chunks(MP3_FRAME_BYTES).all(|frame| frame.starts_with(&[0xFF, 0xFB])));
    }
}
