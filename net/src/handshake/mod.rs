//! Who may talk: the first frame says who dials and whom it means to reach; the answer is a welcome or a
//! goodbye with the reason.
//!
//! ```text
//! dialler ── Hello ──►  core        Identity::admit decides, on facts alone
//!         ◄─ Welcome ──             or Goodbye, and the connection is closed
//! ```
//!
//! The protocol version is in every frame's header, so a foreign one never gets this far.
//!
//! Not here, on purpose: the deadline and the connection cap (`runtime`), credentials (TLS is to come).

mod goodbye;

pub use goodbye::Goodbye;
pub(crate) use goodbye::WireGoodbye;

use crate::frame::{FrameError, FrameKind};
use crate::ids::{ClusterId, CoreId, DirectoryId, Incarnation, MapEpoch, NodeId};

/// What the side that dials is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// Sends operations.
    Client = 1,
    /// Another node's core: sends Raft messages, and what makes and mends members.
    Peer = 2,
    /// Bootstraps and looks.
    Admin = 3,
}

/// Who dials, and whom it means to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What it is.
    pub role: Role,
    /// Its deployment; clients and admins that know none say [`ClusterId::UNKNOWN`].
    pub cluster: ClusterId,
    /// Its node; 0 for clients and admins.
    pub node: NodeId,
    /// Its core; 0 for clients and admins.
    pub core: CoreId,
    /// The node it means to reach; 0: any.
    pub to_node: NodeId,
    /// The core it means to reach, if it names a node.
    pub to_core: CoreId,
    /// Its data directory; unknown for clients and admins.
    pub directory: DirectoryId,
    /// Its start; 0 for clients and admins.
    pub incarnation: Incarnation,
    /// Milliseconds between two ticks of its Raft clock; 0 for clients and admins.
    pub tick_ms: u32,
    /// Ticks to an election; 0 for clients and admins.
    pub election_ticks: u32,
}

impl Hello {
    /// From a client or an admin, who has no node, to whoever answers.
    #[must_use]
    pub const fn of_guest(role: Role, cluster: ClusterId) -> Self {
        Self {
            role,
            cluster,
            node: NodeId(0),
            core: CoreId(0),
            to_node: NodeId(0),
            to_core: CoreId(0),
            directory: DirectoryId::UNKNOWN,
            incarnation: Incarnation(0),
            tick_ms: 0,
            election_ticks: 0,
        }
    }
}

/// Who was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Its deployment; unknown only to an admin, of a node that is not bootstrapped.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// The core.
    pub core: CoreId,
    /// The node's start.
    pub incarnation: Incarnation,
    /// Epoch of the map it goes by.
    pub map_epoch: MapEpoch,
}

/// What a core knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its deployment; unknown until it is bootstrapped.
    pub cluster: ClusterId,
    /// Its node.
    pub node: NodeId,
    /// Itself.
    pub core: CoreId,
    /// The node's start.
    pub incarnation: Incarnation,
    /// Epoch of the map it goes by.
    pub map_epoch: MapEpoch,
    /// Milliseconds between two ticks of its Raft clock.
    pub tick_ms: u32,
    /// Ticks to an election.
    pub election_ticks: u32,
}

/// Why a connection is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeRefusal {
    /// The two sides belong to different deployments.
    #[error("cluster {theirs} was asked for and this node belongs to cluster {ours}; check the address and the data directory")]
    ForeignCluster {
        /// The dialler's.
        theirs: ClusterId,
        /// This node's.
        ours: ClusterId,
    },
    /// The address belongs to another node or core than the dialler thinks.
    #[error(
        "core {asked_core} of node {asked_node} was asked for and this is core {ours_core} of node {ours_node}; \
         check the addresses, or fetch the map"
    )]
    WrongNode {
        /// The node asked for.
        asked_node: NodeId,
        /// The core asked for.
        asked_core: CoreId,
        /// This node.
        ours_node: NodeId,
        /// This core.
        ours_core: CoreId,
    },
    /// Two nodes run Raft at different speeds, which would let one take leadership it must not.
    #[error(
        "the peer ticks every {theirs_tick_ms} ms with {theirs_election_ticks} ticks to an election and this node every \
         {ours_tick_ms} ms with {ours_election_ticks}; give all nodes the same raft.tick and raft.election"
    )]
    TimingDiffers {
        /// Milliseconds between the dialler's ticks.
        theirs_tick_ms: u32,
        /// The dialler's ticks to an election.
        theirs_election_ticks: u32,
        /// Milliseconds between this node's ticks.
        ours_tick_ms: u32,
        /// This node's ticks to an election.
        ours_election_ticks: u32,
    },
    /// The node belongs to no deployment yet.
    #[error("this node is not bootstrapped yet; wait, or start the first configured node with --bootstrap")]
    NotBootstrapped,
    /// The core's table of connections is full.
    #[error("this core has its {max} connections already; close some, or try again later")]
    TooManyConnections {
        /// Connections allowed.
        max: u32,
    },
    /// The handshake, or a later frame that had begun, took too long.
    #[error("a hello or a frame was not whole after {after_ms} ms; say hello at once after connecting, and end what is begun")]
    TooSlow {
        /// Milliseconds allowed.
        after_ms: u32,
    },
    /// A peer that does not say which node it is.
    #[error("a peer must say which node it is; set its node id")]
    NamelessPeer,
    /// A peer that says it is this very node.
    #[error("the peer says it is node {node}, which is this node; give every node its own id")]
    SameNode {
        /// The node both say they are.
        node: NodeId,
    },
}

