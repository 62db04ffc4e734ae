//! The beginning of a key as a number, so that most comparisons need not go where the key lies.

use std::cmp::Ordering;

/// The first eight bytes as a number of the same order: less means less, equal means that the keys themselves must tell.
pub(crate) fn head_of(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        // No call for so few bytes: bounds of ranges are mostly as short.
        None => (0..size_of::<u64>()).fold(0, |head, at| head << 8 | u64::from(key.get(at).copied().unwrap_or(0))),
    }
}

/// Whether a key lies in `[low, high)`; an empty `high` is the end of the key space.
pub(crate) fn lies_in(key: &[u8], low: &[u8], high: &[u8]) -> bool {
    !is_below(key, low) && (high.is_empty() || is_below(key, high))
}

fn is_below(left: &[u8], right: &[u8]) -> bool {
    match head_of(left).cmp(&head_of(right)) {
        Ordering::Less => true,
        Ordering::Equal => left < right,
        Ordering::Greater => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few distinct bytes, zero among them, which a short key is filled up with.
        #[test]
        fn heads_that_differ_are_in_the_order_of_their_keys(
            left in proptest::collection::vec(0u8..3, 0..12),
            right in proptest::collection::vec(0u8..3, 0..12),
        ) {
            let (heads, keys) = (head_of(&left).cmp(&head_of(&right)), left.cmp(&right));
            prop_assert!(heads == keys || heads.is_eq(), "{left:?} {right:?}");
        }

        #[test]
        fn a_key_lies_in_a_range_as_its_bytes_say(
            [key, low, high] in proptest::array::uniform3(proptest::collection::vec(0u8..3, 0..12)),
        ) {
            let expected = key >= low && (high.is_empty() || key < high);
            prop_assert_eq!(lies_in(&key, &low, &high), expected, "{:?} {:?} {:?}", key, low, high);
        }
    }
}
