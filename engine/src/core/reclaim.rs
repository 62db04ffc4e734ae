//! Reclaim: the oldest segment is read once more, what still lives in it is copied to the log's end, and its file comes free.
//!
//! ```text
//!   search:   idle ─(log longer than what lives deserves)─► scanning ─(all copies durable)─► emptied
//!              │                                               └──(values are lost)─► mending ──►┤
//!              └─(nothing lives in the segment: `ledger`)───────────────────────────────────────┘
//!   leaving:  settling ─(index durable)─► closing ─(checkpoints durable)─► releasing ─► gone: used again or deleted
//! ```
//! Both go on at once: while the log is too long still, the next segments are emptied though others wait for the index, up to
//! [`limits::RECLAIM_SEGMENTS_TOGETHER_MAX`], and all that one commit knows to be empty leave together. A commit of a large index takes as long
//! as reading some segments; one after the other would be slower than a load of large values.
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
use super::generations::{CommitPace, Generations, Urgency};
use super::ledger::{LastEntries, Ledger};
use super::machine::Running;
use super::pace::{Barren, Due, commit_urgency, due, read_bytes, recycled_max};
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
    search: Search,
    /// The first generation that knows each of the segments out of which all that lives is copied, from the oldest on.
    emptied: VecDeque<u64>,
    /// What becomes of the first of them.
    leaving: Leaving,
    /// For what the first segment that is not emptied was looked at last: none of it has changed, nothing is due.
    checked: Option<Seen>,
    /// Whether it should go, when it was.
    due: bool,
    /// Whether replay needs it all the same, after a generation was made for it: entries in it wait for their commit.
    blocked: bool,
    /// For what a generation was asked for.
    asked: Option<Seen>,
    /// Whether that one commits at once: no segment is begun before those that wait are gone, as what lives will be known better then.
    rushes: bool,
    /// The newest segment when a generation was asked for at once, so that one that cannot help is not asked for again and again.
    hurried: u32,
    /// A segment that did not read whole: it is kept, with all after it.
    damaged: Option<u32>,
    /// A segment of which something is lost: it is mended once it is the oldest, those before it need not wait for that.
    lossy: Option<u32>,
    barren: Barren,
    done: Reclaimed,
}

/// What decides whether a segment is due, and whether its commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    generation: u64,
    newest: u32,
    pressed: bool,
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

/// For what lives in the next segment.
#[derive(Debug, Default)]
enum Search {
    #[default]
    Idle,
    Scanning(Scan),
    /// Until what the index still points to in the segment is mended.
    Mending(Scan, Sweep),
}

/// The last steps of emptied segments.
#[derive(Clone, Copy, Debug, Default)]
enum Leaving {
    /// Until the index holds the generation of the first.
    #[default]
    Settling,
    /// Until what was written last for so many of them is durable.
    Closing { segments: u32, closed: Closed },
    /// Until the driver says that the file is gone, or ready under another number: this one. So many more follow.
    Releasing { to: Option<u32>, segments: u32, closed: Closed },
}

impl Reclaim {
    /// What it has done since the start.
    pub(super) fn done(&self) -> Reclaimed {
        self.done
    }

    /// Whether a turn without an event would get it further.
    pub(super) fn is_hungry<R: IndexReader>(&self, log: &LogWriter, index: &Index<R>, pressed: bool) -> bool {
        match &self.search {
            Search::Scanning(scan) => !index.is_busy() && scan.may_copy(log, pressed),
            Search::Mending(_, sweep) => !log.in_flight() && sweep.is_hungry(),
            Search::Idle => false,
        }
    }

    /// Whether no segment should go though the disk is low.
    pub(super) fn has_nothing_to_free(&self) -> bool {
        let pressed = self.checked.is_some_and(|seen| seen.pressed);
        !self.leaves()
            && match &self.search {
                Search::Idle => self.damaged.is_some() || pressed && (!self.due || self.blocked),
                // Perhaps nobody has what it waits for.
                Search::Mending(_, sweep) => !sweep.is_hungry(),
                Search::Scanning(_) => false,
            }
    }

    /// Whether a segment will come free.
    fn leaves(&self) -> bool {
        !self.emptied.is_empty() || matches!(self.leaving, Leaving::Releasing { .. })
    }

    /// Segments that are emptied and still there.
    #[cfg(test)]
    pub(super) fn emptied_segments(&self) -> usize {
        self.emptied.len()
    }

    /// Whether something that it has read waits to be looked at.
    #[cfg(test)]
    pub(super) fn has_candidates(&self) -> bool {
        matches!(&self.search, Search::Scanning(scan) if scan.has_candidates())
    }

