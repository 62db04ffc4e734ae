//! A sender and a receiver, and all that can happen to what they say to each other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use margate_net::ids::{ClusterId, CoreId, LogIndex, MemberEpoch, NodeId, RangeEpoch, ReplicaId, ShardId, Space, Term, Version};
use margate_net::message::{MemberBody, MemberMessage};
use proptest::prelude::*;

use super::receive::{Receiving, Step};
use super::send::{Addressee, Progress, Sending, Wants};
use crate::core::event::{LogReadFault, PeerName, ReadTicket};
use crate::index::memory::{MemoryReader, MemoryStore};
use crate::index::overlay::Overlay;
use crate::index::row::{Row, RowFlags, Slot};
use crate::index::store::{CoreMarks, Generation, ReplicaMarks};
use crate::limits;
use crate::log::effects::{EffectKind, EntryData, EntryDataBuilder};
use crate::shard::members::Members;
use crate::shard::state::ShardState;
use crate::types::{HardState, Nanos, Position, ReplicaName, ValueHash};

const CLUSTER: ClusterId = ClusterId(9);
const LEADER: ReplicaName = ReplicaName {
    shard: ShardId(1),
    replica: ReplicaId(1),
};
const MEMBER: ReplicaName = ReplicaName {
    shard: ShardId(1),
    replica: ReplicaId(4),
};
const PEER: PeerName = PeerName {
    node: NodeId(2),
    core: CoreId(0),
};
const TERM: Term = Term(3);

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A shard from `b` to `x` with these rows, as an index and a log hold it.
struct Shard {
    marks: ReplicaMarks,
    reader: MemoryReader,
    log: Bytes,
}

fn state(rows: u64) -> ShardState {
    ShardState {
        low: Bytes::from_static(b"b"),
        high: Bytes::from_static(b"x"),
        range_epoch: RangeEpoch(1),
        member_epoch: MemberEpoch(2),
        members: Members::of(vec![LEADER.replica, ReplicaId(2)]),
        version_high: Version(rows),
        clock: Nanos(7),
    }
}

/// Effects that set these rows, with versions from 1.
fn data(rows: &Rows) -> Bytes {
    let mut data = EntryDataBuilder::new(CLUSTER, LEADER.shard, Nanos(0));
    for ((key, value), version) in rows.iter().zip(1..) {
        data.put(key, value, Version(version), ValueHash::of(value));
    }
    data.finish().into()
}

impl Shard {
    fn of(rows: &Rows) -> Self {
        let log = data(rows);
        let mut overlay = Overlay::new();
        for (offset, effect) in EntryData::parse(&log).expect("just built").effects() {
            let row = Row {
                version: effect.version,
                position: Position { segment: 1, offset },
                size: effect.value.len() as u64,
                flags: RowFlags::default(),
                hash: effect.hash,
            };
            overlay.insert_newer(Space(1), effect.key, Slot::Put(row));
        }
        // Keys of others stand around it.
        for (space, key) in [(0, "m"), (1, "a"), (1, "x"), (2, "m")] {
            overlay.insert_newer(
                Space(space),
                key.as_bytes(),
                Slot::Put(Row {
                    version: Version(1),
                    position: Position::default(),
                    size: 1,
                    flags: RowFlags::default(),
                    hash: ValueHash::default(),
                }),
            );
        }
        let state = state(rows.len() as u64);
        let marks = ReplicaMarks {
            name: LEADER,
            damaged: false,
            space: Space(1),
            low: state.low.clone(),
            high: state.high.clone(),
            applied: LogIndex(5),
            applied_term: Term(2),
            hard_state: HardState::default(),
            commit: LogIndex(5),
            truncated: LogIndex(0),
            term_runs: Vec::new(),
            state: state.encode(),
        };
        let store = MemoryStore::new();
        store.begin(&Generation {
            number: 1,
            rows: Arc::new(overlay),
            core: CoreMarks {
                generation: 1,
                replay: Position::default(),
                replay_sequence: 1,
                next_space: Space(3),
            },
            replicas: vec![marks.clone()],
            positions: Vec::new(),
            cleared: Vec::new(),
        });
        store.finish();
        let reader = store.reader();
        Self { marks, reader, log }
    }

