//! The driver of one link: dials when there is work, then writes what is queued and reads what comes,
//! until the connection breaks. One task per core the client talks to, and no other.
//!
//! Coalescing needs no timer: each time the socket can take more, everything queued by then goes into
//! the next frames.
//!
//! Not here, on purpose: whether anything is tried again (`retry.rs`).

use std::sync::Arc;

use margate_net::codec::{FrameWriter, decode_replies};
use margate_net::frame::{FrameError, FrameKind, Stage};
use margate_net::handshake::Role;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::RuntimeFlavor;
use tokio::task::AbortHandle;

use crate::error::LinkFault;
use crate::moment::Moment;
use crate::retry::backoff_span;

use super::dial::{Conversation, Incoming, Reach, io_fault};
use super::link::{Link, SILENCE_MAX};

/// Starts the driver of a link.
pub(super) fn start(link: Arc<Link>) -> AbortHandle {
    let runtime = link.dialer.runtime.clone();
    runtime.spawn(drive(link)).abort_handle()
}

/// A driver's task. However it ends, also before it ran at all, nobody waits for it afterwards.
fn drive(link: Arc<Link>) -> impl Future<Output = ()> + Send {
    let parting = Parting(link);
    async move {
        let Parting(link) = &parting;
        tokio::select! {
            biased;
            () = serve(link) => {}
            () = retire(link) => {}
        }
    }
}

struct Parting(Arc<Link>);

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.retire();
        self.0.disconnected(LinkFault::Stopped);
    }
}

/// Returns once the link is retired and its last operation has ended.
async fn retire(link: &Link) {
    link.retired.notified().await;
    link.drained().await;
}

/// One connection after the other. Never returns.
async fn serve(link: &Link) {
    let mut failures = 0;
    loop {
        tokio::select! {
            () = wait_for_work(link) => {}
            _silent = sweep(link) => {}
        }
        let dialled = tokio::select! {
            dialled = dial(link) => dialled,
            fault = sweep(link) => Err(fault),
        };
        match dialled {
            Ok(conversation) => {
                failures = 0;
                link.connected();
                link.disconnected(converse(link, conversation).await);
            }
            Err(fault) => {
                failures += 1;
                let pause = backoff_span(failures, link.dialer.dice.roll());
                link.unreachable(fault, link.dialer.clock.now().plus(pause));
            }
        }
    }
}

async fn dial(link: &Link) -> Result<Conversation, LinkFault> {
    let place = link.place;
    link.dialer
        .dial(place.address, Role::Client, Reach::Core(place.node, place.core))
        .await
}

/// Talks until the connection breaks, and says why it did.
async fn converse(link: &Link, conversation: Conversation) -> LinkFault {
    let Conversation { mut stream, mut incoming } = conversation;
    let (mut source, mut sink) = stream.split();
    // Answers first: they free room and wake callers, whose next operations then share the next frame.
    tokio::select! {
        biased;
        fault = read(link, &mut source, &mut incoming) => fault,
        fault = write(link, &mut sink) => fault,
        fault = sweep(link) => fault,
    }
}

async fn read(link: &Link, source: &mut (impl AsyncRead + Unpin), incoming: &mut Incoming) -> LinkFault {
    let mut wakers = Vec::new();
    loop {
        loop {
            let replies = match incoming.take(Stage::Established) {
                Ok(None) => break,
                Ok(Some(frame)) if frame.kind == FrameKind::Reply => decode_replies(&frame).map_err(LinkFault::from),
                Ok(Some(frame)) => Err(unexpected(frame.kind)),
                Err(fault) => Err(fault),
            };
            if let Err(fault) = replies.and_then(|replies| link.complete(replies, &mut wakers)) {
                return fault;
            }
        }
        if let Err(fault) = incoming.read(source, Stage::Established).await {
            return fault;
        }
    }
}

fn unexpected(found: FrameKind) -> LinkFault {
    let expected = FrameKind::Reply;
    LinkFault::Frame(FrameError::UnexpectedKind { found, expected })
}

async fn write(link: &Link, sink: &mut (impl AsyncWrite + Unpin)) -> LinkFault {
    let (mut writer, mut requests, mut out) = (FrameWriter::new(), Vec::new(), Vec::new());
    // A multi-threaded runtime runs this task right after the first operation that rings for it, before
    // the others that are ready. Giving them their turn first fills frames: measured, 1.4 operations a
    // frame became 40. A lone operation is not kept waiting.
    let wakes_jump_queues = link.dialer.runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    loop {
        wait_for_work(link).await;
        if wakes_jump_queues && link.is_busy() {
            tokio::task::yield_now().await;
        }
        out.clear();
        while out.len() < WRITE_BYTES {
            link.take_frame(&mut requests);
            if requests.is_empty() {
                break;
            }
            writer.requests(&mut out, &requests);
            link.give_back(&mut requests);
        }
        if let Err(error) = sink.write_all(&out).await {
            return io_fault(error);
        }
        // Batch writers' operations and others take turns.
        if let Some(mut run) = link.take_run() {
            run.write(&mut writer);
            let frame = link.give_run_back(run);
            if let Err(error) = sink.write_all(&frame).await {
                return io_fault(error);
            }
        }
        // One large frame must not hold its memory for ever.
        out.truncate(0);
        out.shrink_to(WRITE_BYTES_KEPT);
    }
}

async fn wait_for_work(link: &Link) {
    while !link.has_work() {
        link.work.notified().await;
    }
}

/// Ends operations as their time runs out: one timer per connection, set to the earliest of them.
/// Returns when the peer has been silent for too long.
async fn sweep(link: &Link) -> LinkFault {
    loop {
        let swept = link.sweep();
        if swept.silence >= SILENCE_MAX {
            return LinkFault::Silence(swept.silence);
        }
        if swept.next == Moment::NEVER {
            link.rearm.notified().await;
            continue;
        }
        let now = link.dialer.clock.now();
        let next = swept.next.max(now.plus(SWEEP_PAUSE));
        tokio::select! {
            () = tokio::time::sleep_until(link.dialer.clock.instant(next)) => {}
            () = link.rearm.notified() => {}
        }
    }
}

/// Enough in one write; what is queued beyond goes with the next.
const WRITE_BYTES: usize = 256 << 10;
/// The write buffer's memory between writes.
const WRITE_BYTES_KEPT: usize = 1 << 20;
/// Sweeps walk the window, so they keep this apart; deadlines are met this closely.
const SWEEP_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);
