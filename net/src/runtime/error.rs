//! What goes wrong with sockets.

use std::io;
use std::net::SocketAddr;

use crate::frame::FrameError;
use crate::handshake::{Goodbye, HandshakeRefusal};

/// Nothing more comes from a connection.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The other side closed it, between two frames.
    #[error("the connection was closed by the other side")]
    Closed,
    /// The other side closed it in the middle of a frame.
    #[error("the connection was closed by the other side after {received} bytes of a frame")]
    Truncated {
        /// Bytes of that frame that had come.
        received: usize,
    },
    /// The other side said why it closes it.
    #[error(transparent)]
    Goodbye(#[from] Goodbye),
    /// Its bytes make no sense.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The system failed to read.
    #[error("reading from the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The other side was too slow in a handshake, or with a frame that it had begun.
    #[error("the other side did not finish a handshake or a frame within {after_ms} ms; is it Margate, and alive?")]
    TimedOut {
        /// Milliseconds waited.
        after_ms: u64,
    },
}

impl ReadError {
    /// What the other side is told, if it is there and does not know it already.
    #[must_use]
    pub fn goodbye(&self) -> Option<Goodbye> {
        match self {
            Self::Frame(error) => Some(Goodbye::Frame(*error)),
            Self::TimedOut { after_ms } => Some(Goodbye::Handshake(HandshakeRefusal::TooSlow {
                after_ms: u32::try_from(*after_ms).unwrap_or(u32::MAX),
            })),
            Self::Closed | Self::Truncated { .. } | Self::Goodbye(_) | Self::Io(_) => None,
        }
    }
}

/// A connection to another core was not opened.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers at the address.
    #[error("connecting to {address} failed: {source}; check that the node runs and the address is right")]
    Connect {
        /// The address dialled.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody answers, but the handshake failed.
    #[error("the handshake with {address} failed: {source}")]
    Handshake {
        /// The address dialled.
        address: SocketAddr,
        /// Why.
        source: ReadError,
    },
}

/// A connection was accepted and not opened.
#[derive(Debug, thiserror::Error)]
pub enum GreetError {
    /// The dialler was refused, and told so.
    #[error(transparent)]
    Refused(#[from] HandshakeRefusal),
    /// No hello came; where bytes came that make none, the dialler was told so.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error("{address} is in use; stop the process that listens there, or choose another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not allow it.
    #[error("listening on {address} is not permitted; choose a port above 1023, or grant the privilege")]
    Forbidden {
        /// The address.
        address: SocketAddr,
    },
    /// It is not an address of this machine.
    #[error("{address} is not an address of this machine; check the node's configuration")]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// Something else.
    #[error("listening on {address} failed: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}
