//! `overload`: ten times the load that gives most, for a minute.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Verdict, scratch, turn};
use crate::driver::measured::Measured;
use crate::driver::{Plan, drive};
use crate::error::PerfError;
use crate::margate::started::{Shape, Started};
use crate::margate::target::Margate;
use crate::meter::rounded;
use crate::overload::arguments::OverloadArguments;
use crate::overload::impatient::Impatient;
use crate::overload::mixed::Mixed;
use crate::overload::report::OverloadReport;
use crate::overload::slices::Sliced;
use crate::proc::cpu::Stretch;
use crate::proc::descriptors::durability;
use crate::proc::memory::Held;
use crate::target::Target;
use crate::workload::Workload;

/// Numbers of writes under way that the search tries.
const SEARCHED: [usize; 6] = [64, 128, 256, 512, 1_024, 2_048];
/// Load before a step counts.
const STEP_WARMUP: Duration = Duration::from_millis(500);
/// How often memory is looked at.
const HELD_EVERY: Duration = Duration::from_millis(500);
/// A tail so many times as long as before counts as ordinary.
const ORDINARY_TIMES: f64 = 1.5;

/// Finds the peak, overloads, and watches how it passes. Good if goodput, memory and latency stayed within bounds.
///
/// # Errors
/// The deployment does not start or ends.
pub(crate) async fn run(arguments: &OverloadArguments) -> Result<Verdict, PerfError> {
    scratch::within(&arguments.start.scratch, async |folder| in_folder(arguments, folder).await).await
}

async fn in_folder(arguments: &OverloadArguments, folder: &Path) -> Result<Verdict, PerfError> {
    let connections = usize::from(arguments.connections / 2) * 2;
    let started = Started::start(&arguments.start, folder, Shape::USUAL).await?;
    let endpoints = started.nodes.endpoints();
    let workload = arguments.values.workload(arguments.keys);
    turn::load_keys("margate", &started.target, &workload).await?;
    let all = Arc::new(Margate::connect(&endpoints, connections).await?);
    let run = Run {
        arguments,
        started,
        workload,
    };
    let peak = run.peak(&all).await?;
    // Half of them go: the other half of the connections is for those without patience.
    drop(all);
    let patient = Arc::new(Margate::connect(&endpoints, connections / 2).await?);
    let report = run.overload(peak, patient, connections / 2).await?;
    arguments.printed.output().emit(&report)?;
    run.started.nodes.check_all()?;
    Ok(Verdict::of(report.is_steady()))
}

/// What gives most.
#[derive(Clone, Copy, Debug)]
struct Peak {
    in_flight: usize,
    one_client: f64,
    all_clients: f64,
}

struct Run<'a> {
    arguments: &'a OverloadArguments,
    started: Started,
    workload: Arc<Workload>,
}

