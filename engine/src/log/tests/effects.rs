//! Entry data: what is put in comes out, and a point read returns nothing it has not proven.

use margate_net::ids::{ClusterId, ShardId, Version};
use proptest::prelude::*;

use crate::log::effects::{
    Effect, EffectKind, EntryData, EntryDataBuilder, EntryFault, ExpectedEffect, RecordMismatch, effect_bytes, read_effect,
    verify_checksums,
};
use crate::types::{Nanos, ValueHash};

const CLUSTER: ClusterId = ClusterId(77);
const SHARD: ShardId = ShardId(5);

fn two_effects() -> Vec<u8> {
    let mut builder = EntryDataBuilder::new(CLUSTER, SHARD, Nanos(123));
    builder.put(b"key", b"value", Version(9), ValueHash::of(b"value"));
    builder.delete(b"gone", Version(10));
    builder.finish()
}

fn expected(key: &[u8], version: u64) -> ExpectedEffect<'_> {
    ExpectedEffect {
        cluster: CLUSTER,
        shard: SHARD,
        key,
        version: Version(version),
    }
}

#[test]
fn effects_come_back_with_the_place_the_index_points_at() {
    let data = two_effects();
    let parsed = EntryData::parse(&data).expect("well-formed");
    assert_eq!(parsed.timestamp(), Nanos(123));
    let effects: Vec<_> = parsed.effects().collect();
    let hash = ValueHash::of(b"value");
    assert_eq!(
        effects[0],
        (
            16,
            Effect {
                kind: EffectKind::Put,
                key: b"key",
                value: b"value",
                version: Version(9),
                hash
            }
        )
    );
    assert_eq!(effects[1].0, 16 + 48 + 3 + 5);
    for (at, effect) in effects {
        let record = &data[at as usize..];
        assert_eq!(read_effect(record, &expected(effect.key, effect.version.0)), Ok(effect));
        assert_eq!(
            effect_bytes(effect.key.len(), effect.value.len() as u64),
            48 + (effect.key.len() + effect.value.len()) as u64
        );
    }
}

#[test]
fn empty_data_are_an_entry_without_effects() {
    let parsed = EntryData::parse(b"").expect("Raft's empty entry");
    assert_eq!((parsed.timestamp(), parsed.effects().count()), (Nanos(0), 0));
    let builder = EntryDataBuilder::new(CLUSTER, SHARD, Nanos(4));
    assert!(builder.is_empty());
    assert_eq!(builder.len(), 16);
    assert_eq!(EntryData::parse(&builder.finish()).expect("only a clock").timestamp(), Nanos(4));
}

#[test]
fn a_point_read_says_what_does_not_fit() {
    let data = two_effects();
    let record = &data[16..];
    let other_cluster = ExpectedEffect {
        cluster: ClusterId(1),
        ..expected(b"key", 9)
    };
    let other_shard = ExpectedEffect {
        shard: ShardId(6),
        ..expected(b"key", 9)
    };
    assert!(matches!(
        read_effect(record, &other_cluster),
        Err(RecordMismatch::OtherCluster { .. })
    ));
    assert_eq!(read_effect(record, &other_shard), Err(RecordMismatch::OtherShard { found: SHARD }));
    assert_eq!(read_effect(record, &expected(b"kez", 9)), Err(RecordMismatch::OtherKey));
    assert_eq!(
        read_effect(record, &expected(b"key", 8)),
        Err(RecordMismatch::OtherVersion { found: Version(9) })
    );
    assert_eq!(
        read_effect(&record[..20], &expected(b"key", 9)),
        Err(RecordMismatch::Cut { have: 20, needs: 48 })
    );
    assert_eq!(
        read_effect(&record[..55], &expected(b"key", 9)),
        Err(RecordMismatch::Cut { have: 55, needs: 56 })
    );
    assert!(matches!(
        read_effect(&[0; 60], &expected(b"", 0)),
        Err(RecordMismatch::NotAnEffect { kind: 0, .. })
    ));
}

#[test]
fn every_flipped_bit_of_an_effect_is_noticed() {
    let data = two_effects();
    let record = &data[16..16 + 56];
    for bit in 0..record.len() * 8 {
        let mut flipped = record.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_effect(&flipped, &expected(b"key", 9)).is_err(), "bit {bit}");
        let mut whole = data.clone();
        whole[16 + bit / 8] ^= 1 << (bit % 8);
        assert!(verify_checksums(&whole).is_err(), "bit {bit}");
    }
    assert_eq!(verify_checksums(&data), Ok(()));
}

