//! Bad frames: sound ones of every kind that a stranger, a client or a node may send, damaged in every way we know.

use bytes::Bytes;
use margate_net::codec::FrameWriter;
use margate_net::ids::{DirectoryId, LogIndex, RangeEpoch, ReplicaId, ShardId, Term, Version};
use margate_net::limits::HEADER_BYTES;
use margate_net::message::{
    Consistency, EntryKind, MemberBody, MemberMessage, Operation, PeerBatch, PeerEntry, PeerMessage, PeerMessageKind, ReadVersion, Request,
    Returning,
};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::greeting::client_hello;

/// Bytes of noise, at most.
const NOISE_BYTES_MAX: usize = 4_096;
/// Bytes changed in one frame, at most.
const CHANGES_MAX: usize = 8;
/// Shards of messages between nodes: far above those that exist, so that none is believed.
const FIRST_FOREIGN_SHARD: u64 = 1 << 40;

/// Who sends a bad frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guise {
    /// Somebody who has not said hello.
    Stranger,
    /// A client after its handshake.
    Client,
    /// A node after its handshake.
    Peer,
}

/// One bad frame, and as whom it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    /// Who.
    pub(crate) guise: Guise,
    /// What.
    pub(crate) bytes: Vec<u8>,
}

/// The bad frame of this number, always the same for a seed.
pub(crate) fn bad_frame(seed: u64, number: u64) -> BadFrame {
    let dice = &mut StdRng::seed_from_u64(seed.rotate_left(32) ^ number);
    let guise = match dice.random_range(0..3) {
        0 => Guise::Stranger,
        1 => Guise::Client,
        _ => Guise::Peer,
    };
    let mut bytes = sound(guise, dice);
    damage(&mut bytes, dice);
    BadFrame { guise, bytes }
}

/// A frame as this sender may send it.
fn sound(guise: Guise, dice: &mut StdRng) -> Vec<u8> {
    let (mut out, mut writer) = (Vec::new(), FrameWriter::new());
    match (guise, dice.random_range(0..3)) {
        (Guise::Stranger, 0) => writer.hello(&mut out, &client_hello()),
        (Guise::Stranger, 1) => writer.probe(&mut out, dice.random()),
        (Guise::Stranger, _) | (Guise::Client, 0) => writer.map_request(&mut out, dice.random()),
        (Guise::Client, _) => writer.requests(&mut out, &requests(dice)),
        (Guise::Peer, 0) => writer.peer(&mut out, &appends(dice)),
        (Guise::Peer, _) => writer.member(&mut out, &member(dice)),
    }
    out
}

fn requests(dice: &mut StdRng) -> Vec<Request> {
    let count = dice.random_range(1..4);
    let mut request = |id| Request {
        id,
        shard: ShardId(dice.random_range(1..5)),
        range_epoch: RangeEpoch(1),
        timeout_ms: 1_000,
        operation: operation(dice),
    };
    (1..=count).map(&mut request).collect()
}

/// None that writes: keys of noise do not exist. What nodes keep of writes would hide what they keep of bad frames.
fn operation(dice: &mut StdRng) -> Operation {
    let key = Bytes::from(noise(dice, 64));
    let returning = Returning::default();
    match dice.random_range(0..3) {
        0 => Operation::Delete {
            key,
            at_version: None,
            returning,
        },
        1 => Operation::Get {
            key,
            version: ReadVersion::default(),
            consistency: Consistency::default(),
            returning,
        },
        _ => Operation::CompareExchange {
            key,
            expected: Bytes::from(noise(dice, 64)),
            value: Bytes::from(noise(dice, 1_024)),
            returning,
        },
    }
}

/// A batch with an append to a shard that does not exist.
fn appends(dice: &mut StdRng) -> PeerBatch {
    let entry = |index| PeerEntry {
        term: Term(1),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: Bytes::from(noise(dice, 512)),
    };
    let entries = (1..3).map(entry).collect();
    let (shard, members) = (ShardId(FIRST_FOREIGN_SHARD), (ReplicaId(2), ReplicaId(1)));
    let message = PeerMessage {
        entries,
        ..PeerMessage::bare(shard, members, PeerMessageKind::Append, Term(1))
    };
    PeerBatch {
        messages: vec![message],
        ..PeerBatch::default()
    }
}