    fn sending(&self, reader: MemoryReader) -> Sending<MemoryReader> {
        let to = Addressee {
            shard: LEADER.shard,
            from: LEADER.replica,
            to: MEMBER.replica,
            peer: PEER,
            attempt: 77,
        };
        Sending::new(to, CLUSTER, reader, self.marks.clone(), Nanos(1))
    }
}

/// Both ends, and what is on its way between them.
struct Link {
    log: Bytes,
    bytes_max: usize,
    sending: Sending<MemoryReader>,
    receiving: Option<Receiving>,
    to_member: VecDeque<MemberMessage>,
    to_leader: VecDeque<MemberMessage>,
    /// Rows that wait for the member's log.
    logging: Option<(u64, Bytes)>,
    taken: Vec<Bytes>,
    settling: bool,
    done: bool,
    now: Nanos,
    tickets: u64,
}

impl Link {
    fn new(rows: &Rows, bytes_max: usize) -> Self {
        let shard = Shard::of(rows);
        let reader = crate::index::store::IndexReader::fork(&shard.reader).expect("memory never fails");
        Self {
            sending: shard.sending(reader),
            log: shard.log,
            bytes_max,
            receiving: None,
            to_member: VecDeque::new(),
            to_leader: VecDeque::new(),
            logging: None,
            taken: Vec::new(),
            settling: false,
            done: false,
            now: Nanos(1),
            tickets: 0,
        }
    }

    fn repeat(&mut self) {
        self.now = self.now.plus(limits::IMAGE_REPEAT);
        self.to_member.extend(self.sending.repeat(self.now));
    }

    fn hear_at_member(&mut self, message: &MemberMessage) {
        assert_eq!((message.from, message.to, message.attempt), (LEADER.replica, MEMBER.replica, 77));
        let Some(receiving) = &mut self.receiving else {
            self.receiving = Receiving::new(PEER, message, MEMBER, Space(5), self.now);
            self.to_leader
                .extend(self.receiving.as_ref().map(|one| one.say(MemberBody::Taken { number: 0 })));
            return;
        };
        match receiving.hear(self.now, &message.body) {
            Step::Log { number, data } => {
                assert_eq!(self.logging, None, "one piece at a time");
                self.logging = Some((number, data));
            }
            Step::Said(number) => self.to_leader.push_back(receiving.say(MemberBody::Taken { number })),
            Step::Settle => {
                assert_eq!(self.logging, None, "the end follows the last rows");
                receiving.settle(4);
                assert_eq!(receiving.settled(3), None, "the index does not hold it yet");
                let (number, term) = receiving.settled(4).expect("now it does");
                assert_eq!(term, TERM);
                self.to_leader.push_back(receiving.say(MemberBody::Taken { number }));
                self.settling = true;
            }
            Step::Nothing => {}
            Step::Senseless => panic!("what the leader said makes sense"),
        }
    }

    fn logged(&mut self) {
        if let Some((number, data)) = self.logging.take()
            && let Some(receiving) = &mut self.receiving
        {
            assert_eq!(receiving.logged(number + 1), None, "rows nobody waits for");
            let number = receiving.logged(number).expect("they were awaited");
            self.to_leader.push_back(receiving.say(MemberBody::Taken { number }));
            self.taken.push(data);
        }
    }

    fn hear_at_leader(&mut self, message: &MemberMessage) {
        let MemberBody::Taken { number } = message.body else {
            panic!("a member only says what it has taken: {message:?}");
        };
        let (progress, mut wants) = self
            .sending
            .taken(self.now, number, TERM, self.bytes_max)
            .expect("memory never fails");
        self.done |= progress == Progress::Done;
        // The last read comes back first.
        let reads: Vec<_> = std::mem::take(&mut wants.reads);
        let tickets: Vec<_> = reads
            .into_iter()
            .map(|(at, position, length)| {
                self.tickets += 1;
                self.sending.reading(ReadTicket(self.tickets), at);
                let from = position.offset as usize;
                (ReadTicket(self.tickets), self.log.slice(from..from + length))
            })
            .collect();
        self.to_member.extend(wants.message);
        for (ticket, bytes) in tickets.into_iter().rev() {
            let (progress, Wants { message, .. }) = self.sending.read_done(self.now, ticket, Ok(bytes));
            assert_eq!(progress, Progress::Under);
            self.to_member.extend(message);
        }
    }

