//! What is done to the nodes meanwhile: kill -9 of a node that leads, and pauses of one.
//!
//! One at a time: with two of three nodes down nothing is answered, and nothing can be wrong.

use std::fmt;
use std::time::Duration;

use margate_client::Client;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::worker::Crew;
use crate::dice::logarithmic;
use crate::error::PerfError;
use crate::margate::nodes::{Chosen, Nodes};
use crate::workload::keys::mix;

/// Seconds a node stays killed, at least and at most.
const DOWN_SECS: (f64, f64) = (0.1, 2.0);
/// Seconds a pause lasts, at least and at most; short ones are as frequent as long ones, by their logarithm.
const PAUSE_SECS: (f64, f64) = (0.1, 10.0);
/// How often we look whether it is over.
const POLL: Duration = Duration::from_millis(50);

/// How often to do what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Time from one kill to the next, about.
    pub(crate) kill_every: Option<Duration>,
    /// Time from one pause to the next, about.
    pub(crate) pause_every: Option<Duration>,
    /// The seed.
    pub(crate) seed: u64,
}

/// How often what was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Disturbances {
    /// Nodes killed and started again.
    pub(crate) kills: u32,
    /// Nodes paused.
    pub(crate) pauses: u32,
}

impl fmt::Display for Disturbances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kills {}  pauses {}", self.kills, self.pauses)
    }
}

/// One of the two, and when it comes next.
struct Turn {
    every: Duration,
    due: Instant,
}

impl Turn {
    fn new(every: Option<Duration>, dice: &mut StdRng) -> Option<Self> {
        let every = every?;
        let due = Instant::now() + every.mul_f64(dice.random_range(0.5..1.5));
        Some(Self { every, due })
    }

    fn took(&mut self, dice: &mut StdRng) {
        self.due = Instant::now() + self.every.mul_f64(dice.random_range(0.5..1.5));
    }
}

/// Disturbs the nodes until it is time to go home; what it began it ends.
///
/// # Errors
/// A node has ended by itself, or does not come back.
pub(crate) async fn disturb(plan: Plan, nodes: &mut Nodes, observer: &Client, crew: &Crew) -> Result<Disturbances, PerfError> {
    let mut done = Disturbances::default();
    let mut dice = StdRng::seed_from_u64(mix(!plan.seed));
    let mut kill = Turn::new(plan.kill_every, &mut dice);
    let mut pause = Turn::new(plan.pause_every, &mut dice);
    while !crew.is_over() {
        sleep_until(Instant::now() + POLL).await;
        let now = Instant::now();
        if let Some(kill) = kill.as_mut().filter(|turn| turn.due <= now) {
            kill_one(nodes, observer, &mut dice).await?;
            done.kills += 1;
            kill.took(&mut dice);
        } else if let Some(pause) = pause.as_mut().filter(|turn| turn.due <= now) {
            pause_one(nodes, observer, &mut dice).await?;
            done.pauses += 1;
            pause.took(&mut dice);
        }
        nodes.check_all()?;
    }
    Ok(done)
}

async fn kill_one(nodes: &mut Nodes, observer: &Client, dice: &mut StdRng) -> Result<(), PerfError> {
    let chosen = choose(nodes, observer, dice).await?;
    let down = logarithmic(DOWN_SECS, dice);
    let killed = nodes.kill(&chosen).await?;
    sleep(down).await;
    nodes.start_again(killed, observer).await?;
    eprintln!("node {} killed, down for {:.1} s", chosen.node, down.as_secs_f64());
    Ok(())
}

async fn pause_one(nodes: &Nodes, observer: &Client, dice: &mut StdRng) -> Result<(), PerfError> {
    let chosen = choose(nodes, observer, dice).await?;
    let length = logarithmic(PAUSE_SECS, dice);
    let paused = nodes.pause(&chosen)?;
    sleep(length).await;
    drop(paused);
    eprintln!("node {} paused for {:.1} s", chosen.node, length.as_secs_f64());
    Ok(())
}

/// The node that leads most shards, or any if nobody says that it leads.
async fn choose(nodes: &Nodes, observer: &Client, dice: &mut StdRng) -> Result<Chosen, PerfError> {
    match nodes.leader(observer).await {
        Err(PerfError::NoLeader) => Ok(nodes.choose(dice.random_range(0..usize::from(u8::MAX)))),
        chosen => chosen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_never_comes() {
        let mut dice = StdRng::seed_from_u64(1);
        assert!(Turn::new(None, &mut dice).is_none());
        let every = Duration::from_secs(4);
        let due = Turn::new(Some(every), &mut dice).expect("asked for").due - Instant::now();
        assert!((every / 4..every * 2).contains(&due), "{due:?}");
    }
}
