//! What an endpoint takes and gives, as tables.

use super::media::Size;

/// The interface of an endpoint.
#[derive(Debug)]
pub(crate) struct Interface {
    /// The input's fields; others are accepted and ignored, as pydantic does by default.
    pub(crate) fields: &'static [Field],
    /// Which fields of the output there are.
    pub(crate) output: Shape,
    /// The size of its pictures where the input does not say.
    pub(crate) size: Size,
}

/// One field of an input.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// A whole number, echoed in the output.
    Seed,
    /// How many pictures: 1 to [`IMAGES_MAX`].
    ImageCount,
    /// A preset's name, or an object with `width` and `height`.
    ImageSize,
}

/// Whether a field may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It must be there.
    Required,
    /// It has a default; `null` is not a value of its type.
    Defaulted,
    /// It may be absent or `null`.
    Nullable,
}

/// The fields of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `images` (short), `seed`, `prompt`, `timings`, `has_nsfw_concepts`.
    Generic,
    /// `images` with every field, `seed`, `timings`.
    ImagesSeedTimings,
}

/// The interface of an endpoint; [`GENERIC`] for all that are not listed.
pub(crate) fn interface(endpoint: &str) -> &'static Interface {
    LISTED.iter().find(|(id, _)| *id == endpoint).map_or(&GENERIC, |(_, interface)| interface)
}

/// Whether an endpoint has an interface of its own here.
pub(crate) fn is_listed(endpoint: &str) -> bool {
    LISTED.iter().any(|(id, _)| *id == endpoint)
}

/// Whether a model answers with text, by its id: one of its words is [`TEXT_WORDS`], or its last
/// segment says so. Nothing else tells, as there are no documents of models here.
pub(crate) fn is_text(endpoint: &str) -> bool {
    endpoint.split('/').any(|segment| {
        let mut words = segment.split(['-', '_', '.']);
        segment == "text"
            || segment.ends_with("-to-text")
            || words.any(|word| TEXT_WORDS.contains(&word))
    })
}

const fn field(name: &'static str, kind: Kind, presence: Presence) -> Field {
    Field { name, kind, presence }
}

/// Endpoints with an interface of their own.
const LISTED: &[(&str, Interface)] = &[(
    "fal-ai/controlnet-ip-adapter",
    Interface {
        fields: &[
            field("prompt", Kind::Text, Presence::Required),
            field("negative_prompt", Kind::Text, Presence::Defaulted),
            field("reference_image_url", Kind::Text, Presence::Required),
            field("reference_pose_image_url", Kind::Text, Presence::Required),
            field("ip_archive_url", Kind::Text, Presence::Required),
            field("seed", Kind::Seed, Presence::Nullable),
        ],
        output: Shape::ImagesSeedTimings,
        size: Size { width: 768, height: 1024 },
    },
)];

/// Words in the ids of models that answer with text.
const TEXT_WORDS: &[&str] = &["asr", "chat", "completions", "llm", "openrouter", "router", "vlm"];

/// The text-to-image interface that most documents share, with nothing required.
static GENERIC: Interface = Interface {
    fields: &[
        field("prompt", Kind::Text, Presence::Nullable),
        field("image_size", Kind::ImageSize, Presence::Nullable),
        field("num_images", Kind::ImageCount, Presence::Nullable),
        field("seed", Kind::Seed, Presence::Nullable),
    ],
    output: Shape::Generic,
    size: Size { width: 1024, height: 768 },
};

/// Pixel sizes of the presets.
///
/// Source: the first six: SDK and docs.fal.ai (documented). The others occur in published model
/// documents without a size; theirs are ours (inferred).
pub(crate) const PRESETS: &[(&str, Size)] = &[
    ("square_hd", Size { width: 1024, height: 1024 }),
    ("square", Size { width: 512, height: 512 }),
    ("portrait_4_3", Size { width: 768, height: 1024 }),
    ("portrait_16_9", Size { width: 576, height: 1024 }),
    ("landscape_4_3", Size { width: 1024, height: 768 }),
    ("landscape_16_9", Size { width: 1024, height: 576 }),
    ("square_uhd", Size { width: 2048, height: 2048 }),
    ("portrait_3_2", Size { width: 683, height: 1024 }),
    ("landscape_3_2", Size { width: 1024, height: 683 }),
    ("portrait_hd", Size { width: 1080, height: 1440 }),
    ("landscape_hd", Size { width: 1440, height: 1080 }),
    ("auto", Size { width: 1024, height: 1024 }),
    ("auto_2K", Size { width: 2048, height: 2048 }),
    ("auto_3K", Size { width: 3072, height: 3072 }),
    ("auto_4K", Size { width: 4096, height: 4096 }),
];

/// Most pictures of one request.
pub(crate) const IMAGES_MAX: u64 = 4;
