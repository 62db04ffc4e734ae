//! The first while of serving with something that failed before: an index that a start died over (what rots in it may show only when
//! somebody asks for it), or a replica whose raft panicked.
//!
//! It is acquitted by a while of serving, an index also by the first generation that the running core commits to it. What a graceful
//! stop before that says is for whoever began the trial. A thread waits for it, so that no file is touched on the core.
//!
//! A process that ends in this while without a word was killed by somebody, or by a rotten page, and nobody can say
//! by which from what is left of it. They differ in how often they come: a page kills at every start, people and
//! power cuts do not. So such an end counts against the index, but a third of a start that never served.
//!
//! Not here, on purpose: the counts (`index_trials`, `suspects`).

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flume::{Receiver, RecvTimeoutError, Sender};

/// The first thing that happens is all that matters.
const QUEUE: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Happened {
    Committed,
    Ended,
}

/// What failed before, and may have been innocent.
pub(super) trait OnTrial: Clone + Send + 'static {
    /// Serving that acquits it.
    const ACQUITTED_AFTER: Duration;

    /// All that was counted is forgotten.
    ///
    /// # Errors
    /// The system's, from changing files.
    fn acquit(&mut self) -> io::Result<()>;
}

/// Something on trial while its core serves.
#[derive(Debug)]
pub(super) struct Probation<T> {
    happened: Sender<Happened>,
    thread: JoinHandle<T>,
}

/// Tells that the core has committed to its index.
#[derive(Clone, Debug)]
pub(super) struct Witness(Sender<Happened>);

impl Witness {
    /// A generation was committed.
    pub(super) fn committed(&self) {
        // Whoever has heard of one already does not listen any more.
        let _ = self.0.try_send(Happened::Committed);
    }
}

impl<T: OnTrial> Probation<T> {
    /// Begins, on a thread with a name of at most 15 bytes.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn begin(trial: &T, name: &str) -> io::Result<Self> {
        let (happened, events) = flume::bounded(QUEUE);
        let trial = trial.clone();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || watch(trial, &events, T::ACQUITTED_AFTER))?;
        Ok(Self { happened, thread })
    }

    /// For whoever sees the commits.
    pub(super) fn witness(&self) -> Witness {
        Witness(self.happened.clone())
    }

    /// The core serves no more: what is known by now.
    pub(super) fn end(self, trial: &mut T) {
        // If it is full, a commit is on its way, which acquits as well; if nobody listens, that is done.
        let _ = self.happened.try_send(Happened::Ended);
        // A panic of the thread was reported by its hook.
        if let Ok(watched) = self.thread.join() {
            *trial = watched;
        }
    }
}

fn watch<T: OnTrial>(mut trial: T, events: &Receiver<Happened>, patience: Duration) -> T {
    match events.recv_timeout(patience) {
        Ok(Happened::Committed) | Err(RecvTimeoutError::Timeout) => {
            if let Err(error) = trial.acquit() {
                tracing::error!(%error, "what was counted against a former start cannot be removed; check the data directory's disk and permissions");
            }
        }
        Ok(Happened::Ended) | Err(RecvTimeoutError::Disconnected) => {}
    }
    trial
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::index_trials::IndexTrial;
    use super::*;

    const NAME: &str = "mgt-trial-test";

    fn serving(core: &Path) -> IndexTrial {
        let index = core.join("index");
        fs::create_dir_all(&index).expect("a folder");
        let trial = IndexTrial::begin(&index).expect("it is counted");
        trial.served().expect("it is counted");
        trial
    }

    fn is_counted(core: &Path) -> bool {
        core.join("index.failed-starts").exists()
    }

    #[test]
    fn the_first_commit_acquits_and_later_ones_are_nothing() {
        let core = tempfile::tempdir().expect("a folder");
        let mut trial = serving(core.path());
        let probation = Probation::begin(&trial, NAME).expect("a thread");
        let witness = probation.witness();
        (0..9).for_each(|_| witness.committed());
        probation.end(&mut trial);
        assert!(!is_counted(core.path()));
        witness.committed();
    }

    #[test]
    fn a_while_of_serving_acquits_too() {
        let core = tempfile::tempdir().expect("a folder");
        let (_happened, events) = flume::bounded(QUEUE);
        watch(serving(core.path()), &events, Duration::ZERO);
        assert!(!is_counted(core.path()));
    }

    #[test]
    fn an_end_before_that_acquits_nobody() {
        let core = tempfile::tempdir().expect("a folder");
        let mut trial = serving(core.path());
        let probation = Probation::begin(&trial, NAME).expect("a thread");
        let witness = probation.witness();
        probation.end(&mut trial);
        assert!(is_counted(core.path()));
        witness.committed();
        assert!(is_counted(core.path()));
    }
}
