//! A connection to Redis on which many commands are under way at a time; their replies come in the same order.
//!
//! One task writes what is queued, all of it at once, and one reads. When either ends, so do all that wait.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::resp::{Malformed, Reply, request, take_reply};

/// Time for one operation: the same as margate's client gives itself.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Commands that are queued and again those that wait for their reply, at most: more than any run has in flight. Who
/// comes after them waits.
const QUEUE: usize = 1 << 16;
/// Commands that are written at once, at most.
const GATHERED: usize = 1024;
/// Room for what comes, to begin with.
const RECEIVED_BYTES: usize = 1 << 16;

/// Why a command has no reply that serves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisError {
    /// There is no connection.
    #[error("{node}: {source}; is it running?")]
    Connect {
        /// To where.
        node: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The node refused the command.
    #[error("refused: {said}")]
    Refused {
        /// Its words.
        said: String,
    },
    /// The connection ended before the reply.
    #[error("the connection ended before the reply came")]
    Lost,
    /// The reply did not come in time.
    #[error("no reply for {after:?}")]
    Late {
        /// How long it was waited for.
        after: Duration,
    },
    /// A reply of another kind than this command has.
    #[error("the reply is of another kind than the command's")]
    Misanswered,
}

/// A command, and where its reply goes.
struct Asked {
    request: Bytes,
    answer: oneshot::Sender<Reply>,
}

/// An open connection; dropping it closes it.
pub(super) struct Connection {
    queue: mpsc::Sender<Asked>,
}

impl Connection {
    /// Opens one.
    ///
    /// # Errors
    /// [`RedisError::Connect`].
    pub(super) async fn open(node: SocketAddr) -> Result<Self, RedisError> {
        let connected = timeout(TIMEOUT, TcpStream::connect(node)).await;
        let connected = connected.unwrap_or_else(|late| Err(late.into()));
        let socket = connected.and_then(|socket| socket.set_nodelay(true).map(|()| socket));
        let socket = socket.map_err(|source| RedisError::Connect { node, source })?;
        let (reader, writer) = socket.into_split();
        let (queue, queued) = mpsc::channel(QUEUE);
        let (wait, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(write(writer, queued, wait));
        tokio::spawn(async move {
            // Whoever waits is told by the end of its channel.
            if let Err(malformed) = read(reader, waiting).await {
                eprintln!("  redis {node}: {malformed}; the connection is given up");
            }
        });
        Ok(Self { queue })
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// There is none, in time, or it is a refusal.
    pub(super) async fn ask(&self, parts: &[&[u8]]) -> Result<Reply, RedisError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            request: request(parts),
            answer,
        };
        let reply = async {
            self.queue.send(asked).await.map_err(|_| RedisError::Lost)?;
            answered.await.map_err(|_| RedisError::Lost)
        };
        let reply = timeout(TIMEOUT, reply).await.unwrap_or(Err(RedisError::Late { after: TIMEOUT }))?;
        match reply {
            Reply::Error(said) => Err(RedisError::Refused {
                said: String::from_utf8_lossy(&said).into_owned(),
            }),
            Reply::Status(_) | Reply::Bulk(_) | Reply::Array(_) => Ok(reply),
        }
    }
}

/// Writes until nobody can ask any more, or the socket takes no more.
async fn write(mut writer: OwnedWriteHalf, mut queued: mpsc::Receiver<Asked>, wait: mpsc::Sender<oneshot::Sender<Reply>>) {
    let (mut gathered, mut bytes) = (Vec::with_capacity(GATHERED), BytesMut::new());
    while queued.recv_many(&mut gathered, GATHERED).await > 0 {
        for asked in gathered.drain(..) {
            bytes.extend_from_slice(&asked.request);
            if wait.send(asked.answer).await.is_err() {
                return;
            }
        }
        if writer.write_all_buf(&mut bytes).await.is_err() {
            return;
        }
    }
}

/// Reads until the other side closes. A reply that nobody waits for any more came too late.
async fn read(mut reader: OwnedReadHalf, mut waiting: mpsc::Receiver<oneshot::Sender<Reply>>) -> Result<(), Malformed> {
    let mut received = BytesMut::with_capacity(RECEIVED_BYTES);
    loop {
        while let Some(reply) = take_reply(&mut received)? {
            let Some(answer) = waiting.recv().await else {
                return Ok(());
            };
            let _ = answer.send(reply);
        }
        if !matches!(reader.read_buf(&mut received).await, Ok(1..)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::TcpListener;

    use super::*;

    /// A node that reads until so many bytes have come, says something, and closes.
    async fn node(bytes: usize, says: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("somebody connects");
            socket.read_exact(&mut vec![0; bytes]).await.expect("that much comes");
            socket.write_all(says).await.expect("somebody reads");
        });
        address
    }

    #[tokio::test]
    async fn replies_find_those_who_asked_in_their_order() {
        let asked = 3 * request(&[b"PING"]).len();
        let address = node(asked, b"$1\r\na\r\n-ERR no\r\n$1\r\nb\r\n").await;
        let connection = Arc::new(Connection::open(address).await.expect("it listens"));
        let ask = || async { connection.ask(&[b"PING"]).await };
        let (first, second, third) = tokio::join!(ask(), ask(), ask());
        let bulk = |name: &'static [u8]| Reply::Bulk(Some(Bytes::from_static(name)));
        assert_eq!((first.expect("a"), third.expect("b")), (bulk(b"a"), bulk(b"b")));
        assert_eq!(second.expect_err("refused").to_string(), "refused: ERR no");
    }

    #[tokio::test]
    async fn a_connection_that_ends_or_talks_nonsense_leaves_nobody_waiting() {
        for says in [b"".as_slice(), b"+OK", b"nonsense\r\n"] {
            let address = node(request(&[b"PING"]).len(), says).await;
            let connection = Connection::open(address).await.expect("it listens");
            for _ in 0..2 {
                let error = connection.ask(&[b"PING"]).await.expect_err("no reply comes");
                assert!(matches!(error, RedisError::Lost), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_that_says_so() {
        let nobody = crate::addresses::free_addresses(1).expect("the kernel has ports")[0];
        let error = Connection::open(nobody).await.err().expect("nobody listens");
        assert!(error.to_string().contains("is it running?"), "{error}");
    }
}
