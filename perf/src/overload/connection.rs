//! A connection to one core as bare as it can be: operations go out as they come, answers go to whoever asked.
//!
//! Not here, on purpose: trying anything again. A connection that has ended stays ended, and says so at once.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use margate_net::codec::{FrameWriter, decode_replies, request_payload_bytes};
use margate_net::error::Refusal;
use margate_net::frame::{Stage, take_frame};
use margate_net::limits::{OPERATIONS_PER_FRAME_MAX, PAYLOAD_BYTES_MAX};
use margate_net::message::{Reply, Request, Success};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::greeting::{client_hello, welcome};

/// Operations that may wait to be written, beyond which their callers wait: more than ever come at once.
const QUEUED_MAX: usize = 16_384;
/// Operations taken from the queue for one write.
const WRITTEN_MAX: usize = OPERATIONS_PER_FRAME_MAX;

/// What a core answered.
type Outcome = Result<Success, Refusal>;

/// See the module's text.
pub(crate) struct Connection {
    queue: mpsc::Sender<Request>,
    open: Arc<Open>,
    /// Its reader and writer, which end with it.
    _tasks: JoinSet<()>,
}

/// Operations without an answer.
#[derive(Default)]
struct Open {
    next: AtomicU64,
    asked: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
}

impl Open {
    fn asked(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Outcome>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// The core is not there, or does not welcome a client.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        welcome(&mut stream, &client_hello()).await?;
        let (source, sink) = stream.into_split();
        let (queue, queued) = mpsc::channel(QUEUED_MAX);
        let open = Arc::new(Open::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(write(queued, sink));
        let answered = Arc::clone(&open);
        tasks.spawn(async move {
            read(source, &answered).await;
            answered.asked().clear();
        });
        Ok(Self {
            queue,
            open,
            _tasks: tasks,
        })
    }

    /// Asks for an operation, whose id is chosen here; `None` if the connection ended before there was an answer.
    pub(crate) async fn ask(&self, request: Request) -> Option<Outcome> {
        let id = self.open.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.open.asked().insert(id, answer);
        if self.queue.is_closed() || self.queue.send(Request { id, ..request }).await.is_err() {
            self.open.asked().remove(&id);
            return None;
        }
        answered.await.ok()
    }
}

/// Writes what is queued, all of it at once, until the connection breaks.
async fn write(mut queued: mpsc::Receiver<Request>, mut sink: OwnedWriteHalf) {
    let (mut writer, mut requests, mut out) = (FrameWriter::new(), Vec::new(), Vec::new());
    while queued.recv_many(&mut requests, WRITTEN_MAX).await > 0 {
        let mut rest = requests.as_slice();
        while !rest.is_empty() {
            let (frame, after) = rest.split_at(fitting(rest));
            writer.requests(&mut out, frame);
            rest = after;
        }
        if sink.write_all(&out).await.is_err() {
            return;
        }
        requests.clear();
        out.clear();
    }
}

/// How many of these fit one frame, at least one.
fn fitting(requests: &[Request]) -> usize {
    let mut bytes = 0;
    let fits = requests.iter().take_while(|request| {
        bytes += request_payload_bytes(request);
        bytes <= PAYLOAD_BYTES_MAX
    });
    fits.take(OPERATIONS_PER_FRAME_MAX).count().max(1)
}

/// Hands answers to those who wait for them, until the connection breaks or says something else.
async fn read(mut source: OwnedReadHalf, open: &Open) {
    let mut said = BytesMut::new();
    while matches!(source.read_buf(&mut said).await, Ok(bytes) if bytes > 0) {
        while let Ok(Some(frame)) = take_frame(&mut said, Stage::Established) {
            let Ok(replies) = decode_replies(&frame) else { return };
            let mut asked = open.asked();
            for Reply { id, outcome } in replies {
                // Whoever waited may have given up.
                let _ = asked.remove(&id).map(|asked| asked.send(outcome));
            }
        }
    }
}