impl Run<'_> {
    async fn drive<T: Target>(&self, target: &Arc<T>, in_flight: usize, window: Duration, phase: u64) -> Result<Measured, PerfError> {
        let plan = Plan {
            warmup: STEP_WARMUP.min(window),
            ..Plan::puts(in_flight, window, phase)
        };
        drive(target.clone(), self.workload.clone(), plan).await
    }

    /// The number of writes under way that gives most, to one client and to all of them.
    async fn peak(&self, all: &Arc<Margate>) -> Result<Peak, PerfError> {
        let step = self.arguments.step;
        let given = self.arguments.peak_in_flight.map(|given| given as usize);
        let mut best = Peak {
            in_flight: given.unwrap_or(SEARCHED[0]),
            one_client: 0.0,
            all_clients: 0.0,
        };
        let searched = given.map_or_else(|| SEARCHED.to_vec(), |given| vec![given]);
        for (phase, in_flight) in (1..).zip(searched) {
            let one_client = rate(&self.drive(&self.started.target, in_flight, step, phase).await?);
            let all_clients = rate(&self.drive(all, in_flight, step, 100 + phase).await?);
            eprintln!(
                "  {in_flight} in flight: one client {one_client:.0} ops/s, {} clients {all_clients:.0} ops/s",
                all.clients()
            );
            if one_client.max(all_clients) > best.one_client.max(best.all_clients) {
                best = Peak {
                    in_flight,
                    one_client,
                    all_clients,
                };
            }
        }
        Ok(best)
    }

    async fn overload(&self, peak: Peak, patient: Arc<Margate>, each_kind: usize) -> Result<OverloadReport, PerfError> {
        let ordinary = (peak.in_flight / 2).max(1);
        let before = Arc::new(Sliced::new(self.started.target.clone(), self.arguments.ordinary + STEP_WARMUP));
        self.drive(&before, ordinary, self.arguments.ordinary, 200).await?;
        let mixed = Arc::new(Mixed {
            patient,
            impatient: self.impatient(each_kind).await?,
        });
        let in_flight = peak.in_flight * self.arguments.times as usize;
        let stretch = Stretch::start(&[self.started.processes.pids(), &[std::process::id()]].concat());
        let until_its_end = self.arguments.secs + STEP_WARMUP.min(self.arguments.secs);
        let afterwards = async {
            let (held, open) = self.watch(until_its_end).await;
            turn::talk_about_cpu(&stretch, &[("margate", self.started.processes.pids())]);
            let after = Arc::new(Sliced::new(self.started.target.clone(), self.arguments.ordinary));
            self.drive(&after, ordinary, self.arguments.ordinary, 202).await?;
            Ok((held, open, after))
        };
        let overload = self.drive(&mixed, in_flight, self.arguments.secs, 201);
        let (measured, (held_max, durability, after)) = tokio::try_join!(overload, afterwards)?;
        let (total, goodput) = (measured.total(), rate(&measured));
        if let Some(failure) = &measured.first_failure {
            eprintln!("  first failure: {failure}");
        }
        let (peak_per_s, ordinary_p99_us) = (peak.one_client.max(peak.all_clients), before.p99_us());
        let calm_after = after.calm_after(ORDINARY_TIMES * ordinary_p99_us);
        Ok(OverloadReport {
            bench: "overload",
            peak_in_flight: peak.in_flight,
            peak_one_client_per_s: rounded(peak.one_client),
            peak_all_clients_per_s: rounded(peak.all_clients),
            in_flight,
            connections: 2 * each_kind,
            impatient: each_kind,
            secs: self.arguments.secs.as_secs_f64(),
            goodput_per_s: rounded(goodput),
            goodput_ratio: (100.0 * goodput / peak_per_s).round() / 100.0,
            p99_us: rounded(total.micros_at(0.99)),
            hints_ignored: mixed.ignored(),
            errors: total.errors,
            unknown: total.unknown,
            held_max,
            ordinary_p99_us: rounded(ordinary_p99_us),
            calm_after_ms: calm_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            durability,
            version: self.started.processes.version().to_owned(),
        })
    }

    async fn impatient(&self, count: usize) -> Result<Vec<Impatient>, PerfError> {
        let map = self.started.target.client(0).map().await;
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Impatient::connect(map.clone()).await.map_err(PerfError::Victim)?);
        }
        Ok(clients)
    }

    /// The most that any node holds at once in this time, and what its log files are opened with meanwhile.
    async fn watch(&self, length: Duration) -> (Held, String) {
        let mut most = Held::default();
        let look = async {
            loop {
                let held = self.started.processes.pids().iter().filter_map(|pid| Held::by(*pid));
                most = held.fold(most, |most, held| if held.sum_kib() > most.sum_kib() { held } else { most });
                sleep(HELD_EVERY).await;
            }
        };
        tokio::select! {
            () = look => {}
            () = sleep(length) => {}
        }
        (most, durability(&self.started.processes.log_descriptors()))
    }
}

/// Writes acknowledged per second.
fn rate(measured: &Measured) -> f64 {
    measured.rate(&measured.total())
}
