//! The systems beside which margate is measured, each at its durable defaults.
//!
//! Not here, on purpose: tuning a peer beyond its defaults, except for the client's connections, where the
//! peer gets whatever suits it best.

pub(crate) mod etcd;
pub(crate) mod etcd_cluster;
pub(crate) mod etcd_members;
pub(crate) mod raft_engine;
