//! Reads every key while nothing is written, and holds it against the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ledger::Found;
use super::worker::Crew;
use crate::error::PerfError;
use crate::workload::keys::key;

/// Reads under way at once.
const READERS: usize = 32;
/// Time in which a key must be readable again.
const READABLE_WITHIN: Duration = Duration::from_secs(30);
/// Time between two tries.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Pauses the workers, reads every key, lets the workers go on.
///
/// # Errors
/// A key stays unreadable, or the journal cannot be written.
pub(crate) async fn every_key(crew: &Arc<Crew>) -> Result<(), PerfError> {
    let _paused = crew.gate.write().await;
    crew.book.open().outages.paused(Instant::now());
    let mut readers: JoinSet<Result<(), PerfError>> = JoinSet::new();
    for reader in 0..READERS {
        let crew = crew.clone();
        readers.spawn(async move {
            for number in (reader..crew.book.keys()).step_by(READERS) {
                let found = read(&crew, number).await?;
                crew.book.open().ledger.verify(number, found);
            }
            Ok(())
        });
    }
    for result in readers.join_all().await {
        result?;
    }
    let mut pages = crew.book.open();
    pages.outages.resumed(Instant::now());
    pages.journal.flush()
}

async fn read(crew: &Crew, number: usize) -> Result<Found, PerfError> {
    let began = Instant::now();
    loop {
        match crew.client.get(key(number as u64)).await {
            Ok(found) => {
                return Ok(crew
                    .book
                    .found(number, found.as_ref().map(|found| (found.version, found.value.as_ref()))));
            }
            Err(cause) if began.elapsed() > READABLE_WITHIN => {
                return Err(PerfError::Unreadable {
                    number,
                    after: READABLE_WITHIN,
                    cause,
                });
            }
            Err(_) => sleep(RETRY_AFTER).await,
        }
    }
}
