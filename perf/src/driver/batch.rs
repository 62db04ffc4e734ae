//! Margate's batch writer under load: one producer that is held back by the writer's bound alone, and one consumer that
//! awaits all receipts at once.
//!
//! An operation is due when it was handed over, and ends when its receipt says so, whatever became of those before it:
//! awaited in order, those of a fast shard would be counted with the time of a slow one.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use margate_client::{BatchWriter, BatchWriterConfig, Client, Error, Receipt, Written};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::measured::{Measured, Tallies};
use super::{Pace, Plan, Window};
use crate::error::PerfError;
use crate::margate::target::failure;
use crate::workload::bench::Kind;
use crate::workload::keys::key;
use crate::workload::{Step, Workload};

/// Receipts taken from the channel at once.
const RECEIPTS_PER_TURN: usize = 256;

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

type Begun = (Instant, Receipt<Written>);

async fn produce(
    writer: &BatchWriter,
    workload: &Workload,
    plan: Plan,
    window: Window,
    receipts: UnboundedSender<Begun>,
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

async fn consume(mut receipts: UnboundedReceiver<Begun>, tallies: Tallies) -> Tallies {
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
