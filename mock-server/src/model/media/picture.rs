//! Pictures: real PNGs that show the prompt over a pattern, the same for the same input.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use fal_protocol::rand::SplitMix64;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Everything that a picture depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) size: Size,
    /// Decides colours and pattern.
    pub(crate) seed: u64,
    pub(crate) endpoint: Box<str>,
    pub(crate) prompt: Box<str>,
}

impl Picture {
    /// Draws and encodes it.
    pub(crate) fn render(&self) -> Vec<u8> {
        let pixels = self.draw();
        let mut out = Vec::with_capacity(pixels.len() / 8 + 1024);
        let mut encoder = png::Encoder::new(&mut out, self.size.width, self.size.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        // Rows change slowly from one to the next, so the row above predicts nearly every byte.
        encoder.set_filter(png::Filter::Up);
        let mut writer = encoder.write_header().expect("sizes are above zero and a Vec takes all");
        writer.write_image_data(&pixels).expect("the buffer has the size that the header states");
        writer.finish().expect("a Vec takes all");
        out
    }

    /// Draws it and encodes it as JPEG.
    pub(crate) fn render_jpeg(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let [width, height] = self.sides();
        jpeg_encoder::Encoder::new(&mut out, JPEG_QUALITY)
            .encode(&self.draw(), width, height, jpeg_encoder::ColorType::Rgb)
            .expect("three bytes for each pixel, and a Vec takes all");
        out
    }

    /// Draws it and encodes it as WebP without loss.
    pub(crate) fn render_webp(&self) -> Vec<u8> {
        let mut out = Vec::new();
        image_webp::WebPEncoder::new(&mut out)
            .encode(&self.draw(), self.size.width, self.size.height, image_webp::ColorType::Rgb8)
            .expect("three bytes for each pixel, and a Vec takes all");
        out
    }

    fn sides(&self) -> [u16; 2] {
        [self.size.width, self.size.height]
            .map(|side| u16::try_from(side).expect("at most SIDE_MAX"))
    }

    fn draw(&self) -> Vec<u8> {
        let mut canvas = Canvas::new(self.size);
        let mut rng = SplitMix64::new(self.seed);
        canvas.fill(&mut rng);
        canvas.write(&self.prompt, &self.endpoint);
        canvas.pixels
    }
}

struct Canvas {
    size: Size,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(size: Size) -> Self {
        let bytes = size.width as usize * size.height as usize * 3;
        Self { size, pixels: vec![0; bytes] }
    }

    /// A diagonal blend of three colours with soft discs on it.
    fn fill(&mut self, rng: &mut SplitMix64) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let hue = rng.unit();
        let corners = [
            colour(hue, 0.55, 0.42),
            colour(hue + 0.08 + 0.1 * rng.unit(), 0.60, 0.60),
            colour(hue + 0.22 + 0.2 * rng.unit(), 0.50, 0.30),
        ];
        let discs: Vec<[i64; 4]> = (0..DISCS)
            .map(|_| {
                let short = width.min(height) as u64;
                let radius = short / 8 + rng.below(short / 3 + 1);
                let light = if rng.below(2) == 0 { 14 } else { -12 };
                [
                    rng.below(width as u64) as i64,
                    rng.below(height as u64) as i64,
                    radius as i64,
                    light,
                ]
            })
            .collect();
        let row_bytes = width * 3;
        for (y, row) in self.pixels.chunks_exact_mut(row_bytes).enumerate() {
            // Along a row the blend is linear, so one step per channel suffices (16.16 fixed point).
            let down = y as f64 / height as f64;
            let left = mix(corners[0], corners[2], down);
            let right = mix(corners[1], mix(corners[0], corners[1], 0.4), down);
            let step: [i32; 3] =
                std::array::from_fn(|c| ((right[c] - left[c]) * 65536.0 / width as f64) as i32);
            let mut value: [i32; 3] = std::array::from_fn(|c| (left[c] * 65536.0) as i32);
            for pixel in row.chunks_exact_mut(3) {
                for channel in 0..3 {
                    pixel[channel] = (value[channel] >> 16) as u8;
                    value[channel] += step[channel];
                }
            }
            for [x, cy, radius, light] in &discs {
                let dy = y as i64 - cy;
                let half = (radius * radius - dy * dy).max(0).isqrt();
                let from = (x - half).clamp(0, width as i64) as usize;
                let to = (x + half).clamp(0, width as i64) as usize;
                for byte in &mut row[from * 3..to * 3] {
                    *byte = byte.saturating_add_signed(*light as i8);
                }
            }
        }
    }

