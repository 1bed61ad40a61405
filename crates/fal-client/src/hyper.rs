use std::sync::Arc;
#[cfg(feature = "realtime")]
use std::task::{Context, Poll};

use async_trait::async_trait;
use fal_protocol::wire::Failure;
#[cfg(feature = "realtime")]
use fal_protocol::wire::{Message, Request};
use fal_transport_hyper as hyper;

use crate::transport::{Answer, Exchange, Source, Transport};
#[cfg(feature = "realtime")]
use crate::transport::{Upgrade, WebSocket};

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

    #[cfg(feature = "realtime")]
    async fn upgrade(self: Arc<Self>, request: Request) -> Result<Upgrade, Failure> {
        Ok(match Self::upgrade(&self, request).await? {
            hyper::Upgrade::Open(head, socket) => Upgrade::Open(head, Box::new(socket)),
            hyper::Upgrade::Refused(response) => Upgrade::Refused(response),
        })
    }
}

#[cfg(feature = "realtime")]
impl WebSocket for hyper::WebSocket {
    fn start_send(&mut self, message: Message) -> Result<(), Failure> {
        Self::start_send(self, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Self::poll_flush(self, cx)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Failure>>> {
        Self::poll_next(self, cx)
    }
}
