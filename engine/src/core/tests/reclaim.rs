//! A core on small segments that overwrites, deletes, restarts and loses its index: whatever reclaim did meanwhile, every key reads
//! as a plain map says. One replica alone, so that nobody mends what it loses.

use std::collections::BTreeMap;

use margate_net::error::Refusal;
use proptest::prelude::*;

use super::driven::Driven;

/// So small that a few dozen writes fill far more than reclaim leaves alone.
const SEGMENT_BYTES: u32 = 16 << 10;
const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Values are told apart by their lengths.
static VALUE: [u8; 3_000] = [7; 3_000];

#[derive(Clone, Copy, Debug)]
enum Step {
    Set(usize, usize),
    Delete(usize),
    /// The index takes what is applied.
    Fill,
    Restart,
    /// A restart whose index went back by so many generations.
    Revert(usize),
    /// A restart without an index.
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let set = (0..KEYS.len(), 1..VALUE.len()).prop_map(|(key, length)| Step::Set(key, length));
    // Some keys are written much more often than others, so that old segments hold some that live and some that do not.
    let often = (0..2usize, 2_000..VALUE.len()).prop_map(|(key, length)| Step::Set(key, length));
    let step = prop_oneof![
        2 => set,
        12 => often,
        2 => (0..KEYS.len()).prop_map(Step::Delete),
        1 => Just(Step::Fill),
        1 => prop_oneof![2 => Just(Step::Restart), 1 => (1..3usize).prop_map(Step::Revert), 2 => Just(Step::Rebuild)],
    ];
    proptest::collection::vec(step, 40..160)
}

/// What there is, and a core that should know it.
struct Judged {
    core: Driven,
    model: BTreeMap<usize, usize>,
    segments: u64,
}

impl Judged {
    fn new() -> Self {
        let core = Driven::leading(SEGMENT_BYTES);
        Self {
            core,
            model: BTreeMap::new(),
            segments: 0,
        }
    }

    fn step(mut self, step: Step) -> Self {
        match step {
            Step::Set(key, length) => {
                self.core.set(1, KEYS[key], &VALUE[..length]);
                self.model.insert(key, length);
            }
            Step::Delete(key) => {
                self.core.delete(1, KEYS[key]);
                self.model.remove(&key);
            }
            Step::Fill => self.core.fill_index(),
            Step::Restart => return self.restarted(),
            Step::Revert(generations) => {
                self.core.index.revert(generations);
                return self.restarted();
            }
            Step::Rebuild => {
                self.core.lose_index();
                return self.restarted();
            }
        }
        self.core.pass(10);
        self
    }

    fn restarted(mut self) -> Self {
        self.segments += self.core.core.counters().reclaimed.segments;
        self.core = self.core.restarted();
        self.core.tick(25);
        self.judge();
        self
    }

    fn judge(&mut self) {
        assert_eq!(self.core.damaged(), []);
        for (at, key) in KEYS.iter().enumerate() {
            let found = self.core.stale(1, key).map(|value| value.len());
            assert_eq!(found, self.model.get(&at).copied().ok_or(Refusal::NotFound), "{key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn reclaim_loses_nothing_and_brings_nothing_back(steps in steps()) {
        let mut judged = steps.into_iter().fold(Judged::new(), Judged::step);
        judged.judge();
    }
}

/// Keys are written once each, then one key alone: the log stays as long as what lives deserves, and all is found after each
/// kind of restart.
#[test]
fn a_long_overwrite_stays_in_bounded_segments() {
    let mut judged = (0..KEYS.len()).fold(Judged::new(), |judged, key| judged.step(Step::Set(key, 100 + key)));
    judged = judged.step(Step::Delete(5));
    for round in 0..4 {
        for length in 0..40 {
            judged = judged.step(Step::Set(0, 2_000 + length + 100 * round));
        }
        judged = judged.step([Step::Fill, Step::Restart, Step::Rebuild, Step::Revert(1)][round]);
        judged.judge();
    }
    let mut judged = judged.restarted();
    judged.judge();
    assert!(judged.segments >= 30, "{} segments came free", judged.segments);
    let bytes = judged.core.core.status().log_bytes;
    assert!(bytes <= 10 * u64::from(SEGMENT_BYTES), "{bytes} bytes of log");
}
