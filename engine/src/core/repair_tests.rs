//! The machine of repairs by itself: who is asked, what is taken, and that nothing a member says is believed unchecked.

use margate_net::ids::{CoreId, NodeId};
use margate_net::limits::KEY_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::core::tests::fixture::CLUSTER;
use crate::types::Position;

const HERE: ReplicaName = ReplicaName {
    shard: ShardId(1),
    replica: ReplicaId(1),
};

fn lost(key: &'static str, value: &[u8]) -> Lost {
    Lost {
        name: HERE,
        space: Space(1),
        key: Bytes::from_static(key.as_bytes()),
        row: Row {
            version: Version(7),
            position: Position { segment: 3, offset: 4_096 },
            size: value.len() as u64,
            flags: crate::index::row::RowFlags::NONE,
            hash: ValueHash::of(value),
        },
    }
}

fn members(ids: &[u64]) -> impl Fn(ReplicaName) -> Vec<Member> {
    let members: Vec<Member> = ids.iter().map(|id| (ReplicaId(*id), peer(*id))).collect();
    move |_| members.clone()
}

fn peer(id: u64) -> PeerName {
    PeerName {
        node: NodeId(id),
        core: CoreId(0),
    }
}

/// Who is asked next, or that a repair ended.
fn asked(repairs: &mut Repairs, ids: &[u64]) -> Result<Vec<u64>, Vec<Ended>> {
    let mut said = Vec::new();
    let ended = repairs.ask(members(ids), &mut said);
    if ended.is_empty() {
        Ok(said.iter().map(|(to, _)| to.node.0).collect())
    } else {
        Err(ended)
    }
}

fn answer(from: u64, number: u64, body: MemberBody) -> MemberMessage {
    MemberMessage {
        shard: HERE.shard,
        from: ReplicaId(from),
        to: HERE.replica,
        attempt: number,
        body,
    }
}

fn hear(repairs: &mut Repairs, message: &MemberMessage) -> Result<Option<Ended>, Senseless> {
    repairs.hear(message, CLUSTER, Planted::NONE)
}

fn have(lost: &Lost, value: &[u8]) -> MemberBody {
    MemberBody::Have {
        data: value_data((CLUSTER, HERE.shard), &lost.key, &lost.row, value),
    }
}

#[test]
fn members_are_asked_in_turn_and_twice_each() {
    let mut repairs = Repairs::default();
    repairs.want(lost("a", b"1")).expect("there is room");
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![2]));
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![]), "one at a time");
    assert_eq!(hear(&mut repairs, &answer(2, 1, MemberBody::HaveNot)), Ok(None));
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![3]));
    (0..limits::REPAIR_PATIENCE_TICKS - 1).for_each(|_| repairs.tick());
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![]), "it may still answer");
    repairs.tick();
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![2]), "the second round");
    assert_eq!(
        hear(&mut repairs, &answer(3, 1, MemberBody::HaveNot)),
        Ok(None),
        "too late, and not the one asked"
    );
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![]));
    hear(&mut repairs, &answer(2, 1, MemberBody::HaveNot)).expect("it makes sense");
    assert_eq!(asked(&mut repairs, &[3, 2]), Ok(vec![3]));
    hear(&mut repairs, &answer(3, 1, MemberBody::HaveNot)).expect("it makes sense");
    let ended = asked(&mut repairs, &[3, 2]).expect_err("nobody has it");
    assert_eq!(
        ended,
        [Ended {
            lost: lost("a", b"1"),
            value: None
        }]
    );
    assert!(repairs.is_idle());
    assert_eq!((repairs.counters.asked, repairs.counters.given_up), (4, 1));
}

/// Who meets the damage after the answer and before the copy is durable would else wait for ever: nobody will answer again.
#[test]
fn a_value_that_is_here_already_is_given_to_whoever_wants_it() {
    let mut repairs = Repairs::default();
    let wanted = lost("a", b"1");
    assert_eq!(repairs.want(wanted.clone()), Ok(None));
    assert_eq!(asked(&mut repairs, &[2]), Ok(vec![2]));
    assert_eq!(repairs.want(wanted.clone()), Ok(None));
    hear(&mut repairs, &answer(2, 1, have(&wanted, b"1"))).expect("it makes sense");
    let value = Ok(Some(Bytes::from_static(b"1")));
    assert_eq!(repairs.want(wanted.clone()), value, "found");
    assert!(repairs.take_found(|_| true).is_some());
    assert_eq!(repairs.want(wanted.clone()), value, "on its way to the log");
    repairs.logged(HERE, b"a", wanted.row.version, true);
    assert_eq!(repairs.want(wanted), Ok(None), "another damage");
}

#[test]
fn a_replica_alone_gives_up_at_once() {
    let mut repairs = Repairs::default();
    repairs.want(lost("a", b"1")).expect("there is room");
    assert_eq!(asked(&mut repairs, &[]).map_err(|ended| ended.len()), Err(1));
}

#[test]
fn what_was_asked_for_is_taken_and_ends_once_it_is_durable() {
    let (mut repairs, wanted) = (Repairs::default(), lost("a", b"one"));
    repairs.want(wanted.clone()).expect("there is room");
    repairs.want(wanted.clone()).expect("it is under way");
    asked(&mut repairs, &[2]).expect("it is asked");
    let found = hear(&mut repairs, &answer(2, 1, have(&wanted, b"one")));
    assert_eq!(
        found.map(|found| found.and_then(|found| found.value)),
        Ok(Some(Bytes::from_static(b"one")))
    );
    assert_eq!(hear(&mut repairs, &answer(2, 1, have(&wanted, b"one"))), Ok(None), "said twice");
    assert_eq!(repairs.take_found(|_| false), None, "the log has no room");
    assert_eq!(repairs.take_found(|_| true), Some((wanted.clone(), Bytes::from_static(b"one"))));
    assert_eq!(repairs.take_found(|_| true), None, "once");
    repairs.logged(HERE, b"b", wanted.row.version, true);
    assert!(!repairs.is_idle(), "another's copy");
    repairs.logged(HERE, b"a", wanted.row.version, true);
    assert!(repairs.is_idle());
}

