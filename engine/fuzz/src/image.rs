//! What is said about images: frames of a peer in any order, and a member that takes an image of them.
//!
//! Input: a row of sayings, each one byte that says what, one of choices, then what it needs.

use bytes::BytesMut;
use margate_engine::core::event::PeerName;
use margate_engine::image::receive::{Receiving, Step};
use margate_engine::log::effects::{EffectKind, EntryData, EntryDataBuilder, verify_checksums};
use margate_engine::types::{Nanos, ReplicaName, ValueHash};
use margate_net::codec::{FrameWriter, decode_member};
use margate_net::frame::{Stage, take_frame};
use margate_net::ids::{CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, ShardId, Space, Term, Version};
use margate_net::message::{MemberBody, MemberMessage};

use crate::budget;
use crate::input::{Input, seal_frames};
use crate::log_scan::config;
use crate::state::some_state;

/// Makes the checksums of a frame right.
const SEAL: u8 = 1;
/// The same again, of a later attempt.
const LATER: u8 = 2;
/// What may be said or done next.
const KINDS: u8 = 4;
/// Sayings in an input, at most.
const SAYINGS_MAX: usize = 64;

const MEMBER: ReplicaName = ReplicaName {
    shard: ShardId(1),
    replica: ReplicaId(4),
};
const LEADER: PeerName = PeerName {
    node: NodeId(2),
    core: CoreId(0),
};

/// The member's side of one image, as a core goes on with it.
#[derive(Default)]
struct Member {
    receiving: Option<Receiving>,
    /// The rows on their way to its log.
    logging: Option<u64>,
    generation: u64,
    /// Numbers of rows are never taken twice, and none is left out.
    taken: u64,
    now: u64,
}

/// Lets a member hear any bytes as a leader's frames, while its log and its index go on.
pub fn run(data: &[u8]) {
    let (mut input, mut member) = (Input(data), Member::default());
    budget::within(data.len(), 64 << 10, 32, || {
        for _ in 0..SAYINGS_MAX {
            if input.0.is_empty() {
                return;
            }
            let (kind, choices) = (input.byte() % KINDS, input.byte());
            match kind {
                0 => {
                    let length = usize::from(input.short());
                    member.hear_frame(input.bytes(length), choices);
                }
                1 => member.logged(),
                2 => member.committed(),
                _ => member.wait(input.short()),
            }
        }
    });
}

impl Member {
    fn hear_frame(&mut self, bytes: &[u8], choices: u8) {
        let mut bytes = bytes.to_vec();
        if choices & SEAL != 0 {
            seal_frames(&mut bytes);
        }
        let Ok(Some(frame)) = take_frame(&mut BytesMut::from(bytes.as_slice()), Stage::Established) else {
            return;
        };
        let Ok(mut message) = decode_member(&frame) else { return };
        assert_eq!(again(&message), message);
        message.attempt = message.attempt.wrapping_add(u64::from(choices & LATER != 0));
        self.hear(&message);
    }

    fn hear(&mut self, message: &MemberMessage) {
        let goes_on = self.receiving.as_ref().is_some_and(|known| known.attempt == message.attempt);
        if !goes_on && matches!(message.body, MemberBody::Begin { .. }) {
            if self.receiving.as_ref().is_none_or(|known| !known.is_settled()) {
                self.receiving = Receiving::new(LEADER, message, MEMBER, Space(9), Nanos(self.now));
                (self.logging, self.taken) = (None, 0);
            }
            return;
        }
        let Some(receiving) = self.receiving.as_mut().filter(|_| goes_on) else {
            return;
        };
        match receiving.hear(Nanos(self.now), &message.body) {
            Step::Log { number, data } => {
                assert_eq!((self.logging, number), (None, self.taken + 1));
                self.logging = Some(number);
                are_sound(receiving, &data);
            }
            Step::Nothing => {}
            Step::Said(number) => assert_eq!(number, self.taken),
            Step::Settle => {
                assert_eq!(self.logging, None);
                receiving.settle(self.generation + 1);
            }
            Step::Senseless => self.receiving = None,
        }
    }

    /// The rows on their way are durable.
    fn logged(&mut self) {
        if let (Some(receiving), Some(number)) = (&mut self.receiving, self.logging.take()) {
            assert_eq!(receiving.logged(number), Some(number));
            assert_eq!(receiving.logged(number), None);
            self.taken = number;
        }
    }

    /// One more generation of the index is durable.
    fn committed(&mut self) {
        self.generation += 1;
        let Some(receiving) = &mut self.receiving else { return };
        if let Some((number, _)) = receiving.settled(self.generation) {
            assert_eq!(number, self.taken + 1);
            assert!(receiving.is_settled() && receiving.settled(u64::MAX - 1).is_none());
            self.receiving = None;
        }
    }

    fn wait(&mut self, millis: u16) {
        self.now += Nanos::from_millis(millis.into()).0;
        if self.receiving.as_ref().is_some_and(|receiving| receiving.is_stale(Nanos(self.now))) {
            self.receiving = None;
        }
    }
}

/// Only whole rows of this shard, none newer than the image, get into the log.
fn are_sound(receiving: &Receiving, data: &[u8]) {
    assert_eq!(verify_checksums(data), Ok(()));
    let rows = EntryData::parse(data).expect("checked");
    for (_, effect) in rows.effects() {
        assert!(effect.kind == EffectKind::Put && receiving.state.contains(effect.key));
        assert!(effect.version <= receiving.state.version_high);
    }
}

fn again(message: &MemberMessage) -> MemberMessage {
    let frame = take_frame(&mut BytesMut::from(framed(message).as_slice()), Stage::Established);
    decode_member(&frame.expect("what we write is a frame").expect("and whole")).expect("what we write can be read")
}

fn framed(message: &MemberMessage) -> Vec<u8> {
    let mut out = Vec::new();
    FrameWriter::new().member(&mut out, message);
    out
}

fn said(body: MemberBody) -> Vec<u8> {
    let frame = framed(&MemberMessage {
        shard: MEMBER.shard,
        from: ReplicaId(1),
        to: MEMBER.replica,
        attempt: 5,
        body,
    });
    let length = u16::try_from(frame.len()).expect("short");
    [&[0, SEAL], length.to_le_bytes().as_slice(), &frame].concat()
}

/// A whole image of one piece of rows; one that ends in the middle; and everything else there is to say.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut data = EntryDataBuilder::new(config().cluster, MEMBER.shard, Nanos(0));
    data.put(b"key", b"value", Version(3), ValueHash::of(b"value"));
    let rows = said(MemberBody::Rows {
        number: 1,
        data: data.finish().into(),
    });
    let begin = said(MemberBody::Begin {
        applied: LogIndex(4),
        applied_term: Term(2),
        state: some_state().encode(),
    });
    let end = said(MemberBody::End { number: 2, term: Term(2) });
    let (logged, committed, directory) = (vec![1, 0], vec![2, 0], DirectoryId(6));
    vec![
        [begin.clone(), rows.clone(), logged, end.clone(), committed].concat(),
        [begin.clone(), rows.clone(), rows.clone(), vec![3, 0, 0xff, 0xff], begin].concat(),
        [end, rows, said(MemberBody::GiveUp)].concat(),
        [said(MemberBody::Admit { directory }), said(MemberBody::Join { directory })].concat(),
        said(MemberBody::Taken { number: 1 }),
    ]
}
