//! What `fal-codegen` writes for the documents of this repository, compiled by a build script as anybody's would be,
//! and a way to play the examples of documents through generated types.

pub mod examples;
pub mod play;

/// The types of the models that the mock knows.
pub mod fal {
    include!(concat!(env!("OUT_DIR"), "/fal.rs"));
}
