//! The appending end: takes records, hands out one flush at a time, and says what is durable after it.
//!
//! ```text
//! push, note_commit ─► queue ─► flush() ─► Flush ─► (the runtime writes it) ─► flushed()
//! push_ahead ──────────────────►  ▲                                               │ 5 ms without a batch
//!                                 └───────────────── seal ◄───────────────────────┘
//! ```
//! Invariants: at most one flush is in flight; batches are numbered without a gap; acknowledged bytes are never
//! written again; what is queued when a flush returns goes next, in the order it was pushed, behind what goes ahead of the queue:
//! a share of the batch, never all of two batches one after the other.
//!
//! Not here, on purpose: the write itself, files and clocks (a `runtime` folder); who must wait for a flush
//! (the core).

use std::collections::{BTreeMap, VecDeque};

use margate_net::ids::LogIndex;

use super::batch::Held;
use super::bytes::padded;
use super::commits::CommitBook;
use super::flush::{Draft, Flush, lists_bytes};
use super::limits::{BatchLimits, CHECKPOINT_PART_BYTES_MAX, QUEUED_BYTES_MAX, SEAL_AFTER};
use super::pool::{OpenSegment, SegmentPool};
use super::record::{CHECKPOINT_FIELDS_BYTES, Framed, RECORD_HEADER_BYTES, Record, frame};
use super::segment::{LogConfig, ReadySegment, first_batch, further};
use crate::types::{Nanos, Position, ReplicaName};

/// The appending end of a core's log.
#[derive(Debug)]
pub struct LogWriter {
    limits: BatchLimits,
    queue: VecDeque<Framed>,
    /// Records that go before the queue, all of them in the next batch.
    ahead: Vec<Framed>,
    ahead_bytes: usize,
    /// Whether the last batch took nothing of the queue for what went ahead of it.
    passed_over: bool,
    /// Bytes of both.
    queued_bytes: usize,
    /// Records queued since the start, those that go ahead not counted.
    pushed: u64,
    commits: CommitBook,
    pool: SegmentPool,
    last: LastBatch,
    in_flight: Option<InFlight>,
    /// Where the last durable batch begins and ends.
    durable: DurableEnd,
    commits_forced: bool,
    seal_due: Option<Nanos>,
}

/// Where a log goes on: what the last batch of a scan leaves to its successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    pub(super) last: LastBatch,
    /// Whether that batch needs no further proof.
    pub(super) sealed: bool,
    /// The oldest segment there is.
    pub(super) oldest: u32,
    /// The newest segment that holds batches; 0 for none.
    pub(super) newest: u32,
    /// That segment, if it can take more.
    pub(super) open: Option<OpenSegment>,
    pub(super) durable: DurableEnd,
    pub(super) commits: BTreeMap<ReplicaName, LogIndex>,
}

/// What a batch must say about its predecessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LastBatch {
    pub(super) sequence: u64,
    pub(super) checksum: u32,
    pub(super) held: Vec<Held>,
}

/// The last durable batch's number and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DurableEnd {
    pub(super) sequence: u64,
    pub(super) batch: Position,
    pub(super) end: Position,
}

#[derive(Debug)]
struct InFlight {
    reaches: DurableEnd,
    seal: bool,
    commits: Vec<(ReplicaName, LogIndex)>,
}

/// What there is to write.
#[derive(Debug)]
pub enum FlushStep {
    /// Nothing, or a flush is in flight already.
    Nothing,
    /// Something, but the next segment is not prewritten yet; counted.
    WaitForSegment,
    /// This batch, now.
    Write(Flush),
}

/// What became durable with a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Where the batch begins: a scan from here finds it and all that follows.
    pub batch: Position,
    /// The first byte after it.
    pub end: Position,
    /// The commits it carried.
    pub durable_commits: Vec<(ReplicaName, LogIndex)>,
}

