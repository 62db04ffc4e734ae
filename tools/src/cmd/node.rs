//! `margate node`: one node of a deployment, until it is told to stop.

use std::net::SocketAddr;

use clap::CommandFactory as _;
use margate_engine::config::NodeConfig;
use margate_engine::runtime::node::{Node, StopHandle};
use rustix::thread::{CpuSet, sched_setaffinity};
use signal_hook::iterator::Signals;

use crate::args::{Args, Global, NodeArgs};
use crate::config::file::{self, AdminSection, ClusterSection, FileConfig, LogSection, NodeSection, RaftSection, StorageSection};
use crate::config::{ConfigError, Settings, settings};
use crate::error::Failure;
use crate::exit::Exit;
use crate::listen::listen;
use crate::signals::{Ask, Stopping};
use crate::suggest::nearest;
use crate::{admin, log, signals};

pub(crate) fn run(global: &Global, args: NodeArgs) -> Result<(), Failure> {
    let Settings {
        node,
        cpus,
        admin,
        log_level,
        log_format,
    } = configure(global, args)?;
    abort_on_panic();
    // Before the first thread, so that a stop asked for during the start is not lost.
    let signals = signals::catch(&[]).map_err(|source| system("catch signals", source))?;
    signals::let_writes_fail().map_err(|source| system("ignore a signal", source))?;
    log::install(log_level, log_format, Some(node.node.0));
    if let Some(cpus) = cpus {
        confine(cpus)?;
    }
    for address in listens(&node) {
        check_free(*address)?;
    }
    let admin = admin.map(admin::bind).transpose()?;
    let node = Node::start(node)?;
    if let Some(listener) = admin {
        admin::start(listener, node.watch()).map_err(|source| system("answer over HTTP", source))?;
    }
    stop_on_signals(signals, node.stop_handle())?;
    Ok(node.wait()?)
}

fn configure(global: &Global, args: NodeArgs) -> Result<Settings, ConfigError> {
    check_environment()?;
    let file = args.config.as_deref().map(file::read).transpose()?.unwrap_or_default();
    let bootstrap = args.bootstrap;
    settings::resolve(file, from_flags(global, args), bootstrap)
}

/// Flags and environment as if a file said them.
fn from_flags(global: &Global, args: NodeArgs) -> FileConfig {
    FileConfig {
        node: NodeSection {
            id: args.id,
            data: args.data,
            pin: args.pin,
            cpus: args.cpus,
            insecure: args.insecure,
            volatile: args.volatile,
            listen: args.listen,
        },
        cluster: ClusterSection {
            shards: args.shards,
            bounds: args.bounds,
            replication: args.replication,
            nodes: args.nodes,
        },
        raft: RaftSection {
            tick: args.tick,
            election: args.election,
        },
        storage: StorageSection {
            segment_size: args.segment_size,
            index_map_size: args.index_map_size,
            reserve: args.reserve,
        },
        admin: AdminSection {
            listen: args.admin,
            stall: args.stall,
        },
        log: LogSection {
            level: global.log_level.as_ref().and_then(choice_name),
            format: global.log_format.as_ref().and_then(choice_name),
        },
    }
}

/// A choice as users write it.
pub(crate) fn choice_name<T: clap::ValueEnum>(choice: &T) -> Option<String> {
    choice.to_possible_value().map(|possible| possible.get_name().to_owned())
}

/// A misspelt variable must not pass in silence, so every `MARGATE_…__…` has to be known.
fn check_environment() -> Result<(), ConfigError> {
    let known = known_variables();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_setting = name.starts_with("MARGATE_") && name.contains("__");
        if is_setting && !known.iter().any(|known| **known == name) {
            let help = nearest(&name, known.iter().map(String::as_str)).map_or_else(
                || format!("the variables of settings are {}", known.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(ConfigError::UnknownVariable {
                name: name.into_owned(),
                help,
            });
        }
    }
    Ok(())
}

fn known_variables() -> Vec<String> {
    let command = Args::command();
    command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_env())
        .filter_map(|name| name.to_str())
        .filter(|name| name.contains("__"))
        .map(str::to_owned)
        .collect()
}

/// Threads started later inherit it, so this comes before the engine.
fn confine(cpus: Vec<usize>) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    if let Some(beyond) = cpus.iter().find(|cpu| **cpu >= CpuSet::MAX_CPU) {
        let source = std::io::Error::other(format!("there is no CPU {beyond}"));
        return Err(Failure::Cpus { cpus, source });
    }
    for cpu in &cpus {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).map_err(|source| Failure::Cpus {
        cpus,
        source: source.into(),
    })
}

/// Where the node's cores listen.
fn listens(node: &NodeConfig) -> &[SocketAddr] {
    let own = node.nodes.iter().find(|other| other.id == node.node);
    match own {
        Some(own) if node.listen.is_empty() => &own.cores,
        Some(_) | None => &node.listen,
    }
}

/// Told before the data directory is touched, and for all cores at once.
fn check_free(address: SocketAddr) -> Result<(), Failure> {
    match listen(address) {
        Ok(_) => Ok(()),
        Err(source) => Err(Failure::Listen { address, source }),
    }
}

fn stop_on_signals(mut signals: Signals, stop: StopHandle) -> Result<(), Failure> {
    let forward = move || {
        let mut stopping = Stopping::default();
        for signal in signals.forever() {
            match stopping.take(signal, std::time::Instant::now()) {
                Ask::Stop => {
                    tracing::info!("stopping; a second ctrl-c stops at once");
                    stop.stop();
                }
                Ask::Kill => signal_hook::low_level::exit(i32::from(Exit::Interrupted as u8)),
                Ask::Nothing => {}
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(forward)
        .map(|_| ())
        .map_err(|source| system("start a thread", source))
}

/// A node that panicked must not go on half: its peers take over, and a restart is the path tested most.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
}

fn system(action: &'static str, source: std::io::Error) -> Failure {
    Failure::System { action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_file_has_a_variable_but_those_of_the_log() {
        let known = known_variables();
        assert_eq!(known.len(), 18, "{known:?}");
        assert!(known.contains(&"MARGATE_RAFT__TICK".to_owned()));
    }
}
