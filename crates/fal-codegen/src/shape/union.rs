//! Values of several types.

use fal_protocol::schema::Schema;

use super::{Builder, Enum, Kind, Place, Ty, variants};
use crate::names::{self, Scope};

pub(super) enum Union {
    /// The alternatives are one type after all.
    One(Ty),
    Enum(Enum),
}

impl Builder {
    /// The alternatives of a union, null left out; `alternatives` empty means those of the schema.
    pub(super) fn union(
        &mut self,
        schema: Schema<'_>,
        place: Place<'_>,
        alternatives: Vec<Schema<'_>>,
    ) -> Union {
        let mut parts = Parts::default();
        match alternatives.is_empty() {
            true => schema.alternatives().for_each(|s| self.part(s, place, &mut parts, 0)),
            false => alternatives.into_iter().for_each(|s| self.part(s, place, &mut parts, 0)),
        }
        parts.finish(self)
    }

    fn part(&mut self, schema: Schema<'_>, place: Place<'_>, parts: &mut Parts, depth: usize) {
        let schema = schema.resolved();
        if super::is_null(schema) {
            return;
        }
        let texts: Option<Vec<&str>> = schema
            .choices()
            .and_then(|choices| choices.iter().map(|value| value.as_str()).collect());
        if let Some(texts) = texts {
            for text in texts {
                if !parts.texts.iter().any(|known| known == text) {
                    parts.texts.push(text.to_owned());
                }
            }
            return;
        }
        if schema.alternatives().len() > 0 && schema.choices().is_none() && depth < DEPTH_MAX {
            schema.alternatives().for_each(|inner| self.part(inner, place, parts, depth + 1));
            return;
        }
        let ty = self.ty_not_null(schema, place);
        if !parts.types.contains(&ty) {
            parts.types.push(ty);
        }
    }

    pub(super) fn named_union(&mut self, found: Union, schema: Schema<'_>, place: Place<'_>) -> Ty {
        match found {
            Union::One(ty) => ty,
            Union::Enum(kind) => {
                self.make_way(&kind, place);
                self.named_enum(kind, schema.description().map(str::to_owned), place)
            }
        }
    }

    /// `image_size` is a name or an `ImageSize`: the enum is what callers meet, so it gets that name.
    fn make_way(&mut self, kind: &Enum, place: Place<'_>) {
        let wish = names::type_name(place.field);
        for (_, ty) in &kind.holders {
            if let Ty::Named(item) = ty
                && self.items[*item].name == wish
            {
                let custom = self.names.give([format!("Custom{wish}")]);
                self.items[*item].name = custom;
                self.names.take_back(&wish);
            }
        }
    }
}

#[derive(Default)]
struct Parts {
    texts: Vec<String>,
    types: Vec<Ty>,
}

impl Parts {
    fn finish(mut self, builder: &Builder) -> Union {
        // A text may be any of the named ones too; addresses and texts are read alike.
        let text = [Ty::Upload, Ty::Text].into_iter().find(|ty| self.types.contains(ty));
        self.types.retain(|ty| !matches!(ty, Ty::Text | Ty::Upload));
        if self.types.contains(&Ty::Float) {
            self.types.retain(|ty| *ty != Ty::Int);
        }
        // Where one of the alternatives is anything, `Other` is.
        let is_open = self.types.contains(&Ty::Json);
        self.types.retain(|ty| *ty != Ty::Json);
        match (&text, &self.types[..], self.texts.is_empty()) {
            (None, [], true) => return Union::One(Ty::Json),
            _ if is_open => {}
            (Some(text), [], true) => return Union::One(text.clone()),
            (None, [ty], true) => return Union::One(ty.clone()),
            _ => {}
        }
        self.types.sort_by_key(|ty| order(ty, builder));
        let mut scope = Scope::new(&["Other"]);
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        let texts = variants(&texts);
        texts.iter().for_each(|(name, _)| _ = scope.give([name.clone()]));
        let is_single_object =
            self.types.len() == 1 && !texts.is_empty() && matches!(self.types[0], Ty::Named(_));
        let mut holders = Vec::new();
        for ty in self.types {
            let name =
                if is_single_object { "Custom".to_owned() } else { holder_name(&ty, builder) };
            holders.push((scope.give([name]), ty));
        }
        let rest = match text {
            // With named texts, `Other` is any text.
            Some(_) if !texts.is_empty() && !is_open => Ty::Text,
            Some(text) => {
                let name = if text == Ty::Upload { "Url" } else { "Text" };
                let at = holders.iter().position(|(_, ty)| order(ty, builder) > TEXT_ORDER);
                let at = at.unwrap_or(holders.len());
                holders.insert(at, (scope.give([name.to_owned()]), text));
                Ty::Json
            }
            None if !texts.is_empty() && !is_open => Ty::Text,
            None => Ty::Json,
        };
        Union::Enum(Enum { texts, holders, rest })
    }
}

/// What is tried first: the narrower. Objects with more required fields are narrower.
fn order(ty: &Ty, builder: &Builder) -> usize {
    match ty {
        Ty::Bool => 0,
        Ty::Int => 1,
        Ty::Float => 2,
        Ty::List(_) => 3,
        Ty::Named(item) | Ty::Boxed(item) => match &builder.items[*item].kind {
            Kind::Struct(fields) => {
                let required = fields.iter().filter(|field| field.presence.is_certain()).count();
                let fixed =
                    fields.iter().filter(|field| field.presence == super::Presence::Fixed).count();
                OBJECTS_ORDER - fixed.min(10) * 10 - required.min(9)
            }
            _ => 4,
        },
        Ty::Upload | Ty::Text => TEXT_ORDER,
        Ty::Media(super::Media::File) => TEXT_ORDER + 2,
        Ty::Media(_) => TEXT_ORDER + 1,
        Ty::Map(_) => TEXT_ORDER + 3,
        Ty::Json | Ty::OrNull(_) => TEXT_ORDER + 4,
    }
}

fn holder_name(ty: &Ty, builder: &Builder) -> String {
    match ty {
        Ty::Bool => "Bool".to_owned(),
        Ty::Int | Ty::Float => "Number".to_owned(),
        Ty::Text => "Text".to_owned(),
        Ty::Upload => "Url".to_owned(),
        Ty::Media(media) => format!("{media:?}"),
        Ty::Json => "Json".to_owned(),
        Ty::List(_) => "List".to_owned(),
        Ty::Map(_) => "Map".to_owned(),
        Ty::OrNull(ty) => holder_name(ty, builder),
        Ty::Named(item) | Ty::Boxed(item) => builder.items[*item].name.clone(),
    }
}

const DEPTH_MAX: usize = 8;
const OBJECTS_ORDER: usize = 200;
const TEXT_ORDER: usize = 300;
