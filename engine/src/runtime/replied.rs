//! How long answers take to their sockets, counted in runs: answers of one turn to questions of one frame are one run, whatever their
//! number.
//!
//! Not here, on purpose: the sockets (`server`).

use margate_net::measure::{ReadStage, Span, Stage, Times};

use crate::shard::answer::Asked;
use crate::types::Nanos;

/// Answers that wait to be written to one connection.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<Run>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    asked: Asked,
    ready: Nanos,
    tells: bool,
    answers: u64,
}

impl Waiting {
    /// An answer is ready. Whether it `tells` what was done or what the state is.
    pub(super) fn push(&mut self, asked: Asked, ready: Nanos, tells: bool) {
        match self.0.last_mut() {
            Some(run) if (run.asked, run.ready, run.tells) == (asked, ready, tells) => run.answers += 1,
            Some(_) | None => self.0.push(Run {
                asked,
                ready,
                tells,
                answers: 1,
            }),
        }
    }

    /// All of them have been written.
    pub(super) fn written(&self, now: Nanos, times: &mut Times) {
        for run in &self.0 {
            times.record(Span::Operation(run.asked.kind), now.since(run.asked.received).0, run.answers);
            if run.tells {
                let last = if run.asked.writes() {
                    Span::Write(Stage::Replied)
                } else {
                    Span::Read(ReadStage::Replied)
                };
                times.record(last, now.since(run.ready).0, run.answers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use margate_net::codec::OperationKind;

    #[test]
    fn answers_of_a_frame_are_counted_together_and_by_kind() {
        let asked = |kind, received| Asked {
            kind,
            received: Nanos(received),
        };
        let (get, set) = (asked(OperationKind::Get, 10), asked(OperationKind::Set, 10));
        let mut waiting = Waiting::default();
        for (asked, tells) in [(get, true), (get, true), (get, false), (set, true), (get, true)] {
            waiting.push(asked, Nanos(50), tells);
        }
        assert_eq!(waiting.0.len(), 4);
        let mut times = Times::default();
        waiting.written(Nanos(110), &mut times);
        let counted = |span| (times.get(span).count(), times.get(span).sum());
        assert_eq!(counted(Span::Operation(OperationKind::Get)), (4, 400));
        assert_eq!(counted(Span::Operation(OperationKind::Set)), (1, 100));
        assert_eq!(counted(Span::Read(ReadStage::Replied)), (3, 180));
        assert_eq!(counted(Span::Write(Stage::Replied)), (1, 60));
    }
}
