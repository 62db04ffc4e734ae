//! Time as the pure core sees it: a number handed in by the runtime.
//!
//! Not here, on purpose: any clock. The runtime reads one and says what time it is.

use std::time::Duration;

/// Nanoseconds since the client began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    /// After every moment that comes.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// This moment plus a span, saturating.
    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from here to a later moment, zero if it is not later.
    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}
