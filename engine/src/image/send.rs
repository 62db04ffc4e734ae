//! A leader sends an image: rows of one generation of its index, in key order, with their values from the log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use margate_net::ids::{ClusterId, ReplicaId, ShardId, Space, Term};
use margate_net::message::{Direction, MemberBody, MemberMessage};

use super::offer::begin;
use crate::core::event::{LogReadFault, PeerName, ReadTicket};
use crate::index::error::IndexError;
use crate::index::row::Row;
use crate::index::store::{IndexReader, ReplicaMarks};
use crate::index::view::first_key_after;
use crate::limits;
use crate::log::effects::{EntryDataBuilder, ExpectedEffect, effect_bytes, effect_length, read_effect};
use crate::types::{Nanos, Position};

/// Whom an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressee {
    /// The shard.
    pub shard: ShardId,
    /// The leader's replica.
    pub from: ReplicaId,
    /// The member.
    pub to: ReplicaId,
    /// Where it lives.
    pub peer: PeerName,
    /// This image's number.
    pub attempt: u64,
}

impl Addressee {
    /// A message of this image.
    #[must_use]
    pub fn say(&self, body: MemberBody) -> MemberMessage {
        let Self {
            shard, from, to, attempt, ..
        } = *self;
        MemberMessage {
            shard,
            from,
            to,
            attempt,
            body,
        }
    }
}

/// What a step of it wants.
#[derive(Debug, Default)]
pub struct Wants {
    /// Values to be read from the log.
    pub reads: Vec<(usize, Position, usize)>,
    /// What to tell the member.
    pub message: Option<MemberMessage>,
    /// Values that must be mended before an image can be sent.
    pub damaged: Vec<(Bytes, Row)>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Under,
    /// The member has all of it.
    Done,
    /// Values could not be read.
    Failed,
}

/// A row on its way.
#[derive(Debug)]
struct Planned {
    key: Bytes,
    row: Row,
    value: Option<Bytes>,
}

/// An image being sent.
pub struct Sending<R: IndexReader> {
    to: Addressee,
    cluster: ClusterId,
    reader: R,
    marks: ReplicaMarks,
    /// The last key that was planned.
    after: Option<Bytes>,
    planned: Vec<Planned>,
    reading: BTreeMap<ReadTicket, usize>,
    /// Those of the planned that could not be read.
    damaged: Vec<(Bytes, Row)>,
    /// Number of the message that waits for its answer, or of the one being made.
    number: u64,
    message: Option<MemberBody>,
    ended: bool,
    said_at: Nanos,
    heard_at: Nanos,
}

impl<R: IndexReader> Sending<R> {
    /// An image of what a reader shows of a replica.
    #[must_use]
    pub fn new(to: Addressee, cluster: ClusterId, reader: R, marks: ReplicaMarks, now: Nanos) -> Self {
        let begin = begin(&marks);
        Self {
            to,
            cluster,
            reader,
            marks,
            after: None,
            planned: Vec::new(),
            reading: BTreeMap::new(),
            damaged: Vec::new(),
            number: 0,
            message: Some(begin),
            ended: false,
            said_at: Nanos(0),
            heard_at: now,
        }
    }

    /// The space its rows are in.
    #[must_use]
    pub fn space(&self) -> Space {
        self.marks.space
    }

    /// Whom it is for.
    #[must_use]
    pub fn to(&self) -> Addressee {
        self.to
    }

    /// Whether the member has said nothing for too long.
    #[must_use]
    pub fn is_stale(&self, now: Nanos) -> bool {
        now.since(self.heard_at) >= limits::IMAGE_PATIENCE
    }

    /// Says what waits for an answer, at first and again from time to time.
    pub fn repeat(&mut self, now: Nanos) -> Option<MemberMessage> {
        if self.said_at > Nanos(0) && now.since(self.said_at) < limits::IMAGE_REPEAT {
            return None;
        }
        let body = self.message.clone()?;
        self.said_at = now;
        Some(self.to.say(body))
    }

