//! What an input asks for, wherever models put it: how many, how large, how long, in which form.

use serde_json::{Map, Value};

use super::super::endpoint::PRESETS;
use super::super::files::{FileKey, Files};
use super::super::media::{SIDE_MAX, Size, measure};

/// A valid input with its defaults, and where it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) endpoint: &'a str,
    /// Of the catalog, such as `text-to-video`.
    pub(crate) category: &'a str,
    pub(crate) fields: &'a Map<String, Value>,
    pub(crate) files: &'a Files,
}

impl<'a> Asked<'a> {
    /// The text that steers the model; empty if there is none.
    pub(crate) fn prompt(&self) -> &'a str {
        let plain = PROMPTS.iter().find_map(|name| self.text(name).filter(|text| !text.is_empty()));
        let spoken = || {
            let last = self.fields.get("messages")?.as_array()?.last()?;
            last.get("content")?.as_str()
        };
        plain.or_else(spoken).unwrap_or_default()
    }

    /// How many results are wanted: from 1 to [`COUNT_MAX`].
    pub(crate) fn count(&self) -> usize {
        let count = COUNTS.iter().find_map(|name| self.whole(name)).unwrap_or(1);
        usize::try_from(count).unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX)
    }

    /// The size of pictures or films: as stated, else of the shape that is asked for, else that of the input picture,
    /// else the usual one.
    pub(crate) fn size(&self, usual: Size) -> Size {
        let stated = SIZES.iter().find_map(|name| size_of(self.fields.get(*name)?));
        let sides = || Some(Size { width: self.side("width")?, height: self.side("height")? });
        stated.or_else(sides).or_else(|| self.shaped(usual)).map_or(usual, Size::bounded)
    }

    fn shaped(&self, usual: Size) -> Option<Size> {
        let ratio = self.text("aspect_ratio").and_then(ratio_of);
        let resolution = self.text("resolution").or_else(|| self.text("quality"));
        if let Some(exact) = resolution.and_then(exact_size) {
            return Some(exact);
        }
        let area = resolution.and_then(area_of);
        let source = self.source_size();
        match (ratio, area, source) {
            (None, None, None) => None,
            (None, None, Some(source)) => Some(source.scaled(self.factor())),
            (ratio, area, source) => {
                let usual = source.unwrap_or(usual);
                let ratio =
                    ratio.unwrap_or_else(|| f64::from(usual.width) / f64::from(usual.height));
                let area = area.unwrap_or_else(|| f64::from(usual.width) * f64::from(usual.height));
                Some(Size { width: round(area * ratio), height: round(area / ratio) })
            }
        }
    }

    /// The size of the picture that the input names, if it can be read without the network: a data URI, or a
    /// file of this mock.
    pub(crate) fn source_size(&self) -> Option<Size> {
        let first = self.fields.get("image_url");
        let others =
            self.fields.iter().filter(|(name, _)| is_picture_input(name)).map(|(_, value)| value);
        first.into_iter().chain(others).take(SOURCES_MAX).find_map(|value| {
            let value = match value {
                Value::Array(items) => items.first()?,
                other => other,
            };
            self.measure(value.as_str().or_else(|| value.get("url")?.as_str())?)
        })
    }

    fn measure(&self, url: &str) -> Option<Size> {
        if url.starts_with("data:") {
            return measure::size_of_data_uri(url);
        }
        let path = &url[url.find("/files/")?..];
        self.files.picture_size(FileKey::from_path(path)?)
    }

    /// How much larger than its input a picture becomes: 1 but for models that enlarge.
    fn factor(&self) -> f64 {
        let enlarges = ["upscal", "esrgan", "super-res", "enhance"];
        if !enlarges.iter().any(|word| self.endpoint.contains(word)) {
            return 1.0;
        }
        let factor = FACTORS.iter().find_map(|name| self.number(name));
        factor.filter(|factor| *factor > 0.0).unwrap_or(1.0).min(FACTOR_MAX)
    }

    /// How long a film or a sound is, in milliseconds.
    pub(crate) fn millis(&self) -> Option<u64> {
        let seconds =
            DURATIONS.iter().find_map(|name| self.number(name)).map(|seconds| seconds * 1000.0);
        let millis = || DURATIONS_MS.iter().find_map(|name| self.number(name));
        seconds.or_else(millis).filter(|millis| *millis > 0.0).map(|millis| millis.round() as u64)
    }

    /// Frames of a film.
    pub(crate) fn frames(&self) -> Option<u64> {
        FRAMES.iter().find_map(|name| self.whole(name)).filter(|frames| *frames > 0)
    }

    /// Frames in a second.
    pub(crate) fn frame_rate(&self) -> Option<u32> {
        let rate = RATES.iter().find_map(|name| self.number(name)).filter(|rate| *rate >= 1.0)?;
        Some(rate.round() as u32)
    }

    /// The form that files are wanted in, such as `png` or `mp3`.
    pub(crate) fn format(&self) -> Option<String> {
        FORMATS.iter().find_map(|name| self.text(name)).map(str::to_ascii_lowercase)
    }

    /// Whether a switch of the input is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.fields.get(name).and_then(Value::as_bool) == Some(true)
    }

    /// Whether the input asks for an output field by a switch of its own, such as `return_frames_zip` for
    /// `frames_zip`; `None` if there is no such switch.
    pub(crate) fn switch_of(&self, output: &str) -> Option<bool> {
        let words: Vec<&str> = output.split('_').collect();
        let mut switches = self.fields.iter().filter_map(|(name, value)| {
            let is_on = value.as_bool()?;
            if name == output {
                return Some(is_on);
            }
            let (verb, rest) = name.split_once('_')?;
            let is_meant =
                SWITCH_VERBS.contains(&verb) && rest.split('_').all(|word| words.contains(&word));
            is_meant.then_some(is_on)
        });
        // With several switches one that is on suffices.
        let first = switches.next()?;
        Some(first || switches.any(|is_on| is_on))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name)?.as_str()
    }

    /// A number, also one that stands at the start of a text: `5`, `"5"`, `"5s"`.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.fields.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => {
                let end =
                    text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
                text[..end].parse().ok()
            }
            _ => None,
        }
    }

    fn whole(&self, name: &str) -> Option<u64> {
        let number = self.number(name)?;
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    }

    fn side(&self, name: &str) -> Option<u32> {
        u32::try_from(self.whole(name)?).ok().filter(|side| *side > 0)
    }
}

