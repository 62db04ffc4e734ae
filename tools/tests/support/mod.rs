//! Margate's processes under test: on ports of the kernel's choice, killed when their test ends, however it ends.
//!
//! - [`cli`]: commands that talk to a deployment, and what they must print.
//! - [`node`]: a deployment of one node without `dev`, small and quick.
//! - [`terminal`]: a terminal that a test looks at and types into.
//! - [`wire`]: a connection that sends whatever bytes a test wants.
//!
//! Not here, on purpose: fixed sleeps. Tests wait for facts, with limits that a busy machine keeps.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod cli;
pub(crate) mod node;
pub(crate) mod terminal;
pub(crate) mod wire;

use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal, test_kill_process};
use tempfile::TempDir;

/// Within this a deployment is ready.
pub(crate) const READY: Duration = Duration::from_secs(60);
/// Within this everything else has happened.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The binary, which hears no `MARGATE_…` of whoever runs the tests and is killed when the test's thread ends.
pub(crate) fn margate() -> Command {
    prepared(Command::new(env!("CARGO_BIN_EXE_margate")))
}

/// A command as [`margate`] makes it, of another program.
pub(crate) fn prepared(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MARGATE_")) {
        command.env_remove(name);
    }
    let die_with_test = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
    // SAFETY: between fork and exec the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(die_with_test) };
    command
}

/// `margate dev` on `data`.
pub(crate) fn dev(data: &Path, flags: &[&str]) -> Command {
    let mut command = margate();
    command.arg("dev").arg("--data").arg(data).args(flags);
    command
}

/// A directory on the file system of the build, which takes direct I/O.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory beside the build")
}

/// An address where nobody listens: it was free a moment ago.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").to_string()
}

/// A running process and what it says; killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    talk: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let talk = Arc::default();
        let heard = Arc::clone(&talk);
        std::thread::spawn(move || listen(stderr, &heard));
        Self { child, lines, talk }
    }

    /// Waits until this `margate dev` says that it is ready.
    #[track_caller]
    pub(crate) fn expect_ready(&mut self, nodes: &[Listed]) {
        let deadline = Instant::now() + READY;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains("ready") => return,
                Ok(_) => {}
                Err(error @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    let status = cli::stdout(&cli::Cli::of(nodes).run(&["status"]));
                    panic!("it is not ready ({error}): {}\n{status}", self.talk());
                }
            }
        }
    }

    /// Waits until it has said `text` on standard error.
    #[track_caller]
    pub(crate) fn expect_talk(&self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.talk().contains(text) {
            assert!(
                Instant::now() < deadline,
                "{text:?} was not said on standard error: {}",
                self.talk()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped yet");
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, limit: Duration) -> ExitStatus {
        eventually("the process ends", limit, || self.ended())
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits until it has ended with this code, and said this.
    #[track_caller]
    pub(crate) fn expect_failure(&mut self, code: i32, message: &str) {
        let status = self.expect_end(SOON);
        assert_eq!(status.code(), Some(code), "{status}: {}", self.talk());
        self.expect_talk(message);
    }

    /// Asks it to stop, as ctrl-c does, and waits until it has, in good order.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::INT);
        let status = self.expect_end(SOON);
        assert!(status.success(), "{status}: {}", self.talk());
    }

    /// Kills it and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.expect_end(SOON);
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// All it, and who inherited its standard error, has said there so far.
    pub(crate) fn talk(&self) -> String {
        let heard = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps a pipe empty, so that nobody ever waits to write into it.
fn listen(mut pipe: impl Read, heard: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = pipe.read(&mut bytes) {
        heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(&bytes[..count]);
    }
}

/// A `margate dev` that is ready, and its nodes.
#[track_caller]
pub(crate) fn ready(data: &Path, flags: &[&str]) -> (Process, Vec<Listed>) {
    let mut deployment = Process::start(dev(data, flags));
    let nodes = listed(data);
    deployment.expect_ready(&nodes);
    (deployment, nodes)
}

/// What `dev.json` says of a node.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) node: u64,
    pub(crate) pid: i32,
    pub(crate) endpoint: String,
    pub(crate) command: Vec<String>,
}

impl Listed {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Kills it and waits until it is gone.
    #[track_caller]
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        self.expect_gone(SOON);
    }

    /// Waits until its process is gone.
    #[track_caller]
    pub(crate) fn expect_gone(&self, limit: Duration) {
        eventually("the node is gone", limit, || test_kill_process(self.pid()).is_err().then_some(()));
    }

    /// Starts it again as `dev.json` says, with more flags.
    pub(crate) fn again(&self, flags: &[&str]) -> Process {
        let mut command = prepared(Command::new(&self.command[0]));
        command.args(&self.command[1..]).args(flags);
        Process::start(command)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.pid).expect("a process id")
    }
}

/// Reads `dev.json` as soon as this start has written it.
#[track_caller]
pub(crate) fn listed(data: &Path) -> Vec<Listed> {
    eventually("dev.json is written", SOON, || {
        let text = std::fs::read_to_string(data.join("dev.json")).ok()?;
        let document: serde_json::Value = serde_json::from_str(&text).expect("it is written whole");
        let nodes = document["nodes"].as_array().expect("a list");
        nodes.iter().map(read_listed).collect()
    })
}

fn read_listed(node: &serde_json::Value) -> Option<Listed> {
    let words = node["command"].as_array()?.iter();
    Some(Listed {
        node: node["node"].as_u64()?,
        pid: i32::try_from(node["pid"].as_i64()?).ok()?,
        endpoint: node["endpoint"].as_str()?.to_owned(),
        command: words.filter_map(|word| word.as_str().map(str::to_owned)).collect(),
    })
}

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(PAUSE);
    }
}

const PAUSE: Duration = Duration::from_millis(20);
