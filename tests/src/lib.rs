//! What a fal.ai client, gateway or server must do, as data and as tests.

pub mod vectors;
