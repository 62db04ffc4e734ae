//! Put throughput as there are more keys, more cores, more shards.
//!
//! Each point has a deployment of its own: it is loaded with all its keys, then they are overwritten, in no order or in theirs, for so long
//! that every index has committed a few times. `order` makes keys whose bytes ascend, `commits` watches the indexes, `points` lists what
//! is measured, `line` is what a point prints.
//!
//! Not here, on purpose: running it (`commands/scale.rs`), room on the disk (`margate/room.rs`).

pub(crate) mod arguments;
pub(crate) mod commits;
pub(crate) mod line;
pub(crate) mod order;
pub(crate) mod points;
