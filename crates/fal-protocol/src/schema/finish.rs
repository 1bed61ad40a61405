//! The last step of loading: what needs the whole arena.

use serde_json::Value;

use super::defect::{Defect, DefectKind};
use super::model::{Dialect, ModelSchema, Node, NodeId, REFERENCES_MAX, Types};
use super::parse::{DEFECTS_MAX, SCHEMA_DEPTH_MAX};
use super::rules::FieldRule;
use super::validate::Mode;

/// What needs the whole arena: circles, values that null may stand for, defaults and examples that do
/// not fit.
pub(super) fn finish(model: &mut ModelSchema, places: &[(NodeId, Box<str>)]) {
    for at in 0..model.nodes.len() {
        if is_circle(&model.nodes, at) {
            model.nodes[at].reference = Some(NodeId::ANYTHING);
            if model.defects.len() < DEFECTS_MAX {
                let target = model.nodes[at].notes.as_ref().and_then(|notes| notes.component);
                let at = target.map_or("", |name| model.text(name)).into();
                model.defects.push(Defect { at, kind: DefectKind::CyclicReference });
            }
        }
    }
    compile(model);
    let mut misfits = Vec::new();
    for (id, at) in places {
        let Some(notes) = &model.node(*id).notes else { continue };
        // A null default says "none" in the older dialect, whatever the type.
        let default = notes.default.as_ref().filter(|default| !default.is_null());
        if default.is_some_and(|default| !model.fits(*id, default, Mode::Strict)) {
            misfits.push(Defect { at: at.clone(), kind: DefectKind::DefaultMismatch });
        }
        for (index, example) in notes.examples.iter().enumerate() {
            if !model.fits(*id, example, Mode::Strict) {
                misfits
                    .push(Defect { at: at.clone(), kind: DefectKind::ExampleMismatch { index } });
            }
        }
    }
    misfits.truncate(DEFECTS_MAX - model.defects.len());
    model.defects.append(&mut misfits);
    model.nodes.shrink_to_fit();
    model.defects.shrink_to_fit();
}

/// Whether the references from here come back without meeting a schema.
fn is_circle(nodes: &[Node], start: usize) -> bool {
    let mut at = start;
    for _ in 0..=SCHEMA_DEPTH_MAX {
        match nodes[at].reference {
            Some(next) if next.0 as usize == start => return true,
            Some(next) => at = next.0 as usize,
            None => return false,
        }
    }
    false
}

/// Works out what the walk over a valid input needs at hand.
fn compile(model: &mut ModelSchema) {
    for at in 0..model.nodes.len() {
        let node = &model.nodes[at];
        let is_bare = node.reference.is_none() && node.union.is_none();
        let (is_plain, is_choice) = (
            is_bare && node.choices.is_none(),
            is_bare && node.string.is_none() && node.types.has(Types::STRING),
        );
        let alias = alias(model, NodeId(u32::try_from(at).expect("NODES_MAX fits")));
        let node = &mut model.nodes[at];
        (node.is_plain, node.is_choice, node.alias) = (is_plain, is_choice, alias);
    }
    let mut free = vec![None; model.nodes.len()];
    for at in 0..model.nodes.len() {
        let id = NodeId(u32::try_from(at).expect("NODES_MAX fits"));
        model.nodes[at].free = free_types(model, id, &mut free, 0);
    }
    for at in 0..model.nodes.len() {
        let Some(mut object) = model.nodes[at].object.take() else { continue };
        for field in &mut object.fields {
            let notes = model.node(field.node).notes.as_ref();
            let default = notes.and_then(|notes| notes.default.as_ref());
            field.is_null_absent = model.dialect == Dialect::NullsFolded
                && !field.is_required
                && default.is_none_or(Value::is_null);
        }
        let mut by_place: Vec<&FieldRule> = object.fields.iter().collect();
        by_place.sort_unstable_by_key(|rule| model.text(rule.name));
        for (field, rule) in object.by_name.iter_mut().zip(by_place) {
            field.is_null_absent = rule.is_null_absent;
            field.free = model.node(field.node).free;
            field.node = model.node(field.node).alias.unwrap_or(field.node);
        }
        model.nodes[at].object = Some(object);
    }
}

/// What a schema stands for that is a reference, or an `allOf` with one alternative, and nothing else.
fn alias(model: &ModelSchema, id: NodeId) -> Option<NodeId> {
    let mut at = id;
    for _ in 0..REFERENCES_MAX {
        let node = model.node(at);
        let is_bare = node.types == Types::ANY
            && !node.is_nullable
            && node.choices.is_none()
            && node.number.is_none()
            && node.string.is_none()
            && node.array.is_none()
            && node.object.is_none();
        let next = match (&node.union, node.reference) {
            (None, reference) => reference,
            (Some(union), None) if union.all_of.len() == 1 && union.is_all_of_alone() => {
                Some(union.all_of[0])
            }
            _ => None,
        };
        match next.filter(|_| is_bare) {
            Some(next) => at = next,
            None => return (at != id).then_some(at),
        }
    }
    None
}

/// The kinds of values that fit whatever they are. Circles and depths have none, which only costs time.
fn free_types(model: &ModelSchema, id: NodeId, known: &mut [Option<Types>], depth: usize) -> Types {
    if let Some(free) = known[id.0 as usize] {
        return free;
    }
    known[id.0 as usize] = Some(Types::NONE);
    if depth >= SCHEMA_DEPTH_MAX {
        return Types::NONE;
    }
    let node = model.node(id);
    let mut free = match node.choices {
        Some(_) => Types::NONE,
        None => own_free_types(node),
    };
    let mut of = |id: &NodeId| free_types(model, *id, known, depth + 1);
    if let Some(id) = &node.reference {
        free = free.and(of(id));
    }
    if let Some(union) = &node.union {
        free = union.all_of.iter().fold(free, |free, id| free.and(of(id)));
        if !union.any_of.is_empty() {
            free = free.and(union.any_of.iter().fold(Types::NONE, |all, id| all.or(of(id))));
        }
        if !union.one_of.is_empty() {
            free = Types::NONE;
        }
        if union.limits.is_some() {
            free = free.and(Types::STRING.or(Types::ARRAY).or(Types::OBJECT).or(Types::NULL));
        }
    }
    if node.is_nullable {
        free = free.or(Types::NULL);
    }
    known[id.0 as usize] = Some(free);
    free
}

fn own_free_types(node: &Node) -> Types {
    let mut free = node.types.and(Types::NULL.or(Types::BOOLEAN));
    let mut add = |types: Types, is_ruled: bool| {
        if node.types.has(types) && !is_ruled {
            free = free.or(types);
            if types == Types::NUMBER {
                free = free.or(Types::INTEGER);
            }
        }
    };
    add(Types::INTEGER, node.number.is_some());
    add(Types::NUMBER, node.number.is_some());
    add(Types::STRING, node.string.is_some());
    add(Types::ARRAY, node.array.is_some());
    add(Types::OBJECT, node.object.is_some());
    free
}
