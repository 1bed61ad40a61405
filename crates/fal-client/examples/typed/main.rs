//! A typed call: the input says what it must be given, the client uploads its files, the output has fields.
//!
//! `model.rs` is what `fal-cli codegen fal-ai/controlnet-ip-adapter --out model.rs` writes.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

mod model;

use std::path::PathBuf;

use fal_client::Client;

use crate::model::ControlnetIpAdapter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [portrait, pose, styles] =
        files.try_into().map_err(|_| "usage: typed PORTRAIT POSE STYLES.zip")?;

    let client = Client::from_env()?;
    let input = ControlnetIpAdapter::new("a lighthouse keeper", portrait, pose, styles).seed(7);
    let output = client.subscribe(input).await?;
    for (number, image) in output.images.iter().enumerate() {
        let path = format!("keeper-{number}.png");
        let bytes = client.download(image).to_file(&path).await?;
        println!("{path}: {bytes} bytes, {:?} x {:?}", image.width, image.height);
    }
    println!("seed {:?}, request {:?}", output.seed, output.raw().request_id());
    Ok(())
}
