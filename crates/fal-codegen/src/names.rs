//! Rust names from names of the service.

use std::collections::BTreeSet;

use fal_protocol::EndpointId;

/// The module of an endpoint: `fal-ai/flux/dev` is `flux_dev`, `bria/expand` is `bria_expand`.
pub(crate) fn module(id: &EndpointId) -> String {
    let words = words(endpoint_words(id.as_str()));
    let name = words.iter().map(|word| word.to_lowercase()).collect::<Vec<_>>().join("_");
    if starts_as_name(&name) { name } else { format!("model_{name}") }
}

/// The type of an endpoint's input: `fal-ai/flux/dev` is `FluxDev`.
pub(crate) fn input_type(id: &EndpointId) -> String {
    let name = pascal(endpoint_words(id.as_str()));
    if starts_as_name(&name) { name } else { format!("Model{name}") }
}

/// The owner is part of the name, unless it is fal's own.
fn endpoint_words(id: &str) -> &str {
    id.strip_prefix("fal-ai/").unwrap_or(id)
}

/// A type or variant name. Never empty, but it may be a keyword or begin with a digit.
pub(crate) fn pascal(text: &str) -> String {
    let mut name = String::new();
    for word in words(text) {
        let mut chars = word.chars();
        let Some(first) = chars.next() else { continue };
        if first.is_ascii_digit() && name.ends_with(|c: char| c.is_ascii_digit()) {
            name.push('_');
        }
        let rest = chars.as_str();
        let is_loud = rest.len() > 1 && !rest.contains(|c: char| c.is_ascii_lowercase());
        name.extend(first.to_uppercase());
        name.push_str(&if is_loud { rest.to_lowercase() } else { rest.to_owned() });
    }
    if name.is_empty() { "Empty".to_owned() } else { name }
}

/// A type name that Rust takes.
pub(crate) fn type_name(text: &str) -> String {
    let name = pascal(text.rsplit("__").next().unwrap_or(text)).replace('_', "");
    if starts_as_name(&name) { name } else { format!("Type{name}") }
}

