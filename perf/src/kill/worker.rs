//! The workers: each writes and reads random keys, one operation after the other, and writes down what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use margate_client::{Client, Error};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::RwLock;
use tokio::time::{MissedTickBehavior, interval};

use super::book::Book;
use super::ledger::Before;
use crate::margate::target::{effect, explained};
use crate::target::Effect;
use crate::workload::keys::{key, mix};

/// One operation in so many is a read.
const READS_ONE_IN: u32 = 8;
/// One write in so many asks what stood before.
const ASKS_ONE_IN: u32 = 4;

/// What all workers share.
pub(crate) struct Crew {
    /// The deployment's client.
    pub(crate) client: Client,
    /// Where they write everything down.
    pub(crate) book: Arc<Book>,
    /// Held for reading during each operation; whoever holds it for writing has them all paused.
    pub(crate) gate: RwLock<()>,
    /// Set when they shall go home.
    pub(crate) stop: AtomicBool,
    /// Time from one operation of a worker to its next, at least.
    pub(crate) pace: Duration,
    /// The run's seed.
    pub(crate) seed: u64,
}

/// One worker, until it is stopped.
pub(crate) async fn work(crew: Arc<Crew>, worker: usize) {
    let mut dice = StdRng::seed_from_u64(mix(crew.seed ^ worker as u64));
    let mut ticks = interval(crew.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !crew.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let _pass = crew.gate.read().await;
        let key = dice.random_range(0..crew.book.keys());
        if dice.random_ratio(1, READS_ONE_IN) {
            read(&crew, key).await;
        } else {
            write(&crew, worker, key, dice.random_ratio(1, ASKS_ONE_IN)).await;
        }
    }
}

async fn write(crew: &Crew, worker: usize, number: usize, ask: bool) {
    let (begun, value) = crew.book.begin(worker, number);
    let request = crew.client.set(key(number as u64), value.clone());
    let request = if ask { request.return_old_value() } else { request };
    match request.await {
        Ok(written) => {
            let before = match ask {
                true => crew.book.before(number, written.old_value.as_deref()),
                false => Before::NotAsked,
            };
            crew.book.acknowledged(begun, &value, written.version, before);
        }
        Err(error) => {
            let mut pages = crew.book.open();
            match effect(&error) {
                Effect::Unknown => {
                    pages.journal.unknown(begun);
                    pages.ledger.unknown(begun);
                }
                Effect::None => {
                    pages.journal.refused(begun);
                    pages.ledger.refused(begun);
                }
            }
            drop(pages);
            note_unexplained(&crew.book, error);
        }
    }
}

async fn read(crew: &Crew, number: usize) {
    let floor = crew.book.open().ledger.floor(number);
    match crew.client.get(key(number as u64)).await {
        Ok(found) => {
            let found = crew
                .book
                .found(number, found.as_ref().map(|found| (found.version, found.value.as_ref())));
            crew.book.read(number, floor, found);
        }
        Err(error) => note_unexplained(&crew.book, error),
    }
}

/// Counts a failure unless a killed node explains it.
fn note_unexplained(book: &Book, error: Error) {
    if explained(&error) {
        return;
    }
    let mut pages = book.open();
    pages.errors += 1;
    pages.first_error.get_or_insert(error);
}
