//! Bundles: open operations of batch writers, together as their writer gave them to the link.
//!
//! ```text
//!   insert          take            complete | lose | sweep
//! ────────► queued ──────► sent ─────────────────────────────► (into the writer's outbox)
//!              │ withdraw    │ withdraw    complete | lose | sweep
//!              ▼             ▼                      │
//!          (nowhere)      unheard ──────────────────┴────────► (nowhere)
//! ```
//! A bundle goes into one frame, and from then on that frame is where its keys and values are: their callers' memory is given back while it
//! is warm, and of each operation there is only a mark. If one must be sent again, its key and value are copied out of the frame. Where
//! few operations of many frames stay open, they are copied out beforehand, so that all frames together are in proportion to what is open.
//! The id of a request is the bundle's name and the operation's place in it. The bundle ends with the last of its operations.
//!
//! Invariants: of a bundle that is queued there are consignments and no marks, of one that was sent there are marks and no consignments;
//! what is queued was never sent; `open` counts the open ones of both. Each queued bundle is in the queue. `kept` and `live` are sums over
//! the bundles that have a frame.
//!
//! Not here, on purpose: operations that a task waits for (`slot.rs`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::codec::{FrameWriter, RawRequest};
use margate_net::error::Refusal;
use margate_net::ids::{RangeEpoch, ShardId};
use margate_net::limits::{OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX};
use margate_net::message::Success;

use crate::moment::Moment;
use crate::retry::Failure;

use super::change::Change;
use super::outbox::{Effect, Ending, Returned, Withdrawn};
use super::slot::time_for_server;
use super::{Completion, is_before};

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    bundles: Vec<Bundle>,
    free: Vec<u32>,
    /// In the order they came.
    queue: VecDeque<BundleName>,
    outboxes: Vec<Vec<Ending>>,
    open: usize,
    /// Bytes of frames.
    kept: usize,
    /// Bytes in them of keys and values of operations that are open.
    live: usize,
    /// Memory of frames and of consignments that have done their duty.
    spare_frames: Vec<Vec<u8>>,
    spare_consignments: Vec<Vec<Consignment>>,
}

/// Operations of one batch writer for one link, in the order in which they must leave.
#[derive(Debug, Default)]
pub(crate) struct Load(pub(crate) Vec<Consignment>);

/// An operation of a batch writer for a link.
#[derive(Debug)]
pub(crate) struct Consignment {
    /// What the writer calls it.
    pub(crate) number: u32,
    /// The shard that owns its key.
    pub(crate) shard: ShardId,
    /// The shard's range epoch in the client's map.
    pub(crate) range_epoch: RangeEpoch,
    /// When the writer stops trying.
    pub(crate) deadline: Moment,
    /// What to do.
    pub(crate) change: Change,
}

/// Names a bundle while anything of it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BundleName {
    ordinal: u32,
    generation: u32,
}

/// A bundle that is being put into a frame.
#[derive(Debug)]
pub(crate) struct Run {
    name: BundleName,
    consignments: Vec<Consignment>,
    now: Moment,
    frame: Vec<u8>,
}

/// Room for one bundle. Its generation grows whenever it becomes free.
#[derive(Debug, Default)]
struct Bundle {
    generation: u32,
    is_free: bool,
    /// Its writer's; `None` if that is gone.
    outbox: Option<usize>,
    consignments: Vec<Consignment>,
    marks: Vec<Mark>,
    /// There is none before it was written, nor where the writer is gone.
    frame: Option<Arc<Vec<u8>>>,
    open: usize,
    /// Bytes of keys and values of operations that were sent and are open.
    live: usize,
    /// The time of none that is open is over before this.
    earliest: Moment,
}

/// What is left of an operation that was sent.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// What the writer calls it; `None` once it has ended.
    number: Option<u32>,
    /// Bytes from the end of the frame to its key.
    before_end: u32,
    key_bytes: u32,
    /// `None` deletes.
    value_bytes: Option<u32>,
    shard: ShardId,
    deadline: Moment,
}

/// What to tell operations whose attempt ends without an answer.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// Those that were sent.
    pub(super) sent: Failure,
    /// Those that were not.
    pub(super) queued: Failure,
}

