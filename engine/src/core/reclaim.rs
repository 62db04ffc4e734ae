//! Reclaim: the oldest segment is read once more, what still lives in it is copied to the log's end, and its file comes free.
//!
//! ```text
//!   idle ─(log longer than what lives deserves)─► scanning ─► settling ─► closing ─► releasing ─► idle
//!     │                                           copies  ▲   index       checkpoints  the file is
//!     └─(nothing lives in the segment: `ledger`)──queued──┘   durable     durable      used again or deleted
//! ```
//! While the log is too long still, the next segments follow before they settle, up to a few together: a commit of a large index takes as long
//! as reading some segments, and one after the other would be slower than a load of large values.
//!
//! Invariants: only a segment that replay no longer needs is begun, so its entries are applied and durable in the index;
//! whether an effect lives is looked up in the turn that queues its copy, and the copy is in the next batch (so in the log a
//! copy stands before the commit of anything newer, and rebuilding an index in log order is right); a pointer moves only
//! to a durable copy, and only if it still points to the original; checkpoints are written once the index holds all of it.
//!
//! Copies go ahead of what is queued, and take a share of each batch and no more: under a load that always fills the next batch the log
//! stays bounded, and so do clients' waits. Reading goes on while a flush is under way, so that there is something to copy after it.
//!
//! A delete is copied once: an older value of its key may have been copied behind it while it was not yet applied. Met
//! again, as a copy, nothing older can follow any more.
//!
//! A damaged batch gives what is sound in it. Where only values are lost the segment stays until all of them that live are mended from
//! other members (`sweep`, `repair`). Where anything else may be, a delete say, the segment is kept with all after it, and reclaim ends.
//!
//! Not here, on purpose: files (`runtime`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use margate_net::ids::{ClusterId, ShardId};

use super::closing::{Closed, close};
use super::copies::Copies;
use super::durability::Durability;
use super::event::{Effect, Effects, LogReadFault, Moment, ReadTicket};
use super::generations::{CommitPace, Generations};
use super::ledger::{LastEntries, Ledger};
use super::machine::Running;
use super::pace::{Barren, Due, commits_at_once, due, read_bytes, recycled_max};
use super::repair::Repairs;
use super::scanning::Scan;
use super::sweep::Sweep;
use super::values::{Tickets, Values};
use crate::index::error::IndexError;
use crate::index::store::IndexReader;
use crate::index::view::Index;
use crate::limits;
use crate::log::segment::LogConfig;
use crate::log::writer::LogWriter;
use crate::planted::Planted;

/// What reclaim works on: its core's parts.
pub(super) struct Ground<'a, R: IndexReader> {
    pub(super) cluster: ClusterId,
    pub(super) config: &'a LogConfig,
    pub(super) log: &'a mut LogWriter,
    pub(super) index: &'a mut Index<R>,
    pub(super) running: &'a mut BTreeMap<ShardId, Running>,
    pub(super) generations: &'a mut Generations,
    pub(super) ledger: &'a mut Ledger,
    pub(super) copies: &'a mut Copies,
    pub(super) repairs: &'a mut Repairs,
    pub(super) tickets: &'a mut Tickets,
    pub(super) values: &'a Values,
    pub(super) durability: &'a Durability,
    /// Whether something else still reads from old segments.
    pub(super) held: bool,
    /// Whether the disk is low, so that less garbage is worth the copying.
    pub(super) pressed: bool,
    /// Bytes of log in which only what nobody needs to read is freed.
    pub(super) spare: u64,
    pub(super) commits: CommitPace,
    pub(super) planted: Planted,
}

/// What it has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Segments that came free.
    pub segments: u64,
    /// Of them, those that nobody had to read.
    pub unread: u64,
    /// Values copied.
    pub values: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Deletes copied.
    pub deletes: u64,
    /// Values met whose record is damaged: those that live are mended before their segment goes.
    pub damaged: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Reclaim {
    state: State,
    /// The generation, the newest segment and the pressure for which nothing was due: none has changed, nothing is.
    checked: Option<(u64, u32, bool)>,
    /// Whether something was due then.
    due: bool,
    /// Whether replay needs it all the same, after a generation was made for it: entries in it wait for their commit.
    blocked: bool,
    /// The newest segment when a generation was asked for at once, so that one that cannot help is not asked for again and again.
    hurried: u32,
    /// A segment that did not read whole: it is kept, with all after it.
    damaged: Option<u32>,
    /// The last entries of the segments, from the oldest on, out of which all that lives is copied.
    emptied: VecDeque<LastEntries>,
    /// Bytes copied out of them.
    copied: u64,
    barren: Barren,
    done: Reclaimed,
}

