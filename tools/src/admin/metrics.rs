//! A look at a node as text for Prometheus (OpenMetrics 1.0).
//!
//! Names are `margate_`, what it is, a unit if it has one, and `_total` for what only grows. Labels are few: core, op, result, stage, role,
//! peer; shard only on cores that have few of them. Everything comes from one copy per core, so a scrape adds nothing to what cores do but
//! making that copy.

use std::fmt::Error;

use margate_net::codec::OperationKind;
use margate_net::measure::{Histogram, Measures, Span, Traffic, result_name};
use margate_net::message::{CoreStatus, Readiness, ReplicaRole, ReplicaStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::look::{Answer, CoreView, View};
use super::names::{Measured, NUMBERS};

/// What the text is.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Replicas of a core up to which each has a line of its own.
const SHARD_LABELS_MAX: usize = 64;

type Labels = Vec<(&'static str, String)>;

/// A node's metrics as text.
///
/// # Errors
/// The library's word that it could not write.
pub(super) fn encode(view: View) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("margate");
    registry.register_collector(Box::new(Metrics(view)));
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics(View);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut page = Page { encoder };
        let view = &self.0;
        node(&mut page, view)?;
        cores(&mut page, &view.serving)?;
        let answered = view.serving.iter().filter_map(|core| match &core.answer {
            Answer::Status(status) => Some(&**status),
            Answer::Silence | Answer::Stopped => None,
        });
        let answered: Vec<&CoreStatus> = answered.collect();
        disks(&mut page, &answered)?;
        replicas(&mut page, &answered)?;
        shards(&mut page, &answered)?;
        let measured: Vec<(&CoreStatus, &Measures)> = answered
            .iter()
            .filter_map(|status| Some((*status, status.measures.as_ref()?)))
            .collect();
        numbers(&mut page, &measured)?;
        operations(&mut page, &measured)?;
        times(&mut page, &measured)?;
        traffic(&mut page, &measured)
    }
}

fn node(page: &mut Page<'_>, view: &View) -> Result<(), Error> {
    let version = [("version", env!("CARGO_PKG_VERSION")), ("node", &view.node.to_string())];
    page.encoder
        .encode_descriptor("build", "What this node runs", None, MetricType::Info)?
        .encode_info(&version)?;
    let bare = |value: u64| vec![(Labels::new(), value)];
    page.gauge(
        "member",
        "Whether the node is a member of a deployment",
        None,
        bare(view.member.into()),
    )?;
    page.gauge("cores", "Cores of the node", None, bare(view.cores as u64))?;
    let serving = bare(view.serving.len() as u64);
    page.gauge("cores_serving", "Cores that serve; the others replay their logs", None, serving)
}

fn cores(page: &mut Page<'_>, cores: &[CoreView]) -> Result<(), Error> {
    let up = |core: &CoreView| u64::from(matches!(core.answer, Answer::Status(_)));
    let of_cores = |value: &dyn Fn(&CoreView) -> u64| -> Vec<(Labels, u64)> {
        let labelled = cores.iter().map(|core| (vec![("core", core.core.to_string())], value(core)));
        labelled.collect()
    };
    page.gauge("core_up", "Whether the core answered this scrape", None, of_cores(&up))?;
    let silences = of_cores(&|core| core.silences);
    page.counter("core_unanswered", "Looks that the core did not answer in time", None, silences)?;
    let stuck = of_cores(&|core| core.stuck_times);
    page.counter(
        "core_stuck",
        "Times the core did not come round for longer than admin.stall",
        None,
        stuck,
    )?;
    let seconds = cores.iter().map(|core| {
        let labels = vec![("core", core.core.to_string())];
        (labels, seconds(core.stuck_for.map_or(0, |span| span.0)))
    });
    page.gauge(
        "core_stuck",
        "For how long the core has not come round, zero if it does",
        Some(Unit::Seconds),
        seconds,
    )
}

fn disks(page: &mut Page<'_>, cores: &[&CoreStatus]) -> Result<(), Error> {
    let of_cores = |value: &dyn Fn(&CoreStatus) -> u64| -> Vec<(Labels, u64)> {
        let labelled = cores.iter().map(|core| (of_core(core), value(core)));
        labelled.collect()
    };
    let bytes = || Some(Unit::Bytes);
    let uptime = of_cores(&|core| core.uptime_secs);
    page.gauge("uptime", "Time since the node's start", Some(Unit::Seconds), uptime)?;
    page.gauge(
        "log",
        "Log segments, prewritten ones included",
        bytes(),
        of_cores(&|core| core.log_bytes),
    )?;
    let ready = of_cores(&|core| core.log_ready_bytes);
    page.gauge("log_ready", "Log segments that wait empty", bytes(), ready)?;
    let waits = of_cores(&|core| core.segment_waits);
    page.counter(
        "log_segment_waits",
        "Batches that had to wait for a prewritten segment",
        None,
        waits,
    )?;
    page.gauge(
        "index",
        "The index on disk, as far as it is in use",
        bytes(),
        of_cores(&|core| core.index_bytes),
    )?;
    let rows = of_cores(&|core| core.overlay_rows);
    page.gauge("overlay_rows", "Rows applied and not yet committed to the index", None, rows)?;
    let free = of_cores(&|core| core.disk.free_bytes);
    page.gauge(
        "disk_free",
        "Bytes that may still be written to the log's file system",
        bytes(),
        free,
    )?;
    let room = of_cores(&|core| core.disk.room as u64);
    page.gauge("disk_room", "0: the disk has ample room, 1: it is low, 2: it is full", None, room)?;
    let refused = of_cores(&|core| core.writes_refused);
    page.counter("writes_refused_for_disk", "Writes refused because disks were full", None, refused)
}

