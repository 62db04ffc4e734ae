//! What happens when a thread panics, before the process ends as it always does.
//!
//! The raft crate panics where it finds that something cannot be. Most of that is in a log, and would be found again by every start, so
//! the panic is noted against the replica whose raft was being called. All other panics are left alone.
//!
//! Not here, on purpose: ending the process (the profile, and the binary's own hook), what the note is good for (`suspects`).

use std::cell::RefCell;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::path::PathBuf;
use std::sync::Once;

use super::index_trials::IndexTrial;
use super::index_verdict::Verdict;
use super::suspects;
use crate::consensus::called::called;

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

/// Whose panics this thread's are.
struct Watched {
    suspects: PathBuf,
    starting: Option<IndexTrial>,
}

/// From now on panics of raft are noted, on threads that say where; then comes what was to come before.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let next = take_hook();
        set_hook(Box::new(move |panic| {
            note(panic);
            next(panic);
        }));
    });
}

/// This thread is a core's, and notes them in this file. If raft ends its start, that says nothing of the index on trial.
pub(super) fn watch(suspects: PathBuf, starting: Option<IndexTrial>) {
    WATCHED.set(Some(Watched { suspects, starting }));
}

fn note(panic: &PanicHookInfo<'_>) {
    let Some(name) = called() else { return };
    let place = panic.location().map_or_else(String::new, |location| format!(" at {location}"));
    let message = format!("{}{place}", panic.payload_as_str().unwrap_or("raft panicked"));
    // A panic in here would end the process before it has said why.
    let noted = WATCHED.try_with(|watched| {
        let watched = watched.try_borrow().ok()?;
        let watched = watched.as_ref()?;
        let index = watched.starting.clone().map_or(Ok(()), |trial| trial.end(Verdict::Innocent));
        Some(suspects::note(&watched.suspects, name, &message).and(index))
    });
    if let Ok(Some(Err(error))) = noted {
        tracing::error!(%name, %error, "a panic of raft could not be noted; check the data directory's disk and permissions");
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use margate_net::ids::{LogIndex, ReplicaId, ShardId, Term};

    use super::super::suspects::{PANICS_MAX, Suspects};
    use super::*;
    use crate::consensus::group::{Group, GroupConfig, RaftTicks};
    use crate::consensus::window::RestoredLog;
    use crate::shard::members::Members;
    use crate::types::{HardState, ReplicaName};

    const NAME: ReplicaName = ReplicaName {
        shard: ShardId(3),
        replica: ReplicaId(1),
    };

    /// On a thread of its own, as a core's start: a log whose end raft finds to lie before what is committed.
    fn panics_in_raft(core: &Path) {
        let (file, index) = (core.join("SUSPECT"), core.join("index"));
        let start = move || {
            install();
            let trial = IndexTrial::begin(&index).expect("it is counted");
            watch(file, Some(trial));
            let config = GroupConfig {
                name: NAME,
                members: Members::of(vec![NAME.replica]),
                ticks: RaftTicks::of_election(10),
                quiet_start: false,
                steps_lost: false,
                keeps_promises: true,
                preferred: false,
                seed: 1,
            };
            let restored = RestoredLog {
                hard_state: HardState {
                    term: Term(1),
                    vote: ReplicaId(0),
                },
                commit: LogIndex(9),
                ..RestoredLog::default()
            };
            Group::new(&config, restored)
        };
        let started = std::thread::spawn(start).join();
        assert!(started.is_err(), "raft takes a commit beyond its log");
    }

    #[test]
    fn a_panic_of_raft_is_noted_against_its_replica_and_not_its_index() {
        let core = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(core.path().join("index")).expect("a folder");
        let file = core.path().join("SUSPECT");
        for panics in 1..=PANICS_MAX {
            assert!(Suspects::load(&file).expect("a file").condemned().is_empty());
            panics_in_raft(core.path());
            let text = std::fs::read_to_string(&file).expect("a note");
            assert_eq!(text.lines().filter(|line| line.starts_with("3 1 ")).count(), panics, "{text}");
        }
        let suspects = Suspects::load(&file).expect("a file");
        let condemned = suspects.condemned();
        assert_eq!(condemned.keys().collect::<Vec<_>>(), [&NAME]);
        assert!(condemned[&NAME].contains("out of range"), "{condemned:?}");
        assert!(!core.path().join("index.failed-starts").exists());
    }

    #[test]
    fn a_panic_of_anything_else_is_nobodys() {
        let core = tempfile::tempdir().expect("a folder");
        let file = core.path().join("SUSPECT");
        install();
        watch(file.clone(), None);
        assert!(catch_unwind(AssertUnwindSafe(|| panic!("a test's own"))).is_err());
        assert!(!file.exists());
    }
}
