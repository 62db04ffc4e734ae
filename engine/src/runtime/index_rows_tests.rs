//! Rows come to stand where they belong, and runs of them fill their pages.

use std::collections::BTreeMap;

use heed::{EnvOpenOptions, WithoutTls};
use margate_net::ids::Version;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::index::conformance::put;
use crate::index::live_bytes::LiveBytes;

const MAP: usize = 64 << 20;
const SPACE: Space = Space(7);

/// An index of one table, and what it must hold.
struct Beside {
    env: heed::Env<WithoutTls>,
    table: Table,
    live: LiveBytes,
    model: BTreeMap<u32, Slot>,
    version: u32,
    _folder: TempDir,
}

impl Beside {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory for the test");
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP).max_dbs(1);
        // SAFETY: the folder is the test's own, and nothing else opens it meanwhile.
        let env = unsafe { options.open(folder.path()) }.expect("an environment of our own");
        let mut txn = env.write_txn().expect("the only writer");
        let table = env.create_database(&mut txn, Some("latest")).expect("room");
        txn.commit().expect("room");
        Self {
            env,
            table,
            live: LiveBytes::default(),
            model: BTreeMap::new(),
            version: 0,
            _folder: folder,
        }
    }

    /// Writes these keys in one commit, or deletes them.
    fn commit(&mut self, keys: impl IntoIterator<Item = (u32, bool)>) {
        let mut overlay = Overlay::new();
        for (key, deleted) in keys {
            self.version += 1;
            let slot = if deleted {
                Slot::Deleted(Version(self.version.into()))
            } else {
                put(self.version)
            };
            overlay.insert_newer(SPACE, &key.to_be_bytes(), slot);
            match slot {
                Slot::Put(_) => self.model.insert(key, slot),
                Slot::Deleted(_) => self.model.remove(&key),
            };
        }
        let (mut txn, mut count, mut steps) = (self.env.write_txn().expect("the only writer"), Count::new(self.live), 0);
        let step = |written| {
            steps += 1;
            assert_eq!(written, steps, "each row is a step");
            Ok(())
        };
        write(self.table, &mut txn, &overlay, &mut count, step).expect("room");
        assert_eq!(steps, overlay.len());
        txn.commit().expect("room");
        self.live = count.live;
    }

    fn assert_same(&self) {
        let (txn, mut live) = (self.env.read_txn().expect("a reader"), LiveBytes::default());
        let rows = self.table.iter(&txn).expect("a sound tree").map(|row| row.expect("a sound row"));
        let rows: Vec<_> = rows.map(|(key, row)| (key.to_vec(), row.to_vec())).collect();
        let mut key = Vec::new();
        let expected = self.model.iter().map(|(number, slot)| {
            let Slot::Put(row) = slot else {
                unreachable!("deletes are no rows")
            };
            index_key_into(SPACE, &number.to_be_bytes(), &mut key);
            live.gain(size_of::<u32>(), row);
            (key.clone(), row.encode().to_vec())
        });
        assert!(rows.iter().cloned().eq(expected), "{} rows", rows.len());
        assert_eq!(self.live, live);
    }

    /// The share of the leaf pages that rows fill.
    fn filled(&self) -> f64 {
        let txn = self.env.read_txn().expect("a reader");
        let stat = self.table.stat(&txn).expect("a sound tree");
        let bytes: usize = self
            .table
            .iter(&txn)
            .expect("a sound tree")
            .map(|row| row.map_or(0, |(key, row)| NODE_BYTES + key.len() + row.len()))
            .sum();
        bytes as f64 / (stat.leaf_pages * stat.page_size as usize) as f64
    }
}

/// What LMDB adds to a row in a page.
const NODE_BYTES: usize = 10;

/// Rows in `stretches` parts of the key space, each of which grows by `rows` with every commit.
fn in_stretches(stretches: u32, rows: u32, commits: u32) -> Beside {
    let mut beside = Beside::new();
    for commit in 0..commits {
        let of_stretch = |stretch| (0..rows).map(move |row| (stretch * (u32::MAX / stretches) + commit * rows + row, false));
        beside.commit((0..stretches).flat_map(of_stretch));
    }
    beside.assert_same();
    beside
}

#[test]
fn keys_that_rise_in_many_stretches_fill_their_pages() {
    let filled = in_stretches(16, 1_000, 8).filled();
    assert!(filled > 0.92, "{filled:.2} of the pages");
    let filled = in_stretches(16, 250, 20).filled();
    assert!(filled > 0.85, "{filled:.2} of the pages, in small commits");
}

#[test]
fn runs_between_rows_that_are_written_too_change_nothing() {
    let (mut beside, mut dice) = (Beside::new(), StdRng::seed_from_u64(11));
    for _ in 0..40 {
        // Rows here and there, of which some are deleted, and runs that may begin, lie or end among them.
        let mut keys: Vec<(u32, bool)> = (0..300).map(|_| (dice.random_range(0..200_000), dice.random_bool(0.3))).collect();
        for _ in 0..dice.random_range(0..6) {
            let (first, apart) = (dice.random_range(0..200_000), dice.random_range(1..4));
            let run = (first..).step_by(apart).take(dice.random_range(100..900));
            keys.extend(run.map(|key| (key, dice.random_bool(0.02))));
        }
        beside.commit(keys);
        beside.assert_same();
    }
}
