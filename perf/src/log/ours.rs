//! Our log's turn: the engine's log on an executor of its own, with so many appends under way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::time::Instant;

use margate_engine::log::record::Record;
use margate_engine::log::writer::LogWriter;
use margate_engine::runtime::log_alone::LogAlone;
use margate_engine::types::{Nanos, ReplicaName};
use margate_net::ids::{LogIndex, ReplicaId, ShardId, Space, Term};
use margate_net::message::EntryKind;

use super::line::{LogLine, LogSystem, Written};
use super::{FILES_KEPT, Turn, ValuePool};
use crate::error::PerfError;
use crate::meter::{Meter, Reading};

/// Appends until the window has closed, then reads the log back; on this thread.
///
/// # Errors
/// The log cannot be made or written, or an append that was durable is not there.
pub(crate) fn turn(turn: &Turn<'_>) -> Result<LogLine, PerfError> {
    let log = LogAlone {
        folder: turn.folder.to_owned(),
        segment_bytes: turn.file_bytes,
        segments_kept: FILES_KEPT,
    };
    let mut writers = Writers::new(*turn);
    let counts = log.run(|durable, log| writers.turn(durable, log)).map_err(PerfError::log)?;
    writers.verify(&log)?;
    let written = Written {
        batches: counts.batches,
        bytes: counts.bytes,
        recycled: counts.recycled,
        file_waits: counts.segment_waits,
    };
    let system = LogSystem {
        system: "margate",
        durability: "O_DIRECT|O_DSYNC on each write",
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let reading = writers.meter.map_or_else(Reading::default, |meter| meter.reading());
    Ok(LogLine::new(system, turn, reading, written))
}

/// So many appends under way, each of a replica of its own.
struct Writers<'a> {
    turn: Turn<'a>,
    values: ValuePool,
    /// From the first turn on: before it the log's files are written.
    meter: Option<Meter>,
    /// The last index of each that was appended.
    last: Vec<u64>,
    /// Who is free to append.
    free: Vec<usize>,
    /// Who waits and since when, in the order of the log.
    waiting: VecDeque<(usize, Instant)>,
    /// Appends that are known to be durable.
    durable: u64,
}

impl<'a> Writers<'a> {
    fn new(turn: Turn<'a>) -> Self {
        Self {
            turn,
            values: ValuePool::new(turn.value_bytes),
            meter: None,
            last: vec![0; turn.writers],
            free: (0..turn.writers).collect(),
            waiting: VecDeque::new(),
            durable: 0,
        }
    }

    /// Takes note of what is durable by now and appends for everyone who is free.
    fn turn(&mut self, durable: u64, log: &mut LogWriter) -> ControlFlow<()> {
        let turn = &self.turn;
        let meter = self.meter.get_or_insert_with(|| Meter::opening_in(turn.warmup, turn.window));
        let now = Instant::now();
        while self.durable < durable {
            let (writer, began) = self.waiting.pop_front().expect("only what was appended becomes durable");
            meter.record(began, now);
            self.free.push(writer);
            self.durable += 1;
        }
        if meter.is_over(now) {
            return ControlFlow::Break(());
        }
        for writer in self.free.drain(..) {
            self.last[writer] += 1;
            log.push(entry(writer, self.last[writer], self.values.draw()));
            self.waiting.push_back((writer, now));
        }
        ControlFlow::Continue(())
    }

    /// Whether the log holds each writer's appends up to the last, all of which were durable at its end, but for those in recycled
    /// segments.
    fn verify(&self, log: &LogAlone) -> Result<(), PerfError> {
        let (mut read, mut gaps) = (BTreeMap::new(), 0);
        let see = |name: ReplicaName, index: u64| {
            let before = read.insert(name.shard.0, index);
            gaps += u64::from(before.is_some_and(|before| before + 1 != index));
        };
        log.entries(see).map_err(PerfError::log)?;
        let last = self.last.iter().enumerate();
        let lost = last.filter(|(writer, last)| read.get(&(*writer as u64)) != Some(*last)).count();
        if gaps == 0 && lost == 0 {
            return Ok(());
        }
        Err(PerfError::LogLost { writers: lost, gaps })
    }
}

fn entry(writer: usize, index: u64, data: bytes::Bytes) -> Record {
    Record::Entry {
        name: ReplicaName {
            shard: ShardId(writer as u64),
            replica: ReplicaId(1),
        },
        space: Space(1),
        term: Term(1),
        index: LogIndex(index),
        kind: EntryKind::Normal,
        data,
        timestamp: Nanos(0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::arguments::value_in_batch;
    use super::*;

    fn tiny(writers: usize, value_bytes: usize) -> LogLine {
        // Not in /tmp, which may be in memory and then refuses O_DIRECT.
        let folder = tempfile::tempdir_in(".").expect("the crate's folder is writable");
        let tiny = Turn {
            folder: folder.path(),
            writers,
            value_bytes,
            file_bytes: 4 << 20,
            warmup: Duration::ZERO,
            window: Duration::from_millis(200),
        };
        turn(&tiny).expect("the disk takes it")
    }

    #[test]
    fn writers_share_batches_and_all_that_was_durable_is_read_back() {
        let line = tiny(8, 256);
        // What was under way when the window closed is not counted.
        let batches = line.reading.ops.div_ceil(8)..=line.reading.ops / 8 + 1;
        assert!(line.written.batches > 0 && batches.contains(&line.written.batches), "{line}");
    }

    #[test]
    fn the_value_of_a_batch_makes_it_as_large_as_asked() {
        let line = tiny(1, value_in_batch(65_536));
        assert!(line.written.batches > 0, "{line}");
        assert_eq!(line.written.bytes, line.written.batches * 65_536);
    }
}
