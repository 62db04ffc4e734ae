//! What is due by the clock is carried out or counted, whatever became of what was due before. How fast this machine
//! is decides nothing here: every bound is one that slowness can only keep.

use super::*;
use crate::driver::measured::Unmet;

/// Operations due in the window: 200 ms of 1,000 per second.
const DUE: u64 = 200;

fn open(in_flight_max: usize) -> Plan {
    plan(Bench::Mixed, Pace::Open { rate: 1000, in_flight_max })
}

fn unmet(measured: &Measured) -> &Unmet {
    measured.unmet.as_ref().expect("an open loop says what it could not do")
}

/// Latencies of at least so many milliseconds.
fn at_least(measured: &Measured, millis: u64) -> u64 {
    let from = Duration::from_millis(millis).as_nanos();
    // One part in a thousand is what the histogram may round by.
    let from = u64::try_from(from * 999 / 1000).expect("it is short");
    measured.total().latency.count_between(from, u64::MAX)
}

#[tokio::test]
async fn each_operation_that_is_due_in_the_window_is_timed_or_never_began() {
    for (delay, in_flight_max) in [(0, 1000), (5, 1000), (5, 2)] {
        let memory = Memory {
            delay: Duration::from_millis(delay),
            ..Memory::default()
        };
        let (target, _, measured) = run(memory, 20, open(in_flight_max)).await;
        let total = measured.total();
        assert_eq!((total.errors, total.unknown), (0, 0));
        assert_eq!(total.latency.len(), DUE, "those that never began are among them");
        let carried_out = measured.kinds.values().map(|counted| counted.latency.len()).sum::<u64>();
        assert_eq!(carried_out + unmet(&measured).never_begun.len(), DUE);
        assert!(target.under_way_max.load(Ordering::Relaxed) <= in_flight_max);
    }
}

#[tokio::test]
async fn a_stall_is_in_the_latency_of_everything_that_was_due_meanwhile() {
    let memory = Memory {
        stall: Duration::from_millis(150),
        ..Memory::default()
    };
    let mut plan = open(100_000);
    plan.warmup = Duration::ZERO;
    let (_, _, measured) = run(memory, 20, plan).await;
    // The stall lasts until 150 ms after the start, or longer. What was due in the first 50 ms took 100 ms of it. Had
    // operations waited for each other, one would have.
    let slow = at_least(&measured, 100);
    assert!(slow >= 50, "{slow} operations took 100 ms or more");
    assert_eq!(unmet(&measured).held_back, 0);
}

#[tokio::test]
async fn what_meets_the_cap_waits_its_turn_and_is_counted_from_when_it_was_due() {
    let memory = Memory {
        delay: Duration::from_millis(20),
        ..Memory::default()
    };
    let (target, _, measured) = run(memory, 20, open(2)).await;
    assert_eq!(target.under_way_max.load(Ordering::Relaxed), 2);
    let unmet = unmet(&measured);
    let never_begun = unmet.never_begun.len();
    // At most 2 begin in 20 ms, and 20 are due: all but the first few, which are in the warm-up, meet the cap.
    assert_eq!(unmet.held_back + never_begun, DUE);
    // Those are no more than 124 of 220 before a second after the window.
    assert!(never_begun >= 96, "{never_begun}");
    assert!(at_least(&measured, 1000) >= never_begun, "they had waited a second or more");
}

#[tokio::test]
async fn warm_up_is_carried_out_and_not_counted() {
    let mut plan = open(100_000);
    plan.warmup = Duration::from_millis(100);
    let (target, _, measured) = run(Memory::default(), 20, plan).await;
    assert_eq!(measured.total().latency.len(), DUE);
    let (begun, never_begun) = (target.begun.load(Ordering::Relaxed) as u64, unmet(&measured).never_begun.len());
    // Operations begin in order: who began in the window came after the 100 of the warm-up.
    assert!(never_begun == DUE || begun == 100 + DUE - never_begun, "{begun} began");
}
