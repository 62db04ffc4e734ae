//! Round trips, and bytes that were never written by us.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::conformance::replica_marks;
use super::super::live_bytes::{LIVE_BYTES_KEY, LiveBytes};
use super::*;

const OURS: Identity = Identity {
    cluster: ClusterId(1),
    directory: DirectoryId(2),
};

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

prop_compose! {
    fn marks()(
        (shard, replica, space, damaged) in any::<(u64, u64, u32, bool)>(),
        (low, high, state) in (bytes(40), bytes(40), bytes(200)),
        words in any::<[u64; 6]>(),
        runs in proptest::collection::vec(any::<(u64, u64)>(), 0..5),
    ) -> ReplicaMarks {
        let [applied, applied_term, term, vote, commit, truncated] = words;
        ReplicaMarks {
            name: ReplicaName { shard: ShardId(shard), replica: ReplicaId(replica) },
            damaged,
            space: Space(space),
            low,
            high,
            applied: LogIndex(applied),
            applied_term: Term(applied_term),
            hard_state: HardState { term: Term(term), vote: ReplicaId(vote) },
            commit: LogIndex(commit),
            truncated: LogIndex(truncated),
            term_runs: runs.into_iter().map(|(first, term)| (LogIndex(first), Term(term))).collect(),
            state,
        }
    }
}

proptest! {
    #[test]
    fn replica_marks_survive_their_bytes(marks in marks()) {
        let value = marks.encode().expect("within limits");
        prop_assert_eq!(ReplicaMarks::decode(&marks.key(), &value).expect("just encoded"), marks);
    }

    #[test]
    fn core_marks_survive_their_bytes(generation: u64, segment: u32, offset: u32, replay_sequence: u64, next_space: u32) {
        let marks = CoreMarks { generation, replay: Position { segment, offset }, replay_sequence, next_space: Space(next_space) };
        prop_assert_eq!(CoreMarks::decode(&marks.encode()).expect("just encoded"), marks);
    }

    #[test]
    fn live_bytes_survive_their_bytes(bytes: u64, bit in 0usize..96) {
        let mut value = LiveBytes(bytes).encode();
        prop_assert_eq!(LiveBytes::decode(&value).expect("just encoded"), LiveBytes(bytes));
        value[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(LiveBytes::decode(&value).is_err());
    }

    #[test]
    fn positions_survive_their_bytes(shard: u64, replica: u64, index: u64, segment: u32, offset: u32) {
        let name = ReplicaName { shard: ShardId(shard), replica: ReplicaId(replica) };
        let position = Position { segment, offset };
        let decoded = decode_position(&position_key(name, LogIndex(index)), &encode_position(position));
        prop_assert_eq!(decoded.expect("just encoded"), (name, LogIndex(index), position));
    }

    #[test]
    fn any_bytes_are_an_error_not_a_panic(key in bytes(40), value in bytes(120)) {
        // A checksum that fits leads the parsers past the first door.
        for sealed in [value.to_vec(), seal(&key, value.to_vec()), seal(&IDENTITY_KEY, value.to_vec()), seal(&CORE_KEY, value.to_vec()), seal(&LIVE_BYTES_KEY, value.to_vec())] {
            let _ = ReplicaMarks::decode(&key, &sealed);
            let _ = CoreMarks::decode(&sealed);
            let _ = LiveBytes::decode(&sealed);
            let _ = OURS.check(&sealed);
            let _ = decode_position(&key, &sealed);
        }
    }

    #[test]
    fn claimed_lengths_are_not_believed(words in proptest::collection::vec(prop_oneof![Just(u32::MAX), 0u32..40], 6), tail in bytes(120)) {
        let key = replica_marks(3, 1).key();
        let mut value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        value.extend_from_slice(&tail);
        let sealed = seal(&key, value);
        if let Ok(marks) = ReplicaMarks::decode(&key, &sealed) {
            prop_assert_eq!(marks.encode().expect("decoded is within limits"), sealed);
        }
    }

    #[test]
    fn one_flipped_bit_is_seen(bit in 0usize..8, at: proptest::sample::Index) {
        let marks = replica_marks(3, 9);
        let mut value = marks.encode().expect("within limits");
        let byte = at.index(value.len());
        value[byte] ^= 1 << bit;
        prop_assert!(ReplicaMarks::decode(&marks.key(), &value).is_err());
        let other = replica_marks(4, 9);
        prop_assert!(ReplicaMarks::decode(&other.key(), &marks.encode().expect("within limits")).is_err(), "bytes of another replica");
    }
}

#[test]
fn a_bound_longer_than_a_key_is_damage() {
    // Found by the fuzzer: what could be read could not be written again.
    let marks = replica_marks(3, 9);
    let with_low = |bytes: usize| {
        let empty = ReplicaMarks {
            low: Bytes::new(),
            ..marks.clone()
        };
        let mut value = empty.encode().expect("within limits");
        value.truncate(value.len() - 4);
        value[8..12].copy_from_slice(&length(bytes, bytes).expect("short").to_le_bytes());
        // After six words of four bytes and five of eight.
        value.splice(64..64, vec![b'k'; bytes]);
        ReplicaMarks::decode(&marks.key(), &seal(&marks.key(), value))
    };
    assert_eq!(with_low(KEY_BYTES_MAX).expect("as long as a key may be").low.len(), KEY_BYTES_MAX);
    assert!(with_low(KEY_BYTES_MAX + 1).is_err());
}

#[test]
fn an_identity_is_only_its_own() {
    let value = OURS.encode();
    assert!(OURS.check(&value).is_ok());
    let other = Identity {
        cluster: ClusterId(9),
        ..OURS
    };
    assert!(matches!(
        other.check(&value),
        Err(IndexError::OtherCluster { found: ClusterId(1), .. })
    ));
    let other = Identity {
        directory: DirectoryId(9),
        ..OURS
    };
    assert!(matches!(
        other.check(&value),
        Err(IndexError::OtherDirectory { found: DirectoryId(2), .. })
    ));
}

#[test]
fn a_newer_format_is_told_before_its_bytes_are_judged() {
    let newer = (FORMAT_VERSION + 1).to_le_bytes();
    assert!(matches!(OURS.check(&newer), Err(IndexError::NewerFormat { found: 2, known: 1 })));
    assert!(matches!(
        OURS.check(&newer[..3]),
        Err(IndexError::DamagedMeta { item: MetaItem::Identity })
    ));
}

#[test]
fn marks_over_a_limit_are_refused() {
    let mut marks = replica_marks(1, 1);
    marks.low = vec![0; KEY_BYTES_MAX + 1].into();
    let refused = marks.encode();
    assert!(matches!(refused, Err(IndexError::MarksTooLarge { bytes, limit, .. }) if bytes == limit + 1 && limit == KEY_BYTES_MAX));
}
