//! The stages of an operation's life; each doc line goes on where the one before ends.

/// The life of a write on the core that leads its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// The bytes of its frame have been read from the socket,
    Received = 0,
    /// a turn of the core has taken them and queued it with the replica that leads its shard,
    Routed = 1,
    /// a turn has taken it out of the queue and decides it: whether its condition holds, at which version,
    Resolved = 2,
    /// that turn is over: what it decided is one entry that consensus has taken and that is on its way to the followers,
    Proposed = 3,
    /// the write of the batch that holds the entry begins,
    Appended = 4,
    /// that write is done: the entry is on this node's disk,
    Durable = 5,
    /// a quorum has it on disk, as this core has learnt,
    Committed = 6,
    /// its rows are in the index's overlay and its answer is ready,
    Applied = 7,
    /// and the answer has been written to the socket.
    Replied = 8,
}

/// The life of a read on the core that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ReadStage {
    /// The bytes of its frame have been read from the socket,
    Received = 0,
    /// a turn of the core has taken them and given it to the replica of its shard,
    Routed = 1,
    /// tenure or a round of a quorum allows to answer it, what it rests on is applied, and its key is looked up,
    Confirmed = 2,
    /// all its values are at hand, from the cache or from the log,
    Found = 3,
    /// and the answer has been written to the socket.
    Replied = 4,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Self; 9] = [
        Self::Received,
        Self::Routed,
        Self::Resolved,
        Self::Proposed,
        Self::Appended,
        Self::Durable,
        Self::Committed,
        Self::Applied,
        Self::Replied,
    ];

    /// As people and programs read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Routed => "routed",
            Self::Resolved => "resolved",
            Self::Proposed => "proposed",
            Self::Appended => "appended",
            Self::Durable => "durable",
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Replied => "replied",
        }
    }
}

impl ReadStage {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Received, Self::Routed, Self::Confirmed, Self::Found, Self::Replied];

    /// As people and programs read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Routed => "routed",
            Self::Confirmed => "confirmed",
            Self::Found => "found",
            Self::Replied => "replied",
        }
    }
}
