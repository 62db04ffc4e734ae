//! What happened between two looks: rates from counts, latencies from histograms. Plain arithmetic.

use std::time::{Duration, Instant};

use margate_client::CoreStatusReply;
use margate_net::codec::OperationKind;
use margate_net::ids::{ClusterId, CoreId, NodeId};
use margate_net::measure::{Histogram, Measures, Number, Span, Times, result_name};
use margate_net::message::{CoreStatus, DiskState, ReplicaRole, ReplicaStatus};

use crate::cmd::cores::obstacle;
use crate::cmd::spans::{Latency, Measured, measured};

/// All cores, at one moment.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) cluster: ClusterId,
    pub(super) shards: usize,
    /// Shards of which no core that answered is the leader.
    pub(super) leaderless: usize,
    pub(super) replies: Vec<CoreStatusReply>,
}

/// What happened between two looks.
#[derive(Debug)]
pub(super) struct Between {
    pub(super) cluster: ClusterId,
    /// Time between them.
    pub(super) span: Duration,
    pub(super) shards: usize,
    /// Shards of which no core that answered is the leader.
    pub(super) leaderless: usize,
    pub(super) cores: Vec<CoreRow>,
    /// Of all cores together.
    pub(super) latencies: Vec<Measured>,
}

/// One core.
#[derive(Debug)]
pub(super) struct CoreRow {
    pub(super) node: NodeId,
    pub(super) core: CoreId,
    /// What it did, or why it does not say.
    pub(super) did: Result<Did, String>,
}

/// What a core is and did; rates are per second.
#[derive(Debug)]
pub(super) struct Did {
    pub(super) leads: usize,
    pub(super) replicas: usize,
    /// Entries committed and not applied, of the replica that has most.
    pub(super) lag: u64,
    pub(super) log_bytes: u64,
    pub(super) disk: DiskState,
    pub(super) connections: u64,
    /// Nothing where it answered only one of the looks.
    pub(super) rates: Option<Rates>,
}

/// How much a core did.
#[derive(Debug)]
pub(super) struct Rates {
    pub(super) writes: u64,
    pub(super) reads: u64,
    /// Operations that were neither carried out nor answered with what the state is.
    pub(super) refused: u64,
    pub(super) write: Option<Latency>,
    pub(super) read: Option<Latency>,
    pub(super) flush: Option<Latency>,
    pub(super) flushes: u64,
    pub(super) log_bytes: u64,
    pub(super) peer_bytes: u64,
    pub(super) turn: Option<Latency>,
    /// Stalls, not per second: all of them.
    pub(super) stalls: u64,
}

const WRITES: [OperationKind; 3] = [OperationKind::Set, OperationKind::Delete, OperationKind::CompareExchange];
const READS: [OperationKind; 3] = [OperationKind::Get, OperationKind::Size, OperationKind::List];
/// Answers that tell what was done or what the state is.
const TOLD: [&str; 5] = ["ok", "not_found", "already_exists", "version_mismatch", "no_such_version"];

impl Between {
    pub(super) fn new(before: &Look, now: &Look) -> Self {
        let span = now.at.saturating_duration_since(before.at);
        let measures_before = |reply: &CoreStatusReply| {
            let same = |other: &&CoreStatusReply| (other.node, other.core) == (reply.node, reply.core);
            let status = before.replies.iter().find(same)?.status.as_ref().ok()?;
            status.measures.as_ref()
        };
        let mut times = Times::default();
        let mut row = |reply: &CoreStatusReply| {
            let did = reply.status.as_ref().map_err(obstacle).map(|status| {
                let pair = measures_before(reply).zip(status.measures.as_ref());
                let between = pair.map(|(before, now)| now.since(before));
                between.iter().for_each(|between| times.add(&between.times));
                Did::new(status, between.as_ref(), span)
            });
            CoreRow {
                node: reply.node,
                core: reply.core,
                did,
            }
        };
        let cores = now.replies.iter().map(&mut row).collect();
        Self {
            cluster: now.cluster,
            span,
            shards: now.shards,
            leaderless: now.leaderless,
            cores,
            latencies: measured(&times),
        }
    }

    /// Of all cores together, per second: writes, reads, refused.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let rates = self.cores.iter().filter_map(|row| row.did.as_ref().ok()?.rates.as_ref());
        rates.fold((0, 0, 0), |sum, rates| {
            (sum.0 + rates.writes, sum.1 + rates.reads, sum.2 + rates.refused)
        })
    }
}

impl Did {
    fn new(status: &CoreStatus, between: Option<&Measures>, span: Duration) -> Self {
        let leads = status.replicas.iter().filter(|replica| replica.role == ReplicaRole::Leader);
        let lags = status.replicas.iter().map(ReplicaStatus::lag);
        let measures = status.measures.as_ref();
        Self {
            leads: leads.count(),
            replicas: status.replicas.len(),
            lag: lags.max().unwrap_or(0),
            log_bytes: status.log_bytes,
            disk: status.disk,
            connections: measures.map_or(0, |measures| measures.numbers.get(Number::Connections)),
            rates: between.map(|between| Rates::new(between, span)),
        }
    }
}

