//! Which kind of file a field of an output is: by an example, by its name, by its type, by the model's category.

use fal_protocol::schema::Schema;
use serde_json::{Value, json};

use super::super::media::{
    Archive, Film, Mask, Media, Picture, PictureFormat, SOUND_RATE, Size, Solid, SolidFormat,
    Sound, SoundFormat, Text, Weights,
};
use super::asked::Asked;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Picture(PictureFormat),
    Mask,
    Film,
    Sound(SoundFormat),
    Solid(SolidFormat),
    Archive,
    Weights,
    Json,
    Svg,
    Subtitles,
    Plain,
    /// A form that nothing here can write, such as FBX.
    Unmakeable,
}

impl Wanted {
    /// The kind of a file field. `schema` is the field as it stands, with its examples; `object` what it
    /// refers to, or the text itself where a field is a bare address.
    pub(super) fn of(
        name: &str,
        schema: Schema<'_>,
        object: Schema<'_>,
        asked: &Asked<'_>,
    ) -> Self {
        let by_example = schema.examples().iter().find_map(by_example);
        let by_name = by_name(name);
        let title = object.title().unwrap_or_default();
        let by_title = || match title {
            "Image" | "ImageFile" => Some(Self::Picture(PictureFormat::Png)),
            "Video" | "VideoFile" => Some(Self::Film),
            "Audio" | "AudioFile" => Some(Self::Sound(SoundFormat::Wav)),
            _ => None,
        };
        let found = match by_name {
            // Examples of masks are plain pictures.
            Some(Self::Mask) => by_name,
            _ => by_example.or(by_name),
        };
        let found = found.or_else(by_title).unwrap_or_else(|| by_category(asked.category));
        let has_example = by_example.is_some();
        found.in_form(object, asked, has_example)
    }

    /// The same in the form that the input asks for.
    fn in_form(self, object: Schema<'_>, asked: &Asked<'_>, has_example: bool) -> Self {
        let format = asked.format();
        let asked_for = format.as_deref().and_then(by_extension);
        match (self, asked_for) {
            (Self::Picture(_), _) if is_mask(asked) => Self::Mask,
            (Self::Picture(_), Some(form @ (Self::Picture(_) | Self::Svg))) => form,
            (Self::Picture(_), None) if !has_example => Self::Picture(usual_form(object)),
            (Self::Sound(_), Some(form @ Self::Sound(_))) => form,
            (Self::Solid(_), Some(form @ (Self::Solid(_) | Self::Unmakeable))) => form,
            (wanted, _) => wanted,
        }
    }

    /// The file itself.
    pub(super) fn media(self, asked: &Asked<'_>, seed: u64) -> Media {
        match self {
            Self::Picture(format) => {
                let size = asked.size(Size { width: 1024, height: 1024 });
                let prompt =
                    asked.prompt().chars().take(PROMPT_CHARS_SHOWN).collect::<String>().into();
                Media::Picture(
                    Picture { size, seed, endpoint: asked.endpoint.into(), prompt },
                    format,
                )
            }
            Self::Mask => {
                // A mask is laid over the picture that was given.
                let usual = Size { width: 1024, height: 1024 };
                let size = asked.source_size().unwrap_or_else(|| asked.size(usual));
                Media::Mask(Mask { size, seed })
            }
            Self::Film => Media::Film(film(asked, seed)),
            Self::Sound(format) => {
                let millis = asked.millis().unwrap_or_else(|| usual_millis(asked));
                let rate = asked.number("sample_rate").map_or(SOUND_RATE, |rate| rate as u32);
                Media::Sound(Sound::new(millis, rate, seed, format))
            }
            Self::Solid(format) => Media::Solid(Solid { seed, format }),
            Self::Unmakeable => Media::Solid(Solid { seed, format: SolidFormat::Glb }),
            Self::Archive => Media::Archive(Archive { seed }),
            Self::Weights => Media::Weights(Weights { seed }),
            Self::Json => {
                // What was asked for, without long values such as data URIs.
                let is_short = |value: &Value| {
                    value.as_str().is_none_or(|text| text.len() <= SETTING_BYTES_MAX)
                };
                let short =
                    |value: &Value| is_short(value) && !value.is_object() && !value.is_array();
                let settings = asked.fields.iter().filter(|(_, value)| short(value));
                let settings: serde_json::Map<String, Value> = settings
                    .take(SETTINGS_MAX)
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                let value = json!({"endpoint": asked.endpoint, "seed": seed, "input": settings});
                text(Text::JSON, value.to_string())
            }
            Self::Svg => {
                let Size { width, height } = asked.size(Size { width: 1024, height: 1024 });
                let hue = seed % 360;
                let svg = format!(
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\
                     <rect width=\"100%\" height=\"100%\" fill=\"hsl({hue} 50% 40%)\"/>\
                     <circle cx=\"50%\" cy=\"50%\" r=\"25%\" fill=\"hsl({} 60% 70%)\"/></svg>\n",
                    (hue + 150) % 360
                );
                text(Text::SVG, svg)
            }
            Self::Subtitles => {
                let line = "1\n00:00:00,000 --> 00:00:01,000\nmade by fal-mock\n";
                text(Text::SUBTITLES, line.to_owned())
            }
            Self::Plain => text(Text::PLAIN, format!("made by fal-mock from {seed:016x}\n")),
        }
    }
}

