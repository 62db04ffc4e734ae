//! The node processes: starting, asking to stop, killing, reaping.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{fs, io};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

use super::DevError;
use super::place::{Place, storage, write_whole};
use crate::config::file::FileConfig;

/// All node processes; those still there when it is dropped are killed.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<Process>);

/// One node's process.
#[derive(Debug)]
pub(crate) struct Process {
    /// The node's id.
    pub(crate) id: u64,
    /// What starts it again. It never creates a deployment, so it is safe whatever became of the data.
    pub(crate) command_again: Vec<String>,
    child: Child,
    ended: bool,
}

impl Nodes {
    /// Writes a node's configuration and starts its process. Call it from the main thread: the process is
    /// killed when the thread that started it ends.
    pub(crate) fn spawn(&mut self, place: &Place, config: &FileConfig, bootstrap: bool) -> Result<(), DevError> {
        let id = config.node.id.unwrap_or_default();
        let dir = place.node_dir(id);
        fs::create_dir_all(&dir).map_err(|source| storage("create", &dir, source))?;
        let file = write_config(&dir, config).map_err(|source| storage("write a configuration to", &dir, source))?;
        let failed = |source| DevError::Spawn { node: id, source };
        let program = std::env::current_exe().map_err(failed)?;
        let again: [OsString; 4] = [program.into(), "node".into(), "--config".into(), file];
        let mut command = Command::new(&again[0]);
        command.args(&again[1..]);
        if bootstrap {
            command.arg("--bootstrap");
        }
        isolate(&mut command);
        let child = command.spawn().map_err(failed)?;
        self.0.push(Process {
            id,
            command_again: again.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
            child,
            ended: false,
        });
        Ok(())
    }

    /// All of them, ended or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.iter()
    }

    /// The names of those that have not ended; empty when all have.
    pub(crate) fn running(&self) -> String {
        let names: Vec<String> = self
            .0
            .iter()
            .filter(|node| !node.ended)
            .map(|node| format!("node {}", node.id))
            .collect();
        names.join(", ")
    }

    /// Those that have ended since the last call, and how.
    pub(crate) fn reap(&mut self) -> Vec<(u64, io::Result<ExitStatus>)> {
        let mut ended = Vec::new();
        for node in self.0.iter_mut().filter(|node| !node.ended) {
            if let Some(status) = node.child.try_wait().transpose() {
                node.ended = true;
                ended.push((node.id, status));
            }
        }
        ended
    }

    /// Sends a signal to all that have not ended.
    pub(crate) fn signal(&self, signal: Signal) {
        for node in self.0.iter().filter(|node| !node.ended) {
            // A process that is gone but not reaped yet takes the signal too; nothing else can fail here.
            let _ = kill_process(Pid::from_child(&node.child), signal);
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        for node in self.0.iter_mut().filter(|node| !node.ended) {
            let _ = node.child.wait();
        }
    }
}

impl Process {
    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn write_config(dir: &Path, config: &FileConfig) -> io::Result<OsString> {
    let text = toml::to_string(config).map_err(io::Error::other)?;
    let text = format!("# Written by 'margate dev' at every start; changes are lost.\n{text}");
    write_whole(dir, CONFIG, text.as_bytes())?;
    Ok(dir.join(CONFIG).into_os_string())
}

/// Only the configuration file speaks to the node, only its log comes back, and it dies with us.
fn isolate(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MARGATE_")) {
        command.env_remove(name);
    }
    let parent = getpid();
    let die_with_parent = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // If we died before that call, nobody would send the signal any more.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and neither allocates nor locks.
    unsafe { command.pre_exec(die_with_parent) };
}

const CONFIG: &str = "node.toml";