#[test]
fn nothing_but_the_value_itself_is_taken() {
    let wanted = lost("a", b"one");
    let other = |change: fn(&mut Lost)| {
        let mut other = wanted.clone();
        change(&mut other);
        other
    };
    let version = other(|lost| lost.row.version = Version(8));
    let key = other(|lost| lost.key = Bytes::from_static(b"b"));
    let MemberBody::Have { data } = have(&wanted, b"one") else {
        panic!("just made")
    };
    let cut = data.slice(..data.len() - 1);
    let mut rotten = data.to_vec();
    *rotten.last_mut().expect("it has bytes") ^= 1;
    let mut two = EntryDataBuilder::new(CLUSTER, HERE.shard, Nanos(0));
    (0..2).for_each(|_| two.put(b"a", b"one", wanted.row.version, wanted.row.hash));
    let mut deleted = EntryDataBuilder::new(CLUSTER, HERE.shard, Nanos(0));
    deleted.delete(b"a", wanted.row.version);
    let of_shard = value_data((CLUSTER, ShardId(2)), &wanted.key, &wanted.row, b"one");
    let of_cluster = value_data((ClusterId(8), HERE.shard), &wanted.key, &wanted.row, b"one");
    let bodies = [
        have(&wanted, b"two"),
        have(&wanted, b"longer"),
        have(&version, b"one"),
        have(&key, b"one"),
        MemberBody::Have { data: Bytes::new() },
        MemberBody::Have { data: cut },
        MemberBody::Have { data: rotten.into() },
        MemberBody::Have { data: two.finish().into() },
        MemberBody::Have {
            data: deleted.finish().into(),
        },
        MemberBody::Have { data: of_shard },
        MemberBody::Have { data: of_cluster },
    ];
    for body in bodies {
        let mut repairs = Repairs::default();
        repairs.want(wanted.clone()).expect("there is room");
        asked(&mut repairs, &[2, 3]).expect("it is asked");
        assert_eq!(hear(&mut repairs, &answer(2, 1, body.clone())), Err(Senseless), "{body:?}");
        assert_eq!(repairs.take_found(|_| true), None);
        assert_eq!(asked(&mut repairs, &[2, 3]), Ok(vec![3]), "the next one is asked");
    }
}

#[test]
fn answers_are_heard_from_who_was_asked_about_what_was_asked() {
    let wanted = lost("a", b"one");
    let mut repairs = Repairs::default();
    repairs.want(wanted.clone()).expect("there is room");
    asked(&mut repairs, &[2, 3]).expect("it is asked");
    let right = answer(2, 1, have(&wanted, b"one"));
    let wrong = [
        MemberMessage {
            from: ReplicaId(3),
            ..right.clone()
        },
        MemberMessage {
            to: ReplicaId(9),
            ..right.clone()
        },
        MemberMessage {
            shard: ShardId(2),
            ..right.clone()
        },
        MemberMessage {
            attempt: 2,
            ..right.clone()
        },
    ];
    for message in &wrong {
        assert_eq!(hear(&mut repairs, message), Ok(None), "{message:?}");
    }
    assert!(matches!(hear(&mut repairs, &right), Ok(Some(_))));
}

#[test]
fn too_many_are_refused_and_what_nobody_wants_ends() {
    let mut repairs = Repairs::default();
    let keyed = |at: usize| Lost {
        key: Bytes::from(vec![b'k'; at]),
        ..lost("", b"1")
    };
    (0..limits::REPAIRS_MAX).for_each(|at| assert_eq!(repairs.want(keyed(at)), Ok(None), "there is room"));
    assert_eq!(repairs.want(keyed(KEY_BYTES_MAX)), Err(RepairsFull));
    assert_eq!(repairs.want(keyed(0)), Ok(None), "it is under way");
    assert_eq!(repairs.counters.refused, 1);
    let ended = repairs.keep(|lost| lost.key.len() > 2);
    assert_eq!(ended.len(), 3);
    assert_eq!(repairs.want(keyed(KEY_BYTES_MAX)), Ok(None));
}

proptest! {
    /// Whatever bytes a member sends, they are the value or they are not taken.
    #[test]
    fn any_bytes_are_the_value_or_senseless(bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in proptest::option::of((0..67usize, 1..=255u8))) {
        let wanted = lost("a", b"one");
        let MemberBody::Have { data } = have(&wanted, b"one") else { panic!("just made") };
        let data = match flip {
            Some((at, bits)) => {
                let mut changed = data.to_vec();
                let at = at % changed.len();
                changed[at] ^= bits;
                Bytes::from(changed)
            }
            None => Bytes::from(bytes),
        };
        let mut repairs = Repairs::default();
        repairs.want(wanted).expect("there is room");
        asked(&mut repairs, &[2]).expect("it is asked");
        match hear(&mut repairs, &answer(2, 1, MemberBody::Have { data })) {
            Ok(found) => prop_assert_eq!(found.and_then(|found| found.value), Some(Bytes::from_static(b"one"))),
            Err(Senseless) => prop_assert_eq!(repairs.take_found(|_| true), None),
        }
    }
}
