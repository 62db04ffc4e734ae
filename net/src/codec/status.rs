//! How a core is: a flatbuffer that is a frame's payload.

use super::measures::{self, Vectors};
use super::{FrameWriter, expect_kind, root, verified};
use crate::frame::{Frame, FrameError, FrameKind};
use crate::generated::margate::wire;
use crate::ids::{CoreId, LogIndex, NodeId, ReplicaId, ShardId, Term};
use crate::limits::{DOCUMENT_BYTES_MAX, SHARDS_MAX};
use crate::message::{CoreStatus, DiskRoom, DiskState, Readiness, ReplicaRole, ReplicaStatus, StatusDetail, WritesTaken};

impl FrameWriter {
    /// Appends a StatusRequest frame.
    pub fn status_request(&mut self, out: &mut Vec<u8>, request_id: u64, detail: StatusDetail) {
        self.builder.reset();
        let args = wire::StatusRequestArgs { detail: detail as u8 };
        let body = wire::StatusRequest::create(&mut self.builder, &args);
        self.builder.finish(body, None);
        self.finished_frame(out, FrameKind::StatusRequest, request_id);
    }

    /// Appends the answer to the status request with this id.
    ///
    /// # Panics
    /// Over [`SHARDS_MAX`] replicas: a node has at most one of each shard.
    pub fn status_reply(&mut self, out: &mut Vec<u8>, request_id: u64, status: &CoreStatus) {
        assert!(status.replicas.len() <= SHARDS_MAX, "a core has one replica of a shard at most");
        self.builder.reset();
        let replicas: Vec<_> = status.replicas.iter().map(replica_status_fields).collect();
        let replicas = Some(self.builder.create_vector(&replicas));
        let measured = status.measures.as_ref();
        let Vectors {
            numbers,
            outcomes,
            spans,
            buckets,
            traffic,
        } = measured.map_or_else(Vectors::default, |measures| measures::write(&mut self.builder, measures));
        let args = wire::StatusArgs {
            node: status.node.0,
            core: status.core.0,
            uptime_secs: status.uptime_secs,
            log_bytes: status.log_bytes,
            log_ready_bytes: status.log_ready_bytes,
            index_bytes: status.index_bytes,
            overlay_rows: status.overlay_rows,
            segment_waits: status.segment_waits,
            replicas,
            disk_free: status.disk.free_bytes,
            disk_room: status.disk.room as u8,
            writes_refused: status.writes_refused,
            shards_awaited: status.shards_awaited,
            numbers,
            outcomes,
            spans,
            buckets,
            traffic,
        };
        let root = wire::Status::create(&mut self.builder, &args);
        self.builder.finish(root, None);
        Self::document_frame(out, FrameKind::StatusReply, request_id, self.builder.finished_data());
    }
}

/// How much a StatusRequest frame asks for.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_status_request(frame: &Frame) -> Result<StatusDetail, FrameError> {
    let body = root::<wire::StatusRequest<'_>>(frame, FrameKind::StatusRequest)?;
    StatusDetail::from_code(body.detail()).ok_or(FrameError::Malformed {
        kind: frame.kind,
        what: "how much it asks for is unknown",
    })
}

/// What a StatusReply frame says.
///
/// # Errors
/// [`FrameError`] if it is not one.
pub fn decode_status_reply(frame: &Frame) -> Result<CoreStatus, FrameError> {
    expect_kind(frame, FrameKind::StatusReply)?;
    let malformed = |what| FrameError::Malformed { kind: frame.kind, what };
    let body = verified::<wire::Status<'_>>(&frame.payload, DOCUMENT_BYTES_MAX).ok_or(malformed("its payload is not a status"))?;
    let replicas = body.replicas().iter().map(replica_status);
    Ok(CoreStatus {
        node: NodeId(body.node()),
        core: CoreId(body.core()),
        uptime_secs: body.uptime_secs(),
        log_bytes: body.log_bytes(),
        log_ready_bytes: body.log_ready_bytes(),
        index_bytes: body.index_bytes(),
        overlay_rows: body.overlay_rows(),
        segment_waits: body.segment_waits(),
        disk: DiskState {
            free_bytes: body.disk_free(),
            room: DiskRoom::from_code(body.disk_room()).ok_or(malformed("its disk's room is unknown"))?,
        },
        writes_refused: body.writes_refused(),
        shards_awaited: body.shards_awaited(),
        measures: measures::read(&body).map_err(malformed)?,
        replicas: replicas
            .collect::<Option<_>>()
            .ok_or(malformed("a replica's role, the writes it takes or what it lacks are unknown"))?,
    })
}

fn replica_status_fields(status: &ReplicaStatus) -> wire::ReplicaStatusFields {
    wire::ReplicaStatusFields::new(
        status.shard.0,
        status.replica.0,
        status.leader.map_or(0, |node| node.0),
        status.term.0,
        status.commit.0,
        status.applied.0,
        status.last.0,
        status.role as u8,
        status.writes as u8,
        status.readiness as u8,
    )
}

fn replica_status(fields: &wire::ReplicaStatusFields) -> Option<ReplicaStatus> {
    Some(ReplicaStatus {
        shard: ShardId(fields.shard()),
        replica: ReplicaId(fields.replica()),
        role: ReplicaRole::from_code(fields.role())?,
        leader: (fields.leader() != 0).then_some(NodeId(fields.leader())),
        term: Term(fields.term()),
        commit: LogIndex(fields.commit()),
        applied: LogIndex(fields.applied()),
        last: LogIndex(fields.last()),
        writes: WritesTaken::from_code(fields.writes())?,
        readiness: Readiness::from_code(fields.readiness())?,
    })
}
