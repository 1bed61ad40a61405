//! Weights in the safetensors form: a header of JSON, then the numbers.

/// What weights depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights {
    pub(crate) seed: u64,
}

impl Weights {
    /// Two matrices of one low-rank layer, 4 by 8 and 8 by 4, in 16-bit floats.
    ///
    /// Source: the format's own description at huggingface.co/docs/safetensors (documented).
    pub(crate) fn make(&self) -> Vec<u8> {
        let mut header =
            String::from("{\"__metadata__\":{\"format\":\"pt\",\"made_by\":\"fal-mock\"}");
        for (index, (name, shape)) in
            [("lora_A.weight", "[4,8]"), ("lora_B.weight", "[8,4]")].iter().enumerate()
        {
            let (from, to) = (index * TENSOR_BYTES, (index + 1) * TENSOR_BYTES);
            header.push_str(&format!(
                ",\"transformer.block.0.{name}\":{{\"dtype\":\"F16\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}"
            ));
        }
        header.push('}');
        // The numbers begin at a multiple of eight.
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend_from_slice(header.as_bytes());
        let mut rng = fal_protocol::rand::SplitMix64::new(self.seed);
        for _ in 0..TENSOR_BYTES {
            // Small positive numbers: an exponent of 2^-6 and any fraction.
            let half = 0x2400 | u16::try_from(rng.below(1 << 10)).expect("ten bits");
            out.extend_from_slice(&half.to_le_bytes());
        }
        out
    }
}

/// 32 numbers of two bytes, of which there are two tensors: so this is also how many numbers there are.
const TENSOR_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_header_describes_the_numbers() {
        let bytes = Weights { seed: 1 }.make();
        let len = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
        let mut end = 0;
        for (name, tensor) in
            header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__")
        {
            let number = |value: &Value| value.as_u64().unwrap();
            let (from, to) =
                (number(&tensor["data_offsets"][0]), number(&tensor["data_offsets"][1]));
            let count: u64 = tensor["shape"].as_array().unwrap().iter().map(number).product();
            assert_eq!(to - from, count * 2, "{name}");
            end = end.max(to);
        }
        assert_eq!(bytes.len() as u64, 8 + len as u64 + end);
        assert_ne!(bytes, Weights { seed: 2 }.make());
    }
}
