//! Verdicts: what to do about an attempt that brought no answer. One pure function, [`judge`].
//!
//! ```text
//! failure                         read                    write
//! refused for good                fail                    fail: refused
//! refused for now                 again                   again: the refusal proves it was not executed
//! not sent                        again                   again: nobody has heard of it
//! lost, silent, outcome unknown   again                   fail: outcome unknown
//! ```
//!
//! "Again" ends at the deadline. So a write that may have been executed is never sent a second time.
//!
//! Not here, on purpose: where the next attempt goes (`route.rs`).

use std::net::SocketAddr;
use std::time::Duration;

use margate_net::error::{Refusal, RetryClass};

use crate::error::{Error, LinkFault, Obstacle, UnknownCause};
use crate::moment::Moment;

/// Why an attempt brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was sent, or may have been, and its connection broke.
    Lost(LinkFault),
    /// Nothing of it was handed to a socket.
    NotSent(Obstacle),
    /// The server said no.
    Refused(Refusal),
    /// It was sent and the attempt's time ended without an answer.
    Silent,
}

/// Whether an operation may be executed more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It changes nothing.
    Read,
    /// It may change state.
    Write,
}

/// An attempt that failed, and what bounds the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Why it failed.
    pub(crate) failure: Failure,
    /// The core it was made at.
    pub(crate) address: SocketAddr,
    /// What the operation is.
    pub(crate) purpose: Purpose,
    /// Attempts made so far, this one included.
    pub(crate) attempts: u32,
    /// When the operation began.
    pub(crate) began: Moment,
    /// When it must end.
    pub(crate) deadline: Moment,
    /// Now.
    pub(crate) now: Moment,
    /// Any random number.
    pub(crate) dice: u64,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell the caller.
    Fail(Error),
    /// Wait, then try again by what the routing table says then.
    Retry {
        /// How long to wait.
        after: Duration,
        /// What the routing table needs first.
        map: MapNeed,
    },
}

/// Whether the map must be fetched before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MapNeed {
    /// The one at hand may be right.
    Keep,
    /// The one at hand is old.
    Fetch,
}

/// What to do about a failed attempt.
pub(crate) fn judge(attempt: &Attempt) -> Verdict {
    match attempt.failure {
        Failure::Lost(_) => judge_maybe_executed(attempt, UnknownCause::ConnectionLost),
        Failure::NotSent(_) => again(attempt, backoff(attempt), MapNeed::Keep),
        Failure::Refused(refusal) => judge_refusal(attempt, refusal),
        Failure::Silent => judge_maybe_executed(attempt, UnknownCause::DeadlineExceeded),
    }
}

/// A read may run as often as it likes, a write not even twice.
fn judge_maybe_executed(attempt: &Attempt, cause: UnknownCause) -> Verdict {
    match attempt.purpose {
        Purpose::Read => again(attempt, backoff(attempt), MapNeed::Keep),
        Purpose::Write => Verdict::Fail(Error::OutcomeUnknown { cause }),
    }
}

/// Refusals say themselves whether they prove that nothing was executed.
fn judge_refusal(attempt: &Attempt, refusal: Refusal) -> Verdict {
    match refusal.retry() {
        // The server was told all the time there was, so nothing is left for another attempt.
        RetryClass::Never if refusal == Refusal::DeadlineExceeded => Verdict::Fail(Error::Timeout { after: attempt.spent() }),
        RetryClass::Never => Verdict::Fail(Error::Refused(refusal)),
        RetryClass::NowWithNewMap => judge_route(attempt, refusal),
        RetryClass::AfterMs(millis) => {
            let asked = Duration::from_millis(u64::from(millis));
            again(attempt, asked + backoff(attempt), MapNeed::Keep)
        }
        RetryClass::OutcomeUnknown => judge_maybe_executed(attempt, UnknownCause::LeadershipLost),
    }
}

/// The operation went to the wrong place: a hint says where to go, a map that is old is fetched.
fn judge_route(attempt: &Attempt, refusal: Refusal) -> Verdict {
    let hinted = matches!(refusal, Refusal::NotLeader { leader: Some(_) });
    let map_is_old = matches!(refusal, Refusal::NoSuchShard | Refusal::WrongRange { .. });
    let map = if map_is_old { MapNeed::Fetch } else { MapNeed::Keep };
    // The first hints are followed at once; a chain of them means that nodes disagree.
    let after = if hinted && attempt.attempts <= HINTS_FOLLOWED_AT_ONCE {
        Duration::ZERO
    } else {
        backoff(attempt)
    };
    again(attempt, after, map)
}

/// Again after a wait, unless that would be past the deadline.
fn again(attempt: &Attempt, after: Duration, map: MapNeed) -> Verdict {
    if attempt.now.plus(after) < attempt.deadline {
        return Verdict::Retry { after, map };
    }
    let address = attempt.address;
    let last = match attempt.failure {
        Failure::Lost(fault) => Obstacle::Link { address, fault },
        Failure::NotSent(obstacle) => obstacle,
        Failure::Refused(refusal) => Obstacle::Refused { address, refusal },
        Failure::Silent => return Verdict::Fail(Error::Timeout { after: attempt.spent() }),
    };
    Verdict::Fail(Error::Unavailable {
        after: attempt.spent(),
        last,
    })
}

impl Attempt {
    fn spent(&self) -> Duration {
        self.began.until(self.now)
    }
}

/// Doubles with each attempt up to a cap; the dice spread it over the upper half, so that operations
/// refused together do not come back together.
pub(crate) fn backoff_span(attempts: u32, dice: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let whole = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let half = whole / 2;
    let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(dice % spread)
}

fn backoff(attempt: &Attempt) -> Duration {
    backoff_span(attempt.attempts, attempt.dice)
}

/// The first wait between attempts: longer than a turn of a server's loop, shorter than anyone notices.
const BACKOFF_FIRST: Duration = Duration::from_millis(4);
/// The longest: an election takes about half a second, and nobody wants to wait much longer than it took.
const BACKOFF_MAX: Duration = Duration::from_millis(100);
/// Two hints cover a leader that moved while the first was on its way.
const HINTS_FOLLOWED_AT_ONCE: u32 = 2;

#[cfg(test)]
mod tests;