impl Identity {
    /// Whether this connection may be opened.
    ///
    /// # Errors
    /// [`HandshakeRefusal`] goes back in a [`Goodbye`].
    pub fn admit(&self, hello: &Hello) -> Result<Welcome, HandshakeRefusal> {
        self.check_address(hello)?;
        self.check_cluster(hello)?;
        if hello.role == Role::Peer {
            self.check_peer(hello)?;
        }
        Ok(Welcome {
            cluster: self.cluster,
            node: self.node,
            core: self.core,
            incarnation: self.incarnation,
            map_epoch: self.map_epoch,
        })
    }

    fn check_address(&self, hello: &Hello) -> Result<(), HandshakeRefusal> {
        let anyone = hello.to_node == NodeId(0);
        if anyone || (hello.to_node, hello.to_core) == (self.node, self.core) {
            return Ok(());
        }
        Err(HandshakeRefusal::WrongNode {
            asked_node: hello.to_node,
            asked_core: hello.to_core,
            ours_node: self.node,
            ours_core: self.core,
        })
    }

    fn check_cluster(&self, hello: &Hello) -> Result<(), HandshakeRefusal> {
        if self.cluster == ClusterId::UNKNOWN {
            // An admin may look at an empty node, and bootstrap it.
            return match hello.role {
                Role::Admin => Ok(()),
                Role::Client | Role::Peer => Err(HandshakeRefusal::NotBootstrapped),
            };
        }
        let may_ask = match hello.role {
            Role::Client | Role::Admin => hello.cluster == ClusterId::UNKNOWN,
            Role::Peer => false,
        };
        if may_ask || hello.cluster == self.cluster {
            return Ok(());
        }
        Err(HandshakeRefusal::ForeignCluster {
            theirs: hello.cluster,
            ours: self.cluster,
        })
    }

    fn check_peer(&self, hello: &Hello) -> Result<(), HandshakeRefusal> {
        if hello.node == NodeId(0) {
            return Err(HandshakeRefusal::NamelessPeer);
        }
        if hello.node == self.node {
            return Err(HandshakeRefusal::SameNode { node: self.node });
        }
        if (hello.tick_ms, hello.election_ticks) != (self.tick_ms, self.election_ticks) {
            return Err(HandshakeRefusal::TimingDiffers {
                theirs_tick_ms: hello.tick_ms,
                theirs_election_ticks: hello.election_ticks,
                ours_tick_ms: self.tick_ms,
                ours_election_ticks: self.election_ticks,
            });
        }
        Ok(())
    }
}

impl Role {
    /// The role with this code.
    pub(crate) fn from_wire(code: u8) -> Option<Self> {
        [Self::Client, Self::Peer, Self::Admin].into_iter().find(|role| *role as u8 == code)
    }

    /// Whether a dialler of this role may send a frame of this kind, once it is welcome.
    ///
    /// # Errors
    /// [`FrameError::UnexpectedKind`] goes back in a [`Goodbye`].
    pub fn check_frame(self, kind: FrameKind) -> Result<(), FrameError> {
        let (allowed, expected) = match self {
            Self::Client => (
                matches!(kind, FrameKind::Request | FrameKind::MapRequest | FrameKind::StatusRequest),
                FrameKind::Request,
            ),
            Self::Peer => (matches!(kind, FrameKind::Peer | FrameKind::Member), FrameKind::Peer),
            Self::Admin => (
                matches!(
                    kind,
                    FrameKind::Probe | FrameKind::Create | FrameKind::MapRequest | FrameKind::StatusRequest
                ),
                FrameKind::StatusRequest,
            ),
        };
        if allowed || kind == FrameKind::Goodbye {
            Ok(())
        } else {
            Err(FrameError::UnexpectedKind { found: kind, expected })
        }
    }
}
