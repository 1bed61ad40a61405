//! Where in an input a problem is.

use super::model::Schema;
use super::problem::branch_tag;
use crate::error::Loc;

/// One step from the body towards the offending value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    Name(&'a str),
    Index(usize),
    /// One alternative of a union. Its tag is spelled out only when somebody asks.
    Branch(Schema<'a>),
}

/// The steps so far, linked through the call stack: a valid input costs no allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trail<'t, 'a> {
    parent: Option<&'t Self>,
    step: Step<'a>,
}

impl<'t, 'a> Trail<'t, 'a> {
    pub(super) const fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    pub(super) const fn then(&'t self, step: Step<'a>) -> Self {
        Self { parent: Some(self), step }
    }

    pub(super) fn steps(&self) -> Vec<Step<'a>> {
        let mut steps = Vec::with_capacity(4);
        let mut at = Some(self);
        while let Some(trail) = at {
            steps.push(trail.step);
            at = trail.parent;
        }
        steps.reverse();
        steps
    }
}

pub(super) fn render(steps: &[Step<'_>]) -> Vec<Loc> {
    steps
        .iter()
        .map(|step| match step {
            Step::Name(name) => Loc::Name((*name).into()),
            Step::Index(index) => Loc::Index(*index as u64),
            Step::Branch(schema) => Loc::Name(branch_tag(*schema).into()),
        })
        .collect()
}