/// What is to become of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It stays.
    None,
    /// It should go, and replay needs it.
    Needed,
    /// It goes, and nothing lives in it.
    Dead,
    /// It goes once what lives in it is copied.
    Lives,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Scanning(Scan),
    /// Until what the index still points to in the segment is mended.
    Mending(Scan, Sweep),
    /// Until this generation is durable.
    Settling {
        generation: u64,
    },
    /// Until what it wrote last is durable.
    Closing(Closed),
    /// Until the driver says that the file is gone, or ready under another number: this one.
    Releasing {
        to: Option<u32>,
        closed: Closed,
    },
}

impl Reclaim {
    /// What it has done since the start.
    pub(super) fn done(&self) -> Reclaimed {
        self.done
    }

    /// Whether a turn without an event would get it further.
    pub(super) fn is_hungry<R: IndexReader>(&self, log: &LogWriter, index: &Index<R>, pressed: bool) -> bool {
        match &self.state {
            State::Scanning(scan) => !keeps_full(index) && scan.may_copy(log, pressed),
            State::Mending(_, sweep) => !log.in_flight() && sweep.is_hungry(),
            State::Idle | State::Settling { .. } | State::Closing(_) | State::Releasing { .. } => false,
        }
    }

    /// Whether no segment should go though the disk is low.
    pub(super) fn has_nothing_to_free(&self) -> bool {
        let pressed = self.checked.is_some_and(|(_, _, pressed)| pressed);
        match &self.state {
            State::Idle => self.damaged.is_some() || pressed && (!self.due || self.blocked),
            // Perhaps nobody has what it waits for.
            State::Mending(_, sweep) => !sweep.is_hungry(),
            State::Scanning(_) | State::Settling { .. } | State::Closing(_) | State::Releasing { .. } => {
                self.damaged.is_some() && self.emptied.is_empty()
            }
        }
    }

    /// Whether something that it has read waits to be looked at.
    #[cfg(test)]
    pub(super) fn has_candidates(&self) -> bool {
        matches!(&self.state, State::Scanning(scan) if scan.has_candidates())
    }

    /// Whether a read is its own.
    pub(super) fn reads_with(&self, ticket: ReadTicket) -> bool {
        matches!(&self.state, State::Scanning(scan) if scan.ticket == Some(ticket))
    }

