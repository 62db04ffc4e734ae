//! `margate status`: who leads, how far every replica has come, and what each core keeps on disk.
//!
//! [`Overview`] is the pure part: what the map says and the cores answered, put together by shard. `margate
//! dev` uses it too, to know when it is ready. [`mod@document`] prints it for programs, [`tables`] for people. With `--stages` it shows
//! where the time of operations went instead.

mod document;
mod tables;

use margate_client::{Client, CoreStatusReply};
use margate_net::ids::{CoreId, NodeId, ShardId, Term};
use margate_net::map::{Map, MapReplica, MapShard};
use margate_net::message::{CoreStatus, ReplicaRole, ReplicaStatus};

use self::document::document;
use self::tables::{print_stages, print_text};
use super::is_text;
use crate::args::StatusArgs;
use crate::error::Failure;
use crate::output::Output;

pub(crate) async fn run(client: &Client, output: &mut Output, args: &StatusArgs) -> Result<(), Failure> {
    let map = client.map().await;
    let replies = if args.stages {
        client.measures().await
    } else {
        client.status().await
    };
    let overview = Overview::new(&map, &replies);
    if is_text(output) && args.stages {
        print_stages(output, &replies)?;
    } else if is_text(output) {
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
    /// Those that cores have answered for.
    replicas: Vec<(&'a CoreStatus, &'a ReplicaStatus)>,
    /// Where the map has replicas whose cores do not answer. Their ids are not known: they may have been replaced since.
    silent: Vec<(NodeId, CoreId)>,
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
            silent: silent(&shard.replicas, answered),
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

fn silent(replicas: &[MapReplica], answered: &[&CoreStatus]) -> Vec<(NodeId, CoreId)> {
    let places = replicas.iter().map(|replica| (replica.node, replica.core));
    places
        .filter(|place| !answered.iter().any(|core| (core.node, core.core) == *place))
        .collect()
}

/// A deposed leader may still believe that it leads: the one of the highest term does.
fn leader(replicas: &[(&CoreStatus, &ReplicaStatus)]) -> Option<NodeId> {
    let highest: Option<Term> = replicas.iter().map(|(_, replica)| replica.term).max();
    replicas
        .iter()
        .find(|(_, replica)| replica.role == ReplicaRole::Leader && Some(replica.term) == highest)
        .map(|(core, _)| core.node)
}

fn role(role: ReplicaRole) -> &'static str {
    match role {
        ReplicaRole::Follower => "follower",
        ReplicaRole::Candidate => "candidate",
        ReplicaRole::Leader => "leader",
        ReplicaRole::Damaged => "damaged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::cores;
    use bytes::Bytes;
    use margate_client::Error;
    use margate_net::ids::{ClusterId, LogIndex, MapEpoch, MemberEpoch, RangeEpoch, ReplicaId};
    use margate_net::map::MapNode;
    use margate_net::measure::{Measures, Span, Stage};
    use serde_json::{Value, json};

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
            term: Term(term),
            commit: LogIndex(1),
            applied: LogIndex(1),
            last: LogIndex(1),
            ..ReplicaStatus::new(ShardId(1), ReplicaId(node), role)
        };
        let status = CoreStatus {
            log_bytes: 64 << 20,
            replicas: vec![replica],
            ..CoreStatus::new(NodeId(node), CoreId(0))
        };
        cores::tests::reply(status)
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
        let table = tables::shards(&overview).to_string();
        assert!(table.contains("node 1") && table.contains("(end)"), "{table}");
        assert!(tables::cores(&replies).to_string().contains("64.0 MiB"));
        let document = Value::from(document(&map, &overview, &replies));
        assert_eq!(document["shards"][0]["leader"], 1);
        assert_eq!(document["shards"][0]["replicas"][1]["replica"], 2);
        assert_eq!(document["shards"][0]["silent"], json!([]));
        assert_eq!(document["cores"][1]["log_bytes"], 64 << 20);
    }

    #[test]
    fn where_the_time_went_is_told_for_each_core() {
        let (map, mut replies) = (map(), [reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Follower, 3)]);
        let mut measures = Measures::default();
        measures.times.record(Span::Write(Stage::Durable), 250_000, 7);
        replies[0].status.as_mut().expect("an answer").measures = Some(measures);
        let table = tables::stages(&replies).to_string();
        assert_eq!(table.lines().count(), 2, "what was not measured has no row: {table}");
        assert!(table.contains("durable") && table.contains("262 µs"), "{table}");
        let document = Value::from(document(&map, &Overview::new(&map, &replies), &replies));
        assert_eq!(document["cores"][0]["spans"][0]["count"], 7);
        assert!(document["cores"][1].get("spans").is_none());
    }

    #[test]
    fn who_does_not_answer_is_down_and_its_replicas_are_unknown() {
        let (map, mut replies) = (map(), [reply(1, ReplicaRole::Leader, 3), reply(2, ReplicaRole::Follower, 3)]);
        replies[1].status = Err(Error::Closed);
        let overview = Overview::new(&map, &replies);
        let words = |table: comfy_table::Table, line: usize| {
            let text = table.to_string();
            let words: Vec<String> = text
                .lines()
                .nth(line)
                .expect("a row")
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            words
        };
        assert_eq!(words(tables::shards(&overview), 2), ["2", "0", "-", "unknown", "-", "-", "-", "-"]);
        assert_eq!(words(tables::cores(&replies), 2), ["2", "0", "127.0.0.1:7400", "down"]);
        let why = tables::why_down(&replies);
        assert!(why.len() == 1 && why[0].starts_with("node 2, core 0, no answer: "), "{why:?}");
        let document = Value::from(document(&map, &overview, &replies));
        assert_eq!(document["shards"][0]["silent"], json!([{ "node": 2, "core": 0 }]));
        assert_eq!(document["shards"][0]["replicas"].as_array().map(Vec::len), Some(1));
        // A core that answers and has no replica has none.
        let mut emptied = reply(2, ReplicaRole::Follower, 3).status.expect("an answer");
        emptied.replicas.clear();
        replies[1].status = Ok(emptied);
        assert!(Overview::new(&map, &replies).shards[0].silent.is_empty());
    }
}
