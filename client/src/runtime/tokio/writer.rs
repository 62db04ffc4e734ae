//! The batch writer: many writes at a time, without a task, a future or a timer for each.
//!
//! ```no_run
//! use margate_client::{BatchWriterConfig, Client, ClientConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientConfig::default()).await?;
//! let writer = client.batch_writer(BatchWriterConfig::default());
//! for number in 0..1_000_000 {
//!     drop(writer.set(format!("row/{number:07}"), "value").await?);
//! }
//! let summary = writer.flush().await;
//! println!("{} written, {} failed, {} unknown", summary.acknowledged, summary.failed, summary.unknown);
//! # Ok(())
//! # }
//! ```
//!
//! One write's way: [`BatchWriter::set`] takes room, puts the write into the writer's `Schedule` and rings
//! for the pump, its one task. The pump sends what is ready, many at once, to the links that the client has
//! in any case (`Link::submit_all`), whose drivers fill frames with it. Ends come back by the hundred
//! (`Mailbox`), the pump gives them to the schedule, and that gives out results, room, and what to send next.
//!
//! Not here, on purpose: what may be sent when (`schedule.rs`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use margate_net::error::Refusal;
use tokio::task::AbortHandle;

use crate::api::{Deleted, MISANSWERED_WRITE, WriteSummary, Written, check_change};
use crate::batch::Change;
use crate::config::BatchWriterConfig;
use crate::error::{Error, NotTaken};
use crate::schedule::{FlushTicket, LinePlace, ReceiptName, WriteResult};

use super::Client;
use yard::Yard;

mod pump;
mod yard;

/// Writes many values fast. Made by [`Client::batch_writer`].
///
/// - **Back-pressure**: `set` and `delete` wait while as much is under way as [`BatchWriterConfig`] allows,
///   and for nothing else.
/// - **One result for each write**: await its [`Receipt`], or drop it and ask [`BatchWriter::flush`] for all.
/// - **Order**: writes of one key that this writer was handed take effect in that order, also across
///   refusals, new tries and changes of leaders or the map. Writes of two keys may take effect in any order,
///   and so may those of two writers, or of a writer and the client's other calls. After a write of unknown
///   outcome those of its key that had been handed over by then fail as [`Error::OutOfOrder`], since it may yet
///   take effect; for the same reason, read the key before you write it again.
/// - **Never twice**: a write that may have been executed is not sent again, it is [`Error::OutcomeUnknown`].
/// - **Dropped**, it waits for nothing: what was never sent is not executed ([`Error::Abandoned`]), of what was
///   sent the outcome is unknown. Receipts say which, and [`BatchWriter::abandon`] counts them. So flush first.
///
/// Share it by reference or in an [`Arc`]; all calls take `&self`. Writes of one key by several tasks at once
/// are in the order in which their calls were first polled.
pub struct BatchWriter {
    client: Client,
    yard: Arc<Yard>,
    pump: AbortHandle,
}

impl BatchWriter {
    pub(super) fn new(client: Client, config: &BatchWriterConfig) -> Self {
        let yard = Arc::new(Yard::new(config));
        let running = pump::run(client.clone(), Arc::clone(&yard));
        let pump = client.shared.dialer.runtime.spawn(running).abort_handle();
        Self { client, yard, pump }
    }

    /// Hands over a value to write, once there is room.
    ///
    /// Dropped before it is done, it hands nothing over.
    ///
    /// # Errors
    /// [`Error::Refused`] if key or value are too long, [`Error::Closed`] if the client is.
    pub fn set(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> HandOver<'_, Written> {
        HandOver::new(self, set(key.into(), value.into()), written)
    }

