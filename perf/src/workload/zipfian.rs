//! Zipfian numbers, the way YCSB draws them: few are drawn often, most hardly ever.
//!
//! The generator is that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD '94), with
//! the skew of YCSB's `ZipfianGenerator`, 0.99. [`Scrambled`] is YCSB's `ScrambledZipfianGenerator`: ranks are drawn
//! from ten billion items, however many keys there are, and each is spread over the keys by a hash, so that popular
//! keys lie anywhere. The most popular key of a hundred thousand gets 3.8 % of all draws.
//!
//! One thing differs: YCSB sums the zeta of all items up, which takes minutes for many, and after that does without a
//! new `eta` when items come; here both follow from a closed form that is as exact.

use std::sync::LazyLock;

/// Skew: the share of rank r is proportional to `1 / (r + 1)^THETA`.
const THETA: f64 = 0.99;
/// Items that [`Scrambled`] draws from, as in YCSB.
const SCRAMBLED_ITEMS: u64 = 10_000_000_000;
/// Terms of a zeta that are summed up; what the closed form leaves out of the others is below 1e-12.
const SUMMED_TERMS: u64 = 256;

/// The sum of the first terms.
static SUMMED: LazyLock<f64> = LazyLock::new(|| sum_of_terms(SUMMED_TERMS));

/// Draws ranks below a number of items, 0 the most popular.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Zipfian {
    items: u64,
    zeta: f64,
    eta: f64,
    second: f64,
}

impl Zipfian {
    /// Over so many items, at least one.
    pub(crate) fn over(items: u64) -> Self {
        let items = items.max(1);
        let zeta = zeta(items);
        let second = 1.0 + 0.5f64.powf(THETA);
        let eta = (1.0 - (2.0 / items as f64).powf(1.0 - THETA)) / (1.0 - second / zeta);
        Self { items, zeta, eta, second }
    }

    /// Items to draw from.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// The rank for a uniform draw between 0 and 1.
    pub(crate) fn rank(&self, uniform: f64) -> u64 {
        let share = uniform * self.zeta;
        if share < 1.0 {
            return 0;
        }
        if share < self.second {
            return 1.min(self.items - 1);
        }
        let place = (self.eta * uniform - self.eta + 1.0).powf(1.0 / (1.0 - THETA));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of the items, cut to whole ones"
        )]
        let rank = (self.items as f64 * place) as u64;
        rank.min(self.items - 1)
    }
}

/// Draws from keys of which some, lying anywhere, are popular.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scrambled {
    ranks: Zipfian,
    keys: u64,
}

impl Scrambled {
    /// Over so many keys, at least one.
    pub(crate) fn over(keys: u64) -> Self {
        Self {
            ranks: Zipfian::over(SCRAMBLED_ITEMS),
            keys: keys.max(1),
        }
    }

    /// The key's number for a uniform draw between 0 and 1.
    pub(crate) fn number(&self, uniform: f64) -> u64 {
        fnv_64(self.ranks.rank(uniform)) % self.keys
    }
}

/// YCSB's hash of a number: FNV-1a over its eight bytes, the lowest first, made positive as a signed one.
fn fnv_64(number: u64) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = number.to_le_bytes().into_iter();
    let hash = bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash.cast_signed().unsigned_abs()
}

/// The sum of `1 / i^THETA` for i from 1 to `items`: the first terms one by one, the others by Euler and Maclaurin.
fn zeta(items: u64) -> f64 {
    if items <= SUMMED_TERMS {
        return sum_of_terms(items);
    }
    let tail_at = |i: u64| {
        let i = i as f64;
        let term = i.powf(-THETA);
        i * term / (1.0 - THETA) + term / 2.0 - THETA * term / (12.0 * i)
    };
    *SUMMED + tail_at(items) - tail_at(SUMMED_TERMS)
}

