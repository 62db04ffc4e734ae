//! When a link goes wrong, and how: each link has dice of its own, from the seed and its name, so that a seed gives each
//! link the same faults whatever the others do.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::condition::{Condition, Direction, Link};
use super::counts::{Counts, count};
use super::{Dialler, LinkName, Shared};
use crate::dice::logarithmic;
use crate::workload::keys::mix;

/// Seconds a link is sound between two faults. With nine links one is at fault most of the time, and seldom three.
const SOUND_SECS: (f64, f64) = (1.0, 8.0);
/// Seconds a fault lasts; short ones are as frequent as long ones, by their logarithm.
const FAULT_SECS: (f64, f64) = (0.1, 4.0);
/// Seconds a piece waits on a slow link.
const DELAY_SECS: (f64, f64) = (0.001, 0.3);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// All connections are closed.
    Drop,
    /// Every piece waits.
    Delay(Duration),
    /// One direction is cut.
    OneWay(Direction),
    /// Both are cut, and nobody is told.
    HalfOpen,
    /// A byte is flipped; the number says which, and which of its bits.
    Flip(Direction, u64),
}

/// What goes wrong next: after how long, what, for how long.
struct Draw {
    sound: Duration,
    fault: Fault,
    length: Duration,
}

/// Draws faults for a link and inflicts them, for as long as links are to have faults.
pub(super) async fn roll(name: LinkName, link: Arc<Link>, shared: Arc<Shared>) {
    let mut faulty = shared.faulty.subscribe();
    let mut dice = dice_of(shared.seed, name);
    while faulty.wait_for(|faulty| *faulty).await.is_ok() {
        let draw = draw(&mut dice);
        tokio::select! {
            () = suffer(&draw, &link, &shared.counts) => {}
            _ = faulty.wait_for(|faulty| !*faulty) => {}
        }
        heal(&link);
    }
}

async fn suffer(draw: &Draw, link: &Link, counts: &Counts) {
    sleep(draw.sound).await;
    inflict(draw.fault, link, counts);
    sleep(draw.length).await;
}

fn inflict(fault: Fault, link: &Link, counts: &Counts) {
    let change = |change: &dyn Fn(&mut Condition)| link.condition.send_modify(change);
    match fault {
        Fault::Drop => {
            count(&counts.drops);
            change(&|condition| condition.closed += 1);
        }
        Fault::Delay(delay) => {
            count(&counts.delays);
            change(&|condition| condition.delay = delay);
        }
        Fault::OneWay(Direction::Forth) => {
            count(&counts.one_way);
            change(&|condition| condition.forth_held = true);
        }
        Fault::OneWay(Direction::Back) => {
            count(&counts.one_way);
            change(&|condition| condition.back_held = true);
        }
        Fault::HalfOpen => {
            count(&counts.half_open);
            change(&|condition| (condition.forth_held, condition.back_held) = (true, true));
        }
        // Counted when it happens: nothing may pass.
        Fault::Flip(direction, drawn) => link.flip_next(direction, drawn),
    }
}

fn heal(link: &Link) {
    link.condition.send_modify(|condition| *condition = condition.healed());
    link.forget_flips();
}

fn dice_of(seed: u64, name: LinkName) -> StdRng {
    let from = match name.from {
        Dialler::Client => 0,
        Dialler::Node(node) => node,
    };
    StdRng::seed_from_u64(mix(seed ^ mix(from ^ mix(name.to))))
}

fn draw(dice: &mut StdRng) -> Draw {
    let direction = if dice.random_bool(0.5) { Direction::Forth } else { Direction::Back };
    let fault = match dice.random_range(0..5) {
        0 => Fault::Drop,
        1 => Fault::Delay(logarithmic(DELAY_SECS, dice)),
        2 => Fault::OneWay(direction),
        3 => Fault::HalfOpen,
        _ => Fault::Flip(direction, dice.random_range(1..=u64::MAX)),
    };
    Draw {
        sound: Duration::from_secs_f64(dice.random_range(SOUND_SECS.0..SOUND_SECS.1)),
        fault,
        length: logarithmic(FAULT_SECS, dice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(seed: u64, name: LinkName) -> Vec<Fault> {
        let mut dice = dice_of(seed, name);
        (0..200).map(|_| draw(&mut dice).fault).collect()
    }

    #[test]
    fn a_seed_gives_each_link_its_own_faults_again() {
        let name = |from, to| LinkName { from, to };
        let (forth, back) = (name(Dialler::Node(1), 2), name(Dialler::Node(2), 1));
        assert_eq!(faults(1, forth), faults(1, forth));
        assert_ne!(faults(1, forth), faults(2, forth));
        assert_ne!(faults(1, forth), faults(1, back));
        assert_ne!(faults(1, forth), faults(1, name(Dialler::Client, 2)));
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let drawn = faults(
            1,
            LinkName {
                from: Dialler::Client,
                to: 1,
            },
        );
        let has = |kind: fn(&Fault) -> bool| drawn.iter().filter(|fault| kind(fault)).count() > 10;
        assert!(has(|fault| *fault == Fault::Drop) && has(|fault| *fault == Fault::HalfOpen));
        assert!(has(|fault| matches!(fault, Fault::Delay(_))));
        for direction in [Direction::Forth, Direction::Back] {
            let flips = |fault: &Fault| matches!(fault, Fault::Flip(way, _) if *way == direction);
            assert!(drawn.contains(&Fault::OneWay(direction)) && drawn.iter().any(flips));
        }
    }
}
