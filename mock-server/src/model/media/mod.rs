//! Files that models make: real ones, small ones, the same for the same seed, encoded when somebody asks.

mod archive;
mod film;
mod h264;
mod mask;
pub(crate) mod measure;
mod picture;
mod solid;
mod sound;
mod weights;

pub(crate) use archive::Archive;
pub(crate) use film::Film;
pub(crate) use mask::Mask;
pub(crate) use picture::{Picture, SIDE_MAX, Size};
pub(crate) use solid::{Solid, SolidFormat};
pub(crate) use sound::{RATE as SOUND_RATE, Sound, SoundFormat};
pub(crate) use weights::Weights;

/// What a file holds, before it is encoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Media {
    Picture(Picture, PictureFormat),
    Mask(Mask),
    Film(Film),
    Sound(Sound),
    Solid(Solid),
    Archive(Archive),
    Weights(Weights),
    Text(Text),
}

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Png,
    Jpeg,
    Webp,
}

/// A text with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) content_type: &'static str,
    /// With its dot.
    pub(crate) extension: &'static str,
    pub(crate) text: Box<str>,
}

impl Text {
    /// Types that texts have, each with the end of its name.
    pub(crate) const KINDS: [(&'static str, &'static str); 4] =
        [Self::JSON, Self::SVG, Self::SUBTITLES, Self::PLAIN];

    pub(crate) const JSON: (&'static str, &'static str) = ("application/json", ".json");
    pub(crate) const SVG: (&'static str, &'static str) = ("image/svg+xml", ".svg");
    pub(crate) const SUBTITLES: (&'static str, &'static str) = ("application/x-subrip", ".srt");
    pub(crate) const PLAIN: (&'static str, &'static str) = ("text/plain", ".txt");
}

impl Media {
    /// A PNG of a picture.
    pub(crate) const fn png(picture: Picture) -> Self {
        Self::Picture(picture, PictureFormat::Png)
    }

    /// The bytes of the file.
    pub(crate) fn make(&self) -> Vec<u8> {
        match self {
            Self::Picture(picture, PictureFormat::Png) => picture.render(),
            Self::Picture(picture, PictureFormat::Jpeg) => picture.render_jpeg(),
            Self::Picture(picture, PictureFormat::Webp) => picture.render_webp(),
            Self::Mask(mask) => mask.make(),
            Self::Film(film) => film.make(),
            Self::Sound(sound) => sound.make(),
            Self::Solid(solid) => solid.make(),
            Self::Archive(archive) => archive.make(),
            Self::Weights(weights) => weights.make(),
            Self::Text(text) => text.text.as_bytes().to_vec(),
        }
    }

    /// Its type and the end of its name, with the dot.
    const fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Picture(_, PictureFormat::Png) | Self::Mask(_) => ("image/png", ".png"),
            Self::Picture(_, PictureFormat::Jpeg) => ("image/jpeg", ".jpeg"),
            Self::Picture(_, PictureFormat::Webp) => ("image/webp", ".webp"),
            Self::Film(_) => ("video/mp4", ".mp4"),
            Self::Sound(Sound { format: SoundFormat::Wav, .. }) => ("audio/wav", ".wav"),
            Self::Sound(Sound { format: SoundFormat::Mp3, .. }) => ("audio/mpeg", ".mp3"),
            Self::Solid(Solid { format, .. }) => format.kind(),
            Self::Archive(_) => ("application/zip", ".zip"),
            Self::Weights(_) => ("application/octet-stream", ".safetensors"),
            Self::Text(Text { content_type, extension, .. }) => (content_type, extension),
        }
    }

    pub(crate) const fn content_type(&self) -> &'static str {
        self.kind().0
    }

    /// The end of its address, with the dot.
    pub(crate) const fn extension(&self) -> &'static str {
        self.kind().1
    }

    /// Width and height, if it has any.
    pub(crate) const fn size(&self) -> Option<Size> {
        match self {
            Self::Picture(picture, _) => Some(picture.size),
            Self::Mask(mask) => Some(mask.size),
            Self::Film(film) => Some(film.size),
            _ => None,
        }
    }

    /// How long it plays.
    pub(crate) fn millis(&self) -> Option<u64> {
        match self {
            Self::Film(film) => Some(film.millis()),
            Self::Sound(sound) => Some(sound.millis),
            _ => None,
        }
    }

    /// Whether to encode it takes long enough to be put off.
    pub(crate) fn is_heavy(&self) -> bool {
        let size = self.size().unwrap_or(Size { width: 0, height: 0 });
        let pixels = u64::from(size.width) * u64::from(size.height);
        matches!(self, Self::Picture(..) | Self::Mask(_)) && pixels > LIGHT_PIXELS_MAX
    }

    /// The same with another look: what there is before the last step.
    pub(crate) fn draft(&self, left: u64) -> Self {
        let mut draft = self.clone();
        match &mut draft {
            Self::Picture(Picture { seed, .. }, _)
            | Self::Film(Film { seed, .. })
            | Self::Sound(Sound { seed, .. }) => *seed ^= left,
            _ => {}
        }
        draft
    }

    /// What it costs to keep before it is made, apart from its own size.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Picture(picture, _) => picture.prompt.len() + picture.endpoint.len(),
            Self::Text(text) => text.text.len(),
            _ => 0,
        }
    }
}

/// A larger picture's length is stated only where that is required, because it has to be drawn first.
const LIGHT_PIXELS_MAX: u64 = 4 << 20;
