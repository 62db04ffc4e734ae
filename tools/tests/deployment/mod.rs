//! A `margate dev` under test, on ports of the kernel's choice, killed when the test ends.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// A running `margate dev`.
pub(crate) struct Deployment {
    child: Child,
    lines: Receiver<String>,
    stderr: Option<ChildStderr>,
}

impl Deployment {
    /// Starts one on `data`.
    pub(crate) fn start(data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_margate"));
        command.arg("dev").arg("--data").arg(data).args(flags);
        Self::spawn(command)
    }

    /// Starts one from a shell that ignores the signals dev is stopped with.
    pub(crate) fn start_with_signals_ignored(data: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" INT TERM; exec "$0" "$@""#, env!("CARGO_BIN_EXE_margate")]);
        command.arg("dev").arg("--data").arg(data).args(flags);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = child.stderr.take();
        Self { child, lines, stderr }
    }

    /// The first line on standard output that contains `text`, within `limit`.
    #[track_caller]
    pub(crate) fn expect_line(&mut self, text: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(error @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    self.signal(Signal::KILL);
                    panic!("{text:?} did not come ({error}); standard error: {}", self.talk());
                }
            }
        }
    }

    /// Sends a signal to dev itself.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped yet");
    }

    /// Waits until dev has ended.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, limit: Duration) -> ExitStatus {
        let child = &mut self.child;
        eventually("dev ends", limit, || child.try_wait().expect("a child"))
    }

    /// All that was said on standard error. Call it when dev has ended.
    pub(crate) fn talk(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.stderr.take() {
            stderr.read_to_string(&mut text).expect("text");
        }
        text
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `dev.json` says of a node.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) node: u64,
    pub(crate) pid: i32,
    pub(crate) endpoint: String,
    pub(crate) command: Vec<String>,
}

/// Reads `dev.json` as soon as this start has written it.
#[track_caller]
pub(crate) fn listed(data: &Path) -> Vec<Listed> {
    eventually("dev.json is written", Duration::from_secs(10), || {
        let text = std::fs::read_to_string(data.join("dev.json")).ok()?;
        let document: serde_json::Value = serde_json::from_str(&text).expect("it is written whole");
        let nodes = document["nodes"].as_array().expect("a list");
        let listed = |node: &serde_json::Value| {
            Some(Listed {
                node: node["node"].as_u64()?,
                pid: i32::try_from(node["pid"].as_i64()?).ok()?,
                endpoint: node["endpoint"].as_str()?.to_owned(),
                command: node["command"]
                    .as_array()?
                    .iter()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect(),
            })
        };
        nodes.iter().map(listed).collect()
    })
}

/// Sends a signal to a node.
pub(crate) fn signal_node(node: &Listed, signal: Signal) {
    kill_process(pid(node), signal).expect("it runs");
}

/// Waits until a node's process is gone.
#[track_caller]
pub(crate) fn expect_gone(node: &Listed, limit: Duration) {
    eventually("the node is gone", limit, || test_kill_process(pid(node)).is_err().then_some(()));
}

/// Runs a command against the nodes listed.
pub(crate) fn ask(nodes: &[Listed], words: &[&str]) -> Output {
    let endpoints: Vec<&str> = nodes.iter().map(|node| node.endpoint.as_str()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_margate"));
    command.args(["--endpoints", &endpoints.join(","), "--timeout", "10s"]);
    command.args(words).output().expect("the binary runs")
}

#[track_caller]
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pid(node: &Listed) -> Pid {
    Pid::from_raw(node.pid).expect("a process id")
}
