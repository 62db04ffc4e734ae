//! What a core counts for those who watch it: plain numbers, which only its own thread touches.
//!
//! Not here, on purpose: how they are shown (`measures`), what replicas count together (`shard::tally`).

use margate_net::ids::Term;

use super::members::Transferred;
use super::reclaim::Reclaimed;
use super::repair::Repaired;
use crate::consensus::group::Role;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Batches written since the start.
    pub batches: u64,
    /// Bytes of them, padding included.
    pub batch_bytes: u64,
    /// Records in them that waited in the queue.
    pub batch_records: u64,
    /// Generations committed to the index.
    pub index_commits: u64,
    /// Rows in them.
    pub index_rows: u64,
    /// Operations refused because their arguments make no sense.
    pub malformed: u64,
    /// Who began to lead and ceased to.
    pub ballots: Ballots,
    /// Old entries fetched from the log for members that lag.
    pub entries_fetched: u64,
    /// What reclaim has done.
    pub reclaimed: Reclaimed,
    /// What images and admissions have done.
    pub transferred: Transferred,
    /// What repairs of damaged values have done.
    pub repaired: Repaired,
    /// Leaderships handed over because the disk did not answer.
    pub slow_disk_handovers: u64,
    /// Leaderships handed over because the disk was nearly full.
    pub full_disk_handovers: u64,
    /// Messages with entries that were dropped because the disk was full.
    pub appends_dropped: u64,
    /// Writes refused because disks were full.
    pub writes_refused: u64,
}

/// What became of a core's replicas in elections, seen at the end of each turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ballots {
    /// Elections begun, pre-votes counted apart.
    pub begun: u64,
    /// Leaderships won.
    pub won: u64,
    /// Leaderships lost.
    pub lost: u64,
}

impl Ballots {
    /// A replica stands otherwise than at the end of the turn before.
    pub fn saw(&mut self, before: (Term, Role), now: (Term, Role)) {
        if before == now {
            return;
        }
        self.lost += u64::from(before.1 == Role::Leader);
        self.won += u64::from(now.1 == Role::Leader);
        // Who is alone in its shard begins and wins in one turn.
        let unseen = now.1 == Role::Leader && before.1 == Role::Follower;
        self.begun += u64::from(now.1 == Role::Candidate || unseen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elections_are_counted_by_what_they_change() {
        let stands = [
            (1, Role::Follower),
            (1, Role::Follower),
            (1, Role::Candidate),
            (2, Role::Candidate),
            (2, Role::Leader),
            (2, Role::Leader),
            (3, Role::Follower),
            (4, Role::Leader),
            (5, Role::Leader),
        ];
        let stands = stands.map(|(term, role)| (Term(term), role));
        let mut ballots = Ballots::default();
        stands.windows(2).for_each(|pair| ballots.saw(pair[0], pair[1]));
        assert_eq!((ballots.begun, ballots.won, ballots.lost), (3, 3, 2));
    }
}
