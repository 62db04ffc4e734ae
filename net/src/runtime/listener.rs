//! Accepting connections, up to a cap.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::error::BindError;
use super::executor::sockets::{Acceptor, Stream};
use super::executor::{sleep, yield_now};
use crate::limits::{ACCEPT_RETRY_MS, PEERS_MAX, REFUSALS_MAX};

/// Accepts the connections of one core.
pub struct Listener {
    inner: Acceptor,
    address: SocketAddr,
    open: Rc<Cell<u32>>,
    max: u32,
}

/// A connection that nobody has greeted yet; give it to [`super::connection::greet`] in a task of its own.
pub struct Incoming {
    pub(super) stream: Stream,
    pub(super) slot: Slot,
}

/// One connection's place among those a listener has open.
pub(super) struct Slot {
    open: Rc<Cell<u32>>,
    max: u32,
    number: u32,
}

impl Listener {
    /// Listens, for at most `max` connections at once. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`] says what to change.
    pub fn bind(address: SocketAddr, max: u32) -> Result<Self, BindError> {
        let bound = std::net::TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let taken = bound.and_then(|(address, listener)| Ok((address, Acceptor::of(listener)?)));
        let (address, inner) = taken.map_err(|source| bind_error(address, source))?;
        Ok(Self {
            inner,
            address,
            open: Rc::default(),
            max,
        })
    }

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections open now, those being refused included.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open.get()
    }

    /// The next connection. Failures to accept, such as too few descriptors, are waited out: the core goes
    /// on serving those it has. Over the cap some connections are still given out, to be refused politely
    /// by [`super::connection::greet`]; beyond those they are dropped.
    pub async fn accept(&self) -> Incoming {
        loop {
            let Ok(stream) = self.inner.accept().await else {
                sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                continue;
            };
            // However many dial at once, the core goes on meanwhile.
            yield_now().await;
            if self.open.get() < self.max.saturating_add(PEERS_MAX).saturating_add(REFUSALS_MAX) {
                let slot = Slot::take(&self.open, self.max);
                return Incoming { stream, slot };
            }
        }
    }
}

impl Incoming {
    /// The cap, if this connection is over it.
    pub(super) fn over_cap(&self) -> Option<u32> {
        (self.slot.number > self.slot.max).then_some(self.slot.max)
    }
}

impl Slot {
    fn take(open: &Rc<Cell<u32>>, max: u32) -> Self {
        let number = open.get() + 1;
        open.set(number);
        Self {
            open: Rc::clone(open),
            max,
            number,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

fn bind_error(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::PermissionDenied => BindError::Forbidden { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address },
        _ => BindError::Io { address, source },
    }
}