impl Bundles {
    /// Takes in a load, with an outbox for its ends, and says when the first of it ends. What there is no room for stays in the load.
    pub(super) fn insert(&mut self, outbox: usize, load: &mut Load) -> Moment {
        self.outbox(outbox);
        if self.kept > KEPT_PER_LIVE * self.live + KEPT_BESIDES {
            self.slim();
        }
        let mut earliest = Moment::NEVER;
        while !load.0.is_empty()
            && let Some(ordinal) = self.free.pop().or_else(|| self.grow())
        {
            let spare = self.spare_consignments.pop().unwrap_or_default();
            let bundle = &mut self.bundles[ordinal as usize];
            bundle.consignments = load.take_bundle(spare);
            (bundle.is_free, bundle.outbox) = (false, Some(outbox));
            bundle.open = bundle.consignments.len();
            let deadlines = bundle.consignments.iter().map(|consignment| consignment.deadline);
            bundle.earliest = deadlines.min().unwrap_or(Moment::NEVER);
            earliest = earliest.min(bundle.earliest);
            self.open += bundle.open;
            let generation = bundle.generation;
            self.queue.push_back(BundleName { ordinal, generation });
        }
        earliest
    }

    /// Operations whose end has not come.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The ends in the outbox of this ordinal, which begins to exist when it is first asked for.
    pub(super) fn outbox(&mut self, ordinal: usize) -> &mut Vec<Ending> {
        if self.outboxes.len() <= ordinal {
            self.outboxes.resize_with(ordinal + 1, Vec::new);
        }
        &mut self.outboxes[ordinal]
    }

    /// The bundle at the front of the queue, which counts as sent. [`Bundles::give_back`] must follow before anything can end it.
    pub(super) fn take(&mut self, now: Moment) -> Option<Run> {
        let name = self.queue.pop_front()?;
        let bundle = &mut self.bundles[name.ordinal as usize];
        let consignments = std::mem::take(&mut bundle.consignments);
        bundle.live = consignments.iter().map(|consignment| consignment.change.bytes()).sum();
        let mut before_end = bundle.live;
        bundle.marks.extend(consignments.iter().map(|consignment| {
            let mark = Mark::of(consignment, before_end);
            before_end -= consignment.change.bytes();
            mark
        }));
        let frame = self.spare_frames.pop().unwrap_or_default();
        Some(Run {
            name,
            consignments,
            now,
            frame,
        })
    }

    /// Keeps a bundle's frame, for a next attempt.
    pub(super) fn give_back(&mut self, run: Run) -> Arc<Vec<u8>> {
        let Run {
            name,
            consignments: spare,
            frame,
            ..
        } = run;
        assert!(spare.is_empty(), "a run is written before it is given back");
        let frame = Arc::new(frame);
        let bundle = &mut self.bundles[name.ordinal as usize];
        if bundle.generation == name.generation && bundle.outbox.is_some() {
            bundle.frame = Some(Arc::clone(&frame));
            self.kept += frame.len();
            self.live += bundle.live;
        }
        if self.spare_consignments.len() < SPARES_MAX {
            self.spare_consignments.push(spare);
        }
        frame
    }

    /// Takes in the answer to a bundle's operation; the id is one of these ([`is_bundled`]).
    pub(super) fn complete(&mut self, id: u64, outcome: Result<Success, Refusal>) -> Completion {
        let (name, index) = BundleName::from_id(id);
        let Some(bundle) = self.bundles.get(name.ordinal as usize) else {
            return Completion::Impossible;
        };
        if bundle.generation != name.generation {
            return if is_before(name.generation, bundle.generation) {
                Completion::Late
            } else {
                Completion::Impossible
            };
        }
        match bundle.marks.get(index) {
            None => return Completion::Impossible,
            Some(Mark { number: None, .. }) => return Completion::Late,
            Some(Mark { number: Some(_), .. }) => self.end(name.ordinal, index, outcome.map_err(Failure::Refused)),
        }
        Completion::Accepted
    }

