//! The window against a model, and its edges one by one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use margate_net::error::Refusal;
use margate_net::ids::{NodeId, Version};
use proptest::prelude::*;

use super::*;
use crate::error::LinkFault;
use crate::testing::{get, set};

const LINK: LinkFault = LinkFault::Io(ErrorKind::BrokenPipe);

fn obstacle() -> Obstacle {
    Obstacle::Link {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        fault: LINK,
    }
}

fn submission(operation: Operation, expires: Moment) -> Submission {
    Submission {
        shard: ShardId(1),
        range_epoch: RangeEpoch(1),
        operation,
        deadline: expires,
        expires,
    }
}

fn insert(window: &mut Window, value_bytes: usize) -> Ticket {
    window.insert(submission(set(b"key", value_bytes), Moment(1_000)), Waker::noop().clone())
}

/// Sends everything queued, giving operations back as the runtime does; returns the ids.
fn send(window: &mut Window) -> Vec<u64> {
    let (mut ids, mut frame) = (Vec::new(), Vec::new());
    loop {
        window.take_frame(Moment(0), &mut frame);
        if frame.is_empty() {
            return ids;
        }
        ids.extend(frame.iter().map(|request| request.id));
        window.give_back(&mut frame);
    }
}

fn written() -> Result<Success, Refusal> {
    Ok(Success::Written {
        version: Version(1),
        key: None,
        old_value: None,
    })
}

fn taken(window: &mut Window, ticket: Ticket) -> Option<Result<Success, Failure>> {
    window.take(ticket, Waker::noop()).map(|ended| ended.outcome)
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One thing that can happen to a window.
#[derive(Clone, Debug)]
enum Act {
    Abandon(usize),
    Answer(usize),
    Insert { expires: u64, bytes: usize },
    Lose,
    Send,
    Sweep(u64),
    Take(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        2 => any::<usize>().prop_map(Act::Abandon),
        4 => any::<usize>().prop_map(Act::Answer),
        6 => (1u64..100, 0usize..50).prop_map(|(expires, bytes)| Act::Insert { expires, bytes }),
        1 => Just(Act::Lose),
        4 => Just(Act::Send),
        1 => (1u64..100).prop_map(Act::Sweep),
        4 => any::<usize>().prop_map(Act::Take),
    ];
    proptest::collection::vec(act, 0..200)
}

/// What a caller knows of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Abandoned,
    Done,
    Queued,
    Sent,
}

/// The window and, beside it, what must be true of it.
struct Model {
    window: Window,
    callers: BTreeMap<usize, (Ticket, Known, u64)>,
    born: usize,
    released: usize,
}

impl Model {
    fn pick(&self, choice: usize) -> Option<usize> {
        let count = self.callers.len();
        self.callers.keys().copied().nth(choice.checked_rem(count)?)
    }

    fn open(&self) -> usize {
        self.callers.values().filter(|(_, known, _)| *known != Known::Done).count()
    }

    fn act(&mut self, act: Act) {
        let mut wakers = Vec::new();
        match act {
            Act::Abandon(choice) => self.abandon(choice),
            Act::Answer(choice) => self.answer(choice),
            Act::Insert { expires, bytes } => {
                let ticket = self
                    .window
                    .insert(submission(set(b"key", bytes), Moment(expires)), Waker::noop().clone());
                self.callers.insert(self.born, (ticket, Known::Queued, expires));
                self.born += 1;
            }
            Act::Lose => {
                self.window.lose(Failure::Lost(LINK), obstacle(), &mut wakers);
                self.end_where(|_, _| true);
            }
            Act::Send => self.send(),
            Act::Sweep(now) => {
                self.window.sweep(Moment(now), obstacle(), &mut wakers);
                self.end_where(|_, expires| expires <= now);
            }
            Act::Take(choice) => self.take(choice),
        }
        self.released += self.window.take_released();
    }

    fn abandon(&mut self, choice: usize) {
        let Some(caller) = self.pick(choice) else { return };
        let (ticket, known, expires) = self.callers[&caller];
        match known {
            Known::Abandoned => {}
            Known::Done | Known::Queued => {
                self.window.abandon(ticket);
                self.callers.remove(&caller);
            }
            Known::Sent => {
                self.window.abandon(ticket);
                self.callers.insert(caller, (ticket, Known::Abandoned, expires));
            }
        }
    }

