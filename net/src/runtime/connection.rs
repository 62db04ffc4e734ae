//! One connection: its reading and its writing half, and how it is opened and closed.
//!
//! A socket read goes into one scratch buffer of the executor, then as many bytes as came into the
//! connection's own: an idle connection holds no buffer, and a frame's memory is as large as the frame.
//! Frames are slices of the connection's buffer, so whoever keeps a small piece for long copies it.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_lite::future;

use super::error::{DialError, GreetError, ReadError};
use super::executor::sockets::Stream;
use super::executor::{sleep, yield_now};
use super::listener::{Incoming, Slot};
use crate::codec::{FrameWriter, decode_goodbye, decode_hello, decode_welcome};
use crate::frame::{Frame, FrameKind, Stage, missing, take_frame};
use crate::handshake::{Goodbye, HandshakeRefusal, Hello, Identity, Role, Welcome};
use crate::limits::{DRAIN_MS_MAX, FRAME_MS_MAX, HANDSHAKE_MS_MAX, READ_BYTES, WRITE_STALL_MS_MAX};

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// An open connection, in two halves for two tasks.
pub struct Connection {
    /// For the task that reads.
    pub reader: FrameReader,
    /// For the task that writes.
    pub sender: FrameSender,
}

/// The reading half.
pub struct FrameReader {
    socket: Rc<Socket>,
    buffer: BytesMut,
    stage: Stage,
}

/// The writing half. The socket is closed when both halves are dropped.
pub struct FrameSender {
    socket: Rc<Socket>,
}

/// Closes a connection whose halves are in other hands.
pub struct Closer {
    socket: Rc<Socket>,
}

struct Socket {
    stream: Stream,
    /// Gives the listener's place back when both halves are gone.
    _slot: Option<Slot>,
}

/// Opens a connection to a core: connects, says hello, waits for the welcome.
///
/// # Errors
/// [`DialError`], with the other side's [`Goodbye`] in it where it said one.
pub async fn dial(address: SocketAddr, hello: &Hello) -> Result<(Connection, Welcome), DialError> {
    let limit = Duration::from_millis(HANDSHAKE_MS_MAX);
    let late = async {
        sleep(limit).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let connected = future::or(Stream::connect(address), late).await;
    let opened = connected.and_then(|stream| Connection::new(stream, None));
    let mut connection = opened.map_err(|source| DialError::Connect { address, source })?;
    let greeting = greet_as_dialler(&mut connection, hello);
    let welcome = within(HANDSHAKE_MS_MAX, greeting).await;
    match welcome {
        Ok(welcome) => Ok((connection, welcome)),
        Err(source) => Err(DialError::Handshake { address, source }),
    }
}

async fn greet_as_dialler(connection: &mut Connection, hello: &Hello) -> Result<Welcome, ReadError> {
    let mut out = Vec::new();
    FrameWriter::new().hello(&mut out, hello);
    connection.sender.write_all(&out).await.map_err(ReadError::Io)?;
    let frame = connection.reader.read_frame().await?;
    let welcome = decode_welcome(&frame)?;
    connection.reader.stage = Stage::Established;
    Ok(welcome)
}

/// Opens an accepted connection: waits for its hello, answers welcome or goodbye.
///
/// # Errors
/// [`GreetError`]; the dialler knows already, and the connection is closed.
pub async fn greet(incoming: Incoming, identity: &Identity) -> Result<(Connection, Hello), GreetError> {
    let full = incoming.over_cap();
    let mut connection = Connection::new(incoming.stream, Some(incoming.slot)).map_err(ReadError::Io)?;
    let hello = match within(HANDSHAKE_MS_MAX, connection.read_hello()).await {
        Ok(hello) => hello,
        Err(error) => {
            connection.complain(&error).await;
            return Err(GreetError::Read(error));
        }
    };
    // Peers are few and known, and a core full of clients must still hear them.
    let admitted = match full.filter(|_| hello.role != Role::Peer) {
        Some(max) => Err(HandshakeRefusal::TooManyConnections { max }),
        None => identity.admit(&hello),
    };
    match admitted {
        Ok(welcome) => {
            let mut out = Vec::new();
            FrameWriter::new().welcome(&mut out, &welcome);
            connection.sender.write_all(&out).await.map_err(ReadError::Io)?;
            connection.reader.stage = Stage::Established;
            Ok((connection, hello))
        }
        Err(refusal) => {
            connection.farewell(&Goodbye::Handshake(refusal)).await;
            Err(GreetError::Refused(refusal))
        }
    }
}

impl Connection {
    /// A fresh stream's two halves; only handshake frames pass until it is greeted.
    fn new(stream: Stream, slot: Option<Slot>) -> io::Result<Self> {
        stream.set_nodelay()?;
        let socket = Rc::new(Socket { stream, _slot: slot });
        let reader = FrameReader {
            socket: Rc::clone(&socket),
            buffer: BytesMut::new(),
            stage: Stage::Handshake,
        };
        Ok(Self {
            reader,
            sender: FrameSender { socket },
        })
    }

    async fn read_hello(&mut self) -> Result<Hello, ReadError> {
        let frame = self.reader.read_frame().await?;
        Ok(decode_hello(&frame)?)
    }

    /// Tells the dialler what was wrong with its hello, where it can still hear it.
    async fn complain(self, error: &ReadError) {
        if let Some(goodbye) = error.goodbye() {
            self.farewell(&goodbye).await;
        }
    }

    /// Says goodbye and closes, so that the other side can read it: see [`FrameReader::drain`].
    pub async fn farewell(mut self, goodbye: &Goodbye) {
        if self.sender.goodbye(goodbye).await.is_ok() {
            self.reader.drain().await;
        }
    }
}

impl FrameReader {
    /// Appends every frame that has come to `out`, and waits if there is none.
    ///
    /// # Errors
    /// [`ReadError`]; frames that came whole before it are in `out`. The connection is useless then.
    pub async fn read_frames(&mut self, out: &mut Vec<Frame>) -> Result<(), ReadError> {
        let mut begun = None;
        loop {
            let before = out.len();
            while let Some(frame) = self.take()? {
                out.push(frame);
            }
            if out.len() > before {
                return Ok(());
            }
            self.read_more(&mut begun).await?;
        }
    }

    /// The next frame; what came after it stays for the next call.
    ///
    /// # Errors
    /// As [`FrameReader::read_frames`].
    pub async fn read_frame(&mut self) -> Result<Frame, ReadError> {
        let mut begun = None;
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.read_more(&mut begun).await?;
        }
    }

    /// Throws away what comes until the other side closes, for a bounded time. A socket closed with unread
    /// bytes resets the connection, and the goodbye on its way would be lost.
    pub async fn drain(mut self) {
        let reading = async {
            loop {
                self.buffer.clear();
                self.read_some().await?;
            }
        };
        // Whatever ends it, this connection is over.
        let _: Result<(), ReadError> = within(DRAIN_MS_MAX, reading).await;
    }

    fn take(&mut self) -> Result<Option<Frame>, ReadError> {
        match take_frame(&mut self.buffer, self.stage)? {
            Some(frame) if frame.kind == FrameKind::Goodbye => Err(ReadError::Goodbye(decode_goodbye(&frame)?)),
            other => Ok(other),
        }
    }

    /// One read. Between two frames it may take for ever; a frame that is there in part must be whole [`FRAME_MS_MAX`] after
    /// `begun`, when the rest was first waited for: who never ends a frame shall not hold its memory and a connection.
    async fn read_more(&mut self, begun: &mut Option<Instant>) -> Result<(), ReadError> {
        if self.buffer.is_empty() {
            return self.read_some().await;
        }
        let left = Duration::from_millis(FRAME_MS_MAX).saturating_sub(begun.get_or_insert_with(Instant::now).elapsed());
        let timer = async {
            sleep(left).await;
            Err(ReadError::TimedOut { after_ms: FRAME_MS_MAX })
        };
        future::or(self.read_some(), timer).await
    }

    /// One read of the socket into the buffer.
    async fn read_some(&mut self) -> Result<(), ReadError> {
        // Checked by checksum and caps before it is believed; a large frame is then moved once, not often.
        self.buffer.reserve(missing(&self.buffer, self.stage));
        let (socket, buffer) = (&self.socket, &mut self.buffer);
        let read = poll_fn(|cx| SCRATCH.with_borrow_mut(|scratch| socket.poll_read(cx, scratch, buffer))).await;
        match read.map_err(ReadError::Io)? {
            // Who sends without end shall neither keep others waiting nor outrun a timer beside this read.
            READ_BYTES => {
                yield_now().await;
                Ok(())
            }
            0 if self.buffer.is_empty() => Err(ReadError::Closed),
            0 => Err(ReadError::Truncated {
                received: self.buffer.len(),
            }),
            _ => Ok(()),
        }
    }
}

