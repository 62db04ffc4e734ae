//! `amplification`: bytes on disk for each byte of a value.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Verdict, scratch, turn};
use crate::amplification::Counted;
use crate::amplification::arguments::AmplificationArguments;
use crate::amplification::report::{AmplificationReport, REPLICAS, kind_of};
use crate::amplification::turnover::Segments;
use crate::driver::{Plan, drive};
use crate::error::PerfError;
use crate::margate::room::Holdings;
use crate::margate::sizes::Sizes;
use crate::margate::started::{Shape, Started};
use crate::margate::target::Margate;
use crate::proc::disk::{Disk, DiskBytes};
use crate::proc::written::{ByThread, bytes_by_thread, since};
use crate::workload::Workload;

/// Overwrites between two looks at how far the logs have come.
const STRETCH: Duration = Duration::from_secs(1);
/// Overwrites of each key that count: the index commits often enough in them that it makes no difference where in its rounds they begin and end.
const STEADY_VALUES_PER_KEY: u64 = 2;
/// How long others are watched before the start.
const WATCH_OTHERS: Duration = Duration::from_secs(2);
/// A log that was not turned over after so many values for each key never will be.
const VALUES_PER_KEY_MAX: u64 = 100;

/// Measures each size of value in a deployment of its own. Good if every write ended as it may.
///
/// # Errors
/// There is too little room, the deployment does not start or does not take the load, or the disk cannot be told.
pub(crate) async fn run(arguments: &AmplificationArguments) -> Result<Verdict, PerfError> {
    eprintln!("nothing else should write to this disk meanwhile: the kernel counts its bytes whoever writes them");
    let mut verdict = Verdict::Good;
    for value_bytes in &arguments.value_bytes {
        let work = async |folder: &Path| in_folder(arguments, *value_bytes, folder).await;
        verdict = verdict.and(scratch::within(&arguments.start.scratch, work).await?);
    }
    Ok(verdict)
}

async fn in_folder(arguments: &AmplificationArguments, value_bytes: usize, folder: &Path) -> Result<Verdict, PerfError> {
    let holdings = Holdings {
        keys: arguments.keys,
        value_bytes,
        cores: 1,
    };
    holdings.check_room(folder)?;
    let disk = Disk::of(folder).map_err(PerfError::file(folder))?;
    let unknown = || PerfError::NoDisk { path: folder.to_owned() };
    let alone = disk.bytes_synced().ok_or_else(unknown)?;
    sleep(WATCH_OTHERS).await;
    let before = disk.bytes_synced().ok_or_else(unknown)?;
    let others_bytes_per_s = before.since(alone).written / WATCH_OTHERS.as_secs();
    let began = Look {
        at: Instant::now(),
        disk: before,
        nodes: ByThread::new(),
        segments: Segments::default(),
    };
    let shape = Shape {
        segment_mib: arguments.segment_mib,
        ..Shape::USUAL
    };
    let started = Started::start(&arguments.start, folder, shape).await?;
    let mut run = Run {
        arguments,
        disk,
        others_bytes_per_s,
        target: Arc::new(Counted::new(started.target.clone())),
        workload: Arc::new(Workload::new(arguments.keys, value_bytes, arguments.seed)),
        started,
        phase: 0,
        verdict: Verdict::Good,
    };
    run.measure(began).await?;
    Ok(run.verdict)
}

/// Everything that counts bytes, at one instant.
#[derive(Clone)]
struct Look {
    at: Instant,
    disk: DiskBytes,
    nodes: ByThread,
    segments: Segments,
}

/// Writes of a stretch.
#[derive(Clone, Copy, Debug, Default)]
struct Puts {
    acknowledged: u64,
    unknown: u64,
}

impl Puts {
    fn add(&mut self, more: Self) {
        self.acknowledged += more.acknowledged;
        self.unknown += more.unknown;
    }
}

struct Run<'a> {
    arguments: &'a AmplificationArguments,
    disk: Disk,
    others_bytes_per_s: u64,
    started: Started,
    target: Arc<Counted<Margate>>,
    workload: Arc<Workload>,
    phase: u64,
    verdict: Verdict,
}

