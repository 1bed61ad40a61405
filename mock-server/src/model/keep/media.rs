//! How what a model made stands in a row: as what it is made of.

use super::super::media::{
    Archive, Film, Mask, Media, Picture, PictureFormat, Size, Solid, SolidFormat, Sound,
    SoundFormat, Text, Weights,
};
use super::code::{Field, row};

row!(Size { width, height });
row!(Picture { size, seed, endpoint, prompt });
row!(Mask { size, seed });
row!(Film { size, frames, rate, seed });
row!(Sound { millis, rate, seed, format });
row!(Solid { seed, format });
row!(Archive { seed });
row!(Weights { seed });

/// Implements [`Field`] for an enum without data: its variants count from 0 in this order.
macro_rules! names {
    ($kind:ident { $($name:ident),* }) => {
        impl Field for $kind {
            fn put(&self, out: &mut Vec<u8>) {
                let at = [$(Self::$name),*].iter().position(|one| one == self).unwrap_or(0);
                out.push(u8::try_from(at).expect("few variants"));
            }

            fn take(input: &mut &[u8]) -> Option<Self> {
                [$(Self::$name),*].get(usize::from(u8::take(input)?)).copied()
            }
        }
    };
}

names!(PictureFormat { Png, Jpeg, Webp });
names!(SoundFormat { Wav, Mp3 });
names!(SolidFormat { Glb, Obj, Stl, Ply });

impl Field for Text {
    fn put(&self, out: &mut Vec<u8>) {
        let kind = (self.content_type, self.extension);
        let at = Self::KINDS.iter().position(|one| *one == kind).unwrap_or(0);
        out.push(u8::try_from(at).expect("few kinds"));
        self.text.put(out);
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        let (content_type, extension) = *Self::KINDS.get(usize::from(u8::take(input)?))?;
        Some(Self { content_type, extension, text: Field::take(input)? })
    }
}

impl Field for Media {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Picture(picture, format) => {
                out.push(0);
                picture.put(out);
                format.put(out);
            }
            Self::Mask(mask) => {
                out.push(1);
                mask.put(out);
            }
            Self::Film(film) => {
                out.push(2);
                film.put(out);
            }
            Self::Sound(sound) => {
                out.push(3);
                sound.put(out);
            }
            Self::Solid(solid) => {
                out.push(4);
                solid.put(out);
            }
            Self::Archive(archive) => {
                out.push(5);
                archive.put(out);
            }
            Self::Weights(weights) => {
                out.push(6);
                weights.put(out);
            }
            Self::Text(text) => {
                out.push(7);
                text.put(out);
            }
        }
    }

    fn take(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(input)? {
            0 => Self::Picture(Field::take(input)?, Field::take(input)?),
            1 => Self::Mask(Field::take(input)?),
            2 => Self::Film(Field::take(input)?),
            3 => Self::Sound(Field::take(input)?),
            4 => Self::Solid(Field::take(input)?),
            5 => Self::Archive(Field::take(input)?),
            6 => Self::Weights(Field::take(input)?),
            7 => Self::Text(Field::take(input)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::{read, write};
    use super::*;

    #[test]
    fn everything_that_is_made_reads_back() {
        let size = Size { width: 7, height: 9 };
        let picture = Picture { size, seed: 3, endpoint: "a/b".into(), prompt: "é".into() };
        let text = |(content_type, extension)| {
            Media::Text(Text { content_type, extension, text: "x".into() })
        };
        let mut all = vec![
            Media::Picture(picture.clone(), PictureFormat::Png),
            Media::Picture(picture.clone(), PictureFormat::Jpeg),
            Media::Picture(picture, PictureFormat::Webp),
            Media::Mask(Mask { size, seed: 1 }),
            Media::Film(Film { size, frames: 2, rate: 3, seed: 4 }),
            Media::Sound(Sound { millis: 1, rate: 2, seed: 3, format: SoundFormat::Mp3 }),
            Media::Solid(Solid { seed: 1, format: SolidFormat::Ply }),
            Media::Archive(Archive { seed: 5 }),
            Media::Weights(Weights { seed: 6 }),
        ];
        all.extend(Text::KINDS.map(text));
        for media in all {
            assert_eq!(read::<Media>(&write(&media)).as_ref(), Some(&media));
        }
    }
}
