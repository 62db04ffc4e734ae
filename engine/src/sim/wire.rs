//! The same messages through the codec of the wire and back: what does not survive that, no real peer would get.
//!
//! Not here, on purpose: damaged frames; the codec's own tests have them.

use bytes::BytesMut;
use margate_net::codec::{FrameWriter, ReceivedRequest, decode_member, decode_peer, decode_replies, decode_requests};
use margate_net::frame::{Frame, FrameError, Stage, take_frame};
use margate_net::message::{MemberMessage, PeerBatch, Reply, Request};

/// How messages travel in a seed.
pub(crate) enum Wire {
    /// As they are: cheap.
    Typed,
    /// As bytes.
    Encoded(Box<FrameWriter>),
}

impl Wire {
    /// One of both.
    pub(crate) fn new(encoded: bool) -> Self {
        if encoded {
            Self::Encoded(Box::new(FrameWriter::new()))
        } else {
            Self::Typed
        }
    }

    /// A round of a peer, in as many batches as it takes frames.
    pub(crate) fn peer(&mut self, batch: PeerBatch) -> Vec<PeerBatch> {
        match self {
            Self::Typed => vec![batch],
            Self::Encoded(writer) => {
                let mut bytes = Vec::new();
                writer.peer(&mut bytes, &batch);
                frames(&bytes, decode_peer)
            }
        }
    }

    /// A message about members.
    pub(crate) fn member(&mut self, message: MemberMessage) -> Vec<MemberMessage> {
        match self {
            Self::Typed => vec![message],
            Self::Encoded(writer) => {
                let mut bytes = Vec::new();
                writer.member(&mut bytes, &message);
                frames(&bytes, decode_member)
            }
        }
    }

    /// A client's frame.
    pub(crate) fn requests(&mut self, requests: Vec<Request>) -> Vec<ReceivedRequest> {
        match self {
            Self::Typed => requests
                .into_iter()
                .map(|request| ReceivedRequest {
                    id: request.id,
                    request: Ok(request),
                })
                .collect(),
            Self::Encoded(writer) => {
                let mut bytes = Vec::new();
                writer.requests(&mut bytes, &requests);
                frames(&bytes, decode_requests).concat()
            }
        }
    }

    /// An answer.
    pub(crate) fn reply(&mut self, reply: Reply) -> Vec<Reply> {
        match self {
            Self::Typed => vec![reply],
            Self::Encoded(writer) => {
                let mut bytes = Vec::new();
                writer.replies(&mut bytes, &[reply]);
                frames(&bytes, decode_replies).concat()
            }
        }
    }
}

fn frames<T>(bytes: &[u8], decode: impl Fn(&Frame) -> Result<T, FrameError>) -> Vec<T> {
    let mut rest = BytesMut::from(bytes);
    let mut decoded = Vec::new();
    while let Some(frame) = take_frame(&mut rest, Stage::Established).expect("what we encode is a frame") {
        decoded.push(decode(&frame).expect("what we encode we decode"));
    }
    assert!(rest.is_empty(), "bytes are left after the last frame");
    decoded
}
