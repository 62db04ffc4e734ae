//! What clients asked and what they were told, in the order of both.
//!
//! Not here, on purpose: judging it (`check`).

use bytes::{BufMut, Bytes};
use margate_net::error::Refusal;
use margate_net::message::{Operation, Success};

/// Which operation; also the number of the value it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// How an operation ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not yet.
    Open,
    /// With an answer that says what state was, or what was done.
    Answered(Result<Success, Refusal>),
    /// Proven not to have been carried out.
    NotExecuted,
    /// Nobody knows.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Place of its shard in the map.
    pub(crate) shard: usize,
    pub(crate) operation: Operation,
    /// When it was asked and answered, on a clock that counts only such events.
    pub(crate) invoked: u64,
    pub(crate) returned: u64,
    pub(crate) outcome: Outcome,
}

/// All operations.
#[derive(Default)]
pub(crate) struct History {
    records: Vec<Record>,
    clock: u64,
}

impl History {
    /// The number the next operation will have.
    pub(crate) fn next_call(&self) -> CallId {
        CallId(self.records.len() as u64)
    }

    /// A client asks.
    pub(crate) fn invoke(&mut self, shard: usize, operation: Operation) -> CallId {
        let call = self.next_call();
        self.clock += 1;
        self.records.push(Record {
            shard,
            operation,
            invoked: self.clock,
            returned: u64::MAX,
            outcome: Outcome::Open,
        });
        call
    }

    /// A client knows, or gives up.
    pub(crate) fn end(&mut self, call: CallId, outcome: Outcome) {
        self.clock += 1;
        let clock = self.clock;
        let record = usize::try_from(call.0).ok().and_then(|at| self.records.get_mut(at));
        let record = record.expect("only operations that were invoked end");
        assert_eq!(record.outcome, Outcome::Open, "an operation ends once");
        (record.returned, record.outcome) = (clock, outcome);
    }

    /// Every operation, by number.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

/// Bytes before a value's pattern.
pub(crate) const VALUE_BYTES_MIN: usize = 12;

/// The value with this number: unlike any other, and any damage shows.
pub(crate) fn value(number: u64, bytes: usize) -> Bytes {
    let mut value = Vec::with_capacity(bytes.max(VALUE_BYTES_MIN));
    value.put_u64_le(number);
    value.put_u32_le(u32::try_from(bytes).expect("values are small here"));
    let [seed, ..] = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    value.extend((VALUE_BYTES_MIN..bytes).map(|at| seed ^ at.to_le_bytes()[0]));
    value.into()
}

/// The number of a value; `None` if it is not one of ours, or not whole.
pub(crate) fn value_number(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (value(number, bytes.len()) == bytes).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_name_themselves_and_show_damage() {
        let whole = value(7, 100);
        assert_eq!((whole.len(), value_number(&whole)), (100, Some(7)));
        assert_eq!(value_number(&whole[..99]), None, "a byte is missing");
        let mut damaged = whole.to_vec();
        damaged[50] ^= 1;
        assert_eq!(value_number(&damaged), None);
        assert_eq!(value_number(b"short"), None);
    }
}
