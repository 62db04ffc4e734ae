//! Everything that takes time and is measured, and a histogram for each.

use super::histogram::Histogram;
use super::stage::{ReadStage, Stage};
use crate::codec::OperationKind;

/// Something that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From the stage of a write before to this one; never [`Stage::Received`].
    Write(Stage),
    /// From the stage of a read before to this one; never [`ReadStage::Received`].
    Read(ReadStage),
    /// An operation of this kind, from its frame's arrival until its answer was written to the socket.
    Operation(OperationKind),
    /// A batch's write to the log, until it is durable.
    LogFlush,
    /// A generation's commit to the index.
    IndexCommit,
    /// A turn of the core: events handled, ended, effects carried out.
    Turn,
}

const WRITES: usize = Stage::ALL.len() - 1;
const READS: usize = ReadStage::ALL.len() - 1;
const OPERATIONS_AT: usize = WRITES + READS;
const OTHERS_AT: usize = OPERATIONS_AT + OperationKind::ALL.len();

impl Span {
    /// How many there are.
    pub const COUNT: usize = OTHERS_AT + 3;

    /// All, in the order of their places.
    pub fn all() -> impl Iterator<Item = Self> {
        let writes = Stage::ALL.into_iter().skip(1).map(Self::Write);
        let reads = ReadStage::ALL.into_iter().skip(1).map(Self::Read);
        let operations = OperationKind::ALL.into_iter().map(Self::Operation);
        let others = [Self::LogFlush, Self::IndexCommit, Self::Turn];
        writes.chain(reads).chain(operations).chain(others)
    }

    /// Its place among all, which is its code on the wire. The first stages have no gap before them; theirs would be the next one's.
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::Write(stage) => (stage as usize).saturating_sub(1),
            Self::Read(stage) => WRITES + (stage as usize).saturating_sub(1),
            Self::Operation(kind) => OPERATIONS_AT + kind as usize - 1,
            Self::LogFlush => OTHERS_AT,
            Self::IndexCommit => OTHERS_AT + 1,
            Self::Turn => OTHERS_AT + 2,
        }
    }
}

/// A histogram for every span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times(Box<[Histogram; Span::COUNT]>);

impl Times {
    /// Counts a span of so many nanoseconds, so many times.
    pub fn record(&mut self, span: Span, nanos: u64, times: u64) {
        if let Some(histogram) = self.0.get_mut(span.place()) {
            histogram.record(nanos, times);
        }
    }

    /// What was measured of a span.
    #[must_use]
    pub fn get(&self, span: Span) -> &Histogram {
        &self.0[span.place()]
    }

    /// Takes what was measured of a span from elsewhere; one that is not there is refused.
    pub fn set(&mut self, place: usize, histogram: Histogram) -> Option<()> {
        *self.0.get_mut(place)? = histogram;
        Some(())
    }

    /// Adds what was measured elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0.iter()).for_each(|(here, there)| here.add(there));
    }

    /// What was measured since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut between = self.clone();
        let pairs = between.0.iter_mut().zip(earlier.0.iter());
        pairs.for_each(|(now, before)| *now = now.since(before));
        between
    }
}

impl Default for Times {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Histogram::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_has_a_place_of_its_own() {
        let places: Vec<usize> = Span::all().map(Span::place).collect();
        assert_eq!(places, (0..Span::COUNT).collect::<Vec<_>>());
    }
}
