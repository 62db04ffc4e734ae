//! Margate's batch writer under load: one producer that is held back by the writer's bound alone, and one consumer that
//! awaits all receipts at once.
//!
//! An operation is due when it was handed over, and ends when its receipt says so, whatever became of those before it:
//! awaited in order, those of a fast shard would be counted with the time of a slow one.
//!
//! Many keys are loaded the same way: each is written once, and none counts before its receipt says so.

use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use margate_client::{BatchWriter, BatchWriterConfig, Client, Error, Receipt, Written};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use super::loading::LOAD_PHASE;
use super::measured::{Measured, Tallies};
use super::{Pace, Plan, Window};
use crate::error::PerfError;
use crate::margate::target::failure;
use crate::report::progress::Progress;
use crate::target::{Effect, Failure};
use crate::workload::bench::Kind;
use crate::workload::keys::key;
use crate::workload::{Step, Workload};

/// Receipts taken from the channel at once.
const RECEIPTS_PER_TURN: usize = 256;
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
    // Bounded by the writer: what has ended is taken out at once.
    let (sender, receiver) = unbounded_channel();
    // A task of its own: its turn comes when receipts are ready, and not when the producer's does.
    let consumer = tokio::spawn(consume(receiver, tallies));
    let refused = produce(&writer, workload, plan, window, sender).await;
    let tallies = consumer.await.expect("it ends with the producer, and nobody aborts it");
    if let Err(error) = refused {
        let now = Instant::now();
        tallies.note(0, Kind::Update, now, now, Err(failure(error)));
    }
    Ok(tallies.total(None))
}

/// When it was handed over, and what says how it ended.
type Begun<R> = (Instant, R);

async fn produce(
    writer: &BatchWriter,
    workload: &Workload,
    plan: Plan,
    window: Window,
    receipts: UnboundedSender<Begun<Receipt<Written>>>,
) -> Result<(), Error> {
    let mut drawer = workload.drawer(plan.recipe, plan.phase, 0);
    loop {
        let Step::Update { number, value } = drawer.draw() else { continue };
        let receipt = writer.set(key(number), value).await?;
        let began = Instant::now();
        if receipts.send((began, receipt)).is_err() || began >= window.closes {
            return Ok(());
        }
    }
}

async fn consume<R, T>(mut receipts: UnboundedReceiver<Begun<R>>, tallies: Tallies) -> Tallies
where
    R: Future<Output = Result<T, Error>>,
{
    let mut under_way = FuturesUnordered::new();
    let mut begun = Vec::with_capacity(RECEIPTS_PER_TURN);
    let mut producing = true;
    while producing || !under_way.is_empty() {
        tokio::select! {
            count = receipts.recv_many(&mut begun, RECEIPTS_PER_TURN), if producing => {
                producing = count > 0;
                under_way.extend(begun.drain(..).map(|(began, receipt)| async move { (began, receipt.await) }));
            }
            Some((began, outcome)) = under_way.next() => {
                tallies.note(0, Kind::Update, began, Instant::now(), outcome.map(drop).map_err(failure));
            }
        }
    }
    tallies
}

/// Writes every key once, with the bytes that its number has, and those again of which it is unknown whether they were written: nobody
/// else writes here, so that does no harm. Returns how many those were.
///
/// # Errors
/// The first that failed otherwise, or was unknown again; it ends the loading.
pub(crate) async fn load(
    client: &Client,
    workload: &Workload,
    key_of: impl Fn(u64) -> Bytes,
    progress: &Progress,
) -> Result<usize, Failure> {
    let loader = Loader {
        writer: client.batch_writer(BatchWriterConfig::default()),
        workload,
        key_of,
        progress,
    };
    let mut unknown = loader.write(LOAD_PHASE, 0..workload.keys).await?;
    let count = unknown.len();
    match loader
        .write(LOAD_PHASE + 1, unknown.drain(..).map(|unknown| unknown.number))
        .await?
        .pop()
    {
        None => Ok(count),
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_receipt_is_noted_before_those_that_were_handed_over_earlier() {
        type Receipt = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
        let opens = Instant::now();
        let closes = opens + Duration::from_secs(3_600);
        let (later_ended, later) = oneshot::channel();
        // The first ends once the second has: awaited in order, neither would.
        let first: Receipt = Box::pin(async { later.await.map_err(|_| Error::Closed) });
        let second: Receipt = Box::pin(async {
            later_ended.send(()).expect("the first waits for it");
            Ok(())
        });
        let (sender, receiver) = unbounded_channel();
        for receipt in [first, second] {
            assert!(sender.send((opens, receipt)).is_ok());
        }
        drop(sender);
        let consumer = tokio::spawn(consume(receiver, Tallies::new(Window { opens, closes })));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(consumer.is_finished(), "it waits for the first alone");
        let total = consumer.await.expect("it is finished").total(None).total();
        assert_eq!((total.ops, total.errors), (2, 0));
    }
}
