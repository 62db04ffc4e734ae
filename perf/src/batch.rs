//! The client's batch writer under load: one producer that is held back by the writer's bound alone, and one
//! consumer that awaits every receipt, in order.
//!
//! An operation begins when it was handed over and ends when its receipt says so. What is counted when is as in
//! `driver.rs`.
//!
//! Not here, on purpose: single operations awaited one by one (`driver.rs`).

use std::time::Instant;

use margate_client::{BatchWriter, BatchWriterConfig, Client, Receipt, Written};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::driver::{Measured, Plan, Window};
use crate::margate::target::failure;
use crate::workload::{Bench, Step, Workload};

/// Receipts taken from the channel at once.
const RECEIPTS_PER_TURN: usize = 256;

/// Runs the plan, with its operations under way as the writer's bound, and returns once all are answered.
pub(crate) async fn drive(client: &Client, workload: &Workload, plan: Plan) -> Measured {
    let window = Window::of(&plan);
    let writer = client.batch_writer(BatchWriterConfig {
        in_flight_max: plan.in_flight,
        ..BatchWriterConfig::default()
    });
    // Bounded by the writer: what has ended is taken out at once.
    let (sender, receiver) = unbounded_channel();
    let consumer = tokio::spawn(consume(receiver, plan, window));
    let refused = produce(&writer, workload, plan, window, sender).await;
    let mut measured = consumer.await.expect("the consumer is not cancelled and does not panic");
    if let Err(error) = refused {
        measured.note_failure(failure(error));
    }
    measured
}

type Begun = (Instant, Receipt<Written>);

async fn produce(
    writer: &BatchWriter,
    workload: &Workload,
    plan: Plan,
    window: Window,
    receipts: UnboundedSender<Begun>,
) -> Result<(), margate_client::Error> {
    let mut drawer = workload.drawer(Bench::Put, plan.phase, 0);
    loop {
        let Step::Put { key, value } = drawer.draw() else { continue };
        let receipt = writer.set(key, value).await?;
        let began = Instant::now();
        if receipts.send((began, receipt)).is_err() || began >= window.closes {
            return Ok(());
        }
    }
}

async fn consume(mut receipts: UnboundedReceiver<Begun>, plan: Plan, window: Window) -> Measured {
    let mut measured = Measured::empty(plan.window);
    let mut begun = Vec::with_capacity(RECEIPTS_PER_TURN);
    while receipts.recv_many(&mut begun, RECEIPTS_PER_TURN).await > 0 {
        for (began, receipt) in begun.drain(..) {
            let outcome = receipt.await;
            measured.note(outcome.map(drop).map_err(failure), began, Instant::now(), window);
        }
    }
    measured
}