    /// The member has taken everything up to a number.
    ///
    /// # Errors
    /// [`IndexError`]: the rows that follow cannot be read, which stops the node.
    pub fn taken(&mut self, now: Nanos, number: u64, term: Term, bytes_max: usize) -> Result<(Progress, Wants), IndexError> {
        self.heard_at = now;
        if number != self.number || self.message.is_none() {
            return Ok((Progress::Under, Wants::default()));
        }
        if self.ended {
            return Ok((Progress::Done, Wants::default()));
        }
        self.message = None;
        self.number += 1;
        self.plan(bytes_max)?;
        let mut wants = Wants::default();
        if self.planned.is_empty() {
            self.ended = true;
            let number = self.number;
            wants.message = Some(self.speak(now, MemberBody::End { number, term }));
            return Ok((Progress::Under, wants));
        }
        for (at, planned) in self.planned.iter_mut().enumerate() {
            if planned.row.size == 0 {
                planned.value = Some(Bytes::new());
            } else {
                let length = effect_length(planned.key.len(), planned.row.size);
                wants.reads.push((at, planned.row.position, length));
            }
        }
        if wants.reads.is_empty() {
            wants.message = Some(self.rows(now));
        }
        Ok((Progress::Under, wants))
    }

    /// A read it wanted is under way.
    pub fn reading(&mut self, ticket: ReadTicket, at: usize) {
        self.reading.insert(ticket, at);
    }

    /// Whether a read is one of its own.
    #[must_use]
    pub fn reads_with(&self, ticket: ReadTicket) -> bool {
        self.reading.contains_key(&ticket)
    }

    /// A read is done; when it was the last, the rows may leave, or the image has failed if any of them is damaged.
    pub fn read_done(&mut self, now: Nanos, ticket: ReadTicket, result: Result<Bytes, LogReadFault>) -> (Progress, Wants) {
        let mut wants = Wants::default();
        let Some(planned) = self.reading.remove(&ticket).and_then(|at| self.planned.get_mut(at)) else {
            return (Progress::Under, wants);
        };
        let expected = ExpectedEffect {
            cluster: self.cluster,
            shard: self.to.shard,
            key: &planned.key,
            version: planned.row.version,
        };
        let value = result
            .ok()
            .and_then(|bytes| read_effect(&bytes, &expected).ok().map(|effect| bytes.slice_ref(effect.value)));
        if value.is_none() {
            tracing::error!(shard = self.to.shard.0, place = %planned.row.position, "a value is damaged: the image is given up");
            self.damaged.push((planned.key.clone(), planned.row));
        }
        planned.value = value;
        if !self.reading.is_empty() {
            return (Progress::Under, wants);
        }
        if self.damaged.is_empty() {
            wants.message = Some(self.rows(now));
            return (Progress::Under, wants);
        }
        wants.damaged = std::mem::take(&mut self.damaged);
        (Progress::Failed, wants)
    }

    /// What to say when it is given up.
    #[must_use]
    pub fn give_up(&self) -> MemberMessage {
        self.to.say(MemberBody::GiveUp)
    }

    fn plan(&mut self, bytes_max: usize) -> Result<(), IndexError> {
        let low = self
            .after
            .as_ref()
            .map_or_else(|| self.marks.low.to_vec(), |after| first_key_after(after));
        let (mut planned, mut bytes) = (Vec::new(), 0u64);
        let visit = &mut |key: &[u8], row: Row| {
            let more = effect_bytes(key.len(), row.size);
            let full = planned.len() >= limits::IMAGE_ROWS_MAX || bytes + more > bytes_max as u64;
            if full && !planned.is_empty() {
                return ControlFlow::Break(());
            }
            bytes += more;
            planned.push(Planned {
                key: Bytes::copy_from_slice(key),
                row,
                value: None,
            });
            ControlFlow::Continue(())
        };
        self.reader
            .scan(self.marks.space, &low, &self.marks.high, Direction::Forward, visit)?;
        self.after = planned.last().map(|last: &Planned| last.key.clone()).or(self.after.take());
        self.planned = planned;
        Ok(())
    }

    fn rows(&mut self, now: Nanos) -> MemberMessage {
        let mut data = EntryDataBuilder::new(self.cluster, self.to.shard, Nanos(0));
        for planned in self.planned.drain(..) {
            let value = planned.value.expect("all values have been read");
            data.put(&planned.key, &value, planned.row.version, planned.row.hash);
        }
        let (number, data) = (self.number, data.finish().into());
        self.speak(now, MemberBody::Rows { number, data })
    }

    fn speak(&mut self, now: Nanos, body: MemberBody) -> MemberMessage {
        self.message = Some(body.clone());
        self.said_at = now;
        self.to.say(body)
    }
}
