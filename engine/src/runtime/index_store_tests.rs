//! LMDB keeps the store's promises, through restarts too, and refuses what it must.

use std::collections::BTreeMap;

use margate_net::ids::{ClusterId, DirectoryId, Space, Version};
use margate_net::limits::KEY_BYTES_MAX;
use margate_net::message::Direction;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::index::conformance::{self, SPACE, TestStore, generation, put, replica_marks};
use crate::index::live_bytes::LIVE_BYTES_KEY;
use crate::index::marks::{FORMAT_VERSION, MetaItem};
use crate::index::row::{ROW_BYTES, RowError, index_key};
use crate::index::{Index, IndexReader, OwnedRange, Slot, differential};

const OURS: Identity = Identity {
    cluster: ClusterId(1),
    directory: DirectoryId(2),
};
const MAP: usize = 64 << 20;

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory for the test"))
    }

    fn opened(&self) -> (HeedReader, HeedWriter) {
        HeedIndex::open(self.0.path(), MAP, OURS).expect("an index of our own")
    }

    fn refused(&self, identity: Identity) -> IndexError {
        HeedIndex::open(self.0.path(), MAP, identity).expect_err("not ours to open")
    }
}

impl TestStore for OnDisk {
    type Reader = HeedReader;
    type Writer = HeedWriter;

    fn open(&mut self) -> (HeedReader, HeedWriter) {
        self.opened()
    }
}

#[test]
fn keeps_every_promise() {
    conformance::run(OnDisk::new);
}

#[test]
fn matches_a_plain_map() {
    differential::run(32, OnDisk::new);
}

#[test]
fn another_cluster_or_directory_is_refused_and_changes_nothing() {
    let disk = OnDisk::new();
    drop(disk.opened());
    let (cluster, directory) = (ClusterId(8), DirectoryId(9));
    assert!(matches!(disk.refused(Identity { cluster, ..OURS }), IndexError::OtherCluster { expected, .. } if expected == cluster));
    let refused = disk.refused(Identity { directory, ..OURS });
    assert!(matches!(refused, IndexError::OtherDirectory { expected, .. } if expected == directory));
    drop(disk.opened());
}

