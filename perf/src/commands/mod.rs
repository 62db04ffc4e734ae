//! One file per command, and what they share: `turn.rs` measures one system once, `scratch.rs` is where data lie.

pub(crate) mod amplification;
pub(crate) mod check;
pub(crate) mod cold_get;
#[cfg(feature = "peers")]
pub(crate) mod compare;
pub(crate) mod failover;
pub(crate) mod flags;
pub(crate) mod history;
pub(crate) mod hostile;
pub(crate) mod kill;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod overload;
pub(crate) mod parts;
pub(crate) mod probe;
pub(crate) mod restart;
pub(crate) mod scale;
pub(crate) mod scratch;
pub(crate) mod sweep;
pub(crate) mod turn;

/// What a command found, once it could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// All as it should be.
    Good,
    /// Operations failed, writes were lost, flags were missing: the output says which.
    Bad,
    /// `check` found what must not be.
    Problems,
}

impl Verdict {
    /// The worse of the two.
    pub(crate) fn and(self, other: Self) -> Self {
        self.max(other)
    }

    /// From a condition that should hold.
    pub(crate) fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}