impl Run<'_> {
    async fn measure(&mut self, began: Look) -> Result<(), PerfError> {
        let unknown = turn::load_keys("margate", &self.target, &self.workload).await?;
        self.started.rest().await?;
        let filled = self.look()?;
        let puts = Puts {
            acknowledged: self.target.take_puts(),
            unknown,
        };
        self.report("fill", puts, (&began, &filled)).await?;
        self.overwrite_until_turned_over(&filled.segments).await?;
        // What was written meanwhile lies in new files still; the log has its size now and recycles from here on.
        let grown = Segments::of(&self.started.nodes.logs())?;
        self.overwrite_until_turned_over(&grown).await?;
        let steady = self.look()?;
        let mut puts = Puts::default();
        while puts.acknowledged < STEADY_VALUES_PER_KEY * self.arguments.keys {
            puts.add(self.overwrite().await?);
        }
        let ended = self.look()?;
        self.report("steady", puts, (&steady, &ended)).await
    }

    /// Overwrites until nothing of what is there now is left.
    async fn overwrite_until_turned_over(&mut self, then: &Segments) -> Result<(), PerfError> {
        let mut puts = Puts::default();
        let logs = self.started.nodes.logs();
        while !then.is_turned_over(&Segments::of(&logs)?) {
            puts.add(self.overwrite().await?);
            self.started.nodes.check_all()?;
            let Puts { acknowledged: puts, .. } = puts;
            if puts > self.arguments.keys.max(1_000).saturating_mul(VALUES_PER_KEY_MAX) {
                return Err(PerfError::NotReclaimed { puts });
            }
        }
        let size = self.workload.values.bytes();
        eprintln!("{size} B: all that was there was reclaimed after {} overwrites", puts.acknowledged);
        Ok(())
    }

    /// A stretch of overwrites.
    async fn overwrite(&mut self) -> Result<Puts, PerfError> {
        self.phase += 1;
        let plan = Plan::puts(usize::from(self.arguments.in_flight), STRETCH, self.phase);
        let measured = drive(self.target.clone(), self.workload.clone(), plan).await?;
        if let Some(failure) = &measured.first_failure {
            eprintln!("  first failure: {failure}");
        }
        let total = measured.total();
        self.verdict = self.verdict.and(Verdict::of(self.arguments.outcomes.allow(&total)));
        Ok(Puts {
            acknowledged: self.target.take_puts(),
            unknown: total.unknown,
        })
    }

    fn look(&self) -> Result<Look, PerfError> {
        let path = || PerfError::NoDisk {
            path: self.arguments.start.scratch.data_root.clone(),
        };
        Ok(Look {
            at: Instant::now(),
            disk: self.disk.bytes_synced().ok_or_else(path)?,
            nodes: bytes_by_thread(self.started.processes.pids()),
            segments: Segments::of(&self.started.nodes.logs())?,
        })
    }

    async fn report(&self, phase: &'static str, puts: Puts, (from, to): (&Look, &Look)) -> Result<(), PerfError> {
        let mut nodes_bytes = BTreeMap::new();
        for (thread, bytes) in since(&to.nodes, &from.nodes) {
            *nodes_bytes.entry(kind_of(&thread).to_owned()).or_default() += bytes;
        }
        let report = AmplificationReport {
            bench: "amplification",
            phase,
            value_bytes: self.workload.values.bytes(),
            keys: self.workload.keys,
            replicas: REPLICAS,
            puts: puts.acknowledged,
            unknown: puts.unknown,
            secs: (to.at - from.at).as_secs_f64(),
            disk_per_byte: 0.0,
            nodes_per_byte: 0.0,
            disk_bytes: to.disk.since(from.disk).written,
            nodes_bytes,
            others_bytes_per_s: self.others_bytes_per_s,
            segments_gone: from.segments.gone(&to.segments),
            segments_recycled: to.segments.recycled(),
            sizes: Sizes::of(&self.started.cores().await),
        };
        self.arguments.printed.output().emit(&report.with_ratios())
    }
}
