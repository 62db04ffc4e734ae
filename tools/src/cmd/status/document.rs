//! `status` for programs.

use margate_client::CoreStatusReply;
use margate_net::map::Map;
use margate_net::message::{CoreStatus, Readiness, WritesTaken};
use serde_json::Value;

use super::{Overview, ShardView, role};
use crate::cmd::cores::{self, obstacle, room};
use crate::cmd::spans;
use crate::output::Object;

/// All of it, as one document.
pub(super) fn document(map: &Map, overview: &Overview<'_>, replies: &[CoreStatusReply]) -> Object {
    let shards: Vec<Value> = overview.shards.iter().map(|view| shard_object(view).into()).collect();
    let cores: Vec<Value> = replies.iter().map(|reply| core_object(reply).into()).collect();
    Object::default()
        .field("cluster", map.cluster().to_string())
        .field("map_epoch", map.epoch().0)
        .field("shards_without_leader", overview.without_leader())
        .field("shards", shards)
        .field("cores", cores)
}

fn shard_object(view: &ShardView<'_>) -> Object {
    let replicas: Vec<Value> = view
        .replicas
        .iter()
        .map(|(core, replica)| {
            cores::object(core.node, core.core)
                .field("replica", replica.replica.0)
                .field("role", role(replica.role))
                .field("leader", replica.leader.map(|node| node.0))
                .field("term", replica.term.0)
                .field("commit", replica.commit.0)
                .field("applied", replica.applied.0)
                .field("last", replica.last.0)
                .field("writes", writes(replica.writes))
                .field("readiness", readiness(replica.readiness))
                .into()
        })
        .collect();
    let silent: Vec<Value> = view.silent.iter().map(|(node, core)| cores::object(*node, *core).into()).collect();
    Object::default()
        .field("shard", view.shard.id.0)
        .bytes("low", &view.shard.low)
        .bytes("high", &view.shard.high)
        .field("leader", view.leader.map(|node| node.0))
        .field("replicas", replicas)
        .field("silent", silent)
}

fn core_object(reply: &CoreStatusReply) -> Object {
    let who = cores::object(reply.node, reply.core).field("address", reply.address.to_string());
    match &reply.status {
        Ok(status) => measured(who, status)
            .field("uptime_secs", status.uptime_secs)
            .field("log_bytes", status.log_bytes)
            .field("log_ready_bytes", status.log_ready_bytes)
            .field("index_bytes", status.index_bytes)
            .field("overlay_rows", status.overlay_rows)
            .field("segment_waits", status.segment_waits)
            .field("disk_free_bytes", status.disk.free_bytes)
            .field("disk", room(status.disk.room))
            .field("writes_refused", status.writes_refused)
            .field("shards_awaited", status.shards_awaited),
        Err(error) => who.field("error", obstacle(error)),
    }
}

/// What it has measured, where that was asked for.
fn measured(who: Object, status: &CoreStatus) -> Object {
    let Some(measures) = &status.measures else { return who };
    who.field("spans", spans::objects(&spans::measured(&measures.times)))
}

/// Whether a replica could stand in for another, or what it lacks.
fn readiness(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Ready => "ready",
        Readiness::Leaderless => "leaderless",
        Readiness::Behind => "behind",
        Readiness::Voteless => "voteless",
        Readiness::Damaged => "damaged",
    }
}

/// Which writes a leader takes.
fn writes(taken: WritesTaken) -> &'static str {
    match taken {
        WritesTaken::All => "all",
        WritesTaken::Deletes => "deletes",
        WritesTaken::None => "none",
    }
}