fn member(dice: &mut StdRng) -> MemberMessage {
    let directory = DirectoryId(dice.random());
    let number = dice.random_range(0..1_000);
    let data = Bytes::from(noise(dice, 512));
    let bodies = [
        MemberBody::Admit { directory },
        MemberBody::Begin {
            applied: LogIndex(number),
            applied_term: Term(1),
            state: data.clone(),
        },
        MemberBody::End { number, term: Term(1) },
        MemberBody::GiveUp,
        MemberBody::Have { data: data.clone() },
        MemberBody::HaveNot,
        MemberBody::Join { directory },
        MemberBody::Removed,
        MemberBody::Rows {
            number,
            data: data.clone(),
        },
        MemberBody::Taken { number },
        MemberBody::Want {
            version: Version(number),
            key: data,
        },
    ];
    MemberMessage {
        shard: ShardId(FIRST_FOREIGN_SHARD + dice.random_range(0..1_000)),
        from: ReplicaId(dice.random_range(1..9)),
        to: ReplicaId(dice.random_range(1..9)),
        attempt: dice.random_range(0..1_000),
        body: bodies[dice.random_range(0..bodies.len())].clone(),
    }
}

/// Damages a sound frame in one of the ways that wires, programs and people have.
fn damage(frame: &mut Vec<u8>, dice: &mut StdRng) {
    match dice.random_range(0..6) {
        0 => change(frame, dice),
        1 => {
            change(&mut frame[HEADER_BYTES..], dice);
            seal(frame);
        }
        2 => {
            change(&mut frame[..HEADER_BYTES - 4], dice);
            seal_header(frame);
        }
        3 => {
            // The lengths of body and payload.
            dice.fill_bytes(&mut frame[16..24]);
            seal_header(frame);
        }
        4 => frame.truncate(dice.random_range(1..frame.len())),
        _ => *frame = noise(dice, NOISE_BYTES_MAX),
    }
}

/// Changes a few bytes, each to another value.
fn change(bytes: &mut [u8], dice: &mut StdRng) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..dice.random_range(1..=CHANGES_MAX) {
        let at = dice.random_range(0..bytes.len());
        bytes[at] ^= dice.random_range(1..=u8::MAX);
    }
}

fn noise(dice: &mut StdRng, bytes_max: usize) -> Vec<u8> {
    let mut bytes = vec![0; dice.random_range(1..=bytes_max)];
    dice.fill_bytes(&mut bytes);
    bytes
}

/// Makes both checksums right, as `docs/protocol.md` draws them: who damages on purpose does so.
fn seal(frame: &mut [u8]) {
    let checksum = crc32fast::hash(&frame[HEADER_BYTES..]).to_le_bytes();
    frame[24..28].copy_from_slice(&checksum);
    seal_header(frame);
}

fn seal_header(frame: &mut [u8]) {
    let checksum = crc32fast::hash(&frame[..28]).to_le_bytes();
    frame[28..HEADER_BYTES].copy_from_slice(&checksum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use margate_net::codec::{decode_member, decode_peer, decode_requests};
    use margate_net::frame::{FrameKind, Stage, take_frame};

    #[test]
    fn a_number_makes_the_same_frame_again_and_others_make_others() {
        assert_eq!(bad_frame(1, 7), bad_frame(1, 7));
        assert_ne!(bad_frame(1, 7), bad_frame(1, 8));
        assert_ne!(bad_frame(1, 7), bad_frame(2, 7));
    }

    #[test]
    fn frames_are_sound_before_they_are_damaged_and_sealed_ones_stay_frames() {
        let dice = &mut StdRng::seed_from_u64(3);
        for guise in [Guise::Stranger, Guise::Client, Guise::Peer] {
            for _ in 0..50 {
                let mut frame = sound(guise, dice);
                seal(&mut frame);
                let taken = take_frame(&mut BytesMut::from(&frame[..]), Stage::Established);
                let Ok(Some(taken)) = taken else { panic!("{guise:?}: {taken:?}") };
                let meant = match taken.kind {
                    FrameKind::Peer => decode_peer(&taken).map(drop),
                    FrameKind::Member => decode_member(&taken).map(drop),
                    FrameKind::Request => decode_requests(&taken).map(drop),
                    _ => Ok(()),
                };
                assert!(meant.is_ok(), "{guise:?}: {meant:?}");
            }
        }
    }

    #[test]
    fn most_are_refused_as_frames_and_some_only_by_what_they_hold() {
        let (mut no_frame, mut unfinished, mut no_contents) = (0, 0, 0);
        for number in 0..2_000 {
            let bad = bad_frame(1, number);
            match take_frame(&mut BytesMut::from(&bad.bytes[..]), Stage::Established) {
                Err(_) => no_frame += 1,
                Ok(None) => unfinished += 1,
                Ok(Some(frame)) => no_contents += u32::from(decode_requests(&frame).is_err()),
            }
        }
        assert!(
            no_frame > 1_000 && unfinished > 100 && no_contents > 100,
            "{no_frame} {unfinished} {no_contents}"
        );
    }
}