fn replicas(page: &mut Page<'_>, cores: &[&CoreStatus]) -> Result<(), Error> {
    let roles = [
        (ReplicaRole::Follower, "follower"),
        (ReplicaRole::Candidate, "candidate"),
        (ReplicaRole::Leader, "leader"),
        (ReplicaRole::Damaged, "damaged"),
    ];
    let in_roles = cores.iter().flat_map(|core| {
        roles.map(|(role, name)| {
            let count = core.replicas.iter().filter(|replica| replica.role == role).count();
            ([of_core(core), vec![("role", name.to_owned())]].concat(), count as u64)
        })
    });
    page.gauge("replicas", "Replicas of the core, by what they do", None, in_roles)?;
    let counted = |wanted: &dyn Fn(&&ReplicaStatus) -> bool| -> Vec<(Labels, u64)> {
        let count = |core: &&CoreStatus| core.replicas.iter().filter(wanted).count() as u64;
        cores.iter().map(|core| (of_core(core), count(core))).collect()
    };
    let leaderless = counted(&|replica| replica.leader.is_none());
    page.gauge("replicas_leaderless", "Replicas that know no leader", None, leaderless)?;
    let ready = counted(&|replica| replica.readiness == Readiness::Ready);
    page.gauge("replicas_ready", "Replicas that could stand in for another", None, ready)?;
    let awaited = cores.iter().map(|core| (of_core(core), u64::from(core.shards_awaited)));
    page.gauge(
        "shards_awaited",
        "Shards of which the core is to have a replica and has none",
        None,
        awaited,
    )?;
    let most = |core: &&CoreStatus| core.replicas.iter().map(ReplicaStatus::lag).max().unwrap_or(0);
    let lags = cores.iter().map(|core| (of_core(core), most(core)));
    page.gauge(
        "apply_lag_entries",
        "Entries committed and not applied, of the replica that has most",
        None,
        lags,
    )
}

/// A line for each replica, on cores that have few.
fn shards(page: &mut Page<'_>, cores: &[&CoreStatus]) -> Result<(), Error> {
    let few = cores.iter().filter(|core| core.replicas.len() <= SHARD_LABELS_MAX);
    let replicas: Vec<(Labels, &ReplicaStatus)> = few
        .flat_map(|core| core.replicas.iter().map(|replica| (of_shard(core, replica), replica)))
        .collect();
    let of_shards = |value: &dyn Fn(&ReplicaStatus) -> u64| -> Vec<(Labels, u64)> {
        let labelled = replicas.iter().map(|(labels, replica)| (labels.clone(), value(replica)));
        labelled.collect()
    };
    let leads = of_shards(&|replica| u64::from(replica.role == ReplicaRole::Leader));
    page.gauge("shard_leads", "Whether this core leads the shard", None, leads)?;
    let known = of_shards(&|replica| u64::from(replica.leader.is_some()));
    page.gauge("shard_has_leader", "Whether this core knows a leader of the shard", None, known)?;
    page.gauge("shard_term", "The replica's term", None, of_shards(&|replica| replica.term.0))?;
    let committed = of_shards(&|replica| replica.commit.0);
    page.gauge(
        "shard_commit_index",
        "Highest entry that the replica knows to be committed",
        None,
        committed,
    )?;
    page.gauge(
        "shard_apply_lag_entries",
        "Entries committed and not applied",
        None,
        of_shards(&ReplicaStatus::lag),
    )
}

fn numbers(page: &mut Page<'_>, cores: &[(&CoreStatus, &Measures)]) -> Result<(), Error> {
    for (number, name, measured, help) in NUMBERS {
        let unit = match measured {
            Measured::Things => None,
            Measured::Bytes => Some(Unit::Bytes),
        };
        let values = cores.iter().map(|(core, measures)| (of_core(core), measures.numbers.get(number)));
        if number.is_level() {
            page.gauge(name, help, unit, values)?;
        } else {
            page.counter(name, help, unit, values)?;
        }
    }
    Ok(())
}

