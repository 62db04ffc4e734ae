//! Linearizability of one key: is there an order of its operations, each between its question and its answer,
//! in which every answer is right?
//!
//! A search by Wing and Gong with Lowe's memory of what was tried: at each point the operations that may come
//! next are those asked before any other undone one was answered. Versions help: a write's must be greater than
//! every earlier one's. An operation without an answer may come at any time after its question, or never.
//!
//! Not here, on purpose: which answers are right (`register`), where the operations come from (`calls`).

use rustc_hash::FxHashSet;

use super::register::{State, Step};

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

#[cfg(test)]
#[path = "linearizable_tests.rs"]
mod tests;
