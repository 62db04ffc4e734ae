//! What must not be, as facts and in words.

use std::fmt;

use margate_net::ids::Version;

use super::value::Attempt;

/// A value at its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The version.
    pub(crate) version: Version,
    /// Who wrote the value.
    pub(crate) attempt: Attempt,
}

/// Something that must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// An acknowledged write is gone: another value, an older version or nothing stands instead.
    Lost {
        key: usize,
        acknowledged: Standing,
        found: Option<Standing>,
    },
    /// A write shows again, at another version or after it was overwritten.
    Duplicated { key: usize, attempt: Attempt, at: Option<Version> },
    /// A value that nobody wrote to this key.
    Foreign { key: usize, at: Option<Version> },
    /// A write that was refused shows.
    RefusedShows { key: usize, attempt: Attempt },
    /// A write got a version not above one acknowledged before it began.
    OutOfOrder { key: usize, before: Standing, after: Standing },
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {} of attempt {}", self.version, self.attempt)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |at: &Option<Version>| at.map_or("before a write".to_owned(), |version| format!("at version {version}"));
        match self {
            Self::Lost {
                key,
                acknowledged,
                found: Some(found),
            } => {
                write!(f, "key number {key}: acknowledged {acknowledged}, found {found}")
            }
            Self::Lost {
                key,
                acknowledged,
                found: None,
            } => write!(f, "key number {key}: acknowledged {acknowledged}, found nothing"),
            Self::Duplicated { key, attempt, at } => write!(f, "key number {key}: attempt {attempt} shows a second time, {}", place(at)),
            Self::Foreign { key, at } => write!(f, "key number {key}: a value nobody wrote to it stands {}", place(at)),
            Self::RefusedShows { key, attempt } => write!(f, "key number {key}: attempt {attempt} was refused and shows"),
            Self::OutOfOrder { key, before, after } => write!(f, "key number {key}: {after} was acknowledged after {before}"),
        }
    }
}
