use super::*;
use proptest::prelude::*;

/// A ledger of one key and one worker.
fn ledger() -> Ledger {
    Ledger::new(1, 1)
}

fn at(version: u64, begun: Begun) -> Standing {
    Standing {
        version: Version(version),
        attempt: begun.attempt,
    }
}

fn acknowledge(ledger: &mut Ledger, version: u64) -> Begun {
    let begun = ledger.begin(0, 0);
    ledger.acknowledged(begun, Version(version), Before::NotAsked);
    begun
}

/// Lost, duplicated, wrong.
fn bad(ledger: &Ledger) -> (u64, u64, u64) {
    let counts = ledger.counts();
    (counts.lost, counts.duplicated, counts.wrong)
}

#[test]
fn an_acknowledged_write_that_stands_is_good() {
    let mut ledger = ledger();
    let begun = acknowledge(&mut ledger, 5);
    ledger.verify(0, Found::Value(at(5, begun)));
    ledger.verify(0, Found::Value(at(5, begun)));
    assert_eq!(bad(&ledger), (0, 0, 0));
    assert_eq!(ledger.counts().verified, 2);
}

#[test]
fn an_acknowledged_write_that_is_gone_older_or_another_is_lost_and_told_once() {
    let missing = |ledger: &mut Ledger, _: Begun, _: Begun| ledger.verify(0, Found::Missing);
    let older = |ledger: &mut Ledger, first: Begun, _: Begun| ledger.verify(0, Found::Value(at(5, first)));
    let another = |ledger: &mut Ledger, first: Begun, _: Begun| ledger.verify(0, Found::Value(at(6, first)));
    let checks: [fn(&mut Ledger, Begun, Begun); 3] = [missing, older, another];
    for check in checks {
        let mut ledger = ledger();
        let (first, second) = (acknowledge(&mut ledger, 5), acknowledge(&mut ledger, 6));
        check(&mut ledger, first, second);
        check(&mut ledger, first, second);
        assert_eq!(bad(&ledger), (1, 0, 0), "{:?}", ledger.violations());
    }
}

#[test]
fn an_unknown_write_may_show_at_one_version_and_not_at_two() {
    let mut ledger = ledger();
    acknowledge(&mut ledger, 5);
    let unknown = ledger.begin(0, 0);
    ledger.unknown(unknown);
    ledger.verify(0, Found::Value(at(7, unknown)));
    ledger.verify(0, Found::Value(at(7, unknown)));
    assert_eq!(bad(&ledger), (0, 0, 0));
    ledger.verify(0, Found::Value(at(9, unknown)));
    assert_eq!(bad(&ledger), (0, 1, 0));
}

#[test]
fn an_unknown_write_that_showed_must_stay() {
    let mut ledger = ledger();
    let first = acknowledge(&mut ledger, 5);
    let unknown = ledger.begin(0, 0);
    ledger.unknown(unknown);
    ledger.verify(0, Found::Value(at(7, unknown)));
    ledger.verify(0, Found::Value(at(5, first)));
    assert_eq!(bad(&ledger), (1, 0, 0));
}

#[test]
fn an_acknowledged_write_at_a_higher_version_than_its_own_is_a_duplicate() {
    let mut ledger = ledger();
    let begun = acknowledge(&mut ledger, 5);
    ledger.verify(0, Found::Value(at(8, begun)));
    assert_eq!(bad(&ledger), (0, 1, 0));
}

#[test]
fn a_refused_write_must_not_show_before_or_after_its_refusal() {
    let mut shows_later = ledger();
    let refused = shows_later.begin(0, 0);
    shows_later.refused(refused);
    shows_later.verify(0, Found::Value(at(1, refused)));
    assert_eq!(bad(&shows_later), (0, 0, 1));

    let mut shown_before = Ledger::new(1, 2);
    let refused = shown_before.begin(0, 0);
    let over = shown_before.begin(1, 0);
    shown_before.acknowledged(over, Version(2), Before::Value(refused.attempt));
    shown_before.refused(refused);
    assert_eq!(bad(&shown_before), (0, 0, 1));
}

#[test]
fn a_value_overwritten_twice_was_written_twice() {
    let mut ledger = ledger();
    let first = acknowledge(&mut ledger, 1);
    for version in 2..4 {
        let begun = ledger.begin(0, 0);
        ledger.acknowledged(begun, Version(version), Before::Value(first.attempt));
    }
    assert_eq!(bad(&ledger), (0, 1, 0));
}

#[test]
fn a_write_that_replaced_nothing_proves_the_acknowledged_one_lost() {
    let mut ledger = ledger();
    acknowledge(&mut ledger, 1);
    let begun = ledger.begin(0, 0);
    ledger.acknowledged(begun, Version(2), Before::Missing);
    assert_eq!(bad(&ledger), (1, 0, 0));
}

#[test]
fn versions_follow_the_order_of_acknowledgement_but_writes_under_way_together_may_end_in_any() {
    let mut ledger = Ledger::new(1, 2);
    let (one, other) = (ledger.begin(0, 0), ledger.begin(1, 0));
    ledger.acknowledged(one, Version(2), Before::NotAsked);
    ledger.acknowledged(other, Version(1), Before::NotAsked);
    assert_eq!(bad(&ledger), (0, 0, 0));
    ledger.verify(0, Found::Value(at(2, one)));
    assert_eq!(bad(&ledger), (0, 0, 0));
    acknowledge(&mut ledger, 2);
    assert!(ledger.counts().wrong > 0);
}

