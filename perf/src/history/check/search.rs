//! The search for an order.
//!
//! Wing and Gong's, with Lowe's memory of what was tried: at each point those operations may come next that were called
//! before any other open one returned. Three things keep it short:
//! - what only looks is placed as soon as it fits: it changes nothing, so waiting gains nothing;
//! - of everything that has a version only the next of the chain can come, since versions rise;
//! - of the pool only what somebody needs is tried, and not before somebody needs it: in any right order it can be
//!   moved down to there, or left out if nobody does.
//!
//! So it branches only where a write of unknown outcome explains an answer. The order of versions is still held against
//! time at every step: a chain that contradicts it gets stuck.

use std::collections::HashSet;

use super::learn::{By, Need, Problem};
use super::violation::Violation;
use crate::history::record::Record;
use crate::workload::keys::mix;

/// Configurations of one key that are tried before the search is given up: 64 bytes of memory each, at most.
pub(super) const CONFIGURATIONS_MAX: usize = 8_000_000;

/// What came of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Not(Box<Violation>),
    /// The search was given up.
    Undecided,
}

/// Searches for an order; gives up after `configurations_max` configurations.
pub(super) fn search(problem: &Problem, records: &[Record], configurations_max: usize) -> Verdict {
    let mut search = Search::new(problem);
    let mut tried = HashSet::new();
    loop {
        let look = search.look();
        if search.open == 0 {
            return Verdict::Linearizable;
        }
        search.note_depth(&look);
        let mut moves = Vec::new();
        if !look.hopeless && tried.insert(search.fingerprint()) {
            moves = search.moves(&look);
        }
        if tried.len() > configurations_max {
            return Verdict::Undecided;
        }
        let next = match moves.pop() {
            Some(next) => {
                search.remember(moves);
                Some(next)
            }
            None => search.back(),
        };
        let Some(next) = next else {
            return Verdict::Not(search.no_order(records));
        };
        search.make(next);
    }
}

/// What stands.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    exists: bool,
    /// The link that made it, if its version is known.
    link: Option<usize>,
    /// The one of the pool that wrote it.
    pool: Option<usize>,
    /// No later write has a version at or below this.
    high: u64,
}

/// All of a configuration but which steps and which of the pool are placed.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    standing: Standing,
    /// Links placed.
    links: usize,
    /// Unknown deletes placed. They are all alike but for their calls, so it is enough to count them.
    deletes: usize,
    /// Which steps and which of the pool are placed, as one number.
    placed: u128,
}

/// A change of what stands.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// An unknown delete.
    Delete,
    /// The next of the chain.
    Link,
    /// The next of the chain, made by this one of the pool.
    LinkBy(usize),
    /// One of the pool.
    Pool(usize),
}

enum Placed {
    Step(usize),
    Pool(usize),
}

/// Moves not made yet at an earlier point.
struct Fork {
    point: Point,
    trail: usize,
    moves: Vec<Move>,
}

/// What can be seen from a configuration.
struct Look {
    /// The earliest return of any open step; what is called later cannot come now.
    horizon: u64,
    /// That step, or the one that makes it hopeless.
    pressing: usize,
    /// A step needs what is gone for good.
    hopeless: bool,
    /// What open steps need.
    needs: Vec<Need>,
}

