//! The schedule's edges one by one; `model` drives it against servers that refuse, lose and delay at random.

use margate_net::error::{Queue, Refusal};
use margate_net::ids::{NodeId, ShardId, Version};

use super::*;
use crate::batch::Effect;
use crate::error::{LinkFault, Obstacle};
use crate::retry::Failure;
use crate::testing::{address, map};

mod model;

const BUSY: Refusal = Refusal::Busy {
    queue: Queue::Operations,
    retry_after_ms: 5,
};
const LOST: Failure = Failure::Lost(LinkFault::Hangup);

/// A schedule, a map of three shards, and what links have been given and not ended.
pub(super) struct Bench {
    pub(super) schedule: Schedule,
    pub(super) table: RoutingTable,
    pub(super) now: Moment,
    pub(super) out: Vec<Out>,
}

/// A write that a link has.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) place: usize,
    pub(super) sent: Consignment,
}

impl Bench {
    pub(super) fn new(config: &BatchWriterConfig) -> Self {
        Self {
            schedule: Schedule::new(config),
            table: RoutingTable::new(map(1, &[b"h", b"p"]), None),
            now: Moment(1_000),
            out: Vec::new(),
        }
    }

    pub(super) fn hand_over(&mut self, change: Change) -> ReceiptName {
        assert!(self.schedule.try_take_room(change.bytes()), "there is room");
        self.schedule.hand_over(change)
    }

    fn set(&mut self, key: &str) -> ReceiptName {
        self.hand_over(change(key, false))
    }

    /// Gives links what is ready; the keys of it, in the order of the places.
    pub(super) fn send(&mut self) -> Vec<String> {
        let mut loads = Loads::default();
        let before = self.out.len();
        while self.schedule.dispatch(self.now, Some(&self.table), 1_000, &mut loads) {}
        for (place, load) in loads.0.into_iter().enumerate() {
            self.out.extend(load.0.into_iter().map(|sent| Out { place, sent }));
        }
        let key = |out: &Out| String::from_utf8_lossy(&out.sent.change.key).into_owned();
        self.out[before..].iter().map(key).collect()
    }

    /// Ends the write at this position of `out`.
    pub(super) fn end(&mut self, position: usize, outcome: Result<Effect, Failure>) {
        let Out { place, sent } = self.out.remove(position);
        let node = self.table.places()[place].node;
        if let Err(failure) = &outcome {
            self.table.learn(sent.shard, node, failure);
        }
        let number = sent.number;
        let ending = match outcome {
            Ok(effect) => Ending {
                number,
                outcome: Ok(effect),
            },
            Err(failure) => sent.sent_back(failure),
        };
        self.schedule.ended(ending, address(9), self.now, 0);
    }

    fn refuse(&mut self, position: usize, refusal: Refusal) {
        self.end(position, Err(Failure::Refused(refusal)));
    }

    fn execute(&mut self, position: usize, version: u64) {
        self.end(position, Ok(Effect::Written(Version(version))));
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Duration::from_millis(millis));
    }

    pub(super) fn result(&mut self, receipt: ReceiptName) -> Option<Result<Option<Version>, Error>> {
        let result = self.schedule.take_result(receipt, Waker::noop())?;
        Some(result.map_err(|error| *error))
    }

    fn summary(&mut self) -> Option<WriteSummary> {
        let ticket = self.schedule.begin_flush();
        self.schedule.take_flush(ticket, Waker::noop())
    }
}

/// A set of one byte, or a delete.
pub(super) fn change(key: &str, is_delete: bool) -> Change {
    Change {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: (!is_delete).then(|| Bytes::from_static(b"v")),
    }
}

fn bench() -> Bench {
    Bench::new(&BatchWriterConfig::default())
}

fn version(number: u64) -> Option<Result<Option<Version>, Error>> {
    Some(Ok(Some(Version(number))))
}

fn out_of_order(fault: OrderFault) -> Option<Result<Option<Version>, Error>> {
    Some(Err(Error::OutOfOrder(fault)))
}

fn unknown(cause: UnknownCause) -> Option<Result<Option<Version>, Error>> {
    Some(Err(Error::OutcomeUnknown { cause }))
}

#[test]
fn writes_leave_together_in_the_order_of_their_keys_each_to_its_shard() {
    let mut bench = bench();
    let receipts: Vec<_> = ["z", "b", "j", "a", "q"].into_iter().map(|key| bench.set(key)).collect();
    assert_eq!(bench.send(), ["q", "z", "a", "b", "j"], "by place, and in a place by key");
    let shards: Vec<ShardId> = bench.out.iter().map(|out| out.sent.shard).collect();
    assert_eq!(shards, [3, 3, 1, 1, 2].map(ShardId));
    assert_eq!(bench.send(), Vec::<String>::new(), "nothing is sent twice");
    (1..=5).for_each(|number| bench.execute(0, number));
    let versions = receipts.into_iter().map(|receipt| bench.result(receipt));
    assert_eq!(versions.collect::<Vec<_>>(), [2, 4, 5, 3, 1].map(version));
}

