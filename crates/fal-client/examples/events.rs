//! A job as a stream of events, cancelled on Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use fal_client::{Client, Event};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), fal_client::Error> {
    let client = Client::from_env()?;
    let mut job = client.subscribe("fal-ai/flux/dev").input(json!({ "prompt": "a cat" })).start();
    loop {
        tokio::select! {
            event = job.next_event() => match event {
                Some(Event::Queued { position: Some(ahead) }) => println!("{ahead} ahead of us"),
                Some(Event::Log(line)) => println!("{}", line.message),
                Some(event) => println!("{event:?}"),
                None => break,
            },
            // Goes on: the job ends as `Cancelled`, with what the service said to it.
            Ok(()) = tokio::signal::ctrl_c() => job.cancel(),
        }
    }
    println!("{:?}", job.await?.files());
    Ok(())
}
