//! H.264 of flat colours: each key picture is one colour, each picture between repeats the one before.
//!
//! A flat picture needs no transform: the first macroblock states the colour by its DC coefficients, and
//! every other one predicts it from its neighbours and adds nothing, which takes eight bits.
//!
//! Source: ITU-T H.264 (08/2021), sections 7.3 (syntax), 8.3.3 (prediction), 8.5 (transform) and 9.2
//! (CAVLC) (documented).

use super::Size;

/// Writes the units of one stream.
#[derive(Debug)]
pub(crate) struct Stream {
    size: Size,
    /// Macroblocks across and down.
    blocks: (u32, u32),
}

/// A colour as the coefficients of a first macroblock: steps of 14 for luma, of 7 for chroma, from middle grey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colour {
    /// From -8 to 8 each.
    pub(crate) levels: [i8; 3],
}

impl Stream {
    /// Sides must be even and above zero.
    pub(crate) const fn new(size: Size) -> Self {
        Self { size, blocks: (size.width.div_ceil(16), size.height.div_ceil(16)) }
    }

    /// The level of the standard that a picture of this size needs.
    pub(crate) const fn level(&self) -> u8 {
        match self.blocks.0 * self.blocks.1 {
            0..=3600 => 31,
            3601..=8192 => 40,
            8193..=36_864 => 51,
            _ => 62,
        }
    }

    /// The sequence parameter set.
    pub(crate) fn sequence(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(u32::from(PROFILE), 8);
        bits.put(u32::from(CONSTRAINTS), 8);
        bits.put(u32::from(self.level()), 8);
        bits.ue(0); // Its id.
        bits.ue(FRAME_NUMBER_BITS - 4);
        bits.ue(2); // Pictures come in the order in which they are shown.
        bits.ue(1); // One reference picture.
        bits.put(0, 1);
        bits.ue(self.blocks.0 - 1);
        bits.ue(self.blocks.1 - 1);
        bits.put(0b11, 2); // Frames only; direct inference of 8x8.
        let crop = (self.blocks.0 * 16 - self.size.width, self.blocks.1 * 16 - self.size.height);
        bits.put(u32::from(crop != (0, 0)), 1);
        if crop != (0, 0) {
            for part in [0, crop.0 / 2, 0, crop.1 / 2] {
                bits.ue(part);
            }
        }
        bits.put(0, 1); // No usability information.
        bits.unit(0x67)
    }

    /// The picture parameter set.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(0);
        bits.put(0, 2); // CAVLC; no field order.
        for _ in 0..3 {
            bits.ue(0); // One slice group, one reference picture in each list.
        }
        bits.put(0, 3); // No weighted prediction.
        bits.se(i32::from(QUANTIZER) - 26);
        bits.se(0);
        bits.se(0);
        bits.put(0b100, 3); // Slices say whether they are deblocked.
        bits.unit(0x68)
    }

    /// A key picture. Neighbouring ones must differ in `is_odd`.
    pub(crate) fn key(&self, colour: Colour, is_odd: bool) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(7);
        bits.ue(0);
        bits.put(0, FRAME_NUMBER_BITS);
        bits.ue(u32::from(is_odd));
        bits.put(0, 2);
        bits.se(0);
        bits.ue(1); // Not deblocked: there are no edges.
        // Intra 16x16 with DC prediction, chroma DC coefficients, no others.
        bits.ue(7);
        bits.ue(0);
        bits.se(0);
        bits.level(colour.levels[0], &LUMA);
        bits.level(colour.levels[1], &CHROMA);
        bits.level(colour.levels[2], &CHROMA);
        for _ in 1..self.blocks.0 * self.blocks.1 {
            // The same without any coefficients: 00100, then 1 for each of three zeros.
            bits.put(0b0010_0111, 8);
        }
        bits.unit(0x65)
    }

    /// The picture before once more. `number` counts from the last key picture.
    pub(crate) fn repeat(&self, number: u32) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.ue(0);
        bits.ue(5);
        bits.ue(0);
        bits.put(number & ((1 << FRAME_NUMBER_BITS) - 1), FRAME_NUMBER_BITS);
        bits.put(0, 3);
        bits.se(0);
        bits.ue(1);
        bits.ue(self.blocks.0 * self.blocks.1); // All macroblocks are skipped.
        bits.unit(0x41)
    }
}

/// The words for "no coefficient", "one, which is 1 or -1" and "one, which is larger".
struct Words {
    none: (u32, u32),
    unit: (u32, u32),
    large: (u32, u32),
}

const LUMA: Words = Words { none: (0b1, 1), unit: (0b01, 2), large: (0b00_0101, 6) };
const CHROMA: Words = Words { none: (0b01, 2), unit: (0b1, 1), large: (0b00_0111, 6) };

/// Bits, the highest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used; 0 if it is full.
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> place & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// Exp-Golomb, unsigned.
    fn ue(&mut self, value: u32) {
        let code = value + 1;
        let length = 32 - code.leading_zeros();
        self.put(0, length - 1);
        self.put(code, length);
    }

    /// Exp-Golomb, signed.
    fn se(&mut self, value: i32) {
        let twice = value.unsigned_abs() * 2;
        self.ue(if value > 0 { twice - 1 } else { twice });
    }

    /// A block whose only coefficient is its first.
    fn level(&mut self, level: i8, words: &Words) {
        let (value, count) = match level {
            0 => words.none,
            -1 | 1 => words.unit,
            _ => words.large,
        };
        self.put(value, count);
        let size = u32::from(level.unsigned_abs());
        match size {
            0 => return,
            1 => self.put(u32::from(level < 0), 1),
            _ => {
                let prefix = 2 * size - 4 + u32::from(level < 0);
                self.put(1, prefix + 1);
            }
        }
        self.put(1, 1); // No zeros before it.
    }

    /// The whole unit, with its stop bit, and with what would look like a start code broken up.
    fn unit(mut self, head: u8) -> Vec<u8> {
        self.put(1, 1);
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        out.push(head);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros == 2 && byte <= 3 {
                out.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            out.push(byte);
        }
        out
    }
}

/// Baseline, and what it is compatible with.
pub(crate) const PROFILE: u8 = 66;
pub(crate) const CONSTRAINTS: u8 = 0xC0;

/// The coarsest, so that small coefficients reach all of a colour's range.
const QUANTIZER: u8 = 51;

const FRAME_NUMBER_BITS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exp_golomb() {
        let mut bits = Bits::default();
        for value in [0, 1, 2, 7] {
            bits.ue(value);
        }
        for value in [0, 1, -1] {
            bits.se(value);
        }
        // 1 010 011 0001000 1 010 011
        assert_eq!(bits.bytes, [0b1010_0110, 0b0010_0010, 0b1001_1000]);
    }

    #[test]
    fn nothing_in_a_unit_looks_like_a_start_code() {
        let mut bits = Bits::default();
        for _ in 0..9 {
            bits.put(0, 8);
        }
        bits.put(1, 8);
        let unit = bits.unit(0x65);
        for three in unit.windows(3) {
            assert!(three[0] > 0 || three[1] > 0 || three[2] > 2 || three == [0, 0, 3], "{unit:?}");
        }
        assert!(unit.windows(4).all(|four| four[..3] != [0, 0, 3] || four[3] <= 3));
    }
}
