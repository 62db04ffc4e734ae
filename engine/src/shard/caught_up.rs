//! Whether a replica has applied what was committed when its process started: until then it cannot stand in for another.
//!
//! ```text
//!   silent ──(a leader names a commit)──► listening ──(five heartbeats)──► behind ──(the highest it named is applied)──► caught up
//!      └───────────────────────(it leads, and an entry of its own term is applied)──────────────────────────────────►┘
//! ```
//! What was committed at the start nobody here can know: a heartbeat commits no more than its leader knows to be here, and only the
//! answer to it brings the append that names the rest. After some heartbeats it has named all there was.
//! Once caught up, a replica stays so for the life of its process; that it lags behind later writes is the rule, not a lack.

use margate_net::ids::LogIndex;

/// Heartbeats in the time in which a leader that has spoken names all that is committed; some of them may be lost.
const LISTENING_BEATS: u32 = 5;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// No leader has said anything yet.
    #[default]
    Silent,
    /// One has, and may yet name a higher commit.
    Listening { ticks: u32, highest: LogIndex },
    /// This much must be applied.
    Behind { target: LogIndex },
    /// It is.
    Yes,
}

impl CaughtUp {
    /// The leader of this term, which beats once in so many ticks, names a commit.
    pub(crate) fn heard(&mut self, commit: LogIndex, beat_ticks: u32) {
        match self {
            Self::Silent => {
                *self = Self::Listening {
                    ticks: LISTENING_BEATS * beat_ticks,
                    highest: commit,
                };
            }
            Self::Listening { highest, .. } => *highest = commit.max(*highest),
            Self::Behind { .. } | Self::Yes => {}
        }
    }

    /// A tick: whether it leads and has applied an entry of its own term, and the highest entry applied.
    pub(crate) fn tick(&mut self, leads: bool, applied: LogIndex) {
        let next = match *self {
            _ if leads => Self::Yes,
            Self::Listening { ticks: 0, highest } => Self::Behind { target: highest },
            Self::Listening { ticks, highest } => Self::Listening { ticks: ticks - 1, highest },
            state @ (Self::Silent | Self::Behind { .. } | Self::Yes) => state,
        };
        *self = match next {
            Self::Behind { target } if applied >= target => Self::Yes,
            state @ (Self::Silent | Self::Listening { .. } | Self::Behind { .. } | Self::Yes) => state,
        };
    }

    /// Whether it is.
    pub(crate) fn is_done(self) -> bool {
        self == Self::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(state: &mut CaughtUp, count: u32, applied: u64) {
        (0..count).for_each(|_| state.tick(false, LogIndex(applied)));
    }

    #[test]
    fn a_follower_listens_before_it_believes_that_it_has_all() {
        let mut state = CaughtUp::default();
        ticks(&mut state, 100, 5);
        assert!(!state.is_done(), "nobody has said what is committed");
        // The leader does not know yet what is here, so its first heartbeat commits little.
        state.heard(LogIndex(5), 2);
        ticks(&mut state, 3, 5);
        state.heard(LogIndex(900), 2);
        ticks(&mut state, 7, 5);
        assert!(!state.is_done());
        ticks(&mut state, 1, 899);
        assert_eq!(state, CaughtUp::Behind { target: LogIndex(900) });
        // What is committed later is no part of it.
        state.heard(LogIndex(2_000), 2);
        ticks(&mut state, 1, 900);
        assert!(state.is_done());
    }

    #[test]
    fn who_leads_has_all() {
        let mut state = CaughtUp::default();
        state.tick(true, LogIndex(1));
        assert!(state.is_done());
        state.heard(LogIndex(7), 2);
        ticks(&mut state, 20, 1);
        assert!(state.is_done(), "once is for ever");
    }
}