#[test]
fn a_delete_has_a_version_or_found_nothing() {
    let mut bench = bench();
    let receipts = ["a", "b"].map(|key| bench.hand_over(change(key, true)));
    bench.send();
    bench.end(0, Ok(Effect::Deleted(Some(Version(7)))));
    bench.end(0, Ok(Effect::Deleted(None)));
    assert_eq!(receipts.map(|receipt| bench.result(receipt)), [version(7), Some(Ok(None))]);
}

#[test]
fn an_answer_to_another_kind_of_operation_leaves_the_outcome_unknown() {
    for effect in [Effect::Senseless, Effect::Deleted(None)] {
        let mut bench = bench();
        let receipt = bench.set("a");
        bench.send();
        bench.end(0, Ok(effect));
        assert_eq!(bench.result(receipt), Some(Err(crate::api::MISANSWERED_WRITE)));
    }
}

#[test]
fn writes_of_a_key_that_are_ready_together_leave_together_and_later_ones_wait() {
    let mut bench = bench();
    let first = [bench.set("a"), bench.set("a")];
    assert_eq!(bench.send(), ["a", "a"]);
    let second = bench.set("a");
    bench.execute(0, 1);
    assert_eq!(bench.send(), Vec::<String>::new(), "the first two are not over");
    bench.execute(0, 2);
    assert_eq!(bench.send(), ["a"]);
    bench.execute(0, 3);
    assert_eq!(first.map(|receipt| bench.result(receipt)), [version(1), version(2)]);
    assert_eq!(bench.result(second), version(3));
}

#[test]
fn a_refused_write_is_sent_again_before_what_waits_behind_it() {
    let mut bench = bench();
    let first = bench.set("a");
    bench.send();
    let second = bench.set("a");
    bench.send();
    bench.refuse(0, BUSY);
    assert_eq!(bench.send(), Vec::<String>::new(), "it is not time yet");
    let due = bench.schedule.due();
    assert!(due > bench.now && due < bench.now.plus(Duration::from_millis(100)), "{due:?}");
    bench.wait(100);
    assert_eq!(bench.send(), ["a", "a"], "both are ready now, in their order");
    bench.execute(0, 1);
    bench.execute(0, 2);
    assert_eq!((bench.result(first), bench.result(second)), (version(1), version(2)));
}

#[test]
fn a_hint_is_followed_at_once() {
    let mut bench = bench();
    bench.set("a");
    bench.send();
    let (place, node) = (bench.out[0].place, NodeId(3));
    bench.refuse(0, Refusal::NotLeader { leader: Some(node) });
    assert_eq!(bench.send(), ["a"]);
    assert_ne!(bench.out[0].place, place);
    assert_eq!(bench.table.places()[bench.out[0].place].node, node);
}

#[test]
fn of_a_train_whoever_was_overtaken_is_not_sent_again() {
    let mut bench = bench();
    let receipts = [bench.set("a"), bench.set("a"), bench.set("a")];
    bench.send();
    bench.execute(1, 7);
    bench.refuse(0, BUSY);
    assert_eq!(bench.result(receipts[0]), None, "the third has no answer yet");
    bench.refuse(0, BUSY);
    let overtaken = out_of_order(OrderFault::LaterExecuted);
    assert_eq!(receipts.map(|receipt| bench.result(receipt)), [overtaken, version(7), None]);
    bench.wait(100);
    assert_eq!(bench.send(), ["a"], "the third was not overtaken");
}

#[test]
fn of_a_train_that_was_cut_off_the_unsent_end_is_not_sent_behind_what_may_yet_come() {
    let mut bench = bench();
    let receipts = [bench.set("a"), bench.set("a")];
    bench.send();
    bench.end(0, Err(LOST));
    let not_sent = Failure::NotSent(Obstacle::Unsent { address: address(9) });
    bench.end(0, Err(not_sent));
    bench.wait(100);
    assert_eq!(bench.send(), Vec::<String>::new());
    let (cause, fault) = (
        UnknownCause::ConnectionLost,
        OrderFault::EarlierUnknown(UnknownCause::ConnectionLost),
    );
    assert_eq!(receipts.map(|receipt| bench.result(receipt)), [unknown(cause), out_of_order(fault)]);
}

