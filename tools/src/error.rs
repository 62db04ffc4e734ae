//! Everything the binary can fail with, and the exit code of each.
//!
//! Not here, on purpose: clap's own usage errors, which it prints itself with code 2.

use std::io;

use margate_client::{ConnectError, Error as ClientError, UnknownCause};
use margate_engine::runtime::node::NodeError;
use margate_net::error::Refusal;

use crate::cmd::check::CheckError;
use crate::cmd::dev::DevError;
use crate::cmd::inspect::InspectError;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::key::show;
use crate::units::rounded;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The client could not start.
    #[error("{0}")]
    Connect(ConnectError),
    /// An operation failed.
    #[error("{0}")]
    Client(ClientError),
    /// A get, size or delete met no such key.
    #[error("key {:?} does not exist", show(.key))]
    NoSuchKey {
        /// The key asked for.
        key: bytes::Bytes,
    },
    /// A delete bound to a version deleted nothing.
    #[error("key {:?} was not deleted: it does not exist or is not at version {version}; read it to see what stands", show(.key))]
    NotAtVersion {
        /// The key asked for.
        key: bytes::Bytes,
        /// The version it had to have.
        version: u64,
    },
    /// A compare-exchange met another value.
    #[error("key {:?} was not changed: it does not exist or holds another value than the expected one", show(.key))]
    NotSwapped {
        /// The key asked for.
        key: bytes::Bytes,
    },
    /// Some shards have no leader.
    #[error("{without} of {shards} shards have no leader that answers; start the missing nodes or try again in a moment")]
    NoLeader {
        /// Shards without one.
        without: usize,
        /// All shards.
        shards: usize,
    },
    /// `--endpoints` could not be turned into addresses.
    #[error("cannot resolve endpoint {endpoint:?}: {source}; write HOST:PORT")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The value could not be read from standard input.
    #[error("cannot read the value from standard input: {0}")]
    Input(io::Error),
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The node did not start, or stopped on an error.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// One of the node's addresses cannot be bound.
    #[error("cannot listen on {address}: {source}; stop the program that uses it or configure another address")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The address of the admin listener cannot be bound.
    #[error(
        "cannot listen on {address} for metrics: {source}; stop the program that uses it, or set admin.listen to another address or to off"
    )]
    Admin {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The node could not be confined to the CPUs named.
    #[error("cannot run on CPUs {cpus:?}: {source}; name CPUs this machine has, or leave node.cpus out")]
    Cpus {
        /// As configured.
        cpus: Vec<usize>,
        /// What the system said.
        source: io::Error,
    },
    /// `margate dev` could not go on.
    #[error("{0}")]
    Dev(#[from] DevError),
    /// A data directory was not shown, or is not as it should be.
    #[error("{0}")]
    Inspect(#[from] InspectError),
    /// This machine was not checked, or is not fit.
    #[error("{0}")]
    Check(#[from] CheckError),
    /// Signals could not be caught, or a thread not started.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Connect(_) | Self::NoLeader { .. } => Exit::Unavailable,
            Self::Client(error) => error.into(),
            Self::NoSuchKey { .. } => Exit::NotFound,
            Self::NotAtVersion { .. } | Self::NotSwapped { .. } => Exit::Conflict,
            Self::Endpoint { .. } | Self::Config(_) | Self::Cpus { .. } => Exit::Usage,
            Self::Dev(error) => error.exit(),
            Self::Inspect(error) => error.exit(),
            Self::Check(error) => error.exit(),
            Self::Input(_) | Self::Node(_) | Self::Admin { .. } | Self::Listen { .. } | Self::System { .. } | Self::Output(_) => {
                Exit::Failure
            }
        }
    }

    /// Whether the reader of standard output has simply gone away (`margate list | head`).
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<ConnectError> for Failure {
    /// Time spent is rounded: it is read by people.
    fn from(error: ConnectError) -> Self {
        Self::Connect(match error {
            ConnectError::Unreachable { after, failures } => ConnectError::Unreachable {
                after: rounded(after),
                failures,
            },
            ConnectError::NoEndpoints => error,
        })
    }
}

impl From<ClientError> for Failure {
    /// Time spent is rounded: it is read by people.
    fn from(error: ClientError) -> Self {
        Self::Client(match error {
            ClientError::Unavailable { after, last } => ClientError::Unavailable {
                after: rounded(after),
                last,
            },
            ClientError::Timeout { after } => ClientError::Timeout { after: rounded(after) },
            ClientError::Abandoned
            | ClientError::Closed
            | ClientError::OutOfOrder(_)
            | ClientError::OutcomeUnknown { .. }
            | ClientError::Protocol(_)
            | ClientError::Refused(_) => error,
        })
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => Self::from(refusal),
            ClientError::Unavailable { .. } => Self::Unavailable,
            ClientError::Timeout { .. }
            | ClientError::OutcomeUnknown {
                cause: UnknownCause::DeadlineExceeded,
            } => Self::Timeout,
            ClientError::OutcomeUnknown {
                cause: UnknownCause::Abandoned | UnknownCause::ConnectionLost | UnknownCause::LeadershipLost | UnknownCause::Protocol(_),
            }
            | ClientError::Abandoned
            | ClientError::Closed
            | ClientError::OutOfOrder(_)
            | ClientError::Protocol(_) => Self::Failure,
        }
    }
}

impl From<&Refusal> for Exit {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::InvalidKey { .. } | Refusal::ValueTooLarge { .. } | Refusal::InvalidArgument(_) => Self::Usage,
            Refusal::NotFound | Refusal::NoSuchVersion => Self::NotFound,
            Refusal::AlreadyExists { .. } | Refusal::VersionMismatch { .. } => Self::Conflict,
            Refusal::DeadlineExceeded => Self::Timeout,
            Refusal::NotLeader { .. }
            | Refusal::WrongRange { .. }
            | Refusal::NoSuchShard
            | Refusal::Busy { .. }
            | Refusal::DiskFull { .. }
            | Refusal::NotReady { .. }
            | Refusal::ShuttingDown
            | Refusal::Damaged => Self::Unavailable,
            Refusal::OutcomeUnknown => Self::Failure,
        }
    }
}
