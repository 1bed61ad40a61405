//! The queue.
use crate::EndpointId;
/// x
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Handle {
    /// x
    pub endpoint: EndpointId,
    /// x
    pub request_id: Box<str>,
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelOutcome {}
impl std::fmt::Display for CancelOutcome {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}