#[test]
fn two_writes_with_one_version_are_wrong() {
    let mut ledger = Ledger::new(1, 2);
    let (one, other) = (ledger.begin(0, 0), ledger.begin(1, 0));
    ledger.acknowledged(one, Version(2), Before::NotAsked);
    ledger.acknowledged(other, Version(2), Before::NotAsked);
    assert_eq!(bad(&ledger), (0, 0, 1));
}

#[test]
fn a_foreign_value_is_wrong_wherever_it_shows() {
    let mut ledger = ledger();
    ledger.read_under_load(0, None, Found::Foreign(Version(1)));
    ledger.verify(0, Found::Foreign(Version(1)));
    let begun = ledger.begin(0, 0);
    ledger.acknowledged(begun, Version(2), Before::Foreign);
    let nobody = Standing {
        version: Version(9),
        attempt: Attempt::new(0, 77),
    };
    ledger.verify(0, Found::Value(nobody));
    assert_eq!(bad(&ledger), (0, 0, 4));
}

#[test]
fn a_read_under_load_is_held_to_what_stood_when_it_began() {
    let mut ledger = ledger();
    let first = acknowledge(&mut ledger, 1);
    let floor = ledger.floor(0);
    let second = acknowledge(&mut ledger, 2);
    ledger.read_under_load(0, floor, Found::Value(at(1, first)));
    ledger.read_under_load(0, floor, Found::Value(at(2, second)));
    assert_eq!(bad(&ledger), (0, 0, 0));
    let floor = ledger.floor(0);
    ledger.read_under_load(0, floor, Found::Value(at(1, first)));
    assert_eq!(bad(&ledger), (1, 0, 0));
}

/// A store of a few keys that does what it should, and a client that does not always hear of it.
#[derive(Clone, Debug)]
enum Act {
    Write { key: usize, heard: bool, ask: bool },
    Drop { key: usize },
    Verify,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3usize, any::<bool>(), any::<bool>()).prop_map(|(key, heard, ask)| Act::Write { key, heard, ask }),
        1 => (0..3usize).prop_map(|key| Act::Drop { key }),
        1 => Just(Act::Verify),
    ]
}

#[derive(Default)]
struct Store {
    rows: [Option<Standing>; 3],
    clock: u64,
}

impl Store {
    fn write(&mut self, key: usize, attempt: Attempt) -> (Version, Before) {
        self.clock += 1;
        let version = Version(self.clock);
        let before = self.rows[key].replace(Standing { version, attempt });
        (version, before.map_or(Before::Missing, |standing| Before::Value(standing.attempt)))
    }

    fn verify(&self, ledger: &mut Ledger) {
        for (key, row) in self.rows.iter().enumerate() {
            ledger.verify(key, row.map_or(Found::Missing, Found::Value));
        }
    }
}

fn play(acts: &[Act]) -> (Store, Ledger) {
    let (mut store, mut ledger) = (Store::default(), Ledger::new(3, 1));
    for act in acts {
        match *act {
            Act::Write { key, heard, ask } => {
                let begun = ledger.begin(0, key);
                let (version, before) = store.write(key, begun.attempt);
                if heard {
                    ledger.acknowledged(begun, version, if ask { before } else { Before::NotAsked });
                } else {
                    ledger.unknown(begun);
                }
            }
            Act::Drop { key } => {
                let begun = ledger.begin(0, key);
                ledger.refused(begun);
            }
            Act::Verify => store.verify(&mut ledger),
        }
    }
    (store, ledger)
}

proptest! {
    #[test]
    fn a_store_that_keeps_its_word_is_never_accused(acts in proptest::collection::vec(act(), 0..60)) {
        let (store, mut ledger) = play(&acts);
        store.verify(&mut ledger);
        prop_assert_eq!(bad(&ledger), (0, 0, 0), "{:?}", ledger.violations());
    }

    #[test]
    fn a_store_that_forgets_an_acknowledged_write_is_always_found(acts in proptest::collection::vec(act(), 0..60), key in 0..3usize) {
        let (mut store, mut ledger) = play(&acts);
        let before = store.rows[key];
        let begun = ledger.begin(0, key);
        let (version, _) = store.write(key, begun.attempt);
        ledger.acknowledged(begun, version, Before::NotAsked);
        store.rows[key] = before;
        store.verify(&mut ledger);
        prop_assert_eq!(ledger.counts().lost, 1, "{:?}", ledger.violations());
    }

    #[test]
    fn a_store_that_writes_twice_is_found(acts in proptest::collection::vec(act(), 0..60), key in 0..3usize) {
        let (mut store, mut ledger) = play(&acts);
        let begun = ledger.begin(0, key);
        let (version, _) = store.write(key, begun.attempt);
        ledger.acknowledged(begun, version, Before::NotAsked);
        store.write(key, begun.attempt);
        store.verify(&mut ledger);
        prop_assert_eq!(ledger.counts().duplicated, 1, "{:?}", ledger.violations());
    }
}
