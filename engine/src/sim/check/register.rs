//! One key as a register with versions: which answers are right in which state, and what they change.
//!
//! A write's version must be greater than every earlier one's. A version is unknown while only an unanswered write
//! can have given it, and becomes known by whoever sees it.
//!
//! Not here, on purpose: the order of operations (`linearizable`).

use margate_net::ids::Version;
use margate_net::message::Precondition;

/// The number of a value; all values written are different.
pub(crate) type Value = u64;

/// One operation on the key as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When it was asked, on a clock that orders all questions and answers.
    pub(crate) invoked: u64,
    /// When it was answered; the largest number for never.
    pub(crate) returned: u64,
    pub(crate) call: Call,
    pub(crate) saw: Saw,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Delete { at: Option<Version> },
    Exchange { expected: Option<Value>, value: Value },
    Read,
    ReadExact { version: Version },
    Set { value: Value, when: Precondition },
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Saw {
    /// The key exists at this version.
    Exists { version: Version },
    /// A read's value; only the version from reads that return no value.
    Found { version: Version, value: Option<Value> },
    /// The key is at another version, or does not exist.
    Mismatch { actual: Option<Version> },
    /// The key does not exist.
    Missing,
    /// The version asked for is not the one that stands.
    NoSuchVersion,
    /// Nothing: a write that may have been done or not. The version is known if its value was read later.
    Nothing { version: Option<Version> },
    /// A write found nothing to do.
    Untouched { old: Old },
    /// A write was done.
    Wrote { version: Version, old: Old },
}

/// The value before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Old {
    NotAsked,
    Was(Option<Value>),
}

/// What the key holds. A version is unknown while only an unanswered write can have given it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    held: Option<(Value, Option<Version>)>,
    /// No later write has a version at or below this; an unknown version is at least this.
    high: Version,
}

impl Step {
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self.saw, Saw::Nothing { .. })
    }

    /// Answered steps in the order of their answers, then those whose version was seen in its order, then the rest.
    pub(crate) fn preference(&self) -> (u64, Version) {
        match self.saw {
            Saw::Nothing { version } => (u64::MAX, version.unwrap_or(Version(u64::MAX))),
            _ => (self.returned, Version(0)),
        }
    }

    /// Whether this step, which was answered, can never come again after a state.
    pub(crate) fn is_past(&self, state: State) -> bool {
        match self.saw {
            Saw::Wrote { version, .. } => version <= state.high,
            Saw::Found { version, .. } | Saw::Exists { version } | Saw::Mismatch { actual: Some(version) } => {
                version < state.high || version == state.high && state.shows(version, None).is_none()
            }
            Saw::Mismatch { actual: None } | Saw::Missing | Saw::NoSuchVersion | Saw::Nothing { .. } | Saw::Untouched { .. } => false,
        }
    }

    /// The state after this step, if it can come now.
    pub(crate) fn apply(&self, state: State) -> Option<State> {
        match (&self.call, &self.saw) {
            (Call::Read, Saw::Found { version, value }) => state.shows(*version, *value),
            (
                Call::Read
                | Call::Set {
                    when: Precondition::Present,
                    ..
                },
                Saw::Missing,
            ) => state.is_empty(),
            (Call::ReadExact { version: wanted }, Saw::Found { version, value }) if wanted == version => state.shows(*version, *value),
            (Call::ReadExact { version }, Saw::NoSuchVersion) => state.is_not_at(*version),
            (
                Call::Set {
                    when: Precondition::Absent,
                    ..
                },
                Saw::Exists { version },
            ) => state.shows(*version, None),
            (
                Call::Set {
                    when: Precondition::AtVersion(wanted),
                    ..
                },
                Saw::Mismatch { actual },
            ) => match actual {
                Some(actual) if actual != wanted => state.shows(*actual, None),
                Some(_) => None,
                None => state.is_empty(),
            },
            (Call::Set { .. } | Call::Exchange { .. } | Call::Delete { .. }, Saw::Wrote { version, old }) => {
                let state = self.call.permits(state)?;
                state.had(*old)?;
                state.wrote(self.call.writes(), Some(*version))
            }
            (Call::Set { .. } | Call::Exchange { .. } | Call::Delete { .. }, Saw::Nothing { version }) => {
                self.call.permits(state)?.wrote(self.call.writes(), *version)
            }
            (Call::Exchange { expected, .. }, Saw::Untouched { old }) => {
                let held = state.value();
                (held.is_none() || held != *expected).then_some(())?;
                state.had(*old)
            }
            (Call::Delete { at }, Saw::Untouched { old }) => {
                let state = match at {
                    Some(version) => state.is_not_at(*version)?,
                    None => state.is_empty()?,
                };
                state.had(*old)
            }
            (Call::Read | Call::ReadExact { .. } | Call::Set { .. } | Call::Exchange { .. } | Call::Delete { .. }, _) => None,
        }
    }
}

impl Call {
    /// The state, with what is learnt from it, if the write's condition holds in it.
    fn permits(&self, state: State) -> Option<State> {
        match self {
            Self::Read | Self::ReadExact { .. } => None,
            Self::Set { when, .. } => match when {
                Precondition::Always => Some(state),
                Precondition::Absent => state.is_empty(),
                Precondition::Present => state.held.map(|_| state),
                Precondition::AtVersion(version) => state.shows(*version, None),
            },
            Self::Exchange { expected, .. } => (state.held.is_some() && state.value() == *expected).then_some(state),
            Self::Delete { at } => match at {
                Some(version) => state.shows(*version, None),
                None => state.held.map(|_| state),
            },
        }
    }

    fn writes(&self) -> Option<Value> {
        match self {
            Self::Set { value, .. } | Self::Exchange { value, .. } => Some(*value),
            Self::Delete { .. } | Self::Read | Self::ReadExact { .. } => None,
        }
    }
}

impl State {
    fn value(&self) -> Option<Value> {
        self.held.map(|(value, _)| value)
    }

    fn is_empty(self) -> Option<Self> {
        self.held.is_none().then_some(self)
    }

    /// The key is at this version, with this value if one is given. An unknown version becomes known by it.
    fn shows(self, version: Version, value: Option<Value>) -> Option<Self> {
        let (held, at) = self.held?;
        if value.is_some_and(|value| value != held) {
            return None;
        }
        match at {
            Some(at) => (at == version).then_some(self),
            None => (version >= self.high).then_some(Self {
                held: Some((held, Some(version))),
                high: version,
            }),
        }
    }

    /// The key does not exist, or is at another version; an unknown version may be another.
    fn is_not_at(self, version: Version) -> Option<Self> {
        let is_at = self.held.is_some_and(|(_, at)| at == Some(version));
        (!is_at).then_some(self)
    }

    fn had(self, old: Old) -> Option<Self> {
        match old {
            Old::NotAsked => Some(self),
            Old::Was(value) => (self.value() == value).then_some(self),
        }
    }

    fn wrote(self, value: Option<Value>, version: Option<Version>) -> Option<Self> {
        if version.is_some_and(|version| version <= self.high) {
            return None;
        }
        Some(Self {
            held: value.map(|value| (value, version)),
            high: version.unwrap_or(self.high.next()),
        })
    }
}
