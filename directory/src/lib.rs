//! The directory: the Raft group that will own the map. A room with a sign on the door; nobody lives here yet.
//!
//! What moves in:
//! - `keyspace`, `range`: the map as replicated state: ranges, their shards, the epochs of both.
//! - `placement`: the intended and the observed life of each replica, compared on every tick.
//! - `roster`: the nodes, and which of them answer.
//! - `solver`, `balancer`: where replicas should be, as a pure function; the small steps that lead there.
//! - `runtime/`: a thread of its own for the group's log, and the conversation with nodes.
//!
//! Until then the map comes from the configuration (`margate_engine::config::static_map`), is made durable when a
//! deployment is created, and never changes; nothing calls this crate.
//!
//! Not here, on purpose: consensus, which will be `margate_engine`'s, and anything on the way of a read or a write:
//! nodes and clients work from the map they have while the directory is gone.
