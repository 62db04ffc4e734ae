//! Bundles against a model, with every frame read as a server reads it, and their edges one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use margate_net::codec::{ReceivedRequest, decode_requests};
use margate_net::frame::{Stage, take_frame};
use margate_net::ids::Version;
use margate_net::limits::VALUE_BYTES_MAX;
use margate_net::message::{Operation, Precondition, Returning};
use proptest::prelude::*;

use super::*;
use crate::error::{LinkFault, Obstacle};

const WRITERS: usize = 2;
const ENDS: Ends = Ends {
    sent: Failure::Lost(LinkFault::Hangup),
    queued: Failure::NotSent(Obstacle::Unsent {
        address: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1),
    }),
};

fn written() -> Result<Success, Refusal> {
    Ok(Success::Written {
        version: Version(1),
        key: None,
        old_value: None,
    })
}

fn change(number: u32, value_bytes: Option<usize>) -> Change {
    Change {
        key: Bytes::from(format!("key {number}")),
        value: value_bytes.map(|bytes| Bytes::from(vec![number.to_le_bytes()[0]; bytes])),
    }
}

fn consignment(number: u32, deadline: u64, value_bytes: Option<usize>) -> Consignment {
    Consignment {
        number,
        shard: ShardId(u64::from(number) % 3),
        range_epoch: RangeEpoch(1),
        deadline: Moment(deadline),
        change: change(number, value_bytes),
    }
}

/// Writes the next bundle's frame and gives it back. What a server reads: each operation with its id.
fn send(bundles: &mut Bundles) -> Vec<(u64, Change)> {
    let Some(mut run) = bundles.take(Moment(0)) else {
        return Vec::new();
    };
    run.write(&mut FrameWriter::new());
    let bytes = bundles.give_back(run);
    let mut received = bytes::BytesMut::from(bytes.as_slice());
    let frame = take_frame(&mut received, Stage::Established)
        .expect("the frame is sound")
        .expect("it is whole");
    assert!(received.is_empty(), "one frame");
    let requests = decode_requests(&frame).expect("its body is sound");
    let read = |received: ReceivedRequest| {
        let request = received.request.expect("the operation is sound");
        (received.id, read_change(request.operation))
    };
    requests.into_iter().map(read).collect()
}

fn read_change(operation: Operation) -> Change {
    let plain = Returning::default();
    match operation {
        Operation::Set {
            key,
            value,
            precondition: Precondition::Always,
            returning,
        } if returning == plain => Change { key, value: Some(value) },
        Operation::Delete {
            key,
            at_version: None,
            returning,
        } if returning == plain => Change { key, value: None },
        other => panic!("a batch writer does not ask for {other:?}"),
    }
}

/// One thing that can happen.
#[derive(Clone, Debug)]
enum Act {
    Answer { choice: usize, refused: bool },
    Insert { writer: usize, rows: Vec<(u64, Option<usize>)> },
    Lose,
    Send,
    Sweep(u64),
    Withdraw(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let rows = proptest::collection::vec((1u64..100, proptest::option::of(0usize..50)), 1..6);
    let act = prop_oneof![
        12 => (any::<usize>(), any::<bool>()).prop_map(|(choice, refused)| Act::Answer { choice, refused }),
        5 => (0..WRITERS, rows).prop_map(|(writer, rows)| Act::Insert { writer, rows }),
        1 => Just(Act::Lose),
        5 => Just(Act::Send),
        1 => (1u64..100).prop_map(Act::Sweep),
        1 => (0..WRITERS).prop_map(Act::Withdraw),
    ];
    proptest::collection::vec(act, 0..150)
}

/// What a writer knows of an operation that is open.
#[derive(Clone, Debug)]
struct Known {
    writer: Option<usize>,
    deadline: u64,
    change: Change,
    id: Option<u64>,
}

#[derive(Default)]
struct Model {
    bundles: Bundles,
    open: BTreeMap<u32, Known>,
    born: u32,
    /// Ids of operations that have ended.
    over: BTreeSet<u64>,
    /// Ends that must be in the outboxes.
    ends: Vec<(usize, u32, Option<Failure>)>,
}

impl Model {
    fn act(&mut self, act: Act) {
        match act {
            Act::Answer { choice, refused } => self.answer(choice, refused),
            Act::Insert { writer, rows } => {
                let mut load = Load::default();
                for (deadline, value_bytes) in rows {
                    load.0.push(consignment(self.born, deadline, value_bytes));
                    let (change, id) = (change(self.born, value_bytes), None);
                    let writer = Some(writer);
                    self.open.insert(
                        self.born,
                        Known {
                            writer,
                            deadline,
                            change,
                            id,
                        },
                    );
                    self.born += 1;
                }
                self.bundles.insert(writer, &mut load);
                assert!(load.is_empty(), "there is room");
            }
            Act::Lose => {
                self.bundles.lose(ENDS);
                self.end_where(|_| true);
            }
            Act::Send => {
                for (id, sent) in send(&mut self.bundles) {
                    let queued = self.open.values_mut().find(|known| known.change == sent);
                    let known = queued.expect("what is sent is open");
                    assert_eq!(known.id.replace(id), None, "it is sent once");
                }
            }
            Act::Sweep(now) => {
                self.bundles.sweep(Moment(now), ENDS);
                self.end_where(|deadline| deadline <= now);
            }
            Act::Withdraw(writer) => self.withdraw(writer),
        }
        self.check();
    }