#[test]
fn writes_handed_over_before_an_outcome_was_known_to_be_unknown_fail_and_later_ones_go() {
    let mut bench = bench();
    let lost = bench.set("a");
    bench.send();
    let parked = bench.set("a");
    bench.send();
    let (ready, other) = (bench.set("a"), bench.set("b"));
    bench.end(0, Err(LOST));
    let later = bench.set("a");
    assert_eq!(bench.send(), ["a", "b"], "the one handed over afterwards, and another key");
    let cause = UnknownCause::ConnectionLost;
    assert_eq!(bench.result(lost), unknown(cause));
    for doubted in [parked, ready] {
        assert_eq!(bench.result(doubted), out_of_order(OrderFault::EarlierUnknown(cause)));
    }
    bench.execute(0, 1);
    bench.execute(0, 2);
    assert_eq!((bench.result(later), bench.result(other)), (version(1), version(2)));
    bench.set("c");
    bench.send();
    assert!(bench.schedule.doubts.is_empty(), "nobody is left whom it concerns");
}

#[test]
fn what_a_leader_lost_sight_of_is_in_its_log_or_nowhere_so_later_writes_go_on() {
    let mut bench = bench();
    let receipts = [bench.set("a"), bench.set("a")];
    bench.send();
    bench.refuse(0, Refusal::OutcomeUnknown);
    bench.refuse(0, Refusal::NotLeader { leader: None });
    bench.wait(100);
    assert_eq!(bench.send(), ["a"]);
    bench.execute(0, 4);
    let results = receipts.map(|receipt| bench.result(receipt));
    assert_eq!(results, [unknown(UnknownCause::LeadershipLost), version(4)]);
}

#[test]
fn a_refusal_for_good_holds_up_nobody() {
    let mut bench = bench();
    let receipts = [bench.set("a"), bench.set("a")];
    bench.send();
    bench.refuse(0, Refusal::DeadlineExceeded);
    bench.execute(0, 1);
    let [refused, written] = receipts.map(|receipt| bench.result(receipt));
    assert!(matches!(refused, Some(Err(Error::Timeout { .. }))), "{refused:?}");
    assert_eq!(written, version(1));
}

#[test]
fn a_write_with_an_old_map_waits_for_a_new_one() {
    let mut bench = bench();
    let receipt = bench.set("a");
    bench.send();
    let current = margate_net::ids::RangeEpoch(2);
    bench.refuse(0, Refusal::WrongRange { current });
    bench.wait(100);
    assert_eq!(bench.send(), Vec::<String>::new());
    assert!(bench.schedule.wants_map());
    bench.table = RoutingTable::new(map(2, &[b"h", b"p"]), Some(&bench.table));
    bench.schedule.map_asked();
    assert!(!bench.schedule.wants_map());
    assert_eq!(bench.send(), ["a"]);
    assert_eq!(bench.out[0].sent.range_epoch, current);
    bench.execute(0, 1);
    assert_eq!(bench.result(receipt), version(1));
}

#[test]
fn the_time_of_a_write_runs_from_its_first_look_over_all_tries() {
    let timeout = Duration::from_millis(50);
    let mut bench = Bench::new(&BatchWriterConfig {
        timeout,
        ..BatchWriterConfig::default()
    });
    let receipt = bench.set("a");
    let began = bench.now;
    for _ in 0..3 {
        assert_eq!(bench.send(), ["a"]);
        assert_eq!(bench.out[0].sent.deadline, began.plus(timeout));
        bench.refuse(0, BUSY);
        bench.now = bench.schedule.due().min(began.plus(timeout));
    }
    while let [..] = bench.send()[..]
        && !bench.out.is_empty()
    {
        bench.refuse(0, BUSY);
        bench.now = bench.schedule.due().min(began.plus(timeout));
    }
    let result = bench.result(receipt);
    assert!(
        matches!(result, Some(Err(Error::Unavailable { after, .. })) if after < timeout),
        "{result:?}"
    );
}

#[test]
fn summaries_count_and_name() {
    let mut bench = bench();
    for key in ["a", "b", "c", "d"] {
        let receipt = bench.set(key);
        bench.schedule.give_up(receipt);
    }
    bench.send();
    assert_eq!(bench.summary(), None, "they are under way");
    bench.execute(0, 1);
    bench.end(0, Err(LOST));
    bench.refuse(0, Refusal::DeadlineExceeded);
    bench.execute(0, 2);
    let summary = bench.summary().expect("all have ended");
    let named: Vec<&[u8]> = summary.failures.iter().map(|failure| failure.key.as_ref()).collect();
    assert_eq!((summary.acknowledged, summary.failed, summary.unknown), (2, 1, 1));
    assert_eq!(named, [b"b", b"c"]);
    assert_eq!(bench.summary(), Some(WriteSummary::default()), "each write is counted once");
    assert_eq!((bench.schedule.under_way(), bench.schedule.receipts.held()), ((0, 0), 0));
}