    /// Ends everything.
    pub(super) fn lose(&mut self, ends: Ends) {
        self.end_where(ends, |_| true);
    }

    /// Ends what has no time left, and says when the first of the others ends.
    pub(super) fn sweep(&mut self, now: Moment, ends: Ends) -> Moment {
        self.end_where(ends, |deadline| deadline <= now);
        let open = self.bundles.iter().filter(|bundle| bundle.open > 0);
        open.map(|bundle| bundle.earliest).min().unwrap_or(Moment::NEVER)
    }

    /// The writer of this outbox is gone. What is queued is not sent any more, what was sent stays open and is not heard of; nothing
    /// more comes into the outbox, and what is in it is lost.
    pub(super) fn withdraw(&mut self, outbox: usize, mut tell: impl FnMut(u32, Withdrawn)) {
        for ordinal in self.ordinals() {
            let bundle = &mut self.bundles[ordinal as usize];
            if bundle.outbox != Some(outbox) {
                continue;
            }
            bundle.outbox = None;
            for mark in &bundle.marks {
                if let Some(number) = mark.number {
                    tell(number, Withdrawn::Sent(bundle.change(mark)));
                }
            }
            if let Some(frame) = bundle.frame.take() {
                self.kept -= frame.len();
                self.live -= bundle.live;
            }
            let unsent = bundle.consignments.len();
            for Consignment { number, change, .. } in bundle.consignments.drain(..) {
                tell(number, Withdrawn::Queued(change));
            }
            bundle.open -= unsent;
            self.open -= unsent;
            self.release_if_over(ordinal);
        }
        self.trim_queue();
        self.outbox(outbox).clear();
    }

    /// Ends what is open and whose deadline is over in this sense.
    fn end_where(&mut self, ends: Ends, is_over: impl Fn(Moment) -> bool) {
        for ordinal in self.ordinals() {
            let bundle = &self.bundles[ordinal as usize];
            if bundle.open > 0 && is_over(bundle.earliest) {
                self.end_sent_where(ordinal, ends.sent, &is_over);
                self.end_queued_where(ordinal, ends.queued, &is_over);
                self.bundles[ordinal as usize].look_again();
                self.release_if_over(ordinal);
            }
        }
        self.trim_queue();
    }

    fn end_sent_where(&mut self, ordinal: u32, failure: Failure, is_over: impl Fn(Moment) -> bool) {
        // The last end releases the bundle, and its marks with it.
        for index in 0..self.bundles[ordinal as usize].marks.len() {
            let mark = self.bundles[ordinal as usize].marks.get(index);
            if mark.is_some_and(|mark| mark.number.is_some() && is_over(mark.deadline)) {
                self.end(ordinal, index, Err(failure));
            }
        }
    }

    fn end_queued_where(&mut self, ordinal: u32, failure: Failure, is_over: impl Fn(Moment) -> bool) {
        let bundle = &mut self.bundles[ordinal as usize];
        let Some(outbox) = bundle.outbox else { return };
        let over = bundle.consignments.extract_if(.., |consignment| is_over(consignment.deadline));
        for consignment in over {
            bundle.open -= 1;
            self.open -= 1;
            self.outboxes[outbox].push(consignment.sent_back(failure));
        }
    }

    /// Sent to ended.
    fn end(&mut self, ordinal: u32, index: usize, outcome: Result<Success, Failure>) {
        let bundle = &mut self.bundles[ordinal as usize];
        let mark = &mut bundle.marks[index];
        let Some(number) = mark.number.take() else { return };
        let bytes = mark.bytes();
        bundle.open -= 1;
        bundle.live -= bytes;
        self.open -= 1;
        if bundle.frame.is_some() {
            self.live -= bytes;
        }
        if let Some(outbox) = bundle.outbox {
            let outcome = match outcome {
                Ok(success) => Ok(Effect::of(&success)),
                Err(failure) => Err(bundle.returned(index, failure)),
            };
            self.outboxes[outbox].push(Ending { number, outcome });
        }
        self.release_if_over(ordinal);
    }

