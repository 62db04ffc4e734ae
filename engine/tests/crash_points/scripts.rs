//! What deployments live through while their crashes are enumerated.

use super::deployment::{Deployment, Lag};
use super::report::Enumerator;
use super::states::Stride;

/// Long enough for the overlay to go to the index.
const OVERLAY_MS: u64 = 6_000;
/// Values of the shortest script: short ones, and one that fills most of a segment.
const VALUE_BYTES: [usize; 5] = [20, 700, 3_000, 90, 14_000];
/// A value of which a segment takes two.
const HALF_SEGMENT_BYTES: usize = 11_900;
/// Ticks in which reclaim comes to its end.
const RECLAIM_TICKS: usize = 60;
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
pub(crate) fn reclaim(nodes: u16, lag: Lag, stride: Stride) -> Enumerator {
    let mut deployment = Deployment::create(nodes, lag);
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
    rest(&mut deployment);
    println!("{:?}", deployment.nodes[0].core.counters().reclaimed);
    for _ in 0..3 {
        deployment.set("again", HALF_SEGMENT_BYTES);
        deployment.set("again", HALF_SEGMENT_BYTES);
        deployment.delete("again");
        rest(&mut deployment);
        println!("{:?}", deployment.nodes[0].core.counters().reclaimed);
    }
    let reclaimed = deployment.nodes[0].core.counters().reclaimed;
    assert!(
        reclaimed.segments >= 3 && reclaimed.values >= 2 && reclaimed.deletes >= 1,
        "reclaim did little: {reclaimed:?}"
    );
    println!("{reclaimed:?}");
    deployment.unwatch()
}

/// Three nodes, one of which loses its data directory: it is admitted under a new replica id, takes an image and votes.
pub(crate) fn replace(stride: Stride) -> Enumerator {
    let mut deployment = Deployment::create(3, Lag(0));
    deployment.elect();
    for (key, bytes) in [("alpha", 14_000), ("beta", HALF_SEGMENT_BYTES), ("omega", 3_000), ("zeta", 90)] {
        deployment.set(key, bytes);
    }
    deployment.set("gone", 700);
    deployment.delete("gone");
    deployment.pass(OVERLAY_MS);
    deployment.wipe(2);
    deployment.watch(Enumerator::new(stride));
    let whole = deployment.tick_until(|deployment| deployment.is_whole() && deployment.is_level());
    assert!(whole, "the wiped node was not replaced");
    deployment.set("alpha", 20);
    deployment.pass(OVERLAY_MS);
    let (leader, joined) = (&deployment.nodes[0].core, &deployment.nodes[2].core);
    assert_eq!(leader.counters().transferred.images_sent, 1, "one image was sent");
    assert_eq!(joined.counters().transferred.images_installed, 1, "one image came into force");
    deployment.unwatch()
}