    /// The prompt in the middle, the endpoint and the size at the foot.
    fn write(&mut self, prompt: &str, endpoint: &str) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        let Some(font) = FONTS.iter().find(|font| width >= font.needs || font.needs == 0) else {
            return;
        };
        let margin = width / 16;
        let foot_height = font.small.val() + margin / 2;
        let columns = (width - 2 * margin) / get_raster_width(FontWeight::Bold, font.large);
        let rows = height.saturating_sub(foot_height + margin) / (font.large.val() + LINE_GAP);
        if columns == 0 || rows == 0 {
            return;
        }
        let lines = wrap(prompt, columns, rows.min(LINES_MAX));
        let text_height = lines.len() * (font.large.val() + LINE_GAP);
        let mut top = (height.saturating_sub(foot_height) - text_height.min(height)) / 2;
        if !lines.is_empty() {
            let pad = margin / 2;
            self.shade(top.saturating_sub(pad), (top + text_height + pad).min(height), 96);
        }
        for line in &lines {
            self.line(margin, top, line, FontWeight::Bold, font.large);
            top += font.large.val() + LINE_GAP;
        }
        let columns = (width - margin) / get_raster_width(FontWeight::Regular, font.small);
        let mut foot = format!("{endpoint}  {width}x{height}  fal-mock");
        // What does not fit goes word by word, and the endpoint letter by letter.
        while foot.chars().count() > columns
            && let Some((start, _)) = foot.rsplit_once("  ")
        {
            foot.truncate(start.len());
        }
        let foot_top = height.saturating_sub(font.small.val() + margin / 4);
        self.shade(foot_top.saturating_sub(margin / 4), height, 140);
        let foot: String = foot.chars().take(columns).collect();
        self.line(margin / 2, foot_top, &foot, FontWeight::Regular, font.small);
    }

    /// Darkens whole rows, so that white text is readable on them. `keep` of 256 stays.
    fn shade(&mut self, from: usize, to: usize, keep: u16) {
        let row_bytes = self.size.width as usize * 3;
        for byte in &mut self.pixels[from * row_bytes..to.max(from) * row_bytes] {
            *byte = ((u16::from(*byte) * keep) >> 8) as u8;
        }
    }

    fn line(
        &mut self,
        left: usize,
        top: usize,
        text: &str,
        weight: FontWeight,
        height: RasterHeight,
    ) {
        let advance = get_raster_width(weight, height);
        for (column, c) in text.chars().enumerate() {
            let Some(glyph) =
                get_raster(c, weight, height).or_else(|| get_raster('?', weight, height))
            else {
                continue;
            };
            for (dy, row) in glyph.raster().iter().enumerate() {
                for (dx, ink) in row.iter().enumerate().filter(|(_, ink)| **ink > 0) {
                    self.blend(left + column * advance + dx, top + dy, *ink);
                }
            }
        }
    }

    fn blend(&mut self, x: usize, y: usize, ink: u8) {
        if x >= self.size.width as usize || y >= self.size.height as usize {
            return;
        }
        let at = (y * self.size.width as usize + x) * 3;
        for byte in &mut self.pixels[at..at + 3] {
            let below = u16::from(*byte);
            *byte = (below + (255 - below) * u16::from(ink) / 255) as u8;
        }
    }
}

/// Breaks a text into lines at spaces, and inside words that are longer than a line.
fn wrap(text: &str, columns: usize, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let room = if length == 0 { columns } else { columns.saturating_sub(length + 1) };
            if rest.len() > room && length > 0 {
                length = 0; // The next round starts a line.
                continue;
            }
            let taken: String = rest.drain(..rest.len().min(columns)).collect();
            let count = taken.chars().count();
            if length == 0 {
                if lines.len() == lines_max {
                    let last = lines.last_mut().expect("lines_max is above zero");
                    *last =
                        last.chars().take(columns.saturating_sub(3)).chain("...".chars()).collect();
                    return lines;
                }
                lines.push(taken);
                length = count;
            } else {
                let last = lines.last_mut().expect("a started line");
                last.push(' ');
                last.push_str(&taken);
                length += count + 1;
            }
        }
    }
    lines
}

/// Red, green, blue of hue, saturation and lightness, each in 0 to 1.
fn colour(hue: f64, saturation: f64, lightness: f64) -> [f64; 3] {
    let amount = saturation * lightness.min(1.0 - lightness);
    [0.0, 8.0, 4.0].map(|n| {
        let k = (n + hue.fract() * 12.0) % 12.0;
        255.0 * (lightness - amount * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0))
    })
}

fn mix(a: [f64; 3], b: [f64; 3], part: f64) -> [f64; 3] {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * part)
}

/// The sizes of the two texts on a picture that is at least `needs` wide.
struct Font {
    needs: usize,
    large: RasterHeight,
    small: RasterHeight,
}

const FONTS: [Font; 3] = [
    Font { needs: 800, large: RasterHeight::Size32, small: RasterHeight::Size20 },
    Font { needs: 400, large: RasterHeight::Size24, small: RasterHeight::Size16 },
    Font { needs: 0, large: RasterHeight::Size16, small: RasterHeight::Size16 },
];

/// Of 100.
const JPEG_QUALITY: u8 = 85;

const DISCS: usize = 7;
const LINE_GAP: usize = 6;

/// Most lines of a prompt on a picture.
const LINES_MAX: usize = 8;

/// Longest side of a picture: 4096 pixels. Model documents allow 14142, which would be 600 MB.
pub(crate) const SIDE_MAX: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, seed: u64) -> Picture {
        let prompt =
            "a watercolour of a lighthouse at dawn, gulls over the harbour, soft light, très joli";
        Picture {
            size: Size { width, height },
            seed,
            endpoint: "fal-ai/flux/dev".into(),
            prompt: prompt.into(),
        }
    }

    #[test]
    fn every_size_is_a_valid_png() {
        for (width, height) in
            [(1, 1), (1, 300), (300, 1), (17, 23), (64, 64), (512, 512), (1024, 576)]
        {
            let bytes = picture(width, height, 1).render();
            let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
            assert_eq!((reader.info().width, reader.info().height), (width, height));
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, picture(width, height, 1).draw());
        }
    }

    #[test]
    fn pictures_follow_from_their_seed() {
        assert_eq!(picture(200, 100, 1).render(), picture(200, 100, 1).render());
        assert_ne!(picture(200, 100, 1).render(), picture(200, 100, 2).render());
    }

    #[test]
    fn text_is_wrapped() {
        assert_eq!(wrap("one two three", 7, 9), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh i", 3, 9), ["abc", "def", "gh", "i"]);
        assert_eq!(wrap("a b c d e f", 3, 2), ["a b", "..."]);
        assert_eq!(wrap("  ", 3, 2), Vec::<String>::new());
    }
}
