//! Keys of exactly 24 bytes: eight mixed bytes, then the number, zero-padded to sixteen digits.
//!
//! Shard bounds cut the key space by first bytes, so the mixed bytes come first: a uniform draw of
//! numbers is then uniform over the shards too.

use bytes::Bytes;

/// Bytes in every key.
pub(crate) const KEY_BYTES: usize = 24;

/// Decimal digits of the number.
const DIGITS: usize = 16;

/// The largest number whose digits fit.
pub(crate) const NUMBER_MAX: u64 = 9_999_999_999_999_999;

/// The key of a number up to the largest.
pub(crate) fn key(number: u64) -> Bytes {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.extend_from_slice(&mix(number).to_be_bytes());
    // By hand: a formatter takes longer than all the rest of making a write.
    let (mut digits, mut rest) = ([b'0'; DIGITS], number);
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key.extend_from_slice(&digits);
    Bytes::from(key)
}

/// The number whose key this is; none of what others have written.
pub(crate) fn number_of(found: &[u8]) -> Option<u64> {
    let digits = found.get(size_of::<u64>()..)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= NUMBER_MAX && key(number) == found).then_some(number)
}

/// A bijection on 64 bits without visible pattern (the finalizer of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_have_24_bytes_are_distinct_and_spread_over_the_space() {
        let keys: BTreeSet<Bytes> = (0..4000).map(key).collect();
        assert_eq!(keys.len(), 4000);
        assert!(keys.iter().all(|key| key.len() == KEY_BYTES));
        for quarter in 0..4u8 {
            let in_quarter = keys.iter().filter(|key| key[0] / 64 == quarter).count();
            assert!((800..=1200).contains(&in_quarter), "quarter {quarter} holds {in_quarter} of 4000");
        }
    }

    #[test]
    fn the_largest_number_still_makes_24_bytes() {
        assert_eq!(key(NUMBER_MAX).len(), KEY_BYTES);
    }

    #[test]
    fn a_key_tells_its_number_and_nothing_else_does() {
        for number in [0, 7, 123_456, NUMBER_MAX] {
            assert_eq!(number_of(&key(number)), Some(number));
        }
        let other_place = [&key(7)[..8], &key(8)[8..]].concat();
        for foreign in [
            b"".as_slice(),
            b"hello",
            &other_place,
            &[0xff; KEY_BYTES],
            &[&key(7)[..], b"0"].concat(),
        ] {
            assert_eq!(number_of(foreign), None);
        }
    }
}
