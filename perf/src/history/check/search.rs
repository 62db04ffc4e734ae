//! The search for an order.
//!
//! Wing and Gong's, with Lowe's memory of what was tried: at each point those operations may come next that were called
//! before any other open one returned. Three things keep it short:
//! - what only looks is placed as soon as it fits: it changes nothing, so waiting gains nothing;
//! - of everything that has a version only the next of the chain can come, since versions rise;
//! - of the pool only what somebody needs is tried, and not before somebody needs it: in any right order it can be
//!   moved down to there, or left out if nobody does.
//!
//! So it branches only where a write of unknown outcome explains an answer. What was tried need not be tried again with
//! more of the unknown deletes used up, and one of the pool counts as used only as long as somebody needs it. The order of
//! versions is still held against time at every step: a chain that contradicts it gets stuck.

use std::collections::HashMap;

use super::learn::{By, Link, Need, Problem};
use super::violation::Violation;
use crate::history::record::Record;
use crate::workload::keys::mix;

/// Configurations of one key that are tried before the search is given up: about 100 bytes of memory each, at most.
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
    let mut tried = Tried::default();
    loop {
        let look = search.look();
        if search.open == 0 {
            return Verdict::Linearizable;
        }
        search.note_depth(&look);
        let mut moves = Vec::new();
        if !look.hopeless && tried.is_new(&search) {
            moves = search.moves(&look);
        }
        if tried.count > configurations_max {
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

/// What was tried: of each configuration the fewest unknown deletes it was reached with.
#[derive(Default)]
struct Tried {
    deletes: HashMap<u128, usize>,
    count: usize,
}

impl Tried {
    /// Whether nothing as good as this was tried before; from now on it was.
    fn is_new(&mut self, search: &Search<'_>) -> bool {
        let used = search.point.deletes;
        let fewest = self.deletes.entry(search.fingerprint()).or_insert(usize::MAX);
        let is_new = used < *fewest;
        *fewest = used.min(*fewest);
        self.count += usize::from(is_new);
        is_new
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

/// All of a configuration but which of the pool are used.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    standing: Standing,
    /// Links placed.
    links: usize,
    /// Unknown deletes placed. They are all alike but for their calls, so it is enough to count them.
    deletes: usize,
    /// Which steps are placed, as one number.
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
    /// Those of the pool that are used.
    used_list: Vec<usize>,
    /// How many open steps need each of the pool.
    needed: Vec<usize>,
    /// Links up to the last one that nobody is known to have made.
    links_by_nobody: usize,
    point: Point,
    trail: Vec<Placed>,
    forks: Vec<Fork>,
    /// The fewest open steps of any attempt, the step that did not fit there, what stood.
    deepest: (usize, usize, Standing),
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem) -> Self {
        let head = problem.steps.len();
        let is_nobodys = |link: &Link| matches!(link.by, By::Nobody);
        Self {
            problem,
            used_list: Vec::new(),
            needed: needed(problem),
            links_by_nobody: problem.chain.iter().rposition(is_nobodys).map_or(0, |last| last + 1),
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
        self.used_list.push(at);
        self.trail.push(Placed::Pool(at));
    }

    fn place(&mut self, step: usize) {
        let (before, next) = (self.before[step], self.next[step]);
        self.next[before] = next;
        self.before[next] = before;
        self.open -= 1;
        if let Need::Pool(hidden) = self.problem.steps[step].need {
            self.needed[hidden] -= 1;
        }
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
                    if let Need::Pool(hidden) = self.problem.steps[step].need {
                        self.needed[hidden] += 1;
                    }
                }
                Placed::Pool(at) => {
                    self.used[at] = false;
                    self.used_list.pop();
                }
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

    /// Everything that decides what can come, but for the unknown deletes left, as one number; two different ones meet with a chance of 2^-128.
    fn fingerprint(&self) -> u128 {
        let Standing { exists, link, pool, high } = self.point.standing;
        let place = |at: Option<usize>| at.map_or(0, |at| at as u64 + 1);
        let parts = [u64::from(exists), place(link), place(pool), high, self.point.links as u64];
        let fold = |seed| parts.iter().fold(seed, |sum, part| mix(sum ^ *part));
        let standing = (u128::from(fold(1)) << 64) ^ u128::from(fold(2));
        let used = self.used_list.iter().filter(|hidden| self.matters(**hidden));
        used.fold(self.point.placed ^ standing, |sum, hidden| {
            sum ^ name(self.problem.steps.len() + hidden)
        })
    }

    /// Whether anything that may still come depends on whether this one of the pool is used.
    fn matters(&self, hidden: usize) -> bool {
        self.needed[hidden] > 0 || self.point.links < self.links_by_nobody
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

/// How often each of the pool is needed. What another unknown write needs is needed for ever, since that one may come at
/// any time.
fn needed(problem: &Problem) -> Vec<usize> {
    let mut needed = vec![0; problem.pool.len()];
    let by_steps = problem.steps.iter().map(|step| step.need);
    let by_pool = problem.pool.iter().map(|hidden| hidden.need);
    let by_links = problem.chain.iter().filter_map(|link| match link.by {
        By::Unknown { need, .. } => Some(need),
        By::Nobody | By::Step(_) => None,
    });
    for need in by_steps.chain(by_pool).chain(by_links) {
        if let Need::Pool(hidden) = need {
            needed[hidden] += 1;
        }
    }
    needed
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
