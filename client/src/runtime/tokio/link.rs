//! One core as operations see it: a window to put them into, room in it, and whether it can be reached.
//!
//! Callers and the driver task share a link; its lock is held for a few memory accesses, never across a
//! wait. The driver is started by the first operation.
//!
//! Not here, on purpose: sockets (`driver.rs`); many operations at once (`link/writers.rs`).

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use margate_net::message::{Reply, Request};
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;

use crate::batch::{Completion, Ended, Submission, Swept, Ticket, Window};
use crate::error::{LinkFault, Obstacle};
use crate::moment::Moment;
use crate::retry::Failure;
use crate::route::Place;

use super::dial::Dialer;
use super::driver;
pub(super) use writers::{Mailbox, Parcel};

mod writers;

/// See the module's text.
pub(super) struct Link {
    pub(super) place: Place,
    pub(super) dialer: Arc<Dialer>,
    desk: Mutex<Desk>,
    room: Semaphore,
    room_max: u32,
    reachable: AtomicBool,
    driver: OnceLock<AbortHandle>,
    /// Operations were queued while the writer waited for some.
    pub(super) work: Notify,
    /// An operation came that ends before the sweeper is back.
    pub(super) rearm: Notify,
    /// The link takes no more operations.
    pub(super) retired: Notify,
    /// A retired link's last operation has ended.
    emptied: Notify,
}

struct Desk {
    window: Window,
    /// The batch writers that have used the link, each in the place of its outbox in the window.
    mailboxes: Vec<Option<Arc<Mailbox>>>,
    standing: Standing,
    /// Why the last dial failed, if it did.
    fault: Option<LinkFault>,
    writer_waits: bool,
    sweeper_back: Moment,
}

/// Whether the link takes operations.
#[derive(Clone, Copy)]
enum Standing {
    /// It does; a connection is there or will be made.
    Open,
    /// The last dial failed; until this moment nobody dials again.
    Down { until: Moment },
    /// The client was closed, or the map has no such core any more.
    Retired,
}

impl Link {
    pub(super) fn new(place: Place, dialer: Arc<Dialer>, in_flight_max: usize) -> Self {
        let room_max = u32::try_from(in_flight_max).unwrap_or(u32::MAX);
        Self {
            place,
            dialer,
            desk: Mutex::new(Desk {
                window: Window::new(),
                mailboxes: Vec::new(),
                standing: Standing::Open,
                fault: None,
                writer_waits: false,
                sweeper_back: Moment::NEVER,
            }),
            room: Semaphore::new(in_flight_max),
            room_max,
            reachable: AtomicBool::new(true),
            driver: OnceLock::new(),
            work: Notify::new(),
            rearm: Notify::new(),
            retired: Notify::new(),
            emptied: Notify::new(),
        }
    }

    /// Whether the last attempt to reach the core went well, or none was made.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Takes room for one operation if there is some. Its end gives it back.
    pub(super) fn try_take_room(&self) -> bool {
        self.room.try_acquire().map(|permit| permit.forget()).is_ok()
    }

    /// Waits for room for one operation, in turn.
    pub(super) async fn take_room(&self) {
        if let Ok(permit) = self.room.acquire().await {
            permit.forget();
        }
    }

