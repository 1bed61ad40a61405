//! One job from submit to a typed result and a saved file.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use fal_client::Client;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Made {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    url: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), fal_client::Error> {
    let client = Client::from_env()?;
    let output = client.subscribe("fal-ai/flux/dev").input(json!({ "prompt": "a cat" })).await?;
    let made: Made = output.json()?;
    for (number, image) in made.images.iter().enumerate() {
        let path = format!("cat-{number}.png");
        let bytes = client.download(&image.url).to_file(&path).await?;
        println!("{path}: {bytes} bytes");
    }
    Ok(())
}