impl Resume {
    /// A log without a single batch.
    #[must_use]
    pub fn fresh() -> Self {
        let start = first_batch(1);
        Self {
            last: LastBatch::default(),
            sealed: true,
            oldest: 1,
            newest: 0,
            open: None,
            durable: DurableEnd {
                sequence: 0,
                batch: start,
                end: start,
            },
            commits: BTreeMap::new(),
        }
    }

    /// Every durable commit the scan met, by replica.
    #[must_use]
    pub fn commits(&self) -> &BTreeMap<ReplicaName, LogIndex> {
        &self.commits
    }

    /// The oldest segment there is.
    #[must_use]
    pub fn oldest_segment(&self) -> u32 {
        self.oldest
    }

    /// Adds a commit known from elsewhere: a scan that began late met only the commits that grew since, the
    /// index knows the others.
    pub fn remember_commit(&mut self, name: ReplicaName, commit: LogIndex) {
        let known = self.commits.entry(name).or_default();
        *known = commit.max(*known);
    }

    /// Number of the last batch; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.last.sequence
    }

    /// The first byte after the last batch.
    #[must_use]
    pub fn position(&self) -> Position {
        self.durable.end
    }
}

impl LogWriter {
    /// Goes on where a scan ended, or begins.
    ///
    /// # Panics
    /// If segments are not whole blocks.
    #[must_use]
    pub fn new(config: LogConfig, resume: Resume) -> Self {
        Self {
            limits: BatchLimits::of_segment(config.segment_bytes),
            queue: VecDeque::new(),
            ahead: Vec::new(),
            ahead_bytes: 0,
            passed_over: false,
            queued_bytes: 0,
            pushed: 0,
            commits: CommitBook::resume(&resume.commits),
            pool: SegmentPool::new(resume.open, (resume.oldest, resume.newest), config.ready_min, config.segment_bytes),
            last: resume.last,
            in_flight: None,
            durable: resume.durable,
            commits_forced: false,
            seal_due: (!resume.sealed).then_some(Nanos(0)),
        }
    }

    /// Numbers of segments whose prewriting should start now, if so many may be in the making; each is returned once.
    pub fn segments_wanted(&mut self, most: usize) -> Vec<u32> {
        self.pool.wanted(most)
    }

    /// Whether fewer segments are ready than should be.
    #[must_use]
    pub fn lacks_segments(&self) -> bool {
        self.pool.lacks()
    }

    /// The disk has no space for a segment that was wanted; it will be wanted again.
    pub fn segment_refused(&mut self, number: u32) {
        self.pool.refused(number);
    }

    /// A ready segment and the number it should get instead, where one before it is missing and nobody makes it; returned once.
    pub fn close_gap(&mut self) -> Option<(u32, u32)> {
        self.pool.close_gap()
    }

