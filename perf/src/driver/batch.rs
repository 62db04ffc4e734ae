//! Margate's batch writer under load, used as whoever has many writes uses it: handed over one by one, asked for by `flush`.
//!
//! One producer is held back by the writer's bound alone. With every [`WRITES_PER_FLUSH`] writes a flush begins, and nothing waits for it: what the
//! flushes say is taken in turn, so a write counts once the writer has said that it and all before it have ended. The first of those writes keeps
//! its receipt and is timed by it, whatever became of those before.
//!
//! Many keys are loaded with the same writer, and a receipt for each: a key is written until its receipt says that it is there, twice at most.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use margate_client::{BatchWriter, BatchWriterConfig, Client, Error, Receipt, Written};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::loading::LOAD_PHASE;
use super::measured::{Measured, Tallies};
use super::{Pace, Plan, Window};
use crate::error::PerfError;
use crate::margate::target::failure;
use crate::report::progress::Progress;
use crate::target::{Effect, Failure};
use crate::workload::bench::Kind;
use crate::workload::keys::key;
use crate::workload::{Drawer, Step, Workload};

/// Writes of which one flush speaks and one receipt is kept.
const WRITES_PER_FLUSH: usize = 64;
/// Receipts that wait for their turn while keys are loaded; more hold the producer back.
const RECEIPTS_WAITING_MAX: usize = 1 << 16;
/// Keys of which it may be unknown whether they were loaded: what a few changes of leaders leave behind.
const UNKNOWN_MAX: usize = 1 << 18;

/// Runs the plan, with its operations under way as the writer's bound, and returns once all are answered.
///
/// # Errors
/// [`PerfError::BatchByTheClock`]: the plan has a rate.
pub(crate) async fn drive(client: &Client, workload: &Workload, plan: Plan) -> Result<Measured, PerfError> {
    let Pace::Closed { in_flight } = plan.pace else {
        return Err(PerfError::BatchByTheClock);
    };
    let window = Window::of(&plan, Instant::now());
    let tallies = Tallies::new(window);
    let writer = client.batch_writer(BatchWriterConfig {
        in_flight_max: in_flight,
        ..BatchWriterConfig::default()
    });
    let refused = produce(&writer, workload, plan, window, &tallies).await;
    if let Err(error) = refused {
        let now = Instant::now();
        tallies.note(0, Kind::Update, now, now, Err(failure(error)));
    }
    Ok(tallies.total(None))
}

async fn produce(writer: &BatchWriter, workload: &Workload, plan: Plan, window: Window, tallies: &Tallies) -> Result<(), Error> {
    let mut drawer = workload.drawer(plan.recipe, plan.phase, 0);
    drawer.share_memory();
    let (mut flushes, mut timed) = (VecDeque::new(), FuturesUnordered::new());
    let refused = loop {
        let began = Instant::now();
        match hand_over(writer, &mut drawer).await {
            Ok(first) => timed.extend(first.map(|receipt| async move { receipt.await.map(|_| began) })),
            Err(error) => break Err(error),
        }
        let mut flush = writer.flush();
        // It begins when it is first asked.
        match (&mut flush).now_or_never() {
            Some(summary) => tallies.note_all(Instant::now(), &summary),
            None => flushes.push_back(flush),
        }
        while let Some(summary) = flushes.front_mut().and_then(FutureExt::now_or_never) {
            tallies.note_all(Instant::now(), &summary);
            flushes.pop_front();
        }
        while let Some(Some(began)) = timed.next().now_or_never() {
            note_time(began, tallies);
        }
        if began >= window.closes {
            break Ok(());
        }
    };
    for flush in flushes {
        tallies.note_all(Instant::now(), &flush.await);
    }
    while let Some(began) = timed.next().await {
        note_time(began, tallies);
    }
    refused
}

/// Hands over as many as a flush speaks of. The receipt of the first.
async fn hand_over(writer: &BatchWriter, drawer: &mut Drawer<'_>) -> Result<Option<Receipt<Written>>, Error> {
    let mut first = None;
    for _ in 0..WRITES_PER_FLUSH {
        if let Step::Update { number, value } = drawer.draw() {
            let receipt = writer.set(key(number), value).await?;
            first.get_or_insert(receipt);
        }
    }
    Ok(first)
}

/// A write that was acknowledged is timed; of one that was not, its flush tells.
fn note_time(began: Result<Instant, Error>, tallies: &Tallies) {
    if let Ok(began) = began {
        tallies.note_time(began, Instant::now());
    }
}

/// Writes every key once; and once more, with another value, those of which it is unknown whether they were written. Keys only have to be
/// there, nothing is timed, and both values are the key's own: whichever stands, even if the first comes late, reads find what they
/// check. Returns how many those were.
///
/// # Errors
/// The first that failed otherwise, or was unknown again; it ends the loading.
pub(crate) async fn load(client: &Client, workload: &Workload, key_of: impl Fn(u64) -> Bytes, progress: &Progress) -> Result<u64, Failure> {
    let loader = Loader {
        writer: client.batch_writer(BatchWriterConfig::default()),
        workload,
        key_of,
        progress,
    };
    let unknown = loader.write(LOAD_PHASE, 0..workload.keys).await?;
    let numbers = unknown.iter().map(|unknown| unknown.number);
    match loader.write(LOAD_PHASE + 1, numbers).await?.pop() {
        None => Ok(unknown.len() as u64),
        Some(again) => Err(again.failure),
    }
}

/// A write that may have happened.
struct Unknown {
    number: u64,
    failure: Failure,
}

struct Loader<'a, K> {
    writer: BatchWriter,
    workload: &'a Workload,
    key_of: K,
    progress: &'a Progress,
}

impl<K: Fn(u64) -> Bytes> Loader<'_, K> {
    /// Writes these; returns those that are unknown.
    async fn write(&self, phase: u64, numbers: impl Iterator<Item = u64>) -> Result<Vec<Unknown>, Failure> {
        let (sender, receiver) = channel(RECEIPTS_WAITING_MAX);
        let (handed_over, ended) = tokio::join!(self.hand_over(phase, numbers, sender), self.await_all(receiver));
        let unknown = ended?;
        handed_over?;
        Ok(unknown)
    }

    async fn hand_over(
        &self,
        phase: u64,
        numbers: impl Iterator<Item = u64>,
        receipts: Sender<(u64, Receipt<Written>)>,
    ) -> Result<(), Failure> {
        let mut written = self.workload.written(phase, 0);
        written.share_memory();
        for number in numbers {
            let value = written.value(number);
            let receipt = self.writer.set((self.key_of)(number), value).await.map_err(failure)?;
            if receipts.send((number, receipt)).await.is_err() {
                // A write has failed, which its receipt says.
                return Ok(());
            }
        }
        Ok(())
    }

    async fn await_all(&self, mut receipts: Receiver<(u64, Receipt<Written>)>) -> Result<Vec<Unknown>, Failure> {
        let mut unknown = Vec::new();
        while let Some((number, receipt)) = receipts.recv().await {
            match receipt.await.map_err(failure) {
                Ok(_) => self.progress.one_more(),
                Err(failure) if failure.effect == Effect::Unknown && unknown.len() < UNKNOWN_MAX => {
                    unknown.push(Unknown { number, failure })
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(unknown)
    }
}