    /// One thing happens, named by a byte.
    fn happen(&mut self, what: u8) {
        let at = usize::from(what / 8);
        match what % 8 {
            0 => self.repeat(),
            1 | 2 => {
                if let Some(message) = pick(&mut self.to_member, at, what % 8 == 1) {
                    self.hear_at_member(&message);
                }
            }
            3 | 4 => {
                if let Some(message) = pick(&mut self.to_leader, at, what % 8 == 3) {
                    self.hear_at_leader(&message);
                }
            }
            5 => drop(pick(&mut self.to_member, at, true)),
            // The answer to the end is not repeated: without it the sender's patience ends the attempt, and raft knows better.
            6 if !self.settling => drop(pick(&mut self.to_leader, at, true)),
            6 => {}
            _ => self.logged(),
        }
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            if self.done {
                return;
            }
            self.repeat();
            for happening in [1, 7, 3] {
                self.happen(happening);
            }
        }
        panic!("the image does not come to its end");
    }
}

/// A message of those on their way, taken out or left there too.
fn pick(link: &mut VecDeque<MemberMessage>, at: usize, out: bool) -> Option<MemberMessage> {
    let at = at.checked_rem(link.len())?;
    if out { link.remove(at) } else { link.get(at).cloned() }
}

fn rows_taken(taken: &[Bytes]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = taken.iter().map(|data| EntryData::parse(data).expect("it was checked"));
    let effects = all.flat_map(|data| data.effects().map(|(_, effect)| effect).collect::<Vec<_>>());
    effects
        .map(|effect| {
            assert_eq!(effect.kind, EffectKind::Put);
            (effect.key.to_vec(), effect.value.to_vec())
        })
        .collect()
}

fn rows() -> impl Strategy<Value = Rows> {
    let key = proptest::collection::vec(any::<u8>(), 0..6).prop_map(|tail| [&b"k"[..], &tail].concat());
    let value = prop_oneof![4 => proptest::collection::vec(any::<u8>(), 0..60), 1 => proptest::collection::vec(any::<u8>(), 600..900)];
    proptest::collection::btree_map(key, value, 0..30)
}

proptest! {
    /// Messages are lost, doubled, overtaken, repeated: the member has every row once, in order, in pieces that keep the cap.
    #[test]
    fn an_image_arrives_whole_over_any_link(rows in rows(), happenings in proptest::collection::vec(any::<u8>(), 0..300)) {
        const BYTES_MAX: usize = 500;
        let mut link = Link::new(&rows, BYTES_MAX);
        happenings.into_iter().for_each(|what| link.happen(what));
        link.finish();
        prop_assert!(link.settling);
        prop_assert_eq!(rows_taken(&link.taken), rows.into_iter().collect::<Vec<_>>());
        for piece in &link.taken {
            let count = EntryData::parse(piece).expect("it was checked").effects().count();
            prop_assert!(piece.len() <= BYTES_MAX + 16 || count == 1, "a piece of {} bytes with {count} rows", piece.len());
        }
    }

    /// Bytes that are no rows of this shard are refused, whatever they are, and the attempt is not spoiled by what it did not take.
    #[test]
    fn any_bytes_are_rows_or_senseless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut receiving = receiving(9);
        let step = receiving.hear(Nanos(2), &MemberBody::Rows { number: 1, data: bytes.clone().into() });
        // An empty piece holds nothing that could be wrong.
        let empty = EntryData::parse(&bytes).is_ok_and(|data| data.effects().count() == 0);
        prop_assert_eq!(matches!(step, Step::Log { .. }), empty);
        prop_assert!(empty || step == Step::Senseless);
    }

    /// One bit of sound rows turns: they are refused, unless it stands where nothing of the rows does.
    #[test]
    fn rows_with_a_turned_bit_are_senseless(at in 16..200usize, bit in 0..8u32) {
        let rows = [("k1", "one"), ("k2", "two"), ("k3", "three")];
        let mut bytes = data(&rows.map(|(key, value)| (key.into(), value.into())).into()).to_vec();
        let at = 16 + at % (bytes.len() - 16);
        bytes[at] ^= 1 << bit;
        let step = receiving(9).hear(Nanos(2), &MemberBody::Rows { number: 1, data: bytes.into() });
        prop_assert_eq!(step, Step::Senseless);
    }

    #[test]
    fn any_bytes_are_the_beginning_of_an_image_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let begin = begin(bytes.clone().into());
        let taken = Receiving::new(PEER, &begin, MEMBER, Space(5), Nanos(1));
        prop_assert_eq!(taken.is_some(), ShardState::decode(&bytes).is_ok_and(|state| state.members.is_sound()));
    }
}