/// The variant of one value of an enum: `16:9` is `Ratio16x9`, `1024x768` is `Size1024x768`, `5` is `N5`.
pub(crate) fn variant(value: &str) -> String {
    for (separator, kind) in [(':', "Ratio"), ('x', "Size")] {
        if let Some((a, b)) = value.split_once(separator)
            && [a, b].iter().all(|part| is_number(part))
        {
            let part = |text: &str| text.replace('.', "_");
            return format!("{kind}{}x{}", part(a), part(b));
        }
    }
    let signed = match value.strip_prefix(['-', '+']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            let sign = if value.starts_with('-') { "Minus" } else { "Plus" };
            format!("{sign} {rest}")
        }
        _ => value.to_owned(),
    };
    let name = pascal(&signed);
    match name.as_str() {
        "Self" => "Self_".to_owned(),
        _ if starts_as_name(&name) => name,
        _ => format!("N{name}"),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// A field or method name, as Rust takes it: keywords become raw, or get an underscore where they cannot.
pub(crate) fn field(text: &str) -> String {
    let mut name = String::new();
    for word in words(text) {
        if !name.is_empty() {
            name.push('_');
        }
        name.push_str(&word.to_lowercase());
    }
    if name.is_empty() {
        name.push_str("empty");
    }
    if !starts_as_name(&name) {
        name.insert(0, '_');
    }
    name
}

/// The name as it stands in code.
pub(crate) fn escaped(name: &str) -> String {
    if NEVER_RAW.contains(&name) {
        format!("{name}_")
    } else if syn::parse_str::<syn::Ident>(name).is_ok() {
        name.to_owned()
    } else {
        format!("r#{name}")
    }
}

/// Words of a text: cut at everything but letters and digits, and between a small and a capital letter. What
/// is no ASCII letter becomes a word of its code point, because look-alikes in names mislead.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = ' ';
    for c in text.chars() {
        let is_hump = c.is_ascii_uppercase() && last.is_ascii_lowercase();
        if is_hump || !c.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if c.is_ascii_alphanumeric() {
            words.last_mut().expect("there is always a word").push(c);
        } else if c.is_alphanumeric() {
            words.push(format!("U{:04x}", u32::from(c)));
            words.push(String::new());
        }
        last = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn starts_as_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Names given in one scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(BTreeSet<String>);

impl Scope {
    /// A scope in which these are given already.
    pub(crate) fn new(given: &[&str]) -> Self {
        Self(given.iter().map(|name| (*name).to_owned()).collect())
    }

    /// Frees a name.
    pub(crate) fn take_back(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The first of the wishes that is free, else the last with a number.
    pub(crate) fn give<const N: usize>(&mut self, wishes: [String; N]) -> String {
        for wish in &wishes {
            if self.0.insert(wish.clone()) {
                return wish.clone();
            }
        }
        let base = wishes.last().expect("there is a wish");
        let numbered = (2..).map(|number| format!("{base}{number}"));
        let free = numbered.into_iter().find(|name| !self.0.contains(name));
        let free = free.expect("numbers do not run out");
        self.0.insert(free.clone());
        free
    }
}

/// Keywords that cannot be raw identifiers.
const NEVER_RAW: [&str; 5] = ["self", "Self", "super", "crate", "_"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_modules_and_types() {
        for (id, module_name, type_name) in [
            ("fal-ai/flux/dev", "flux_dev", "FluxDev"),
            ("bria/text-to-image/3.2", "bria_text_to_image_3_2", "BriaTextToImage3_2"),
            (
                "fal-ai/wan/v2.1/1.3b/text-to-video",
                "wan_v2_1_1_3b_text_to_video",
                "WanV2_1_1_3bTextToVideo",
            ),
            (
                "CassetteAI/music-generator",
                "cassette_ai_music_generator",
                "CassetteAIMusicGenerator",
            ),
            ("3d/x_y", "model_3d_x_y", "Model3dXY"),
        ] {
            let id = EndpointId::parse(id).unwrap();
            assert_eq!((module(&id), input_type(&id)), (module_name.into(), type_name.into()));
        }
    }

    #[test]
    fn values_become_variants() {
        for (value, name) in [
            ("landscape_4_3", "Landscape4_3"),
            ("16:9", "Ratio16x9"),
            ("2.39:1", "Ratio2_39x1"),
            ("1024x1536", "Size1024x1536"),
            ("5", "N5"),
            ("1.5", "N1_5"),
            ("720p", "N720p"),
            ("-5", "Minus5"),
            ("", "Empty"),
            ("Hope ", "Hope"),
            ("self", "Self_"),
            ("PNG", "Png"),
            ("google/gemini-2.5-flash", "GoogleGemini2_5Flash"),
            ("é", "U00e9"),
            ("DPM++ 2M SDE", "Dpm2MSde"),
        ] {
            assert_eq!(variant(value), name, "{value:?}");
        }
    }

    #[test]
    fn fields_are_snake_case_and_no_keywords() {
        for (name, field_name, code) in [
            ("num_images", "num_images", "num_images"),
            ("type", "type", "r#type"),
            ("self", "self", "self_"),
            ("sdpMLineIndex", "sdp_mline_index", "sdp_mline_index"),
            ("TAPose", "tapose", "tapose"),
            ("H264_output", "h264_output", "h264_output"),
            ("3d", "_3d", "_3d"),
            ("", "empty", "empty"),
        ] {
            assert_eq!((&*field(name), &*escaped(&field(name))), (field_name, code), "{name:?}");
        }
    }

    #[test]
    fn names_are_given_once() {
        let mut scope = Scope::new(&["String"]);
        let mut give = |wish: &str| scope.give([wish.to_owned()]);
        assert_eq!(
            ["String", "Hope", "Hope", "Hope"].map(&mut give),
            ["String2", "Hope", "Hope2", "Hope3"]
        );
        assert_eq!(scope.give(["Hope".into(), "MyHope".into()]), "MyHope");
    }
}
