//! From a script's words to operations.

use bytes::Bytes;
use margate_net::ids::{RangeEpoch, ShardId, Version};
use margate_net::message::{Consistency, Direction, Operation, Precondition, Projection, ReadVersion, Request, Returning};

/// An operation of a script, and what it says beside it.
pub(crate) struct Asked {
    pub(crate) operation: Operation,
    /// The shard it is sent to, if it is not the key's.
    pub(crate) shard: Option<u64>,
    epoch: u64,
    timeout_ms: u32,
}

/// The words after an operation's arguments.
#[derive(Default)]
struct Options {
    at: Option<u64>,
    create_only: bool,
    epoch: Option<u64>,
    key: bool,
    keys: bool,
    limit: Option<u32>,
    modify_only: bool,
    old: bool,
    reverse: bool,
    shard: Option<u64>,
    stale: bool,
    timeout_ms: Option<u32>,
}

impl Asked {
    /// Parses `set KEY VALUE`, `get KEY`, `size KEY`, `delete KEY`, `cas KEY OLD NEW`, `list LOW HIGH`, each with options.
    pub(crate) fn parse(text: &str) -> Self {
        let words: Vec<_> = text.split_whitespace().collect();
        let (kind, rest) = words.split_first().expect("an operation is not empty");
        let count = match *kind {
            "get" | "size" | "delete" => 1,
            "set" | "list" => 2,
            "cas" => 3,
            _ => panic!("unknown operation `{text}`"),
        };
        assert!(rest.len() >= count, "`{text}` needs {count} arguments");
        let (arguments, options) = rest.split_at(count);
        let arguments: Vec<_> = arguments.iter().map(|word| bytes(word)).collect();
        let options = Options::parse(options);
        Self {
            operation: operation(kind, &arguments, &options),
            shard: options.shard,
            epoch: options.epoch.unwrap_or(1),
            timeout_ms: options.timeout_ms.unwrap_or(1_000),
        }
    }

    /// The request for a shard.
    pub(crate) fn request(self, id: u64, shard: ShardId) -> Request {
        Request {
            id,
            shard,
            range_epoch: RangeEpoch(self.epoch),
            timeout_ms: self.timeout_ms,
            operation: self.operation,
        }
    }
}

impl Options {
    fn parse(words: &[&str]) -> Self {
        let mut options = Self::default();
        for word in words {
            match word.split_once('=') {
                None => options.flag(word),
                Some((name, value)) => options.value(name, value),
            }
        }
        options
    }

    fn flag(&mut self, word: &str) {
        match word {
            "create_only" => self.create_only = true,
            "key" => self.key = true,
            "keys" => self.keys = true,
            "modify_only" => self.modify_only = true,
            "old" => self.old = true,
            "reverse" => self.reverse = true,
            "stale" => self.stale = true,
            _ => panic!("unknown option `{word}`"),
        }
    }

    fn value(&mut self, name: &str, value: &str) {
        let number: u32 = value.parse().expect("an option's value is a number");
        match name {
            "at" => self.at = Some(number.into()),
            "epoch" => self.epoch = Some(number.into()),
            "limit" => self.limit = Some(number),
            "shard" => self.shard = Some(number.into()),
            "timeout" => self.timeout_ms = Some(number),
            _ => panic!("unknown option `{name}`"),
        }
    }

    fn returning(&self) -> Returning {
        Returning {
            key: self.key,
            old_value: self.old,
        }
    }

    fn consistency(&self) -> Consistency {
        if self.stale {
            Consistency::Stale
        } else {
            Consistency::Linearizable
        }
    }

    fn read_version(&self) -> ReadVersion {
        self.at.map_or(ReadVersion::Latest, |at| ReadVersion::Exact(Version(at)))
    }

    fn precondition(&self) -> Precondition {
        match (self.create_only, self.modify_only, self.at) {
            (false, false, None) => Precondition::Always,
            (true, false, None) => Precondition::Absent,
            (false, true, None) => Precondition::Present,
            (false, _, Some(at)) => Precondition::AtVersion(Version(at)),
            (true, ..) => panic!("create_only goes with nothing else"),
        }
    }
}

fn operation(kind: &str, arguments: &[Bytes], options: &Options) -> Operation {
    let argument = |at: usize| arguments[at].clone();
    match kind {
        "get" => Operation::Get {
            key: argument(0),
            version: options.read_version(),
            consistency: options.consistency(),
            returning: options.returning(),
        },
        "size" => Operation::Size {
            key: argument(0),
            version: options.read_version(),
            consistency: options.consistency(),
            returning: options.returning(),
        },
        "delete" => Operation::Delete {
            key: argument(0),
            at_version: options.at.map(Version),
            returning: options.returning(),
        },
        "set" => Operation::Set {
            key: argument(0),
            value: argument(1),
            precondition: options.precondition(),
            returning: options.returning(),
        },
        "cas" => Operation::CompareExchange {
            key: argument(0),
            expected: argument(1),
            value: argument(2),
            returning: options.returning(),
        },
        "list" => Operation::List {
            low: argument(0),
            high: argument(1),
            limit: options.limit.unwrap_or(100),
            direction: if options.reverse { Direction::Reverse } else { Direction::Forward },
            projection: if options.keys {
                Projection::KeysOnly
            } else {
                Projection::KeysAndValues
            },
            consistency: options.consistency(),
        },
        _ => unreachable!("the caller knows the kinds"),
    }
}

/// A word's bytes: `-` is empty, `x*9` is nine times `x`.
fn bytes(word: &str) -> Bytes {
    match word.split_once('*') {
        _ if word == "-" => Bytes::new(),
        Some((what, times)) => what.repeat(times.parse().expect("a number of times")).into(),
        None => Bytes::copy_from_slice(word.as_bytes()),
    }
}
