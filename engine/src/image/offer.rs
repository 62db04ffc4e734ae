//! A leader offers an image: it says where the image would begin, and holds nothing for it before the member has answered. Who
//! is dead for long would otherwise keep every old segment with its reader.
//!
//! Not here, on purpose: the image itself (`send`).

use margate_net::message::{MemberBody, MemberMessage};

use super::send::Addressee;
use crate::index::store::ReplicaMarks;
use crate::limits;
use crate::types::Nanos;

/// An image that a member was told of.
#[derive(Debug)]
pub struct Offer {
    to: Addressee,
    begin: MemberBody,
    offered_at: Nanos,
    said_at: Option<Nanos>,
}

impl Offer {
    /// An image of what the index holds of a replica by now.
    #[must_use]
    pub fn new(to: Addressee, marks: &ReplicaMarks, now: Nanos) -> Self {
        Self {
            to,
            begin: begin(marks),
            offered_at: now,
            said_at: None,
        }
    }

    /// Whom it is for.
    #[must_use]
    pub fn to(&self) -> Addressee {
        self.to
    }

    /// Whether the member has not answered for too long.
    #[must_use]
    pub fn is_stale(&self, now: Nanos) -> bool {
        now.since(self.offered_at) >= limits::IMAGE_PATIENCE
    }

    /// Says it, at first and again from time to time.
    pub fn repeat(&mut self, now: Nanos) -> Option<MemberMessage> {
        if self.said_at.is_some_and(|said| now.since(said) < limits::IMAGE_REPEAT) {
            return None;
        }
        self.said_at = Some(now);
        Some(self.to.say(self.begin.clone()))
    }

    /// Whether an image of these marks is what was offered, so that the member's answer is one to it.
    #[must_use]
    pub fn is_of(&self, marks: &ReplicaMarks) -> bool {
        self.begin == begin(marks)
    }
}

/// The first message of an image.
pub(super) fn begin(marks: &ReplicaMarks) -> MemberBody {
    MemberBody::Begin {
        applied: marks.applied,
        applied_term: marks.applied_term,
        state: marks.state.clone(),
    }
}
