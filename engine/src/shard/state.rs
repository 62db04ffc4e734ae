//! The shard's replicated state that is not a key: range, epochs, members, clock, version counter.
//!
//! It changes only by applying entries, so it is equal on all replicas at equal applied index, and travels in
//! checkpoints and in the index's marks as the bytes drawn in `docs/format.md`.

use bytes::{Buf, BufMut, Bytes};
use margate_net::ids::{MemberEpoch, RangeEpoch, Version};
use margate_net::limits::{COUNTER_MAX, KEY_BYTES_MAX};

use super::members::Members;
use crate::head::lies_in;
use crate::types::Nanos;

/// See the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardState {
    /// First key of the range.
    pub low: Bytes,
    /// First key after the range, empty for none.
    pub high: Bytes,
    /// Counts changes of the range.
    pub range_epoch: RangeEpoch,
    /// Counts changes of the members.
    pub member_epoch: MemberEpoch,
    /// Who belongs to it.
    pub members: Members,
    /// Highest version of any effect applied.
    pub version_high: Version,
    /// The shard clock: highest leader timestamp applied, in nanoseconds since 1970.
    pub clock: Nanos,
}

/// Bytes are not a shard state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard state is cut short or has impossible lengths, {remaining} bytes before its end")]
pub struct StateFault {
    /// Bytes left where it stopped making sense.
    pub remaining: usize,
}

impl ShardState {
    /// Whether the range holds the key.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        lies_in(key, &self.low, &self.high)
    }

    /// Its bytes, little endian.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(96 + self.low.len() + self.high.len() + 8 * self.members.voters.len());
        out.put_u64_le(self.range_epoch.0);
        out.put_u64_le(self.member_epoch.0);
        out.put_u64_le(self.version_high.0);
        out.put_u64_le(self.clock.0);
        put_sized(&mut out, &self.low);
        put_sized(&mut out, &self.high);
        self.members.encode(&mut out);
        out.into()
    }

    /// The way back.
    ///
    /// # Errors
    /// [`StateFault`] for anything [`ShardState::encode`] would not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateFault> {
        let mut rest = bytes;
        let state = decode(&mut rest).ok_or(StateFault { remaining: rest.len() })?;
        if rest.is_empty() {
            Ok(state)
        } else {
            Err(StateFault { remaining: rest.len() })
        }
    }
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(u32::try_from(bytes.len()).expect("bounds of ranges are keys"));
    out.put_slice(bytes);
}

fn take_sized(rest: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
    if length > KEY_BYTES_MAX || length > rest.len() {
        return None;
    }
    let (taken, left) = rest.split_at(length);
    *rest = left;
    Some(Bytes::copy_from_slice(taken))
}

/// What is counted up one by one.
pub(super) fn take_counter(rest: &mut &[u8]) -> Option<u64> {
    rest.try_get_u64_le().ok().filter(|counter| *counter <= COUNTER_MAX)
}

fn decode(rest: &mut &[u8]) -> Option<ShardState> {
    let range_epoch = RangeEpoch(take_counter(rest)?);
    let member_epoch = MemberEpoch(take_counter(rest)?);
    let version_high = Version(take_counter(rest)?);
    let clock = Nanos(rest.try_get_u64_le().ok()?);
    let low = take_sized(rest)?;
    let high = take_sized(rest)?;
    let members = Members::decode(rest)?;
    Some(ShardState {
        low,
        high,
        range_epoch,
        member_epoch,
        members,
        version_high,
        clock,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::members::Home;
    use margate_net::ids::{CoreId, DirectoryId, NodeId, ReplicaId};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn states_survive_their_bytes(
            low in proptest::collection::vec(any::<u8>(), 0..40), high in proptest::collection::vec(any::<u8>(), 0..40),
            numbers in [0..=COUNTER_MAX, 0..=COUNTER_MAX, 0..=COUNTER_MAX, 0..=u64::MAX], voters in proptest::collection::vec(any::<u64>(), 0..5),
            others in any::<[u64; 4]>(), highest in 0..=COUNTER_MAX,
        ) {
            let state = ShardState {
                low: low.into(), high: high.into(), range_epoch: RangeEpoch(numbers[0]), member_epoch: MemberEpoch(numbers[1]),
                version_high: Version(numbers[2]), clock: Nanos(numbers[3]),
                members: Members {
                    voters: voters.into_iter().map(ReplicaId).collect(), outgoing: vec![ReplicaId(others[0])], learners: vec![ReplicaId(others[1])],
                    homes: vec![Home { replica: ReplicaId(others[1]), node: NodeId(others[2]), core: CoreId(7), directory: DirectoryId(others[3].into()) }],
                    highest: ReplicaId(highest),
                },
            };
            let bytes = state.encode();
            prop_assert_eq!(ShardState::decode(&bytes), Ok(state));
        }

        #[test]
        fn what_counts_further_than_anything_can_is_no_state(past in COUNTER_MAX + 1.., at in 0..3usize) {
            let members = Members { voters: vec![ReplicaId(1)], highest: ReplicaId(1), ..Members::default() };
            let mut counters = [1; 3];
            counters[at] = past;
            let state = ShardState {
                low: Bytes::new(), high: Bytes::new(), range_epoch: RangeEpoch(counters[0]), member_epoch: MemberEpoch(counters[1]),
                version_high: Version(counters[2]), clock: Nanos(past), members,
            };
            prop_assert!(ShardState::decode(&state.encode()).is_err());
        }

        #[test]
        fn any_bytes_are_a_state_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(state) = ShardState::decode(&bytes) {
                let again = state.encode();
                prop_assert_eq!(again.as_ref(), bytes.as_slice());
            }
        }
    }
}
