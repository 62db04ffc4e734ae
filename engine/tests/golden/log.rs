//! Scripts for `log::writer`: batches, seals, segments, commits, and what a start finds of them.
//!
//! - `log BLOCKS`: an empty log of segments of so many blocks
//! - `entry R INDEX BYTES`, `vote R TERM`, `commit R INDEX`, `forget R`: for replica R of shard 1
//! - `force-commits`, `force-seal`, `wait MS`, `deadline`, `wanted`, `segment N`
//! - `flush`: asks for a batch; `flushed`: the batch is durable, and then the next is asked for
//! - `crash BLOCKS`: of the write under way so many blocks stay, then the log is opened again

use bytes::Bytes;
use margate_engine::log::record::Record;
use margate_engine::log::scan::scan;
use margate_engine::log::segment::LogConfig;
use margate_engine::log::writer::{FlushStep, LogWriter, Resume};
use margate_engine::types::{HardState, Nanos, ReplicaName};
use margate_net::ids::{ClusterId, CoreId, DirectoryId, LogIndex, NodeId, ReplicaId, ShardId, Space, Term};
use margate_net::message::EntryKind;

use crate::disk::Disk;
use crate::runner::{self, Command, Trace};
use crate::show;

/// Bytes of a block.
const BLOCK_BYTES: u64 = 4_096;

/// See the module's text.
pub(crate) struct Machine {
    config: LogConfig,
    disk: Disk,
    writer: LogWriter,
    now: Nanos,
}

impl Machine {
    /// Before `log`.
    pub(crate) fn new() -> Self {
        Self::with_segments(2)
    }

    fn with_segments(blocks: u64) -> Self {
        let config = LogConfig {
            cluster: ClusterId(1),
            directory: DirectoryId(1),
            node: NodeId(1),
            core: CoreId(0),
            segment_bytes: u32::try_from(blocks * BLOCK_BYTES).expect("small segments"),
            ready_min: 1,
        };
        Self {
            config,
            disk: Disk::new(config),
            writer: LogWriter::new(config, Resume::fresh()),
            now: Nanos(0),
        }
    }

    fn flush(&mut self, trace: &mut Trace) {
        match self.writer.flush(self.now, Nanos(1)) {
            FlushStep::Nothing => trace.line("nothing to write"),
            FlushStep::WaitForSegment => trace.line("waits for a segment"),
            FlushStep::Write(flush) => {
                let place = format!("segment {} block {}", flush.segment, u64::from(flush.offset) / BLOCK_BYTES);
                let batch = show::flush(&self.config, self.disk.salt(flush.segment), &flush);
                trace.line(format!("writes to {place}, {} blocks: {batch}", flush.length as u64 / BLOCK_BYTES));
                self.disk.begin(&flush);
            }
        }
    }

    fn flushed(&mut self, trace: &mut Trace) {
        let Some(sequence) = self.disk.finish() else {
            return trace.line("(no write is under way)");
        };
        let flushed = self.writer.flushed(sequence, self.now);
        let commits: String = flushed
            .durable_commits
            .iter()
            .map(|(name, commit)| format!(", {} commit {commit}", show::name(*name)))
            .collect();
        trace.line(format!("durable: batch {sequence}{commits}"));
        self.flush(trace);
    }

    fn deadline(&self, trace: &mut Trace) {
        trace.line(match self.writer.deadline() {
            Some(at) => format!("a seal is due in {} ms", at.since(self.now).0 / 1_000_000),
            None => "nothing is due".into(),
        });
    }

    fn crash(&mut self, kept_blocks: u64, trace: &mut Trace) {
        self.disk.crash(usize::try_from(kept_blocks).expect("few blocks"));
        let mut batches = Vec::new();
        let end = scan(&mut self.disk, &self.config, None, &mut |batch| batches.push(batch.sequence));
        let end = end.expect("the log opens");
        let torn = end.torn.map_or("no torn tail".into(), |torn| {
            format!("a torn tail of {} blocks", torn.bytes / BLOCK_BYTES)
        });
        trace.line(format!("found batches {batches:?}, {torn}, {} damaged places", end.damage.len()));
        self.disk.discard(&end.discard);
        self.writer = LogWriter::new(self.config, end.resume);
        end.ready.iter().for_each(|ready| self.writer.segment_ready(*ready));
    }

    fn wanted(&mut self, trace: &mut Trace) {
        let wanted = self.writer.segments_wanted(usize::MAX);
        trace.line(format!("wants segments {wanted:?}, waited {} times", self.writer.segment_waits()));
    }
}

impl runner::Machine for Machine {
    fn run(&mut self, command: &Command<'_>, trace: &mut Trace) {
        let replica = || ReplicaName {
            shard: ShardId(1),
            replica: ReplicaId(command.number(1)),
        };
        match command.words()[0] {
            "log" => *self = Self::with_segments(command.number(1)),
            "commit" => self.writer.note_commit(replica(), LogIndex(command.number(2))),
            "crash" => self.crash(command.number(1), trace),
            "deadline" => self.deadline(trace),
            "entry" => self.writer.push(entry(replica(), command.number(2), command.number(3))),
            "flush" => self.flush(trace),
            "flushed" => self.flushed(trace),
            "force-commits" => self.writer.force_commits(),
            "force-seal" => self.writer.force_seal(),
            "forget" => self.writer.forget(replica()),
            "segment" => {
                let number = u32::try_from(command.number(1)).expect("few segments");
                self.writer.segment_ready(self.disk.prewrite(number));
            }
            "vote" => self.writer.push(vote(replica(), command.number(2))),
            "wait" => self.now = self.now.plus(Nanos::from_millis(command.number(1))),
            "wanted" => self.wanted(trace),
            _ => command.unknown(),
        }
    }
}

fn entry(name: ReplicaName, index: u64, bytes: u64) -> Record {
    Record::Entry {
        name,
        space: Space(1),
        term: Term(1),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data: Bytes::from(vec![7; usize::try_from(bytes).expect("small entries")]),
        timestamp: Nanos(1),
    }
}

fn vote(name: ReplicaName, term: u64) -> Record {
    let state = HardState {
        term: Term(term),
        vote: name.replica,
    };
    Record::HardState {
        name,
        space: Space(1),
        state,
        timestamp: Nanos(1),
    }
}
