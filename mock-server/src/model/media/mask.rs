//! Masks: grey PNGs, white where a subject is.

use fal_protocol::rand::SplitMix64;

use super::Size;

/// What a mask depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) size: Size,
    /// Where the subject is.
    pub(crate) seed: u64,
}

impl Mask {
    pub(crate) fn make(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.size.width, self.size.height);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.set_filter(png::Filter::Up);
        let mut writer = encoder.write_header().expect("sizes are above zero and a Vec takes all");
        writer.write_image_data(&self.pixels()).expect("one byte for each pixel");
        writer.finish().expect("a Vec takes all");
        out
    }

    /// An ellipse about the middle, between a quarter and a half of each side wide.
    fn pixels(&self) -> Vec<u8> {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let mut rng = SplitMix64::new(self.seed);
        let mut half = |side: usize| side as f64 * (0.25 + 0.25 * rng.unit()) / 2.0 + 0.5;
        let (half_width, half_height) = (half(width), half(height));
        let mut pixels = vec![0; width * height];
        for (y, row) in pixels.chunks_exact_mut(width).enumerate() {
            let up = (y as f64 + 0.5 - height as f64 / 2.0) / half_height;
            let reach = half_width * (1.0 - up * up).max(0.0).sqrt();
            let from = (width as f64 / 2.0 - reach).round().max(0.0) as usize;
            let to = ((width as f64 / 2.0 + reach).round() as usize).min(width);
            if up.abs() <= 1.0 {
                row[from.min(to)..to].fill(u8::MAX);
            }
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_black_and_white_pngs_of_their_size() {
        for (width, height) in [(1, 1), (1, 9), (40, 30), (640, 480)] {
            let mask = Mask { size: Size { width, height }, seed: 5 };
            let bytes = mask.make();
            let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
            assert_eq!((reader.info().width, reader.info().height), (width, height));
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert!(pixels.iter().all(|pixel| [0, u8::MAX].contains(pixel)));
            assert!(pixels.contains(&u8::MAX), "{width}x{height}");
            assert!(width * height < 100 || pixels.contains(&0));
        }
    }
}
