//! What `hostile` says at its end.

use std::fmt;

use margate_client::Error;
use serde::Serialize;

use super::sender::Heard;

/// What came of all bad frames.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HostileReport {
    /// Bad frames sent.
    pub(crate) frames: u64,
    /// Those that were answered: the damage had left a meaning.
    pub(crate) answered: u64,
    /// Those after which the core closed without a word.
    pub(crate) closed: u64,
    /// Those of which the core said what is wrong.
    pub(crate) refused: u64,
    /// Those whose connection was still open ten seconds later.
    pub(crate) stuck: u64,
    /// Those that could not be sent, because the hello before them was refused.
    pub(crate) unwelcome: u64,
    /// Reads of a client that behaves, which showed what it had written.
    pub(crate) bystander: u64,
    /// Its failures.
    pub(crate) bystander_failed: u64,
    /// Its reads that did not show what it had written.
    pub(crate) bystander_wrong: u64,
    /// 1 if a node has ended.
    pub(crate) ended: u64,
    /// Anonymous memory of each node after a tenth of the frames, in KiB.
    pub(crate) memory_before_kib: Vec<u64>,
    /// The same after all of them.
    pub(crate) memory_after_kib: Vec<u64>,
    /// Seed of the frames.
    pub(crate) seed: u64,
}

impl HostileReport {
    /// Counts one frame.
    pub(crate) fn count(&mut self, heard: Heard) {
        self.frames += 1;
        match heard {
            Heard::Answered => self.answered += 1,
            Heard::Closed => self.closed += 1,
            Heard::Refused => self.refused += 1,
            Heard::Stuck => self.stuck += 1,
            Heard::Unwelcome => self.unwelcome += 1,
        }
    }

    /// Counts an operation of the client that behaves: whether it read what it had written.
    pub(crate) fn count_bystander(&mut self, read: Result<bool, Error>) {
        match read {
            Ok(true) => self.bystander += 1,
            Ok(false) => self.bystander_wrong += 1,
            Err(error) => {
                self.bystander_failed += 1;
                eprintln!("the client that behaves failed: {error}");
            }
        }
    }

    /// Whether every connection ended, nobody else noticed, and no node's memory grew by more than this.
    pub(crate) fn is_well(&self, growth_max_kib: u64) -> bool {
        let bad = [self.stuck, self.unwelcome, self.bystander_failed, self.bystander_wrong, self.ended];
        bad == [0; 5] && self.bystander > 0 && !self.memory_after_kib.is_empty() && self.growth_kib() <= growth_max_kib
    }

    /// How much the node grew that grew most.
    fn growth_kib(&self) -> u64 {
        let pairs = self.memory_before_kib.iter().zip(&self.memory_after_kib);
        pairs.map(|(before, after)| after.saturating_sub(*before)).max().unwrap_or(0)
    }
}

impl fmt::Display for HostileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad frames {}  refused {}  closed {}  answered {}  stuck {}  unwelcome {}  nodes ended {}  \
             bystander {} operations, {} failed, {} wrong  memory KiB {:?} -> {:?}, growth {} or less",
            self.frames,
            self.refused,
            self.closed,
            self.answered,
            self.stuck,
            self.unwelcome,
            self.ended,
            self.bystander,
            self.bystander_failed,
            self.bystander_wrong,
            self.memory_before_kib,
            self.memory_after_kib,
            self.growth_kib()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> HostileReport {
        HostileReport {
            bystander: 1,
            memory_before_kib: vec![100, 100],
            memory_after_kib: vec![90, 150],
            ..HostileReport::default()
        }
    }

    #[test]
    fn every_frame_is_counted_once() {
        let mut report = well();
        for heard in [Heard::Answered, Heard::Closed, Heard::Refused] {
            report.count(heard);
        }
        assert_eq!((report.frames, report.answered, report.closed, report.refused), (3, 1, 1, 1));
        assert!(report.is_well(50));
    }

    #[test]
    fn what_others_notice_is_bad() {
        assert!(!well().is_well(49));
        for heard in [Heard::Stuck, Heard::Unwelcome] {
            let mut report = well();
            report.count(heard);
            assert!(!report.is_well(50), "{heard:?}");
        }
        assert!(!HostileReport { ended: 1, ..well() }.is_well(50));
        assert!(!HostileReport { bystander: 0, ..well() }.is_well(50));
        assert!(
            !HostileReport {
                bystander_wrong: 1,
                ..well()
            }
            .is_well(50)
        );
        assert!(
            !HostileReport {
                memory_after_kib: Vec::new(),
                ..well()
            }
            .is_well(50)
        );
    }
}
