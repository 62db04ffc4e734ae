//! Random applies, moves, freezes, commits, clearings, truncations and crashes, compared with a plain map after every step.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{LogIndex, Space, Version};
use margate_net::message::Direction::{self, Forward, Reverse};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::conformance::{TestStore, core_marks, name, put, replica_marks, row};
use super::overlay::Overlay;
use super::row::{Row, Slot};
use super::store::{Generation, IndexReader, IndexWriter, ReplicaMarks};
use super::view::{Index, OwnedRange};
use crate::log::effects::effect_bytes;
use crate::types::Position;

type Key = (u32, Vec<u8>);

#[derive(Clone, Debug)]
enum Step {
    Put(Key),
    Delete(Key),
    /// An effect as old as the one memory holds, if it holds one.
    Again(Key),
    /// Points a key elsewhere; `stale`: from a place where it is not.
    Relocate {
        key: Key,
        stale: bool,
    },
    /// The next generation clears a space.
    Clear(u32),
    /// The next generation has all but so many last entries truncated.
    Truncate(u64),
    Fork,
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

/// What one moment held: live rows, noted entries and their generation, and how many effects led there.
#[derive(Clone, Debug, Default)]
struct Moment {
    live: BTreeMap<Key, Row>,
    positions: BTreeMap<u64, u32>,
    truncated: u64,
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
    /// A reader that stays, and the moment it stays at.
    fork: Option<(Moment, S::Reader)>,
    /// Spaces the next generation clears.
    clearing: Vec<u32>,
    /// Moves ever made; each goes to a place of its own.
    moves: u32,
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
        3 => (key(), prop::bool::weighted(0.2)).prop_map(|(key, stale)| Step::Relocate { key, stale }),
        1 => (0u32..2).prop_map(Step::Clear),
        1 => (0u64..9).prop_map(Step::Truncate),
        1 => Just(Step::Fork),
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
            fork: None,
            clearing: Vec::new(),
            moves: 0,
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
            Step::Relocate { key, stale } => self.relocate(&key, stale),
            Step::Clear(space) => self.clearing.push(space),
            Step::Truncate(kept) => {
                let applied: u64 = self.now.effects.into();
                self.now.truncated = self.now.truncated.max(applied.saturating_sub(kept));
            }
            Step::Fork => self.fork = Some((self.durable.clone(), self.index().reader().fork().expect("a reader is free"))),
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
            self.now.live.insert(key, row(version));
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

    fn relocate(&mut self, key: &Key, stale: bool) {
        self.moves += 1;
        let held = self.now.live.get(key).copied();
        let (segment, offset) = (2, self.moves);
        let row = Row {
            position: Position { segment, offset },
            ..held.unwrap_or_else(|| row(1))
        };
        let from = match held {
            Some(held) if !stale => held.position,
            Some(_) | None => Position { segment: 9, offset },
        };
        let moved = self
            .running()
            .0
            .relocate(&whole(key.0), &key.1, row, from)
            .expect("a healthy store");
        assert_eq!(moved, held.is_some() && !stale);
        if moved {
            self.active
                .insert(key.clone(), u32::try_from(row.version.0).expect("an effect's number"));
            self.now.live.insert(key.clone(), row);
        }
    }

    fn freeze(&mut self) {
        let expected = self.frozen.is_none() && !self.active.is_empty();
        let rows = self.running().0.freeze();
        assert_eq!(rows.is_some(), expected);
        if let Some(rows) = rows {
            self.committing = std::mem::take(&mut self.active);
            let generation = self.next_generation(rows);
            self.frozen = Some((self.now.clone(), generation));
        }
    }

    fn next_generation(&mut self, rows: Arc<Overlay>) -> Generation {
        self.generation += 1;
        let (applied, offset) = (u64::from(self.now.effects), u32::try_from(self.generation).expect("few"));
        let truncated = self.now.truncated;
        self.now.positions.insert(applied, offset);
        self.now.positions.retain(|index, _| *index > truncated);
        let marks = ReplicaMarks {
            truncated: LogIndex(truncated),
            ..replica_marks(1, applied)
        };
        Generation {
            number: self.generation,
            rows,
            core: core_marks(self.generation),
            replicas: vec![marks],
            positions: vec![(name(1), LogIndex(applied), Position { segment: 1, offset })],
            cleared: std::mem::take(&mut self.clearing).into_iter().map(Space).collect(),
        }
    }