    /// Whether a read is its own.
    pub(super) fn reads_with(&self, ticket: ReadTicket) -> bool {
        matches!(&self.search, Search::Scanning(scan) if scan.ticket == Some(ticket))
    }

    /// One bounded step. To be called before the turn's flush is made, if none is in flight.
    ///
    /// # Errors
    /// [`IndexError`]: the index cannot be read, which stops the node.
    pub(super) fn turn<R: IndexReader>(&mut self, moment: Moment, ground: &mut Ground<'_, R>, out: &mut Effects) -> Result<(), IndexError> {
        self.leave(moment, ground, out)?;
        match &mut self.search {
            Search::Idle => self.begin(ground)?,
            Search::Scanning(scan) => {
                if scan.has_candidates() && !ground.index.is_busy() {
                    scan.copy(moment.wall, ground, &mut self.done)?;
                }
                scan.read_on(ground, out);
                if scan.is_done(ground.copies) {
                    self.copied_all(ground)?;
                }
            }
            Search::Mending(scan, sweep) => {
                if sweep.step(moment.now, ground.index, ground.running, ground.repairs)? {
                    let (last, copied) = (std::mem::take(&mut scan.last), scan.copied);
                    self.search = Search::Idle;
                    self.emptied(&last, copied, ground)?;
                    self.go_on(ground)?;
                }
            }
        }
        self.ask(ground)
    }

