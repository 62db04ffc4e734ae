//! Every limit of the wire, with its reason. What must hold between them is proved at compile time.

/// Bytes in a key. LMDB's page bounds keys at 1,982 bytes, less the space prefix (features 4, row 43).
pub const KEY_BYTES_MAX: usize = 1_024;
/// Bytes in a value kept in one record; larger ones will be parts and a manifest.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Operations in one frame: keeps what one frame can queue, and the verifier's work, bounded.
pub const OPERATIONS_PER_FRAME_MAX: usize = 4_096;
/// Bytes of a frame's flatbuffer: 4,096 operation headers of 64 bytes fit, with room.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a frame's raw payload: many small values, or a few of the largest.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// Bytes of a whole frame.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + BODY_BYTES_MAX + PAYLOAD_BYTES_MAX;
/// Bytes of the fixed frame header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of body a peer may send before the handshake is done: nothing larger is read or allocated.
pub const HELLO_BYTES_MAX: usize = 1_024;
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
/// Ports a node's block has: one per core, the rest for the admin listener to come.
pub const PORTS_PER_NODE: u16 = 100;
/// First port of the first node of `margate dev`.
pub const PORT_BASE: u16 = 7_400;

const _: () = assert!(CORES_MAX < PORTS_PER_NODE as usize, "every core needs a port in its node's block");
const _: () = assert!(
    PAYLOAD_BYTES_MAX >= 2 * VALUE_BYTES_MAX + KEY_BYTES_MAX,
    "a compare-exchange carries two values"
);
const _: () = assert!(
    PAYLOAD_BYTES_MAX >= LIST_BYTES_MAX + VALUE_BYTES_MAX + KEY_BYTES_MAX,
    "the last row of a page may overshoot its budget"
);