impl FrameSender {
    /// Writes all these bytes: whole frames, as many as there are. A peer that takes nothing for
    /// [`WRITE_STALL_MS_MAX`] is an error.
    ///
    /// # Errors
    /// What the system says. Some bytes may have gone; the connection is useless then.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.write(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let taken = poll_fn(|cx| self.socket.stream.poll_write(cx, bytes));
        let stalled = async {
            sleep(Duration::from_millis(WRITE_STALL_MS_MAX)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        future::or(taken, stalled).await
    }

    /// Says goodbye and closes the writing direction; the reader should [`FrameReader::drain`].
    ///
    /// # Errors
    /// What the system says.
    pub async fn goodbye(&mut self, goodbye: &Goodbye) -> io::Result<()> {
        let mut out = Vec::new();
        FrameWriter::new().goodbye(&mut out, goodbye);
        self.write_all(&out).await?;
        self.socket.stream.shutdown(Shutdown::Write)
    }

    /// Something to close the connection with while this half is writing.
    #[must_use]
    pub fn closer(&self) -> Closer {
        Closer {
            socket: Rc::clone(&self.socket),
        }
    }
}

impl Closer {
    /// Closes the connection in both directions at once; both halves then end with an error.
    pub fn close(&self) {
        // An error means that the other side has closed it already.
        let _ = self.socket.stream.shutdown(Shutdown::Both);
    }
}

impl Socket {
    fn poll_read(&self, cx: &mut Context<'_>, scratch: &mut [u8], buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let read = self.stream.poll_read(cx, scratch);
        if let Poll::Ready(Ok(count)) = &read {
            buffer.extend_from_slice(scratch.get(..*count).unwrap_or_default());
        }
        read
    }
}

/// The future's result, or [`ReadError::TimedOut`].
async fn within<T>(limit_ms: u64, work: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    let timer = async {
        sleep(Duration::from_millis(limit_ms)).await;
        Err(ReadError::TimedOut { after_ms: limit_ms })
    };
    future::or(work, timer).await
}
