//! Writes 300,000 keys to the deployment that `margate dev` starts, looks at single results, and deletes them all.

use std::error::Error as AnyError;
use std::process::ExitCode;
use std::time::Instant;

use margate_client::{BatchWriterConfig, Client, ClientConfig, Error, WriteSummary};

const KEYS: u32 = 300_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match batch().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn batch() -> Result<(), Box<dyn AnyError>> {
    let client = Client::connect(ClientConfig::default()).await?;
    let writer = client.batch_writer(BatchWriterConfig::default());

    // Each `set` waits for room, and for nothing else. Receipts that nobody wants are dropped: the flush tells of all writes.
    let began = Instant::now();
    for number in 0..KEYS {
        drop(writer.set(key(number), "first light").await?);
    }
    let summary = writer.flush().await;
    println!("set      in {:.1} s: {}", began.elapsed().as_secs_f64(), told(&summary));
    for failure in &summary.failures {
        println!("         {}: {}", String::from_utf8_lossy(&failure.key), failure.error);
    }

    // The same key twice, in this order. Each write has its own result.
    let receipts = [writer.set(key(0), "dawn").await?, writer.set(key(0), "noon").await?];
    for receipt in receipts {
        match receipt.await {
            Ok(written) => println!("receipt  {} is at version {}", key(0), written.version),
            Err(error @ Error::OutcomeUnknown { .. }) => println!("receipt  read {} before writing it again: {error}", key(0)),
            Err(error) => println!("receipt  not written: {error}"),
        }
    }

    // Who goes without a flush: what was not sent yet will not happen, what has no answer yet is unknown.
    for number in 0..KEYS / 2 {
        drop(writer.delete(key(number)).await?);
    }
    println!("abandon  {}", told(&writer.abandon()));

    // Deleting once more does no harm, whatever became of those.
    let writer = client.batch_writer(BatchWriterConfig::default());
    for number in 0..KEYS {
        drop(writer.delete(key(number)).await?);
    }
    println!("delete   {}", told(&writer.flush().await));

    client.close().await;
    Ok(())
}

fn key(number: u32) -> String {
    format!("batch/{number:06}")
}

fn told(summary: &WriteSummary) -> String {
    let WriteSummary {
        acknowledged,
        failed,
        unknown,
        failures: _,
    } = summary;
    format!("{acknowledged} acknowledged, {failed} not executed, {unknown} unknown")
}
