//! The data directory of format 1 that is kept for ever, and what may be wrong with such a one.
//!
//! Not here, on purpose: what is said of it then, by a start (`main`) and by `margate inspect` (the tests of `tools`).

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use margate_engine::log::record::RecordBody;
use margate_engine::log::scan::scan;
use margate_engine::log::segment::LogConfig;
use margate_engine::runtime::segments::SegmentFiles;
use margate_engine::types::Position;
use margate_net::ids::{ClusterId, CoreId, DirectoryId, NodeId};

use super::packed;

/// Nodes of the deployment.
pub(crate) const NODES: u64 = 3;
/// The node whose directory it is.
pub(crate) const NODE: NodeId = NodeId(NODES);
/// The deployment.
pub(crate) const CLUSTER: ClusterId = ClusterId(0x1234_5678);
/// Bytes of a segment.
pub(crate) const SEGMENT_BYTES: u32 = 64 << 10;
/// Bytes of a block of the log.
const BLOCK_BYTES: u64 = 4_096;
/// Where a segment's header has its format version, its checksum, and the cluster id.
const FORMAT_AT: usize = 4;
const CHECKSUM_AT: usize = 20;
const CLUSTER_AT: usize = 32;

/// The data directory of a node.
pub(crate) fn directory_of(node: NodeId) -> DirectoryId {
    DirectoryId(0xd1_0000 + u128::from(node.0))
}

/// Where the fixture lies, packed.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/format-1")
}

/// The sound directory, unpacked into an empty folder.
pub(crate) fn unpack(root: &Path) {
    packed::unpack(&folder(), root);
}

/// The files of its log.
pub(crate) fn segments(root: &Path) -> Vec<PathBuf> {
    let log = fs::read_dir(root.join("core-0/log")).expect("a log");
    let mut paths: Vec<PathBuf> = log.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths
}

/// Of a batch that was to follow the last one only the first bytes were written.
pub(crate) fn tear_tail(root: &Path) {
    // The last batch fills its segment, so that the next one begins the next.
    let (last, _) = ends(root);
    let (path, next) = (path(root, last.segment), path(root, last.segment + 1));
    let (mut batch, mut header) = ([0; 64], [0; 64]);
    let read = |path: &Path, at, bytes: &mut [u8]| File::open(path).and_then(|file| file.read_exact_at(bytes, at)).expect("inside");
    read(&path, last.offset.into(), &mut batch);
    read(&next, 0, &mut header);
    batch[8..16].copy_from_slice(&header[24..32]);
    batch[16] += 1;
    batch[56..60].copy_from_slice(&header[8..12]);
    batch[60..].copy_from_slice(&4_096_u32.to_le_bytes());
    change(&next, BLOCK_BYTES, &batch);
}

/// A bit of the last entry flips.
pub(crate) fn rot_last_entry(root: &Path) {
    let (_, entry) = ends(root);
    let (path, at, mut byte) = (path(root, entry.segment), u64::from(entry.offset), [0]);
    let file = File::open(&path).expect("a file");
    file.read_exact_at(&mut byte, at).expect("inside");
    change(&path, at, &[byte[0] ^ 1]);
}

/// Its first segment is one of format 2.
pub(crate) fn become_newer(root: &Path) {
    change_header(&segments(root)[0], FORMAT_AT, &2_u16.to_le_bytes());
}

/// Its first segment is another deployment's.
pub(crate) fn become_foreign(root: &Path) {
    change_header(&segments(root)[0], CLUSTER_AT, &[7; 16]);
}

/// Its first segment ends after two blocks.
pub(crate) fn truncate(root: &Path) {
    let file = File::options().write(true).open(&segments(root)[0]).expect("a file");
    file.set_len(2 * BLOCK_BYTES).expect("shorter");
}

/// What its log belongs to.
pub(crate) fn log_config() -> LogConfig {
    LogConfig {
        cluster: CLUSTER,
        directory: directory_of(NODE),
        node: NODE,
        core: CoreId(0),
        segment_bytes: SEGMENT_BYTES,
        ready_min: 1,
    }
}

/// Where the last batch lies, and the data of the last entry.
fn ends(root: &Path) -> (Position, Position) {
    let mut files = SegmentFiles::list(&root.join("core-0/log")).expect("a log");
    let (mut last, mut entry) = (Position::default(), Position::default());
    let scanned = scan(&mut files, &log_config(), None, &mut |batch| {
        last = batch.position;
        for record in batch.records() {
            if let RecordBody::Entry { data_position, .. } = record.body {
                entry = data_position;
            }
        }
    });
    scanned.expect("it is sound");
    (last, entry)
}

fn path(root: &Path, segment: u32) -> PathBuf {
    root.join(format!("core-0/log/{segment:08}.seg"))
}

fn change(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("a file");
    file.write_all_at(bytes, at).expect("written");
}

/// Changes a segment's header, whose checksum is made right.
fn change_header(path: &Path, at: usize, bytes: &[u8]) {
    let mut block = fs::read(path).expect("readable");
    block.truncate(usize::try_from(BLOCK_BYTES).expect("small"));
    block[at..at + bytes.len()].copy_from_slice(bytes);
    block[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    let checksum = crc32fast::hash(&block).to_le_bytes();
    block[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum);
    change(path, 0, &block);
}
