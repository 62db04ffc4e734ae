//! The thread on which a core's index commits, so that LMDB's writes and syncs never block the core.
//!
//! The core sends a generation, goes on, and awaits the outcome. One commit is in flight at a time: the next overlay
//! cannot be frozen before the last is committed. A thread inherits the CPU mask of the one that starts it: start
//! this one before the core is pinned.
//!
//! Not here, on purpose: trying again (the core decides), catching panics (one ends the process through the node's hook).

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::index_rests::SharedUrgency;
use super::index_store::HeedWriter;
use crate::core::generations::Urgency;
use crate::index::{Churn, Generation, IndexError, IndexWriter};

/// Generations waiting, and outcomes waiting: one commit is in flight, so neither ever needs more.
const QUEUE: usize = 1;
/// How long a committed generation is kept for the core to let go of first: whoever does so last frees a whole overlay.
const RETIRE_AFTER: Duration = Duration::from_millis(50);

/// How much less than a core's executor the thread is worth to the scheduler: a commit may take seconds, a client waits for milliseconds.
/// A third of an executor's weight is left to it (sched(7)), so that it keeps up where the CPU is short.
const NICE: i32 = 5;
/// Time between tries to commit to a store that is full.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// What became of a commit: its generation's number and how it moved rows, or why there is none.
pub type CommitOutcome = Result<(u64, Churn), IndexError>;

/// A core's index thread; dropping it finishes the commits it was given.
#[derive(Debug)]
pub struct IndexThread {
    generations: Option<Sender<Generation>>,
    outcomes: Receiver<CommitOutcome>,
    urgency: SharedUrgency,
    thread: Option<JoinHandle<()>>,
}

impl IndexThread {
    /// Starts the thread under a name of at most 15 bytes.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(mut writer: HeedWriter, name: &str) -> io::Result<Self> {
        let urgency = SharedUrgency::default();
        writer.rest_unless(urgency.clone());
        let (generations, incoming) = flume::bounded(QUEUE);
        let (outgoing, outcomes) = flume::bounded(QUEUE);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(writer, &incoming, &outgoing))?;
        Ok(Self {
            generations: Some(generations),
            outcomes,
            urgency,
            thread: Some(thread),
        })
    }

    /// Gives the thread a generation to commit; never blocks.
    ///
    /// # Panics
    /// When earlier outcomes were not taken, or the thread has died: both mean that the core has lost count.
    pub fn commit(&self, generation: Generation) {
        let generations = self.generations.as_ref().expect("only a drop takes the sender");
        match generations.try_send(generation) {
            Ok(()) => {}
            Err(TrySendError::Full(next)) => panic!("generation {} queued before earlier ones were taken", next.number),
            Err(TrySendError::Disconnected(next)) => panic!("the index thread died before generation {}", next.number),
        }
    }

    /// How soon the commit under way should end; if it can wait it leaves the CPU to others.
    pub fn set_urgency(&self, urgency: Urgency) {
        self.urgency.set(urgency);
    }

    /// Where the outcomes arrive, in order; clone it to await them elsewhere.
    #[must_use]
    pub const fn outcomes(&self) -> &Receiver<CommitOutcome> {
        &self.outcomes
    }
}

impl Drop for IndexThread {
    fn drop(&mut self) {
        // Whoever drops it waits for the last commit.
        self.urgency.set(Urgency::Now);
        self.generations = None;
        // Outcomes nobody took must not keep the thread from sending its last ones; they end when it does.
        while self.outcomes.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its hook; to panic again inside a drop would hide it.
            let _ = thread.join();
        }
    }
}

fn serve(mut writer: HeedWriter, incoming: &Receiver<Generation>, outgoing: &Sender<CommitOutcome>) {
    // Of this thread alone, on Linux. Without it commits only disturb more.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the index thread keeps its priority");
    }
    let mut retired = None;
    loop {
        let generation = match next(incoming, &mut retired) {
            Some(generation) => generation,
            None => return,
        };
        let outcome = commit_patiently(&mut writer, &generation, incoming);
        retired = Some(generation);
        if outgoing.send(outcome).is_err() {
            return;
        }
    }
}

/// Commits, waiting out a store or disk that is full: the overlay grows meanwhile until the core refuses writes.
fn commit_patiently(writer: &mut HeedWriter, generation: &Generation, incoming: &Receiver<Generation>) -> CommitOutcome {
    loop {
        match writer.commit(generation) {
            Ok(churn) => return Ok((generation.number, churn)),
            Err(error) if error.pauses_commits() && !incoming.is_disconnected() => {
                tracing::error!(%error, generation = generation.number, "the index takes no more; trying again");
                thread::sleep(FULL_RETRY);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The next generation, `None` at the end. The last one is freed here once the core had time to let go of it.
fn next(incoming: &Receiver<Generation>, retired: &mut Option<Generation>) -> Option<Generation> {
    if retired.is_some() {
        let next = incoming.recv_timeout(RETIRE_AFTER);
        *retired = None;
        match next {
            Ok(generation) => return Some(generation),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    incoming.recv().ok()
}

#[cfg(test)]
#[path = "index_thread_tests.rs"]
mod tests;
