//! TCP sockets: tried at once, and waited for in the ring where they are not ready.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::ring::Operation;
use super::{Reactor, Sleep, sleep};

/// How often a socket is tried that cannot be waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// A connected stream. One task may read it while another writes it.
pub struct Stream {
    inner: Rc<TcpStream>,
    readable: Readiness,
    writable: Readiness,
}

/// A listening socket.
pub struct Acceptor {
    inner: Rc<TcpListener>,
    readable: Readiness,
}

/// One direction of a socket: whether it is worth a try, and the wait for that. The wait outlives whoever waits, so giving up loses nothing.
struct Readiness {
    events: i16,
    /// The socket was exhausted when it was tried last.
    exhausted: Cell<bool>,
    /// The other side has ended: the kernel tells of that (`POLLRDHUP`) whatever it is asked for, at once and again and again, so there
    /// is nothing to be waited for but time.
    other_ended: Cell<bool>,
    pause: RefCell<Option<Sleep>>,
    waiting: RefCell<Option<Operation>>,
}

impl Stream {
    /// Connects; a connection that the other side never answers is the system's to give up, or the caller's.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// If no executor runs on this thread.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        let connecting = connect(&socket, &address);
        let stream = Self::of(TcpStream::from(socket));
        match connecting {
            Ok(()) => return Ok(stream),
            Err(rustix::io::Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        stream.writable.exhausted.set(true);
        poll_fn(|cx| stream.writable.poll(&stream.inner, cx)).await?;
        sockopt::socket_error(&stream.inner)??;
        Ok(stream)
    }

    /// Takes over a stream that does not block.
    fn of(stream: TcpStream) -> Self {
        Self {
            inner: Rc::new(stream),
            readable: Readiness::of(libc::POLLIN),
            writable: Readiness::of(libc::POLLOUT),
        }
    }

    /// Sends small writes at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self) -> io::Result<()> {
        self.inner.set_nodelay(true)
    }

    /// Reads what is there, up to the buffer's length; 0 at the end of the stream.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = buffer.len();
        loop {
            ready!(self.readable.poll(&self.inner, cx))?;
            match (&*self.inner).read(buffer) {
                // Less than there was room for is all there was. What comes from now on, and the end, is waited for.
                Ok(read) => {
                    self.readable.exhausted.set(read < room);
                    return Poll::Ready(Ok(read));
                }
                Err(error) => self.readable.tried(error)?,
            }
        }
    }

    /// Writes as much as the system takes.
    ///
    /// # Errors
    /// What the system says.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.writable.poll(&self.inner, cx))?;
            match (&*self.inner).write(bytes) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => self.writable.tried(error)?,
            }
        }
    }

    /// Closes one direction or both; whoever waits for it is woken.
    ///
    /// # Errors
    /// What the system says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }
}

impl Acceptor {
    /// Takes over a listening socket.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            inner: Rc::new(listener),
            readable: Readiness::of(libc::POLLIN),
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// What the system says, such as too few descriptors; it may be tried again.
    pub async fn accept(&self) -> io::Result<Stream> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        loop {
            ready!(self.readable.poll(&self.inner, cx))?;
            match self.inner.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    return Poll::Ready(Ok(Stream::of(stream)));
                }
                Err(error) => self.readable.tried(error)?,
            }
        }
    }
}

impl Readiness {
    fn of(events: i16) -> Self {
        Self {
            events,
            exhausted: Cell::new(false),
            other_ended: Cell::new(false),
            pause: RefCell::default(),
            waiting: RefCell::default(),
        }
    }

    /// Ready if the socket is worth a try.
    fn poll<T: AsFd + 'static>(&self, socket: &Rc<T>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.exhausted.get() {
            return Poll::Ready(Ok(()));
        }
        if self.other_ended.get() {
            let mut pause = self.pause.borrow_mut();
            ready!(Pin::new(pause.get_or_insert_with(|| sleep(PAUSE))).poll(cx));
            *pause = None;
            self.exhausted.set(false);
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.waiting.borrow_mut();
        let operation = waiting.get_or_insert_with(|| Operation::poll(&Reactor::current(), Rc::<T>::clone(socket), self.events));
        let (events, _) = ready!(Pin::new(operation).poll(cx));
        *waiting = None;
        self.exhausted.set(false);
        let wanted = usize::from((self.events | libc::POLLERR | libc::POLLHUP).unsigned_abs());
        Poll::Ready(events.map(|events| self.other_ended.set(events & wanted == 0)))
    }

    /// A try that failed: nothing if the socket has to be waited for, or be tried again.
    fn tried(&self, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.exhausted.set(true);
                Ok(())
            }
            io::ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        }
    }
}
