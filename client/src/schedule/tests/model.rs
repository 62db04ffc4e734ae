//! The schedule against servers that refuse, lose, delay and forget at random, and against what it promises:
//! one true result for each write, no write executed twice, writes of one key executed in their order.
//!
//! The servers are as bad as real ones can be and no worse: what came on one connection is looked at in order, though
//! answers may come in any; refused is refused for good; what a connection had when it broke may be looked at at any
//! later time, or never.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use margate_net::ids::{NodeId, RangeEpoch};
use proptest::prelude::*;

use super::*;

const KEYS: [&str; 4] = ["a", "b", "k", "z"];

/// One thing that happens.
#[derive(Clone, Debug)]
enum Act {
    /// The answer at this position of those on their way arrives.
    Answer(usize),
    /// The next write of a connection that is broken for its client is looked at after all.
    Awake { connection: usize, executed: bool },
    /// A connection breaks; of what its server has not looked at, so much was not even sent.
    Break { place: usize, unsent: usize },
    /// A flush begins.
    Flush,
    /// A write is handed over.
    HandOver { key: usize, delete: bool },
    /// The next write of a connection is looked at.
    Look { place: usize, verdict: Verdict },
    /// The map was asked for, and is new or not.
    MapAsked { changed: bool },
    /// What is ready is sent.
    Send,
    /// The time of the write at this position is over without an answer.
    Silence(usize),
    /// Time passes.
    Wait(u64),
}

/// What a server does about a write.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Execute,
    /// It cannot tell what becomes of it: it is executed now, or never.
    LoseSight {
        executed: bool,
    },
    Refuse(Refusal),
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    let hint = |leader| Refusal::NotLeader { leader };
    let refusals = prop_oneof![
        4 => Just(BUSY),
        2 => Just(hint(None)),
        2 => (1u64..4).prop_map(move |node| hint(Some(NodeId(node)))),
        1 => Just(Refusal::WrongRange { current: RangeEpoch(2) }),
        1 => Just(Refusal::DeadlineExceeded),
    ];
    prop_oneof![
        6 => Just(Verdict::Execute),
        1 => any::<bool>().prop_map(|executed| Verdict::LoseSight { executed }),
        5 => refusals.prop_map(Verdict::Refuse),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => any::<usize>().prop_map(Act::Answer),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(connection, executed)| Act::Awake { connection, executed }),
        1 => (any::<usize>(), 0usize..4).prop_map(|(place, unsent)| Act::Break { place, unsent }),
        1 => Just(Act::Flush),
        10 => (0..KEYS.len(), any::<bool>()).prop_map(|(key, delete)| Act::HandOver { key, delete }),
        10 => (any::<usize>(), verdicts()).prop_map(|(place, verdict)| Act::Look { place, verdict }),
        1 => any::<bool>().prop_map(|changed| Act::MapAsked { changed }),
        5 => Just(Act::Send),
        1 => any::<usize>().prop_map(Act::Silence),
        3 => (1u64..60).prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 0..300)
}

/// A write as its caller knows it.
struct Known {
    key: usize,
    receipt: ReceiptName,
    result: Option<Result<Option<Version>, Error>>,
    /// How many had been handed over when its result was known.
    known_at: usize,
}

struct World {
    bench: Bench,
    writes: Vec<Known>,
    /// By the schedule's numbers, which are used again.
    numbered: BTreeMap<u32, usize>,
    /// Connections: writes that their server has not looked at.
    unseen: BTreeMap<usize, VecDeque<usize>>,
    /// Writes whose time was over before their answer came.
    silent: BTreeSet<usize>,
    /// Answers on their way.
    answers: Vec<(usize, Result<Effect, Failure>)>,
    /// What broken connections may still bring forth.
    ghosts: Vec<VecDeque<usize>>,
    /// Writes executed, in order.
    log: Vec<usize>,
    flushes: Vec<(FlushTicket, usize)>,
    counted: u64,
    map_epoch: u64,
}

