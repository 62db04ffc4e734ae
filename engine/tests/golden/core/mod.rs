//! Scripts for `core::machine`: one to three nodes whose disks and links do only what the script says.
//!
//! - `nodes N [SHARDS [tenure | segments KIB]]` (with tenure a tick is 100 ms; nobody has tenure otherwise), `start N`, `crash N [BLOCKS]`, `stop N`, `status`
//! - `tick N [TIMES]`, `elect N`, `lead N`, `wait MS`, `later MS` (as `wait`, but no node gets a turn)
//! - `N: OPERATION; OPERATION …`, `fill N COUNT OPERATION` (`@` in it becomes a number)
//! - `flush N`, `commit-index N`, `deliver A B [COUNT]`, `settle`
//! - `drop A B`, `duplicate A B`, `reverse A B`, `cut N`, `heal`, `lost A B`
//! - `disk N MIB` (so much is measured to be free), `refuse N`, `allow N` (there is no space for segments, and again)
//! - `rot N BATCH [TEXT]`, `forget N BATCH`, `wipe-log N`, `wipe-index N`, `revert-index N GENERATIONS`, `wipe N` (new, empty disks)
//! - `members N`, `counters N`: who belongs to its shards; what it transferred, reclaimed, and has on disk
//! - `quietly COMMAND`: shows only answers and halts; `repeat TIMES COMMAND | COMMAND …`
//!
//! `settle` lets everything under way arrive, but for what is under way on nodes that are cut off.
//!
//! - [`node`]: one core and the driver around it.
//! - [`world`]: nodes, links, clock.
//! - [`words`]: operations as scripts write them.

mod node;
mod words;
mod world;

use crate::runner::{self, Command, Trace};
use margate_engine::types::Nanos;
use words::Asked;
use world::World;

/// A tick, where replicas have tenure.
const TICK: Nanos = Nanos::from_millis(100);
/// Rounds of everything until nothing moves; more means that something goes round for ever.
const ROUNDS_MAX: usize = 10_000;
/// Ticks in which any follower campaigns.
const ELECTION_TICKS_MAX: usize = 4 * node::ELECTION_TICKS as usize;

/// See the module's text.
pub(crate) struct Machine {
    world: Option<World>,
}

impl Machine {
    /// Before `nodes`.
    pub(crate) fn new() -> Self {
        Self { world: None }
    }

    fn begin(&mut self, command: &Command<'_>, tick: Nanos, segment_bytes: u32) {
        self.world = Some(World::new(command.number(1), command.number_or(2, 1), (tick, segment_bytes)));
    }

    fn world(&mut self) -> &mut World {
        self.world.as_mut().expect("a script begins with `nodes`")
    }
}

impl runner::Machine for Machine {
    fn run(&mut self, command: &Command<'_>, trace: &mut Trace) {
        let words = command.words();
        match words.as_slice() {
            ["nodes", .., "tenure"] => self.begin(command, TICK, node::SEGMENT_BYTES),
            ["nodes", .., "segments", _] => {
                let segment_bytes = u32::try_from(command.number(4) << 10).expect("a segment is small");
                self.begin(command, Nanos(0), segment_bytes);
            }
            ["nodes", ..] => self.begin(command, Nanos(0), node::SEGMENT_BYTES),
            ["quietly", ..] => {
                let line = command.line.trim_start_matches("quietly").trim();
                self.world().quiet = true;
                self.run(&Command { line }, trace);
                self.world().quiet = false;
            }
            ["repeat", times, rest @ ..] => {
                let (times, lines): (u64, _) = (times.parse().expect("a number of times"), rest.join(" "));
                for line in (0..times).flat_map(|_| lines.split(" | ")) {
                    self.run(&Command { line }, trace);
                }
            }
            _ => run(self.world(), command, trace),
        }
    }
}