    fn commit(&mut self) {
        let Some((mut moment, generation)) = self.frozen.take() else {
            return;
        };
        let churn = self.running().1.commit(&generation).expect("room");
        self.compare_everything();
        self.running().0.committed().expect("a healthy store");
        self.committing.clear();
        let kept = |key: &Key| !generation.cleared.contains(&Space(key.0));
        moment.live.retain(|key, _| kept(key));
        self.now.live.retain(|key, _| kept(key) || self.active.contains_key(key));
        let moved: Vec<_> = churn.iter().filter(|(_, rows)| *rows != 0).collect();
        assert_eq!(moved, moves(&self.durable.live, &moment.live));
        self.durable = moment;
    }

    fn crash(&mut self) {
        (self.process, self.fork) = (None, None);
        self.clearing.clear();
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
        for (key, row) in &self.now.live {
            let slot = self.index().get(Space(key.0), &key.1).expect("a healthy store");
            assert_eq!(slot, Some(Slot::Put(*row)), "{key:?}");
        }
        for (key, version) in self.active.iter().filter(|(key, _)| !self.now.live.contains_key(*key)) {
            let slot = self.index().get(Space(key.0), &key.1).expect("a healthy store");
            assert_eq!(slot, Some(Slot::Deleted(Version((*version).into()))), "{key:?}");
        }
        compare_committed(self.index().reader(), &self.durable);
        if let Some((moment, fork)) = &self.fork {
            compare_committed(fork, moment);
        }
    }

    fn compare_scan(&self, space: u32, low: &[u8], high: &[u8], direction: Direction, most: usize) {
        let inside = |(key, _): &(&Key, &Row)| key.0 == space && key.1[..] >= *low && (high.is_empty() || key.1[..] < *high);
        let mut expected: Vec<_> = self
            .now
            .live
            .iter()
            .filter(inside)
            .map(|(key, row)| (key.1.clone(), *row))
            .collect();
        if direction == Reverse {
            expected.reverse();
        }
        expected.truncate(most);
        let mut found = Vec::new();
        let mut visit = |key: &[u8], row: Row| {
            found.push((key.to_vec(), row));
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

/// Rows that point to each segment, more or fewer than before; counted anew.
fn moves(before: &BTreeMap<Key, Row>, after: &BTreeMap<Key, Row>) -> Vec<(u32, i64)> {
    let mut moved: BTreeMap<u32, i64> = BTreeMap::new();
    before.values().for_each(|row| *moved.entry(row.position.segment).or_default() -= 1);
    after.values().for_each(|row| *moved.entry(row.position.segment).or_default() += 1);
    moved.into_iter().filter(|(_, rows)| *rows != 0).collect()
}

/// Compares what one committed generation holds, its log bytes counted anew.
fn compare_committed(reader: &impl IndexReader, moment: &Moment) {
    let (mut rows, mut bytes) = (BTreeMap::new(), 0);
    for space in 0..2 {
        let mut visit = |key: &[u8], row: Row| {
            bytes += effect_bytes(key.len(), row.size);
            rows.insert((space, key.to_vec()), row);
            ControlFlow::Continue(())
        };
        reader.scan(Space(space), b"", b"", Forward, &mut visit).expect("a healthy store");
    }
    assert_eq!(rows, moment.live);
    assert_eq!(reader.live_bytes().expect("a healthy store"), bytes);
    let mut spaces: Vec<_> = rows.keys().map(|key| Space(key.0)).collect();
    spaces.dedup();
    assert_eq!(reader.spaces().expect("a healthy store"), spaces);
    for index in 0..=u64::from(moment.effects) {
        let found = reader.entry_position(name(1), LogIndex(index)).expect("a healthy store");
        let expected = moment.positions.range(..=index).next_back();
        assert_eq!(
            found.map(|(index, at)| (index.0, at.offset)),
            expected.map(|(index, offset)| (*index, *offset))
        );
    }
}