    fn answer(&mut self, choice: usize) {
        let Some(caller) = self.pick(choice) else { return };
        let (ticket, known, expires) = self.callers[&caller];
        let completion = self.window.complete(ticket.id(), written(), &mut Vec::new());
        match known {
            Known::Abandoned => {
                self.callers.remove(&caller);
                assert_eq!(completion, Completion::Accepted);
            }
            Known::Done => assert_ne!(completion, Completion::Accepted),
            Known::Queued => assert_eq!(completion, Completion::Impossible),
            Known::Sent => {
                self.callers.insert(caller, (ticket, Known::Done, expires));
                assert_eq!(completion, Completion::Accepted);
            }
        }
    }

    fn send(&mut self) {
        let queued: Vec<u64> = self
            .callers
            .values()
            .filter(|(_, known, _)| *known == Known::Queued)
            .map(|(ticket, ..)| ticket.id())
            .collect();
        assert_eq!(send(&mut self.window), queued, "all that is queued, in the order of its arrival");
        for (_, known, _) in self.callers.values_mut().filter(|(_, known, _)| *known == Known::Queued) {
            *known = Known::Sent;
        }
    }

    fn take(&mut self, choice: usize) {
        let Some(caller) = self.pick(choice) else { return };
        let (ticket, known, _) = self.callers[&caller];
        if known != Known::Abandoned {
            let ended = taken(&mut self.window, ticket).is_some();
            assert_eq!(ended, known == Known::Done);
            if ended {
                self.callers.remove(&caller);
            }
        }
    }