struct Search<'a> {
    problem: &'a Problem,
    /// Open steps as a ring in the order of calls; the last place is its head.
    next: Vec<usize>,
    before: Vec<usize>,
    open: usize,
    used: Vec<bool>,
    point: Point,
    trail: Vec<Placed>,
    forks: Vec<Fork>,
    /// The fewest open steps of any attempt, the step that did not fit there, what stood.
    deepest: (usize, usize, Standing),
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem) -> Self {
        let head = problem.steps.len();
        Self {
            problem,
            next: (1..=head).chain([0]).collect(),
            before: [head].into_iter().chain(0..head).collect(),
            open: head,
            used: vec![false; problem.pool.len()],
            point: Point::default(),
            trail: Vec::new(),
            forks: Vec::new(),
            deepest: (usize::MAX, 0, Standing::default()),
        }
    }

    /// Places every step that only looks and fits, and says what is left to be seen.
    fn look(&mut self) -> Look {
        let mut look = Look {
            horizon: u64::MAX,
            pressing: 0,
            hopeless: false,
            needs: Vec::new(),
        };
        let head = self.problem.steps.len();
        let mut at = self.next[head];
        while at != head {
            let step = self.problem.steps[at];
            if step.call > look.horizon {
                break;
            }
            let following = self.next[at];
            if step.link.is_none() && self.fits(step.need) {
                self.place(at);
            } else {
                if step.returned < look.horizon {
                    look.horizon = step.returned;
                    look.pressing = at;
                }
                if self.is_gone(step.need) {
                    (look.hopeless, look.pressing) = (true, at);
                    break;
                }
                if step.link.is_none() {
                    add(&mut look.needs, step.need);
                }
            }
            at = following;
        }
        look
    }

    /// All changes that may come now and that somebody needs. The last is the one to try first.
    fn moves(&self, look: &Look) -> Vec<Move> {
        let mut needs = look.needs.clone();
        let mut moves = self.next_links(look.horizon, &mut needs);
        let mut first = Vec::new();
        let mut at = 0;
        // What is needed may itself need something.
        while let Some(need) = needs.get(at).copied() {
            at += 1;
            match need {
                Need::Missing => {
                    let called = self.problem.deletes.partition_point(|call| *call <= look.horizon);
                    if self.point.standing.exists && called > self.point.deletes {
                        first.push(Move::Delete);
                    }
                }
                Need::Pool(hidden) if self.may_come(hidden, look.horizon) => {
                    let before = self.problem.pool[hidden].need;
                    if self.fits(before) {
                        first.push(Move::Pool(hidden));
                    } else {
                        add(&mut needs, before);
                    }
                }
                Need::Any | Need::Link(_) | Need::Never | Need::Pool(_) => {}
            }
        }
        first.append(&mut moves);
        first
    }

    /// The ways in which the chain may go on now; what they lack is added to the needs.
    fn next_links(&self, horizon: u64, needs: &mut Vec<Need>) -> Vec<Move> {
        let Some(link) = self.problem.chain.get(self.point.links) else {
            return Vec::new();
        };
        if link.version <= self.point.standing.high {
            return Vec::new();
        }
        let (call, need) = match link.by {
            By::Nobody => return self.nobodys(horizon, needs),
            By::Step(step) => (self.problem.steps[step].call, self.problem.steps[step].need),
            By::Unknown { call, need } => (call, need),
        };
        if call > horizon {
            return Vec::new();
        }
        if self.fits(need) {
            return vec![Move::Link];
        }
        add(needs, need);
        Vec::new()
    }

    /// Who may have made a version that nobody is known to have made.
    fn nobodys(&self, horizon: u64, needs: &mut Vec<Need>) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut plain = false;
        for (at, hidden) in self.problem.pool.iter().enumerate() {
            if !self.may_come(at, horizon) {
                continue;
            }
            // Plain sets whose values nobody saw are all alike: the first is enough.
            let is_plain = hidden.need == Need::Any && !hidden.seen;
            if is_plain && plain {
                continue;
            }
            plain |= is_plain;
            if self.fits(hidden.need) {
                moves.push(Move::LinkBy(at));
            } else {
                add(needs, hidden.need);
            }
        }
        moves
    }

    fn may_come(&self, hidden: usize, horizon: u64) -> bool {
        !self.used[hidden] && self.problem.pool[hidden].call <= horizon
    }

    fn fits(&self, need: Need) -> bool {
        let standing = &self.point.standing;
        match need {
            Need::Any => true,
            Need::Link(link) => standing.link == Some(link),
            Need::Missing => !standing.exists,
            Need::Never => false,
            Need::Pool(hidden) => standing.pool == Some(hidden),
        }
    }

    /// Whether it stood and never comes back.
    fn is_gone(&self, need: Need) -> bool {
        match need {
            Need::Any | Need::Missing => false,
            Need::Link(link) => link < self.point.links && !self.fits(need),
            Need::Never => true,
            Need::Pool(hidden) => self.used[hidden] && !self.fits(need),
        }
    }

    fn make(&mut self, change: Move) {
        let high = self.point.standing.high;
        let hidden = |exists, pool| Standing {
            exists,
            link: None,
            pool,
            high: high.saturating_add(1),
        };
        match change {
            Move::Delete => {
                self.point.deletes += 1;
                self.point.standing = hidden(false, None);
            }
            Move::Link => self.make_link(None),
            Move::LinkBy(by) => {
                self.use_hidden(by);
                self.make_link(Some(by));
            }
            Move::Pool(by) => {
                self.use_hidden(by);
                self.point.standing = hidden(true, Some(by));
            }
        }
    }

    fn make_link(&mut self, pool: Option<usize>) {
        let at = self.point.links;
        let link = self.problem.chain[at];
        self.point.links += 1;
        self.point.standing = Standing {
            exists: link.exists,
            link: Some(at),
            pool,
            high: link.version,
        };
        match link.by {
            By::Step(step) => self.place(step),
            By::Nobody | By::Unknown { .. } => {}
        }
    }

    fn use_hidden(&mut self, at: usize) {
        self.used[at] = true;
        self.point.placed ^= name(self.problem.steps.len() + at);
        self.trail.push(Placed::Pool(at));
    }

    fn place(&mut self, step: usize) {
        let (before, next) = (self.before[step], self.next[step]);
        self.next[before] = next;
        self.before[next] = before;
        self.open -= 1;
        self.point.placed ^= name(step);
        self.trail.push(Placed::Step(step));
    }

    fn remember(&mut self, moves: Vec<Move>) {
        if !moves.is_empty() {
            self.forks.push(Fork {
                point: self.point,
                trail: self.trail.len(),
                moves,
            });
        }
    }

    /// Goes back to the last point with a move left, and takes it.
    fn back(&mut self) -> Option<Move> {
        let fork = self.forks.last_mut()?;
        let next = fork.moves.pop()?;
        let (point, trail) = (fork.point, fork.trail);
        if fork.moves.is_empty() {
            self.forks.pop();
        }
        for placed in self.trail.drain(trail..).rev() {
            match placed {
                Placed::Step(step) => {
                    self.next[self.before[step]] = step;
                    self.before[self.next[step]] = step;
                    self.open += 1;
                }
                Placed::Pool(at) => self.used[at] = false,
            }
        }
        self.point = point;
        Some(next)
    }

    fn note_depth(&mut self, look: &Look) {
        if self.open < self.deepest.0 {
            self.deepest = (self.open, look.pressing, self.point.standing);
        }
    }

    /// Everything that decides what can come, as one number; two different ones meet with a chance of 2^-128.
    fn fingerprint(&self) -> u128 {
        let Standing { exists, link, pool, high } = self.point.standing;
        let place = |at: Option<usize>| at.map_or(0, |at| at as u64 + 1);
        let parts = [
            u64::from(exists),
            place(link),
            place(pool),
            high,
            self.point.links as u64,
            self.point.deletes as u64,
        ];
        let fold = |seed| parts.iter().fold(seed, |sum, part| mix(sum ^ *part));
        self.point.placed ^ (u128::from(fold(1)) << 64) ^ u128::from(fold(2))
    }

    fn no_order(&self, records: &[Record]) -> Box<Violation> {
        let (open, stuck, standing) = self.deepest;
        let answered = self.problem.steps.len();
        Box::new(Violation::NoOrder {
            stuck: records[self.problem.steps[stuck].record],
            placed: answered - open,
            answered,
            standing: self.words(standing),
        })
    }

    fn words(&self, standing: Standing) -> String {
        match (standing.link, standing.exists) {
            (Some(link), true) => format!("version {} stood", self.problem.chain[link].version),
            (Some(link), false) => format!("the key was gone since version {}", self.problem.chain[link].version),
            (None, true) => "a write of unknown outcome stood".to_owned(),
            (None, false) => "the key did not exist".to_owned(),
        }
    }
}

fn add(needs: &mut Vec<Need>, need: Need) {
    if !needs.contains(&need) {
        needs.push(need);
    }
}

/// A number that stands for one step, or one of the pool, in sums of them.
fn name(at: usize) -> u128 {
    let at = at as u64;
    (u128::from(mix(at)) << 64) | u128::from(mix(!at))
}