    /// Waits until no operation is open. Only a retired link ever says so.
    pub(super) async fn drained(&self) {
        // The permits come back when this returns: whoever waits for them learns that the link is retired.
        let _all = self.room.acquire_many(self.room_max).await;
        loop {
            let mut emptied = pin!(self.emptied.notified());
            // From here on it hears of it, so what is seen now cannot be missed.
            emptied.as_mut().enable();
            if self.desk().window.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Takes no more operations; those that are open go on.
    pub(super) fn retire(&self) {
        self.desk().standing = Standing::Retired;
        self.retired.notify_one();
    }

    /// Ends the driver, and with it the connection.
    pub(super) fn stop(&self) {
        self.retire();
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
    }

    /// The connection stands.
    pub(super) fn connected(&self) {
        self.reachable.store(true, Ordering::Relaxed);
        self.desk().fault = None;
    }

    /// No connection could be made: everything queued goes back, and until the moment named what comes too.
    pub(super) fn unreachable(&self, fault: LinkFault, until: Moment) {
        self.reachable.store(false, Ordering::Relaxed);
        let mut desk = self.desk();
        if matches!(desk.standing, Standing::Open | Standing::Down { .. }) {
            desk.standing = Standing::Down { until };
        }
        desk.fault = Some(fault);
        self.lose(desk, fault);
    }

    /// The connection is gone.
    pub(super) fn disconnected(&self, fault: LinkFault) {
        self.lose(self.desk(), fault);
    }

    fn lose(&self, mut desk: MutexGuard<'_, Desk>, fault: LinkFault) {
        let queued = Obstacle::Link {
            address: self.place.address,
            fault,
        };
        let mut wakers = Vec::new();
        desk.window.lose(Failure::Lost(fault), queued, &mut wakers);
        self.settle(desk);
        wake(&mut wakers);
    }

    /// Whether operations wait to be sent. If not, the next one rings `work`.
    pub(super) fn has_work(&self) -> bool {
        let mut desk = self.desk();
        desk.writer_waits = !desk.window.has_queued();
        !desk.writer_waits
    }

    /// Whether more than one operation is open.
    pub(super) fn is_busy(&self) -> bool {
        self.desk().window.open() > 1
    }

    /// See [`Window::take_frame`].
    pub(super) fn take_frame(&self, requests: &mut Vec<Request>) {
        let now = self.dialer.clock.now();
        self.desk().window.take_frame(now, requests);
    }

    /// See [`Window::give_back`].
    pub(super) fn give_back(&self, requests: &mut Vec<Request>) {
        self.desk().window.give_back(requests);
    }

    /// Takes in the answers of one frame and wakes whoever waits for them.
    ///
    /// # Errors
    /// [`LinkFault::AnswerToNothing`] if one answers what was never asked.
    pub(super) fn complete(&self, replies: Vec<Reply>, wakers: &mut Vec<Waker>) -> Result<(), LinkFault> {
        let now = self.dialer.clock.now();
        let mut replies = replies.into_iter();
        let mut result = Ok(());
        while result.is_ok() && !replies.as_slice().is_empty() {
            let mut desk = self.desk();
            desk.window
                .warm(replies.as_slice().iter().take(REPLIES_PER_LOCK).map(|reply| reply.id));
            for Reply { id, outcome } in replies.by_ref().take(REPLIES_PER_LOCK) {
                if desk.window.complete(id, outcome, wakers) == Completion::Impossible {
                    result = Err(LinkFault::AnswerToNothing { id });
                    break;
                }
            }
            desk.window.heard(now);
            self.settle(desk);
            wake(wakers);
        }
        result
    }

    /// Ends what is over. The sweeper promises to be back at `next` of what this returns.
    pub(super) fn sweep(&self) -> Swept {
        let now = self.dialer.clock.now();
        let mut wakers = Vec::new();
        let mut desk = self.desk();
        let queued = self.why_unsent(&desk);
        let swept = desk.window.sweep(now, queued, &mut wakers);
        desk.sweeper_back = swept.next;
        self.settle(desk);
        wake(&mut wakers);
        swept
    }

    /// Puts an operation into the window; its room was taken before.
    /// If it cannot be, the room is given back.
    fn submit(self: &Arc<Self>, submission: Submission, waker: &Waker) -> Submitted {
        let mut desk = self.desk();
        if !desk.takes_operations(|| self.dialer.clock.now()) {
            let outcome = Err(Failure::NotSent(self.why_unsent(&desk)));
            drop(desk);
            self.room.add_permits(1);
            let operation = submission.operation;
            return Submitted::Back(Ended { outcome, operation });
        }
        let ticket = desk.window.insert(submission, waker.clone());
        self.rouse(desk);
        Submitted::In(ticket)
    }

    /// Tells the driver of what was put into the window under this lock.
    fn rouse(self: &Arc<Self>, mut desk: MutexGuard<'_, Desk>) {
        let earlier = desk.window.earliest() < desk.sweeper_back;
        if earlier {
            desk.sweeper_back = desk.window.earliest();
        }
        let writer_waits = std::mem::take(&mut desk.writer_waits);
        drop(desk);
        if writer_waits {
            self.work.notify_one();
        }
        if earlier {
            self.rearm.notify_one();
        }
        self.driver.get_or_init(|| driver::start(Arc::clone(self)));
    }

    /// What keeps operations from being sent: the last dial's fault, or only the queue.
    fn why_unsent(&self, desk: &Desk) -> Obstacle {
        let address = self.place.address;
        match (desk.standing, desk.fault) {
            (Standing::Retired, _) => Obstacle::Link {
                address,
                fault: LinkFault::Stopped,
            },
            (Standing::Open | Standing::Down { .. }, Some(fault)) => Obstacle::Link { address, fault },
            (Standing::Open | Standing::Down { .. }, None) => Obstacle::Unsent { address },
        }
    }

    fn take(&self, ticket: Ticket, waker: &Waker) -> Option<Ended> {
        self.desk().window.take(ticket, waker)
    }

    fn abandon(&self, ticket: Ticket) {
        let mut desk = self.desk();
        desk.window.abandon(ticket);
        self.settle(desk);
    }

    /// Gives back the room of operations that ended under this lock, and posts what batch writers wait for.
    fn settle(&self, mut desk: MutexGuard<'_, Desk>) {
        let released = desk.window.take_released();
        desk.post(self.place);
        let emptied = desk.window.open() == 0 && matches!(desk.standing, Standing::Retired);
        drop(desk);
        if released > 0 {
            self.room.add_permits(released);
        }
        if emptied {
            self.emptied.notify_waiters();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing under this lock panics half-way but a broken invariant, and that caller has its panic.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    fn takes_operations(&mut self, now: impl FnOnce() -> Moment) -> bool {
        match self.standing {
            Standing::Open => true,
            Standing::Down { until } => {
                let over = until <= now();
                if over {
                    self.standing = Standing::Open;
                }
                over
            }
            Standing::Retired => false,
        }
    }
}

/// What became of a submission.
enum Submitted {
    /// Something stands in its way.
    Back(Ended),
    /// It is in the window.
    In(Ticket),
}

/// One attempt on its way. Dropped, it leaves the operation to its fate.
pub(super) struct Exchange {
    pub(super) link: Arc<Link>,
    stage: ExchangeStage,
}

enum ExchangeStage {
    Over,
    Ready(Submission),
    Waiting(Ticket),
}

impl Exchange {
    /// An attempt that has taken its room.
    pub(super) fn new(link: Arc<Link>, submission: Submission) -> Self {
        Self {
            link,
            stage: ExchangeStage::Ready(submission),
        }
    }
}

impl Future for Exchange {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match std::mem::replace(&mut self.stage, ExchangeStage::Over) {
            ExchangeStage::Ready(submission) => match self.link.submit(submission, cx.waker()) {
                Submitted::Back(ended) => Poll::Ready(ended),
                Submitted::In(ticket) => {
                    self.stage = ExchangeStage::Waiting(ticket);
                    Poll::Pending
                }
            },
            ExchangeStage::Waiting(ticket) => match self.link.take(ticket, cx.waker()) {
                Some(ended) => Poll::Ready(ended),
                None => {
                    self.stage = ExchangeStage::Waiting(ticket);
                    Poll::Pending
                }
            },
            ExchangeStage::Over => Poll::Pending,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        match self.stage {
            ExchangeStage::Over => {}
            ExchangeStage::Ready(_) => self.link.room.add_permits(1),
            ExchangeStage::Waiting(ticket) => self.link.abandon(ticket),
        }
    }
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        waker.wake();
    }
}

/// Answers taken in under one lock: callers on other threads wait a few microseconds at most.
const REPLIES_PER_LOCK: usize = 128;
/// Operations wait for answers and nothing at all has come for this long: the connection is dead.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
