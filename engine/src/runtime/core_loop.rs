//! One core's executor: collects events, gives them to the machine, carries out its effects.
//!
//! ```text
//!   readers, timers, disk, threads ──push──► inbox ──turn──► Core ──effects──► writers, disk, threads
//! ```
//! One turn takes everything that has gathered. Whatever waits (sockets, disk, timers) waits in a task of its
//! own and comes back as an event, so nothing ever suspends inside the machine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use margate_net::runtime::executor::{sleep, spawn_local, yield_now};

use super::clock;
use super::disk::LogDisk;
use super::index_reader::HeedReader;
use super::index_thread::IndexThread;
use super::links::{Lane, Link};
use super::notify::Notify;
use super::probation::Witness;
use super::segments::{Done, Job, Prewriter};
use super::server::Clients;
use super::slices;
use super::vigil::{Doing, Vigil};
use crate::core::event::{Effect, Effects, Event, Halt, PeerName};
use crate::core::machine::Core;
use crate::core::turn::Stall;
use crate::index::error::IndexError;
use crate::log::flush::Flush;
use crate::types::Nanos;

/// Why a core stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum CoreFailure {
    /// The log could not be written: nothing it holds in memory may be believed any more.
    #[error("writing the log failed: {0}; the node stops, its peers go on. Check the disk, then start it again")]
    LogWrite(#[source] io::Error),
    /// A segment could not be prewritten, and not because the disk is full.
    #[error("preparing a log segment failed: {0}; the node stops, its peers go on. Check the disk, then start it again")]
    Segment(#[source] io::Error),
    /// The index could not be committed.
    #[error("committing the index failed: {0}; the node stops, its peers go on")]
    IndexCommit(#[source] IndexError),
    /// The machine found that it cannot go on.
    #[error(transparent)]
    Halt(#[from] Halt),
}

/// What the tasks of a core share; they all run on its one thread.
pub struct Shared {
    inbox: RefCell<Vec<Event>>,
    /// Bytes that came from sockets and are in the inbox.
    inbox_bytes: Cell<usize>,
    failure: RefCell<Option<CoreFailure>>,
    arrived: Notify,
    timer_changed: Notify,
    /// When the timer will fire next.
    armed: Cell<Nanos>,
    /// When the machine wants a turn.
    deadline: Cell<Option<Nanos>>,
    stopping: Cell<bool>,
}

impl Shared {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Rc<Self> {
        Rc::new(Self {
            inbox: RefCell::default(),
            inbox_bytes: Cell::default(),
            failure: RefCell::default(),
            arrived: Notify::default(),
            timer_changed: Notify::default(),
            armed: Cell::new(Nanos(u64::MAX)),
            deadline: Cell::default(),
            stopping: Cell::default(),
        })
    }

    /// Something happened.
    pub fn push(&self, event: Event) {
        self.inbox.borrow_mut().push(event);
        self.arrived.notify();
    }

    /// Something came from a socket, holding this many bytes.
    pub fn push_sized(&self, event: Event, bytes: usize) {
        self.inbox_bytes.set(self.inbox_bytes.get() + bytes);
        self.push(event);
    }

    /// Bytes that came from sockets and wait for the next turn.
    #[must_use]
    pub fn inbox_bytes(&self) -> usize {
        self.inbox_bytes.get()
    }

    /// All that gathered.
    pub(super) fn take(&self) -> Vec<Event> {
        self.inbox_bytes.set(0);
        std::mem::take(&mut *self.inbox.borrow_mut())
    }

    /// Waits until something happens, and lets the executor's other tasks do theirs: one that always has something to do must not
    /// keep them from it.
    pub(super) async fn arrival(&self) {
        self.arrived.wait().await;
        yield_now().await;
    }

    /// Why it cannot go on, if it cannot; told once.
    pub(super) fn take_failure(&self) -> Option<CoreFailure> {
        self.failure.borrow_mut().take()
    }

    /// The core is told to stop.
    pub fn stop(&self) {
        if !self.stopping.replace(true) {
            self.push(Event::Stop);
        }
    }

    fn fail(&self, failure: CoreFailure) {
        self.failure.borrow_mut().get_or_insert(failure);
        self.arrived.notify();
    }
}

/// Everything a core's effects are carried out with.
pub struct Hands {
    /// Shared with every task.
    pub shared: Rc<Shared>,
    /// The log's files.
    pub disk: Rc<LogDisk>,
    /// The thread that commits to the index.
    pub index: IndexThread,
    /// Hears of the index's commits.
    pub(super) witness: Witness,
    /// The thread that prewrites segments.
    pub prewriter: Prewriter,
    /// Clients' connections.
    pub clients: Rc<Clients>,
    /// Connections to peers.
    pub links: BTreeMap<(PeerName, Lane), Rc<Link>>,
    /// Who watches that the core comes round.
    pub vigil: Arc<Vigil>,
    /// How long a turn may last before it counts as a stall; zero for ever.
    pub stall: Nanos,
}

/// Runs a core until it has stopped or failed. `stop_within` bounds a graceful stop.
///
/// # Errors
/// [`CoreFailure`]: it could not go on.
pub async fn run(core: Rc<RefCell<Core<HeedReader>>>, hands: Hands, tick: Duration, stop_within: Duration) -> Result<(), CoreFailure> {
    // After the threads that serve it were made: they have their own slices.
    if let Err(error) = slices::ask_for_short() {
        tracing::debug!(%error, "the core keeps its time slices");
    }
    let shared = Rc::clone(&hands.shared);
    spawn_timer(Rc::clone(&shared), tick);
    spawn_threads_results(&hands);
    let mut effects = Effects::default();
    let mut stop_by = None;
    loop {
        turn(&core, &hands, &mut effects)?;
        if let Some(failure) = shared.take_failure() {
            return Err(failure);
        }
        if shared.stopping.get() {
            let by = *stop_by.get_or_insert_with(|| clock::monotonic().plus(nanos(stop_within)));
            if core.borrow().is_stopped() || clock::monotonic() > by {
                hands.clients.flush_replies().await;
                return Ok(());
            }
        }
        shared.arrival().await;
    }
}

fn turn(core: &RefCell<Core<HeedReader>>, hands: &Hands, effects: &mut Effects) -> Result<(), Halt> {
    let events = hands.shared.take();
    let moment = clock::moment();
    let mut core = core.borrow_mut();
    for event in events {
        hands.vigil.doing(Doing::Event(event.kind()));
        core.handle(moment, event, effects)?;
        perform(hands, moment.now, effects);
    }
    let handled = clock::monotonic();
    hands.vigil.doing(Doing::EndTurn);
    core.end_turn(moment, effects)?;
    hands.vigil.doing(Doing::Effects);
    perform(hands, moment.now, effects);
    hands.clients.wake_writers();
    hands.index.set_urgency(core.index_urgency());
    hands.vigil.doing(Doing::Tasks);
    if let Some(stall) = core.turn_ended(handled, clock::monotonic(), hands.stall) {
        tell(&stall);
    }
    arm(&hands.shared, core.deadline());
    Ok(())
}

fn tell(stall: &Stall) {
    let millis = |span: Nanos| span.0 / 1_000_000;
    tracing::warn!(
        turn_ms = millis(stall.lasted),
        events_ms = millis(stall.handling),
        events = %stall.work,
        stalls_before = stall.untold,
        "a turn of this core was long: it heard nobody meanwhile"
    );
}

/// Carries effects out; `now` is the moment of the turn that wants them.
fn perform(hands: &Hands, now: Nanos, effects: &mut Effects) {
    for effect in effects.drain() {
        match effect {
            Effect::CommitIndex(generation) => hands.index.commit(generation),
            Effect::DeleteSegment { number } => {
                hands.disk.close(number);
                hands.prewriter.ask(Job::Delete(number));
            }
            Effect::PrepareSegment { number } => hands.prewriter.ask(Job::Prewrite(number)),
            Effect::RecycleSegment { from, to } => {
                hands.disk.close(from);
                hands.prewriter.ask(Job::Recycle(from, to));
            }
            Effect::Read { ticket, position, length } => {
                let (shared, disk) = (Rc::clone(&hands.shared), Rc::clone(&hands.disk));
                spawn_local(async move {
                    let result = disk.read(position, length).await;
                    shared.push(Event::ReadDone { ticket, result });
                })
                .detach();
            }
            Effect::Reply { connection, reply, asked } => hands.clients.reply(connection, reply, (asked, now)),
            Effect::Send { to, batch } => {
                if let Some(link) = hands.links.get(&(to, Lane::Rounds)) {
                    link.send(&batch);
                }
            }
            Effect::SendMember { to, message } => {
                if let Some(link) = hands.links.get(&(to, Lane::Members)) {
                    link.send_member(&message);
                }
            }
            Effect::Write(flush) => write(&hands.shared, &hands.disk, flush),
        }
    }
}

/// Writes a batch; its end comes back as an event.
pub(super) fn write(shared: &Rc<Shared>, disk: &Rc<LogDisk>, flush: Flush) {
    let (shared, disk) = (Rc::clone(shared), Rc::clone(disk));
    spawn_local(async move {
        match disk.write(&flush).await {
            Ok(began) => shared.push(Event::Flushed {
                sequence: flush.sequence,
                lasted: (began, clock::monotonic()),
            }),
            Err(error) => shared.fail(CoreFailure::LogWrite(error)),
        }
    })
    .detach();
}

/// Moves the timer forward if the machine wants a turn before it fires.
fn arm(shared: &Shared, deadline: Option<Nanos>) {
    shared.deadline.set(deadline);
    match deadline {
        Some(due) if due <= clock::monotonic() => shared.arrived.notify(),
        Some(due) if due < shared.armed.get() => shared.timer_changed.notify(),
        Some(_) | None => {}
    }
}

/// Ticks, and turns the machine asked for. A late tick counts once.
fn spawn_timer(shared: Rc<Shared>, tick: Duration) {
    spawn_local(async move {
        let tick = nanos(tick);
        let mut next_tick = clock::monotonic().plus(tick);
        loop {
            let wake = shared.deadline.get().map_or(next_tick, |due| due.min(next_tick));
            shared.armed.set(wake);
            let wait = Duration::from_nanos(wake.since(clock::monotonic()).0);
            future::or(async { sleep(wait).await }, shared.timer_changed.wait()).await;
            let now = clock::monotonic();
            if now >= next_tick {
                shared.push(Event::Tick);
                next_tick = now.plus(tick);
            }
            if shared.deadline.get().is_some_and(|due| due <= now) {
                shared.deadline.set(None);
                shared.arrived.notify();
            }
        }
    })
    .detach();
}

/// Results of the threads come back as events.
fn spawn_threads_results(hands: &Hands) {
    let (shared, outcomes, witness) = (Rc::clone(&hands.shared), hands.index.outcomes().clone(), hands.witness.clone());
    spawn_local(async move {
        while let Ok(outcome) = outcomes.recv_async().await {
            match outcome {
                Ok((generation, churn)) => {
                    witness.committed();
                    shared.push(Event::IndexDone { generation, churn });
                }
                Err(error) => return shared.fail(CoreFailure::IndexCommit(error)),
            }
        }
    })
    .detach();
    spawn_segment_results(&hands.shared, &hands.disk, &hands.prewriter);
}

/// What became of segments comes back as events.
pub(super) fn spawn_segment_results(shared: &Rc<Shared>, disk: &Rc<LogDisk>, prewriter: &Prewriter) {
    let (shared, disk, done) = (Rc::clone(shared), Rc::clone(disk), prewriter.done());
    spawn_local(async move {
        while let Ok(result) = done.recv_async().await {
            let opened = match result {
                Ok(Done::Deleted) => Ok(Event::SegmentDeleted),
                Ok(Done::Free(bytes)) => Ok(Event::DiskFree { bytes }),
                Ok(Done::Ready(segment)) => disk.open_ahead(segment.number).await.map(|()| Event::SegmentReady(segment)),
                Ok(Done::Refused(number)) => Ok(Event::SegmentRefused { number }),
                Err(error) => Err(error),
            };
            match opened {
                Ok(event) => shared.push(event),
                Err(error) => return shared.fail(CoreFailure::Segment(error)),
            }
        }
    })
    .detach();
}

fn nanos(span: Duration) -> Nanos {
    Nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}
