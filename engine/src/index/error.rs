//! What can go wrong with an index, as facts.
//!
//! Not here, on purpose: what a client is told (the core maps these to refusals).

use margate_net::ids::{ClusterId, DirectoryId, Space};

use super::marks::MetaItem;
use super::row::RowError;

/// Why an index could not be opened, read or committed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The map is nearly full; nothing of this generation was written.
    #[error("the index uses {used} of {map} bytes: restart the node with a larger storage.index_map_size")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes of the whole map.
        map: u64,
    },
    /// The file system has no room for the index to grow; nothing of this generation was written.
    #[error("no space for the index to grow to {wanted} bytes: free disk space, the commit is then tried again")]
    NoSpace {
        /// Bytes the index file should have had.
        wanted: u64,
    },
    /// A later release wrote this index.
    #[error("the index has format {found}, this release knows up to {known}: start the release that wrote it")]
    NewerFormat {
        /// The format found.
        found: u32,
        /// The newest format this release reads.
        known: u32,
    },
    /// The index belongs to another deployment.
    #[error("the index belongs to cluster {found}, not {expected}: point the node at its own data directory")]
    OtherCluster {
        /// The cluster that wrote it.
        found: ClusterId,
        /// This node's cluster.
        expected: ClusterId,
    },
    /// The index belongs to another data directory.
    #[error("the index belongs to data directory {found}, not {expected}: put back this directory's own index")]
    OtherDirectory {
        /// The directory that wrote it.
        found: DirectoryId,
        /// This node's data directory.
        expected: DirectoryId,
    },
    /// A row's bytes make no sense.
    #[error(
        "damaged index row in space {space}: {source}; start the node again, after three failed starts it makes a new index from its log"
    )]
    DamagedRow {
        /// Its space.
        space: Space,
        /// What is wrong with it.
        source: RowError,
    },
    /// The identity, a mark or a position makes no sense.
    #[error("damaged index {item}; start the node again, after three failed starts it makes a new index from its log")]
    DamagedMeta {
        /// Which of them.
        item: MetaItem,
    },
    /// A mark is larger than its format can hold.
    #[error("{item} with a part of {bytes} bytes is over the limit of {limit}; nothing was committed")]
    MarksTooLarge {
        /// Which of them.
        item: MetaItem,
        /// Bytes, or runs, of the part.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// LMDB refused.
    #[error("the index failed while {doing}: {source}; stop the node and check its disk")]
    Lmdb {
        /// What was being done.
        doing: &'static str,
        /// LMDB's reason.
        source: heed::MdbError,
    },
    /// The operating system refused.
    #[error("the index failed while {doing}: {source}; stop the node and check its disk")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The environment is open in this process with other options.
    #[error("the index is already open in this process: close it first")]
    AlreadyOpen,
}

impl IndexError {
    /// Whether the failed commit wrote nothing and may simply be tried again later; all other failures stop the node.
    #[must_use]
    pub const fn pauses_commits(&self) -> bool {
        match self {
            Self::Full { .. } | Self::NoSpace { .. } => true,
            Self::NewerFormat { .. }
            | Self::OtherCluster { .. }
            | Self::OtherDirectory { .. }
            | Self::DamagedRow { .. }
            | Self::DamagedMeta { .. }
            | Self::MarksTooLarge { .. }
            | Self::Lmdb { .. }
            | Self::Io { .. }
            | Self::AlreadyOpen => false,
        }
    }
}