fn sum_of_terms(items: u64) -> f64 {
    (1..=items).map(|i| (i as f64).powf(-THETA)).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const DRAWS: u32 = 400_000;

    fn close(found: f64, expected: f64, within: f64) -> bool {
        (found - expected).abs() <= within
    }

    /// How often each number came.
    fn counts(draw: impl Fn(f64) -> u64) -> HashMap<u64, u32> {
        let mut dice = StdRng::seed_from_u64(1);
        let mut counts = HashMap::new();
        for _ in 0..DRAWS {
            *counts.entry(draw(dice.random_range(0.0..1.0))).or_default() += 1;
        }
        counts
    }

    #[test]
    fn the_closed_form_is_the_sum() {
        for items in [1, 2, 255, 256, 257, 1000, 100_000, 1_000_000] {
            let (closed, sum) = (zeta(items), sum_of_terms(items));
            assert!(close(closed, sum, 1e-8), "{items}: {closed} is not {sum}");
        }
        // The constant that stands in YCSB's ScrambledZipfianGenerator.
        assert!(
            close(zeta(SCRAMBLED_ITEMS), 26.469_028_201_783_02, 1e-6),
            "{}",
            zeta(SCRAMBLED_ITEMS)
        );
    }

    #[test]
    fn numbers_are_hashed_as_ycsb_does() {
        // The numbers in the first keys that YCSB loads: user6284781860667377211, user8517097267634966620.
        assert_eq!(fnv_64(0), 6_284_781_860_667_377_211);
        assert_eq!(fnv_64(1), 8_517_097_267_634_966_620);
    }

    #[test]
    fn ranks_are_as_popular_as_zipfs_law_says() {
        let ranks = Zipfian::over(1000);
        let counts = counts(|uniform| ranks.rank(uniform));
        assert!(counts.keys().all(|rank| *rank < 1000));
        let share = |up_to: u64| {
            let of_these = counts.iter().filter(|(rank, _)| **rank < up_to).map(|(_, count)| *count);
            f64::from(of_these.sum::<u32>()) / f64::from(DRAWS)
        };
        for up_to in [1, 2, 10, 100, 500] {
            let expected = zeta(up_to) / zeta(1000);
            // The first two are drawn exactly; further on the method of Gray et al. comes near.
            let within = if up_to <= 2 { 0.003 } else { 0.02 };
            assert!(close(share(up_to), expected, within), "{up_to}: {} is not {expected}", share(up_to));
        }
    }

    #[test]
    fn the_most_popular_key_gets_its_share_and_lies_anywhere() {
        let keys = Scrambled::over(100_000);
        let counts = counts(|uniform| keys.number(uniform));
        assert!(counts.keys().all(|number| *number < 100_000));
        let (hottest, count) = counts.iter().max_by_key(|(_, count)| **count).expect("there were draws");
        assert_eq!(*hottest, fnv_64(0) % 100_000);
        // Its own 1 in 26.469, and a hundred-thousandth of those that fall anywhere.
        let share = f64::from(*count) / f64::from(DRAWS);
        assert!(close(share, 1.0 / 26.469, 0.002), "{share}");
        let low = counts
            .iter()
            .filter(|(number, _)| **number < 50_000)
            .map(|(_, count)| *count)
            .sum::<u32>();
        let low = f64::from(low) / f64::from(DRAWS);
        assert!((0.35..0.65).contains(&low), "{low} of the draws fall in the lower half");
    }

    #[test]
    fn few_items_and_extreme_draws_stay_in_bounds() {
        for items in [0, 1, 2, 3, 7, SCRAMBLED_ITEMS] {
            let ranks = Zipfian::over(items);
            for uniform in [0.0, 0.25, 0.5, 0.999_999, 1.0 - f64::EPSILON / 2.0] {
                assert!(ranks.rank(uniform) < items.max(1), "{items} {uniform}");
            }
        }
        assert_eq!(Scrambled::over(1).number(0.7), 0);
    }
}
