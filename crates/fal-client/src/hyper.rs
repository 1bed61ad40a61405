use std::sync::Arc;

use async_trait::async_trait;
use fal_protocol::wire::Failure;
use fal_transport_hyper as hyper;

use crate::transport::{Answer, Exchange, Source, Transport};

#[async_trait]
impl Transport for hyper::Transport {
    async fn send(self: Arc<Self>, exchange: Exchange) -> Result<Answer, Failure> {
        let mut performed = hyper::Exchange::new(exchange.request);
        performed.source = exchange.source.map(|source| match source {
            Source::File(path) => hyper::Source::file(path),
            Source::Bytes(bytes) => hyper::Source::bytes(bytes),
        });
        performed.on_sent = exchange.on_sent;
        Ok(match Self::send(&self, performed).await? {
            hyper::Answer::Whole(response) => Answer::Whole(response),
            hyper::Answer::Chunks(head, chunks) => Answer::Chunks(head, Box::pin(chunks)),
        })
    }
}
