//! What a caller is told when an operation has no answer, and why.
//!
//! The one thing a caller must never have to guess is whether a write happened, so the top level of
//! [`Error`] says just that.
//!
//! Not here, on purpose: what servers refuse (`margate_net::error`) and when to try again (`retry.rs`).

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use margate_net::error::Refusal;
use margate_net::frame::FrameError;
use margate_net::handshake::Goodbye;
use margate_net::ids::ClusterId;

/// An operation was not carried out, or nobody can tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not executed, and asking again would meet the same answer: the arguments or the state say no.
    #[error(transparent)]
    Refused(Refusal),
    /// The write may have been executed, or may yet be; read the key to find out.
    #[error("the write may or may not have been executed: {cause}; read the key before writing it again")]
    OutcomeUnknown {
        /// Why nobody can tell.
        cause: UnknownCause,
    },
    /// Not executed: the deadline came with nothing but obstacles.
    #[error("not executed, no replica could serve it within {after:?}: {last}; see `margate status`")]
    Unavailable {
        /// Time spent.
        after: Duration,
        /// The last obstacle met.
        last: Obstacle,
    },
    /// The deadline came without an answer to a read, or the server dropped the operation unexecuted
    /// because it had waited too long. Nothing was changed.
    #[error("no answer within {after:?} and nothing was changed; allow more time or put less in flight")]
    Timeout {
        /// Time spent.
        after: Duration,
    },
    /// A read was answered by what is no answer to it. A write so answered is [`Error::OutcomeUnknown`].
    #[error(transparent)]
    Protocol(#[from] ProtocolFault),
    /// The client was closed before the operation was sent; it was not executed.
    #[error("the client is closed and the operation was not sent; connect a new client")]
    Closed,
    /// A batch writer did not send the write, or did not send it again: its key's writes would have taken
    /// effect in another order than they were handed over in. It was not executed.
    #[error("not executed, to keep the order of the writes of its key: {0}")]
    OutOfOrder(OrderFault),
    /// The batch writer was dropped, or its runtime ended, before the write was sent; it was not executed.
    #[error("the batch writer was dropped before the write was sent; flush it before that")]
    Abandoned,
}

/// What a write would have overtaken, or by what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderFault {
    /// An earlier write of the key may yet take effect, even after this one.
    #[error(
        "it is unknown whether an earlier write of the key was executed ({0}), and it may yet be; read the key before writing it again"
    )]
    EarlierUnknown(UnknownCause),
    /// This write was refused for the time being, and a later one of the key, sent together with it, was
    /// executed or may have been.
    #[error("a later write of the key was executed, or may have been; write it again only if this value is to stand")]
    LaterExecuted,
}

/// A batch writer did not take a write without waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It has as much under way as it may.
    #[error(
        "the batch writer has {writes} writes with {bytes} bytes under way and takes no more for now; await `set` or `delete` instead, or allow more"
    )]
    NoRoom {
        /// Writes under way.
        writes: usize,
        /// Bytes of their keys and values.
        bytes: usize,
    },
    /// It takes no write of this kind, or none at all any more.
    #[error(transparent)]
    Refused(Error),
}

/// Why the outcome of a write is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCause {
    /// The batch writer was dropped after the write was sent and before its answer came.
    #[error("the batch writer was dropped before the answer came")]
    Abandoned,
    /// The connection broke after the write was sent and before its answer came.
    #[error("the connection broke before the answer came")]
    ConnectionLost,
    /// The deadline passed after the write was sent and before its answer came.
    #[error("the deadline passed before the answer came")]
    DeadlineExceeded,
    /// The leader had proposed the write and lost its leadership, or stopped, before it was committed.
    #[error("the leader could not tell whether the write was committed")]
    LeadershipLost,
    /// The answer makes no sense.
    #[error(transparent)]
    Protocol(#[from] ProtocolFault),
}

