//! An axum server that takes fal's webhooks: verified, and each job handled once.
//!
//! ```sh
//! FAL_KEY=id:secret cargo run -p fal-client --features webhook --example webhook_axum
//! ```
//!
//! fal calls public addresses only, so put it behind one. The mock calls this machine: start it, and submit with
//! `--webhook http://127.0.0.1:3000/fal`.

#![expect(clippy::print_stdout, reason = "an example prints")]

mod receiver;

use fal_client::Client;
use fal_client::webhook::Payload;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_env()?;
    let (jobs, mut deliveries) = mpsc::channel(100);
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let app = receiver::router(&client, jobs);
    tokio::spawn(async move { axum::serve(listener, app).await });

    // The work, apart from the answers: fal waits 15 s for those.
    while let Some(delivery) = deliveries.recv().await {
        match delivery.outcome {
            Ok(Payload::Output(output)) => {
                println!("{}: {} bytes", delivery.request_id, output.body.len());
            }
            // `client.webhooks().output(…)` fetches such an output from the queue.
            Ok(_) => println!("{}: too much for a delivery", delivery.request_id),
            Err(failure) => println!("{}: {failure}", delivery.request_id),
        }
    }
    Ok(())
}
