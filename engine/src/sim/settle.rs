//! The end of a run: faults stop, everything is mended, and then everything must finish.
//!
//! ```text
//!   Faults ──(their time is over)──► Writes ──(every shard takes one)──► Reads ──(every key)──► Agreement
//!     ──(every replica)──► Values ──(every row leads to a whole record)──► Done
//! ```
//! Not here, on purpose: what agreement is (`check::liveness`), and which values are damaged (`check::values`).

use std::collections::BTreeSet;

use margate_net::message::{Consistency, Operation, Precondition, ReadVersion, Returning};

use super::check::{liveness, values};
use super::history::{CallId, Outcome, VALUE_BYTES_MIN, value};
use super::violation::Violation;
use super::workload;
use super::world::{Happening, World};
use crate::types::Nanos;

/// How often is looked whether everything is done.
const LOOK_EVERY: Nanos = Nanos::from_millis(50);
/// How long everything may take once the faults are over.
const WITHIN: Nanos = Nanos::from_millis(30_000);

/// How far the end of a run is.
#[derive(Default)]
pub(crate) struct Settle {
    stage: Stage,
    since: Nanos,
    /// Operations that must succeed and have not yet.
    due: BTreeSet<CallId>,
    /// Those of them that came to nothing and must be asked again.
    failed: u64,
    /// Nodes with damaged values that have been restarted since.
    unhidden: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Faults,
    Writes,
    Reads,
    Agreement,
    Values,
    Done,
}

impl Settle {
    /// Whether the faults are over.
    pub(crate) fn has_begun(&self) -> bool {
        self.stage != Stage::Faults
    }

    /// Whether everything has finished.
    pub(crate) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// An operation has ended.
    pub(crate) fn ended(&mut self, call: CallId, outcome: &Outcome) {
        if self.due.remove(&call) {
            self.failed += u64::from(!matches!(outcome, Outcome::Answered(_)));
        }
    }
}

impl World {
    /// Moves the end of the run on, as far as it goes.
    pub(crate) fn settle_step(&mut self) -> Result<(), Violation> {
        if self.settle.stage == Stage::Faults && self.clients_ask_more() {
            self.schedule.after(LOOK_EVERY, Happening::Settle);
            return Ok(());
        }
        if self.settle.stage == Stage::Faults {
            self.settle.since = self.now();
            self.settle.stage = Stage::Writes;
            self.heal()?;
            self.ask_last();
        } else if self.settle.due.is_empty() {
            self.next_stage()?;
        }
        if self.now().since(self.settle.since) > WITHIN {
            return Err(self.not_live(self.unfinished()));
        }
        self.schedule.after(LOOK_EVERY, Happening::Settle);
        Ok(())
    }

    /// What does not finish, and since when it should.
    pub(crate) fn not_live(&self, what: String) -> Violation {
        let waiting = self.now().since(self.settle.since);
        Violation::NotLive {
            waiting_ms: waiting.0 / 1_000_000,
            what,
        }
    }

    fn next_stage(&mut self) -> Result<(), Violation> {
        let again = std::mem::take(&mut self.settle.failed) > 0;
        self.settle.stage = match self.settle.stage {
            stage @ (Stage::Writes | Stage::Reads) if again => stage,
            Stage::Writes => Stage::Reads,
            Stage::Reads => Stage::Agreement,
            Stage::Agreement if self.is_settled() => Stage::Values,
            Stage::Values if values::damaged(&self.nodes, self.map.cluster()).is_empty() => Stage::Done,
            stage @ (Stage::Agreement | Stage::Values | Stage::Done | Stage::Faults) => stage,
        };
        if self.settle.stage == Stage::Values {
            self.unhide_damage()?;
        }
        self.ask_last();
        Ok(())
    }

    /// Nodes that have values in memory which their disks have lost are restarted, once.
    fn unhide_damage(&mut self) -> Result<(), Violation> {
        for (node, _) in values::damaged(&self.nodes, self.map.cluster()) {
            if self.settle.unhidden.insert(node) {
                self.unhide(node)?;
            }
        }
        Ok(())
    }

    /// The last client asks what this stage is about: a write of every shard, then a read of every key.
    fn ask_last(&mut self) {
        let client = self.clients.len() - 1;
        let asked = match self.settle.stage {
            Stage::Writes => self.last_writes(),
            Stage::Reads => self
                .options
                .keys
                .iter()
                .map(|key| (workload::shard_of(&self.map, key), get(key, Consistency::Linearizable)))
                .collect(),
            // Whoever reads a damaged value has it mended, sooner or later by the replica that lost it.
            Stage::Values => self.damaged_reads(),
            Stage::Faults | Stage::Agreement | Stage::Done => Vec::new(),
        };
        let mut calls = Vec::new();
        for (shard, operation) in asked {
            let operation = self.numbered(operation);
            calls.push(self.invoke(client, shard, operation, WITHIN));
        }
        self.settle.due.extend(&calls);
        self.send_calls(client, &calls);
    }

    /// A read by any replica of each key that some replica has lost.
    fn damaged_reads(&self) -> Vec<(usize, Operation)> {
        let damaged = values::damaged(&self.nodes, self.map.cluster()).into_iter();
        damaged
            .map(|(_, key)| (workload::shard_of(&self.map, &key), get(&key, Consistency::Stale)))
            .collect()
    }

    /// A write on a key of every shard that has one.
    fn last_writes(&self) -> Vec<(usize, Operation)> {
        let shards = 0..self.map.shards().len();
        let key_of = |shard: usize| self.options.keys.iter().find(|key| workload::shard_of(&self.map, key) == shard);
        shards.filter_map(|shard| Some((shard, set(key_of(shard)?)))).collect()
    }

    /// A write gets the value of its own number.
    fn numbered(&self, mut operation: Operation) -> Operation {
        if let Operation::Set { value: bytes, .. } = &mut operation {
            *bytes = value(self.history.next_call().0, VALUE_BYTES_MIN);
        }
        operation
    }

    fn is_settled(&self) -> bool {
        self.clients.iter().all(super::client::Client::is_idle) && liveness::disagreement(&self.nodes, &self.map, &self.members).is_none()
    }

    fn unfinished(&self) -> String {
        let open = self.clients.iter().filter(|client| !client.is_idle()).count();
        let replicas = liveness::disagreement(&self.nodes, &self.map, &self.members);
        let due = self.settle.due.len();
        let stage = self.settle.stage;
        let damaged = values::damaged(&self.nodes, self.map.cluster());
        format!("stage {stage:?}, {due} operations to end, {open} clients wait, replicas: {replicas:?}, damaged: {damaged:?}")
    }
}

fn get(key: &bytes::Bytes, consistency: Consistency) -> Operation {
    Operation::Get {
        key: key.clone(),
        version: ReadVersion::Latest,
        consistency,
        returning: Returning::default(),
    }
}

fn set(key: &bytes::Bytes) -> Operation {
    Operation::Set {
        key: key.clone(),
        value: bytes::Bytes::new(),
        precondition: Precondition::Always,
        returning: Returning::default(),
    }
}