    /// One bounded step. To be called before the turn's flush is made, if none is in flight.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub(super) fn turn<R: IndexReader>(&mut self, moment: Moment, ground: &mut Ground<'_, R>, out: &mut Effects) -> Result<(), IndexError> {
        match &mut self.state {
            State::Idle => self.begin(ground)?,
            State::Scanning(scan) => {
                if scan.has_candidates() && !keeps_full(ground.index) {
                    scan.copy(moment.wall, ground, &mut self.done)?;
                }
                scan.read_on(ground, out);
                if scan.is_done(ground.copies) {
                    self.copied_all(ground)?;
                }
            }
            State::Mending(scan, sweep) => {
                if sweep.step(moment.now, ground.index, ground.running, ground.repairs)? {
                    let (last, copied) = (std::mem::take(&mut scan.last), scan.copied);
                    self.emptied(last, copied);
                    self.settle(ground)?;
                }
            }
            State::Settling { generation } => {
                if ground.pressed && ground.generations.next_frozen() <= *generation {
                    // The disk may have become low since it was asked for.
                    ground.generations.hurry();
                }
                if ground.generations.durable() >= *generation {
                    let kept_from = ground.log.oldest_segment() + self.emptied_segments();
                    self.state = State::Closing(close(moment.wall, kept_from, ground)?);
                }
            }
            State::Closing(closed) => {
                let (closed, oldest) = (*closed, ground.log.oldest_segment());
                if closed.is_durable(ground.log, ground.durability) && !ground.held && !is_needed(oldest, ground) {
                    self.release(closed, ground, out);
                }
            }
            State::Releasing { .. } => {}
        }
        Ok(())
    }

    /// Reads on, which it does while a flush is in flight too.
    pub(super) fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        if let State::Scanning(scan) = &mut self.state {
            scan.read_on(ground, out);
        }
    }

    /// A piece of the segment was read.
    ///
    /// # Errors
    /// As [`Reclaim::turn`].
    pub(super) fn read_done<R: IndexReader>(
        &mut self,
        result: Result<Bytes, LogReadFault>,
        ground: &mut Ground<'_, R>,
    ) -> Result<(), IndexError> {
        let State::Scanning(scan) = &mut self.state else { return Ok(()) };
        scan.ticket = None;
        let whole = match result {
            Ok(chunk) if scan.salvaging => scan.salvage(&chunk, ground),
            Ok(chunk) => scan.take(&chunk, ground),
            Err(fault) => {
                tracing::error!(%fault, "a segment cannot be read for reclaim");
                false
            }
        };
        if !whole && !scan.salvage_next(ground.config) {
            tracing::error!(
                segment = scan.segment,
                "the log is damaged: this segment and all after it are kept, so the log only grows; replace this node's replicas"
            );
            self.damaged = Some(scan.segment);
            self.done.damaged += scan.lost;
            self.state = State::Idle;
            return self.settle(ground);
        }
        Ok(())
    }

    /// All that could be copied is; what lives and could not be is mended first.
    fn copied_all<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        match std::mem::take(&mut self.state) {
            // Those before it need not wait for that: it is scanned again once it is the oldest.
            State::Scanning(scan) if scan.lost > 0 && !self.emptied.is_empty() => self.settle(ground)?,
            State::Scanning(scan) if scan.lost > 0 => {
                let sweep = Sweep::new(scan.segment);
                self.done.damaged += scan.lost;
                self.state = State::Mending(scan, sweep);
            }
            State::Scanning(scan) => {
                self.emptied(scan.last, scan.copied);
                self.go_on(ground)?;
            }
            state @ (State::Idle | State::Mending(..) | State::Settling { .. } | State::Closing { .. } | State::Releasing { .. }) => {
                self.state = state;
            }
        }
        Ok(())
    }

    /// The driver is done with a file: it is gone, or it has, or should have had, this number.
    pub(super) fn released(&mut self, number: Option<u32>) {
        if let State::Releasing { to, closed } = self.state
            && to == number
        {
            if self.emptied.is_empty() {
                (self.state, self.checked) = (State::Idle, None);
            } else {
                self.state = State::Closing(closed);
            }
        }
    }

    fn begin<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        let newest = ground.log.position().segment;
        let seen = (ground.generations.durable(), newest, ground.pressed);
        if self.damaged.is_some() || ground.held || self.checked == Some(seen) {
            return Ok(());
        }
        (self.checked, self.blocked) = (Some(seen), false);
        let segment = ground.log.oldest_segment();
        let claim = self.claim(segment, ground)?;
        self.due = claim != Claim::None;
        match claim {
            Claim::None => {}
            Claim::Needed => {
                // Nothing may have been applied for long, so that no generation was due.
                self.blocked = self.hurried == newest;
                if !self.blocked && want_generation(1, ground)? {
                    self.hurried = newest;
                }
            }
            Claim::Dead | Claim::Lives => {
                self.copied = 0;
                self.go_on(ground)?;
            }
        }
        Ok(())
    }

    /// What is to become of a segment, if all before it go.
    fn claim<R: IndexReader>(&self, segment: u32, ground: &Ground<'_, R>) -> Result<Claim, IndexError> {
        let needed = ground.index.reader().core_marks()?.map_or(0, |marks| marks.replay.segment) <= segment;
        let dead = ground.ledger.is_dead(segment, ground.planted.rows_forgotten());
        Ok(match due(segment, self.barren, ground)? {
            Due::No => Claim::None,
            Due::IfDead if needed || !dead => Claim::None,
            Due::Whatever if needed => Claim::Needed,
            Due::IfDead | Due::Whatever if dead => Claim::Dead,
            Due::IfDead | Due::Whatever => Claim::Lives,
        })
    }

    /// Goes on with the segment behind those that are emptied, or settles them.
    fn go_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        // What the disk has too little of should come free as soon as it can.
        let together = if ground.pressed { 1 } else { limits::RECLAIM_SEGMENTS_TOGETHER_MAX };
        while self.emptied.len() < together && !ground.held {
            let segment = ground.log.oldest_segment() + self.emptied_segments();
            match self.claim(segment, ground)? {
                Claim::None | Claim::Needed => break,
                Claim::Dead => {
                    self.done.unread += 1;
                    self.emptied(ground.ledger.last_entries(segment), 0);
                }
                Claim::Lives => {
                    self.state = State::Scanning(Scan::new(segment, read_bytes(ground)?));
                    return Ok(());
                }
            }
        }
        self.settle(ground)
    }

    /// Nothing of the emptied segments is needed any more, and raft may no longer ask for their entries, but for those that later segments hold
    /// too. Waits for the generation that says so.
    fn settle<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        if self.emptied.is_empty() {
            return Ok(());
        }
        for (segment, last) in (ground.log.oldest_segment()..).zip(&self.emptied) {
            truncate(segment, last, ground);
        }
        let emptied = self.emptied_segments();
        self.barren = if self.copied >= u64::from(emptied) * u64::from(ground.config.segment_bytes) / 8 * 7 {
            Barren {
                segments: self.barren.segments.saturating_add(emptied),
                live: ground.index.reader().live_bytes()?,
            }
        } else {
            Barren::default()
        };
        want_generation(emptied, ground)?;
        self.state = State::Settling {
            generation: ground.generations.next_frozen(),
        };
        Ok(())
    }

    /// All that lived in a segment with these last entries is copied, so many bytes.
    fn emptied(&mut self, last: LastEntries, copied: u64) {
        self.emptied.push_back(last);
        self.copied += copied;
    }

    fn emptied_segments(&self) -> u32 {
        u32::try_from(self.emptied.len()).expect("they are few")
    }

    fn release<R: IndexReader>(&mut self, closed: Closed, ground: &mut Ground<'_, R>, out: &mut Effects) {
        let from = ground.log.oldest_segment();
        let to = ground.log.release_oldest(recycled_max(ground.log, ground.pressed));
        ground.ledger.released(from);
        out.push(match to {
            Some(to) => Effect::RecycleSegment { from, to },
            None => Effect::DeleteSegment { number: from },
        });
        self.emptied.pop_front();
        self.done.segments += 1;
        self.state = State::Releasing { to, closed };
    }
}

