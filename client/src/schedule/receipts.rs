//! Results for those who hold receipts: a slab, so that a receipt costs no allocation.
//!
//! A result stays until its receipt takes it or is dropped: who keeps receipts keeps their results.
//!
//! Not here, on purpose: results that nobody holds a receipt for. They are only counted (`epochs.rs`).

use std::task::Waker;

use margate_net::ids::Version;

use crate::error::Error;

/// How a write ended: the version it was given, `None` for a delete that found nothing.
pub(crate) type WriteResult = Result<Option<Version>, Box<Error>>;

/// Names a result, until it is taken or given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptName {
    slot: u32,
    generation: u32,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The write ended.
    Ended(WriteResult),
    /// Nobody holds a receipt of this generation.
    Free,
    /// The write is under way, and perhaps somebody waits for its end.
    Open(Option<Waker>),
}

impl Receipts {
    /// A name for the result of a write that begins.
    pub(super) fn issue(&mut self) -> ReceiptName {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                stage: Stage::Free,
            });
            u32::try_from(self.slots.len() - 1).expect("memory for 2^32 receipts is there nowhere")
        });
        let place = &mut self.slots[slot as usize];
        place.stage = Stage::Open(None);
        ReceiptName {
            slot,
            generation: place.generation,
        }
    }

    /// Something of a result's place, for [`super::Schedule::warm`].
    pub(super) fn look(&self, name: ReceiptName) -> u32 {
        self.slots.get(name.slot as usize).map_or(0, |slot| slot.generation)
    }

    /// The write has ended; nothing is kept if its receipt was given up.
    pub(super) fn end(&mut self, name: ReceiptName, result: WriteResult, wakers: &mut Vec<Waker>) {
        if let Some(slot) = self.live_mut(name)
            && let Stage::Open(waker) = std::mem::replace(&mut slot.stage, Stage::Ended(result))
        {
            wakers.extend(waker);
        }
    }

    /// Takes the result, which ends the name, or leaves a waker for when there is one.
    pub(super) fn take(&mut self, name: ReceiptName, waker: &Waker) -> Option<WriteResult> {
        let slot = self.live_mut(name)?;
        match &mut slot.stage {
            Stage::Open(Some(present)) => present.clone_from(waker),
            Stage::Open(none) => *none = Some(waker.clone()),
            Stage::Ended(_) | Stage::Free => {
                if let Stage::Ended(result) = std::mem::replace(&mut slot.stage, Stage::Free) {
                    self.recycle(name.slot);
                    return Some(result);
                }
            }
        }
        None
    }

    /// Nobody wants the result any more.
    pub(super) fn give_up(&mut self, name: ReceiptName) {
        if self.live_mut(name).is_some() {
            self.recycle(name.slot);
        }
    }

    /// Names that are neither taken nor given up.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn live_mut(&mut self, name: ReceiptName) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(name.slot as usize)?;
        (slot.generation == name.generation).then_some(slot)
    }

    fn recycle(&mut self, ordinal: u32) {
        let slot = &mut self.slots[ordinal as usize];
        slot.stage = Stage::Free;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(ordinal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64) -> WriteResult {
        Ok(Some(Version(number)))
    }

    #[test]
    fn a_result_is_taken_once_and_its_place_is_used_again() {
        let (mut receipts, mut wakers) = (Receipts::default(), Vec::new());
        let first = receipts.issue();
        assert_eq!(receipts.take(first, Waker::noop()), None, "it is under way");
        receipts.end(first, version(1), &mut wakers);
        assert_eq!(wakers.len(), 1);
        assert_eq!(receipts.take(first, Waker::noop()), Some(version(1)));
        assert_eq!(receipts.take(first, Waker::noop()), None);
        let second = receipts.issue();
        assert_eq!((second.slot, receipts.held()), (first.slot, 1));
        receipts.end(first, version(9), &mut wakers);
        receipts.give_up(first);
        receipts.end(second, version(2), &mut wakers);
        assert_eq!(wakers.len(), 1, "nobody waits for the second");
        assert_eq!(
            receipts.take(second, Waker::noop()),
            Some(version(2)),
            "an old name does not hit the new result"
        );
    }

    #[test]
    fn what_is_given_up_keeps_nothing_whenever_that_happens() {
        let (mut receipts, mut wakers) = (Receipts::default(), Vec::new());
        let (early, late) = (receipts.issue(), receipts.issue());
        receipts.give_up(early);
        receipts.end(early, version(1), &mut wakers);
        receipts.end(late, version(2), &mut wakers);
        receipts.give_up(late);
        assert_eq!((receipts.held(), wakers.len()), (0, 0));
    }
}
