//! Walks an output schema and writes a value that fits it.
//!
//! Of each field the first of these that applies decides: null where the input switches it off, the value of
//! the input's field of the same name, a value of the schema's own list, a file, what its name means, its
//! example, its type.

use fal_protocol::rand::SplitMix64;
use fal_protocol::schema::{Mode, NumberBounds, Rest, Schema, Types};
use serde_json::Value;

use super::asked::Asked;
use super::wanted::Wanted;
use super::{Hole, Made, speech};
use crate::model::media::Media;
use crate::render;

pub(super) struct Writer<'a> {
    asked: Asked<'a>,
    rng: SplitMix64,
    key: u128,
    text: Vec<u8>,
    holes: Vec<(usize, Hole)>,
    files: Vec<Media>,
    speech: Vec<String>,
    is_speech_used: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(asked: Asked<'a>, key: u128) -> Self {
        let draw = key as u64;
        let said = speech::tokens(draw, asked.prompt(), asked.endpoint);
        let most = asked.number("max_tokens").filter(|most| *most >= 1.0);
        let speech = said.take(most.map_or(usize::MAX, |most| most as usize)).collect();
        Self {
            asked,
            rng: SplitMix64::new(draw ^ (key >> 64) as u64),
            key,
            text: Vec::with_capacity(512),
            holes: Vec::new(),
            files: Vec::new(),
            speech,
            is_speech_used: false,
        }
    }

    pub(super) fn finish(mut self, output: Schema<'a>) -> Made {
        let root = output.resolved();
        if root.fields().len() == 0
            && root.types().has(Types::OBJECT)
            && root.alternatives().len() == 0
        {
            self.open_output();
        } else {
            self.value(output, "", 0);
        }
        if !self.is_speech_used {
            self.speech.clear();
        }
        let pictures =
            self.files.iter().filter(|media| matches!(media, Media::Picture(..))).count() as u64;
        let seconds: u64 =
            self.files.iter().filter_map(Media::millis).map(|ms| ms.div_ceil(1000)).sum();
        Made {
            text: self.text.into(),
            holes: self.holes.into(),
            files: self.files.into(),
            key: self.key,
            speech: self.speech.into(),
            is_inline: self.asked.is_on("sync_mode"),
            units: if seconds > 0 { seconds } else { pictures.max(1) },
        }
    }

    /// Writes one value. `depth` counts objects, lists and unions around it.
    fn value(&mut self, schema: Schema<'a>, name: &str, depth: usize) {
        let inner = schema.resolved();
        if depth > DEPTH_MAX || self.text.len() > BYTES_MAX {
            return self.least(inner);
        }
        if depth > 0 && may_be_null(schema) && self.is_null(name, schema) {
            return self.raw(b"null");
        }
        if depth == 1 && self.echo(schema, name) {
            return;
        }
        if let Some(choices) = inner.choices() {
            return self.choice(schema, choices);
        }
        if depth > 0 && (is_file(inner) || (inner.types() == Types::STRING && is_address(name))) {
            return self.file(schema, name);
        }
        if let Some(alternative) = main_alternative(inner) {
            return self.value(alternative, name, depth + 1);
        }
        if self.meant(schema, name) || self.example(schema, name) {
            return;
        }
        let types = inner.types();
        if types.has(Types::OBJECT) {
            self.object(inner, name, depth);
        } else if types.has(Types::ARRAY) {
            self.list(inner, name, depth);
        } else if types.has(Types::STRING) {
            self.words(inner);
        } else if types.has(Types::NUMBER) {
            let number = (self.rng.unit() * 1000.0).round() / 1000.0;
            self.number(inner, number);
        } else if types.has(Types::INTEGER) {
            let number = 1 + self.rng.below(99);
            self.number(inner, number as f64);
        } else if types.has(Types::BOOLEAN) {
            self.raw(b"false");
        } else {
            self.raw(b"null");
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    fn hole(&mut self, hole: Hole) {
        self.holes.push((self.text.len(), hole));
    }

    fn json(&mut self, value: &Value) {
        let text = value.to_string();
        self.raw(text.as_bytes());
    }

    fn string(&mut self, text: &str) {
        render::push_string(&mut self.text, text);
    }

    /// The shortest value of a type: the limits are reached.
    fn least(&mut self, schema: Schema<'_>) {
        let types = schema.types();
        let text: &[u8] = match () {
            () if types.has(Types::NULL) => b"null",
            () if types.has(Types::STRING) => b"\"\"",
            () if types.has(Types::INTEGER) || types.has(Types::NUMBER) => b"0",
            () if types.has(Types::BOOLEAN) => b"false",
            () if types.has(Types::ARRAY) => b"[]",
            () => b"{}",
        };
        self.raw(text);
    }

    /// Whether a field that may be null is null here.
    fn is_null(&self, name: &str, schema: Schema<'a>) -> bool {
        let switch = self.asked.switch_of(name);
        // A truth value of the same name is echoed, not switched off.
        if switch == Some(false) && !schema.resolved().types().has(Types::BOOLEAN) {
            return true;
        }
        let is_unusual =
            name.starts_with("debug") || name.ends_with("error") || name == "file_data";
        let subject = subject(schema);
        let is_unmakeable = || {
            is_file(subject) && Wanted::of(name, schema, subject, &self.asked) == Wanted::Unmakeable
        };
        is_unusual && switch.is_none() || is_unmakeable()
    }

    /// What input and output share is the same, unless the model has made something new under that name.
    fn echo(&mut self, schema: Schema<'a>, name: &str) -> bool {
        let Some(given) = self.asked.fields.get(name) else { return false };
        let is_address = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| STARTS_OF_ADDRESSES.iter().any(|start| text.starts_with(start)))
        };
        let is_plain = match given {
            Value::Null | Value::Object(_) => false,
            Value::Array(items) => {
                items.iter().all(|item| !item.is_object() && !item.is_array() && !is_address(item))
            }
            other => !is_address(other),
        };
        if !is_plain
            || given.to_string().len() > ECHO_BYTES_MAX
            || !schema.accepts(given, Mode::Strict)
        {
            return false;
        }
        self.json(given);
        true
    }

    fn choice(&mut self, schema: Schema<'a>, choices: &'a [Value]) {
        let fitting: Vec<&Value> = choices
            .iter()
            .filter(|value| **value != "" && schema.accepts(value, Mode::Strict))
            .take(CHOICES_MAX)
            .collect();
        let picked = self.rng.below(fitting.len().max(1) as u64);
        let picked = usize::try_from(picked).expect("an index");
        let value = fitting.get(picked).copied().or_else(|| choices.first());
        self.json(value.unwrap_or(&Value::Null));
    }

    /// An address, or an object about a file.
    fn file(&mut self, schema: Schema<'a>, name: &str) {
        let inner = schema.resolved();
        if self.files.len() >= FILES_MAX {
            return self.least(inner);
        }
        let seed = self.rng.next_u64();
        let media = Wanted::of(name, schema, inner, &self.asked).media(&self.asked, seed);
        let index = self.files.len();
        self.files.push(media);
        if inner.types() == Types::STRING {
            return self.hole(Hole::Url(index));
        }
        let mut is_first = true;
        for field in inner.fields() {
            let of_field = field.schema.resolved();
            if field.name == "file_data" && !field.is_required
                || of_field.format() == Some("binary")
            {
                continue;
            }
            self.raw(if is_first { b"{" } else { b"," });
            is_first = false;
            self.string(field.name);
            self.raw(b":");
            self.file_field(index, field.name, field.schema);
        }
        self.raw(if is_first { b"{}" } else { b"}" });
    }

    fn file_field(&mut self, index: usize, name: &str, schema: Schema<'a>) {
        let media = &self.files[index];
        let (content_type, size) = (media.content_type(), media.size());
        let millis = media.millis();
        let (rate, frames) = match media {
            Media::Film(film) => (Some(film.rate), Some(film.frames)),
            _ => (None, None),
        };
        let sample_rate = match media {
            Media::Sound(sound) => Some(sound.rate()),
            _ => None,
        };
        let number = match name {
            "width" => size.map(|size| size.width.into()),
            "height" => size.map(|size| size.height.into()),
            "duration" => millis.map(|millis| millis as f64 / 1000.0),
            "fps" => rate.map(f64::from),
            "num_frames" | "frame_count" => frames.map(f64::from),
            "sample_rate" => sample_rate.map(f64::from),
            "channels" => sample_rate.map(|_| 1.0),
            _ => None,
        };
        let inner = subject(schema);
        let is_number = inner.types().has(Types::NUMBER) || inner.types().has(Types::INTEGER);
        match (name, number) {
            ("url", _) => self.hole(Hole::Url(index)),
            ("file_name", _) => self.hole(Hole::FileName(index)),
            ("file_size", _) => {
                let may_be_null = may_be_null(schema);
                self.hole(Hole::FileSize { file: index, may_be_null });
            }
            ("content_type", _) if schema.accepts(&content_type.into(), Mode::Strict) => {
                self.string(content_type)
            }
            (_, Some(number)) if is_number => self.number(inner, number),
            _ if may_be_null(schema) => self.raw(b"null"),
            _ => self.value(schema, name, 2),
        }
    }

    /// Values whose meaning their name tells. Writes nothing where the schema has no room for it.
    fn meant(&mut self, schema: Schema<'a>, name: &str) -> bool {
        let inner = schema.resolved();
        let types = inner.types();
        if types == Types::STRING {
            return self.meant_text(inner, name);
        }
        if types == Types::BOOLEAN && name == "partial" {
            self.hole(Hole::Partial);
            return true;
        }
        if types == Types::NUMBER || types == Types::INTEGER {
            let asked = self.asked;
            let words = |text: &str| text.split_whitespace().count() as f64;
            let (prompt, said) = (words(asked.prompt()), self.speech.len() as f64);
            let usual = crate::model::media::Size { width: 1024, height: 1024 };
            let number = match name {
                _ if name == "seed" || name.ends_with("_seed") => self.rng.below(1 << 32) as f64,
                "prompt_tokens" | "input_tokens" => prompt,
                "completion_tokens" | "output_tokens" => said,
                "total_tokens" => prompt + said,
                _ if name.ends_with("_tokens") => 0.0,
                "width" => f64::from(asked.size(usual).width),
                "height" => f64::from(asked.size(usual).height),
                "start" | "start_time" => (self.rng.unit() * 100.0).round() / 100.0,
                "end" | "end_time" => (self.rng.unit() * 100.0).round() / 100.0 + 1.0,
                "duration" => self.millis() as f64 / 1000.0,
                "duration_ms" => self.millis() as f64,
                "cost" => (self.rng.unit() * 1e4).round() / 1e6,
                _ => return false,
            };
            self.number(inner, number);
            return true;
        }
        // A map of times has one entry: the run as a whole.
        if types == Types::OBJECT && name.contains("timing") && inner.fields().len() == 0 {
            return match inner.rest() {
                Rest::Each(each) if !each.accepts(&Value::from(0.5), Mode::Strict) => false,
                Rest::Nothing => false,
                _ => {
                    self.raw(b"{\"inference\":");
                    self.hole(Hole::Seconds);
                    self.raw(b"}");
                    true
                }
            };
        }
        false
    }

    /// How long the film or sound of the answer is, else what is asked for, else a second.
    fn millis(&self) -> u64 {
        let made = self.files.iter().rev().find_map(Media::millis);
        made.or_else(|| self.asked.millis()).unwrap_or(1000)
    }

    fn meant_text(&mut self, inner: Schema<'a>, name: &str) -> bool {
        let is_free = inner.length().max.is_none() && inner.pattern().is_none();
        if !is_free {
            return false;
        }
        match inner.format() {
            Some("uuid" | "uuid4") => {
                self.id();
                return true;
            }
            Some("uri" | "https-url") => {
                self.string("https://example.com/");
                return true;
            }
            _ => {}
        }
        if SPEECH.contains(&name) && !self.is_speech_used {
            self.is_speech_used = true;
            self.hole(Hole::Speech);
        } else if name.ends_with("prompt") {
            let prompt = self.asked.prompt();
            self.string(prompt);
        } else if name == "id" || name.ends_with("_id") {
            self.id();
        } else if name == "finish_reason" {
            self.string("stop");
        } else if name == "error" || name.ends_with("_error") {
            self.string("");
        } else if name == "svg_content" {
            self.string("<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
        } else {
            return false;
        }
        true
    }

    /// The form of a UUID.
    fn id(&mut self) {
        let id = crate::model::RequestId::mint(&mut self.rng);
        self.string(&id.to_string());
    }

    /// An example of the field, if it fits and names nothing on the network.
    fn example(&mut self, schema: Schema<'a>, name: &str) -> bool {
        if name == "file_data" {
            return false;
        }
        let fitting = |example: &&Value| {
            let text = example.to_string();
            text.len() <= ECHO_BYTES_MAX
                && !text.contains("://")
                && !text.contains("\"data:")
                && schema.accepts(example, Mode::Strict)
        };
        let Some(example) = schema.examples().iter().take(EXAMPLES_MAX).find(fitting) else {
            return false;
        };
        // A list that is as long as what was asked for is not as long as its example.
        let inner = schema.resolved();
        let follows = example.as_array().is_some_and(|items| items.len() != self.asked.count())
            && (inner.items().is_some_and(|items| is_file(items.resolved()))
                || FOLLOWING.contains(&name));
        if follows {
            return false;
        }
        self.json(example);
        true
    }

    fn object(&mut self, schema: Schema<'a>, name: &str, depth: usize) {
        let mut is_first = true;
        for field in schema.fields() {
            let is_bytes = field.schema.resolved().format() == Some("binary");
            let is_late = depth + 1 > DEPTH_MAX || self.text.len() > BYTES_MAX;
            if !field.is_required && (is_bytes || is_late || field.schema.is_deprecated()) {
                continue;
            }
            self.raw(if is_first { b"{" } else { b"," });
            is_first = false;
            self.string(field.name);
            self.raw(b":");
            self.value(field.schema, field.name, depth + 1);
        }
        if is_first {
            self.raw(b"{");
            if let Rest::Each(each) = schema.rest()
                && depth < DEPTH_MAX
            {
                self.raw(b"\"main\":");
                self.value(each, name, depth + 1);
            }
        }
        self.raw(b"}");
    }

    fn list(&mut self, schema: Schema<'a>, name: &str, depth: usize) {
        let bounds = schema.items_count();
        let tuple: Vec<Schema<'a>> = schema.tuple().collect();
        let follows = FOLLOWING.contains(&name)
            || schema.items().is_some_and(|items| {
                let items = items.resolved();
                is_file(subject(items)) || is_address(name)
            });
        let wanted = match () {
            () if !tuple.is_empty() => tuple.len(),
            () if follows => self.asked.count(),
            () if name.contains("box") || name.contains("bbox") => 4,
            () => 1 + usize::try_from(self.rng.below(3)).expect("below three"),
        };
        let min = usize::try_from(bounds.min).unwrap_or(ITEMS_MAX);
        let max = bounds
            .max
            .map_or(ITEMS_MAX, |max| usize::try_from(max).unwrap_or(ITEMS_MAX))
            .min(ITEMS_MAX);
        self.raw(b"[");
        for index in 0..wanted.min(max).max(min.min(ITEMS_MAX)) {
            if index >= min && (self.text.len() > BYTES_MAX || self.files.len() >= FILES_MAX) {
                break;
            }
            if index > 0 {
                self.raw(b",");
            }
            match tuple.get(index).copied().or_else(|| schema.items()) {
                // Times run forward.
                Some(item) if name.contains("time") && subject(item).types().has(Types::NUMBER) => {
                    let number = index as f64 + (self.rng.unit() * 90.0).round() / 100.0;
                    self.number(subject(item), number);
                }
                Some(item) => self.value(item, name, depth + 1),
                None => self.raw(index.to_string().as_bytes()),
            }
        }
        self.raw(b"]");
    }

    /// A few words within the bounds of the schema.
    fn words(&mut self, schema: Schema<'a>) {
        let length = schema.length();
        let min = usize::try_from(length.min).unwrap_or(WORDS_CHARS_MAX).min(WORDS_CHARS_MAX);
        let mut text = speech::word(&mut self.rng).to_owned();
        for _ in 0..2 {
            text.push(' ');
            text.push_str(speech::word(&mut self.rng));
        }
        while text.chars().count() < min {
            text.push(' ');
            text.push_str(speech::word(&mut self.rng));
        }
        if let Some(max) = length.max.and_then(|max| usize::try_from(max).ok()) {
            text = text.chars().take(max).collect();
        }
        if schema.pattern().is_some() && !schema.accepts(&Value::from(text.as_str()), Mode::Strict)
        {
            let fits = |text: &&'static str| schema.accepts(&Value::from(*text), Mode::Strict);
            text = PATTERNED.into_iter().find(fits).map_or(text, str::to_owned);
        }
        self.string(&text);
    }

    /// A number, moved into the bounds of the schema.
    fn number(&mut self, schema: Schema<'_>, number: f64) {
        let NumberBounds { minimum, maximum, above, below, multiple_of, .. } = schema.bounds();
        let float = |value: Option<Value>| value.and_then(|value| value.as_f64());
        let is_whole = !schema.types().has(Types::NUMBER);
        let step = float(multiple_of).filter(|step| *step > 0.0);
        let least = step.unwrap_or(if is_whole { 1.0 } else { 1e-3 });
        let low = float(minimum).or_else(|| float(above).map(|above| above + least));
        let high = float(maximum).or_else(|| float(below).map(|below| below - least));
        let mut number = number.min(high.unwrap_or(f64::MAX)).max(low.unwrap_or(f64::MIN));
        if let Some(step) = step {
            number = (number / step).floor() * step;
        }
        if is_whole || number.fract() == 0.0 && number.abs() < WHOLE_MAX {
            // Whole numbers have no point: many readers of integers take no other.
            self.raw((number as i64).to_string().as_bytes());
        } else {
            self.json(&Value::from(number));
        }
    }

    /// The document describes no output. Routes in the manner of another service have its form.
    fn open_output(&mut self) {
        let endpoint = self.asked.endpoint;
        let words = |text: &str| text.split_whitespace().count();
        let (prompt, said) = (words(self.asked.prompt()), self.speech.len());
        let usage = format!(
            "\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{said},\"total_tokens\":{}}}",
            prompt + said
        );
        self.raw(b"{");
        if endpoint.ends_with("chat/completions") {
            self.raw(b"\"id\":");
            self.id();
            self.raw(b",\"object\":\"chat.completion\",\"created\":0,\"model\":\"fal-mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
            self.said();
            self.raw(b"},\"finish_reason\":\"stop\"}],");
            self.raw(usage.as_bytes());
        } else if endpoint.ends_with("/embeddings") {
            let numbers: Vec<f64> =
                (0..EMBEDDING_LEN).map(|_| (self.rng.unit() * 2e4).round() / 1e4 - 1.0).collect();
            self.raw(b"\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":");
            self.json(&numbers.into());
            self.raw(b"}],\"model\":\"fal-mock\",");
            self.raw(usage.as_bytes());
        } else {
            self.raw(b"\"output\":");
            self.said();
        }
        self.raw(b"}");
    }

    fn said(&mut self) {
        self.is_speech_used = true;
        self.hole(Hole::Speech);
    }
}

/// The alternative that a union is written as: the first that is more than null.
fn main_alternative(schema: Schema<'_>) -> Option<Schema<'_>> {
    let mut all = schema.alternatives();
    let is_more = |schema: &Schema<'_>| schema.resolved().types() != Types::NULL;
    all.find(is_more).or_else(|| schema.alternatives().next())
}

/// What a field holds where it is not null.
fn subject(schema: Schema<'_>) -> Schema<'_> {
    let inner = schema.resolved();
    main_alternative(inner).map_or(inner, Schema::resolved)
}

/// Whether null is allowed and means something: a schema without a type allows everything.
fn may_be_null(schema: Schema<'_>) -> bool {
    schema.is_nullable() && schema.resolved().types() != Types::ANY
        || schema.is_nullable() && schema.resolved().alternatives().len() > 0
}

/// An object with an address, which is how files are described.
fn is_file(schema: Schema<'_>) -> bool {
    schema.types().has(Types::OBJECT)
        && schema.fields().any(|field| {
            let inner = field.schema.resolved();
            field.name == "url"
                && (inner.types().has(Types::STRING) || inner.alternatives().len() > 0)
        })
}

/// Whether a text of this name is the address of a file.
fn is_address(name: &str) -> bool {
    matches!(name, "url" | "urls") || name.ends_with("_url") || name.ends_with("_urls")
}

const STARTS_OF_ADDRESSES: [&str; 3] = ["http://", "https://", "data:"];

/// Names of the text that a model says, the first of which in an output is what it says.
const SPEECH: [&str; 14] = [
    "output",
    "text",
    "content",
    "answer",
    "response",
    "generated_text",
    "text_output",
    "transcription",
    "transcript",
    "caption",
    "results",
    "result",
    "outputs",
    "lyrics",
];

/// Lists with one entry for each result.
const FOLLOWING: [&str; 4] = ["has_nsfw_concepts", "nsfw_content_detected", "seeds", "nsfw"];

/// Texts for the patterns that occur: a colour, a word, digits.
const PATTERNED: [&str; 4] = ["#a1b2c3", "word", "42", ""];

/// Deepest nesting that is written; below it values are the least of their type.
const DEPTH_MAX: usize = 24;

/// Beyond this length optional parts are left out: 256 KiB.
const BYTES_MAX: usize = 256 << 10;

/// Most files of one answer.
const FILES_MAX: usize = 64;

/// Most elements of one list.
const ITEMS_MAX: usize = 64;

/// Longest value that is repeated from an input or an example: 16 KiB.
const ECHO_BYTES_MAX: usize = 16 << 10;

/// Values of a list, and examples, that are looked at.
const CHOICES_MAX: usize = 64;
const EXAMPLES_MAX: usize = 8;

/// Longest text that a lower bound makes.
const WORDS_CHARS_MAX: usize = 4096;

/// Whole numbers up to here are exact in a float.
const WHOLE_MAX: f64 = 9e15;

/// Numbers of an embedding.
const EMBEDDING_LEN: usize = 16;
