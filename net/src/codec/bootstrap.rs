//! Probe and Create: how empty data directories become a deployment.
//!
//! The node that bootstraps probes every peer; when all have answered `Empty`, it sends each a creation
//! record that names that very directory.

use super::map::{decode_map, encode_map};
use super::{FrameWriter, check_count, expect_kind, id128, root, u128_of};
use crate::frame::{Frame, FrameError, FrameKind, begin, finish};
use crate::generated::margate::wire;
use crate::ids::{ClusterId, DirectoryId, NodeId};
use crate::limits::NODES_MAX;
use crate::map::Map;

/// A node's answer to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// The node.
    pub node: NodeId,
    /// Its data directory.
    pub directory: DirectoryId,
    /// What is in it.
    pub state: DirectoryState,
}

/// What is in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// Nothing: it may become a member of a new deployment.
    Empty,
    /// A member's data.
    Member {
        /// Of this deployment.
        cluster: ClusterId,
    },
}

/// Makes an empty node a member of a new deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The new deployment.
    pub cluster: ClusterId,
    /// Every node and the data directory it was probed with.
    pub directories: Vec<(NodeId, DirectoryId)>,
    /// The first map.
    pub map: Map,
}

/// The answer to a [`Create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateAnswer {
    /// The node is a member now, durably; also the answer to the same record sent again.
    Accepted,
    /// It is not.
    Refused(CreateRefusal),
}

/// Why a node does not become a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefusal {
    /// The record names another data directory than the node has now.
    #[error("the node's data directory is {ours}, not the one that was probed; bootstrap again")]
    DirectoryDiffers {
        /// The node's present one.
        ours: DirectoryId,
    },
    /// The node is a member already.
    #[error("the node belongs to cluster {ours} already; give it an empty data directory, or take it out of the configuration")]
    OtherCluster {
        /// Its deployment.
        ours: ClusterId,
    },
    /// The node is configured with other nodes, cores, shards or addresses.
    #[error("the node is configured with another topology; give all nodes the same list of nodes, cores and shards")]
    TopologyDiffers,
}

const ACCEPTED: u16 = 0;
const DIRECTORY_DIFFERS: u16 = 1;
const OTHER_CLUSTER: u16 = 2;
const TOPOLOGY_DIFFERS: u16 = 3;

impl FrameWriter {
    /// Appends a Probe frame.
    pub fn probe(&mut self, out: &mut Vec<u8>, request_id: u64) {
        Self::bare_frame(out, FrameKind::Probe, request_id);
    }

    /// Appends the answer to the probe with this id.
    pub fn probe_reply(&mut self, out: &mut Vec<u8>, request_id: u64, answer: &ProbeAnswer) {
        self.builder.reset();
        let directory = id128(answer.directory.0);
        let cluster = match answer.state {
            DirectoryState::Empty => None,
            DirectoryState::Member { cluster } => Some(id128(cluster.0)),
        };
        let args = wire::ProbeReplyArgs {
            node: answer.node.0,
            directory: Some(&directory),
            cluster: cluster.as_ref(),
        };
        let body = wire::ProbeReply::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::ProbeReply, request_id);
    }

    /// Appends a Create frame; the map is its payload.
    pub fn create(&mut self, out: &mut Vec<u8>, request_id: u64, create: &Create) {
        self.builder.reset();
        let cluster = id128(create.cluster.0);
        let fields = |&(node, directory): &(NodeId, DirectoryId)| wire::DirectoryFields::new(node.0, &id128(directory.0));
        let directories: Vec<_> = create.directories.iter().map(fields).collect();
        let directories = Some(self.builder.create_vector(&directories));
        let args = wire::CreateArgs {
            cluster: Some(&cluster),
            directories,
        };
        let body = wire::Create::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        let start = begin(out, self.builder.finished_data());
        out.extend_from_slice(&encode_map(&create.map));
        finish(out, start, FrameKind::Create, request_id);
    }

    /// Appends the answer to the Create frame with this id.
    pub fn create_reply(&mut self, out: &mut Vec<u8>, request_id: u64, answer: &CreateAnswer) {
        self.builder.reset();
        let (code, ours) = match *answer {
            CreateAnswer::Accepted => (ACCEPTED, 0),
            CreateAnswer::Refused(CreateRefusal::DirectoryDiffers { ours }) => (DIRECTORY_DIFFERS, ours.0),
            CreateAnswer::Refused(CreateRefusal::OtherCluster { ours }) => (OTHER_CLUSTER, ours.0),
            CreateAnswer::Refused(CreateRefusal::TopologyDiffers) => (TOPOLOGY_DIFFERS, 0),
        };
        let ours = id128(ours);
        let args = wire::CreateReplyArgs { code, ours: Some(&ours) };
        let body = wire::CreateReply::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::CreateReply, request_id);
    }
}

/// Checks that a frame is a probe; it says nothing else.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_probe(frame: &Frame) -> Result<(), FrameError> {
    expect_kind(frame, FrameKind::Probe)
}

/// What a ProbeReply frame says.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_probe_reply(frame: &Frame) -> Result<ProbeAnswer, FrameError> {
    let body = root::<wire::ProbeReply<'_>>(frame, FrameKind::ProbeReply)?;
    let member = |cluster: &wire::Id128| DirectoryState::Member {
        cluster: ClusterId(u128_of(cluster)),
    };
    Ok(ProbeAnswer {
        node: NodeId(body.node()),
        directory: DirectoryId(u128_of(body.directory())),
        state: body.cluster().map_or(DirectoryState::Empty, member),
    })
}

/// What a Create frame says.
///
/// # Errors
/// [`FrameError`] if it is not one, or its map is impossible.
pub fn decode_create(frame: &Frame) -> Result<Create, FrameError> {
    let body = root::<wire::Create<'_>>(frame, FrameKind::Create)?;
    let fields = body.directories();
    check_count(frame, fields.len(), NODES_MAX, "it names too many directories")?;
    let directory = |fields: &wire::DirectoryFields| (NodeId(fields.node()), DirectoryId(u128_of(fields.directory())));
    Ok(Create {
        cluster: ClusterId(u128_of(body.cluster())),
        directories: fields.iter().map(directory).collect(),
        map: decode_map(&frame.payload).map_err(|error| error.in_frame(frame.kind))?,
    })
}

/// What a CreateReply frame says.
///
/// # Errors
/// [`FrameError`] if it is not one, or its code is unknown.
pub fn decode_create_reply(frame: &Frame) -> Result<CreateAnswer, FrameError> {
    let body = root::<wire::CreateReply<'_>>(frame, FrameKind::CreateReply)?;
    let ours = body.ours().map_or(0, u128_of);
    Ok(match body.code() {
        ACCEPTED => CreateAnswer::Accepted,
        DIRECTORY_DIFFERS => CreateAnswer::Refused(CreateRefusal::DirectoryDiffers { ours: DirectoryId(ours) }),
        OTHER_CLUSTER => CreateAnswer::Refused(CreateRefusal::OtherCluster { ours: ClusterId(ours) }),
        TOPOLOGY_DIFFERS => CreateAnswer::Refused(CreateRefusal::TopologyDiffers),
        _ => {
            return Err(FrameError::Malformed {
                kind: frame.kind,
                what: "its code is unknown",
            });
        }
    })
}