    fn answer(&mut self, choice: usize, refused: bool) {
        let sent: Vec<u64> = self
            .open
            .values()
            .filter_map(|known| known.id)
            .chain(self.over.iter().copied())
            .collect();
        let Some(id) = choice.checked_rem(sent.len()).map(|place| sent[place]) else {
            return;
        };
        let refusal = Refusal::NotFound;
        let outcome = if refused { Err(refusal) } else { written() };
        let completion = self.bundles.complete(id, outcome);
        let Some(number) = self.open.iter().find(|(_, known)| known.id == Some(id)).map(|(number, _)| *number) else {
            assert_eq!(completion, Completion::Late);
            return;
        };
        assert_eq!(completion, Completion::Accepted);
        self.end(number, refused.then_some(Failure::Refused(refusal)));
    }

    fn withdraw(&mut self, writer: usize) {
        let mut told = Vec::new();
        self.bundles.withdraw(writer, |number, how| told.push((number, how)));
        let mut expected = Vec::new();
        for (number, known) in self.open.iter_mut().filter(|(_, known)| known.writer == Some(writer)) {
            let change = known.change.clone();
            expected.push((
                *number,
                match known.id {
                    Some(_) => Withdrawn::Sent(Some(change)),
                    None => Withdrawn::Queued(change),
                },
            ));
            known.writer = None;
        }
        told.sort_by_key(|(number, _)| *number);
        assert_eq!(told, expected);
        self.open.retain(|_, known| known.writer.is_some() || known.id.is_some());
    }

    fn end_where(&mut self, is_over: impl Fn(u64) -> bool) {
        let over = self.open.iter().filter(|(_, known)| is_over(known.deadline));
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            let sent = self.open[&number].id.is_some();
            self.end(number, Some(if sent { ENDS.sent } else { ENDS.queued }));
        }
    }

    fn end(&mut self, number: u32, failure: Option<Failure>) {
        let known = self.open.remove(&number).expect("it is open");
        self.over.extend(known.id);
        self.ends.extend(known.writer.map(|writer| (writer, number, failure)));
    }

    /// What came into the outboxes.
    fn told(&mut self) -> Vec<(usize, u32, Option<Failure>)> {
        let mut told = Vec::new();
        for writer in 0..WRITERS {
            for Ending { number, outcome } in std::mem::take(self.bundles.outbox(writer)) {
                let failure = outcome.err().map(|returned| {
                    let bytes = returned.change.value.as_ref().map(Bytes::len);
                    assert_eq!(returned.change, change(number, bytes), "it comes back as it was");
                    assert_eq!(returned.shard, ShardId(u64::from(number) % 3));
                    returned.failure
                });
                told.push((writer, number, failure));
            }
        }
        told
    }

    fn check(&mut self) {
        let (mut told, mut ends) = (self.told(), std::mem::take(&mut self.ends));
        told.sort_by_key(|(_, number, _)| *number);
        ends.sort_by_key(|(_, number, _)| *number);
        assert_eq!(told, ends);
        assert_eq!(self.bundles.open(), self.open.len());
        let with_frame = || self.bundles.bundles.iter().filter(|bundle| bundle.frame.is_some());
        let kept: usize = with_frame()
            .filter_map(|bundle| bundle.frame.as_ref())
            .map(|frame| frame.len())
            .sum();
        let live: usize = with_frame().map(|bundle| bundle.live).sum();
        assert_eq!((self.bundles.kept, self.bundles.live), (kept, live));
        let occupied = self.bundles.bundles.len() - self.bundles.free.len();
        let least = usize::from(!self.open.is_empty());
        assert!(
            (least..=self.open.len()).contains(&occupied),
            "a bundle is there while anything of it is open"
        );
        assert!(self.bundles.queue.len() <= occupied);
        let earliest = self.open.values().map(|known| known.deadline).min();
        let known = self
            .bundles
            .bundles
            .iter()
            .filter(|bundle| bundle.open > 0)
            .map(|bundle| bundle.earliest)
            .min();
        assert!(known <= earliest.map(Moment));
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_operation_ends_once_and_no_bundle_leaks(acts in acts()) {
        let mut model = Model::default();
        for act in acts {
            model.act(act);
        }
    }

    #[test]
    fn arbitrary_ids_never_panic_and_never_answer_what_was_not_sent(ids in proptest::collection::vec(any::<u64>(), 0..50)) {
        let mut bundles = Bundles::default();
        bundles.insert(0, &mut Load(vec![consignment(0, 9, None), consignment(1, 9, None)]));
        let sent: Vec<u64> = send(&mut bundles).into_iter().map(|(id, _)| id).collect();
        bundles.insert(0, &mut Load(vec![consignment(2, 9, None)]));
        // Those without this bit are not given to bundles.
        for id in ids.into_iter().flat_map(|id| [id, id & 0xffff, sent[0] ^ (id & 7)]).map(|id| id | BUNDLED) {
            let completion = bundles.complete(id, written());
            prop_assert!(sent.contains(&id) || completion != Completion::Accepted);
        }
    }
}

#[test]
fn loads_are_cut_where_a_frame_is_full_by_number_or_by_bytes() {
    let many = u32::try_from(2 * BUNDLE_OPERATIONS_MAX + 3).expect("few");
    for (values, frames) in [
        (vec![None; many as usize], vec![BUNDLE_OPERATIONS_MAX, BUNDLE_OPERATIONS_MAX, 3]),
        (vec![Some(VALUE_BYTES_MAX); 16], vec![7, 7, 2]),
    ] {
        let mut bundles = Bundles::default();
        let mut load = Load((0..).zip(&values).map(|(number, value)| consignment(number, 9, *value)).collect());
        bundles.insert(0, &mut load);
        let sent: Vec<_> = std::iter::from_fn(|| Some(send(&mut bundles)).filter(|sent| !sent.is_empty())).collect();
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), frames);
        let keys: Vec<Bytes> = sent.into_iter().flatten().map(|(_, change)| change.key).collect();
        let expected: Vec<Bytes> = (0..).zip(&values).map(|(number, value)| change(number, *value).key).collect();
        assert_eq!(keys, expected, "in their order");
    }
}

