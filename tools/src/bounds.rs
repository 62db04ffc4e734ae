//! Where shards meet: the inner bounds of the key space.

use bytes::Bytes;

/// Inner bounds that cut the key space into `shards` parts of equal width by the first two bytes.
///
/// At most 65,536 shards (`SHARDS_MAX`) can be told apart that way.
pub(crate) fn even(shards: u32) -> Vec<Bytes> {
    (1..u64::from(shards))
        .map(|shard| {
            let first_two = (shard << 16) / u64::from(shards);
            let [.., high, low] = first_two.to_be_bytes();
            if low == 0 {
                Bytes::copy_from_slice(&[high])
            } else {
                Bytes::copy_from_slice(&[high, low])
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_shards_are_cut_at_the_quarters() {
        let bounds: Vec<Vec<u8>> = even(4).iter().map(|bound| bound.to_vec()).collect();
        assert_eq!(bounds, [vec![0x40], vec![0x80], vec![0xc0]]);
        assert!(even(1).is_empty());
    }

    #[test]
    fn bounds_always_rise() {
        for shards in [2, 3, 7, 255, 256, 257, 65_536] {
            let bounds = even(shards);
            assert_eq!(bounds.len(), usize::try_from(shards).expect("fits") - 1);
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{shards} shards");
        }
    }
}
