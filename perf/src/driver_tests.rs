use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::*;

/// A map that answers after a while, and can be told to fail.
#[derive(Default)]
struct Memory {
    rows: Mutex<HashMap<Bytes, Bytes>>,
    delay: Duration,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
    refuse_puts: Option<Effect>,
}

#[derive(Debug, thiserror::Error)]
#[error("told to fail")]
struct ToldToFail;

impl Memory {
    async fn wait(&self) {
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(self.delay).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Target for Memory {
    async fn put(&self, _: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        self.wait().await;
        if let Some(effect) = self.refuse_puts {
            return Err(Failure {
                effect,
                cause: Box::new(ToldToFail),
            });
        }
        self.rows.lock().expect("no worker panics").insert(key, value);
        Ok(())
    }

    async fn get(&self, _: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.wait().await;
        Ok(self.rows.lock().expect("no worker panics").get(&key).cloned())
    }
}

fn plan(bench: Bench, in_flight: usize) -> Plan {
    Plan {
        bench,
        in_flight,
        warmup: Duration::from_millis(20),
        window: Duration::from_millis(200),
        phase: 0,
    }
}

async fn run(memory: Memory, bench: Bench, in_flight: usize, keys: u64) -> (Arc<Memory>, Measured) {
    let target = Arc::new(memory);
    let workload = Arc::new(Workload::new(keys, 64, 3));
    if bench != Bench::Put {
        load(target.clone(), workload.clone(), 4).await.expect("memory takes every put");
    }
    let measured = drive(target.clone(), workload, plan(bench, in_flight)).await;
    (target, measured)
}

#[tokio::test]
async fn the_rate_follows_from_latency_and_operations_in_flight() {
    let delay = Duration::from_millis(10);
    let memory = Memory {
        delay,
        ..Memory::default()
    };
    let (target, measured) = run(memory, Bench::Mixed, 8, 20).await;
    assert_eq!(target.under_way_max.load(Ordering::Relaxed), 8);
    assert_eq!((measured.errors, measured.unknown), (0, 0));
    assert!(measured.micros_at(0.5) >= 10_000.0, "p50 {}", measured.micros_at(0.5));
    // 8 in flight of at least 10 ms each: at most 800 a second, and not far below on a busy machine.
    assert!((80.0..=840.0).contains(&measured.rate()), "{} a second", measured.rate());
    assert!(measured.latency.len() >= measured.ops.saturating_sub(8));
}

#[tokio::test]
async fn loading_writes_every_key_and_no_other() {
    let target = Arc::new(Memory::default());
    let workload = Arc::new(Workload::new(101, 64, 3));
    load(target.clone(), workload, 7).await.expect("memory takes every put");
    let rows = target.rows.lock().expect("no worker panics");
    assert_eq!(rows.len(), 101);
    assert!((0..101).all(|number| rows.contains_key(&crate::workload::keys::key(number))));
}

#[tokio::test]
async fn failures_are_counted_by_what_is_known_of_their_effect() {
    let delay = Duration::from_millis(5);
    for effect in [Effect::None, Effect::Unknown] {
        let memory = Memory {
            delay,
            refuse_puts: Some(effect),
            ..Memory::default()
        };
        let (_, measured) = run(memory, Bench::Put, 2, 5).await;
        assert_eq!(measured.ops, 0);
        assert_eq!(measured.errors > 0, effect == Effect::None);
        assert_eq!(measured.unknown > 0, effect == Effect::Unknown);
        assert!(measured.first_failure.expect("one is kept").to_string().ends_with("told to fail"));
    }
}

#[tokio::test]
async fn a_read_of_a_missing_key_or_a_foreign_value_is_an_error() {
    let target = Memory::default();
    let workload = Workload::new(2, 64, 3);
    let read = |number| Step::Get {
        number,
        key: crate::workload::keys::key(number),
    };
    let missing = perform(&target, &workload, 0, read(0)).await.expect_err("nothing was loaded");
    assert_eq!(missing.to_string(), WrongRead::Missing { number: 0 }.to_string());
    let foreign = workload.values.make(1, 1, 1);
    target
        .rows
        .lock()
        .expect("no worker panics")
        .insert(crate::workload::keys::key(0), foreign);
    let wrong = perform(&target, &workload, 0, read(0))
        .await
        .expect_err("the value is another key's");
    assert_eq!(wrong.to_string(), WrongRead::Foreign { number: 0, length: 64 }.to_string());
}
