//! Which writes a flush waits for, and what it is told of them.
//!
//! ```text
//! handed over:   a b c │ d e │ f          an epoch ends where a flush begins
//! epoch:           7   │  8  │ 9          7 is closed when a, b and c have ended, 8 when 7 is and d and e have
//! ```
//! Each end is counted in its epoch's tally, and each tally told once: to the first flush that returns after
//! its epoch was closed. The same cuts tell, of two writes, whether one was handed over before something
//! was known of the other.
//!
//! Not here, on purpose: results of single writes (`receipts.rs`).

use std::collections::VecDeque;
use std::task::Waker;

use crate::api::WriteSummary;

/// Names an epoch; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EpochNumber(u64);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Epochs {
    /// The oldest that is not closed.
    first: u64,
    /// Never empty; the last one is that of the writes that come.
    open: VecDeque<Epoch>,
    closed: WriteSummary,
    failures_max: usize,
    /// There were too many for the last cut: it is made up for.
    owes_cut: bool,
    waiting: Vec<(FlushName, EpochNumber, Waker)>,
    flushes: u64,
}

/// Names a flush that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlushName(u64);

#[derive(Debug, Default)]
struct Epoch {
    /// Whether anything was handed over in it.
    used: bool,
    under_way: usize,
    tally: WriteSummary,
}

impl Epochs {
    /// Nothing was handed over yet. A tally names so many failures and counts the others.
    pub(super) fn new(failures_max: usize) -> Self {
        Self {
            first: 1,
            open: VecDeque::from([Epoch::default()]),
            closed: WriteSummary::default(),
            failures_max,
            owes_cut: false,
            waiting: Vec::new(),
            flushes: 0,
        }
    }

    /// A write was handed over; says in which epoch.
    pub(super) fn begin(&mut self) -> EpochNumber {
        let present = self.open.back_mut().expect("there is always a present epoch");
        present.used = true;
        present.under_way += 1;
        self.present()
    }

    /// A write of this epoch ended; `count` puts its end into the tally, of at most so many failures.
    pub(super) fn end(&mut self, epoch: EpochNumber, count: impl FnOnce(&mut WriteSummary, usize), wakers: &mut Vec<Waker>) {
        let ordinal = usize::try_from(epoch.0 - self.first).expect("few epochs are open");
        let epoch = &mut self.open[ordinal];
        epoch.under_way -= 1;
        count(&mut epoch.tally, self.failures_max);
        if ordinal == 0 && epoch.under_way == 0 {
            self.close(wakers);
        }
    }

    /// The epoch up to which everything was handed over that was handed over by now. What is handed over
    /// later belongs to a later one, unless there are too many.
    pub(super) fn cut(&mut self, wakers: &mut Vec<Waker>) -> EpochNumber {
        let present = self.present();
        if !self.open.back().is_some_and(|epoch| epoch.used) {
            return EpochNumber(present.0 - 1);
        }
        if self.open.len() < EPOCHS_MAX {
            self.open.push_back(Epoch::default());
            self.close(wakers);
        } else {
            self.owes_cut = true;
        }
        present
    }

    /// Whether everything up to this epoch has ended.
    pub(super) fn is_closed(&self, epoch: EpochNumber) -> bool {
        epoch.0 < self.first
    }

    /// A name for a flush.
    pub(super) fn flush(&mut self) -> FlushName {
        self.flushes += 1;
        FlushName(self.flushes)
    }

    /// What has been closed and not been told, once this epoch is; until then the waker is kept.
    pub(super) fn take(&mut self, flush: FlushName, epoch: EpochNumber, waker: &Waker) -> Option<WriteSummary> {
        if self.is_closed(epoch) {
            return Some(std::mem::take(&mut self.closed));
        }
        match self.waiting.iter_mut().find(|(name, ..)| *name == flush) {
            Some((.., present)) => present.clone_from(waker),
            None => self.waiting.push((flush, epoch, waker.clone())),
        }
        None
    }

    /// Nobody waits for this flush any more; its tally goes to the next one.
    pub(super) fn forget(&mut self, flush: FlushName) {
        self.waiting.retain(|(name, ..)| *name != flush);
    }

    /// Everything that was counted and not told, closed or not.
    pub(super) fn take_all(&mut self) -> WriteSummary {
        let mut all = std::mem::take(&mut self.closed);
        for epoch in &mut self.open {
            all.add(std::mem::take(&mut epoch.tally), self.failures_max);
        }
        all
    }

    fn present(&self) -> EpochNumber {
        EpochNumber(self.first + self.open.len() as u64 - 1)
    }

    fn close(&mut self, wakers: &mut Vec<Waker>) {
        while self.open.len() > 1 && self.open.front().is_some_and(|epoch| epoch.under_way == 0) {
            let tally = self.open.pop_front().map(|epoch| epoch.tally).unwrap_or_default();
            self.closed.add(tally, self.failures_max);
            self.first += 1;
            if std::mem::take(&mut self.owes_cut) {
                self.open.push_back(Epoch::default());
            }
        }
        let first = self.first;
        wakers.extend(
            self.waiting
                .extract_if(.., |(_, epoch, _)| epoch.0 < first)
                .map(|(.., waker)| waker),
        );
    }
}

/// Epochs that are not closed: more flushes than that, while one write will not end, wait for each other.
const EPOCHS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn count(tally: &mut WriteSummary, _failures_max: usize) {
        tally.acknowledged += 1;
    }

    fn begin_and_cut(epochs: &mut Epochs) -> (EpochNumber, EpochNumber) {
        let begun = epochs.begin();
        (begun, epochs.cut(&mut Vec::new()))
    }

    fn told(epochs: &mut Epochs, cut: EpochNumber) -> Option<u64> {
        let flush = epochs.flush();
        let told = epochs.take(flush, cut, Waker::noop()).map(|tally| tally.acknowledged);
        epochs.forget(flush);
        told
    }

    #[test]
    fn a_flush_waits_for_what_was_handed_over_before_and_for_nothing_else() {
        let mut epochs = Epochs::new(1);
        let nothing = epochs.cut(&mut Vec::new());
        assert_eq!(told(&mut epochs, nothing), Some(0));
        let (first, early) = begin_and_cut(&mut epochs);
        let (second, late) = begin_and_cut(&mut epochs);
        assert_eq!(epochs.cut(&mut Vec::new()), late, "nothing came in between");
        epochs.end(second, count, &mut Vec::new());
        assert_eq!((told(&mut epochs, early), told(&mut epochs, late)), (None, None));
        let mut wakers = Vec::new();
        let flush = epochs.flush();
        assert!(epochs.take(flush, late, Waker::noop()).is_none());
        epochs.end(first, count, &mut wakers);
        assert_eq!(wakers.len(), 1);
        assert_eq!(
            (told(&mut epochs, early), told(&mut epochs, late)),
            (Some(2), Some(0)),
            "each end is told once"
        );
    }

    #[test]
    fn with_too_many_epochs_a_cut_is_made_up_for() {
        let mut epochs = Epochs::new(1);
        let begun: Vec<_> = (0..EPOCHS_MAX + 5).map(|_| begin_and_cut(&mut epochs)).collect();
        assert_eq!(epochs.open.len(), EPOCHS_MAX);
        for (epoch, _) in &begun {
            epochs.end(*epoch, count, &mut Vec::new());
        }
        let (_, last) = begun[begun.len() - 1];
        assert_eq!(told(&mut epochs, last), Some(begun.len() as u64));
    }
}