fn operations(page: &mut Page<'_>, cores: &[(&CoreStatus, &Measures)]) -> Result<(), Error> {
    let cells = cores.iter().flat_map(|(core, measures)| {
        measures.outcomes.counted().map(|(kind, code, count)| {
            let result = result_name(code).unwrap_or("unknown").to_owned();
            let labels = vec![("op", kind.name().to_owned()), ("result", result)];
            ([of_core(core), labels].concat(), count)
        })
    });
    page.counter(
        "operations",
        "Operations answered, by what was asked and what was answered",
        None,
        cells,
    )
}

fn times(page: &mut Page<'_>, cores: &[(&CoreStatus, &Measures)]) -> Result<(), Error> {
    let stages = Span::all().filter_map(|span| {
        let (op, stage) = match span {
            Span::Write(stage) => ("write", stage.name()),
            Span::Read(stage) => ("read", stage.name()),
            Span::Operation(_) | Span::LogFlush | Span::IndexCommit | Span::Turn => return None,
        };
        Some((vec![("op", op.to_owned()), ("stage", stage.to_owned())], span))
    });
    let stages: Vec<(Labels, Span)> = stages.collect();
    let help = "From the stage before until an operation reached this one on the core that serves it";
    page.histogram("stage", help, cores, &stages)?;
    let kinds = OperationKind::ALL.map(|kind| (vec![("op", kind.name().to_owned())], Span::Operation(kind)));
    let help = "From the arrival of an operation's frame until its answer was written to the socket";
    page.histogram("operation", help, cores, &kinds)?;
    for (name, help, span) in [
        ("log_flush", "A batch's write to the log, until it is durable", Span::LogFlush),
        ("index_commit", "A generation's commit to the index", Span::IndexCommit),
        ("turn", "A turn of the core, in which it hears nobody else", Span::Turn),
    ] {
        page.histogram(name, help, cores, &[(Labels::new(), span)])?;
    }
    Ok(())
}

fn traffic(page: &mut Page<'_>, cores: &[(&CoreStatus, &Measures)]) -> Result<(), Error> {
    let of_peers = |value: &dyn Fn(&Traffic) -> u64| -> Vec<(Labels, u64)> {
        let links = cores
            .iter()
            .flat_map(|(core, measures)| measures.traffic.iter().map(move |peer| (*core, peer)));
        let labelled = links.map(|(core, peer)| {
            let labels = vec![("peer", format!("{}/{}", peer.node, peer.core))];
            ([of_core(core), labels].concat(), value(peer))
        });
        labelled.collect()
    };
    let bytes = || Some(Unit::Bytes);
    let sent = of_peers(&|peer| peer.frames_sent);
    page.counter("peer_frames_sent", "Frames for a peer's core (node/core)", None, sent)?;
    let sent = of_peers(&|peer| peer.bytes_sent);
    page.counter("peer_sent", "Bytes of frames for a peer's core", bytes(), sent)?;
    let dropped = of_peers(&|peer| peer.frames_dropped);
    page.counter(
        "peer_frames_dropped",
        "Frames dropped, for the peer's core could not be reached",
        None,
        dropped,
    )?;
    let heard = of_peers(&|peer| peer.frames_received);
    page.counter("peer_frames_received", "Frames that came from a peer's core", None, heard)?;
    let heard = of_peers(&|peer| peer.bytes_received);
    page.counter("peer_received", "Bytes of frames that came from a peer's core", bytes(), heard)
}

fn of_core(core: &CoreStatus) -> Labels {
    vec![("core", core.core.to_string())]
}

fn of_shard(core: &CoreStatus, replica: &ReplicaStatus) -> Labels {
    vec![("core", core.core.to_string()), ("shard", replica.shard.to_string())]
}

/// Nanoseconds in seconds. A sum of years loses nanoseconds, which nobody misses.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The text in the making.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    fn counter(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
        for (labels, value) in samples {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauge<V: prometheus_client::encoding::EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        samples: impl IntoIterator<Item = (Labels, V)>,
    ) -> Result<(), Error> {
        let mut family = self.encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, cores: &[(&CoreStatus, &Measures)], spans: &[(Labels, Span)]) -> Result<(), Error> {
        let unit = Unit::Seconds;
        let mut family = self.encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (core, measures) in cores {
            for (labels, span) in spans {
                let times = measures.times.get(*span);
                let labels = [of_core(core), labels.clone()].concat();
                let buckets = buckets(times);
                family
                    .encode_family(&labels)?
                    .encode_histogram::<NoLabelSet>(seconds(times.sum()), times.count(), &buckets, None)?;
            }
        }
        Ok(())
    }
}

/// How many fell between a doubling and the next, the last without a bound.
fn buckets(times: &Histogram) -> Vec<(f64, u64)> {
    let mut below = 0;
    let doublings = times.doublings().map(|(bound, count)| (seconds(bound), count));
    let all = doublings.chain([(f64::INFINITY, times.count())]);
    all.map(|(bound, count)| (bound, count - std::mem::replace(&mut below, count)))
        .collect()
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
