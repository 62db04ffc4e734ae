//! Random applies, freezes, commits and crashes, compared with a plain map after every step.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{Space, Version};
use margate_net::message::Direction::{self, Forward, Reverse};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::conformance::{TestStore, core_marks, put, replica_marks};
use super::overlay::Overlay;
use super::row::{Row, Slot};
use super::store::{Generation, IndexReader, IndexWriter};
use super::view::{Index, OwnedRange};

type Key = (u32, Vec<u8>);

#[derive(Clone, Debug)]
enum Step {
    Put(Key),
    Delete(Key),
    /// An effect as old as the one memory holds, if it holds one.
    Again(Key),
    Freeze,
    Commit,
    Crash,
    Scan {
        space: u32,
        low: Vec<u8>,
        high: Vec<u8>,
        reverse: bool,
        most: usize,
    },
}

/// What one moment held: live versions, and how many effects led there.
#[derive(Clone, Debug, Default)]
struct Moment {
    live: BTreeMap<Key, u64>,
    effects: u32,
}

/// The index under test beside the plain map.
struct Pair<S: TestStore> {
    store: S,
    /// `None` only while the process is down: a store is open once at a time.
    process: Option<(Index<S::Reader>, S::Writer)>,
    now: Moment,
    /// The moment, and the generation, being committed.
    frozen: Option<(Moment, Generation)>,
    durable: Moment,
    /// Newest version of each key that an overlay holds: active, frozen.
    active: BTreeMap<Key, u32>,
    committing: BTreeMap<Key, u32>,
    generation: u64,
}

/// Compares a store with the map over so many random histories.
pub(crate) fn run<S: TestStore>(cases: u32, new: impl Fn() -> S) {
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    });
    let histories = proptest::collection::vec(step(), 1..120);
    let outcome = runner.run(&histories, |steps| {
        let mut pair = Pair::new(new());
        for step in steps {
            pair.take(step);
            pair.compare_everything();
        }
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => key().prop_map(Step::Put),
        5 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::Again),
        4 => Just(Step::Freeze),
        4 => Just(Step::Commit),
        1 => Just(Step::Crash),
        4 => (0u32..2, bytes(), bytes(), any::<bool>(), 1usize..9).prop_map(|(space, low, high, reverse, most)| Step::Scan {
            space, low, high, reverse, most
        }),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    (0u32..2, bytes())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(255)], 0..3)
}

fn whole(space: u32) -> OwnedRange {
    OwnedRange {
        space: Space(space),
        low: Bytes::new(),
        high: Bytes::new(),
    }
}

impl<S: TestStore> Pair<S> {
    fn new(mut store: S) -> Self {
        let (reader, writer) = store.open();
        Self {
            store,
            process: Some((Index::new(reader), writer)),
            now: Moment::default(),
            frozen: None,
            durable: Moment::default(),
            active: BTreeMap::new(),
            committing: BTreeMap::new(),
            generation: 0,
        }
    }

    fn running(&mut self) -> &mut (Index<S::Reader>, S::Writer) {
        self.process.as_mut().expect("down only inside a crash")
    }

    fn index(&self) -> &Index<S::Reader> {
        &self.process.as_ref().expect("down only inside a crash").0
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put(key) => self.apply(key, true),
            Step::Delete(key) => self.apply(key, false),
            Step::Again(key) => self.apply_again(&key),
            Step::Freeze => self.freeze(),
            Step::Commit => self.commit(),
            Step::Crash => self.crash(),
            Step::Scan {
                space,
                low,
                high,
                reverse,
                most,
            } => self.compare_scan(space, &low, &high, if reverse { Reverse } else { Forward }, most),
        }
    }

    fn apply(&mut self, key: Key, lives: bool) {
        self.now.effects += 1;
        let version = self.now.effects;
        let slot = if lives {
            put(version)
        } else {
            Slot::Deleted(Version(version.into()))
        };
        assert!(self.running().0.apply(&whole(key.0), &key.1, slot), "a newer version is written");
        self.active.insert(key.clone(), version);
        if lives {
            self.now.live.insert(key, version.into());
        } else {
            self.now.live.remove(&key);
        }
    }

    fn apply_again(&mut self, key: &Key) {
        let known = self.active.get(key).or_else(|| self.committing.get(key));
        let Some(version) = known.copied() else {
            return;
        };
        assert!(
            !self.running().0.apply(&whole(key.0), &key.1, put(version)),
            "an equal version is not written"
        );
    }

    fn freeze(&mut self) {
        let expected = self.frozen.is_none() && !self.active.is_empty();
        let rows = self.running().0.freeze();
        assert_eq!(rows.is_some(), expected);
        if let Some(rows) = rows {
            self.committing = std::mem::take(&mut self.active);
            self.frozen = Some((self.now.clone(), self.next_generation(rows)));
        }
    }

    fn next_generation(&mut self, rows: Arc<Overlay>) -> Generation {
        self.generation += 1;
        Generation {
            number: self.generation,
            rows,
            core: core_marks(self.generation),
            replicas: vec![replica_marks(1, self.now.effects.into())],
            positions: Vec::new(),
            cleared: Vec::new(),
        }
    }

    fn commit(&mut self) {
        let Some((moment, generation)) = self.frozen.take() else { return };
        self.running().1.commit(&generation).expect("room");
        self.compare_everything();
        self.running().0.committed().expect("a healthy store");
        self.committing.clear();
        self.durable = moment;
    }

    fn crash(&mut self) {
        self.process = None;
        let (reader, writer) = self.store.open();
        self.process = Some((Index::new(reader), writer));
        self.frozen = None;
        self.active.clear();
        self.committing.clear();
        self.now = self.durable.clone();
        let marks = self.index().reader().replica_marks().expect("a healthy store");
        let applied = marks.first().map_or(0, |marks| marks.applied.0);
        assert_eq!(applied, u64::from(self.now.effects), "marks and contents move together");
    }

    fn compare_everything(&self) {
        assert_eq!(self.index().overlay_rows(), self.active.len() + self.committing.len());
        for space in 0..2 {
            for direction in [Forward, Reverse] {
                self.compare_scan(space, b"", b"", direction, usize::MAX);
            }
        }
        for (key, version) in &self.now.live {
            let slot = self.index().get(Space(key.0), &key.1).expect("a healthy store");
            assert_eq!(slot.and_then(|slot| slot.row()).map(|row| row.version.0), Some(*version), "{key:?}");
        }
        for (key, version) in self.active.iter().filter(|(key, _)| !self.now.live.contains_key(*key)) {
            let slot = self.index().get(Space(key.0), &key.1).expect("a healthy store");
            assert_eq!(slot, Some(Slot::Deleted(Version((*version).into()))), "{key:?}");
        }
    }

    fn compare_scan(&self, space: u32, low: &[u8], high: &[u8], direction: Direction, most: usize) {
        let inside = |(key, _): &(&Key, &u64)| key.0 == space && key.1[..] >= *low && (high.is_empty() || key.1[..] < *high);
        let mut expected: Vec<_> = self
            .now
            .live
            .iter()
            .filter(inside)
            .map(|(key, version)| (key.1.clone(), *version))
            .collect();
        if direction == Reverse {
            expected.reverse();
        }
        expected.truncate(most);
        let mut found = Vec::new();
        let mut visit = |key: &[u8], row: Row| {
            found.push((key.to_vec(), row.version.0));
            if found.len() == most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        self.index()
            .scan(Space(space), low, high, direction, &mut visit)
            .expect("a healthy store");
        assert_eq!(found, expected, "{direction:?} {low:?} {high:?}");
    }
}
