//! `cold-get`: reads that go to the disk, and fio's, in turn: A B A B.

use std::path::Path;
use std::sync::Arc;

use super::{Verdict, scratch, turn};
use crate::cold_get::Spread;
use crate::cold_get::arguments::ColdGetArguments;
use crate::driver::{Pace, Plan};
use crate::error::PerfError;
use crate::fio::{Fio, FioLine, Job};
use crate::margate::room::Holdings;
use crate::margate::started::{Shape, Started};
use crate::proc::cpu::Stretch;
use crate::proc::disk::{Disk, DiskBytes};
use crate::report::versus::{Ratio, Versus};
use crate::units::in_words;
use crate::workload::Workload;
use crate::workload::bench::{Bench, Recipe};
use crate::workload::keys::key;

/// Bytes of the file that fio reads, at most: enough for no cache between it and the disk to matter.
const FIO_FILE_BYTES_MAX: u64 = 2 << 30;

/// Loads more than the caches hold and measures both in turn. Good if every read was answered.
///
/// # Errors
/// There is too little room, the deployment does not start or does not take the keys, or fio fails.
pub(crate) async fn run(arguments: &ColdGetArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &ColdGetArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let value_bytes = arguments.values.value_bytes;
    let started = Started::start(&arguments.start, folder, Shape::USUAL).await?;
    let wanted = Spread::of(&started.cores().await).keys(arguments.times, value_bytes);
    let keys = arguments.keys.unwrap_or(wanted);
    let holdings = Holdings {
        keys,
        value_bytes,
        cores: 1,
    };
    holdings.check_room(folder)?;
    let workload = arguments.values.workload(keys);
    turn::load_many(&started.target, &workload, key).await?;
    started.rest().await?;
    let times = Spread::of(&started.cores().await).times(keys, value_bytes);
    eprintln!(
        "{keys} values of {}: {times:.1} times the cache of the core that leads least",
        in_words(value_bytes as u64)
    );
    let fio_bytes = (keys * value_bytes as u64).clamp(1 << 20, FIO_FILE_BYTES_MAX);
    let run = Run {
        arguments,
        started,
        workload,
        fio: Fio::new(folder, fio_bytes),
        disk: Disk::of(folder).map_err(PerfError::file(folder))?,
    };
    run.rounds().await
}

struct Run<'a> {
    arguments: &'a ColdGetArguments,
    started: Started,
    workload: Arc<Workload>,
    fio: Fio,
    disk: Disk,
}

impl Run<'_> {
    async fn rounds(&self) -> Result<Verdict, PerfError> {
        let output = self.arguments.printed.output();
        let (mut ours, mut theirs, mut verdict) = (Vec::new(), Vec::new(), Verdict::Good);
        for round in 0..u64::from(self.arguments.turns.rounds) {
            let (rate, outcome) = self.our_turn(round).await?;
            ours.push(rate);
            verdict = verdict.and(outcome);
            let job = Job::RandomRead {
                block_bytes: self.arguments.block_bytes as usize,
                depth: usize::from(self.arguments.in_flight),
            };
            let reading = self.fio.run(job, self.arguments.turns.secs).await?;
            output.emit(&FioLine::new(job, reading))?;
            theirs.push(reading.ops_per_s);
        }
        if let Some(ratio) = Ratio::of(&ours, &theirs) {
            let value = in_words(self.arguments.values.value_bytes as u64);
            output.emit(&Versus {
                bench: format!("cold get of {value}, {} in flight", self.arguments.in_flight),
                number: "reads/s",
                peer: "fio",
                rounds: ours.len(),
                ratio,
            })?;
        }
        Ok(verdict)
    }

    async fn our_turn(&self, round: u64) -> Result<(f64, Verdict), PerfError> {
        let plan = Plan {
            recipe: Recipe::plain(Bench::Get),
            pace: Pace::Closed {
                in_flight: usize::from(self.arguments.in_flight),
            },
            warmup: self.arguments.turns.warmup,
            window: self.arguments.turns.secs,
            phase: round,
        };
        let stretch = Stretch::start(&[self.started.processes.pids(), &[std::process::id()]].concat());
        let before = self.disk.bytes().unwrap_or_default();
        let turn = turn::margate(&self.started.target, &self.started.processes, &self.workload, plan).await?;
        let DiskBytes { read, .. } = self.disk.bytes().unwrap_or_default().since(before);
        turn.report(self.arguments.printed.output(), None)?;
        turn::talk_about_cpu(&stretch, &[("margate", self.started.processes.pids())]);
        let whole_ms = (plan.warmup + plan.window).as_millis().max(1);
        eprintln!(
            "  the disk read {}/s meanwhile, whoever asked",
            in_words(u64::try_from(u128::from(read) * 1_000 / whole_ms).unwrap_or(u64::MAX))
        );
        self.started.nodes.check_all()?;
        Ok((turn.all.reading.ops_per_s, turn.verdict))
    }
}
