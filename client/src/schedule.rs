//! What a batch writer sends when: every write that was handed over and has not ended.
//!
//! ```text
//! hand_over        dispatch                    ended                            finish
//! ─────────► ready ────────► under way (train) ─────► the whole train has ─────► result, tally, room
//!              ▲    └──────► parked ──┐                answers │  └ refused for now:
//!              │                      │  train over            │    held, then again
//!              └──────────────────────┴──◄─────────────────────┘
//! ```
//! What it gives: exactly one result for each write; writes of one key take effect in the order they were
//! handed over; nothing is sent twice that may have been executed (`retry.rs` judges).
//!
//! The order rests on this. A connection and a shard's queue keep order, but a server may refuse one write
//! and take a later one, and routes change. So only writes of one key that are ready at the same time are
//! sent together, over one connection with nothing in between (a *train*). All others of that key are
//! *parked* until every write of the train has its answer. Then it is known which of them were refused for
//! now: those are sent again, before what is parked, unless a later write of the train was executed or may
//! have been. Then they fail, since now they would be the later ones.
//!
//! A write whose outcome is unknown may still lie in a socket or a queue and take effect after anything
//! sent later. So the writes of its key that had been handed over when that became known fail unsent
//! (*doubt*); who writes the key after that has been told.
//!
//! Not here, on purpose: connections, clocks, waiting (`runtime/`), and where a shard's leader is (`route.rs`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::api::WriteSummary;
use crate::batch::{Change, Consignment, Ending, Load, Withdrawn};
use crate::config::BatchWriterConfig;
use crate::error::{Error, OrderFault, UnknownCause};
use crate::moment::Moment;
use crate::retry::MapNeed;
use crate::route::{Route, RoutingTable};

use epochs::{EpochNumber, Epochs, FlushName};
use lanes::Lanes;
use receipts::Receipts;
pub(crate) use receipts::{ReceiptName, WriteResult};
pub(crate) use room::LinePlace;
use room::Room;
use write::{AttemptEnd, Fate, Write};

mod epochs;
mod lanes;
mod receipts;
mod room;
mod settle;
mod write;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// By number. Where the fate is none there is no write.
    writes: Vec<Write>,
    /// The number that was given last.
    newest: usize,
    /// How many numbers are in use.
    live: usize,
    ready: VecDeque<Ready>,
    /// What the writes change that are neither ready nor with a link: parked, held, or about to fail.
    aside: FxHashMap<u32, Change>,
    lanes: Lanes,
    /// Lanes whose train is to be sent again, and when.
    held: BinaryHeap<Reverse<(Moment, u32, MapNeed)>>,
    /// Lanes whose train waits for a new map.
    without_map: Vec<u32>,
    /// Keys with a write of unknown outcome.
    doubts: FxHashMap<Bytes, Doubt>,
    room: Room,
    receipts: Receipts,
    epochs: Epochs,
    timeout: Duration,
    round: u64,
    closed: bool,
    /// Whether room was given back since the line was told.
    has_new_room: bool,
    wakers: Vec<Waker>,
    /// What `dispatch` sorts and sends, and numbers that `settle` walks, kept for their memory.
    sorted: Vec<(u64, u32)>,
    leaving: Vec<Option<Ready>>,
    numbers: Vec<u32>,
}

/// An earlier write of a key may yet take effect.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    cause: UnknownCause,
    /// Of the writes handed over until then it was not known to their callers.
    until: EpochNumber,
}

/// A write that may be sent.
#[derive(Debug)]
struct Ready {
    /// See [`prefix_of`].
    prefix: u64,
    number: u32,
    change: Change,
}

/// Where a write went, and which go there too: those whose prefixes are between that of the shard's low bound and that of its high one.
/// With a prefix that equals one of them the whole key must be looked at.
#[derive(Clone, Copy, Debug)]
struct Near {
    /// `None` where the shard has no low bound.
    above: Option<u64>,
    until: u64,
    route: Route,
}

/// Writes for links, by place, in the order in which they must be put in.
#[derive(Debug, Default)]
pub(crate) struct Loads(pub(crate) Vec<Load>);

/// A flush and what it waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushTicket {
    name: FlushName,
    epoch: EpochNumber,
}

