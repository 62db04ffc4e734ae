//! Whether an executor comes round: what it says of itself, and what the thread that wakes it makes of that.
//!
//! ```text
//!   executor, whenever its first future is polled: notes the beat it is in
//!   pulse, every 20 ms: the beat before was noted ─► nothing to do
//!                       it was not ─► wakes that future; and if it was woken already, and those before were not noted: it is stuck
//! ```
//! Beats are counted, not time: who stops the whole process stops the pulse too, and that is nobody's fault. On its own thread a core
//! pays one relaxed store for each event and for each beat.
//!
//! Not here, on purpose: the thread (`pulse`), turns that were long but are over (`core::turn`).

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::clock;
use crate::core::event::EventKind;
use crate::types::Nanos;

/// Time between two beats: two of them are a tenth of the shortest election timeout, so that one that does not come round is known before it costs an election.
pub(super) const EVERY: Duration = Duration::from_millis(20);
/// Beats between two times that a stuck core is told: ten seconds.
const TELL_EVERY_BEATS: u32 = 500;

/// What one executor's threads know of each other.
#[derive(Debug, Default)]
pub struct Vigil {
    /// Beats so far, and the last one that the executor has noted.
    beats: AtomicU32,
    noted: AtomicU32,
    /// A [`Doing`].
    doing: AtomicU8,
    /// Since when it has been stuck; zero while it is not.
    stuck_since: AtomicU64,
    /// How often it was.
    stuck_times: AtomicU64,
}

/// What an executor is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Tasks beside its turns: sockets, timers, nothing.
    Tasks,
    /// Ending a turn: proposing, applying, answering.
    EndTurn,
    /// Carrying out what a turn wants.
    Effects,
    /// Handling an event.
    Event(EventKind),
}

/// Missed beats in a row, as the pulse counts them.
#[derive(Debug, Default)]
pub(super) struct Watchman {
    /// Beats since the executor was woken, if it has not come round since.
    missed: Option<u32>,
    /// CPU time that the thread had used when it was woken.
    cpu: Nanos,
    /// Beats since one was told.
    since_told: Option<u32>,
    /// Times that were not told.
    untold: u64,
}

/// What a beat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// The executor has come round since the last one: it need not be woken.
    Noted,
    /// It has not: it is to be woken.
    Missed,
    /// It does not come round, which is to be told; it is to be woken, too.
    Stuck(Stuck),
}

/// A core does not come round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// For so long, at least.
    pub(super) for_at_least: Duration,
    /// CPU time it has used meanwhile: next to none if it waits for a disk, a page or a CPU.
    pub(super) cpu: Nanos,
    /// What it is doing.
    pub(super) doing: Doing,
    /// Other times since it was told last.
    pub(super) untold: u64,
}

impl Doing {
    const EVENTS_FROM: u8 = 3;

    const fn code(self) -> u8 {
        match self {
            Self::Tasks => 0,
            Self::EndTurn => 1,
            Self::Effects => 2,
            Self::Event(kind) => Self::EVENTS_FROM + kind as u8,
        }
    }

    fn from_code(code: u8) -> Self {
        let others = [Self::Tasks, Self::EndTurn, Self::Effects];
        let all = others.into_iter().chain(EventKind::ALL.map(Self::Event));
        let found = all.into_iter().find(|doing| doing.code() == code);
        found.unwrap_or(Self::Tasks)
    }
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tasks => f.write_str("tasks beside its turns"),
            Self::EndTurn => f.write_str("the end of a turn"),
            Self::Effects => f.write_str("what a turn wants done"),
            Self::Event(kind) => write!(f, "an event: {}", kind.name()),
        }
    }
}

impl Vigil {
    /// The executor says what it begins to do.
    pub fn doing(&self, doing: Doing) {
        self.doing.store(doing.code(), Ordering::Relaxed);
    }

    /// The executor's first future was polled.
    pub(super) fn note(&self) {
        let beats = self.beats.load(Ordering::Relaxed);
        if self.noted.load(Ordering::Relaxed) != beats {
            self.noted.store(beats, Ordering::Relaxed);
        }
    }

    /// For how long it has been stuck, if it is.
    #[must_use]
    pub fn stuck_for(&self) -> Option<Nanos> {
        let since = self.stuck_since.load(Ordering::Relaxed);
        (since != 0).then(|| clock::monotonic().since(Nanos(since)))
    }

    /// How often it was.
    #[must_use]
    pub fn stuck_times(&self) -> u64 {
        self.stuck_times.load(Ordering::Relaxed)
    }

    /// What it was doing when it said so last.
    #[must_use]
    pub fn does(&self) -> Doing {
        Doing::from_code(self.doing.load(Ordering::Relaxed))
    }