    fn release_if_over(&mut self, ordinal: u32) {
        let bundle = &mut self.bundles[ordinal as usize];
        if bundle.open > 0 || bundle.is_free {
            return;
        }
        bundle.generation = bundle.generation.wrapping_add(1);
        (bundle.is_free, bundle.outbox) = (true, None);
        bundle.consignments.clear();
        bundle.marks.clear();
        let frame = bundle.frame.take();
        self.kept -= frame.as_ref().map_or(0, |frame| frame.len());
        if let Some(mut frame) = frame.and_then(Arc::into_inner)
            && frame.capacity() <= SPARE_BYTES_MAX
            && self.spare_frames.len() < SPARES_MAX
        {
            frame.clear();
            self.spare_frames.push(frame);
        }
        self.free.push(ordinal);
    }

    /// Copies what is open out of frames that are mostly memory of what has ended. Of what was above the bound it
    /// frees three quarters at least, so that many inserts pay for it.
    fn slim(&mut self) {
        for bundle in &mut self.bundles {
            if let Some(frame) = &bundle.frame
                && frame.len() > KEPT_PER_LIVE * bundle.live
            {
                self.kept -= frame.len();
                self.kept += bundle.keep_open_ones();
            }
        }
    }

    fn grow(&mut self) -> Option<u32> {
        let ordinal = u32::try_from(self.bundles.len()).ok().filter(|ordinal| *ordinal < BUNDLES_MAX)?;
        self.bundles.push(Bundle::default());
        Some(ordinal)
    }

    /// Drops the names of bundles that are not queued any more.
    fn trim_queue(&mut self) {
        let bundles = &self.bundles;
        self.queue
            .retain(|name| bundles[name.ordinal as usize].generation == name.generation);
    }

    fn ordinals(&self) -> Range<u32> {
        0..u32::try_from(self.bundles.len()).unwrap_or(BUNDLES_MAX)
    }
}

impl Bundle {
    /// Key and value of an operation that was sent, unless its frame is being written.
    fn change(&self, mark: &Mark) -> Option<Change> {
        let (key, value) = mark.pieces(self.frame.as_deref()?);
        Some(Change {
            key: Bytes::copy_from_slice(key),
            value: value.map(Bytes::copy_from_slice),
        })
    }

    /// Replaces the frame by keys and values of those that are open; says how many bytes these are.
    fn keep_open_ones(&mut self) -> usize {
        let mut kept = Vec::with_capacity(self.live);
        let mut before_end = self.live;
        let frame = self.frame.take().unwrap_or_default();
        for mark in self.marks.iter_mut().filter(|mark| mark.number.is_some()) {
            let (key, value) = mark.pieces(&frame);
            kept.extend_from_slice(key);
            kept.extend_from_slice(value.unwrap_or_default());
            mark.before_end = u32::try_from(before_end).expect("it is less than it was");
            before_end -= mark.bytes();
        }
        let bytes = kept.len();
        self.frame = Some(Arc::new(kept));
        bytes
    }

    /// # Panics
    /// Never: frames are given back before anything in them can end.
    fn returned(&self, index: usize, failure: Failure) -> Box<Returned> {
        let mark = &self.marks[index];
        let change = self.change(mark).expect("frames are given back before anything in them can end");
        let shard = mark.shard;
        Box::new(Returned { failure, change, shard })
    }

    /// Finds out when the first of the open ones ends.
    fn look_again(&mut self) {
        let sent = self.marks.iter().filter(|mark| mark.number.is_some()).map(|mark| mark.deadline);
        let queued = self.consignments.iter().map(|consignment| consignment.deadline);
        self.earliest = sent.chain(queued).min().unwrap_or(Moment::NEVER);
    }
}

const _: () = assert!(
    size_of::<Mark>() == 40,
    "thousands of marks are looked at while they are in a cache"
);

impl Mark {
    fn of(consignment: &Consignment, before_end: usize) -> Self {
        let length = |bytes: usize| u32::try_from(bytes).expect("a frame's payload is far below 4 GiB");
        Self {
            number: Some(consignment.number),
            before_end: length(before_end),
            key_bytes: length(consignment.change.key.len()),
            value_bytes: consignment.change.value.as_ref().map(|value| length(value.len())),
            shard: consignment.shard,
            deadline: consignment.deadline,
        }
    }

