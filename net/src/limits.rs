//! Every limit of the wire, with its reason. What must hold between them is proved at compile time.

/// Bytes in a key. LMDB's page bounds keys at 1,982 bytes, less the space prefix.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes in a value kept in one record; larger ones will be parts and a manifest.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Operations in one frame: keeps what one frame can queue, and the verifier's work, bounded.
pub const OPERATIONS_PER_FRAME_MAX: usize = 4_096;
/// Bytes of a frame's flatbuffer: 4,096 operation headers of 56 bytes fit, with room.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a frame's raw payload: many small values, or a few of the largest.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// Bytes of a whole frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX + PAYLOAD_BYTES_MAX;
/// Bytes of the fixed frame header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of body a peer may send before the handshake is done: nothing larger is read or allocated.
pub const HELLO_BYTES_MAX: usize = 1_024;
/// Rows of lists in one frame of replies; more replies go into the next frame.
pub const REPLY_ROWS_PER_FRAME_MAX: usize = 16_384;
/// Raft messages in one frame between two cores; more go into the next frame of the same round.
pub const PEER_MESSAGES_PER_FRAME_MAX: usize = 4_096;
/// Log entries in one frame between two cores.
pub const PEER_ENTRIES_PER_FRAME_MAX: usize = 16_384;
/// Bytes of the flatbuffer of a question how a core is: one table of one number, with room.
pub const STATUS_REQUEST_BYTES_MAX: usize = 64;
/// Bytes of the flatbuffer of a frame about members: one table of nine numbers, with room.
pub const MEMBER_BODY_BYTES_MAX: usize = 256;
/// The largest term, index or commit taken from the wire: reached after 146 years at a billion a second,
/// and adding one never overflows.
pub const COUNTER_MAX: u64 = 1 << 62;
/// Bytes of an encoded map or status: each is the payload of one frame.
pub const DOCUMENT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// Milliseconds a connection has from its first byte to the end of its handshake.
pub const HANDSHAKE_MS_MAX: u64 = 5_000;
/// Milliseconds in which a frame that has begun must be whole, once the other side is waited for: 9 MiB at 0.3 MiB/s.
pub const FRAME_MS_MAX: u64 = 30_000;
/// Milliseconds a peer may take nothing of what is written to it before the connection is closed.
pub const WRITE_STALL_MS_MAX: u64 = 10_000;
/// Milliseconds a connection is read on after a goodbye, so that the goodbye arrives.
pub const DRAIN_MS_MAX: u64 = 1_000;
/// Milliseconds to wait after a connection could not be accepted: descriptors come back by others closing.
pub const ACCEPT_RETRY_MS: u64 = 100;
/// Connections of peers a core accepts beyond its cap, which is the clients': two of each peer core.
pub const PEERS_MAX: u32 = 64;
/// Connections over its cap that a core holds for a moment to tell them so; more are dropped unanswered.
pub const REFUSALS_MAX: u32 = 16;
/// Bytes read from a socket at once.
pub const READ_BYTES: usize = 64 << 10;
/// Rows in one page of a list.
pub const LIST_ROWS_MAX: u32 = 1_024;
/// Bytes of keys and values in one page of a list; a page holds at least one row, whatever its size.
pub const LIST_BYTES_MAX: usize = 1 << 20;
/// Shards in a map. A later directory splits them far sooner than this.
pub const SHARDS_MAX: usize = 65_536;
/// Nodes in a map.
pub const NODES_MAX: usize = 1_024;
/// Cores of a node.
pub const CORES_MAX: usize = 64;
/// Ports a node's block has: one per core from the first on, and one for the admin listener.
pub const PORTS_PER_NODE: u16 = 100;
/// Where in its node's block the port of the admin listener is.
pub const ADMIN_PORT: u16 = 90;
/// First port of the first node of `margate dev`.
pub const PORT_BASE: u16 = 7_400;

const _: () = assert!(
    CORES_MAX <= ADMIN_PORT as usize && ADMIN_PORT < PORTS_PER_NODE,
    "every core needs a port in its node's block, and the admin listener one more"
);
const _: () = assert!(
    PAYLOAD_BYTES_MAX >= 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX,
    "a compare-exchange carries two values"
);
const _: () = assert!(
    PAYLOAD_BYTES_MAX >= LIST_BYTES_MAX + VALUE_BYTES_MAX + KEY_BYTES_MAX,
    "the last row of a page may overshoot its budget"
);
const _: () = assert!(
    64 * OPERATIONS_PER_FRAME_MAX + 24 * REPLY_ROWS_PER_FRAME_MAX + 1_024 <= BODY_BYTES_MAX,
    "headers of operations, or of replies and rows, fit a body"
);
const _: () = assert!(
    96 * PEER_MESSAGES_PER_FRAME_MAX + 24 * PEER_ENTRIES_PER_FRAME_MAX + 1_024 <= BODY_BYTES_MAX,
    "headers of messages and entries fit a body"
);
const _: () = assert!(LIST_ROWS_MAX as usize <= REPLY_ROWS_PER_FRAME_MAX, "the largest page fits a frame");
const _: () = assert!(
    64 * SHARDS_MAX + 56 * NODES_MAX * CORES_MAX + (128 << 10) <= DOCUMENT_BYTES_MAX,
    "the status of a core with a replica of every shard fits, with its links to every core and all it has measured"
);
const _: () = assert!(
    24 * NODES_MAX + 1_024 <= BODY_BYTES_MAX,
    "a creation record names every node's directory"
);
const _: () = assert!(FRAME_BYTES_MAX < u32::MAX as usize, "lengths are 32 bits on the wire");
