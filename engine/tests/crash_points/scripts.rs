//! What deployments live through while their crashes are enumerated.

use super::deployment::Deployment;
use super::files::deployment::Lag;
use super::judge::{at_once, check_deployment};
use super::report::Enumerator;
use super::states::{Left, Stride};

/// Long enough for the overlay to go to the index.
const OVERLAY_MS: u64 = 6_000;
/// Values of the shortest script: short ones, and one that fills most of a segment.
const VALUE_BYTES: [usize; 5] = [20, 700, 3_000, 90, 14_000];
/// A value of which a segment takes two.
const HALF_SEGMENT_BYTES: usize = 11_900;
/// Ticks in which reclaim comes to its end.
const RECLAIM_TICKS: usize = 60;
/// Ticks in which an image begins.
const IMAGE_TICKS: usize = 40;
/// Keys whose values fill a log.
const BULK: [&str; 12] = ["b01", "b02", "b03", "b04", "b05", "b06", "b07", "b08", "b09", "b10", "b11", "b12"];

/// Sets, deletes and sets again, until segments have changed and the index has taken several generations.
pub(crate) fn overwrite(deployment: &mut Deployment, keys: [&'static str; 4], rounds: usize) {
    deployment.elect();
    for round in 0..rounds {
        for (key, at) in keys.iter().zip(round..) {
            deployment.set(key, VALUE_BYTES[at % VALUE_BYTES.len()]);
        }
        deployment.delete(keys[round % keys.len()]);
        deployment.pass(OVERLAY_MS);
    }
    deployment.pass(OVERLAY_MS);
}

/// Fills a log with values and deletes them: much of it comes free at once, more than is used again. Then writes on, so that
/// reclaim goes on segment by segment.
pub(crate) fn reclaim(deployment: &mut Deployment, stride: Stride, rounds: usize) {
    deployment.elect();
    deployment.set("stays", 3_000);
    deployment.set("gone", 700);
    deployment.delete("gone");
    BULK.iter().for_each(|key| deployment.set(key, HALF_SEGMENT_BYTES));
    deployment.pass(OVERLAY_MS);
    BULK.iter().skip(1).for_each(|key| deployment.delete(key));
    deployment.watch(Enumerator::new(stride));
    let rest = |deployment: &mut Deployment| {
        deployment.pass(OVERLAY_MS);
        (0..RECLAIM_TICKS).for_each(|_| deployment.tick());
    };
    rest(deployment);
    for _ in 0..rounds {
        deployment.set("again", HALF_SEGMENT_BYTES);
        deployment.set("again", HALF_SEGMENT_BYTES);
        deployment.delete("again");
        rest(deployment);
    }
    for node in &deployment.nodes {
        let done = node.core.counters().reclaimed;
        assert!(
            done.segments >= 3 && done.values >= 2 && done.deletes >= 1,
            "reclaim did little: {done:?}"
        );
    }
}

/// Three nodes, one of which loses its data directory: it is admitted under a new replica id, takes an image and votes.
pub(crate) fn replace(stride: Stride) -> Enumerator {
    let mut deployment = wiped();
    deployment.watch(Enumerator::new(stride));
    take_image(&mut deployment);
    // Entries come before it votes, and after it.
    for key in ["alpha", "beta", "gamma"] {
        deployment.set(key, 20);
        deployment.tick();
    }
    assert_replaced(&mut deployment);
    deployment.pass(OVERLAY_MS);
    deployment.unwatch()
}

/// The same, but for every effect only the node crashes whose effect it is; the others go on.
pub(crate) fn replace_alone() -> Enumerator {
    let mut undisturbed = wiped();
    take_image(&mut undisturbed);
    assert_replaced(&mut undisturbed);
    let lefts = [Left::Lost, Left::Torn, Left::Clean];
    let crashes: Vec<_> = (1..=undisturbed.hand.effects)
        .flat_map(|effect| lefts.map(|left| (effect, left)))
        .collect();
    let mut enumerator = Enumerator::new(Stride::NONE);
    let judged = at_once(&crashes, |(effect, left)| {
        let mut deployment = wiped();
        deployment.hand.crash = Some((*effect, *left));
        take_image(&mut deployment);
        deployment.tick_until(|deployment| deployment.hand.crash.is_none());
        let (comes_to_it, crashed) = (deployment.hand.crash.is_none(), deployment.hand.crashed);
        let judged = match crashed {
            Some(_) => check_deployment(deployment),
            None if comes_to_it => Ok(()),
            None => Err("it is never come to".to_owned()),
        };
        (
            *left,
            crashed,
            judged.map_err(|violation| format!("effect {effect} {left}: {violation}")),
        )
    });
    for (left, crashed, judged) in judged {
        // Effects of one sector are never torn.
        let kind = crashed.unwrap_or("none");
        match left {
            Left::Clean => enumerator.point(kind),
            Left::Torn | Left::Lost => {}
        }
        if crashed.is_some() || judged.is_err() {
            enumerator.judged(kind, left, judged);
        }
    }
    enumerator
}

/// Three nodes with values longer than a piece of an image; one node's data directory is new.
fn wiped() -> Deployment {
    let mut deployment = Deployment::create(3, Lag(0));
    deployment.elect();
    for (key, bytes) in [("alpha", 14_000), ("beta", HALF_SEGMENT_BYTES), ("omega", 3_000), ("zeta", 90)] {
        deployment.set(key, bytes);
    }
    deployment.set("gone", 700);
    deployment.delete("gone");
    deployment.pass(OVERLAY_MS);
    deployment.wipe(2);
    deployment.hand.effects = 0;
    deployment
}

/// An image begins, and is held up so long that the index takes some of it before the rest comes.
fn take_image(deployment: &mut Deployment) {
    let comes = |deployment: &Deployment| deployment.nodes[2].core.index().overlay_rows() > 0;
    for _ in 0..IMAGE_TICKS {
        deployment.tick_into(comes);
        if comes(deployment) {
            break;
        }
    }
    deployment.pass(OVERLAY_MS);
}

fn assert_replaced(deployment: &mut Deployment) {
    let whole = deployment.tick_until(|deployment| deployment.is_whole() && deployment.is_level());
    assert!(whole, "the wiped node was not replaced");
    let transferred = |node: usize| deployment.nodes[node].core.counters().transferred;
    assert_eq!(transferred(0).images_sent, 1, "one image was sent");
    assert_eq!(transferred(2).images_installed, 1, "one image came into force");
}
