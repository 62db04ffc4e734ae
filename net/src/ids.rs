//! The names of things, one newtype each, so that a term is never passed for an index.
//!
//! Not here, on purpose: what the numbers mean on disk or on the wire (see `docs/format.md` and
//! `docs/protocol.md`); every codec writes the inner integer itself.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// A random 128-bit name, shown as 32 hexadecimal digits; zero means "not known yet".
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// Not known yet; never the name of anything.
            pub const UNKNOWN: Self = Self(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:032x})", stringify!($name), self.0)
            }
        }
    };
}

random_id! {
    /// A deployment, made once at bootstrap and checked on every connection.
    ClusterId
}
random_id! {
    /// A data directory, new in every new directory, so that a wiped node is not taken for the old one.
    DirectoryId
}
id! {
    /// A node of the deployment: one process on one machine. Starts at 1.
    NodeId(u64)
}
id! {
    /// One executor of a node, counted from 0.
    CoreId(u16)
}
id! {
    /// One start of a node, drawn anew each time; apart from the data, so a restart is visible.
    Incarnation(u64)
}
id! {
    /// One Raft group that owns one range. Only ever grows.
    ShardId(u64)
}
id! {
    /// One member of a shard; unique in its shard and never reused, not even by the same node.
    ReplicaId(u64)
}
id! {
    /// An index key prefix, new for every replica incarnation and every image attempt.
    Space(u32)
}
id! {
    /// The stamp of an effect; strictly grows for every key. Zero is before every write.
    Version(u64)
}
id! {
    /// A Raft term.
    Term(u64)
}
id! {
    /// A position in one shard's Raft log; the first entry is 1.
    LogIndex(u64)
}
id! {
    /// Grows when a shard's range changes; clients are refused only for an old one.
    RangeEpoch(u64)
}
id! {
    /// Grows when a shard's members change; for administration.
    MemberEpoch(u64)
}
id! {
    /// Grows with every change of the map.
    MapEpoch(u64)
}

impl Version {
    /// The version after this one.
    ///
    /// # Panics
    /// At 2^64 - 1, which a shard writing a billion effects per second reaches after 584 years.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("versions last for 584 years at a billion a second"))
    }
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
