//! What clients ask: every operation and condition there is, on few keys, with values that are all different.
//!
//! Not here, on purpose: sending it (`client`).

use bytes::Bytes;
use margate_net::ids::Version;
use margate_net::map::Map;
use margate_net::message::{Consistency, Direction, Operation, Precondition, Projection, ReadVersion, Returning};

use super::dice::Dice;
use super::history::{CallId, VALUE_BYTES_MIN, value};
use super::options::{Mix, Options};

/// What a client knows of a key.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) version: Version,
    pub(crate) value: Option<Bytes>,
}

/// Draws an operation: the place of its shard in the map, and itself. `known` tells what the client saw of a key last.
pub(crate) fn draw(
    dice: &mut Dice,
    options: &Options,
    map: &Map,
    call: CallId,
    known: impl Fn(&Bytes) -> Option<Known>,
) -> (usize, Operation) {
    let mix = &options.mix;
    let drawn = dice.between(1, mix.total());
    if drawn <= mix.lists {
        return list(dice, options, map);
    }
    let drawn = drawn - mix.lists;
    let key = dice.pick(&options.keys).clone();
    let shard = shard_of(map, &key);
    let known = known(&key);
    let size = dice.between(VALUE_BYTES_MIN as u64, options.value_bytes_max.max(VALUE_BYTES_MIN as u64));
    let new = value(call.0, usize::try_from(size).unwrap_or(VALUE_BYTES_MIN));
    let operation = if drawn <= mix.sets {
        set(dice, mix, key, new, known)
    } else if drawn <= mix.sets + mix.exchanges {
        compare_exchange(dice, key, new, known)
    } else if drawn <= mix.sets + mix.exchanges + mix.deletes {
        delete(dice, key, known)
    } else {
        read(dice, key, known)
    };
    (shard, operation)
}

/// The place of a key's shard in the map.
pub(crate) fn shard_of(map: &Map, key: &[u8]) -> usize {
    let found = map.shards().iter().position(|shard| shard.contains(key));
    found.expect("the map tiles the key space")
}

fn set(dice: &mut Dice, mix: &Mix, key: Bytes, value: Bytes, known: Option<Known>) -> Operation {
    let version = known.map_or(Version(dice.between(1, 50)), |known| known.version);
    let precondition = if dice.chance(mix.create_only_per_mille) {
        Precondition::Absent
    } else {
        *dice.pick(&[
            Precondition::Always,
            Precondition::Always,
            Precondition::Present,
            Precondition::AtVersion(version),
        ])
    };
    Operation::Set {
        key,
        value,
        precondition,
        returning: returning(dice),
    }
}

fn compare_exchange(dice: &mut Dice, key: Bytes, value: Bytes, known: Option<Known>) -> Operation {
    let expected = known
        .and_then(|known| known.value)
        .unwrap_or_else(|| Bytes::from_static(b"never written"));
    Operation::CompareExchange {
        key,
        expected,
        value,
        returning: returning(dice),
    }
}

fn delete(dice: &mut Dice, key: Bytes, known: Option<Known>) -> Operation {
    let at_version = known.filter(|_| dice.chance(400)).map(|known| known.version);
    Operation::Delete {
        key,
        at_version,
        returning: returning(dice),
    }
}

fn read(dice: &mut Dice, key: Bytes, known: Option<Known>) -> Operation {
    let consistency = consistency(dice);
    let version = match known.filter(|_| dice.chance(150)) {
        Some(known) => ReadVersion::Exact(known.version),
        None => ReadVersion::Latest,
    };
    let returning = Returning {
        key: dice.chance(200),
        old_value: false,
    };
    if dice.chance(850) {
        Operation::Get {
            key,
            version,
            consistency,
            returning,
        }
    } else {
        Operation::Size {
            key,
            version,
            consistency,
            returning,
        }
    }
}

fn list(dice: &mut Dice, options: &Options, map: &Map) -> (usize, Operation) {
    let shard = dice.index(map.shards().len());
    let mut bound = || {
        if dice.chance(500) {
            Bytes::new()
        } else {
            dice.pick(&options.keys).clone()
        }
    };
    let (low, high) = (bound(), bound());
    let operation = Operation::List {
        low,
        high,
        limit: u32::try_from(dice.between(1, 12)).unwrap_or(1),
        direction: *dice.pick(&[Direction::Forward, Direction::Reverse]),
        projection: *dice.pick(&[Projection::KeysAndValues, Projection::KeysOnly]),
        consistency: consistency(dice),
    };
    (shard, operation)
}

fn consistency(dice: &mut Dice) -> Consistency {
    if dice.chance(150) {
        Consistency::Stale
    } else {
        Consistency::Linearizable
    }
}

fn returning(dice: &mut Dice) -> Returning {
    Returning {
        key: dice.chance(200),
        old_value: dice.chance(300),
    }
}