    /// Reads on, which it does while a flush is in flight too.
    pub(super) fn read_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>, out: &mut Effects) {
        if let Search::Scanning(scan) = &mut self.search {
            scan.read_on(ground, out);
        }
    }

    /// A piece of the segment was read.
    pub(super) fn read_done<R: IndexReader>(&mut self, result: Result<Bytes, LogReadFault>, ground: &mut Ground<'_, R>) {
        let Search::Scanning(scan) = &mut self.search else { return };
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
            self.search = Search::Idle;
        }
    }

    /// All that could be copied is; what lives and could not be is mended first.
    fn copied_all<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        match std::mem::take(&mut self.search) {
            // It is scanned again once it is the oldest; those before it need not wait for that.
            Search::Scanning(scan) if scan.lost > 0 && !self.emptied.is_empty() => self.lossy = Some(scan.segment),
            Search::Scanning(scan) if scan.lost > 0 => {
                let sweep = Sweep::new(scan.segment);
                self.done.damaged += scan.lost;
                self.search = Search::Mending(scan, sweep);
            }
            Search::Scanning(scan) => {
                self.emptied(&scan.last, scan.copied, ground)?;
                self.go_on(ground)?;
            }
            search @ (Search::Idle | Search::Mending(..)) => self.search = search,
        }
        Ok(())
    }

    fn begin<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        let seen = seen(ground);
        if self.checked == Some(seen) || !self.may_begin(ground) {
            return Ok(());
        }
        (self.checked, self.blocked) = (Some(seen), false);
        self.go_on(ground)
    }

    fn may_begin<R: IndexReader>(&self, ground: &Ground<'_, R>) -> bool {
        // What the disk has too little of should come free as soon as it can.
        let together = if ground.pressed { 1 } else { limits::RECLAIM_SEGMENTS_TOGETHER_MAX };
        let waits = (self.rushes || self.lossy.is_some()) && self.leaves();
        self.damaged.is_none() && !ground.held && !waits && self.emptied.len() < together
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

    /// Goes on with the segment behind those that are emptied.
    fn go_on<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        while self.may_begin(ground) {
            let segment = self.first_kept(ground.log);
            let claim = self.claim(segment, ground)?;
            self.due = claim != Claim::None;
            match claim {
                Claim::None => break,
                // Those before it have their generation to wait for.
                Claim::Needed if self.leaves() => break,
                Claim::Needed => {
                    // Nothing may have been applied for long, so that no generation was due.
                    let newest = ground.log.position().segment;
                    self.blocked = self.hurried == newest;
                    if !self.blocked {
                        match commit_urgency(segment, 1, ground)? {
                            Urgency::None => ground.generations.want(),
                            urgency @ (Urgency::Soon | Urgency::Now) => {
                                ground.generations.hurry(urgency);
                                self.hurried = newest;
                            }
                        }
                    }
                    break;
                }
                Claim::Dead => {
                    self.done.unread += 1;
                    let last = ground.ledger.last_entries(segment);
                    self.emptied(&last, 0, ground)?;
                }
                Claim::Lives => {
                    self.search = Search::Scanning(Scan::new(segment, read_bytes(segment, ground)?));
                    break;
                }
            }
        }
        Ok(())
    }

    /// All that lived in the next segment, with these last entries, is copied, so many bytes. Nothing of it is needed any more, and raft may no
    /// longer ask for its entries, but for those that later segments hold too.
    fn emptied<R: IndexReader>(&mut self, last: &LastEntries, copied: u64, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        truncate(self.first_kept(ground.log), last, ground);
        self.barren = if copied >= u64::from(ground.config.segment_bytes) / 8 * 7 {
            Barren {
                segments: self.barren.segments.saturating_add(1),
                live: ground.index.reader().live_bytes()?,
            }
        } else {
            Barren::default()
        };
        self.lossy = None;
        self.rushes = self.rushes && !self.emptied.is_empty();
        self.emptied.push_back(ground.generations.next_frozen());
        Ok(())
    }

    /// The first segment that is not emptied.
    fn first_kept(&self, log: &LogWriter) -> u32 {
        log.oldest_segment() + u32::try_from(self.emptied.len()).expect("they are few")
    }

    /// Asks for the generation that emptied segments wait for once no other can be emptied now, or the disk is low. While one can, the next that
    /// is due will do. At once where that is worth it: each may write the whole index again.
    fn ask<R: IndexReader>(&mut self, ground: &mut Ground<'_, R>) -> Result<(), IndexError> {
        let (seen, known) = (seen(ground), self.known(ground));
        let waiting = self.emptied.iter().skip(known as usize);
        let Some(last) = waiting.last().filter(|_| self.asked != Some(seen)) else {
            return Ok(());
        };
        if !ground.pressed && !matches!(self.search, Search::Idle) {
            return Ok(());
        }
        self.asked = Some(seen);
        let waiting = self.first_kept(ground.log) - ground.log.oldest_segment() - known;
        let urgency = commit_urgency(ground.log.oldest_segment() + known, waiting, ground)?;
        self.rushes = urgency > Urgency::None;
        let under_way = *last < ground.generations.next_frozen();
        match urgency {
            Urgency::None if !under_way => ground.generations.want(),
            Urgency::Soon | Urgency::Now if !under_way => ground.generations.hurry(urgency),
            Urgency::None | Urgency::Soon | Urgency::Now => ground.generations.press(urgency),
        }
        Ok(())
    }

    /// Emptied segments that the index knows to be empty.
    fn known<R: IndexReader>(&self, ground: &Ground<'_, R>) -> u32 {
        let durable = ground.generations.durable();
        let known = self.emptied.iter().take_while(|generation| **generation <= durable).count();
        u32::try_from(known).expect("they are few")
    }

    /// The last steps of the segments that the index knows to be empty: all of them take these together.
    fn leave<R: IndexReader>(&mut self, moment: Moment, ground: &mut Ground<'_, R>, out: &mut Effects) -> Result<(), IndexError> {
        match self.leaving {
            Leaving::Settling => {
                let segments = self.known(ground);
                if segments > 0 {
                    let kept_from = ground.log.oldest_segment() + segments;
                    let closed = close(moment.wall, kept_from, ground)?;
                    self.leaving = Leaving::Closing { segments, closed };
                }
            }
            Leaving::Closing { segments, closed } => {
                let oldest = ground.log.oldest_segment();
                if closed.is_durable(ground.log, ground.durability) && !ground.held && !is_needed(oldest, ground) {
                    self.release(segments, closed, ground, out);
                }
            }
            Leaving::Releasing { .. } => {}
        }
        Ok(())
    }

    fn release<R: IndexReader>(&mut self, segments: u32, closed: Closed, ground: &mut Ground<'_, R>, out: &mut Effects) {
        let from = ground.log.oldest_segment();
        let kept = ground.log.position().segment.saturating_sub(from);
        let most = recycled_max(kept, ground.config.segment_bytes, ground.pressed);
        let to = ground.log.release_oldest(most);
        ground.ledger.released(from);
        out.push(match to {
            Some(to) => Effect::RecycleSegment { from, to },
            None => Effect::DeleteSegment { number: from },
        });
        self.emptied.pop_front();
        self.done.segments += 1;
        self.leaving = Leaving::Releasing {
            to,
            segments: segments - 1,
            closed,
        };
    }

    /// The driver is done with a file: it is gone, or it has, or should have had, this number.
    pub(super) fn released(&mut self, number: Option<u32>) {
        if let Leaving::Releasing { to, segments, closed } = self.leaving
            && to == number
        {
            self.checked = None;
            self.leaving = match segments {
                0 => Leaving::Settling,
                segments => Leaving::Closing { segments, closed },
            };
        }
    }
}

fn seen<R: IndexReader>(ground: &Ground<'_, R>) -> Seen {
    Seen {
        generation: ground.generations.durable(),
        newest: ground.log.position().segment,
        pressed: ground.pressed,
    }
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
