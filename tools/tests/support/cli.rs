//! Commands that talk to a deployment, and what they must print.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Listed, SOON, eventually, margate};

/// The commands, told where to ask and how long.
#[derive(Clone, Debug)]
pub(crate) struct Cli {
    endpoints: String,
    timeout: &'static str,
}

impl Cli {
    /// Asks these nodes.
    pub(crate) fn of(nodes: &[Listed]) -> Self {
        let endpoints: Vec<&str> = nodes.iter().map(|node| node.endpoint.as_str()).collect();
        Self::at(&endpoints.join(","))
    }

    /// Asks these addresses.
    pub(crate) fn at(endpoints: &str) -> Self {
        Self {
            endpoints: endpoints.to_owned(),
            timeout: "20s",
        }
    }

    /// With another time for each operation.
    pub(crate) fn within(&self, timeout: &'static str) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// A command, not yet run.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = margate();
        command
            .args(["--endpoints", &self.endpoints, "--timeout", self.timeout])
            .args(words);
        command
    }

    /// Runs a command.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the binary runs")
    }

    /// Runs a command that reads from standard input.
    pub(crate) fn run_with_input(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that refuses early need not read all of it.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }

    /// The output of a command that must succeed.
    #[track_caller]
    pub(crate) fn told(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// The JSON of a command that must succeed.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["-o", "json"]].concat();
        serde_json::from_str(&self.told(&words)).expect("one document")
    }

    /// A command must fail with this code, print nothing and say this.
    #[track_caller]
    pub(crate) fn assert_fails(&self, words: &[&str], code: i32, message: &str) {
        let output = self.run(words);
        assert_failed(&output, code, message);
        assert!(output.stdout.is_empty(), "{words:?} printed {}", stdout(&output));
    }

    /// An operation on a shard without a leader must be refused as not executed. An attempt sent just before the
    /// timeout may have no answer when it comes, which the client can tell from nothing else: a read then ends with a
    /// timeout and a write with an unknown outcome for that reason, both with code 5. Whether one was carried out the
    /// caller sees in what it reads later; here it is asked again, for silence is no refusal.
    #[track_caller]
    pub(crate) fn assert_unserved(&self, words: &[&str]) {
        eventually("nobody serves it, and it is told so", SOON, || {
            let output = self.run(words);
            assert!(output.stdout.is_empty(), "{words:?} printed {}", stdout(&output));
            let said = stderr(&output);
            let silent = said.contains("no answer within") || said.contains("the deadline passed before the answer came");
            if output.status.code() == Some(5) && silent {
                return None;
            }
            assert_failed(&output, 4, "not executed, no replica could serve it within");
            Some(())
        });
    }

    /// What `status` says, whether every shard has a leader or not.
    pub(crate) fn status(&self) -> Option<Value> {
        let output = self.run(&["status", "-o", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until `status` ends with this code: 0 when every shard has a leader, else 4.
    #[track_caller]
    pub(crate) fn expect_status(&self, code: i32) {
        eventually(&format!("status ends with {code}"), SOON, || {
            (self.run(&["status"]).status.code() == Some(code)).then_some(())
        });
    }

    /// Waits until a node says of its replica of every shard that it does not lead it. Silence says nothing: a node
    /// too busy to answer may lead still.
    #[track_caller]
    pub(crate) fn expect_leads_nothing(&self, node: u64) {
        eventually(&format!("node {node} leads nothing"), SOON, || {
            let status = self.status()?;
            status["shards"].as_array()?.iter().all(|shard| follows(shard, node)).then_some(())
        });
    }

    /// Waits until this many cores answer and every shard has a leader.
    #[track_caller]
    pub(crate) fn expect_whole(&self, cores: usize) {
        eventually("every core answers and every shard has a leader", SOON, || {
            let status = self.status()?;
            let answering = status["cores"].as_array()?.iter().filter(|core| core.get("error").is_none());
            (answering.count() == cores && status["shards_without_leader"] == 0).then_some(())
        });
    }
}

/// Whether a node has answered for its replica of a shard, and does not lead it.
fn follows(shard: &Value, node: u64) -> bool {
    let replicas = shard["replicas"].as_array().into_iter().flatten();
    let mut own = replicas.filter(|replica| replica["node"] == node).peekable();
    own.peek().is_some() && own.all(|replica| replica["role"] != "leader")
}

/// A command has failed with this code and said this.
#[track_caller]
pub(crate) fn assert_failed(output: &Output, code: i32, message: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(message), "{said:?} must contain {message:?}");
}

/// What a command printed.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command said.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
