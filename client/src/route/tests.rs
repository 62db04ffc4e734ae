//! Routing by the map, and what failures teach.

use std::io::ErrorKind;

use margate_net::message::Consistency;
use proptest::prelude::*;

use super::*;
use crate::error::{LinkFault, Obstacle};
use crate::testing::{get, list, map, set};

const FIRST_BOUND: &[u8] = b"g";
const SECOND_BOUND: &[u8] = b"p";

fn table() -> RoutingTable {
    RoutingTable::new(map(1, &[FIRST_BOUND, SECOND_BOUND]), None)
}

fn aim(table: &RoutingTable, mut operation: Operation) -> Route {
    table.aim(&mut operation, |_| true)
}

fn node_for(table: &RoutingTable, key: &[u8]) -> NodeId {
    aim(table, set(key, 1)).node
}

fn refused(leader: Option<u64>) -> Failure {
    Failure::Refused(Refusal::NotLeader {
        leader: leader.map(NodeId),
    })
}

fn broken() -> Failure {
    Failure::Lost(LinkFault::Io(ErrorKind::ConnectionReset))
}

proptest! {
    #[test]
    fn an_operation_goes_to_a_core_that_holds_its_shard(key in proptest::collection::vec(any::<u8>(), 0..4), stale in any::<bool>()) {
        let table = table();
        let consistency = if stale { Consistency::Stale } else { Consistency::Linearizable };
        let route = aim(&table, get(&key, consistency));
        let shard = table.map().shard_of(&key);
        prop_assert!(shard.contains(&key));
        prop_assert_eq!((route.shard, route.range_epoch), (shard.id, shard.range_epoch));
        let place = table.places()[route.place];
        let replica = shard.replica_on(route.node).expect("the node holds a replica");
        prop_assert_eq!((place.node, place.core), (replica.node, replica.core));
        prop_assert_eq!(Some(place.address), table.map().address(place.node, place.core));
    }

    #[test]
    fn any_failures_leave_the_belief_on_a_member(failures in proptest::collection::vec((0u64..5, 0u8..4), 0..30)) {
        let mut table = table();
        for (node, kind) in failures {
            let route = aim(&table, set(b"a", 1));
            let failure = match kind {
                0 => refused(None),
                1 => refused(Some(node)),
                2 => broken(),
                _ => Failure::Silent,
            };
            table.learn(route.shard, NodeId(node), &failure);
            let after = aim(&table, set(b"a", 1));
            prop_assert!(table.map().shard_of(b"a").replica_on(after.node).is_some());
        }
    }

    #[test]
    fn a_list_is_cut_to_the_shard_it_starts_in(low in "[a-z]{0,2}", high in "[a-z]{0,2}", reverse in any::<bool>()) {
        let table = table();
        let direction = if reverse { Direction::Reverse } else { Direction::Forward };
        let mut operation = list(low.as_bytes(), high.as_bytes(), direction);
        let route = table.aim(&mut operation, |_| true);
        let Operation::List { low: cut_low, high: cut_high, .. } = operation else { panic!("a list stays a list") };
        let shard = table.map().shards().iter().find(|shard| shard.id == route.shard).expect("a shard of the map");
        let empty = !high.is_empty() && low >= high;
        if !empty {
            prop_assert!(cut_low >= shard.low && cut_low.as_ref() >= low.as_bytes());
            prop_assert!(shard.high.is_empty() || (!cut_high.is_empty() && cut_high <= shard.high));
            prop_assert!(high.is_empty() || (!cut_high.is_empty() && cut_high.as_ref() <= high.as_bytes()));
            match direction {
                Direction::Forward => prop_assert_eq!(cut_low.as_ref(), low.as_bytes()),
                Direction::Reverse => prop_assert_eq!(cut_high.as_ref(), high.as_bytes()),
            }
        }
    }
}

#[test]
fn the_first_member_is_believed_to_lead() {
    let table = table();
    for shard in table.map().shards() {
        assert_eq!(node_for(&table, &shard.low), shard.replicas[0].node);
    }
}

#[test]
fn a_hint_moves_the_belief_of_its_shard_only() {
    let mut table = table();
    let (route, other) = (aim(&table, set(b"a", 1)), node_for(&table, b"z"));
    let hinted = table.map().shard_of(b"a").replicas[2].node;
    table.learn(route.shard, route.node, &refused(Some(hinted.0)));
    assert_eq!(node_for(&table, b"a"), hinted);
    assert_eq!(node_for(&table, b"z"), other);
}

#[test]
fn refusals_of_one_node_move_the_belief_once() {
    let mut table = table();
    let route = aim(&table, set(b"a", 1));
    table.learn(route.shard, route.node, &refused(None));
    let next = node_for(&table, b"a");
    assert_ne!(next, route.node);
    table.learn(route.shard, route.node, &refused(None));
    table.learn(route.shard, route.node, &broken());
    assert_eq!(node_for(&table, b"a"), next, "what the old leader says no longer counts");
}

#[test]
fn a_hint_to_nobody_known_and_a_hint_to_oneself_go_on_to_the_next_member() {
    for hint in [Some(77), None] {
        let mut table = table();
        let route = aim(&table, set(b"a", 1));
        table.learn(route.shard, route.node, &refused(hint.or(Some(route.node.0))));
        assert_ne!(node_for(&table, b"a"), route.node, "hint {hint:?}");
    }
}

#[test]
fn refusals_about_state_and_load_teach_nothing() {
    let mut table = table();
    let route = aim(&table, set(b"a", 1));
    for refusal in [
        Refusal::NotFound,
        Refusal::NoSuchVersion,
        Refusal::NotReady { retry_after_ms: 1 },
        Refusal::DeadlineExceeded,
    ] {
        table.learn(route.shard, route.node, &Failure::Refused(refusal));
    }
    assert_eq!(aim(&table, set(b"a", 1)), route);
}

#[test]
fn a_core_that_cannot_be_reached_is_left() {
    let mut table = table();
    let route = aim(&table, set(b"a", 1));
    let fault = LinkFault::Connect(ErrorKind::ConnectionRefused);
    let address = table.places()[route.place].address;
    table.learn(route.shard, route.node, &Failure::NotSent(Obstacle::Link { address, fault }));
    assert_ne!(node_for(&table, b"a"), route.node);
}

#[test]
fn stale_reads_go_to_the_first_healthy_member_and_writes_never_do() {
    let table = table();
    let members: Vec<NodeId> = table.map().shard_of(b"a").replicas.iter().map(|replica| replica.node).collect();
    let leader_is_down = |place: usize| table.places()[place].node != members[0];
    let aimed = |mut operation: Operation| table.aim(&mut operation, leader_is_down).node;
    assert_eq!(aimed(get(b"a", Consistency::Stale)), members[1]);
    assert_eq!(aimed(get(b"a", Consistency::Linearizable)), members[0]);
    assert_eq!(aimed(set(b"a", 1)), members[0]);
    assert_eq!(table.aim(&mut get(b"a", Consistency::Stale), |_| false).node, members[0]);
}

#[test]
fn a_new_map_keeps_what_was_learned() {
    let mut before = table();
    let route = aim(&before, set(b"a", 1));
    before.learn(route.shard, route.node, &refused(None));
    let after = RoutingTable::new(map(2, &[b"c"]), Some(&before));
    assert_eq!(node_for(&after, b"a"), node_for(&before, b"a"));
    assert_eq!(aim(&after, set(b"a", 1)).range_epoch, RangeEpoch(2));
    assert_eq!(aim(&after, set(b"d", 1)).shard, ShardId(2), "the bounds are the new map's");
}
