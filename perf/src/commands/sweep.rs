//! `sweep`: all that measures, one command after the other, and a page about it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::{Verdict, scratch};
use crate::args::shared::{ScratchArguments, StartArguments};
use crate::child::Child;
use crate::error::PerfError;
use crate::margate::dev;
use crate::margate::started::{Shape, Started};
use crate::proc::cpu::Stretch;
use crate::sweep::arguments::SweepArguments;
use crate::sweep::lines::Lines;
use crate::sweep::machine::facts;
use crate::sweep::page::histograms::curves;
use crate::sweep::page::{Curves, page};
use crate::sweep::parts::{HALF, Part, Surroundings, parts};
use crate::sweep::state::{Finished, Key, Run, State, replace};

/// How often a command is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What commands print, while they do.
const PRINTED: &str = "printed.jsonl";
/// The page.
const PAGE: &str = "report.html";

/// Runs what is not finished yet and writes the page after each part. Good if every command has ended well.
///
/// # Errors
/// This build has no peers, the folder cannot be written, or holds another sweep.
pub(crate) async fn run(arguments: &SweepArguments) -> Result<Verdict, PerfError> {
    with_peers()?;
    let sweep = Sweep::new(arguments)?;
    let all = parts(arguments.quick);
    let chosen = chosen(&all, &arguments.only)?;
    let mut state = sweep.state()?;
    let mut verdict = Verdict::Good;
    for part in chosen {
        if state.part(part.name).is_some_and(Finished::is_good) {
            eprintln!("{}: finished before", part.name);
            continue;
        }
        eprintln!("== {}: {}", part.name, part.title);
        let finished = sweep.part(part).await?;
        verdict = verdict.and(Verdict::of(finished.is_good()));
        eprintln!("{}: {:.0} s", part.name, finished.secs);
        state.finish(finished);
        state.write(&arguments.out)?;
        sweep.write_page(&state, &all)?;
    }
    sweep.write_page(&state, &all)?;
    println!("{}", arguments.out.join(PAGE).display());
    Ok(verdict)
}

#[cfg(feature = "peers")]
fn with_peers() -> Result<(), PerfError> {
    Ok(())
}

#[cfg(not(feature = "peers"))]
fn with_peers() -> Result<(), PerfError> {
    Err(PerfError::PeersNotBuilt)
}

/// Those that were asked for, in the order of all.
fn chosen<'a>(all: &'a [Part], only: &[String]) -> Result<Vec<&'a Part>, PerfError> {
    let names = || all.iter().map(|part| part.name);
    if let Some(unknown) = only.iter().find(|name| !names().any(|known| known == *name)) {
        let known = names().collect::<Vec<_>>().join(", ");
        return Err(PerfError::NoPart {
            name: unknown.clone(),
            known,
        });
    }
    let is_chosen = |part: &&Part| only.is_empty() || only.iter().any(|name| name == part.name);
    Ok(all.iter().filter(is_chosen).collect())
}

struct Sweep<'a> {
    arguments: &'a SweepArguments,
    program: PathBuf,
    start: StartArguments,
}

impl<'a> Sweep<'a> {
    fn new(arguments: &'a SweepArguments) -> Result<Self, PerfError> {
        fs::create_dir_all(&arguments.out).map_err(PerfError::file(&arguments.out))?;
        let program = env::current_exe().map_err(PerfError::file("/proc/self/exe"))?;
        let start = StartArguments {
            margate: Some(dev::program(arguments.margate.clone())),
            port_base: "auto".to_owned(),
            shards: 4,
            scratch: ScratchArguments {
                data_root: arguments.data_root.clone(),
                keep: false,
            },
        };
        Ok(Self { arguments, program, start })
    }

    /// What is finished already, or nothing yet.
    fn state(&self) -> Result<State, PerfError> {
        let margate = dev::program(self.arguments.margate.clone());
        let checksum = |program: &Path| {
            let bytes = fs::read(program).map_err(PerfError::file(program))?;
            Ok::<_, PerfError>(format!("{:08x}", crc32fast::hash(&bytes)))
        };
        let key = Key {
            quick: self.arguments.quick,
            build: format!("{} {}", checksum(&margate)?, checksum(&self.program)?),
        };
        let known = if self.arguments.fresh {
            None
        } else {
            State::read(&self.arguments.out, &key)?
        };
        let root = &self.arguments.data_root;
        let data = root.canonicalize().unwrap_or_else(|_| root.clone());
        Ok(known.unwrap_or_else(|| State {
            key,
            machine: facts(&data, &margate),
            finished: Vec::new(),
        }))
    }