fn run(world: &mut World, command: &Command<'_>, trace: &mut Trace) {
    let words = command.words();
    if let Some((node, operations)) = command.line.split_once(": ") {
        let node = node.parse().unwrap_or_else(|_| command.unknown());
        return world.ask(node, operations.split(';').map(Asked::parse).collect(), trace);
    }
    match words[0] {
        "fill" => fill(world, command, trace),
        "status" => world.status(trace),
        "settle" => settle(world, trace),
        "later" => world.later(command.number(1)),
        "wait" => world.wait(command.number(1), trace),
        "heal" => world.heal(),
        "drop" | "duplicate" | "reverse" | "deliver" | "lost" => link(world, command, trace),
        _ => of_node(world, command, trace),
    }
}

fn of_node(world: &mut World, command: &Command<'_>, trace: &mut Trace) {
    let node = command.number(1);
    match command.words()[0] {
        "commit-index" => note(world.commit_index(node, trace), "no generation is under way", trace),
        "crash" => world.crash(node, command.number_or(2, 0)),
        "counters" => world.counters(node, trace),
        "cut" => world.cut(node),
        "allow" => world.node(node).refuses_segments = false,
        "disk" => world.measure(node, command.number(2) << 20, trace),
        "refuse" => world.node(node).refuses_segments = true,
        "elect" => elect(world, node, trace),
        "flush" => note(world.flush(node, trace), "no write is under way", trace),
        "forget" => world.node(node).disk.forget(command.number(2)),
        "lead" => {
            elect(world, node, trace);
            settle(world, trace);
        }
        "members" => world.members(node, trace),
        "revert-index" => world
            .node(node)
            .revert_index(usize::try_from(command.number(2)).expect("few generations")),
        "rot" => world.node(node).disk.rot(command.number(2), command.words().get(3).copied()),
        "start" => world.start(node, trace),
        "stop" => world.stop(node, trace),
        "tick" => (0..command.number_or(2, 1)).for_each(|_| world.tick(node, trace)),
        "wipe" => world.node(node).wipe(),
        "wipe-index" => world.node(node).wipe_index(),
        "wipe-log" => world.node(node).disk.wipe(),
        _ => command.unknown(),
    }
}

fn link(world: &mut World, command: &Command<'_>, trace: &mut Trace) {
    let (from, to) = (command.number(1), command.number(2));
    match command.words()[0] {
        "drop" => world.link(from, to).clear(),
        "duplicate" => world.duplicate(from, to),
        "reverse" => world.link(from, to).make_contiguous().reverse(),
        "deliver" => {
            let count = command.number_or(3, world.link(from, to).len().max(1) as u64);
            (0..count).for_each(|_| note(world.deliver(from, to, trace), "nothing is on its way", trace));
        }
        "lost" => world.lost(from, to, trace),
        _ => command.unknown(),
    }
}

fn fill(world: &mut World, command: &Command<'_>, trace: &mut Trace) {
    let words = command.words();
    let (node, count, operation) = (command.number(1), command.number(2), words[3..].join(" "));
    let asked = (0..count).map(|at| Asked::parse(&operation.replace('@', &format!("{at:06}"))));
    world.ask(node, asked.collect(), trace);
}

/// Says why a command did nothing.
fn note(done: bool, otherwise: &str, trace: &mut Trace) {
    if !done {
        trace.line(format!("({otherwise})"));
    }
}

/// Ticks a node until it campaigns.
fn elect(world: &mut World, node: u64, trace: &mut Trace) {
    for _ in 0..ELECTION_TICKS_MAX {
        if world.campaigns(node) {
            return;
        }
        world.tick(node, trace);
    }
    note(world.campaigns(node), "it does not campaign", trace);
}

/// Lets everything that is under way arrive, until nothing is.
fn settle(world: &mut World, trace: &mut Trace) {
    for _ in 0..ROUNDS_MAX {
        if !world.everything_once(trace) {
            return;
        }
    }
    panic!("the world does not settle");
}