impl Rates {
    fn new(between: &Measures, span: Duration) -> Self {
        let counted = |wanted: &dyn Fn(OperationKind, bool) -> bool| {
            let cells = between.outcomes.counted().filter(|(kind, code, _)| wanted(*kind, told(*code)));
            per_second(cells.map(|(_, _, count)| count).sum(), span)
        };
        let together = |kinds: [OperationKind; 3]| {
            let mut all = Histogram::default();
            kinds.iter().for_each(|kind| all.add(between.times.get(Span::Operation(*kind))));
            Latency::of(&all)
        };
        let number = |number| between.numbers.get(number);
        Self {
            writes: counted(&|kind, told| told && WRITES.contains(&kind)),
            reads: counted(&|kind, told| told && READS.contains(&kind)),
            refused: counted(&|_, told| !told),
            write: together(WRITES),
            read: together(READS),
            flush: Latency::of(between.times.get(Span::LogFlush)),
            flushes: per_second(number(Number::LogBatches), span),
            log_bytes: per_second(number(Number::LogBytes), span),
            peer_bytes: per_second(between.traffic.iter().map(|peer| peer.bytes_sent).sum(), span),
            turn: Latency::of(between.times.get(Span::Turn)),
            stalls: number(Number::Stalls),
        }
    }
}

fn told(code: u16) -> bool {
    result_name(code).is_some_and(|name| TOLD.contains(&name))
}

fn per_second(count: u64, span: Duration) -> u64 {
    let nanos = span.as_nanos().max(1);
    u64::try_from((u128::from(count) * 1_000_000_000 + nanos / 2) / nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cmd::cores;
    use margate_client::Error;
    use margate_net::error::Refusal;
    use margate_net::ids::{ReplicaId, ShardId};
    use margate_net::measure::Traffic;

    fn reply(node: u64, measures: Option<Measures>) -> CoreStatusReply {
        let replica = |shard, role| ReplicaStatus::new(ShardId(shard), ReplicaId(node), role);
        let status = CoreStatus {
            log_bytes: 64 << 20,
            replicas: vec![replica(node, ReplicaRole::Leader), replica(9, ReplicaRole::Follower)],
            measures,
            ..CoreStatus::new(NodeId(node), CoreId(0))
        };
        cores::tests::reply(status)
    }

    /// Two seconds in which node 1 wrote and read, node 2 has come up, and node 3 went down.
    pub(in crate::cmd::top) fn two_seconds() -> Between {
        let start = Instant::now();
        let mut measures = Measures::default();
        measures.numbers.set(Number::LogBatches, 50);
        measures.times.record(Span::Turn, 1_000, 10);
        measures.traffic.push(Traffic::none(NodeId(2), CoreId(0)));
        let mut down = reply(3, Some(measures.clone()));
        let look = |at, replies| Look {
            at,
            cluster: ClusterId(7),
            shards: 4,
            leaderless: 2,
            replies,
        };
        let before = look(start, vec![reply(1, Some(measures.clone())), down.clone()]);
        measures.numbers.set(Number::LogBatches, 250);
        measures.numbers.set(Number::LogBytes, 8 << 20);
        measures.numbers.set(Number::Connections, 2);
        measures.numbers.set(Number::Stalls, 1);
        measures.times.record(Span::Turn, 2_000_000, 100);
        measures.times.record(Span::Operation(OperationKind::Set), 3_000_000, 1_000);
        (0..1_000).for_each(|_| measures.outcomes.count(OperationKind::Set, None));
        (0..10).for_each(|_| measures.outcomes.count(OperationKind::Get, Some(&Refusal::NotFound)));
        (0..4).for_each(|_| measures.outcomes.count(OperationKind::Get, Some(&Refusal::ShuttingDown)));
        measures.traffic[0].bytes_sent = 4_096;
        down.status = Err(Error::Closed);
        let now = look(
            start + Duration::from_secs(2),
            vec![reply(1, Some(measures)), reply(2, Some(Measures::default())), down],
        );
        Between::new(&before, &now)
    }

    #[test]
    fn rates_are_differences_by_the_second() {
        let between = two_seconds();
        assert_eq!((between.totals(), between.shards, between.leaderless), ((500, 5, 2), 4, 2));
        let did = between.cores[0].did.as_ref().expect("it answered");
        assert_eq!((did.leads, did.replicas, did.connections), (1, 2, 2));
        let rates = did.rates.as_ref().expect("it answered both times");
        assert_eq!((rates.flushes, rates.log_bytes, rates.peer_bytes), (100, 4 << 20, 2_048));
        assert_eq!((rates.stalls, rates.write.map(|write| write.count)), (1, Some(1_000)));
        assert!(rates.read.is_none() && rates.turn.is_some_and(|turn| turn.p50_ns > 1_000_000));
        assert!(
            between
                .latencies
                .iter()
                .any(|(named, latency)| named.name == "turn" && latency.count == 100)
        );
    }

    #[test]
    fn who_answers_once_has_no_rates_and_who_does_not_says_why() {
        let between = two_seconds();
        assert!(between.cores[1].did.as_ref().expect("it answered").rates.is_none());
        assert!(between.cores[2].did.is_err());
    }

    #[test]
    fn what_is_told_has_a_name_that_exists() {
        let known: Vec<&str> = (0..).map_while(result_name).collect();
        assert!(TOLD.iter().all(|name| known.contains(name)), "{known:?}");
    }
}
