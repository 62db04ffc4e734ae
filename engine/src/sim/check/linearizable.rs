//! Linearizability of one key: is there an order of its operations, each between its question and its answer,
//! in which every answer is right?
//!
//! A search by Wing and Gong with Lowe's memory of what was tried: at each point the operations that may come
//! next are those asked before any other undone one was answered. Versions help: a write's must be greater than
//! every earlier one's. An operation without an answer may come at any time after its question, or never.
//!
//! Not here, on purpose: where the operations come from (`calls`).

use margate_net::ids::Version;
use margate_net::message::Precondition;
use rustc_hash::FxHashSet;

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

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none; the longest attempt could not place this step.
    Not { stuck: usize },
    /// The search was given up.
    TooHard,
}

/// What the key holds. A version is unknown while only an unanswered write can have given it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    held: Option<(Value, Option<Version>)>,
    /// No later write has a version at or below this; an unknown version is at least this.
    high: Version,
}

/// Configurations tried before the search is given up.
const CONFIGURATIONS_MAX: usize = 20_000;

/// Searches for an order. Steps may come in any order.
pub(crate) fn check(steps: &[Step]) -> Verdict {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|at| steps[*at].invoked);
    let sorted: Vec<&Step> = order.iter().map(|at| &steps[*at]).collect();
    match Search::new(&sorted).run() {
        Verdict::Not { stuck } => Verdict::Not { stuck: order[stuck] },
        verdict @ (Verdict::Linearizable | Verdict::TooHard) => verdict,
    }
}

/// What has been placed so far.
#[derive(Clone, PartialEq, Eq)]
struct Configuration {
    done: Vec<u64>,
    /// All before this are done.
    front: usize,
    /// Answered steps not yet done.
    left: usize,
    state: State,
}

struct Search<'a> {
    steps: &'a [&'a Step],
    tried: FxHashSet<(Vec<u64>, State)>,
    deepest: (usize, usize),
}

impl<'a> Search<'a> {
    fn new(steps: &'a [&'a Step]) -> Self {
        Self {
            steps,
            tried: FxHashSet::default(),
            deepest: (usize::MAX, 0),
        }
    }

    fn run(mut self) -> Verdict {
        let first = Configuration {
            done: vec![0; self.steps.len().div_ceil(64)],
            front: 0,
            left: self.steps.iter().filter(|step| step.is_answered()).count(),
            state: State::default(),
        };
        let mut open = vec![first];
        while let Some(mut configuration) = open.pop() {
            self.place_reads(&mut configuration);
            if configuration.left == 0 {
                return Verdict::Linearizable;
            }
            if let Some(doomed) = self.doomed(&configuration) {
                self.got_stuck(&configuration, doomed);
                continue;
            }
            if !self.tried.insert((configuration.done.clone(), configuration.state)) {
                continue;
            }
            if self.tried.len() > CONFIGURATIONS_MAX {
                return Verdict::TooHard;
            }
            self.branch(&configuration, &mut open);
        }
        Verdict::Not { stuck: self.deepest.1 }
    }

    /// Places every read that fits the state as it is: it changes nothing, so placing it at once loses nothing.
    fn place_reads(&self, configuration: &mut Configuration) {
        loop {
            let fits = |at: &usize| {
                let step = self.steps[*at];
                step.is_answered() && step.apply(configuration.state) == Some(configuration.state)
            };
            let found = self.candidates(configuration).0.into_iter().find(fits);
            let Some(at) = found else { return };
            self.place(configuration, at, configuration.state);
        }
    }

    /// An answered step that is left and needs a version that is gone: versions never come back.
    fn doomed(&self, configuration: &Configuration) -> Option<usize> {
        let mut left = (configuration.front..self.steps.len()).filter(|at| !configuration.is_done(*at));
        left.find(|at| self.steps[*at].is_past(configuration.state))
    }

    /// Remembers where the longest attempt so far ended.
    fn got_stuck(&mut self, configuration: &Configuration, at: usize) {
        if configuration.left < self.deepest.0 {
            self.deepest = (configuration.left, at);
        }
    }

    /// Adds the configurations one step further; those tried first are added last.
    fn branch(&mut self, configuration: &Configuration, open: &mut Vec<Configuration>) {
        let (mut candidates, first_return) = self.candidates(configuration);
        self.got_stuck(configuration, first_return);
        // The first to be tried is the last to be pushed.
        candidates.sort_by_key(|at| std::cmp::Reverse(self.steps[*at].preference()));
        for at in candidates {
            if let Some(state) = self.steps[at].apply(configuration.state) {
                let mut next = configuration.clone();
                self.place(&mut next, at, state);
                open.push(next);
            }
        }
    }

    /// Undone steps asked before any undone one was answered, and the one that was answered first.
    fn candidates(&self, configuration: &Configuration) -> (Vec<usize>, usize) {
        let (mut first_return, mut first_at) = (u64::MAX, 0);
        let mut found = Vec::new();
        for at in configuration.front..self.steps.len() {
            let step = self.steps[at];
            if step.invoked > first_return {
                break;
            }
            if !configuration.is_done(at) {
                found.push(at);
                if step.returned < first_return {
                    (first_return, first_at) = (step.returned, at);
                }
            }
        }
        (found, first_at)
    }

    fn place(&self, configuration: &mut Configuration, at: usize, state: State) {
        configuration.done[at / 64] |= 1 << (at % 64);
        configuration.state = state;
        configuration.left -= usize::from(self.steps[at].is_answered());
        while configuration.front < self.steps.len() && configuration.is_done(configuration.front) {
            configuration.front += 1;
        }
    }
}

impl Configuration {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }
}

impl Step {
    fn is_answered(&self) -> bool {
        !matches!(self.saw, Saw::Nothing { .. })
    }

    /// Answered steps in the order of their answers, then those whose version was seen in its order, then the rest.
    fn preference(&self) -> (u64, Version) {
        match self.saw {
            Saw::Nothing { version } => (u64::MAX, version.unwrap_or(Version(u64::MAX))),
            _ => (self.returned, Version(0)),
        }
    }

    /// Whether this step, which was answered, can never come again after a state.
    fn is_past(&self, state: State) -> bool {
        match self.saw {
            Saw::Wrote { version, .. } => version <= state.high,
            Saw::Found { version, .. } | Saw::Exists { version } | Saw::Mismatch { actual: Some(version) } => {
                version < state.high || version == state.high && state.shows(version, None).is_none()
            }
            Saw::Mismatch { actual: None } | Saw::Missing | Saw::NoSuchVersion | Saw::Nothing { .. } | Saw::Untouched { .. } => false,
        }
    }

    /// The state after this step, if it can come now.
    fn apply(&self, state: State) -> Option<State> {
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

#[cfg(test)]
#[path = "linearizable_tests.rs"]
mod tests;
