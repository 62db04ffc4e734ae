//! How often indexes commit, as far as it shows from outside: a commit takes its rows out of the overlay, all at once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use margate_client::Client;
use margate_net::ids::{CoreId, NodeId};
use margate_net::message::CoreStatus;
use tokio::time::sleep;

use crate::margate::cores::answers;

/// How often cores are asked: several times while a commit is under way, and seldom enough to cost nothing.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// Commits of each core's index since the first look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commits(BTreeMap<(NodeId, CoreId), Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rows: u64,
    commits: u32,
}

impl Commits {
    /// Watches from the end of the warm-up until it is dropped.
    pub(crate) async fn watch_after(&mut self, warmup: Duration, client: &Client) -> Infallible {
        sleep(warmup).await;
        loop {
            self.look(&answers(client).await);
            sleep(ASKED_EVERY).await;
        }
    }

    /// Commits of the index that has committed least: at least so many.
    pub(crate) fn fewest(&self) -> u32 {
        self.0.values().map(|seen| seen.commits).min().unwrap_or(0)
    }

    fn look(&mut self, cores: &[CoreStatus]) {
        for core in cores {
            let rows = core.overlay_rows;
            let seen = self.0.entry((core.node, core.core)).or_insert(Seen { rows, commits: 0 });
            seen.commits += u32::from(rows < seen.rows);
            seen.rows = rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::margate::cores::tests::core;

    #[test]
    fn a_commit_is_seen_when_rows_become_fewer_and_the_slowest_core_counts() {
        let mut commits = Commits::default();
        let rows = |node, overlay_rows| CoreStatus {
            overlay_rows,
            ..core(node, Vec::new())
        };
        for (one, other) in [(10, 0), (20, 5), (4, 9), (30, 12), (0, 2), (0, 0)] {
            commits.look(&[rows(1, one), rows(2, other)]);
        }
        assert_eq!(commits.fewest(), 2);
        commits.look(&[rows(3, 1)]);
        assert_eq!(commits.fewest(), 0);
        assert_eq!(Commits::default().fewest(), 0);
    }
}