impl Size {
    fn bounded(self) -> Self {
        let side = |side: u32| side.clamp(1, SIDE_MAX);
        Self { width: side(self.width), height: side(self.height) }
    }

    fn scaled(self, factor: f64) -> Self {
        let side = |side: u32| (f64::from(side) * factor).round() as u32;
        Self { width: side(self.width), height: side(self.height) }
    }
}

/// A preset's name, `1024x768`, or an object. `auto` is no size.
fn size_of(value: &Value) -> Option<Size> {
    match value {
        Value::String(text) if text == "auto" => None,
        Value::String(text) => {
            let preset = PRESETS.iter().find(|(name, _)| name == text).map(|(_, size)| *size);
            preset.or_else(|| exact_size(text))
        }
        Value::Object(object) => {
            // Neither is required, and each defaults to 512 (every published document).
            let side = |name: &str| {
                object.get(name).map_or(Some(512), |side| u32::try_from(side.as_u64()?).ok())
            };
            Some(Size { width: side("width")?, height: side("height")? })
        }
        _ => None,
    }
}

fn exact_size(text: &str) -> Option<Size> {
    let (width, height) = text.split_once(['x', 'X', '*', '×'])?;
    let side = |text: &str| text.trim().parse().ok().filter(|side: &u32| *side > 0);
    Some(Size { width: side(width)?, height: side(height)? })
}

/// `16:9` as a number.
fn ratio_of(text: &str) -> Option<f64> {
    let (width, height) = text.split_once([':', '/'])?;
    let ratio = width.trim().parse::<f64>().ok()? / height.trim().parse::<f64>().ok()?;
    (RATIO_MIN..=1.0 / RATIO_MIN).contains(&ratio).then_some(ratio)
}

/// `720p` and `2K` as pixels: lines of a picture of 16:9, and the side of a square of as many thousands.
fn area_of(text: &str) -> Option<f64> {
    let text = text.trim().to_ascii_lowercase();
    let area = if let Some(lines) = text.strip_suffix('p') {
        lines.parse::<f64>().ok()?.powi(2) * 16.0 / 9.0
    } else if let Some(thousands) = text.strip_suffix('k') {
        (thousands.parse::<f64>().ok()? * 1024.0).powi(2)
    } else {
        text.parse::<f64>().ok()?.powi(2)
    };
    (area >= 1.0 && area.is_finite()).then_some(area)
}

/// The side of a square of this area, as a multiple of 8.
fn round(area: f64) -> u32 {
    (area.sqrt() / 8.0).round().max(1.0) as u32 * 8
}

fn is_picture_input(name: &str) -> bool {
    matches!(name, "image" | "images")
        || name.ends_with("image_url")
        || name.ends_with("image_urls")
        || name.ends_with("frame_url")
}

/// Where models take the text that steers them, the commonest first. These lists follow the input fields of
/// published documents, by how often they occur.
const PROMPTS: [&str; 13] = [
    "prompt",
    "text",
    "input",
    "text_input",
    "gen_text",
    "lyrics",
    "query",
    "question",
    "instruction",
    "script",
    "text_prompt",
    "description",
    "caption",
];
const COUNTS: [&str; 10] = [
    "num_images",
    "num_samples",
    "num_outputs",
    "num_generations",
    "number_of_images",
    "num_videos",
    "n",
    "batch_size",
    "num_results",
    "max_images",
];
const SIZES: [&str; 5] = ["image_size", "video_size", "size", "output_size", "target_size"];
const FACTORS: [&str; 4] = ["upscale_factor", "upscaling_factor", "scale_factor", "scale"];
const DURATIONS: [&str; 9] = [
    "duration",
    "duration_seconds",
    "seconds_total",
    "seconds",
    "audio_length",
    "length",
    "audio_duration",
    "video_length",
    "length_seconds",
];
const DURATIONS_MS: [&str; 3] = ["music_length_ms", "duration_ms", "length_ms"];
const FRAMES: [&str; 3] = ["num_frames", "number_of_frames", "frame_count"];
const RATES: [&str; 3] = ["fps", "frames_per_second", "frame_rate"];
const FORMATS: [&str; 6] =
    ["output_format", "format", "image_format", "audio_format", "video_format", "output_file_type"];