impl Schedule {
    /// Nothing was handed over yet.
    pub(crate) fn new(config: &BatchWriterConfig) -> Self {
        Self {
            writes: Vec::new(),
            newest: 0,
            live: 0,
            ready: VecDeque::new(),
            aside: FxHashMap::default(),
            lanes: Lanes::new(config.in_flight_bounded()),
            held: BinaryHeap::new(),
            without_map: Vec::new(),
            doubts: FxHashMap::default(),
            room: Room::new(config.in_flight_bounded(), config.in_flight_bytes_max),
            receipts: Receipts::default(),
            epochs: Epochs::new(config.failures_max),
            timeout: config.timeout,
            round: 0,
            closed: false,
            has_new_room: false,
            wakers: Vec::new(),
            sorted: Vec::new(),
            leaving: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Takes room for one write without waiting.
    pub(crate) fn try_take_room(&mut self, bytes: usize) -> bool {
        self.room.try_take(bytes)
    }

    /// Takes room for one write in turn, or keeps its place in the line.
    pub(crate) fn take_room(&mut self, place: &mut Option<LinePlace>, bytes: usize, waker: &Waker) -> bool {
        let waited = place.is_some();
        let taken = self.room.take_in_turn(place, bytes, waker);
        self.has_new_room |= taken && waited;
        taken
    }

    /// Keeps a place in the line for one that gives others their turn, room or no room.
    pub(crate) fn wait_in_line(&mut self, place: &mut Option<LinePlace>, bytes: usize, waker: &Waker) {
        self.room.wait_in_turn(place, bytes, waker);
    }

    /// Gives up a place in the line for room.
    pub(crate) fn leave_line(&mut self, place: LinePlace) {
        self.room.leave(place);
        self.has_new_room = true;
    }

    /// Writes and bytes under way.
    pub(crate) fn under_way(&self) -> (usize, usize) {
        self.room.taken()
    }

    /// Takes a set or a delete for which room was taken.
    pub(crate) fn hand_over(&mut self, change: Change) -> ReceiptName {
        let lane = self.lanes.of(&change.key);
        let receipt = self.receipts.issue();
        let write = Write::new(&change, lane, receipt, self.epochs.begin());
        let number = self.place(write);
        self.ready.push_back(Ready::new(number, change));
        receipt
    }

    /// Gives a write its number. They come in turn, so that writes handed over one after the other lie side by side; with one in four free
    /// the next is never far.
    fn place(&mut self, write: Write) -> u32 {
        self.live += 1;
        if self.live * 4 > self.writes.len() * 3 {
            self.newest = self.writes.len();
            self.writes.push(write);
        } else {
            loop {
                self.newest = (self.newest + 1) % self.writes.len();
                if matches!(self.writes[self.newest].fate, Fate::None) {
                    break;
                }
            }
            self.writes[self.newest] = write;
        }
        u32::try_from(self.newest).expect("the bound on writes is far below 2^32")
    }

    /// Sends up to `max` of the writes that are ready: puts them into the loads or parks them. Without a
    /// table the client is closed, and they fail. Whether there are more.
    ///
    /// Writes leave in the order of their keys: those of one shard stand together, and a server puts rows
    /// into its ordered index for less than half when they come in order.
    pub(crate) fn dispatch(&mut self, now: Moment, table: Option<&RoutingTable>, max: usize, loads: &mut Loads) -> bool {
        self.release_due(now);
        self.doubts.retain(|_, doubt| !self.epochs.is_closed(doubt.until));
        self.round += 1;
        let Some(table) = table else {
            self.refuse_ready();
            return false;
        };
        let (mut sorted, mut leaving) = (std::mem::take(&mut self.sorted), std::mem::take(&mut self.leaving));
        let count = self.ready.len().min(max);
        leaving.extend(self.ready.drain(..count).map(Some));
        sorted.extend(leaving.iter().flatten().map(|ready| ready.prefix).zip(0..));
        self.lanes
            .warm(leaving.iter().flatten().map(|ready| self.writes[ready.number as usize].lane));
        // Stable: writes of one key stay in their order.
        sorted.sort_by_key(|(prefix, _)| *prefix);
        sorted.retain(|(_, place)| self.board(*place, &mut leaving, now));
        let mut near = None;
        for (_, place) in sorted.drain(..) {
            if let Some(ready) = leaving[place as usize].take() {
                self.load(ready, table, &mut near, loads);
            }
        }
        leaving.clear();
        (self.sorted, self.leaving) = (sorted, leaving);
        !self.ready.is_empty()
    }

    /// Looks at what [`Schedule::ended`] will look at, so that what no cache holds is waited for together and not write by write. Changes
    /// nothing.
    pub(crate) fn warm<'a>(&self, next: impl Iterator<Item = &'a Ending>) {
        let looks = next.map(|ending| {
            let write = &self.writes[ending.number as usize];
            self.lanes.look(write.lane) ^ self.receipts.look(write.receipt)
        });
        std::hint::black_box(looks.fold(0, |all, look| all ^ look));
    }

    /// Takes in the end of an attempt that was made there.
    pub(crate) fn ended(&mut self, ending: Ending, at: SocketAddr, now: Moment, dice: u64) {
        let Ending { number, outcome } = ending;
        let outcome = outcome.map_err(|returned| {
            self.aside.insert(number, returned.change);
            returned.failure
        });
        let timeout = self.timeout;
        let write = &mut self.writes[number as usize];
        write.attempted(
            outcome,
            &AttemptEnd {
                address: at,
                now,
                dice,
                timeout,
            },
        );
        let lane = write.lane;
        if self.lanes.answered(lane) {
            self.settle(lane, now);
        }
    }

    /// The moment at which [`Schedule::dispatch`] has something to do without an event.
    pub(crate) fn due(&self) -> Moment {
        if !self.ready.is_empty() {
            return Moment(0);
        }
        self.held.peek().map_or(Moment::NEVER, |Reverse((due, ..))| *due)
    }

    /// Whether writes wait for a new map.
    pub(crate) fn wants_map(&self) -> bool {
        !self.without_map.is_empty()
    }

    /// The map was asked for since they began to wait, whatever came of it.
    pub(crate) fn map_asked(&mut self) {
        while let Some(lane) = self.without_map.pop() {
            self.release(lane);
        }
    }

    /// Takes a result, or leaves a waker for when there is one.
    pub(crate) fn take_result(&mut self, receipt: ReceiptName, waker: &Waker) -> Option<WriteResult> {
        self.receipts.take(receipt, waker)
    }

    /// Nobody wants this result any more.
    pub(crate) fn give_up(&mut self, receipt: ReceiptName) {
        self.receipts.give_up(receipt);
    }

    /// A flush begins: it waits for everything that was handed over by now.
    pub(crate) fn begin_flush(&mut self) -> FlushTicket {
        FlushTicket {
            epoch: self.epochs.cut(&mut self.wakers),
            name: self.epochs.flush(),
        }
    }

    /// The summary, or a waker is left for when there is one.
    pub(crate) fn take_flush(&mut self, flush: FlushTicket, waker: &Waker) -> Option<WriteSummary> {
        self.epochs.take(flush.name, flush.epoch, waker)
    }

    /// Nobody waits for this flush any more.
    pub(crate) fn forget_flush(&mut self, flush: FlushTicket) {
        self.epochs.forget(flush.name);
    }

    /// A link was told that the writer is gone, and had this write.
    pub(crate) fn withdrawn(&mut self, number: u32, how: Withdrawn) {
        let change = match how {
            Withdrawn::Queued(change) => Some(change),
            Withdrawn::Sent(change) => {
                self.writes[number as usize].withdraw();
                change
            }
        };
        self.aside.extend(change.map(|change| (number, change)));
    }

    /// Ends everything: what has no end yet was never sent, or was refused the last time it was. Links must
    /// have been told before, and what they had posted taken in. Flushes tell of it.
    pub(crate) fn end_all(&mut self) {
        self.closed = true;
        let ready = self.ready.drain(..);
        self.aside.extend(ready.map(|Ready { number, change, .. }| (number, change)));
        self.held.clear();
        self.without_map.clear();
        for number in 0..self.writes.len() {
            let number = u32::try_from(number).expect("the bound on writes is far below 2^32");
            if let Some(result) = self.writes[number as usize].abandoned() {
                self.finish(number, result);
            }
        }
    }

    /// All that no flush has told of.
    pub(crate) fn take_untold(&mut self) -> WriteSummary {
        self.epochs.take_all()
    }

    /// Whether it was abandoned, and takes nothing any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Those to wake after whatever was called before.
    pub(crate) fn take_wakers(&mut self, out: &mut Vec<Waker>) {
        if std::mem::take(&mut self.has_new_room) {
            self.room.wake(&mut self.wakers);
        }
        out.append(&mut self.wakers);
    }

    /// Whether the write at this place of those that may leave does so. If not it is parked, or has failed, and its place is empty.
    fn board(&mut self, place: u32, leaving: &mut [Option<Ready>], now: Moment) -> bool {
        let Some(ready) = &leaving[place as usize] else {
            return false;
        };
        let Ready { number, ref change, .. } = *ready;
        let doubt = self.doubt_about(number, &change.key);
        if doubt.is_none() {
            let write = &mut self.writes[number as usize];
            write.begin(now, place);
            let lane = write.lane;
            let same_key_as = |last: u32| {
                let last = &leaving[self.writes[last as usize].place as usize];
                last.as_ref().is_some_and(|last| last.change.key == change.key)
            };
            if self.lanes.board(lane, number, self.round, same_key_as) {
                return true;
            }
        }
        let change = leaving[place as usize].take().map(|ready| (number, ready.change));
        self.aside.extend(change);
        if let Some(cause) = doubt {
            self.finish(number, Err(Box::new(Error::OutOfOrder(OrderFault::EarlierUnknown(cause)))));
        }
        false
    }

    /// Puts a write into its load. `near` is where the one before it went.
    fn load(&mut self, ready: Ready, table: &RoutingTable, near: &mut Option<Near>, loads: &mut Loads) {
        let Ready { number, change, prefix } = ready;
        let deadline = self.writes[number as usize].depart(self.timeout);
        let route = match near {
            Some(near) if near.above.is_none_or(|low| low < prefix) && prefix < near.until => near.route,
            Some(_) | None => {
                let (route, shard) = table.aim_write(&change.key);
                let above = (!shard.low.is_empty()).then(|| prefix_of(&shard.low));
                let until = if shard.high.is_empty() { u64::MAX } else { prefix_of(&shard.high) };
                near.insert(Near { above, until, route }).route
            }
        };
        loads.of(route.place).0.push(Consignment {
            number,
            shard: route.shard,
            range_epoch: route.range_epoch,
            deadline,
            change,
        });
    }

    /// Why an earlier write of its key may yet take effect, if its caller could not know that.
    fn doubt_about(&self, number: u32, key: &Bytes) -> Option<UnknownCause> {
        if self.doubts.is_empty() {
            return None;
        }
        let doubt = self.doubts.get(key)?;
        (self.writes[number as usize].epoch <= doubt.until).then_some(doubt.cause)
    }

    fn refuse_ready(&mut self) {
        while let Some(Ready { number, change, .. }) = self.ready.pop_front() {
            self.aside.insert(number, change);
            self.finish(number, Err(Box::new(Error::Closed)));
        }
    }

    fn release_due(&mut self, now: Moment) {
        while let Some(Reverse((due, lane, map))) = self.held.peek().copied() {
            if due > now {
                break;
            }
            self.held.pop();
            match map {
                MapNeed::Fetch => self.without_map.push(lane),
                MapNeed::Keep => self.release(lane),
            }
        }
    }

    /// Lets the lane's held train, and then what is parked behind it, leave before everything else.
    fn release(&mut self, lane: u32) {
        let mut numbers = std::mem::take(&mut self.numbers);
        self.lanes.train(lane, &mut numbers);
        self.lanes.clear(lane, &mut numbers);
        self.let_go_first(&mut numbers);
        self.numbers = numbers;
    }

    /// They leave before everything that is ready, in this order.
    fn let_go_first(&mut self, numbers: &mut Vec<u32>) {
        for number in numbers.drain(..).rev() {
            let change = self.aside.remove(&number).expect("it is with no link");
            self.ready.push_front(Ready::new(number, change));
        }
    }

    /// Gives a write its result, and its room back.
    fn finish(&mut self, number: u32, result: WriteResult) {
        // Of one that was executed there is nothing to look for.
        let change = result.is_err().then(|| self.aside.remove(&number)).flatten();
        let count = |tally: &mut WriteSummary, failures_max: usize| match &result {
            Ok(_) => tally.acknowledged += 1,
            Err(error) => tally.fail(change.as_ref().map(|change| &change.key), error, failures_max),
        };
        let write = &mut self.writes[number as usize];
        write.fate = Fate::None;
        self.epochs.end(write.epoch, count, &mut self.wakers);
        self.room.give_back(write.bytes());
        self.has_new_room = true;
        self.receipts.end(write.receipt, result, &mut self.wakers);
        self.live -= 1;
    }
}

impl Ready {
    fn new(number: u32, change: Change) -> Self {
        Self {
            prefix: prefix_of(&change.key),
            number,
            change,
        }
    }
}

/// The first bytes of a key as a number: keys sort as these do, where they differ.
fn prefix_of(key: &[u8]) -> u64 {
    let mut prefix = [0; 8];
    let length = key.len().min(prefix.len());
    prefix[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(prefix)
}

impl Loads {
    fn of(&mut self, place: usize) -> &mut Load {
        if self.0.len() <= place {
            self.0.resize_with(place + 1, Load::default);
        }
        &mut self.0[place]
    }
}

#[cfg(test)]
mod tests;