    /// Runs the commands of a part.
    async fn part(&self, part: &Part) -> Result<Finished, PerfError> {
        let (began, stretch) = (Instant::now(), Stretch::start(&[]));
        let runs = match part.surroundings {
            Surroundings::Disk | Surroundings::Program => self.commands(part, &[]).await?,
            Surroundings::Deployment => {
                let folder = scratch::folder(&self.arguments.data_root, false)?;
                let started = Started::start(&self.start, folder.path(), Shape::USUAL).await?;
                self.commands(part, &started.nodes.endpoints()).await?
            }
        };
        Ok(Finished {
            name: part.name.to_owned(),
            secs: began.elapsed().as_secs_f64(),
            steal: stretch.steal(),
            runs,
        })
    }

    async fn commands(&self, part: &Part, endpoints: &[SocketAddr]) -> Result<Vec<Run>, PerfError> {
        let mut runs: Vec<Run> = Vec::with_capacity(part.commands.len());
        for (command, number) in part.commands.iter().zip(1..) {
            let command = command.replace(HALF, &half_rate(&runs));
            let histograms = part.histograms.then(|| format!("{}-{number}.hlog", part.name));
            let mut words: Vec<OsString> = command.split_whitespace().map(OsString::from).collect();
            words.push("--json".into());
            words.extend(self.surroundings(part.surroundings, endpoints));
            if let Some(file) = &histograms {
                words.extend(["--hdr".into(), self.arguments.out.join(file).into()]);
            }
            eprintln!("-- margate-perf {command}");
            let (code, lines) = self.child(&words).await?;
            runs.push(Run {
                command,
                code,
                lines,
                histograms,
            });
        }
        Ok(runs)
    }

    fn surroundings(&self, surroundings: Surroundings, endpoints: &[SocketAddr]) -> Vec<OsString> {
        let data_root = || ["--data-root".into(), self.arguments.data_root.clone().into()];
        match surroundings {
            Surroundings::Disk => data_root().into(),
            Surroundings::Program => {
                let margate = self.start.margate.iter().flat_map(|margate| ["--margate".into(), margate.into()]);
                data_root().into_iter().chain(margate).collect()
            }
            Surroundings::Deployment => {
                let endpoints: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
                vec!["--endpoints".into(), endpoints.join(",").into()]
            }
        }
    }

    /// This program with these words: its exit code, and what it printed.
    async fn child(&self, words: &[OsString]) -> Result<(Option<i32>, Vec<Value>), PerfError> {
        let printed = self.arguments.out.join(PRINTED);
        let file = File::create(&printed).map_err(PerfError::file(&printed))?;
        let mut child = Child::spawn_said(Command::new(&self.program).args(words).stdout(file)).map_err(|source| PerfError::Start {
            program: self.program.display().to_string(),
            source,
            advice: "it is this program itself; is it there still?",
        })?;
        let status = loop {
            match child.exited() {
                Some(status) => break status,
                None => sleep(POLL).await,
            }
        };
        let text = fs::read_to_string(&printed).map_err(PerfError::file(&printed))?;
        fs::remove_file(&printed).map_err(PerfError::file(&printed))?;
        // A child that was killed may have left half a line.
        Ok((
            status.code(),
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(),
        ))
    }

    fn write_page(&self, state: &State, all: &[Part]) -> Result<(), PerfError> {
        let of_part = |part: &Finished| {
            let files = part.runs.iter().filter_map(|run| run.histograms.as_ref());
            // A command that failed early has left none.
            let logs: Vec<Vec<u8>> = files.filter_map(|file| fs::read(self.arguments.out.join(file)).ok()).collect();
            (part.name.clone(), curves(&logs))
        };
        let curves: Curves = state.finished.iter().map(of_part).collect();
        replace(&self.arguments.out.join(PAGE), page(state, all, &curves).as_bytes())
    }
}

/// Half of what puts gave so far, 768 in flight; at least one per second.
fn half_rate(runs: &[Run]) -> String {
    let lines = Lines::new(runs.iter().flat_map(|run| &run.lines));
    let puts = lines.with("bench", "put").closed().at("in_flight", 768.0);
    format!("{:.0}", (puts.median("ops_per_s").unwrap_or(0.0) / 2.0).max(1.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_chosen_by_name_and_run_in_their_order() {
        let all = parts(true);
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            chosen(&all, &only).map(|parts| parts.iter().map(|part| part.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("all").len(), all.len());
        assert_eq!(names(&["log", "limits"]).expect("both are there"), ["limits", "log"]);
        let error = names(&["lag"]).expect_err("there is none").to_string();
        assert!(error.contains("no part lag") && error.contains("cold-get"), "{error}");
    }

    #[test]
    fn half_the_rate_is_of_the_median_put_and_never_nothing() {
        let run = |lines: Vec<Value>| Run {
            command: String::new(),
            code: Some(0),
            lines,
            histograms: None,
        };
        let put = |ops_per_s: f64| json!({"bench": "put", "in_flight": 768, "ops_per_s": ops_per_s});
        let batch = json!({"bench": "batch", "in_flight": 16_384, "ops_per_s": 9e9});
        assert_eq!(half_rate(&[run(vec![put(100.0), batch]), run(vec![put(300.0)])]), "100");
        assert_eq!(half_rate(&[]), "1");
    }
}