fn text((content_type, extension): (&'static str, &'static str), text: String) -> Media {
    Media::Text(Text { content_type, extension, text: text.into() })
}

fn film(asked: &Asked<'_>, seed: u64) -> Film {
    let size = asked.size(Size { width: 1280, height: 720 });
    let rate = asked.frame_rate();
    match (asked.frames(), asked.millis(), rate) {
        (Some(frames), Some(millis), None) => {
            let rate = (frames * 1000 / millis).clamp(1, 60);
            Film::new(size, frames, u32::try_from(rate).expect("at most 60"), seed)
        }
        (Some(frames), _, rate) => Film::new(size, frames, rate.unwrap_or(FRAME_RATE), seed),
        (None, millis, rate) => {
            let rate = rate.unwrap_or(FRAME_RATE);
            let millis = millis.unwrap_or(FILM_MILLIS);
            Film::new(size, (millis * u64::from(rate)).div_ceil(1000), rate, seed)
        }
    }
}

/// Speech takes its time by letter; anything else ten seconds.
fn usual_millis(asked: &Asked<'_>) -> u64 {
    let is_speech = asked.category.contains("speech")
        || asked.endpoint.contains("tts")
        || asked.fields.keys().any(|name| name.starts_with("voice"));
    if !is_speech {
        return SOUND_MILLIS;
    }
    let letters = asked.prompt().chars().take(LETTERS_MAX).count();
    let speed = asked.number("speed").filter(|speed| *speed > 0.0).unwrap_or(1.0);
    (letters as f64 * LETTER_MILLIS / speed).clamp(500.0, 600_000.0).round() as u64
}

/// Whether the pictures of a model are masks: it is asked for nothing else, or it is one that cuts out, and is not asked
/// to apply what it found.
fn is_mask(asked: &Asked<'_>) -> bool {
    let cuts =
        ["sam2", "sam-3", "evf-sam", "segment"].iter().any(|word| asked.endpoint.contains(word));
    match asked.fields.get("mask_only").and_then(Value::as_bool) {
        Some(mask_only) => mask_only,
        None => cuts && !asked.is_on("apply_mask"),
    }
}

/// The form that the type of the file states as its usual one, else PNG.
fn usual_form(object: Schema<'_>) -> PictureFormat {
    let field = object.fields().find(|field| field.name == "content_type");
    match field.and_then(|field| field.schema.default()).and_then(Value::as_str) {
        Some("image/jpeg") => PictureFormat::Jpeg,
        Some("image/webp") => PictureFormat::Webp,
        _ => PictureFormat::Png,
    }
}

/// An address or an object with one, such as `{"url": "https://example.com/a.mp4"}`, or a list of those.
fn by_example(example: &Value) -> Option<Wanted> {
    let example = match example {
        Value::Array(items) => items.first()?,
        other => other,
    };
    let url = example.as_str().or_else(|| example.get("url")?.as_str())?;
    let path = url.split(['?', '#']).next()?;
    by_extension(&path.rsplit('/').next()?.rsplit_once('.')?.1.to_ascii_lowercase())
}

fn by_extension(extension: &str) -> Option<Wanted> {
    Some(match extension {
        "png" | "gif" | "avif" | "exr" | "bmp" | "tiff" => Wanted::Picture(PictureFormat::Png),
        "jpg" | "jpeg" => Wanted::Picture(PictureFormat::Jpeg),
        "webp" => Wanted::Picture(PictureFormat::Webp),
        "mp4" | "webm" | "mov" | "mkv" => Wanted::Film,
        "wav" | "flac" | "ogg" | "opus" | "aac" | "m4a" | "pcm" => Wanted::Sound(SoundFormat::Wav),
        "mp3" => Wanted::Sound(SoundFormat::Mp3),
        _ if extension.starts_with("mp3_") => Wanted::Sound(SoundFormat::Mp3),
        "glb" | "gltf" => Wanted::Solid(SolidFormat::Glb),
        "obj" => Wanted::Solid(SolidFormat::Obj),
        "stl" => Wanted::Solid(SolidFormat::Stl),
        "ply" => Wanted::Solid(SolidFormat::Ply),
        "fbx" | "usdz" | "blend" | "usd" | "spz" | "splat" | "3mf" => Wanted::Unmakeable,
        "zip" | "tar" => Wanted::Archive,
        "safetensors" | "pt" | "pth" | "ckpt" | "bin" | "npy" => Wanted::Weights,
        "json" => Wanted::Json,
        "svg" => Wanted::Svg,
        "srt" | "vtt" | "ass" => Wanted::Subtitles,
        "txt" | "mtl" | "md" => Wanted::Plain,
        _ => return None,
    })
}