impl World {
    fn new() -> Self {
        Self {
            bench: bench(),
            writes: Vec::new(),
            numbered: BTreeMap::new(),
            unseen: BTreeMap::new(),
            silent: BTreeSet::new(),
            answers: Vec::new(),
            ghosts: Vec::new(),
            log: Vec::new(),
            flushes: Vec::new(),
            counted: 0,
            map_epoch: 1,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Answer(choice) => {
                if let Some(position) = choice.checked_rem(self.answers.len()) {
                    let (write, outcome) = self.answers.remove(position);
                    self.end(write, outcome);
                }
            }
            Act::Awake { connection, executed } => {
                if let Some(position) = connection.checked_rem(self.ghosts.len()) {
                    let write = self.ghosts[position].pop_front();
                    self.log.extend(write.filter(|_| executed));
                }
            }
            Act::Break { place, unsent } => self.break_connection(place, unsent),
            Act::Flush => {
                let ticket = self.bench.schedule.begin_flush();
                self.flushes.push((ticket, self.writes.len()));
            }
            Act::HandOver { key, delete } => self.hand_over(key, delete),
            Act::Look { place, verdict } => self.look(place, verdict),
            Act::MapAsked { changed } => self.map_asked(changed),
            Act::Send => self.send(),
            Act::Silence(choice) => self.silence(choice),
            Act::Wait(millis) => self.bench.wait(millis),
        }
        self.take_results();
    }

    fn hand_over(&mut self, key: usize, delete: bool) {
        let receipt = self.bench.hand_over(change(KEYS[key], delete));
        self.writes.push(Known {
            key,
            receipt,
            result: None,
            known_at: 0,
        });
        // The number under which the schedule will send it: handed over last, it is the last one ready.
        let number = self.bench.schedule.ready.back().expect("it is ready").number;
        self.numbered.insert(number, self.writes.len() - 1);
    }

    fn send(&mut self) {
        let before = self.bench.out.len();
        self.bench.send();
        for out in &self.bench.out[before..] {
            self.unseen.entry(out.place).or_default().push_back(self.numbered[&out.sent.number]);
        }
    }

    fn look(&mut self, choice: usize, verdict: Verdict) {
        let Some(write) = self.connection(choice).and_then(|connection| connection.pop_front()) else {
            return;
        };
        let executed = match verdict {
            Verdict::Execute => true,
            Verdict::LoseSight { executed } => executed,
            Verdict::Refuse(_) => false,
        };
        if executed {
            self.log.push(write);
        }
        if self.silent.contains(&write) {
            // Its time is over, and nobody waits for its answer.
            return;
        }
        let outcome = match verdict {
            Verdict::Execute => Ok(self.effect(write)),
            Verdict::LoseSight { .. } => Err(Failure::Refused(Refusal::OutcomeUnknown)),
            Verdict::Refuse(refusal) => Err(Failure::Refused(refusal)),
        };
        self.answers.push((write, outcome));
    }

    /// Whatever of this place has no answer is lost; the last of what was not looked at was not even sent.
    fn break_connection(&mut self, choice: usize, unsent: usize) {
        let Some(place) = self.unseen.keys().copied().nth(choice.checked_rem(self.unseen.len()).unwrap_or(0)) else {
            return;
        };
        let unseen = self.unseen.remove(&place).unwrap_or_default();
        let sent = unseen.len().saturating_sub(unsent);
        let open: Vec<usize> = self
            .bench
            .out
            .iter()
            .filter(|out| out.place == place)
            .map(|out| self.numbered[&out.sent.number])
            .collect();
        self.answers.retain(|(write, _)| !open.contains(write));
        let not_sent: BTreeSet<usize> = unseen.iter().copied().skip(sent).collect();
        self.ghosts.push(unseen.iter().copied().take(sent).collect());
        for write in open {
            let unsent = Failure::NotSent(Obstacle::Unsent { address: address(9) });
            self.end(write, Err(if not_sent.contains(&write) { unsent } else { LOST }));
        }
    }

    fn silence(&mut self, choice: usize) {
        let Some(position) = choice.checked_rem(self.bench.out.len()) else {
            return;
        };
        let write = self.numbered[&self.bench.out[position].sent.number];
        // Where the server has not looked at it, it stays in line.
        self.answers.retain(|(answered, _)| *answered != write);
        self.silent.insert(write);
        self.end(write, Err(Failure::Silent));
    }

    fn map_asked(&mut self, changed: bool) {
        if changed {
            self.map_epoch += 1;
            // With another bound the keys "b" and "k" change shards.
            let bounds: &[&[u8]] = if self.map_epoch.is_multiple_of(2) {
                &[b"b", b"p"]
            } else {
                &[b"h", b"p"]
            };
            self.bench.table = RoutingTable::new(map(self.map_epoch, bounds), Some(&self.bench.table));
        }
        self.bench.schedule.map_asked();
    }

