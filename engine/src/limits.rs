//! Every limit of the engine outside the log, with its reason. The log's are in `log/limits.rs`, the wire's in
//! `margate_net::limits`.

use crate::log::limits::SEGMENT_BYTES_DEFAULT;
use crate::types::Nanos;
use margate_net::limits::{OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX};

/// Operations a shard queues before it answers `Busy`: some hundred milliseconds of work at full speed, and
/// room for one largest frame at any time.
pub const QUEUED_OPERATIONS_MAX: usize = 16 * OPERATIONS_PER_FRAME_MAX;
/// Bytes of keys and values a shard queues before it answers `Busy`.
pub const QUEUED_BYTES_MAX: usize = 4 * PAYLOAD_BYTES_MAX;
/// Reads a shard holds that wait for confirmation or for records.
pub const READS_WAITING_MAX: usize = 16 * OPERATIONS_PER_FRAME_MAX;
/// Bytes of entries proposed and not yet applied on a leader; more are not proposed.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 << 20;
/// Entries proposed and not yet applied on a leader; more are not proposed.
pub const UNCOMMITTED_ENTRIES_MAX: usize = 256;
/// Bytes of entries a replica keeps in memory for those who lag; what is not applied stays in any case.
pub const WINDOW_KEEP_BYTES: usize = 8 << 20;
/// Bytes of entries above applied a follower takes before it drops appends.
pub const WINDOW_PINNED_BYTES_MAX: usize = 64 << 20;
/// Bytes of entries in one append message.
pub const APPEND_MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Append messages on their way to one follower.
pub const APPEND_MESSAGES_IN_FLIGHT_MAX: usize = 64;
/// Bytes of committed entries taken from consensus at a time, so that applying them stays a bounded step.
pub const COMMITTED_BYTES_PER_READY: u64 = 4 << 20;
/// Overlay bytes at which a generation is handed to the index thread: half a million rows. Of a million keys, written in no order, a commit
/// then writes each page for a dozen rows.
pub const OVERLAY_FREEZE_BYTES: usize = 64 << 20;
/// Age at which a smaller overlay is handed to the index thread too.
pub const OVERLAY_AGE_MAX: Nanos = Nanos::from_millis(60_000);
/// The same where nothing was written to the log for so long: a node that rests starts at once. And where the disk is low, for only the index
/// says what came free.
pub const OVERLAY_REST: Nanos = Nanos::from_millis(5_000);
/// Log bytes since the replay mark at which an overlay is handed over whatever its size: bounds replay at start. This much of a short log, of
/// others one of so many parts of what is above [`REPLAY_LOG_SHORT_BYTES`], of the longest no more than [`REPLAY_LOG_BYTES_MAX`].
pub const REPLAY_LOG_BYTES_MIN: u64 = 256 << 20;
/// See [`REPLAY_LOG_BYTES_MIN`].
pub const REPLAY_LOG_PARTS: u64 = 4;
/// Bytes of a log of which that part is not taken: beside the little that lives in a short log the rest would show.
pub const REPLAY_LOG_SHORT_BYTES: u64 = 1 << 30;
/// See [`REPLAY_LOG_BYTES_MIN`].
pub const REPLAY_LOG_BYTES_MAX: u64 = 5 << 28;
/// Rows of abandoned spaces one commit deletes: a few hundred pages of ordinary keys, little beside what a full
/// overlay changes, so clearing never makes a commit much slower.
pub const CLEARED_ROWS_MAX: usize = 8_192;
/// Overlay bytes at which copies and images wait until the index thread has caught up, so that clients' writes have the rest, and at which
/// replay commits: more than what usually awaits it, for a commit of a large index takes longer than all else that a start does.
pub const OVERLAY_BUSY_BYTES: usize = 2 * OVERLAY_FREEZE_BYTES;
/// Overlay bytes at which applying pauses until the index thread has caught up.
pub const OVERLAY_BYTES_MAX: usize = 3 * OVERLAY_FREEZE_BYTES;
/// Bytes of values that were read, of which a core keeps copies.
pub const VALUE_COPIES_BYTES: u64 = 32 << 20;
/// Bytes of applied entries that a core keeps as they came, where it leads.
pub const RECENT_ENTRIES_BYTES: usize = 32 << 20;
/// Bytes of values a core caches, one way or the other.
pub const VALUE_CACHE_BYTES: u64 = VALUE_COPIES_BYTES + RECENT_ENTRIES_BYTES as u64;
/// Largest value worth a copy into the cache; larger ones are read from disk at its full speed.
pub const VALUE_CACHE_VALUE_MAX: usize = 16 << 10;
/// Record reads a core has under way at once; more wait in order.
pub const RECORD_READS_MAX: usize = 256;
/// Bytes of values that answers under assembly may hold or wait for; reads beyond it are answered `Busy`.
pub const ASSEMBLING_BYTES_MAX: u64 = 128 << 20;
/// Bytes read at a time when old entries are fetched for a follower that lags.
pub const ENTRY_FETCH_BYTES: usize = 1 << 20;
/// An entry's place is noted for later fetches once per this many entries.
pub const POSITION_EVERY_ENTRIES: u64 = 64;
/// Log bytes for every thousand bytes that live at which the oldest segment is reclaimed: with an evenly spread load two fifths of a
/// segment then still live, so copying costs two thirds of what clients write. It is less by what a log grows between two commits.
pub const RECLAIM_PER_MILLE: u64 = 1_500;
/// The same of long logs, beside which what is always ready, and what is written between two commits, takes little room: a fifth still lives,
/// and copying costs a quarter of what clients write.
pub const RECLAIM_LONG_PER_MILLE: u64 = 2_000;
/// By so many bytes less, so that it is more than [`RECLAIM_PER_MILLE`] says only where more than 1 GiB lives.
pub const RECLAIM_LONG_LESS_BYTES: u64 = 512 << 20;
/// Log bytes of a core in which only segments that need not be read are reclaimed, unless the disk is low. A log this long holds a few
/// ten megabytes that live a dozen times over, so nothing lives in its oldest segment by then, as the last commit of the index knows, too, which
/// may be [`REPLAY_LOG_BYTES_MIN`] old.
pub const RECLAIM_SPARE_BYTES: u64 = (640 << 20) + REPLAY_LOG_BYTES_MIN;
/// Segments a log has before anything is reclaimed.
pub const RECLAIM_SEGMENTS_MIN: u64 = 2;
/// Segments that are emptied before the index commits and they come free, at most: more than the longest logs are written between two commits
/// ([`REPLAY_LOG_BYTES_MAX`]) and during one.
pub const RECLAIM_SEGMENTS_TOGETHER_MAX: usize = 32;
/// Reclaim waits for a commit that is due anyway where the index takes more than one of so many parts of what comes free: a commit may write all
/// of it.
pub const RECLAIM_COMMIT_PARTS: u64 = 16;
/// Log bytes for every thousand of its target, with [`RECLAIM_HURRY_SEGMENTS`] above that, at which it waits for none.
pub const RECLAIM_HURRY_PER_MILLE: u64 = 1_250;
/// As many as are written between two commits of a short log ([`REPLAY_LOG_BYTES_MIN`]).
pub const RECLAIM_HURRY_SEGMENTS: u64 = 4;
/// Segments that came free and wait to be used again, beyond those that are always ready, at least: they cost no prewriting. Of a long log as
/// many wait as come free together: what is written between two commits and during one.
pub const RECYCLED_SEGMENTS_MIN: usize = 4;
/// And at most: a start reads them all to prove that the log ends before them.
pub const RECYCLED_SEGMENTS_MAX: usize = 24;
/// Bytes read at a time from a segment that is reclaimed.
pub const RECLAIM_READ_BYTES: usize = 256 << 10;
/// The same while the log is much too long: some of the batches that large values come in, which shorter reads would read twice.
pub const RECLAIM_LONG_READ_BYTES: usize = 4 * RECLAIM_READ_BYTES;
/// Effects of such a segment looked at in one turn, each a look-up of a microsecond; up to 64 times as many the longer the log is.
pub const RECLAIM_EFFECTS_PER_TURN: usize = 128;
/// Bytes of such effects in one turn; up to 64 times as many, twice what a batch takes, so that no load outruns reclaim.
pub const RECLAIM_BYTES_PER_TURN: u64 = 128 << 10;
/// Copies take one of so many parts of a batch, whatever else is queued, which is delayed by no more. Where batches are always full, an evenly
/// spread load holds the log at 1.85 times what lives then: where a quarter of its oldest segment does.
pub const RECLAIM_BATCH_PARTS: usize = 4;
/// The same while the disk is low: nothing is more urgent than room then.
pub const RECLAIM_PRESSED_BATCH_PARTS: usize = 2;
/// Rows of the index looked at in one turn for those that point into a damaged segment.
pub const SWEEP_ROWS_PER_TURN: usize = 1_024;
/// Bytes of copies in one record.
pub const RELOCATION_RECORD_BYTES: usize = 64 << 10;
/// Rows in one piece of an image.
pub const IMAGE_ROWS_MAX: usize = 256;
/// Bytes in one piece of an image, unless one row alone is larger: a bounded step for both sides.
pub const IMAGE_BYTES_MAX: usize = 128 << 10;
/// Images a core sends at once, and takes at once.
pub const IMAGES_MAX: usize = 2;
/// Images offered at once: of those, the ones to dead members keep nothing but the shard's state, and rest in turns.
pub const IMAGE_OFFERS_MAX: usize = 64;
/// After so long a piece of an image that was not answered is sent again.
pub const IMAGE_REPEAT: Nanos = Nanos::from_millis(500);
/// After so long without a word from the other side an image is given up.
pub const IMAGE_PATIENCE: Nanos = Nanos::from_millis(10_000);
/// Values a core fetches from other members at once; each may be as large as values are.
pub const REPAIRS_MAX: usize = 32;
/// Values a core reads at once for members that have lost them.
pub const REPAIR_GIVINGS_MAX: usize = 32;
/// Ticks a member has to answer, before the next one is asked: longer than a slow read and a round trip.
pub const REPAIR_PATIENCE_TICKS: u32 = 5;
/// Times each member is asked for a value before it is taken for lost; messages may be.
pub const REPAIR_ROUNDS: u32 = 2;
/// Values of answers that wait for a repair at once; more are refused as damaged.
pub const REPAIR_WAITING_MAX: usize = 1_024;
/// How long reclaim waits before it looks again whether the values it cannot copy are mended, at first; each time twice as long. As long
/// waits an image that such a value ended before it is offered again.
pub const REPAIR_REST: Nanos = Nanos::from_millis(1_000);
/// The longest such wait.
pub const REPAIR_REST_MAX: Nanos = Nanos::from_millis(60_000);
/// So often a core says that no leader admits it; one that rejoins in good order is admitted long before.
pub const UNADMITTED_COMPLAINT: Nanos = Nanos::from_millis(10_000);
/// Heartbeats in the shortest election timeout, at least, if it has as many ticks. What an idle node computes is mostly waking up for its peers' beats.
pub const HEARTBEATS_PER_ELECTION: u32 = 5;
/// How much a clock (CLOCK_BOOTTIME) may run fast or slow, in thousandths, for tenure to be safe: Linux keeps
/// within 0.5 (adjtimex(2)); quartz alone strays by less than 0.1.
pub const CLOCK_DRIFT_PER_MILLE: u64 = 10;
/// Milliseconds a client is told to wait when a queue is full: about one group commit under full load.
pub const BUSY_RETRY_MS: u32 = 5;
/// Milliseconds a client is told to wait when disks are full: they are measured every second.
pub const DISK_FULL_RETRY_MS: u32 = 250;
/// Log bytes for every thousand bytes that live at which the oldest segment is reclaimed while the disk is low: what batches' headers,
/// their padding and the ends of segments take is not worth copying everything for.
pub const RECLAIM_PRESSED_PER_MILLE: u64 = 1_200;
/// Segments a log has before anything is reclaimed while the disk is low.
pub const RECLAIM_PRESSED_SEGMENTS_MIN: u64 = 1;
/// Milliseconds a client is told to wait when the index lags behind: commits take tens of milliseconds, of a large index seconds.
pub const OVERLAY_RETRY_MS: u32 = 50;
/// Milliseconds a client is told to wait while leadership is being handed over.
pub const NOT_READY_RETRY_MS: u32 = 10;

const _: () = assert!(QUEUED_BYTES_MAX >= PAYLOAD_BYTES_MAX, "one largest frame must fit an empty queue");
const _: () = assert!(
    OVERLAY_BYTES_MAX > OVERLAY_BUSY_BYTES && OVERLAY_BUSY_BYTES >= 2 * OVERLAY_FREEZE_BYTES,
    "one generation commits while the next one fills, and a start leaves room to apply"
);
const _: () = assert!(
    RECLAIM_SEGMENTS_TOGETHER_MAX as u64 * SEGMENT_BYTES_DEFAULT as u64 >= REPLAY_LOG_BYTES_MAX + REPLAY_LOG_BYTES_MAX / 2,
    "reclaim must empty what is written between two commits of the index and during one"
);
const _: () = assert!(
    WINDOW_PINNED_BYTES_MAX > UNCOMMITTED_BYTES_MAX,
    "a follower must be able to hold all a leader has proposed"
);
