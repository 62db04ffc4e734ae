//! What is in the kernel's hands: operations, what they use, and who waits for them.
//!
//! An operation's memory and descriptor belong to its slot from the moment it is queued until the kernel has answered, whoever gives up
//! waiting for it meanwhile; so the kernel never touches memory that is somebody else's by then, and never another file.

use std::ffi::CString;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use slab::Slab;

use super::aligned::AlignedBuffer;
use super::{FINISH_WITHIN, Reactor};

/// Nobody waits for the end of what has this name.
const NOBODY: u64 = u64::MAX;
/// The name of watching the eventfd.
const WAKE: u64 = u64::MAX - 1;
/// Rounds that waits for sockets may be put off by while tasks are ready: to enter the kernel costs as much as to run a short task.
const PUT_OFF_MAX: u32 = 2;

/// An io_uring and what is under way in it.
pub(super) struct Ring {
    ring: IoUring,
    slots: Slab<Slot>,
    /// Whom the ends that were seen so far wake.
    woken: Vec<Waker>,
    watching: bool,
    /// What was queued is wanted in this round: it is done to a file.
    urgent: bool,
    /// Rounds in which what was queued could wait.
    put_off: u32,
    /// The eventfd was written.
    rung: bool,
}

/// One operation.
struct Slot {
    /// Kept open until the kernel has answered.
    _descriptor: Option<Rc<dyn AsFd>>,
    held: Held,
    state: State,
}