impl UnknownCause {
    /// Whether a write of unknown outcome may take effect after writes of its key that are sent now.
    ///
    /// It may while it can still lie in a socket or a queue of a server. One that was answered lies there no
    /// more; if a leader had proposed it, it has its place in the log, and whatever a later leader takes comes
    /// behind it, or it is lost.
    pub(crate) fn may_come_late(self) -> bool {
        match self {
            Self::Abandoned | Self::ConnectionLost | Self::DeadlineExceeded => true,
            Self::LeadershipLost | Self::Protocol(_) => false,
        }
    }
}

/// What stood in the way of an operation; each proves that it was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A server refused it for the time being.
    #[error("node at {address} said: {refusal}")]
    Refused {
        /// Where it was refused.
        address: SocketAddr,
        /// How.
        refusal: Refusal,
    },
    /// The core could not be reached.
    #[error("no connection to {address}: {fault}")]
    Link {
        /// The core's address.
        address: SocketAddr,
        /// What is wrong.
        fault: LinkFault,
    },
    /// The connection had `in_flight_max` operations in flight all the time.
    #[error("the window of operations in flight to {address} stayed full; put less in flight or raise in_flight_max")]
    WindowFull {
        /// The core's address.
        address: SocketAddr,
    },
    /// It waited to be written to the connection until its time was over.
    #[error("it waited for the connection to {address} until its time was over")]
    Unsent {
        /// The core's address.
        address: SocketAddr,
    },
}

/// What is wrong with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// The peer shares a protocol but not what it means: it answered what was not asked.
    #[error("it answered operation {id:#x}, which was not asked")]
    AnswerToNothing {
        /// The id it answered.
        id: u64,
    },
    /// The operating system could not connect.
    #[error("connecting failed ({0}); is the node running and the address right?")]
    Connect(ErrorKind),
    /// No connection within the time for it.
    #[error("connecting took longer than {0:?}; is the node running and the address right?")]
    ConnectTimeout(Duration),
    /// It belongs to another deployment than the one this client is of.
    #[error("it is of deployment {theirs}, this client of {ours}; check the endpoints")]
    ForeignCluster {
        /// The deployment the core is of.
        theirs: ClusterId,
        /// The deployment this client is of.
        ours: ClusterId,
    },
    /// The bytes that came are no frame, or none that belongs there.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The server ended the conversation and said why.
    #[error("the node ended the connection: {0}")]
    Goodbye(Goodbye),
    /// The server closed the connection without a word.
    #[error("the node closed the connection")]
    Hangup,
    /// Reading from or writing to the socket failed.
    #[error("the connection failed ({0})")]
    Io(ErrorKind),
    /// Operations wait for answers, and nothing at all has come for this long.
    #[error("nothing came from the node for {0:?}")]
    Silence(Duration),
    /// This client was closed.
    #[error("the client was closed")]
    Stopped,
}

/// A server's answer does not fit the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// The answer is of another operation's kind.
    #[error("the answer is one to another kind of operation; run one version on both sides")]
    AnswerOfOtherKind,
    /// A page of a list brought nothing and did not move on.
    #[error("a page of a list has no rows and does not move on; run one version on both sides")]
    ListStandsStill,
}

/// A client found no deployment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// There is nowhere to look.
    #[error("no endpoints were given; name at least one core's address")]
    NoEndpoints,
    /// None of the endpoints gave a map in time.
    #[error("no endpoint answered within {after:?}: {}; start one with `margate dev`, or check the endpoints", DisplayFailures(.failures))]
    Unreachable {
        /// Time spent.
        after: Duration,
        /// Each endpoint tried and what went wrong there last.
        failures: Vec<(SocketAddr, LinkFault)>,
    },
}

struct DisplayFailures<'a>(&'a [(SocketAddr, LinkFault)]);

impl std::fmt::Display for DisplayFailures<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, (address, fault)) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {fault}")?;
        }
        Ok(())
    }
}