    /// Bytes that batches may still take without another segment, beyond what is queued.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.pool.room().saturating_sub(self.queued_bytes as u64)
    }

    /// A segment is prewritten, its header durable.
    ///
    /// # Panics
    /// If its number is already in use.
    pub fn segment_ready(&mut self, segment: ReadySegment) {
        self.pool.add(segment);
    }

    /// Queues a record for the next batch.
    ///
    /// # Panics
    /// If an entry is longer than `ENTRY_DATA_BYTES_MAX`: whoever makes or receives entries refuses those.
    pub fn push(&mut self, record: Record) {
        for framed in self.framed(record) {
            self.queued_bytes += framed.bytes();
            self.pushed += 1;
            self.queue.push_back(framed);
        }
    }

    /// Puts a record before all that is queued: it will be in the very next batch. [`Flush::records`] does not count it.
    ///
    /// # Panics
    /// If [`LogWriter::room_ahead`] is nothing, or it is longer than any record may be.
    pub fn push_ahead(&mut self, record: Record) {
        assert!(self.room_ahead(1) > 0, "the next batch takes no more records ahead of the queue");
        for framed in self.framed(record) {
            self.queued_bytes += framed.bytes();
            self.ahead_bytes += framed.bytes();
            self.ahead.push(framed);
        }
    }

    /// Bytes of data of a record that may go ahead of the queue, where all of those together take one of so many parts of a batch.
    /// What is one thing and longer may go alone, where this is not nothing and [`LogWriter::nothing_ahead`].
    #[must_use]
    pub fn room_ahead(&self, parts: usize) -> usize {
        let open = self.in_flight.is_none() && !self.passed_over && self.ahead.len() < self.limits.records / parts;
        let share = if open { self.limits.bytes / parts } else { 0 };
        share.saturating_sub(self.ahead_bytes + RECORD_HEADER_BYTES)
    }

    /// Whether nothing goes ahead of the queue.
    #[must_use]
    pub fn nothing_ahead(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Records queued since the start, those that went ahead not counted; with those counted by each [`Flush`] this says what is
    /// durable.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Bytes of data that any record may have.
    #[must_use]
    pub fn data_bytes_max(&self) -> usize {
        self.limits.record_bytes - RECORD_HEADER_BYTES
    }

    /// The oldest segment of this log.
    #[must_use]
    pub fn oldest_segment(&self) -> u32 {
        self.pool.oldest()
    }

    /// The oldest segment is needed no more: it is forgotten. The number under which its file may be used again, if it should be: where fewer than
    /// `recycled_max` wait beyond those that always do.
    pub fn release_oldest(&mut self, recycled_max: usize) -> Option<u32> {
        self.pool.release_oldest(recycled_max)
    }

    /// A replica's commit grew; the next batch carries it, once.
    pub fn note_commit(&mut self, name: ReplicaName, commit: LogIndex) {
        self.commits.note(name, commit);
    }

    /// A replica is gone from this core; its commit is not kept.
    pub fn forget(&mut self, name: ReplicaName) {
        self.commits.forget(name);
    }

    /// Bytes of records that wait for a flush.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether the core may take new work: the queue is under `QUEUED_BYTES_MAX`. What was taken before may still be pushed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queued_bytes < QUEUED_BYTES_MAX
    }

    /// Whether a flush was handed out and has not returned.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The next batch, if there is a reason to write one. `now` is monotonic, `wall` is stamped into the batch.
    pub fn flush(&mut self, now: Nanos, wall: Nanos) -> FlushStep {
        if self.in_flight.is_some() || !self.has_reason(now) {
            return FlushStep::Nothing;
        }
        let commits = self.commits.pending().min(self.limits.commits);
        let (records, bytes) = self.fitting(lists_bytes(self.last.held.len(), commits) + self.ahead_bytes);
        let Some((position, salt)) = self.pool.place(padded(bytes)) else {
            return FlushStep::WaitForSegment;
        };
        let commits = self.commits.carry(commits);
        FlushStep::Write(self.draft(position, salt, wall, records, commits))
    }

    /// The next flush writes the pending commits even if there are no records.
    pub fn force_commits(&mut self) {
        self.commits_forced = true;
    }

    /// The next flush seals the last batch even if its time has not come: a graceful stop.
    pub fn force_seal(&mut self) {
        let sealed = self.in_flight.as_ref().map_or(self.seal_due.is_none(), |flight| flight.seal);
        if !sealed {
            self.seal_due = Some(Nanos(0));
        }
    }

    /// The flush of this number is durable; the time of its seal begins.
    ///
    /// # Panics
    /// If it is not the one in flight.
    pub fn flushed(&mut self, sequence: u64, now: Nanos) -> Flushed {
        let flight = self.in_flight.take().expect("a flush returned and none was in flight");
        assert_eq!(flight.reaches.sequence, sequence, "another flush returned than the one in flight");
        self.commits.settle(&flight.commits);
        self.durable = flight.reaches;
        if !flight.seal {
            self.seal_due = Some(self.seal_due.unwrap_or(now.plus(SEAL_AFTER)));
        }
        Flushed {
            batch: flight.reaches.batch,
            end: flight.reaches.end,
            durable_commits: flight.commits,
        }
    }

    /// Monotonic time at which `flush` would write a seal; `None` where something else must happen first.
    #[must_use]
    pub fn deadline(&self) -> Option<Nanos> {
        let idle = self.in_flight.is_none() && self.queued_bytes == 0 && !self.pool.waiting();
        self.seal_due.filter(|_| idle)
    }

    /// The highest commit of a replica that is durable in this log; 0 for none.
    #[must_use]
    pub fn durable_commit(&self, name: ReplicaName) -> LogIndex {
        self.commits.durable(name)
    }

    /// The first byte after the last durable batch.
    #[must_use]
    pub fn position(&self) -> Position {
        self.durable.end
    }

    /// Where the last durable batch begins: a scan from here finds it and all that follows. The start of the
    /// log before the first batch.
    #[must_use]
    pub fn last_batch(&self) -> Position {
        self.durable.batch
    }

    /// Number of the last durable batch; 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.durable.sequence
    }

    /// Number of the batch in flight, or else of the next one, which holds what goes ahead.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.durable.sequence + 1
    }

    /// How often a flush had to wait for a prewritten segment.
    #[must_use]
    pub fn segment_waits(&self) -> u64 {
        self.pool.waits()
    }

    /// Segments that are prewritten and empty.
    #[must_use]
    pub fn segments_ready(&self) -> usize {
        self.pool.ready()
    }

    fn has_reason(&self, now: Nanos) -> bool {
        let commits = self.commits_forced && self.commits.pending() > 0;
        self.queued_bytes > 0 || commits || self.seal_due.is_some_and(|due| due <= now)
    }

    /// How many queued records fit a batch after its lists and what goes ahead, and its bytes with them.
    fn fitting(&self, before: usize) -> (usize, usize) {
        let (mut records, mut bytes) = (0, before);
        for framed in self.queue.iter().take(self.limits.records - self.ahead.len()) {
            if bytes + framed.bytes() > self.limits.bytes {
                break;
            }
            bytes += framed.bytes();
            records += 1;
        }
        let some = records > 0 || self.queue.is_empty() || !self.ahead.is_empty();
        assert!(some && bytes <= self.limits.bytes, "a record that was taken fits no batch");
        (records, bytes)
    }

    fn framed(&self, record: Record) -> Vec<Framed> {
        let part_bytes = CHECKPOINT_PART_BYTES_MAX.min(self.limits.record_bytes - RECORD_HEADER_BYTES - CHECKPOINT_FIELDS_BYTES);
        let framed = frame(record, part_bytes);
        for bytes in framed.iter().map(Framed::bytes) {
            let most = self.limits.record_bytes;
            assert!(bytes <= most, "a record of {bytes} bytes is over {most}");
        }
        framed
    }

    fn draft(&mut self, position: Position, salt: u64, wall: Nanos, queued: usize, commits: Vec<(ReplicaName, LogIndex)>) -> Flush {
        self.passed_over = queued == 0 && !self.queue.is_empty();
        self.ahead_bytes = 0;
        let mut records = std::mem::take(&mut self.ahead);
        let ahead = records.len();
        records.extend(self.queue.drain(..queued));
        self.queued_bytes -= records.iter().map(Framed::bytes).sum::<usize>();
        let sequence = self.last.sequence + 1;
        let (previous_checksum, previous_held) = (self.last.checksum, &self.last.held);
        let commit_list = &commits;
        let draft = Draft {
            position,
            salt,
            sequence,
            written: wall,
            previous_checksum,
            previous_held,
            commits: commit_list,
            records,
            ahead,
        };
        let drafted = draft.finish();
        let flush = drafted.flush;
        self.last = LastBatch {
            sequence,
            checksum: drafted.checksum,
            held: drafted.held,
        };
        let end = further(position, flush.length).expect("a batch lies inside its segment");
        let reaches = DurableEnd {
            sequence,
            batch: position,
            end,
        };
        self.in_flight = Some(InFlight {
            reaches,
            seal: flush.seal,
            commits,
        });
        self.seal_due = None;
        self.commits_forced = self.commits_forced && self.commits.pending() > 0;
        flush
    }
}