/// Memory that the kernel reads or writes.
#[derive(Default)]
pub(super) enum Held {
    #[default]
    Nothing,
    /// To be written to a file.
    Out(AlignedBuffer),
    /// To be read into.
    In(AlignedBuffer),
    /// The name of a file to be opened.
    Path(#[expect(dead_code, reason = "only the kernel reads it")] CString),
}

enum State {
    Waiting(Option<Waker>),
    Ended(i32),
    /// Whoever waited has given up.
    Abandoned,
}

/// Ends with what the kernel answered and the memory it used.
pub(super) struct Operation {
    reactor: Rc<Reactor>,
    /// Nothing once it has ended.
    key: Option<usize>,
}

impl Ring {
    pub(super) fn new(entries: u32) -> io::Result<Self> {
        let ring = build(entries)?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "io_uring is older than that of Linux 5.11; start a newer kernel",
            ));
        }
        Ok(Self {
            ring,
            slots: Slab::new(),
            woken: Vec::new(),
            watching: false,
            urgent: false,
            put_off: 0,
            rung: false,
        })
    }

    /// Has a write to this eventfd end a sleep.
    pub(super) fn watch(&mut self, eventfd: RawFd) {
        if !std::mem::replace(&mut self.watching, true) {
            self.push(&poll_entry(Fd(eventfd), libc::POLLIN).user_data(WAKE));
        }
    }

    /// Hands over what was queued. Sleeps until something ends if `wait` says so, and for how long at most.
    pub(super) fn enter(&mut self, wait: Option<Option<Duration>>) -> io::Result<()> {
        let wait = wait.filter(|_| self.woken.is_empty());
        let before = (std::mem::take(&mut self.urgent), self.put_off);
        self.put_off = 0;
        let entered = match wait {
            Some(Some(limit)) if !limit.is_zero() => {
                let limit = Timespec::from(limit);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
            Some(None) => self.ring.submit_and_wait(1),
            Some(Some(_)) | None => self.submit(before),
        };
        match entered {
            Err(error) if !is_passing(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Hands over what was queued, if there is a reason to enter the kernel in this round.
    fn submit(&mut self, (urgent, put_off): (bool, u32)) -> io::Result<usize> {
        let queue = self.ring.submission();
        let (queued, ended) = (!queue.is_empty(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        if urgent || ended || (queued && put_off >= PUT_OFF_MAX) {
            return self.ring.submit();
        }
        self.put_off = put_off + u32::from(queued);
        Ok(0)
    }

    /// Whom the operations that have ended wake; `rung` is called if another thread rang.
    pub(super) fn reap(&mut self, rung: impl FnOnce()) -> Vec<Waker> {
        self.collect();
        if std::mem::take(&mut self.rung) {
            rung();
        }
        std::mem::take(&mut self.woken)
    }

    /// Waits until nothing is under way; the tasks are gone.
    pub(super) fn finish(&mut self) {
        let limit = Instant::now() + FINISH_WITHIN;
        let sockets = self.slots.iter().filter(|(_, slot)| slot.is_cancelled_when_given_up());
        let sockets: Vec<usize> = sockets.map(|(key, _)| key).collect();
        sockets.into_iter().for_each(|key| self.cancel(key));
        while self.slots.iter().any(|(_, slot)| !matches!(slot.state, State::Ended(_))) {
            // Nobody is left to be woken, and the wait below is for nobody but the kernel.
            drop(std::mem::take(&mut self.woken));
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() || self.enter(Some(Some(left))).is_err() {
                // The kernel may still write there, so nobody else may ever have that memory.
                std::mem::forget(std::mem::take(&mut self.slots));
                return;
            }
            self.collect();
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the slot of the entry's name holds all memory that it points to until the kernel has answered; `finish`, which the
        // executor's drop calls, waits for that or leaks what is left.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            // Full; what is in it is handed over.
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if is_passing(&error) => self.collect(),
                Err(error) => panic!("io_uring takes nothing any more: {error}"),
            }
        }
    }

    fn start(&mut self, descriptor: Option<Rc<dyn AsFd>>, held: Held, entry: squeue::Entry) -> usize {
        self.urgent |= !matches!(held, Held::Nothing);
        let key = self.slots.insert(Slot {
            _descriptor: descriptor,
            held,
            state: State::Waiting(None),
        });
        self.push(&entry.user_data(key as u64));
        key
    }

    fn cancel(&mut self, key: usize) {
        self.push(&opcode::AsyncCancel::new(key as u64).build().user_data(NOBODY));
    }

    fn collect(&mut self) {
        for end in self.ring.completion() {
            match end.user_data() {
                NOBODY => {}
                WAKE => (self.watching, self.rung) = (false, true),
                name => {
                    let key = usize::try_from(name).expect("an operation is named by its slot");
                    let slot = self.slots.get_mut(key).expect("an operation has its slot until it ends");
                    match std::mem::replace(&mut slot.state, State::Ended(end.result())) {
                        State::Waiting(waker) => self.woken.extend(waker),
                        State::Abandoned => self.slots.remove(key).dispose(end.result()),
                        State::Ended(_) => unreachable!("an operation ends once"),
                    }
                }
            }
        }
    }

    /// What became of it; otherwise whom its end would have woken before, to be dropped when nothing is borrowed.
    fn poll(&mut self, key: usize, cx: &Context<'_>) -> Result<(i32, Held), Option<Waker>> {
        let slot = self.slots.get_mut(key).expect("an operation that is waited for has its slot");
        match &mut slot.state {
            State::Ended(result) => {
                let result = *result;
                Ok((result, self.slots.remove(key).held))
            }
            State::Waiting(Some(waker)) if waker.will_wake(cx.waker()) => Err(None),
            State::Waiting(waker) => Err(waker.replace(cx.waker().clone())),
            State::Abandoned => unreachable!("nobody waits for what was given up"),
        }
    }

    /// Nobody waits for it any more. What waits for a socket is taken back; what is done to a file ends by itself. Gives back whom its
    /// end would have woken, to be dropped when nothing is borrowed.
    fn abandon(&mut self, key: usize) -> Option<Waker> {
        let slot = self.slots.get_mut(key)?;
        match std::mem::replace(&mut slot.state, State::Abandoned) {
            State::Ended(result) => {
                self.slots.remove(key).dispose(result);
                None
            }
            State::Waiting(waker) => {
                if slot.is_cancelled_when_given_up() {
                    self.cancel(key);
                }
                waker
            }
            State::Abandoned => None,
        }
    }
}

impl Slot {
    /// A wait for a socket is; what is done to a file ends by itself.
    fn is_cancelled_when_given_up(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }

    /// The end of what nobody waits for.
    fn dispose(self, result: i32) {
        if matches!(self.held, Held::Path(_)) && result >= 0 {
            // SAFETY: the kernel has just opened it for this operation, and nobody was told of it.
            drop(unsafe { OwnedFd::from_raw_fd(result) });
        }
    }
}

impl Operation {
    /// Waits until a descriptor has one of these `poll(2)` events; ends with those it has.
    pub(super) fn poll(reactor: &Rc<Reactor>, descriptor: Rc<dyn AsFd>, events: i16) -> Self {
        let entry = poll_entry(raw(&descriptor), events);
        Self::start(reactor, Some(descriptor), Held::Nothing, entry)
    }

    /// Opens a file for direct I/O; ends with its descriptor.
    pub(super) fn open(reactor: &Rc<Reactor>, path: CString, flags: i32) -> Self {
        let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr()).flags(flags).build();
        Self::start(reactor, None, Held::Path(path), entry)
    }

    /// Reads up to so many bytes into a buffer with room for them; ends with how many came.
    pub(super) fn read(reactor: &Rc<Reactor>, descriptor: Rc<dyn AsFd>, into: (AlignedBuffer, usize), offset: u64) -> Self {
        let (mut buffer, length) = into;
        let (start, length) = (buffer.start(), length_of(length.min(buffer.capacity())));
        let entry = opcode::Read::new(raw(&descriptor), start, length).offset(offset).build();
        Self::start(reactor, Some(descriptor), Held::In(buffer), entry)
    }

    /// Writes all bytes of a buffer; ends with how many were written.
    pub(super) fn write(reactor: &Rc<Reactor>, descriptor: Rc<dyn AsFd>, mut buffer: AlignedBuffer, offset: u64) -> Self {
        let (start, length) = (buffer.start(), length_of(buffer.len()));
        let entry = opcode::Write::new(raw(&descriptor), start, length).offset(offset).build();
        Self::start(reactor, Some(descriptor), Held::Out(buffer), entry)
    }

    fn start(reactor: &Rc<Reactor>, descriptor: Option<Rc<dyn AsFd>>, held: Held, entry: squeue::Entry) -> Self {
        let key = reactor.ring.borrow_mut().start(descriptor, held, entry);
        Self {
            reactor: Rc::clone(reactor),
            key: Some(key),
        }
    }
}

impl Future for Operation {
    type Output = (io::Result<usize>, Held);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let key = self.key.expect("an operation ends once");
        let polled = self.reactor.ring.borrow_mut().poll(key, cx);
        match polled {
            Ok((result, mut held)) => {
                self.key = None;
                let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
                if let (Held::In(buffer), Ok(read)) = (&mut held, &result) {
                    // SAFETY: the kernel has written so many bytes from its start, and was given its capacity.
                    unsafe { buffer.set_filled(*read) };
                }
                Poll::Ready((result, held))
            }
            Err(before) => {
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.reactor.ring.borrow_mut().abandon(key);
            drop(waker);
        }
    }
}

/// With what spares interrupts of the thread, where the kernel has it: completions are then worked off when the ring is entered (Linux 6.1),
/// or when the thread is in the kernel anyhow (5.19).
fn build(entries: u32) -> io::Result<IoUring> {
    let mut deferred = IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    let mut cooperative = IoUring::builder();
    cooperative.setup_coop_taskrun().setup_taskrun_flag();
    let flavours = [deferred, cooperative, IoUring::builder()];
    let mut built = Err(io::ErrorKind::Unsupported.into());
    for mut flavour in flavours {
        built = flavour.dontfork().setup_cqsize(4 * entries).build(entries);
        // Only what the kernel does not know is tried otherwise.
        if !built
            .as_ref()
            .is_err_and(|error: &io::Error| error.raw_os_error() == Some(libc::EINVAL))
        {
            break;
        }
    }
    built
}

/// Whether it goes away: a time that is over, a signal, a kernel short of memory or of room for answers, which are then taken.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

fn poll_entry(descriptor: Fd, events: i16) -> squeue::Entry {
    opcode::PollAdd::new(descriptor, u32::from(events.unsigned_abs())).build()
}

fn raw(descriptor: &Rc<dyn AsFd>) -> Fd {
    Fd(descriptor.as_fd().as_raw_fd())
}

/// Bytes of one operation, of which the kernel does at most 2 GiB.
fn length_of(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
