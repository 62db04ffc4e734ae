//! The beginning of a key as a number, so that most comparisons need not go where the key lies.

/// The first eight bytes as a number of the same order: less means less, equal means that the keys themselves must tell.
pub(crate) fn head_of(key: &[u8]) -> u64 {
    let mut head = [0; size_of::<u64>()];
    let length = key.len().min(head.len());
    head[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(head)
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
    }
}
