//! Solids: a coloured octahedron in the forms that need no library.

use std::fmt::Write as _;

use fal_protocol::rand::SplitMix64;

/// What a solid depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Solid {
    /// Decides colour and proportions.
    pub(crate) seed: u64,
    pub(crate) format: SolidFormat,
}

/// How a solid is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SolidFormat {
    Glb,
    Obj,
    Stl,
    Ply,
}

impl SolidFormat {
    pub(crate) const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Glb => ("model/gltf-binary", ".glb"),
            Self::Obj => ("model/obj", ".obj"),
            Self::Stl => ("model/stl", ".stl"),
            Self::Ply => ("application/octet-stream", ".ply"),
        }
    }
}

impl Solid {
    pub(crate) fn make(&self) -> Vec<u8> {
        let mut rng = SplitMix64::new(self.seed);
        let [x, y, z] = [(); 3].map(|()| (0.5 + rng.unit()) as f32);
        let corners =
            [[x, 0., 0.], [-x, 0., 0.], [0., y, 0.], [0., -y, 0.], [0., 0., z], [0., 0., -z]];
        let colour = [(); 3].map(|()| 0.2 + 0.6 * rng.unit());
        match self.format {
            SolidFormat::Glb => glb(&corners, colour),
            SolidFormat::Obj => {
                let mut text = "# made by fal-mock\n".to_owned();
                lines(&mut text, &corners, |out, [x, y, z]| writeln!(out, "v {x} {y} {z}"));
                lines(&mut text, &FACES, |out, [a, b, c]| {
                    writeln!(out, "f {} {} {}", a + 1, b + 1, c + 1)
                });
                text.into_bytes()
            }
            SolidFormat::Stl => {
                let mut text = "solid fal-mock\n".to_owned();
                lines(&mut text, &FACES, |out, face| {
                    out.push_str("facet normal 0 0 0\n outer loop\n");
                    for corner in face {
                        let [x, y, z] = corners[usize::from(corner)];
                        writeln!(out, "  vertex {x} {y} {z}")?;
                    }
                    out.push_str(" endloop\nendfacet\n");
                    Ok(())
                });
                text.push_str("endsolid fal-mock\n");
                text.into_bytes()
            }
            SolidFormat::Ply => {
                let mut text = format!(
                    "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n\
                     element face {}\nproperty list uchar int vertex_indices\nend_header\n",
                    corners.len(),
                    FACES.len()
                );
                lines(&mut text, &corners, |out, [x, y, z]| writeln!(out, "{x} {y} {z}"));
                lines(&mut text, &FACES, |out, [a, b, c]| writeln!(out, "3 {a} {b} {c}"));
                text.into_bytes()
            }
        }
    }
}

fn lines<T: Copy>(
    out: &mut String,
    items: &[T],
    mut line: impl FnMut(&mut String, T) -> std::fmt::Result,
) {
    for item in items {
        line(out, *item).expect("a String takes everything");
    }
}

/// Source: the glTF 2.0 specification, section on GLB (documented).
fn glb(corners: &[[f32; 3]], colour: [f64; 3]) -> Vec<u8> {
    let mut binary: Vec<u8> =
        corners.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
    let positions = binary.len();
    binary.extend(FACES.iter().flatten().flat_map(|index| u16::from(*index).to_le_bytes()));
    let indices = binary.len() - positions;
    pad(&mut binary, 0);
    let bound = |pick: fn(f32, f32) -> f32| {
        [0, 1, 2]
            .map(|axis| corners.iter().map(|corner| corner[axis]).reduce(pick).unwrap_or_default())
    };
    let json = serde_json::json!({
        "asset": {"version": "2.0", "generator": "fal-mock"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "octahedron"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [colour[0], colour[1], colour[2], 1.0]}}],
        "buffers": [{"byteLength": binary.len()}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": positions, "target": 34962},
            {"buffer": 0, "byteOffset": positions, "byteLength": indices, "target": 34963},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": corners.len(), "type": "VEC3",
                "min": bound(f32::min), "max": bound(f32::max)},
            {"bufferView": 1, "componentType": 5123, "count": FACES.len() * 3, "type": "SCALAR"},
        ],
    });
    let mut text = json.to_string().into_bytes();
    pad(&mut text, b' ');
    let length = |bytes: usize| u32::try_from(bytes).expect("solids here are small").to_le_bytes();
    let mut out = b"glTF\x02\0\0\0".to_vec();
    out.extend_from_slice(&length(12 + 8 + text.len() + 8 + binary.len()));
    for (kind, chunk) in [(b"JSON", text), (b"BIN\0", binary)] {
        out.extend_from_slice(&length(chunk.len()));
        out.extend_from_slice(kind);
        out.extend_from_slice(&chunk);
    }
    out
}

/// To a multiple of four, as GLB wants it.
fn pad(bytes: &mut Vec<u8>, with: u8) {
    while !bytes.len().is_multiple_of(4) {
        bytes.push(with);
    }
}

/// The eight faces of an octahedron, counter-clockwise from outside.
const FACES: [[u8; 3]; 8] =
    [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_glb_is_two_chunks_that_agree() {
        let bytes = Solid { seed: 9, format: SolidFormat::Glb }.make();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((&bytes[..4], word(4), word(8)), (&b"glTF"[..], 2, bytes.len()));
        let json_len = word(12);
        let json: Value = serde_json::from_slice(&bytes[20..20 + json_len]).unwrap();
        assert_eq!(&bytes[24 + json_len..28 + json_len], b"BIN\0");
        assert_eq!(json["buffers"][0]["byteLength"], word(20 + json_len));
        assert_eq!(28 + json_len + word(20 + json_len), bytes.len());
        assert_eq!(bytes.len() % 4, 0);
        assert_ne!(bytes, Solid { seed: 8, format: SolidFormat::Glb }.make());
    }

    #[test]
    fn texts_have_their_corners_and_faces() {
        let text = |format| String::from_utf8(Solid { seed: 9, format }.make()).unwrap();
        let count =
            |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        let obj = text(SolidFormat::Obj);
        assert_eq!((count(&obj, "v "), count(&obj, "f ")), (6, 8));
        let stl = text(SolidFormat::Stl);
        assert_eq!(
            (count(&stl, "facet"), count(&stl, "  vertex"), count(&stl, "endsolid")),
            (8, 24, 1)
        );
        let ply = text(SolidFormat::Ply);
        assert!(ply.starts_with("ply\nformat ascii 1.0\nelement vertex 6\n"));
        assert_eq!(ply.lines().skip_while(|line| *line != "end_header").count(), 1 + 6 + 8);
    }
}