/// Whether copies wait until the index has taken rows: each adds one.
fn keeps_full<R: IndexReader>(index: &Index<R>) -> bool {
    index.active_bytes() >= limits::OVERLAY_COPIES_BYTES
}

/// Asks for a generation with which so many segments come free. Whether at once, where that is worth it: each may write the whole index again.
fn want_generation<R: IndexReader>(segments: u32, ground: &mut Ground<'_, R>) -> Result<bool, IndexError> {
    let at_once = commits_at_once(segments, ground)?;
    if at_once {
        ground.generations.hurry();
    } else {
        ground.generations.want();
    }
    Ok(at_once)
}

/// Raft may no longer ask for what a segment with these last entries holds.
fn truncate<R: IndexReader>(segment: u32, last: &LastEntries, ground: &mut Ground<'_, R>) {
    for (name, last) in last {
        let last = ground.ledger.before_later(segment, *name, *last);
        if let Some(running) = ground.running.get_mut(&name.shard)
            && running.replica.name() == *name
        {
            // All that stands there and was not replaced is applied. What is above has a number that has rotted.
            let last = running.replica.applied().min(last);
            running.replica.group.truncate(last);
        }
    }
}

/// Whether a segment is being read, or an answer found before the pointers moved has yet to read from it.
fn is_needed<R: IndexReader>(segment: u32, ground: &Ground<'_, R>) -> bool {
    let mut replicas = ground.running.values().map(|running| &running.replica);
    ground.tickets.reads_in(segment) || ground.values.needs_segment(segment) || replicas.any(|replica| replica.needs_segment(segment))
}
