//! So many under way, no more and no fewer; and what is counted of any operation, whatever its loop.

use super::*;
use crate::workload::bench::Kind;

fn closed(bench: Bench, in_flight: usize) -> Plan {
    plan(bench, Pace::Closed { in_flight })
}

#[tokio::test]
async fn the_rate_follows_from_latency_and_operations_in_flight() {
    let memory = Memory {
        delay: Duration::from_millis(10),
        ..Memory::default()
    };
    let (target, _, measured) = run(memory, 20, closed(Bench::Mixed, 8)).await;
    assert_eq!(target.under_way_max.load(Ordering::Relaxed), 8);
    let total = measured.total();
    assert_eq!((total.errors, total.unknown), (0, 0));
    assert!(total.micros_at(0.5) >= 10_000.0, "p50 {}", total.micros_at(0.5));
    // 8 in flight of at least 10 ms each: at most 800 a second, and not far below on a busy machine.
    let rate = measured.rate(&total);
    assert!((80.0..=840.0).contains(&rate), "{rate} a second");
    assert!(total.latency.len() >= total.ops.saturating_sub(8));
    assert!(measured.unmet.is_none(), "nothing was due by the clock");
}

#[tokio::test]
async fn failures_are_counted_by_what_is_known_of_their_effect() {
    for effect in [Effect::None, Effect::Unknown] {
        let memory = Memory {
            delay: Duration::from_millis(5),
            refuse_puts: Some(effect),
            ..Memory::default()
        };
        let (_, _, measured) = run(memory, 5, closed(Bench::Put, 2)).await;
        let total = measured.total();
        assert_eq!(total.ops, 0);
        assert_eq!(total.errors > 0, effect == Effect::None);
        assert_eq!(total.unknown > 0, effect == Effect::Unknown);
        assert!(measured.first_failure.expect("one is kept").to_string().ends_with("told to fail"));
    }
}

#[tokio::test]
async fn each_kind_is_counted_by_itself_and_all_together() {
    for (bench, kinds) in [
        (Bench::Put, &[Kind::Update] as &[Kind]),
        (Bench::YcsbA, &[Kind::Read, Kind::Update]),
        (Bench::YcsbD, &[Kind::Read, Kind::Insert]),
        (Bench::YcsbE, &[Kind::Insert, Kind::Scan]),
        (Bench::YcsbF, &[Kind::Read, Kind::ReadModifyWrite]),
    ] {
        let memory = Memory {
            delay: Duration::from_millis(1),
            ..Memory::default()
        };
        let (_, _, measured) = run(memory, 500, closed(bench, 32)).await;
        assert!(measured.kinds.keys().eq(kinds), "{}: {:?}", bench.word(), measured.kinds.keys());
        let total = measured.total();
        let sum = |number: fn(&measured::Counted) -> u64| measured.kinds.values().map(number).sum::<u64>();
        assert_eq!((total.ops, total.latency.len()), (sum(|one| one.ops), sum(|one| one.latency.len())));
        assert_eq!(
            (total.errors, total.unknown),
            (0, 0),
            "{}: {:?}",
            bench.word(),
            measured.first_failure
        );
    }
}

#[tokio::test]
async fn what_was_inserted_is_there_and_its_number_is_never_lost() {
    let (target, workload, measured) = run(Memory::default(), 10, closed(Bench::YcsbD, 8)).await;
    assert!(measured.kinds.contains_key(&Kind::Insert));
    let present = workload.records.present();
    assert!(present > 10);
    assert!((0..present).all(|number| target.has(number)));
    assert_eq!(workload.records.begin_insert(), present, "each number that was taken was inserted");
}
