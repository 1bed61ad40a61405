//! What models give.

use fal_protocol::schema::{Field as Described, Schema};

use super::input::{about, fixed_text};
use super::{Builder, Field, Limits, Media, Place, Presence, Side, Ty};
use crate::names::{self, Scope};

impl Builder {
    /// Fields of an output.
    ///
    /// Answers are looser than documents. Only what the output is about must be there: the required files at
    /// its top, or, where there are none, everything required at its top. Below that only fixed texts and
    /// addresses must be.
    pub(super) fn output_fields(
        &mut self,
        schema: Schema<'_>,
        parent: &str,
        is_root: bool,
    ) -> Vec<Field> {
        let mut scope = Scope::default();
        let mut fields: Vec<Field> = schema
            .fields()
            .map(|field| {
                let name = scope.give([names::field(field.name)]);
                self.output_field(field, name, parent)
            })
            .collect();
        let is_key = |field: &Field| is_root && field.presence == Presence::Required;
        let has_media = fields.iter().any(|field| is_key(field) && holds_media(&field.ty));
        for field in &mut fields {
            let is_kept = is_key(field) && (!has_media || holds_media(&field.ty));
            if is_kept || field.presence != Presence::Required || field.wire == "url" {
                continue;
            }
            field.presence = match field.ty {
                Ty::List(_) | Ty::Map(_) => Presence::OrEmpty,
                _ => Presence::Optional,
            };
        }
        fields
    }

    fn output_field(&mut self, field: Described<'_>, name: String, parent: &str) -> Field {
        let Described { name: wire, is_required, schema, .. } = field;
        let place = Place { side: Side::Output, parent, field: wire };
        let (ty, presence) = match fixed_text(schema).filter(|_| is_required) {
            Some(text) => (self.fixed(text, place), Presence::Fixed),
            None => match self.ty(schema, place) {
                (ty, false) if is_required => (ty, Presence::Required),
                (ty, _) => (ty, Presence::Optional),
            },
        };
        Field {
            wire: wire.to_owned(),
            name,
            ty,
            presence,
            about: about(schema),
            default: None,
            limits: Limits::default(),
            is_deprecated: schema.is_deprecated(),
        }
    }
}

fn holds_media(ty: &Ty) -> bool {
    match ty {
        Ty::Media(_) => true,
        Ty::List(ty) | Ty::OrNull(ty) => holds_media(ty),
        _ => false,
    }
}

/// Which kind of file an object is, if it is one and no more than that.
///
/// Source: the shared components of the published documents (observed). Their names say what they are; a
/// name is not enough, because some documents add fields of their own.
pub(super) fn media(schema: Schema<'_>) -> Option<Media> {
    let names: Vec<&str> = schema.fields().map(|field| field.name).collect();
    let has = |name: &str| names.contains(&name);
    if !has("url") || !(has("content_type") || has("file_name")) {
        return None;
    }
    let are_known =
        |known: &[&str]| names.iter().all(|name| COMMON.contains(name) || known.contains(name));
    let component = schema.component().unwrap_or_default().to_lowercase();
    let kinds = [
        (Media::File, "file", FILE),
        (Media::Image, "image", IMAGE),
        (Media::Video, "video", VIDEO),
        (Media::Audio, "audio", AUDIO),
    ];
    let named =
        kinds.iter().rev().find(|(_, word, known)| component.contains(word) && are_known(known));
    named
        .or_else(|| kinds.iter().find(|(_, _, known)| are_known(known)))
        .map(|(media, _, _)| *media)
}

const COMMON: [&str; 5] = ["url", "content_type", "file_name", "file_size", "file_data"];
const FILE: &[&str] = &[];
const IMAGE: &[&str] = &["width", "height"];
const VIDEO: &[&str] = &["width", "height", "fps", "duration", "num_frames"];
const AUDIO: &[&str] = &["duration", "bitrate", "channels", "sample_rate"];
