//! The workers: each asks one thing at a time and writes down what came of it.
//!
//! Each has a client of its own, with connections and beliefs about leaders of its own: a client that still believes in
//! a leader of yesterday is what finds a stale read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use margate_client::{Client, Error};
use margate_net::error::Refusal;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use super::file::Writer;
use super::record::{FOREIGN, Old, Operation, Outcome, Record, Value};
use crate::error::PerfError;
use crate::kill::value::{Attempt, Values};
use crate::margate::target::{effect, explained};
use crate::target::Effect;
use crate::workload::keys::{key, mix};

/// Time for one operation; a longer one is of unknown outcome, or failed.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after an operation that had no answer: a file of failures proves nothing.
const PAUSE: Duration = Duration::from_millis(10);
/// One set in so many asks what stood before.
const ASKS_ONE_IN: u32 = 4;
/// Time in which every key must be readable at the end.
const READABLE_WITHIN: Duration = Duration::from_secs(30);

/// What all workers share.
pub(crate) struct Crew {
    /// Bytes of values.
    pub(crate) values: Values,
    /// How many keys there are.
    pub(crate) keys: u64,
    /// Number of the first key: other runs on the same deployment have others.
    pub(crate) first_key: u64,
    /// When time began; the clock of all calls and returns.
    pub(crate) began: Instant,
    /// When they go home.
    pub(crate) ends: Ends,
    /// Operations begun.
    pub(crate) begun: AtomicU64,
    /// What was done.
    pub(crate) book: Mutex<Book>,
}

/// When the workers go home.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// After so long.
    After(Duration),
    /// After so many operations.
    AfterOperations(u64),
}

/// The file and some counts.
pub(crate) struct Book {
    /// The history.
    pub(crate) writer: Writer,
    /// Operations that were answered.
    pub(crate) answered: u64,
    /// Writes whose outcome nobody knows.
    pub(crate) unknown: u64,
    /// Operations that were not executed and reads without answer.
    pub(crate) failed: u64,
    /// Failures that no disturbance explains.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<Error>,
}

impl Book {
    /// Nothing has been done yet.
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            writer,
            answered: 0,
            unknown: 0,
            failed: 0,
            errors: 0,
            first_error: None,
        }
    }

    fn add(&mut self, record: &Record, error: Option<Error>) {
        match record.outcome {
            Outcome::Failed => self.failed += 1,
            Outcome::Unknown => self.unknown += 1,
            Outcome::Exists { .. } | Outcome::Found { .. } | Outcome::Mismatch { .. } | Outcome::Missing | Outcome::Wrote { .. } => {
                self.answered += 1;
            }
        }
        if let Some(error) = error.filter(|error| !explained(error)) {
            self.errors += 1;
            self.first_error.get_or_insert(error);
        }
        self.writer.add(record);
    }
}