    /// The pulse beats. Stuck is told after `bound`, zero is for ever; `cpu` says how much time the thread has used.
    pub(super) fn beat(&self, watchman: &mut Watchman, bound: Duration, cpu: impl Fn() -> Nanos) -> Beat {
        let beats = self.beats.load(Ordering::Relaxed);
        let noted = self.noted.load(Ordering::Relaxed) == beats;
        self.beats.store(beats.wrapping_add(1), Ordering::Relaxed);
        watchman.since_told = watchman.since_told.map(|beats| beats.saturating_add(1));
        if noted {
            watchman.missed = None;
            self.stuck_since.store(0, Ordering::Relaxed);
            return Beat::Noted;
        }
        let Some(missed) = watchman.missed else {
            // Most likely there was nothing to do.
            (watchman.missed, watchman.cpu) = (Some(0), cpu());
            return Beat::Missed;
        };
        let missed = missed.saturating_add(1);
        watchman.missed = Some(missed);
        let for_at_least = EVERY.saturating_mul(missed);
        let already = self.stuck_since.load(Ordering::Relaxed) != 0;
        if bound.is_zero() || for_at_least <= bound || already {
            return Beat::Missed;
        }
        let since = clock::monotonic()
            .0
            .saturating_sub(u64::try_from(for_at_least.as_nanos()).unwrap_or(u64::MAX));
        self.stuck_since.store(since.max(1), Ordering::Relaxed);
        self.stuck_times.fetch_add(1, Ordering::Relaxed);
        if watchman.since_told.is_some_and(|beats| beats < TELL_EVERY_BEATS) {
            watchman.untold += 1;
            return Beat::Missed;
        }
        watchman.since_told = Some(0);
        Beat::Stuck(Stuck {
            for_at_least,
            cpu: cpu().since(watchman.cpu),
            doing: self.does(),
            untold: std::mem::take(&mut watchman.untold),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(50);

    fn beats(vigil: &Vigil, watchman: &mut Watchman, count: u32) -> Vec<Stuck> {
        let told = (0..count).map(|_| match vigil.beat(watchman, BOUND, || Nanos(7)) {
            Beat::Stuck(stuck) => Some(stuck),
            Beat::Noted | Beat::Missed => None,
        });
        told.flatten().collect()
    }

    #[test]
    fn who_came_round_by_itself_is_not_woken_and_who_did_not_always_is() {
        let (vigil, mut watchman) = (Vigil::default(), Watchman::default());
        let mut beat = || vigil.beat(&mut watchman, Duration::ZERO, || Nanos(7));
        for _ in 0..3 {
            assert_eq!(beat(), Beat::Noted);
            vigil.note();
        }
        assert_eq!(beat(), Beat::Noted, "what was noted before this beat is of the one before");
        assert_eq!([beat(), beat(), beat()], [Beat::Missed; 3]);
        vigil.note();
        assert_eq!([beat(), beat()], [Beat::Noted, Beat::Missed]);
    }

    #[test]
    fn a_core_that_misses_beats_is_stuck_until_it_notes_one() {
        let (vigil, mut watchman) = (Vigil::default(), Watchman::default());
        for _ in 0..10 {
            assert_eq!(beats(&vigil, &mut watchman, 1), []);
            vigil.note();
        }
        vigil.doing(Doing::Event(EventKind::Requests));
        assert_eq!(beats(&vigil, &mut watchman, 3), [], "40 ms since it was woken are within the bound");
        assert!(vigil.stuck_for().is_none());
        let told = beats(&vigil, &mut watchman, 5);
        let told: Vec<_> = told.iter().map(|stuck| (stuck.for_at_least, stuck.doing.to_string())).collect();
        assert_eq!(told, [(Duration::from_millis(60), "an event: requests".to_owned())], "once");
        assert!(vigil.stuck_for().is_some() && vigil.stuck_times() == 1);
        vigil.note();
        assert_eq!(beats(&vigil, &mut watchman, 1), []);
        assert!(vigil.stuck_for().is_none());
    }

    #[test]
    fn what_comes_soon_again_is_counted_and_told_later() {
        let (vigil, mut watchman) = (Vigil::default(), Watchman::default());
        let mut stuck = |notes: u32| {
            let told = beats(&vigil, &mut watchman, 5);
            for _ in 0..notes {
                vigil.note();
                assert_eq!(beats(&vigil, &mut watchman, 1), []);
            }
            vigil.note();
            told
        };
        assert_eq!(stuck(1).len(), 1);
        assert_eq!((stuck(1).len(), stuck(TELL_EVERY_BEATS).len()), (0, 0));
        assert_eq!(stuck(1).first().map(|stuck| stuck.untold), Some(2));
        assert_eq!(vigil.stuck_times(), 4);
    }

    #[test]
    fn every_activity_has_a_code_of_its_own() {
        let others = [Doing::Tasks, Doing::EndTurn, Doing::Effects];
        for doing in others.into_iter().chain(EventKind::ALL.map(Doing::Event)) {
            assert_eq!(Doing::from_code(doing.code()), doing);
        }
    }
}