    fn end(&mut self, write: usize, outcome: Result<Effect, Failure>) {
        let is_it = |out: &Out| self.numbered[&out.sent.number] == write;
        let position = self.bench.out.iter().position(is_it).expect("a link has what is answered");
        self.bench.end(position, outcome);
    }

    fn effect(&self, write: usize) -> Effect {
        let version = Version(self.log.len() as u64);
        let number = |out: &&Out| self.numbered[&out.sent.number] == write;
        let out = self.bench.out.iter().find(number).expect("a link has what is looked at");
        match out.sent.change.value {
            None => Effect::Deleted(Some(version)),
            Some(_) => Effect::Written(version),
        }
    }

    fn connection(&mut self, choice: usize) -> Option<&mut VecDeque<usize>> {
        let place = choice.checked_rem(self.unseen.len())?;
        self.unseen.values_mut().nth(place)
    }

    fn take_results(&mut self) {
        for write in 0..self.writes.len() {
            if self.writes[write].result.is_none()
                && let Some(result) = self.bench.result(self.writes[write].receipt)
            {
                self.writes[write].known_at = self.writes.len();
                self.writes[write].result = Some(result);
            }
        }
        for (ticket, handed_over) in std::mem::take(&mut self.flushes) {
            let ended = self.writes[..handed_over].iter().all(|write| write.result.is_some());
            let summary = self.bench.schedule.take_flush(ticket, Waker::noop());
            assert_eq!(
                summary.is_some(),
                ended,
                "a flush ends with the last of what was handed over before it"
            );
            match summary {
                Some(summary) => self.counted += summary.writes(),
                None => self.flushes.push((ticket, handed_over)),
            }
        }
    }

    /// Everything is well from now on, and takes its time.
    fn heal(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "with servers that execute everything it comes to an end");
            self.bench.wait(100);
            self.act(Act::MapAsked { changed: false });
            self.act(Act::Send);
            if self.bench.schedule.under_way() == (0, 0) {
                break;
            }
            while self.unseen.values().any(|connection| !connection.is_empty()) {
                for place in 0..self.unseen.len() {
                    let verdict = Verdict::Execute;
                    self.act(Act::Look { place, verdict });
                }
            }
            while !self.answers.is_empty() {
                self.act(Act::Answer(0));
            }
        }
        self.act(Act::Flush);
    }

    fn check(&self) {
        for (number, write) in self.writes.iter().enumerate() {
            let executed = self.log.iter().filter(|logged| **logged == number).count();
            match write.result.as_ref().expect("every write has its result") {
                Ok(_) => assert_eq!(executed, 1, "write {number} was acknowledged"),
                Err(Error::OutcomeUnknown { .. }) => assert!(executed <= 1, "write {number} is unknown"),
                Err(error) => assert_eq!(executed, 0, "write {number} failed: {error}"),
            }
        }
        for (position, later) in self.log.iter().enumerate() {
            for earlier in self.log[position..].iter().filter(|earlier| *earlier < later) {
                let (late, early) = (&self.writes[*later], &self.writes[*earlier]);
                let told = matches!(early.result, Some(Err(Error::OutcomeUnknown { .. }))) && *later >= early.known_at;
                assert!(
                    late.key != early.key || told,
                    "write {earlier} of {} was executed after {later}: {:?}",
                    KEYS[early.key],
                    self.log
                );
            }
        }
        let schedule = &self.bench.schedule;
        assert_eq!(self.counted, self.writes.len() as u64, "each write is in one summary");
        assert_eq!((schedule.under_way(), schedule.receipts.held()), ((0, 0), 0), "nothing is left");
        assert_eq!((schedule.live, schedule.aside.len()), (0, 0));
    }
}

proptest! {
    #[test]
    fn whatever_servers_do_each_write_has_one_true_result_and_each_key_its_order(acts in acts()) {
        let mut world = World::new();
        acts.into_iter().for_each(|act| world.act(act));
        world.heal();
        // What was lost may come forth at the very end.
        let ghosts = std::mem::take(&mut world.ghosts);
        world.log.extend(ghosts.into_iter().flatten());
        world.check();
    }
}