fn begin(state: Bytes) -> MemberMessage {
    MemberMessage {
        shard: LEADER.shard,
        from: LEADER.replica,
        to: MEMBER.replica,
        attempt: 77,
        body: MemberBody::Begin {
            applied: LogIndex(5),
            applied_term: Term(2),
            state,
        },
    }
}

/// An image that has begun, of a shard whose versions go up to this one.
fn receiving(version_high: u64) -> Receiving {
    let begin = begin(state(version_high).encode());
    Receiving::new(PEER, &begin, MEMBER, Space(5), Nanos(1)).expect("it makes sense")
}

/// Raft panics over them, and would again at every start.
#[test]
fn an_image_whose_members_make_no_sense_is_none() {
    let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<Vec<_>>();
    let taken = |voters: &[u64], outgoing: &[u64], learners: &[u64]| {
        let members = Members {
            voters: ids(voters),
            outgoing: ids(outgoing),
            learners: ids(learners),
            highest: ReplicaId(4),
            ..Members::default()
        };
        let state = ShardState { members, ..state(9) };
        Receiving::new(PEER, &begin(state.encode()), MEMBER, Space(5), Nanos(1)).is_some()
    };
    assert!(taken(&[1, 2, 3], &[], &[4]) && taken(&[1, 2, 4], &[1, 2, 3], &[]));
    for (voters, outgoing, learners) in [
        (&[1, 2, 2][..], &[][..], &[4][..]),
        (&[1, 2, 0], &[], &[4]),
        (&[1, 2, 5], &[], &[4]),
        (&[1, 2, 4], &[], &[4]),
        (&[1, 2, 3], &[1, 2, 4], &[4]),
        (&[1, 2, 3], &[], &[4, 4]),
        (&[1, 2, 3], &[3, 3], &[]),
    ] {
        assert!(!taken(voters, outgoing, learners), "{voters:?} {outgoing:?} {learners:?}");
    }
}

fn piece(number: u64, key: &str, version: u64) -> MemberBody {
    let mut data = EntryDataBuilder::new(CLUSTER, LEADER.shard, Nanos(0));
    data.put(key.as_bytes(), b"v", Version(version), ValueHash::of(b"v"));
    let data = data.finish().into();
    MemberBody::Rows { number, data }
}

#[test]
fn rows_come_in_order_and_once() {
    let mut receiving = receiving(9);
    let now = Nanos(2);
    assert_eq!(receiving.hear(now, &piece(2, "k", 1)), Step::Nothing, "the first has not come");
    assert_eq!(receiving.hear(now, &MemberBody::End { number: 2, term: TERM }), Step::Nothing);
    assert!(matches!(receiving.hear(now, &piece(1, "k", 1)), Step::Log { number: 1, .. }));
    assert_eq!(receiving.hear(now, &piece(1, "k", 1)), Step::Nothing, "it is being written");
    assert_eq!(receiving.hear(now, &piece(2, "l", 2)), Step::Nothing, "the first is being written");
    assert_eq!(receiving.logged(2), None);
    assert_eq!(receiving.logged(1), Some(1));
    assert_eq!(receiving.logged(1), None, "that was heard already");
    assert_eq!(receiving.hear(now, &piece(1, "k", 1)), Step::Said(1), "the answer was lost");
    let again = begin(state(9).encode()).body;
    assert_eq!(receiving.hear(now, &again), Step::Said(1));
    assert_eq!(receiving.hear(now, &MemberBody::End { number: 2, term: TERM }), Step::Settle);
    assert_eq!(receiving.hear(now, &piece(2, "l", 2)), Step::Nothing, "nothing follows the end");
    assert!(receiving.is_settled());
}

