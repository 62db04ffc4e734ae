//! An index that is only read: all of it is there, nothing of it changes, and what cannot be read is refused in time.

use std::collections::BTreeMap;
use std::fs::{File, read, read_dir};

use margate_net::ids::{ClusterId, DirectoryId, LogIndex, Version};
use tempfile::TempDir;

use super::*;
use crate::index::conformance::{SPACE, generation, put, replica_marks};
use crate::index::row::split_index_key;
use crate::index::{IndexReader, IndexWriter};
use crate::types::Position;

const OURS: Identity = Identity {
    cluster: ClusterId(1),
    directory: DirectoryId(2),
};

fn filled() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory for the test");
    let (_, mut writer) = HeedIndex::open(folder.path(), 64 << 20, OURS).expect("a new index");
    let mut first = generation(1, &[(b"a", put(1)), (b"b", put(2))]);
    first.replicas = vec![replica_marks(1, 1)];
    let batch = Position { segment: 1, offset: 4_096 };
    first.positions = vec![(replica_marks(1, 1).name, LogIndex(1), batch)];
    writer.commit(&first).expect("room");
    folder
}

/// Every file of the index, byte for byte.
fn bytes_of(folder: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let files = read_dir(folder).expect("a folder").map(|file| file.expect("readable"));
    files.map(|file| (file.file_name(), read(file.path()).expect("readable"))).collect()
}

fn stopped(folder: &Path) -> Result<Option<HeedReader>, IndexError> {
    HeedIndex::open_stopped(folder, OURS)
}

#[test]
fn everything_is_read_and_nothing_changes() {
    let folder = filled();
    let before = bytes_of(folder.path());
    let reader = stopped(folder.path()).expect("sound").expect("there is one");
    let mut rows = Vec::new();
    let mut show = |key: &[u8], row: Result<crate::index::Row, _>| {
        let (space, key) = split_index_key(key).expect("a whole key");
        rows.push((space, key.to_vec(), row.expect("a sound row").version));
    };
    reader.visit_rows(&mut show).expect("sound");
    assert_eq!(rows, [(SPACE, b"a".to_vec(), Version(1)), (SPACE, b"b".to_vec(), Version(2))]);
    let mut positions = 0;
    reader
        .visit_positions(&mut |position| positions += usize::from(position.is_ok()))
        .expect("sound");
    assert_eq!((reader.rows().expect("sound"), positions), (2, 1));
    assert_eq!(reader.replica_marks().expect("sound"), [replica_marks(1, 1)]);
    assert!(reader.bytes_used().expect("sound") > 0);
    drop(reader);
    assert_eq!(bytes_of(folder.path()), before);
}

#[test]
fn where_no_index_is_none_is_made() {
    let folder = tempfile::tempdir().expect("a directory for the test");
    assert!(stopped(folder.path()).expect("nothing to refuse").is_none());
    assert!(bytes_of(folder.path()).is_empty());
}

#[test]
fn what_is_anothers_or_cut_short_is_refused() {
    let folder = filled();
    let other = Identity {
        cluster: ClusterId(8),
        ..OURS
    };
    let refused = HeedIndex::open_stopped(folder.path(), other).expect_err("another cluster's");
    assert!(matches!(refused, IndexError::OtherCluster { .. }));
    let file = File::options().write(true).open(folder.path().join("data.mdb")).expect("a file");
    file.set_len(3 * 4_096).expect("shorter");
    let refused = stopped(folder.path()).expect_err("its pages are gone");
    assert!(
        matches!(&refused, IndexError::Io { source, .. } if source.to_string().contains("cut short")),
        "{refused}"
    );
}
