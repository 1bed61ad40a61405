//! A job submitted by one process and finished by another.
//!
//! Run it without arguments to submit, and with the handle that it prints to take the result.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use fal_client::{Client, Handle};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), fal_client::Error> {
    let client = Client::from_env()?;
    if let Some(handle) = std::env::args().nth(1) {
        let handle: Handle = handle.parse()?;
        println!("{}", client.attach(handle).await?.value()?);
    } else {
        let queue = client.queue("fal-ai/flux/dev")?;
        println!("{}", queue.submit(json!({ "prompt": "a cat" })).await?);
    }
    Ok(())
}
