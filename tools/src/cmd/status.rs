//! `margate status`: who leads, how far every replica has come, and what each core keeps on disk.
//!
//! [`Overview`] is the pure part: what the map says and the cores answered, put together by shard. `margate
//! dev` uses it too, to know when it is ready.

use comfy_table::Table;
use comfy_table::presets;
use margate_client::{Client, CoreStatusReply};
use margate_net::ids::{NodeId, ShardId, Term};
use margate_net::map::{Map, MapShard};
use margate_net::message::{CoreStatus, DiskRoom, ReplicaRole, ReplicaStatus, WritesTaken};
use serde_json::Value;

use super::is_text;
use crate::error::Failure;
use crate::key::show;
use crate::output::{Object, Output};
use crate::units::show_size;

pub(crate) async fn run(client: &Client, output: &mut Output) -> Result<(), Failure> {
    let (map, replies) = (client.map().await, client.status().await);
    let overview = Overview::new(&map, &replies);
    if is_text(output) {
        print_text(output, &overview, &replies)?;
    } else {
        output.object(document(&map, &overview, &replies))?;
    }
    match overview.without_leader() {
        0 => Ok(()),
        without => Err(Failure::NoLeader {
            without,
            shards: overview.shards.len(),
        }),
    }
}

/// All shards, as the cores that answered see them.
pub(crate) struct Overview<'a> {
    shards: Vec<ShardView<'a>>,
}

struct ShardView<'a> {
    shard: &'a MapShard,
    leader: Option<NodeId>,
    replicas: Vec<(&'a CoreStatus, &'a ReplicaStatus)>,
}

impl<'a> Overview<'a> {
    /// Puts the map and the cores' answers together.
    pub(crate) fn new(map: &'a Map, replies: &'a [CoreStatusReply]) -> Self {
        let answered: Vec<&CoreStatus> = replies.iter().filter_map(|reply| reply.status.as_ref().ok()).collect();
        let shards = map.shards().iter().map(|shard| ShardView::new(shard, &answered)).collect();
        Self { shards }
    }

    /// Shards of which no core that answered is the leader.
    pub(crate) fn without_leader(&self) -> usize {
        self.shards.iter().filter(|shard| shard.leader.is_none()).count()
    }
}

impl<'a> ShardView<'a> {
    fn new(shard: &'a MapShard, answered: &[&'a CoreStatus]) -> Self {
        let replicas: Vec<_> = answered.iter().flat_map(|core| of_shard(core, shard.id)).collect();
        Self {
            shard,
            leader: leader(&replicas),
            replicas,
        }
    }
}

fn of_shard(core: &CoreStatus, shard: ShardId) -> impl Iterator<Item = (&CoreStatus, &ReplicaStatus)> {
    core.replicas
        .iter()
        .filter(move |replica| replica.shard == shard)
        .map(move |replica| (core, replica))
}

/// A deposed leader may still believe that it leads: the one of the highest term does.
fn leader(replicas: &[(&CoreStatus, &ReplicaStatus)]) -> Option<NodeId> {
    let highest: Option<Term> = replicas.iter().map(|(_, replica)| replica.term).max();
    replicas
        .iter()
        .find(|(_, replica)| replica.role == ReplicaRole::Leader && Some(replica.term) == highest)
        .map(|(core, _)| core.node)
}

fn print_text(output: &mut Output, overview: &Overview<'_>, replies: &[CoreStatusReply]) -> Result<(), Failure> {
    output.line(&shards_table(overview).to_string())?;
    output.line("")?;
    output.line(&cores_table(replies).to_string())
}

fn shards_table(overview: &Overview<'_>) -> Table {
    let mut table = plain_table([
        "shard", "from", "to", "leader", "node", "core", "role", "term", "commit", "applied", "last",
    ]);
    for view in &overview.shards {
        let to = if view.shard.high.is_empty() {
            "(end)".to_owned()
        } else {
            show(&view.shard.high)
        };
        let leader = view.leader.map_or_else(|| "none".to_owned(), |node| format!("node {node}"));
        let mut first = [view.shard.id.to_string(), show(&view.shard.low), to, leader];
        if view.replicas.is_empty() {
            table.add_row(first.iter().map(String::as_str).chain(["no replica answers"]));
        }
        for (core, replica) in &view.replicas {
            let rest = [
                core.node.to_string(),
                core.core.to_string(),
                role(replica.role).to_owned(),
                replica.term.to_string(),
                replica.commit.to_string(),
                replica.applied.to_string(),
                replica.last.to_string(),
            ];
            // A shard's own columns are shown once, on its first line.
            table.add_row(std::mem::take(&mut first).into_iter().chain(rest));
        }
    }
    table
}

fn cores_table(replies: &[CoreStatusReply]) -> Table {
    let mut table = plain_table([
        "node",
        "core",
        "address",
        "up",
        "log",
        "ready",
        "index",
        "overlay rows",
        "segment waits",
        "disk free",
        "disk",
        "refused for it",
    ]);
    for reply in replies {
        let who = [reply.node.to_string(), reply.core.to_string(), reply.address.to_string()];
        match &reply.status {
            Ok(status) => table.add_row(who.into_iter().chain([
                format!("{} s", status.uptime_secs),
                show_size(status.log_bytes),
                show_size(status.log_ready_bytes),
                show_size(status.index_bytes),
                status.overlay_rows.to_string(),
                status.segment_waits.to_string(),
                show_size(status.disk.free_bytes),
                room(status.disk.room).to_owned(),
                status.writes_refused.to_string(),
            ])),
            Err(error) => table.add_row(who.into_iter().chain([format!("no answer: {error}")])),
        };
    }
    table
}

