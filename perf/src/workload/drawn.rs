//! How the numbers of keys are drawn.

use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::Serialize;

use super::records::Records;
use super::zipfian::{Scrambled, Zipfian};

/// A distribution over the keys of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeysDrawn {
    /// Each key of those loaded as often as any other.
    Uniform,
    /// YCSB's scrambled zipfian over those loaded: few keys, lying anywhere, get most draws.
    Zipfian,
    /// YCSB's latest: the newer a key, the more often, by the same law.
    Latest,
}

/// Draws numbers of keys that are there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Numbers {
    Uniform { keys: u64 },
    Zipfian(Scrambled),
    Latest(Zipfian),
}

impl Numbers {
    /// Over a system's keys, of which so many were loaded.
    pub(crate) fn new(drawn: KeysDrawn, keys: u64) -> Self {
        match drawn {
            KeysDrawn::Uniform => Self::Uniform { keys },
            KeysDrawn::Zipfian => Self::Zipfian(Scrambled::over(keys)),
            KeysDrawn::Latest => Self::Latest(Zipfian::over(keys)),
        }
    }

    /// The next number. What was inserted meanwhile is drawn only where the latest are: the others would have to move
    /// their favourites, which YCSB avoids too.
    pub(crate) fn draw(&mut self, records: &Records, dice: &mut StdRng) -> u64 {
        match self {
            Self::Uniform { keys } => dice.random_range(0..*keys),
            Self::Zipfian(scrambled) => scrambled.number(dice.random_range(0.0..1.0)),
            Self::Latest(ages) => {
                let present = records.present();
                if ages.items() != present {
                    *ages = Zipfian::over(present);
                }
                present - 1 - ages.rank(dice.random_range(0.0..1.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn draws(numbers: &mut Numbers, records: &Records, count: usize) -> Vec<u64> {
        let mut dice = StdRng::seed_from_u64(1);
        (0..count).map(|_| numbers.draw(records, &mut dice)).collect()
    }

    #[test]
    fn every_distribution_draws_only_keys_that_are_there() {
        let records = Records::loaded(10);
        for drawn in [KeysDrawn::Uniform, KeysDrawn::Zipfian, KeysDrawn::Latest] {
            let drawn = draws(&mut Numbers::new(drawn, 10), &records, 1000);
            assert!(drawn.iter().all(|number| *number < 10), "{drawn:?}");
        }
    }

    #[test]
    fn uniform_draws_every_key() {
        let mut seen = [0; 10];
        for number in draws(&mut Numbers::new(KeysDrawn::Uniform, 10), &Records::loaded(10), 5000) {
            seen[usize::try_from(number).expect("ten keys")] += 1;
        }
        assert!(seen.iter().all(|count| (350..=650).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_latest_key_is_drawn_most_and_follows_the_inserts() {
        let records = Records::loaded(100);
        let mut numbers = Numbers::new(KeysDrawn::Latest, 100);
        let most_drawn = |drawn: &[u64]| (0..200).max_by_key(|number| drawn.iter().filter(|one| *one == number).count());
        assert_eq!(most_drawn(&draws(&mut numbers, &records, 2000)), Some(99));
        for _ in 0..50 {
            let number = records.begin_insert();
            records.inserted(number);
        }
        let drawn = draws(&mut numbers, &records, 2000);
        assert_eq!(most_drawn(&drawn), Some(149));
        assert!(drawn.iter().any(|number| *number < 50), "old keys are drawn too");
    }
}