impl Crew {
    /// Opens the book.
    pub(crate) fn open(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to go home.
    pub(crate) fn is_over(&self) -> bool {
        match self.ends {
            Ends::After(duration) => self.began.elapsed() >= duration,
            Ends::AfterOperations(count) => self.begun.load(Ordering::Relaxed) >= count,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Asks and writes down; the outcome.
    async fn perform(&self, client: &Client, process: u64, number: u64, operation: Operation, ask: bool) -> Outcome {
        let call = self.now();
        let answer = self.ask(client, number, operation, ask).await;
        let returned = self.now();
        let (outcome, error) = match answer {
            Ok(outcome) => (outcome, None),
            Err(error) => (outcome_of_error(operation, &error), Some(error)),
        };
        let record = Record {
            process,
            key: number,
            operation,
            call,
            returned: (outcome != Outcome::Unknown).then_some(returned),
            outcome,
        };
        self.open()
            .add(&record, error.filter(|_| matches!(outcome, Outcome::Failed | Outcome::Unknown)));
        outcome
    }

    async fn ask(&self, client: &Client, number: u64, operation: Operation, ask: bool) -> Result<Outcome, Error> {
        let at = key(self.first_key + number);
        let bytes = |value| self.values.make(number, Attempt::of_number(value));
        match operation {
            Operation::Create { value } => {
                let request = client.set(at, bytes(value)).create_only();
                let written = request.timeout(OPERATION_TIMEOUT).await?;
                Ok(wrote(written.version, Old::NotAsked))
            }
            Operation::Delete => {
                let deleted = client.delete(at).return_old_value().timeout(OPERATION_TIMEOUT).await?;
                let old = Old::Was(self.number(number, deleted.old_value.as_deref()));
                Ok(deleted.version.map_or(Outcome::Missing, |version| wrote(version, old)))
            }
            Operation::Exchange { expected, value } => {
                let request = client.compare_exchange(at, bytes(expected), bytes(value)).return_old_value();
                let exchanged = request.timeout(OPERATION_TIMEOUT).await?;
                let old = self.number(number, exchanged.old_value.as_deref());
                Ok(exchanged
                    .version
                    .map_or(Outcome::Mismatch { old }, |version| wrote(version, Old::Was(old))))
            }
            Operation::Get => {
                let found = client.get(at).timeout(OPERATION_TIMEOUT).await?;
                Ok(found.map_or(Outcome::Missing, |found| Outcome::Found {
                    version: found.version.0,
                    value: self.number(number, Some(found.value.as_ref())).unwrap_or(FOREIGN),
                }))
            }
            Operation::Set { value } => {
                let request = client.set(at, bytes(value)).timeout(OPERATION_TIMEOUT);
                let request = if ask { request.return_old_value() } else { request };
                let written = request.await?;
                let old = match ask {
                    true => Old::Was(self.number(number, written.old_value.as_deref())),
                    false => Old::NotAsked,
                };
                Ok(wrote(written.version, old))
            }
        }
    }

    /// Which value this is; [`FOREIGN`] for bytes that nobody wrote to this key.
    fn number(&self, key: u64, value: Option<&[u8]>) -> Option<Value> {
        value.map(|value| self.values.read(key, value).map_or(FOREIGN, Attempt::number))
    }
}

fn wrote(version: margate_net::ids::Version, old: Old) -> Outcome {
    Outcome::Wrote { version: version.0, old }
}

fn outcome_of_error(operation: Operation, error: &Error) -> Outcome {
    match (operation, error) {
        (Operation::Create { .. }, Error::Refused(Refusal::AlreadyExists { version })) => Outcome::Exists { version: version.0 },
        (Operation::Get, _) => Outcome::Failed,
        (Operation::Create { .. } | Operation::Delete | Operation::Exchange { .. } | Operation::Set { .. }, error) => match effect(error) {
            Effect::None => Outcome::Failed,
            Effect::Unknown => Outcome::Unknown,
        },
    }
}

/// What one worker remembers.
struct Worker {
    process: u64,
    dice: StdRng,
    /// The last value it saw of each key.
    seen: Vec<Value>,
    written: usize,
}

/// One worker until it is time to go home. Processes count from 1, so that no value has the number 0.
pub(crate) async fn work(crew: &Crew, client: Client, process: usize) {
    let mut worker = Worker {
        process: process as u64,
        dice: StdRng::seed_from_u64(mix(crew.values.seed ^ process as u64)),
        seen: vec![FOREIGN; usize::try_from(crew.keys).unwrap_or(usize::MAX)],
        written: 0,
    };
    while !crew.is_over() {
        crew.begun.fetch_add(1, Ordering::Relaxed);
        let number = worker.dice.random_range(0..crew.keys);
        let operation = worker.operation(number);
        let ask = worker.dice.random_ratio(1, ASKS_ONE_IN);
        let outcome = crew.perform(&client, worker.process, number, operation, ask).await;
        worker.learn(number, operation, outcome);
        if matches!(outcome, Outcome::Failed | Outcome::Unknown) {
            sleep(PAUSE).await;
        }
    }
}

impl Worker {
    /// Of twenty: eight gets, four sets, four exchanges, two creates, two deletes.
    fn operation(&mut self, number: u64) -> Operation {
        let drawn = self.dice.random_range(0..20);
        let value = Attempt::new(usize::try_from(self.process).unwrap_or(usize::MAX), self.written).number();
        let operation = match drawn {
            0..8 => Operation::Get,
            8..12 => Operation::Set { value },
            12..16 => Operation::Exchange {
                expected: self.seen[usize::try_from(number).unwrap_or(0)],
                value,
            },
            16 | 17 => Operation::Create { value },
            _ => Operation::Delete,
        };
        self.written += usize::from(operation.value().is_some());
        operation
    }

    fn learn(&mut self, number: u64, operation: Operation, outcome: Outcome) {
        let stands = match outcome {
            Outcome::Found { value, .. } | Outcome::Mismatch { old: Some(value) } => Some(value),
            Outcome::Wrote { .. } => operation.value(),
            Outcome::Exists { .. } | Outcome::Failed | Outcome::Mismatch { old: None } | Outcome::Missing | Outcome::Unknown => None,
        };
        if let (Some(value), Some(seen)) = (stands, self.seen.get_mut(usize::try_from(number).unwrap_or(usize::MAX))) {
            *seen = value;
        }
    }
}

/// Reads every key once all have gone home: an acknowledged write that is lost must show.
///
/// # Errors
/// A key stays unreadable.
pub(crate) async fn read_all(crew: &Crew, client: &Client, process: u64) -> Result<(), PerfError> {
    for number in 0..crew.keys {
        let began = Instant::now();
        while crew.perform(client, process, number, Operation::Get, false).await == Outcome::Failed {
            if began.elapsed() > READABLE_WITHIN {
                return Err(PerfError::Unanswered {
                    number,
                    after: READABLE_WITHIN,
                });
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_client::UnknownCause;
    use margate_net::ids::Version;

    #[test]
    fn an_error_becomes_the_outcome_it_proves() {
        let (create, set) = (Operation::Create { value: 1 }, Operation::Set { value: 1 });
        let exists = Error::Refused(Refusal::AlreadyExists { version: Version(7) });
        let unknown = Error::OutcomeUnknown {
            cause: UnknownCause::ConnectionLost,
        };
        let late = Error::Timeout { after: Duration::ZERO };
        assert_eq!(outcome_of_error(create, &exists), Outcome::Exists { version: 7 });
        assert_eq!(outcome_of_error(set, &unknown), Outcome::Unknown);
        assert_eq!(outcome_of_error(Operation::Delete, &unknown), Outcome::Unknown);
        assert_eq!(outcome_of_error(set, &late), Outcome::Failed);
        assert_eq!(outcome_of_error(Operation::Get, &late), Outcome::Failed);
    }

    #[test]
    fn values_are_never_written_twice_and_what_was_seen_is_expected() {
        let mut worker = Worker {
            process: 1,
            dice: StdRng::seed_from_u64(1),
            seen: vec![FOREIGN; 2],
            written: 0,
        };
        worker.learn(1, Operation::Get, Outcome::Found { version: 1, value: 77 });
        let drawn: Vec<Operation> = (0..1000).map(|_| worker.operation(1)).collect();
        let mut values: Vec<Value> = drawn.iter().filter_map(Operation::value).collect();
        let count = values.len();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), count);
        assert!(!values.contains(&FOREIGN));
        let expected = drawn.iter().filter_map(|operation| match operation {
            Operation::Exchange { expected, .. } => Some(*expected),
            _ => None,
        });
        assert!(expected.clone().count() > 100 && expected.clone().all(|value| value == 77));
    }
}
