//! Operations that were answered, by kind and by what the answer was.

use crate::codec::OperationKind;
use crate::error::Refusal;

/// Names of answers by their wire code; 0 is success.
const RESULTS: [&str; 18] = [
    "ok",
    "invalid_key",
    "value_too_large",
    "invalid_argument",
    "not_found",
    "already_exists",
    "version_mismatch",
    "no_such_version",
    "not_leader",
    "wrong_range",
    "no_such_shard",
    "busy",
    "not_ready",
    "deadline_exceeded",
    "shutting_down",
    "damaged",
    "outcome_unknown",
    "disk_full",
];
const KINDS: usize = OperationKind::ALL.len();

/// What an answer with this code is called: `ok`, or the refusal.
#[must_use]
pub fn result_name(code: u16) -> Option<&'static str> {
    RESULTS.get(usize::from(code)).copied()
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([[u64; RESULTS.len()]; KINDS]);

impl Outcomes {
    /// Counts an answer: what was asked, and the refusal if it was one.
    pub fn count(&mut self, kind: OperationKind, refusal: Option<&Refusal>) {
        let code = refusal.map_or(0, |refusal| refusal.to_wire().code);
        if let Some(count) = self.cell(kind, code) {
            *count += 1;
        }
    }

    /// All that happened at least once: kind, code, how often.
    pub fn counted(&self) -> impl Iterator<Item = (OperationKind, u16, u64)> + '_ {
        let rows = OperationKind::ALL.into_iter().zip(&self.0);
        let cells = rows.flat_map(|(kind, row)| (0u16..).zip(row).map(move |(code, count)| (kind, code, *count)));
        cells.filter(|(_, _, count)| *count > 0)
    }

    /// Answers of a kind, whatever they said.
    #[must_use]
    pub fn of_kind(&self, kind: OperationKind) -> u64 {
        let counted = self.counted().filter(|(of, _, _)| *of == kind);
        counted.map(|(_, _, count)| count).sum()
    }

    /// Takes a count from elsewhere; nothing if there is no such answer.
    pub fn set(&mut self, kind: OperationKind, code: u16, count: u64) -> Option<()> {
        *self.cell(kind, code)? = count;
        Some(())
    }

    /// What was answered since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut between = self.clone();
        let pairs = between.0.iter_mut().flatten().zip(earlier.0.iter().flatten());
        pairs.for_each(|(now, before)| *now = now.saturating_sub(*before));
        between
    }

    fn cell(&mut self, kind: OperationKind, code: u16) -> Option<&mut u64> {
        self.0.get_mut(kind as usize - 1)?.get_mut(usize::from(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::WireRefusal;

    #[test]
    fn every_refusal_has_its_name() {
        for code in 1..=17 {
            let refusal = Refusal::from_wire(WireRefusal { code, a: 1, b: 1 }).expect("codes are dense");
            let variant = format!("{refusal:?}");
            let variant = variant.split([' ', '(']).next().unwrap_or_default().to_lowercase();
            assert_eq!(result_name(code).map(|name| name.replace('_', "")), Some(variant));
        }
        assert_eq!(result_name(18), None);
    }

    #[test]
    fn answers_are_counted_by_kind_and_refusal() {
        let mut outcomes = Outcomes::default();
        outcomes.count(OperationKind::Get, None);
        outcomes.count(OperationKind::Get, Some(&Refusal::NotFound));
        outcomes.count(OperationKind::Get, Some(&Refusal::NotFound));
        outcomes.count(OperationKind::List, None);
        let counted: Vec<_> = outcomes.counted().collect();
        assert_eq!(
            counted,
            [(OperationKind::Get, 0, 1), (OperationKind::Get, 4, 2), (OperationKind::List, 0, 1)]
        );
        assert_eq!(outcomes.of_kind(OperationKind::Get), 3);
        assert_eq!(outcomes.set(OperationKind::Get, 18, 1), None);
    }
}
