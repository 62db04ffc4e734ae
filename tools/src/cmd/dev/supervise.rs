//! Staying with the nodes until all have ended: three kinds of events come through one channel.

use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::Signal;
use signal_hook::consts::SIGCHLD;
use signal_hook::iterator::Signals;

use super::DevError;
use super::nodes::Nodes;
use super::place::Place;
use super::ready::{self, Progress};
use super::topology::Topology;
use crate::args::OutputFormat;
use crate::cmd::runtime;
use crate::error::Failure;
use crate::exit::Exit;
use crate::signals::{Ask, Stopping};

/// What happens to a running deployment.
#[derive(Debug)]
enum Event {
    /// A signal came.
    Signal(i32),
    /// The one who asks has news.
    Progress(Progress),
}

/// A running deployment.
struct Supervisor<'a> {
    nodes: Nodes,
    place: Place,
    topology: &'a Topology,
    format: OutputFormat,
    stopping: Stopping,
    /// Set when the nodes have been asked to stop: when they are killed.
    kill_at: Option<Instant>,
    /// Those that had to be killed.
    slow: Option<String>,
}

/// Stays until all nodes have ended.
pub(crate) fn run(format: OutputFormat, signals: Signals, nodes: Nodes, place: Place, topology: &Topology) -> Result<Exit, Failure> {
    let (sender, events) = channel();
    forward_signals(signals, sender.clone())?;
    forward_progress(topology, sender)?;
    let mut supervisor = Supervisor {
        nodes,
        place,
        topology,
        format,
        stopping: Stopping::default(),
        kill_at: None,
        slow: None,
    };
    supervisor.stay(&events)
}

impl Supervisor<'_> {
    fn stay(&mut self, events: &Receiver<Event>) -> Result<Exit, Failure> {
        loop {
            self.report_ended();
            if self.nodes.running().is_empty() {
                return self.end();
            }
            match self.next(events) {
                Some(Event::Signal(SIGCHLD)) => {}
                Some(Event::Signal(signal)) => match self.stopping.take(signal, Instant::now()) {
                    Ask::Stop => self.stop(),
                    Ask::Kill => return Ok(Exit::Interrupted),
                    Ask::Nothing => {}
                },
                Some(Event::Progress(progress)) => self.progress(progress)?,
                None => self.kill(),
            }
        }
    }

    /// The next event; `None` when the time to stop in is over.
    fn next(&self, events: &Receiver<Event>) -> Option<Event> {
        let left = match self.kill_at {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        // The thread that forwards signals never ends, so only the time can run out.
        events.recv_timeout(left).ok()
    }

    fn report_ended(&mut self) {
        for (node, status) in self.nodes.reap() {
            let orderly = status.as_ref().is_ok_and(ExitStatus::success);
            if self.kill_at.is_none() || !orderly {
                say(&format!("node {node} ended: {}", DisplayEnd(&status)));
            }
        }
    }

    fn progress(&mut self, progress: Progress) -> Result<(), Failure> {
        if self.kill_at.is_some() {
            return Ok(());
        }
        match progress {
            Progress::Ready => {
                self.place.record_bootstrapped()?;
                match ready::announce(self.format, self.topology) {
                    // `margate dev | grep -m1 ready` has read all it wanted; the deployment goes on.
                    Err(failure) if failure.is_closed_pipe() => Ok(()),
                    announced => announced,
                }
            }
            Progress::Late(obstacle) => {
                say(&format!("not ready yet, still trying: {obstacle}"));
                Ok(())
            }
        }
    }

    fn stop(&mut self) {
        say(&format!("stopping {}", self.nodes.running()));
        self.nodes.signal(Signal::TERM);
        self.kill_at = Some(Instant::now() + STOP_WITHIN);
    }

    fn kill(&mut self) {
        self.slow = Some(self.nodes.running());
        self.nodes.signal(Signal::KILL);
        self.kill_at = Some(Instant::now() + STOP_WITHIN);
    }

    fn end(&mut self) -> Result<Exit, Failure> {
        self.place.remove_processes()?;
        match (self.kill_at, self.slow.take()) {
            (None, _) => Err(DevError::AllEnded.into()),
            (Some(_), Some(nodes)) => Err(DevError::Slow { nodes }.into()),
            (Some(_), None) => Ok(Exit::Success),
        }
    }
}

fn forward_signals(mut signals: Signals, to: Sender<Event>) -> Result<(), Failure> {
    let forward = move || {
        for signal in signals.forever() {
            if to.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    start_thread("signals", forward)
}

fn forward_progress(topology: &Topology, to: Sender<Event>) -> Result<(), Failure> {
    let endpoints = topology.endpoints();
    let runtime = runtime()?;
    start_thread("ready", move || {
        runtime.block_on(ready::watch(endpoints, |progress| to.send(Event::Progress(progress)).is_ok()));
    })
}

fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    started.map(|_| ()).map_err(|source| Failure::System {
        action: "start a thread",
        source,
    })
}

struct DisplayEnd<'a>(&'a io::Result<ExitStatus>);

impl std::fmt::Display for DisplayEnd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Ok(status) => write!(f, "{status}"),
            Err(error) => write!(f, "its status cannot be read: {error}"),
        }
    }
}

/// Talk goes to standard error, and nothing depends on it.
fn say(text: &str) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{text}\n"));
}

/// Time the nodes have to hand their shards over and stop.
const STOP_WITHIN: Duration = Duration::from_secs(60);