#[test]
fn rows_of_others_are_senseless() {
    let mut delete = EntryDataBuilder::new(CLUSTER, LEADER.shard, Nanos(0));
    delete.delete(b"k", Version(1));
    let delete = MemberBody::Rows {
        number: 1,
        data: delete.finish().into(),
    };
    for body in [piece(1, "a", 1), piece(1, "x", 1), piece(1, "k", 10), delete] {
        assert_eq!(receiving(9).hear(Nanos(2), &body), Step::Senseless, "{body:?}");
    }
}

#[test]
fn who_hears_nothing_gives_up_unless_it_has_everything() {
    let late = Nanos(1).plus(limits::IMAGE_PATIENCE);
    let mut receiving = receiving(9);
    assert!(!receiving.is_stale(Nanos(late.0 - 1)) && receiving.is_stale(late));
    receiving.hear(late, &piece(1, "k", 1));
    assert!(
        !receiving.is_stale(late.plus(limits::IMAGE_PATIENCE)),
        "it is not the leader who keeps it waiting"
    );
    receiving.logged(1);
    receiving.hear(late, &MemberBody::End { number: 2, term: TERM });
    assert!(!receiving.is_stale(late.plus(limits::IMAGE_PATIENCE)));
    let link = Link::new(&Rows::new(), 500);
    assert!(!link.sending.is_stale(Nanos(late.0 - 1)) && link.sending.is_stale(late));
}

#[test]
fn a_piece_has_a_cap_of_rows() {
    let rows: Rows = (0..600).map(|at| (format!("k{at:04}").into_bytes(), Vec::new())).collect();
    let mut link = Link::new(&rows, usize::MAX / 2);
    link.finish();
    let counts: Vec<_> = link
        .taken
        .iter()
        .map(|piece| EntryData::parse(piece).expect("it was checked").effects().count())
        .collect();
    assert_eq!(
        counts,
        [limits::IMAGE_ROWS_MAX, limits::IMAGE_ROWS_MAX, 600 - 2 * limits::IMAGE_ROWS_MAX]
    );
    assert_eq!(link.tickets, 0, "empty values are not read");
}

/// A value that cannot be read, or is another, ends the attempt; what is read for an attempt that does not exist changes nothing.
#[test]
fn a_damaged_value_ends_the_image() {
    let rows = Rows::from([(b"k".to_vec(), b"value".to_vec())]);
    let fault = LogReadFault {
        position: Position::default(),
        length: 1,
        errno: 5,
    };
    let foreign = data(&Rows::from([(b"l".to_vec(), b"value".to_vec())])).slice(16..);
    for result in [Err(fault), Ok(Bytes::new()), Ok(foreign)] {
        let mut link = Link::new(&rows, 500);
        let (_, wants) = link.sending.taken(Nanos(2), 0, TERM, 500).expect("memory never fails");
        assert_eq!((wants.reads.len(), &wants.message), (1, &None));
        let (progress, again) = link.sending.taken(Nanos(2), 0, TERM, 500).expect("memory never fails");
        assert_eq!((progress, again.reads.len()), (Progress::Under, 0), "an answer that comes twice");
        link.sending.reading(ReadTicket(1), 0);
        assert!(link.sending.reads_with(ReadTicket(1)) && !link.sending.reads_with(ReadTicket(2)));
        let (progress, _) = link.sending.read_done(Nanos(2), ReadTicket(2), result.clone());
        assert_eq!(progress, Progress::Under);
        let (progress, wants) = link.sending.read_done(Nanos(2), ReadTicket(1), result);
        assert_eq!((progress, wants.message), (Progress::Failed, None));
        let damaged: Vec<_> = wants.damaged.iter().map(|(key, row)| (key.as_ref(), row.size)).collect();
        assert_eq!(damaged, [(&b"k"[..], 5)], "it is to be mended");
        assert_eq!(link.sending.give_up().body, MemberBody::GiveUp);
    }
}
