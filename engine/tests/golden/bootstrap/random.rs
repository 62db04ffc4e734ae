//! The world under random events: frames lost, repeated, reordered, processes killed, empty and full directories wiped.
//!
//! At every step: a member's record names its present directory; nobody leaves a deployment; members agree unless a
//! directory that was part of one was wiped; nobody joins instead of being made a member. At the end, where no directory was wiped, everyone is a member.

use std::collections::BTreeMap;

use margate_engine::bootstrap::identity::{Creation, Identity, Membership};
use proptest::prelude::*;

use super::world::World;

/// Nodes of the worlds: in the larger one a few are members long before the last is.
const NODES: [u64; 2] = [3, 5];
/// Rounds without faults in which everything that can happen has happened.
const CALM_ROUNDS: usize = 12;

/// What happens next; numbers choose among what is possible.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Crash(u64),
    Deliver(usize, usize),
    Drop(usize),
    Duplicate(usize),
    Persisted(u64),
    Retry(u64),
    Start(u64),
    Wipe(u64),
}

/// What was ever seen of the nodes, beside what they are now.
#[derive(Default)]
struct Watch {
    before: BTreeMap<u64, Identity>,
    wiped: bool,
    wiped_member: bool,
}

impl Watch {
    fn wipes(&mut self, identity: &Identity) {
        self.wiped = true;
        self.wiped_member |= identity.membership != Membership::Empty;
        self.before.remove(&identity.node.0);
    }

    fn check(&mut self, world: &World) {
        let mut records: Vec<&Creation> = Vec::new();
        for (id, node) in &world.nodes {
            let durable = &node.durable;
            if let Some(before) = self.before.get(id) {
                assert_eq!(before.directory, durable.directory, "node {id} changed its directory");
                assert!(
                    follows(&before.membership, &durable.membership),
                    "node {id} left {before:?} for {durable:?}"
                );
            }
            let joined = matches!(durable.membership, Membership::Member { joined: true, .. });
            assert!(!joined || self.wiped, "node {id} joined what has yet to make it a member");
            if let Some(creation) = record(durable) {
                assert_eq!(
                    creation.directory_of(durable.node),
                    Some(durable.directory),
                    "node {id} is a member by a record of another directory"
                );
                records.push(creation);
            }
            if let Some(member) = node.process.as_ref().and_then(|process| process.member()) {
                assert_eq!(record(durable), Some(member), "node {id} runs as a member and is not durably one");
            }
            self.before.insert(*id, durable.clone());
        }
        // Who joined later has a record of its own, of the same deployment; the others have one record.
        let maps = records.windows(2).all(|pair| pair[0].map == pair[1].map);
        let (_, named): (Vec<&Creation>, Vec<&Creation>) = records.iter().partition(|record| record.directories.len() == 1);
        let agree = maps && named.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(agree || self.wiped_member, "two deployments: {records:?}");
    }
}

fn record(identity: &Identity) -> Option<&Creation> {
    match &identity.membership {
        Membership::Empty => None,
        Membership::Creating(creation) | Membership::Member { creation, .. } => Some(creation),
    }
}

fn follows(before: &Membership, now: &Membership) -> bool {
    match (before, now) {
        (Membership::Empty, _) => true,
        (Membership::Creating(before), Membership::Creating(now) | Membership::Member { creation: now, .. }) => before == now,
        (Membership::Member { creation: before, .. }, Membership::Member { creation: now, .. }) => before == now,
        (Membership::Creating(_) | Membership::Member { .. }, _) => false,
    }
}

fn step(world: &mut World, watch: &mut Watch, happening: Happening) {
    let links = world.busy_links();
    let link = |at: usize| links.get(at.checked_rem(links.len()).unwrap_or(0)).copied();
    let running = |world: &World, id: u64| world.nodes[&id].process.is_some();
    match happening {
        Happening::Crash(id) => drop(world.crash(id)),
        Happening::Deliver(at, which) => {
            if let Some((from, to)) = link(at) {
                world.deliver_one(from, to, which % world.on_link(from, to));
            }
        }
        Happening::Drop(at) => drop(link(at).map(|(from, to)| world.forget(from, to))),
        // A repeated frame may be repeated again: without a cap the world would drown in them.
        Happening::Duplicate(at) => drop(
            link(at)
                .filter(|(from, to)| world.on_link(*from, *to) < 8)
                .map(|(from, to)| world.duplicate(from, to)),
        ),
        Happening::Persisted(id) => drop(world.persisted(id)),
        Happening::Retry(id) => drop(world.retry(id)),
        Happening::Start(id) if !running(world, id) => drop(world.start(id)),
        Happening::Start(_) => {}
        Happening::Wipe(id) => {
            world.crash(id);
            watch.wipes(&world.nodes[&id].durable);
            world.wipe(id);
        }
    }
    watch.check(world);
}

/// No more faults: everyone runs, everything arrives.
fn calm(world: &mut World, watch: &mut Watch) {
    let nodes = world.nodes.len() as u64;
    for _ in 0..CALM_ROUNDS {
        for id in 1..=nodes {
            step(world, watch, Happening::Start(id));
            step(world, watch, Happening::Retry(id));
        }
        while !world.busy_links().is_empty() {
            step(world, watch, Happening::Deliver(0, 0));
        }
        (1..=nodes).for_each(|id| step(world, watch, Happening::Persisted(id)));
    }
}

/// So many nodes, and what happens to them.
fn happenings(wipes: bool) -> impl Strategy<Value = (u64, Vec<Happening>)> {
    prop_oneof![Just(NODES[0]), Just(NODES[1])].prop_flat_map(move |nodes| (Just(nodes), happenings_to(nodes, wipes)))
}

fn happenings_to(nodes: u64, wipes: bool) -> impl Strategy<Value = Vec<Happening>> {
    let node = move || 1..=nodes;
    let one = prop_oneof![
        1 => node().prop_map(Happening::Crash),
        12 => (any::<usize>(), any::<usize>()).prop_map(|(link, which)| Happening::Deliver(link, which)),
        1 => any::<usize>().prop_map(Happening::Drop),
        1 => any::<usize>().prop_map(Happening::Duplicate),
        6 => node().prop_map(Happening::Persisted),
        4 => node().prop_map(Happening::Retry),
        4 => node().prop_map(Happening::Start),
        u32::from(wipes) => node().prop_map(Happening::Wipe),
    ];
    proptest::collection::vec(one, 0..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_deployment_is_made_once_by_whoever_holds_its_directories((nodes, happenings) in happenings(true)) {
        let (mut world, mut watch) = (World::new(nodes), Watch::default());
        happenings.into_iter().for_each(|happening| step(&mut world, &mut watch, happening));
        calm(&mut world, &mut watch);
    }

    #[test]
    fn everyone_becomes_a_member_once_faults_stop((nodes, happenings) in happenings(false)) {
        let (mut world, mut watch) = (World::new(nodes), Watch::default());
        happenings.into_iter().for_each(|happening| step(&mut world, &mut watch, happening));
        calm(&mut world, &mut watch);
        prop_assert!(!watch.wiped);
        for node in world.nodes.values() {
            let member = node.process.as_ref().is_some_and(|process| process.member().is_some());
            prop_assert!(member, "{:?} after {:?}", node.durable, node.failed);
        }
    }
}