/// The first word of the list that occurs in the name decides: a `mask_1_mesh` is a mesh.
fn by_name(name: &str) -> Option<Wanted> {
    let words: Vec<&str> = name.split('_').map(|word| word.trim_end_matches("[]")).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(word));
    NAMES.iter().find(|(list, _)| has(list)).map(|(_, wanted)| *wanted)
}

fn by_category(category: &str) -> Wanted {
    match category.rsplit_once("-to-").map_or(category, |(_, to)| to) {
        "image" => Wanted::Picture(PictureFormat::Png),
        "video" => Wanted::Film,
        "audio" | "speech" => Wanted::Sound(SoundFormat::Wav),
        "3d" => Wanted::Solid(SolidFormat::Glb),
        "training" => Wanted::Weights,
        "json" => Wanted::Json,
        "vision" => Wanted::Picture(PictureFormat::Png),
        _ => Wanted::Plain,
    }
}

/// Words in the names of file fields. The list follows the outputs of published documents.
const NAMES: [(&[&str], Wanted); 16] = [
    (&["zip", "archive", "dataset"], Wanted::Archive),
    (&["srt", "caption", "captions", "subtitle", "subtitles"], Wanted::Subtitles),
    (&["svg"], Wanted::Svg),
    (&["json", "config", "lottie", "metadata"], Wanted::Json),
    (&["lora", "weights", "checkpoint", "safetensors", "embedding", "latents"], Wanted::Weights),
    (&["mtl"], Wanted::Plain),
    (&["fbx", "usdz", "blend", "splat", "splats"], Wanted::Unmakeable),
    (&["obj"], Wanted::Solid(SolidFormat::Obj)),
    (&["stl"], Wanted::Solid(SolidFormat::Stl)),
    (&["ply"], Wanted::Solid(SolidFormat::Ply)),
    (&["glb", "glbs", "gltf", "mesh", "meshes", "model"], Wanted::Solid(SolidFormat::Glb)),
    (&["mask", "masks"], Wanted::Mask),
    (&["video", "videos"], Wanted::Film),
    (
        &[
            "audio", "audios", "speech", "music", "song", "vocals", "drums", "bass", "guitar",
            "piano",
        ],
        Wanted::Sound(SoundFormat::Wav),
    ),
    (
        &[
            "image",
            "images",
            "thumbnail",
            "texture",
            "textures",
            "picture",
            "preview",
            "spritesheet",
            "normal",
            "roughness",
            "metallic",
            "color",
            "visualization",
        ],
        Wanted::Picture(PictureFormat::Png),
    ),
    (&["file_text", "txt"], Wanted::Plain),
];

/// More of a prompt would not fit on a picture.
const PROMPT_CHARS_SHOWN: usize = 600;

/// Frames in a second where nothing is asked.
const FRAME_RATE: u32 = 24;

/// Length of a film where nothing is asked: 5 seconds.
const FILM_MILLIS: u64 = 5000;

/// Length of a sound that is no speech: 10 seconds.
const SOUND_MILLIS: u64 = 10_000;

/// A letter of speech.
const LETTER_MILLIS: f64 = 65.0;

/// Letters that are counted; more would exceed the longest sound.
const LETTERS_MAX: usize = 20_000;

/// Settings that a configuration file repeats, and the longest of them.
const SETTINGS_MAX: usize = 64;
const SETTING_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        for (name, wanted) in [
            ("video", Wanted::Film),
            ("mask_1_mesh", Wanted::Solid(SolidFormat::Glb)),
            ("frames_zip", Wanted::Archive),
            ("diffusers_lora_file", Wanted::Weights),
            ("config_file", Wanted::Json),
            ("mask_image", Wanted::Mask),
            ("rigged_character_fbx", Wanted::Unmakeable),
            ("base_color", Wanted::Picture(PictureFormat::Png)),
        ] {
            assert_eq!(by_name(name), Some(wanted), "{name}");
        }
        assert_eq!(by_name("file"), None);
    }

    #[test]
    fn examples_tell_kinds() {
        for (example, wanted) in [
            (json!({"url": "https://example.com/a.MP4?x=1"}), Some(Wanted::Film)),
            (json!([{"url": "https://example.com/a.svg"}]), Some(Wanted::Svg)),
            (json!("https://example.com/v1.2/a"), None),
            (json!({"seed": 1}), None),
        ] {
            assert_eq!(by_example(&example), wanted, "{example}");
        }
    }
}
