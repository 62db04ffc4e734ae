//! The loops against a map in memory that can be told to be slow, to stand still and to fail.

mod closed;
mod loading;
mod open;
mod perform;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use bytes::Bytes;
use tokio::time::sleep_until;

use super::*;
use crate::report::progress::Progress;
use crate::target::{Effect, Failure, Row};
use crate::workload::bench::Bench;

/// A map that answers after a while.
#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<Bytes, Bytes>>,
    delay: Duration,
    /// Nothing is answered before the first operation has waited this long.
    stall: Duration,
    first: OnceLock<Instant>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
    begun: AtomicUsize,
    refuse_puts: Option<Effect>,
    /// The first put of each key happens and is not acknowledged.
    forgetful: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("told to fail")]
struct ToldToFail;

fn told_to_fail(effect: Effect) -> Failure {
    Failure {
        effect,
        cause: Box::new(ToldToFail),
    }
}

impl Memory {
    async fn wait(&self) {
        let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.under_way_max.fetch_max(now, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.delay).await;
        sleep_until((*self.first.get_or_init(Instant::now) + self.stall).into()).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn insert(&self, key: Bytes, value: Bytes) -> Option<Bytes> {
        self.rows.lock().expect("no worker panics").insert(key, value)
    }

    fn has(&self, number: u64) -> bool {
        let key = crate::workload::keys::key(number);
        self.rows.lock().expect("no worker panics").contains_key(&key)
    }
}

impl Target for Memory {
    async fn put(&self, _: usize, key: Bytes, value: Bytes) -> Result<(), Failure> {
        self.wait().await;
        if let Some(effect) = self.refuse_puts {
            return Err(told_to_fail(effect));
        }
        if self.insert(key, value).is_none() && self.forgetful {
            return Err(told_to_fail(Effect::Unknown));
        }
        Ok(())
    }

    async fn get(&self, _: usize, key: Bytes) -> Result<Option<Bytes>, Failure> {
        self.wait().await;
        Ok(self.rows.lock().expect("no worker panics").get(&key).cloned())
    }

    async fn scan(&self, _: usize, low: Bytes, rows: usize) -> Result<Vec<Row>, Failure> {
        self.wait().await;
        let all = self.rows.lock().expect("no worker panics");
        let from_low = all.range(low..).take(rows);
        Ok(from_low.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

fn plan(bench: Bench, pace: Pace) -> Plan {
    Plan {
        recipe: Recipe::new(bench, 0.5, None),
        pace,
        warmup: Duration::from_millis(20),
        window: Duration::from_millis(200),
        phase: 0,
    }
}

/// Loads so many keys and runs the plan.
async fn run(memory: Memory, keys: u64, plan: Plan) -> (Arc<Memory>, Arc<Workload>, Measured) {
    let target = Arc::new(memory);
    let workload = Arc::new(Workload::new(keys, 64, 3));
    for number in 0..keys {
        let value = workload.written(1, 0).value(number);
        target.insert(crate::workload::keys::key(number), value);
    }
    let measured = drive(target.clone(), workload.clone(), plan).await.expect("there are timers");
    (target, workload, measured)
}