    /// Hands over a key to delete, once there is room. A missing key is a success without a version.
    ///
    /// # Errors
    /// As [`BatchWriter::set`].
    pub fn delete(&self, key: impl Into<Bytes>) -> HandOver<'_, Deleted> {
        HandOver::new(self, delete(key.into()), deleted)
    }

    /// Hands over a value to write, if there is room and nobody waits for some.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing was handed over.
    pub fn try_set(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Receipt<Written>, NotTaken> {
        self.try_hand_over(set(key.into(), value.into()), written)
    }

    /// Hands over a key to delete, if there is room and nobody waits for some.
    ///
    /// # Errors
    /// [`NotTaken`]; nothing was handed over.
    pub fn try_delete(&self, key: impl Into<Bytes>) -> Result<Receipt<Deleted>, NotTaken> {
        self.try_hand_over(delete(key.into()), deleted)
    }

    /// Waits until everything has ended that was handed over before, and says how. Nothing needs a flush to be
    /// sent, and what is handed over meanwhile is not waited for.
    ///
    /// Each write is counted in one summary: of flushes at the same time the first to return tells.
    pub fn flush(&self) -> Flush<'_> {
        Flush {
            writer: self,
            ticket: None,
        }
    }

    /// Drops the writer, which waits for nothing, and says what it leaves: of the writes that no flush has told
    /// of, those that were acknowledged, those that failed or were never sent, and those of unknown outcome.
    /// A write that was just being put into a frame is counted and not named.
    #[must_use]
    pub fn abandon(self) -> WriteSummary {
        self.yard.abandon(&self.client)
    }

    fn try_hand_over<A>(&self, change: Change, answer: Answer<A>) -> Result<Receipt<A>, NotTaken> {
        check_change(&change).map_err(|refusal| NotTaken::Refused(Error::Refused(refusal)))?;
        if self.client.shared.is_closed() {
            return Err(NotTaken::Refused(Error::Closed));
        }
        let name = self.yard.try_hand_over(change)?;
        Ok(self.receipt(name, answer))
    }

    fn receipt<A>(&self, name: ReceiptName, answer: Answer<A>) -> Receipt<A> {
        Receipt {
            yard: Arc::clone(&self.yard),
            name: Some(name),
            answer,
        }
    }
}

impl Drop for BatchWriter {
    fn drop(&mut self) {
        // What it says was asked for by `abandon`, or by nobody.
        let _left = self.yard.abandon(&self.client);
        self.pump.abort();
    }
}

/// A write on its way into a batch writer; await it to hand the write over.
#[must_use = "a write is handed over when this is awaited"]
pub struct HandOver<'a, A> {
    writer: &'a BatchWriter,
    write: Result<Option<Change>, Refusal>,
    place: Option<LinePlace>,
    answer: Answer<A>,
}

impl<'a, A> HandOver<'a, A> {
    fn new(writer: &'a BatchWriter, change: Change, answer: Answer<A>) -> Self {
        Self {
            writer,
            write: check_change(&change).map(|()| Some(change)),
            place: None,
            answer,
        }
    }
}

impl<A> Future for HandOver<'_, A> {
    type Output = Result<Receipt<A>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            writer,
            write,
            place,
            answer,
        } = &mut *self;
        let write = write.as_mut().map_err(|refusal| Error::Refused(*refusal))?;
        if writer.client.shared.is_closed() {
            return Poll::Ready(Err(Error::Closed));
        }
        let name = writer.yard.poll_hand_over(write, place, cx);
        name.map_ok(|name| writer.receipt(name, *answer))
    }
}

impl<A> Drop for HandOver<'_, A> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.writer.yard.leave_line(place);
        }
    }
}

/// The result of one write, to be awaited or dropped. Dropping it changes nothing about the write.
///
/// It may outlive its writer. While it is kept, so is its result.
#[must_use = "drop it if the result of this write is not wanted by itself"]
pub struct Receipt<A> {
    yard: Arc<Yard>,
    name: Option<ReceiptName>,
    answer: Answer<A>,
}

impl<A> Future for Receipt<A> {
    type Output = Result<A, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(name) = self.name else {
            return Poll::Pending;
        };
        let Some(result) = self.yard.take_result(name, cx.waker()) else {
            return Poll::Pending;
        };
        self.name = None;
        Poll::Ready((self.answer)(result))
    }
}

impl<A> Drop for Receipt<A> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.yard.give_up(name);
        }
    }
}

/// Waits for everything that was handed over before this was first polled. Made by [`BatchWriter::flush`].
#[must_use = "futures do nothing unless polled"]
pub struct Flush<'a> {
    writer: &'a BatchWriter,
    ticket: Option<FlushTicket>,
}

impl Future for Flush<'_> {
    type Output = WriteSummary;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WriteSummary> {
        let Self { writer, ticket } = &mut *self;
        writer.yard.poll_flush(ticket, cx)
    }
}

impl Drop for Flush<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.writer.yard.forget_flush(ticket);
        }
    }
}

/// Puts a result into the type its caller wants.
type Answer<A> = fn(WriteResult) -> Result<A, Error>;

fn written(result: WriteResult) -> Result<Written, Error> {
    let version = result.map_err(|error| *error)?.ok_or(MISANSWERED_WRITE)?;
    Ok(Written {
        version,
        key: None,
        old_value: None,
    })
}

fn deleted(result: WriteResult) -> Result<Deleted, Error> {
    Ok(Deleted {
        version: result.map_err(|error| *error)?,
        key: None,
        old_value: None,
    })
}

fn set(key: Bytes, value: Bytes) -> Change {
    let value = Some(value);
    Change { key, value }
}

fn delete(key: Bytes) -> Change {
    Change { key, value: None }
}
