//! What is wrong with a document that can be used all the same.

use std::fmt;

/// One thing in a document that is not as it should be, and was worked around.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defect {
    /// Where: `input` or `output`, then field names, `[]` for elements, `|` for alternatives.
    pub at: Box<str>,
    /// What, and what was done about it.
    pub kind: DefectKind,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.kind)
    }
}

/// The defects that served documents have, and some that they could have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefectKind {
    /// The document describes no input: anything passes.
    MissingInput,
    /// The document describes no output: anything passes.
    MissingOutput,
    /// A reference leads nowhere: anything passes there.
    DanglingReference {
        /// The reference as written, shortened.
        target: Box<str>,
    },
    /// A reference leads back to itself and never to a schema: anything passes there.
    CyclicReference,
    /// A keyword's value has the wrong form; the keyword is ignored.
    Malformed {
        /// The keyword.
        keyword: &'static str,
    },
    /// The place of a schema holds something else: anything passes there.
    NotASchema,
    /// A keyword that would restrict the value is not understood, and not checked.
    Unchecked {
        /// The keyword.
        keyword: &'static str,
    },
    /// A keyword that means nothing in a schema, such as pydantic's `ge` where no union is; ignored.
    Stray {
        /// The keyword.
        keyword: &'static str,
    },
    /// A list's `items` are an object `{"0": …, "1": …}`; read as a tuple.
    BrokenTuple,
    /// The default does not fit its own schema. It is kept.
    DefaultMismatch,
    /// An example does not fit its own schema. It is kept.
    ExampleMismatch {
        /// Which one, from 0.
        index: usize,
    },
    /// A required property is not described.
    RequiredUnknown {
        /// Its name.
        name: Box<str>,
    },
    /// `x-fal-order-properties` and `properties` name different fields.
    OrderMismatch,
    /// Members of an enum differ only by spaces around them. All are kept.
    EnumTwins {
        /// The trimmed member.
        member: Box<str>,
    },
    /// An enum has the empty text as a member. It is kept.
    EnumEmptyMember,
    /// A union offers raw bytes (`format: binary`), which JSON cannot hold; read as a text.
    BinaryAlternative,
    /// Schemas are nested deeper than [`SCHEMA_DEPTH_MAX`](super::SCHEMA_DEPTH_MAX): anything passes below.
    TooDeep,
    /// The document has more than [`NODES_MAX`](super::NODES_MAX) schemas: anything passes in the rest.
    TooManyNodes,
    /// The document's texts exceed [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX): further ones are empty, and the
    /// schemas that need them pass anything.
    TooMuchText,
}

impl fmt::Display for DefectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingInput => f.write_str("no input is described"),
            Self::MissingOutput => f.write_str("no output is described"),
            Self::DanglingReference { target } => write!(f, "{target} is not in the document"),
            Self::CyclicReference => f.write_str("the reference leads back to itself"),
            Self::Malformed { keyword } => write!(f, "`{keyword}` has the wrong form"),
            Self::NotASchema => f.write_str("this is not a schema"),
            Self::Unchecked { keyword } => write!(f, "`{keyword}` is not checked"),
            Self::Stray { keyword } => write!(f, "`{keyword}` means nothing here"),
            Self::BrokenTuple => f.write_str("`items` is a tuple turned into an object"),
            Self::DefaultMismatch => f.write_str("the default does not fit"),
            Self::ExampleMismatch { index } => write!(f, "example {index} does not fit"),
            Self::RequiredUnknown { name } => write!(f, "{name:?} is required and not described"),
            Self::OrderMismatch => f.write_str("the order names other fields"),
            Self::EnumTwins { member } => write!(f, "the enum has {member:?} more than once"),
            Self::EnumEmptyMember => f.write_str("the enum has an empty member"),
            Self::BinaryAlternative => f.write_str("raw bytes are not JSON"),
            Self::TooDeep => f.write_str("schemas are nested too deep"),
            Self::TooManyNodes => f.write_str("the document has too many schemas"),
            Self::TooMuchText => f.write_str("the document has too much text"),
        }
    }
}
