use std::fmt;

use bytes::Bytes;

/// What travels over an open WebSocket, either way. Pings and pongs are the transport's own business.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A text message. A transport passes on only valid UTF-8, so that nothing is copied to check it.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// The end. Received: nothing follows, and the exchange is over. Sent: the transport tells the
    /// peer, and passes on what still arrives, up to the peer's own close.
    Close(Close),
}

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Bytes::from(text.into()))
    }

    /// The content; empty for the end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) | Self::Binary(bytes) => bytes,
            Self::Close(_) => &[],
        }
    }
}

/// Prints the length of the content only.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(bytes) => write!(f, "Text({} bytes)", bytes.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
            Self::Close(close) => close.fmt(f),
        }
    }
}

/// How one side ended a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Close {
    /// The code; `None` where the peer named none, which some libraries report as 1005.
    ///
    /// Source: RFC 6455, section 7.4 (documented).
    pub code: Option<u16>,
    /// For people; often empty. At most 123 bytes on the wire.
    pub reason: Box<str>,
}

impl Close {
    /// The normal end.
    pub const NORMAL: u16 = 1000;
    /// The peer is going away, as a server that shuts down.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer's policy ended it; fal's gateway may do so to a token that it does not accept.
    pub const POLICY: u16 = 1008;
    /// The peer failed.
    pub const INTERNAL: u16 = 1011;

    /// An end with this code, if there is one, and no reason.
    #[must_use]
    pub fn new(code: Option<u16>) -> Self {
        Self { code, reason: "".into() }
    }

    /// The normal end, as a client sends it.
    #[must_use]
    pub fn normal() -> Self {
        Self::new(Some(Self::NORMAL))
    }

    /// The same with a reason.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Box<str>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Whether it is an end in order: 1000, 1001, or no code at all.
    ///
    /// Precedent: the Python client's WebSocket library. The JS client calls 1001 and 1005 errors.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        matches!(self.code, None | Some(Self::NORMAL | Self::GOING_AWAY | 1005))
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "code {code}")?,
            None => f.write_str("no code")?,
        }
        match &*self.reason {
            "" => Ok(()),
            reason => write!(f, ", {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_order_are_told_from_others() {
        for (code, is_clean) in [
            (None, true),
            (Some(1000), true),
            (Some(1001), true),
            (Some(1005), true),
            (Some(1006), false),
            (Some(1008), false),
            (Some(1011), false),
            (Some(4000), false),
        ] {
            assert_eq!(Close::new(code).is_clean(), is_clean, "{code:?}");
        }
        assert_eq!(Close::new(Some(1011)).with_reason("oh").to_string(), "code 1011, oh");
    }

    #[test]
    fn debug_shows_no_content() {
        assert_eq!(format!("{:?}", Message::text("secret")), "Text(6 bytes)");
    }
}