/// Changes the index behind the store's back.
fn tamper(writer: &HeedWriter, change: impl FnOnce(&Tables, &mut RwTxn<'_>)) {
    let mut txn = writer.env.write_txn().expect("the only writer");
    change(&writer.tables, &mut txn);
    txn.commit().expect("room");
}

#[test]
fn a_newer_format_is_refused() {
    let disk = OnDisk::new();
    let (reader, writer) = disk.opened();
    let newer = FORMAT_VERSION + 1;
    tamper(&writer, |tables, txn| {
        tables.meta.put(txn, &IDENTITY_KEY, &newer.to_le_bytes()).expect("room")
    });
    drop((reader, writer));
    assert!(matches!(disk.refused(OURS), IndexError::NewerFormat { found, .. } if found == newer));
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let disk = OnDisk::new();
    let (mut reader, mut writer) = disk.opened();
    let marks = replica_marks(1, 1);
    let replicas = vec![marks.clone()];
    writer
        .commit(&Generation {
            replicas,
            ..generation(1, &[(b"k", put(1))])
        })
        .expect("room");
    tamper(&writer, |tables, txn| {
        tables.latest.put(txn, &index_key(SPACE, b"k"), &[0; ROW_BYTES - 1]).expect("room");
        tables.meta.put(txn, &CORE_KEY, b"").expect("room");
        tables.meta.put(txn, &marks.key(), &[0; 50]).expect("room");
        tables.positions.put(txn, &[0; 3], &[0; 8]).expect("room");
    });
    reader.refresh().expect("a healthy environment");
    let length = RowError::Length { found: ROW_BYTES - 1 };
    assert!(matches!(reader.get(SPACE, b"k"), Err(IndexError::DamagedRow { source, .. }) if source == length));
    let scan = reader.scan(SPACE, b"", b"", Direction::Forward, &mut |_, _| panic!("no row is intact"));
    assert!(matches!(scan, Err(IndexError::DamagedRow { source, .. }) if source == length));
    assert!(matches!(
        reader.core_marks(),
        Err(IndexError::DamagedMeta { item: MetaItem::CoreMarks })
    ));
    assert!(matches!(
        reader.replica_marks(),
        Err(IndexError::DamagedMeta {
            item: MetaItem::ReplicaMarks
        })
    ));
    let position = reader.entry_position(marks.name, margate_net::ids::LogIndex(9));
    assert!(matches!(position, Err(IndexError::DamagedMeta { item: MetaItem::Position })));
    drop((reader, writer));
    assert!(matches!(disk.refused(OURS), IndexError::DamagedMeta { item: MetaItem::CoreMarks }));
}

#[test]
fn a_damaged_count_or_key_is_an_error() {
    let disk = OnDisk::new();
    let (mut reader, mut writer) = disk.opened();
    writer.commit(&generation(1, &[(b"k", put(1))])).expect("room");
    tamper(&writer, |tables, txn| {
        let mut sum = tables.meta.get(txn, &LIVE_BYTES_KEY).expect("readable").expect("there").to_vec();
        sum[0] ^= 1;
        tables.meta.put(txn, &LIVE_BYTES_KEY, &sum).expect("room");
        tables.latest.put(txn, b"k", &[0; ROW_BYTES]).expect("room");
    });
    reader.refresh().expect("a healthy environment");
    let item = MetaItem::LiveBytes;
    assert!(matches!(reader.live_bytes(), Err(IndexError::DamagedMeta { item: found }) if found == item));
    assert!(matches!(reader.spaces(), Err(IndexError::DamagedMeta { item: MetaItem::RowKey })));
    drop((reader, writer));
    assert!(matches!(disk.refused(OURS), IndexError::DamagedMeta { item: found } if found == item));
}

#[test]
fn a_row_that_makes_no_sense_stops_the_commit_that_replaces_it() {
    let disk = OnDisk::new();
    let (mut reader, mut writer) = disk.opened();
    writer.commit(&generation(1, &[(b"k", put(1)), (b"l", put(1))])).expect("room");
    tamper(&writer, |tables, txn| {
        tables.latest.put(txn, &index_key(SPACE, b"k"), &[0; ROW_BYTES - 1]).expect("room")
    });
    let bad = [
        generation(2, &[(b"l", put(2)), (b"k", put(2))]),
        generation(2, &[(b"l", put(2)), (b"k", Slot::Deleted(Version(2)))]),
        Generation {
            cleared: vec![SPACE],
            ..generation(2, &[(b"l", put(2))])
        },
    ];
    for generation in &bad {
        assert!(matches!(writer.commit(generation), Err(IndexError::DamagedRow { .. })));
    }
    let before = reader.live_bytes().expect("nothing changed");
    writer.commit(&generation(2, &[(b"m", put(1))])).expect("room");
    reader.refresh().expect("a healthy environment");
    let after = reader.live_bytes().expect("intact");
    assert_eq!((before, after), (0, 3 * crate::log::effects::effect_bytes(1, 1)));
}

#[test]
fn a_full_map_is_refused_and_what_was_committed_stays() {
    const SMALL: usize = 2 << 20;
    let disk = OnDisk::new();
    let (mut reader, mut writer) = HeedIndex::open(disk.0.path(), SMALL, OURS).expect("a new index");
    let keys: Vec<Vec<u8>> = (0..3000_u32).map(|key| [&key.to_be_bytes()[..], &[b'k'; 500]].concat()).collect();
    let mut committed = 0;
    // The reader follows, as the core's does: pages it no longer needs are used again.
    let refused = loop {
        reader.refresh().expect("a healthy environment");
        let slots: Vec<_> = keys[committed * 50..][..50].iter().map(|key| (&key[..], put(1))).collect();
        match writer.commit(&generation(committed as u64 + 1, &slots)) {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, IndexError::Full { used, map } if map == SMALL as u64 && used > map / 10 * 9 && used < map)
            && refused.pauses_commits(),
        "{refused}"
    );
    assert!(committed > 10, "only {committed} commits of about 30 KB fitted in 2 MiB");
    reader.refresh().expect("a healthy environment");
    assert!(reader.bytes_used().expect("a healthy environment") <= reader.map_bytes());
    assert_eq!(
        conformance::scan(&reader, b"", b"", Direction::Forward, usize::MAX).len(),
        committed * 50
    );
    drop((reader, writer));
    // A larger map at the next open lets commits go on.
    let (_reader, mut writer) = disk.opened();
    let number = committed as u64 + 1;
    writer.commit(&generation(number, &[(b"more", put(1))])).expect("room again");
}

#[test]
fn keys_at_the_limit_survive_many_generations_of_changes() {
    let disk = OnDisk::new();
    let (reader, mut writer) = disk.opened();
    let mut index = Index::new(reader);
    let whole = OwnedRange {
        space: SPACE,
        low: bytes::Bytes::new(),
        high: bytes::Bytes::new(),
    };
    let keys: Vec<Vec<u8>> = (0..400_usize)
        .map(|key| [&key.to_be_bytes()[..], &vec![b'k'; key * 7919 % (KEY_BYTES_MAX - 7)]].concat())
        .collect();
    for number in 1..=8_u32 {
        for (at, key) in keys.iter().enumerate() {
            let lives = (at + number as usize).is_multiple_of(3);
            let slot = if lives {
                put(number)
            } else {
                Slot::Deleted(Version(number.into()))
            };
            assert!(index.apply(&whole, key, slot));
        }
        let rows = index.freeze().expect("something was applied");
        writer
            .commit(&Generation {
                rows,
                ..generation(number.into(), &[])
            })
            .expect("room");
        index.committed().expect("a healthy environment");
    }
    let alive = keys
        .iter()
        .enumerate()
        .filter(|(at, _)| (at + 8).is_multiple_of(3))
        .map(|(_, key)| (key.clone(), 8))
        .collect();
    assert!(is_exactly(index.reader(), &alive));
}

/// Pages LMDB holds before it writes some, see `index_writeback`.
const PAGES_HELD: u64 = 16_383;

/// Three to a page.
fn long_keys() -> Vec<Vec<u8>> {
    let key = |number: u32| [&number.wrapping_mul(0x9E37_79B1).to_be_bytes()[..], &vec![b'k'; 1_000]].concat();
    (0..80_000).map(key).collect()
}

fn is_exactly(reader: &HeedReader, expected: &BTreeMap<Vec<u8>, u64>) -> bool {
    let found = conformance::scan(reader, b"", b"", Direction::Forward, usize::MAX);
    let mut live = LiveBytes::default();
    for (key, version) in expected {
        let row = put(u32::try_from(*version).expect("small")).row().expect("it lives");
        live.gain(key.len(), &row);
    }
    found.iter().map(|(key, version)| (key, version)).eq(expected) && reader.live_bytes().expect("a healthy environment") == live.0
}

/// Its pages are written while it is computed: all of them count at its end, and none if it fails.
#[test]
fn a_commit_of_more_pages_than_lmdb_holds_is_all_or_nothing() {
    let disk = OnDisk::new();
    let (mut reader, mut writer) = HeedIndex::open(disk.0.path(), 8 * MAP, OURS).expect("a new index");
    let keys = long_keys();
    let mut expected: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), 1)).collect();
    let slots: Vec<_> = keys.iter().map(|key| (&key[..], put(1))).collect();
    writer.commit(&generation(1, &slots)).expect("room");
    let old = reader.fork().expect("a healthy environment");
    let before = expected.clone();
    let mut dice = StdRng::seed_from_u64(7);
    let mut slots = BTreeMap::new();
    for _ in 0..60_000 {
        let slot = if dice.random_bool(0.2) { Slot::Deleted(Version(2)) } else { put(2) };
        slots.insert(&keys[dice.random_range(0..keys.len())][..], slot);
    }
    let slots: Vec<_> = slots.into_iter().collect();
    let last = index_key(SPACE, slots.last().expect("there are many").0);
    let mut sound = Vec::new();
    tamper(&writer, |tables, txn| {
        sound = tables.latest.get(txn, &last).expect("readable").expect("there").to_vec();
        tables.latest.put(txn, &last, &[0; ROW_BYTES - 1]).expect("room");
    });
    let length = || fs::metadata(disk.0.path().join("data.mdb")).expect("the index file").len();
    let shorter = length();
    assert!(matches!(writer.commit(&generation(2, &slots)), Err(IndexError::DamagedRow { .. })));
    assert!(length() > shorter, "pages were written before it failed");
    tamper(&writer, |tables, txn| tables.latest.put(txn, &last, &sound).expect("room"));
    reader.refresh().expect("a healthy environment");
    assert!(is_exactly(&reader, &expected), "nothing of the commit that failed");
    assert!(reader.bytes_used().expect("a healthy environment") > 3 * PAGES_HELD / 2 * 4_096);
    writer.commit(&generation(2, &slots)).expect("room");
    for (key, slot) in slots {
        match slot {
            Slot::Put(_) => expected.insert(key.to_vec(), 2),
            Slot::Deleted(_) => expected.remove(key),
        };
    }
    reader.refresh().expect("a healthy environment");
    assert!(
        is_exactly(&reader, &expected) && is_exactly(&old, &before),
        "readers stay where they are"
    );
    drop((reader, old, writer));
    let (reader, _writer) = HeedIndex::open(disk.0.path(), 8 * MAP, OURS).expect("our own");
    assert!(is_exactly(&reader, &expected), "after a restart");
}

#[test]
fn sixteen_gib_of_map_cost_no_disk() {
    let disk = OnDisk::new();
    let (reader, mut writer) = HeedIndex::open(disk.0.path(), MAP_BYTES_DEFAULT, OURS).expect("a sparse map");
    writer.commit(&generation(1, &[(b"k", put(1))])).expect("room");
    let length = fs::metadata(disk.0.path().join("data.mdb")).expect("the index file").len();
    assert!(length < 1 << 20, "{length} bytes");
    assert_eq!(reader.map_bytes(), MAP_BYTES_DEFAULT as u64);
    let missing = reader.get(Space(0), b"k").expect("a healthy environment");
    assert_eq!(missing, None);
}