    fn end_where(&mut self, over: impl Fn(Known, u64) -> bool) {
        self.callers
            .retain(|_, (_, known, expires)| !(*known == Known::Abandoned && over(*known, *expires)));
        for (_, known, expires) in self.callers.values_mut() {
            if over(*known, *expires) {
                *known = Known::Done;
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_no_slot_leaks_and_no_operation_is_lost(acts in acts()) {
        let mut model = Model { window: Window::new(), callers: BTreeMap::new(), born: 0, released: 0 };
        for act in acts {
            model.act(act);
            prop_assert_eq!(model.window.open(), model.open());
            prop_assert_eq!(model.released + model.open(), model.born, "each operation gives its room back once");
            prop_assert_eq!(model.window.occupied(), model.callers.len(), "a slot for each, and no other");
            prop_assert!(model.window.queue.len() <= 2 * model.open() + QUEUE_SLACK + 1);
            let earliest = model.callers.values().filter(|(_, known, _)| *known != Known::Done).map(|(.., expires)| *expires).min();
            prop_assert!(model.window.earliest() <= Moment(earliest.unwrap_or(u64::MAX)));
        }
    }

    #[test]
    fn frames_keep_order_and_both_caps(sizes in proptest::collection::vec(prop_oneof![4 => 0usize..2_000, 1 => Just(1 << 20)], 1..60)) {
        let mut window = Window::new();
        for size in &sizes {
            insert(&mut window, *size);
        }
        let (mut sent, mut frame) = (Vec::new(), Vec::new());
        while window.has_queued() {
            window.take_frame(Moment(0), &mut frame);
            prop_assert!(!frame.is_empty() && frame.len() <= OPERATIONS_PER_FRAME_MAX);
            let bytes: usize = frame.iter().map(|request| request.operation.payload_bytes()).sum();
            prop_assert!(bytes <= PAYLOAD_BYTES_MAX);
            sent.extend(frame.iter().map(|request| request.operation.payload_bytes() - b"key".len()));
            window.give_back(&mut frame);
        }
        prop_assert_eq!(sent, sizes);
    }

    #[test]
    fn arbitrary_ids_never_panic_and_never_answer_what_was_not_sent(ids in proptest::collection::vec(any::<u64>(), 0..50), sent in 0usize..10) {
        let mut window = Window::new();
        let tickets: Vec<Ticket> = (0..sent).map(|_| insert(&mut window, 1)).collect();
        send(&mut window);
        for id in ids {
            let known = tickets.iter().any(|ticket| ticket.id() == id);
            let completion = window.complete(id, written(), &mut Vec::new());
            prop_assert!(known || completion != Completion::Accepted);
        }
    }
}

#[test]
fn a_full_frame_holds_4096_operations_and_the_rest_waits() {
    let mut window = Window::new();
    for _ in 0..OPERATIONS_PER_FRAME_MAX + 3 {
        insert(&mut window, 1);
    }
    let mut frame = Vec::new();
    window.take_frame(Moment(0), &mut frame);
    assert_eq!(frame.len(), OPERATIONS_PER_FRAME_MAX);
    window.give_back(&mut frame);
    window.take_frame(Moment(0), &mut frame);
    assert_eq!(frame.len(), 3);
}

#[test]
fn an_answer_wakes_its_caller_once_and_gives_the_operation_back() {
    let mut window = Window::new();
    let bell = Arc::new(Bell::default());
    let ticket = window.insert(submission(set(b"key", 5), Moment(1_000)), Waker::from(Arc::clone(&bell)));
    let ids = send(&mut window);
    let mut wakers = Vec::new();
    assert_eq!(window.complete(ids[0], written(), &mut wakers), Completion::Accepted);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    let ended = window.take(ticket, Waker::noop()).expect("the answer came");
    assert_eq!(ended.operation, set(b"key", 5));
    assert_eq!(
        ended.outcome,
        Ok(Success::Written {
            version: Version(1),
            key: None,
            old_value: None
        })
    );
}

#[test]
fn the_last_waker_left_is_the_one_that_is_woken() {
    let mut window = Window::new();
    let (first, second) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let ticket = window.insert(
        submission(get(b"k", margate_net::message::Consistency::Stale), Moment(9)),
        Waker::from(Arc::clone(&first)),
    );
    assert!(window.take(ticket, &Waker::from(Arc::clone(&second))).is_none());
    let mut wakers = Vec::new();
    window.lose(Failure::Lost(LINK), obstacle(), &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn a_lost_connection_tells_sent_from_queued() {
    let mut window = Window::new();
    let sent = insert(&mut window, 1);
    send(&mut window);
    let queued = insert(&mut window, 1);
    window.lose(Failure::Lost(LINK), obstacle(), &mut Vec::new());
    assert_eq!(taken(&mut window, sent), Some(Err(Failure::Lost(LINK))));
    assert_eq!(taken(&mut window, queued), Some(Err(Failure::NotSent(obstacle()))));
    assert!(!window.has_queued(), "what was told as never sent is not sent later");
}

#[test]
fn a_sweep_tells_sent_from_queued_and_spares_what_has_time() {
    let mut window = Window::new();
    let sent = insert(&mut window, 1);
    send(&mut window);
    let queued = insert(&mut window, 1);
    let young = window.insert(submission(set(b"key", 1), Moment(2_000)), Waker::noop().clone());
    assert_eq!(window.sweep(Moment(999), obstacle(), &mut Vec::new()).next, Moment(1_000));
    assert_eq!(window.sweep(Moment(1_000), obstacle(), &mut Vec::new()).next, Moment(2_000));
    assert_eq!(taken(&mut window, sent), Some(Err(Failure::Silent)));
    assert_eq!(taken(&mut window, queued), Some(Err(Failure::NotSent(obstacle()))));
    assert_eq!(taken(&mut window, young), None);
    assert_eq!(send(&mut window), [young.id()], "what was told as never sent is not sent later");
}

#[test]
fn an_answer_after_its_operation_was_given_up_is_late_not_wrong() {
    let mut window = Window::new();
    let silent = insert(&mut window, 1);
    send(&mut window);
    window.sweep(Moment(1_000), obstacle(), &mut Vec::new());
    assert_eq!(window.complete(silent.id(), written(), &mut Vec::new()), Completion::Late);
    assert_eq!(taken(&mut window, silent), Some(Err(Failure::Silent)));
    let next = insert(&mut window, 1);
    send(&mut window);
    assert_ne!(next.id(), silent.id());
    assert_eq!(
        window.complete(silent.id(), written(), &mut Vec::new()),
        Completion::Late,
        "the slot is another operation's now"
    );
    assert_eq!(taken(&mut window, next), None);
}

#[test]
fn a_refusal_is_a_failure_of_the_attempt() {
    let mut window = Window::new();
    let ticket = insert(&mut window, 1);
    send(&mut window);
    let refusal = Refusal::NotLeader { leader: Some(NodeId(2)) };
    window.complete(ticket.id(), Err(refusal), &mut Vec::new());
    assert_eq!(taken(&mut window, ticket), Some(Err(Failure::Refused(refusal))));
}

#[test]
fn silence_counts_from_the_last_word_while_something_is_open() {
    let mut window = Window::new();
    let silence = |window: &mut Window, now| window.sweep(Moment(now), obstacle(), &mut Vec::new()).silence;
    assert_eq!(silence(&mut window, 500), Duration::ZERO);
    let (first, _second) = (insert(&mut window, 1), insert(&mut window, 1));
    send(&mut window);
    assert_eq!(silence(&mut window, 500), Duration::from_nanos(500));
    window.complete(first.id(), written(), &mut Vec::new());
    window.heard(Moment(600));
    assert_eq!(silence(&mut window, 700), Duration::from_nanos(100));
    window.lose(Failure::Lost(LINK), obstacle(), &mut Vec::new());
    assert_eq!(silence(&mut window, 900), Duration::ZERO);
}

#[test]
fn the_server_is_told_a_little_less_time_than_there_is() {
    let told = |nanos: u64| {
        let mut window = Window::new();
        let mut frame = Vec::new();
        window.insert(submission(set(b"key", 1), Moment(nanos)), Waker::noop().clone());
        window.take_frame(Moment(0), &mut frame);
        frame[0].timeout_ms
    };
    assert_eq!(told(1_600_000_000), 1_500);
    assert_eq!(told(1), 1, "at least a millisecond");
    assert_eq!(told(u64::MAX), u32::MAX);
}

/// A load of a batch writer: sets that end at this moment.
fn load(numbers: std::ops::Range<u32>, deadline: Moment) -> Load {
    Load(
        numbers
            .map(|number| Consignment {
                number,
                shard: ShardId(1),
                range_epoch: RangeEpoch(1),
                deadline,
                change: Change {
                    key: bytes::Bytes::from_static(b"key"),
                    value: None,
                },
            })
            .collect(),
    )
}

fn send_run(window: &mut Window) {
    let mut run = window.take_run(Moment(0)).expect("something is queued");
    run.write(&mut margate_net::codec::FrameWriter::new());
    window.give_run_back(run);
}

#[test]
fn operations_of_batch_writers_count_and_end_beside_the_others_and_hold_no_permits() {
    let mut window = Window::new();
    let single = insert(&mut window, 1);
    window.insert_all(0, &mut load(0..2, Moment(500)));
    assert_eq!((window.open(), window.earliest()), (3, Moment(500)));
    send(&mut window);
    assert!(window.has_queued(), "a writer's operations are in frames of their own");
    send_run(&mut window);
    assert!(!window.has_queued());
    let swept = window.sweep(Moment(600), obstacle(), &mut Vec::new());
    assert_eq!((swept.next, swept.silence), (Moment(1_000), Duration::from_nanos(600)));
    assert_eq!((window.open(), window.outbox(0).len(), window.take_released()), (1, 2, 0));
    window.insert_all(0, &mut load(2..3, Moment(2_000)));
    window.lose(Failure::Lost(LINK), obstacle(), &mut Vec::new());
    assert_eq!((window.open(), window.outbox(0).len(), window.take_released()), (0, 3, 1));
    assert_eq!(taken(&mut window, single), Some(Err(Failure::Lost(LINK))));
}

#[test]
fn silence_counts_from_the_first_frame_of_a_batch_writer_too() {
    let mut window = Window::new();
    window.insert_all(0, &mut load(0..1, Moment(5_000)));
    send_run(&mut window);
    window.heard(Moment(300));
    assert_eq!(
        window.sweep(Moment(700), obstacle(), &mut Vec::new()).silence,
        Duration::from_nanos(400)
    );
}