/// How the names of switches for an output begin.
const SWITCH_VERBS: [&str; 8] =
    ["create", "enable", "generate", "include", "output", "return", "save", "with"];

/// Most results of one request.
pub(crate) const COUNT_MAX: usize = 32;

/// Pictures of one input that are looked at for their size.
const SOURCES_MAX: usize = 8;

/// Most that a picture is enlarged.
const FACTOR_MAX: f64 = 16.0;

/// Flattest picture.
const RATIO_MIN: f64 = 1.0 / 32.0;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn with<T>(endpoint: &str, input: Value, look: impl FnOnce(Asked<'_>) -> T) -> T {
        let files = Files::default();
        let fields = input.as_object().unwrap();
        look(Asked { endpoint, category: "", fields, files: &files })
    }

    #[test]
    fn sizes_are_found() {
        let usual = Size { width: 1280, height: 720 };
        let one_pixel_wide = "data:image/gif;base64,R0lGODlhZABAAAAA"; // 100 by 64.
        for (input, width, height) in [
            (json!({}), 1280, 720),
            (json!({"image_size": "portrait_16_9"}), 576, 1024),
            (json!({"image_size": {"width": 640}}), 640, 512),
            (json!({"image_size": "1536x1024"}), 1536, 1024),
            (json!({"image_size": "auto", "image_url": one_pixel_wide}), 100, 64),
            (json!({"width": 321, "height": 123}), 321, 123),
            (json!({"width": 321}), 1280, 720),
            (json!({"aspect_ratio": "9:16", "resolution": "720p"}), 720, 1280),
            (json!({"resolution": "1080p"}), 1920, 1080),
            (json!({"resolution": "1080p", "aspect_ratio": "1:1"}), 1440, 1440),
            (json!({"aspect_ratio": "1:1"}), 960, 960),
            (json!({"aspect_ratio": "auto"}), 1280, 720),
            (json!({"resolution": "1K", "aspect_ratio": "1:1"}), 1024, 1024),
            (json!({"image_urls": [one_pixel_wide]}), 100, 64),
            (json!({"image": {"url": one_pixel_wide}}), 100, 64),
            (json!({"image_size": {"width": 14142, "height": 1}}), SIDE_MAX, 1),
            (json!({"aspect_ratio": "1:0"}), 1280, 720),
        ] {
            let found = with("acme/any", input.clone(), |asked| asked.size(usual));
            assert_eq!(found, Size { width, height }, "{input}");
        }
        let larger = json!({"image_url": one_pixel_wide, "upscale_factor": 2});
        let found = with("acme/upscaler", larger, |asked| asked.size(usual));
        assert_eq!(found, Size { width: 200, height: 128 });
    }

    #[test]
    fn times_and_counts_are_found() {
        let millis = |input| with("a/b", input, |asked| asked.millis());
        assert_eq!(millis(json!({"duration": "5"})), Some(5000));
        assert_eq!(millis(json!({"duration": "8s"})), Some(8000));
        assert_eq!(millis(json!({"duration": 2.5})), Some(2500));
        assert_eq!(millis(json!({"duration": "auto"})), None);
        assert_eq!(millis(json!({"music_length_ms": 1234})), Some(1234));
        let count = |input| with("a/b", input, |asked| asked.count());
        assert_eq!(count(json!({})), 1);
        assert_eq!(count(json!({"num_images": 3})), 3);
        assert_eq!(count(json!({"num_images": 0})), 1);
        assert_eq!(count(json!({"num_samples": 1e9})), COUNT_MAX);
    }

    #[test]
    fn switches_are_found() {
        let switch = |input, output| with("a/b", input, |asked| asked.switch_of(output));
        assert_eq!(switch(json!({"output_mask": false}), "mask_image"), Some(false));
        assert_eq!(
            switch(json!({"return_frames_zip": true}), "boundingbox_frames_zip"),
            Some(true)
        );
        assert_eq!(switch(json!({"reasoning": false}), "reasoning"), Some(false));
        assert_eq!(
            switch(json!({"enable_safety_checker": true, "output_format": "png"}), "image"),
            None
        );
    }

    #[test]
    fn prompts_are_found() {
        let prompt = |input| with("a/b", input, |asked| asked.prompt().to_owned());
        assert_eq!(prompt(json!({"prompt": "", "text": "say"})), "say");
        assert_eq!(prompt(json!({"messages": [{"role": "user", "content": "hi"}]})), "hi");
        assert_eq!(prompt(json!({})), "");
    }
}