#[test]
fn an_abandoned_schedule_tells_what_was_sent_from_what_was_not() {
    let mut bench = bench();
    let keys = ["a", "b", "c", "d"];
    let [acknowledged, sent, queued, held] = keys.map(|key| bench.set(key));
    bench.send();
    let parked = bench.set("b");
    bench.send();
    let ready = bench.set("e");
    bench.execute(0, 1);
    bench.refuse(2, BUSY);
    let unsent = Withdrawn::Queued(change("c", false));
    for (position, how) in [(0, Withdrawn::Sent(None)), (1, unsent)] {
        bench.schedule.withdrawn(bench.out[position].sent.number, how);
    }
    bench.schedule.end_all();
    let summary = bench.schedule.take_untold();
    assert_eq!((summary.acknowledged, summary.failed, summary.unknown), (1, 4, 1));
    assert_eq!(bench.result(acknowledged), version(1));
    assert_eq!(bench.result(sent), unknown(UnknownCause::Abandoned));
    for unsent in [queued, held, parked, ready] {
        assert_eq!(bench.result(unsent), Some(Err(Error::Abandoned)));
    }
    assert!(bench.schedule.is_closed());
    assert_eq!((bench.schedule.under_way(), bench.schedule.due()), ((0, 0), Moment::NEVER));
}

#[test]
fn a_flush_that_waits_when_everything_ends_is_told_of_it() {
    let mut bench = bench();
    bench.set("a");
    let flush = bench.schedule.begin_flush();
    assert!(bench.schedule.take_flush(flush, Waker::noop()).is_none());
    bench.schedule.end_all();
    let summary = bench.schedule.take_flush(flush, Waker::noop()).expect("nothing is under way");
    assert_eq!((summary.failed, summary.is_clean()), (1, false));
}

#[test]
fn neighbours_go_to_their_own_shards_where_a_bound_lies_within_a_prefix() {
    let mut bench = bench();
    bench.table = RoutingTable::new(map(1, &[b"user/0005", b"user/0005\0"]), None);
    let keys = ["user/0007", "user/0001", "user/0005", "user/0004", "user/0005a", "tail", "zoo"];
    let _receipts = keys.map(|key| bench.set(key));
    bench.send();
    assert_eq!(bench.out.len(), keys.len());
    for Out { sent, .. } in &bench.out {
        let key = &sent.change.key;
        let (route, _) = bench.table.aim_write(key);
        assert_eq!(sent.shard, route.shard, "{key:?}");
    }
}

#[test]
fn who_gives_others_their_turn_is_not_overtaken() {
    let mut bench = bench();
    let (mut first, mut second) = (None, None);
    bench.schedule.wait_in_line(&mut first, 1, Waker::noop());
    assert!(!bench.schedule.try_take_room(1) && !bench.schedule.take_room(&mut second, 1, Waker::noop()));
    let mut wakers = Vec::new();
    assert!(bench.schedule.take_room(&mut first, 1, Waker::noop()));
    bench.schedule.take_wakers(&mut wakers);
    assert_eq!(wakers.len(), 1, "the next one looks again");
    assert!(bench.schedule.take_room(&mut second, 1, Waker::noop()));
}

#[test]
fn of_a_train_that_is_half_answered_when_its_writer_goes_the_answers_count() {
    let mut bench = bench();
    let receipts = [bench.set("a"), bench.set("a")];
    bench.send();
    bench.execute(0, 1);
    bench.schedule.withdrawn(bench.out[0].sent.number, Withdrawn::Sent(None));
    bench.schedule.end_all();
    let results = receipts.map(|receipt| bench.result(receipt));
    assert_eq!(results, [version(1), unknown(UnknownCause::Abandoned)]);
}

#[test]
fn a_closed_client_fails_what_is_ready_and_was_not_sent() {
    let mut bench = bench();
    let receipt = bench.set("a");
    assert!(!bench.schedule.dispatch(bench.now, None, 10, &mut Loads::default()));
    assert_eq!(bench.result(receipt), Some(Err(Error::Closed)));
}

#[test]
fn a_round_takes_the_oldest_first_and_says_whether_there_are_more() {
    let mut bench = bench();
    for key in ["c", "b", "a"] {
        bench.set(key);
    }
    let mut loads = Loads::default();
    assert!(bench.schedule.dispatch(bench.now, Some(&bench.table), 2, &mut loads));
    assert!(!bench.schedule.dispatch(bench.now, Some(&bench.table), 2, &mut loads));
    let sent: Vec<&[u8]> = loads
        .0
        .iter()
        .flat_map(|load| &load.0)
        .map(|sent| sent.change.key.as_ref())
        .collect();
    assert_eq!(sent, [b"b", b"c", b"a"]);
}