#[test]
fn broken_data_are_refused_with_the_reason() {
    let data = two_effects();
    let mut longer = data.clone();
    longer.push(0);
    assert_eq!(EntryData::parse(&longer).err(), Some(EntryFault::Trailing { bytes: 1 }));
    assert_eq!(
        EntryData::parse(&data[..data.len() - 1]).err(),
        Some(EntryFault::Cut { offset: 72 })
    );
    assert_eq!(EntryData::parse(&data[..9]).err(), Some(EntryFault::Cut { offset: 0 }));
    let mut flags = data.clone();
    flags[4] = 2;
    assert_eq!(EntryData::parse(&flags).err(), Some(EntryFault::UnknownFlags { flags: 2 }));
    let mut kind = data.clone();
    kind[16 + 4] = 3;
    assert_eq!(
        EntryData::parse(&kind).err(),
        Some(EntryFault::UnknownKind {
            offset: 16,
            kind: 3,
            flags: 0
        })
    );
    let mut delete_with_value = data;
    delete_with_value[72 + 8] = 1;
    assert_eq!(
        EntryData::parse(&delete_with_value).err(),
        Some(EntryFault::BadLengths {
            offset: 72,
            key_bytes: 4,
            value_bytes: 1
        })
    );
    let huge = vec![0; crate::log::limits::ENTRY_DATA_BYTES_MAX + 1];
    assert_eq!(EntryData::parse(&huge).err(), Some(EntryFault::TooLong { bytes: huge.len() }));
}

proptest! {
    #[test]
    fn any_effects_round_trip(effects in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..1_024), prop::collection::vec(any::<u8>(), 0..300), any::<u64>()), 0..20)) {
        let mut builder = EntryDataBuilder::new(CLUSTER, SHARD, Nanos(1));
        for (put, key, value, version) in &effects {
            let before = builder.len();
            if *put {
                builder.put(key, value, Version(*version), ValueHash::of(value));
                prop_assert_eq!(builder.len() - before, EntryDataBuilder::put_bytes(key.len(), value.len()));
            } else {
                builder.delete(key, Version(*version));
            }
        }
        let data = builder.finish();
        verify_checksums(&data).expect("what was built is sound");
        let back: Vec<_> = EntryData::parse(&data).expect("what was built parses").effects().collect();
        prop_assert_eq!(back.len(), effects.len());
        for ((at, effect), (put, key, value, version)) in back.iter().zip(&effects) {
            prop_assert_eq!(effect.kind == EffectKind::Put, *put);
            prop_assert_eq!(effect.key, &key[..]);
            prop_assert_eq!(effect.value, if *put { &value[..] } else { &[] });
            prop_assert_eq!(effect.version, Version(*version));
            prop_assert_eq!(read_effect(&data[*at as usize..], &expected(key, *version)), Ok(*effect));
        }
    }

    #[test]
    fn new_values_get_the_hashes_they_have_alone(effects in prop::collection::vec((0u8..8, 0usize..6, any::<u8>()), 0..60)) {
        let lengths = [0, 64, 100, 256, 1_024, 1_088];
        let [mut alone, mut together] = [(); 2].map(|()| EntryDataBuilder::new(CLUSTER, SHARD, Nanos(1)));
        for ((kind, length, fill), version) in effects.into_iter().zip(1..) {
            let (key, value, version) = (vec![fill; length], vec![fill; lengths[length]], Version(version));
            match kind {
                0 => [&mut alone, &mut together].map(|builder| builder.delete(&key, version)),
                1 => [&mut alone, &mut together].map(|builder| builder.put(&key, &value, version, ValueHash([fill; 16]))),
                _ => [alone.put(&key, &value, version, ValueHash::of(&value)), together.write(&key, &value, version)],
            };
            prop_assert_eq!(alone.len(), together.len());
        }
        prop_assert_eq!(alone.finish(), together.finish());
    }

    #[test]
    fn arbitrary_data_never_panic(mut data in prop::collection::vec(any::<u8>(), 0..400), sound_header in any::<bool>()) {
        if sound_header && data.len() > 24 {
            data[4..8].fill(0);
            data[20] = 1 + (data[20] & 1);
            data[21] = 0;
        }
        let parsed = EntryData::parse(&data);
        let verified = verify_checksums(&data);
        prop_assert!(parsed.is_ok() || verified.is_err());
        let _ = read_effect(&data, &expected(b"k", 1));
    }
}