fn plain_table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    table
}

fn document(map: &Map, overview: &Overview<'_>, replies: &[CoreStatusReply]) -> Object {
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
            Object::default()
                .field("node", core.node.0)
                .field("core", core.core.0)
                .field("replica", replica.replica.0)
                .field("role", role(replica.role))
                .field("leader", replica.leader.map(|node| node.0))
                .field("term", replica.term.0)
                .field("commit", replica.commit.0)
                .field("applied", replica.applied.0)
                .field("last", replica.last.0)
                .field("writes", writes(replica.writes))
                .into()
        })
        .collect();
    Object::default()
        .field("shard", view.shard.id.0)
        .bytes("low", &view.shard.low)
        .bytes("high", &view.shard.high)
        .field("leader", view.leader.map(|node| node.0))
        .field("replicas", replicas)
}

fn core_object(reply: &CoreStatusReply) -> Object {
    let who = Object::default()
        .field("node", reply.node.0)
        .field("core", reply.core.0)
        .field("address", reply.address.to_string());
    match &reply.status {
        Ok(status) => who
            .field("uptime_secs", status.uptime_secs)
            .field("log_bytes", status.log_bytes)
            .field("log_ready_bytes", status.log_ready_bytes)
            .field("index_bytes", status.index_bytes)
            .field("overlay_rows", status.overlay_rows)
            .field("segment_waits", status.segment_waits)
            .field("disk_free_bytes", status.disk.free_bytes)
            .field("disk", room(status.disk.room))
            .field("writes_refused", status.writes_refused),
        Err(error) => who.field("error", error.to_string()),
    }
}

fn role(role: ReplicaRole) -> &'static str {
    match role {
        ReplicaRole::Follower => "follower",
        ReplicaRole::Candidate => "candidate",
        ReplicaRole::Leader => "leader",
        ReplicaRole::Damaged => "damaged",
    }
}

fn room(room: DiskRoom) -> &'static str {
    match room {
        DiskRoom::Ample => "ample",
        DiskRoom::Low => "low",
        DiskRoom::Full => "full",
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use margate_net::ids::{ClusterId, CoreId, LogIndex, MapEpoch, MemberEpoch, RangeEpoch, ReplicaId};
    use margate_net::map::{MapNode, MapReplica};
    use margate_net::message::DiskState;

    fn map() -> Map {
        let nodes = (1..=2).map(|id| MapNode {
            id: NodeId(id),
            cores: vec![([127, 0, 0, 1], 7_400).into()],
        });
        let replicas = (1..=2).map(|id| MapReplica {
            id: ReplicaId(id),
            node: NodeId(id),
            core: CoreId(0),
        });
        let shard = MapShard {
            id: ShardId(1),
            low: Bytes::new(),
            high: Bytes::new(),
            range_epoch: RangeEpoch(1),
            member_epoch: MemberEpoch(1),
            replicas: replicas.collect(),
        };
        Map::new(ClusterId(7), MapEpoch(1), nodes.collect(), vec![shard]).expect("valid")
    }

    fn reply(node: u64, role: ReplicaRole, term: u64) -> CoreStatusReply {
        let replica = ReplicaStatus {
            shard: ShardId(1),
            replica: ReplicaId(node),
            role,
            leader: None,
            term: Term(term),
            commit: LogIndex(1),
            applied: LogIndex(1),
            last: LogIndex(1),
            writes: WritesTaken::All,
        };
        let status = CoreStatus {
            node: NodeId(node),
            core: CoreId(0),
            uptime_secs: 1,
            log_bytes: 64 << 20,
            log_ready_bytes: 0,
            index_bytes: 0,
            overlay_rows: 0,
            segment_waits: 0,
            disk: DiskState::default(),
            writes_refused: 0,
            replicas: vec![replica],
        };
        CoreStatusReply {
            address: ([127, 0, 0, 1], 7_400).into(),
            node: NodeId(node),
            core: CoreId(0),
            status: Ok(status),
        }
    }

    #[test]
    fn only_the_leader_of_the_highest_term_counts() {
        let map = map();
        for (replies, without) in [
            (vec![reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Follower, 3)], 0),
            (vec![reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Candidate, 4)], 1),
            (vec![reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Leader, 4)], 0),
            (vec![], 1),
        ] {
            assert_eq!(Overview::new(&map, &replies).without_leader(), without);
        }
        let split = [reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Leader, 4)];
        assert_eq!(Overview::new(&map, &split).shards[0].leader, Some(NodeId(2)));
    }

    #[test]
    fn tables_and_document_say_the_same() {
        let (map, replies) = (map(), [reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Follower, 3)]);
        let overview = Overview::new(&map, &replies);
        let table = shards_table(&overview).to_string();
        assert!(table.contains("node 1") && table.contains("(end)"), "{table}");
        assert!(cores_table(&replies).to_string().contains("64.0 MiB"));
        let document = Value::from(document(&map, &overview, &replies));
        assert_eq!(document["shards"][0]["leader"], 1);
        assert_eq!(document["cores"][1]["log_bytes"], 64 << 20);
    }
}