#[test]
fn a_writer_that_withdraws_while_its_frame_is_put_together_is_told_numbers_alone() {
    let mut bundles = Bundles::default();
    bundles.insert(0, &mut Load(vec![consignment(7, 9, Some(1))]));
    let mut run = bundles.take(Moment(0)).expect("it is queued");
    let mut told = Vec::new();
    bundles.withdraw(0, |number, how| told.push((number, how)));
    assert_eq!(told, [(7, Withdrawn::Sent(None))]);
    run.write(&mut FrameWriter::new());
    let id = run.name.id(0);
    bundles.give_back(run);
    assert_eq!((bundles.open(), bundles.complete(id, written())), (1, Completion::Accepted));
    assert_eq!((bundles.open(), bundles.outbox(0).len()), (0, 0));
}

#[test]
fn frames_are_in_proportion_to_what_is_open() {
    let mut bundles = Bundles::default();
    let mut stuck = Vec::new();
    for round in 0..200u32 {
        let numbers = round * 1_000..round * 1_000 + 1_000;
        let mut load = Load(numbers.map(|number| consignment(number, 9, Some(500))).collect());
        bundles.insert(0, &mut load);
        let sent = send(&mut bundles);
        stuck.push(sent[500].0);
        for (id, _) in sent {
            if stuck.last() != Some(&id) {
                assert_eq!(bundles.complete(id, written()), Completion::Accepted);
            }
        }
        bundles.outbox(0).clear();
        assert!(
            bundles.kept <= KEPT_PER_LIVE * bundles.live + KEPT_BESIDES + (1 << 20),
            "{}",
            bundles.kept
        );
        let live: usize = bundles.bundles.iter().map(|bundle| bundle.live).sum();
        assert_eq!(bundles.live, live);
    }
    for id in stuck {
        assert_eq!(bundles.complete(id, Err(Refusal::NotFound)), Completion::Accepted);
    }
    let ended = std::mem::take(bundles.outbox(0));
    assert_eq!(ended.len(), 200);
    for ending in ended {
        let returned = ending.outcome.expect_err("it was refused");
        assert_eq!(returned.change, change(ending.number, Some(500)));
    }
    assert_eq!((bundles.kept, bundles.live), (0, 0));
}

#[test]
fn what_there_is_no_room_for_stays_in_the_load() {
    let mut bundles = Bundles::default();
    for number in 0..BUNDLES_MAX {
        bundles.insert(0, &mut Load(vec![consignment(number, 9, None)]));
    }
    let mut load = Load(vec![consignment(BUNDLES_MAX, 9, None)]);
    bundles.insert(0, &mut load);
    assert_eq!(load.0.len(), 1);
    bundles.lose(ENDS);
    bundles.insert(0, &mut load);
    assert!(load.is_empty(), "there is room again");
}

#[test]
fn memory_of_frames_and_loads_is_used_again() {
    let mut bundles = Bundles::default();
    let mut load = Load::default();
    for round in 0..5 {
        load.0.extend((0..100).map(|number| consignment(number, 9, Some(100))));
        let capacity = load.0.capacity();
        bundles.insert(0, &mut load);
        let sent = send(&mut bundles);
        sent.iter()
            .for_each(|(id, _)| assert_eq!(bundles.complete(*id, written()), Completion::Accepted));
        assert_eq!(
            (bundles.spare_frames.len(), bundles.spare_consignments.len(), bundles.bundles.len()),
            (1, 1, 1)
        );
        assert!(
            round < 2 || load.0.capacity() == capacity,
            "loads change places with those that were sent"
        );
    }
}