    /// Of key and value.
    fn bytes(&self) -> usize {
        self.key_bytes as usize + self.value_bytes.unwrap_or(0) as usize
    }

    /// Key and value where they lie. Bounds are not asked for: with a mark that does not fit its frame, a set must not become a delete.
    fn pieces<'a>(&self, frame: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let (key, rest) = frame[frame.len() - self.before_end as usize..].split_at(self.key_bytes as usize);
        (key, self.value_bytes.map(|bytes| &rest[..bytes as usize]))
    }
}

impl Load {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many from the front as one bundle takes; `spare` is empty and used.
    fn take_bundle(&mut self, mut spare: Vec<Consignment>) -> Vec<Consignment> {
        let mut payload = 0;
        let fits = |consignment: &&Consignment| {
            let bytes = consignment.change.bytes();
            let fits = payload == 0 || payload + bytes <= PAYLOAD_BYTES_MAX;
            payload += bytes;
            fits
        };
        let count = self.0.iter().take(BUNDLE_OPERATIONS_MAX).take_while(fits).count();
        if count == self.0.len() {
            std::mem::swap(&mut self.0, &mut spare);
        } else {
            spare.extend(self.0.drain(..count));
        }
        spare
    }
}

impl Consignment {
    /// It was not sent.
    pub(crate) fn sent_back(self, failure: Failure) -> Ending {
        let Self { number, shard, change, .. } = self;
        let outcome = Err(Box::new(Returned { failure, change, shard }));
        Ending { number, outcome }
    }
}

impl Run {
    /// Puts the operations into their frame, after which they are nowhere else.
    pub(crate) fn write(&mut self, writer: &mut FrameWriter) {
        let requests = self.consignments.iter().zip(0..).map(|(consignment, index)| RawRequest {
            id: self.name.id(index),
            shard: consignment.shard.0,
            range_epoch: consignment.range_epoch.0,
            timeout_ms: time_for_server(self.now.until(consignment.deadline)),
            ..consignment.change.request()
        });
        writer.raw_requests(&mut self.frame, requests);
        self.consignments.clear();
    }
}

impl BundleName {
    /// The id of a request on the wire.
    fn id(self, index: u64) -> u64 {
        u64::from(self.generation) << 32 | BUNDLED | u64::from(self.ordinal) << INDEX_BITS | index
    }

    /// The way back of [`BundleName::id`].
    fn from_id(id: u64) -> (Self, usize) {
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let name = Self {
            ordinal: low((id & (BUNDLED - 1)) >> INDEX_BITS),
            generation: low(id >> 32),
        };
        (name, low(id & INDEX_MASK) as usize)
    }
}

/// Whether a request's id is that of an operation in a bundle.
pub(super) fn is_bundled(id: u64) -> bool {
    id & BUNDLED != 0
}

/// Bits of an id for the place in a bundle.
const INDEX_BITS: u32 = 10;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
/// The bit that tells these ids from those of slots, whose ordinals are below it.
pub(super) const BUNDLED: u64 = 1 << 31;
/// Operations in a bundle.
const BUNDLE_OPERATIONS_MAX: usize = 1 << INDEX_BITS;
const _: () = assert!(BUNDLE_OPERATIONS_MAX <= OPERATIONS_PER_FRAME_MAX, "they fit into a frame by number");
/// Bundles of one connection.
const BUNDLES_MAX: u32 = 1 << (31 - INDEX_BITS);
/// Frames and loads whose memory is kept for the next ones: about as many as a default writer has in flight, and 16 MiB at most.
const SPARES_MAX: usize = 32;
/// A frame with more memory is not kept: a full bundle of values of 256 bytes has less.
const SPARE_BYTES_MAX: usize = 512 << 10;
/// How many times the bytes that are open frames may be, and what they may be besides.
const KEPT_PER_LIVE: usize = 4;
const KEPT_BESIDES: usize = 16 << 20;

#[cfg(test)]
#[path = "bundles_tests.rs"]
mod tests;
