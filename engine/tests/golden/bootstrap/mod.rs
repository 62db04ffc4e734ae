//! Scripts for `bootstrap::machine`: nodes that are not part of a deployment yet, and what they say to each other.
//!
//! - `nodes N`: so many nodes with empty directories; node 1 bootstraps
//! - `retry N`, `persist N`: time to ask again; the identity handed out last is durable
//! - `deliver A B`, `drop A B`, `duplicate A B`: what is on its way from A to B, all of it
//! - `crash N`, `start N`, `wipe N`: only what is durable survives; a wiped directory is a new one
//! - `put-by N`, `bring-back N`: like `wipe`, but the directory comes back
//! - `other-map N`: the node is started with another list of shards; `status`
//! - `quietly …`: without its lines; `repeat N a | b`: both, so often
//!
//! - [`world`]: nodes, directories, messages.
//! - [`random`]: the same world under random events.

mod random;
mod world;

use self::world::{Said, World};
use crate::runner::{self, Command, Trace};

/// See the module's text.
pub(crate) struct Machine {
    world: World,
}

impl Machine {
    /// Before `nodes`.
    pub(crate) fn new() -> Self {
        Self { world: World::new(0) }
    }
}

impl runner::Machine for Machine {
    fn run(&mut self, command: &Command<'_>, trace: &mut Trace) {
        self.said(command).into_iter().for_each(|Said(line)| trace.line(line));
    }
}

impl Machine {
    fn said(&mut self, command: &Command<'_>) -> Vec<Said> {
        match command.words()[..] {
            ["quietly", ..] => {
                let line = command.line.trim_start_matches("quietly").trim();
                let _unheard = self.said(&Command { line });
                Vec::new()
            }
            ["repeat", times, ref rest @ ..] => {
                let (times, lines): (usize, _) = (times.parse().expect("a number of times"), rest.join(" "));
                let lines = (0..times).flat_map(|_| lines.split(" | "));
                lines.flat_map(|line| self.said(&Command { line })).collect()
            }
            _ => self.said_to(command),
        }
    }

    fn said_to(&mut self, command: &Command<'_>) -> Vec<Said> {
        let world = &mut self.world;
        let node = command.number_or(1, 0);
        match command.words()[0] {
            "nodes" => {
                *world = World::new(node);
                (1..=node).flat_map(|id| world.start(id)).collect()
            }
            "crash" => world.crash(node),
            "deliver" => world.deliver(node, command.number(2)),
            "drop" => world.forget(node, command.number(2)),
            "duplicate" => world.duplicate(node, command.number(2)),
            "other-map" => world.other_map(node),
            "persist" => world.persisted(node),
            "retry" => world.retry(node),
            "start" => world.start(node),
            "status" => world.status(),
            "bring-back" => world.bring_back(node),
            "put-by" => world.put_by(node),
            "wipe" => world.wipe(node),
            _ => command.unknown(),
        }
    }
}
