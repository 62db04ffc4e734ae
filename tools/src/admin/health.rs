//! Whether a node lives, and whether it can stand in for another: what is wrong, in lines that say what it waits for.
//!
//! *Live* is a node whose cores answer; one that replays its log, or waits to become a member, is live. *Ready* is a member of a deployment
//! all of whose cores serve, and each of whose replicas votes, knows a leader and has applied what was committed when the process
//! started: until then another node should not be stopped. Whoever restarts nodes one after the other waits for that.

use margate_net::message::{CoreStatus, Readiness, ReplicaStatus};

use super::look::{Answer, CoreView, PATIENCE, View};

/// Lines of what is wrong, at most; of more it says that there are more.
const LINES_MAX: usize = 50;

/// What keeps a node from being live; nothing if it is.
pub(super) fn dead(view: &View) -> Vec<String> {
    bounded(view.serving.iter().filter_map(silence).collect())
}

/// What keeps it from being ready; nothing if it is.
pub(super) fn unready(view: &View) -> Vec<String> {
    let mut lacks = Vec::new();
    if view.stopping {
        lacks.push("it was told to stop".to_owned());
    } else if !view.member {
        lacks.push("it is not a member of a deployment yet".to_owned());
    } else if view.serving.len() < view.cores {
        let replaying = view.cores - view.serving.len();
        lacks.push(format!(
            "{replaying} of {} cores do not serve yet: they replay their logs",
            view.cores
        ));
    }
    for core in &view.serving {
        match &core.answer {
            Answer::Silence => lacks.extend(silence(core)),
            Answer::Stopped => lacks.push(format!("core {} has stopped", core.core)),
            Answer::Status(status) => lacks.extend(unready_core(status)),
        }
    }
    bounded(lacks)
}

fn silence(core: &CoreView) -> Option<String> {
    let stuck = core.stuck_for.map_or_else(String::new, |span| {
        format!(", it has not come round for {} ms, since {}", span.0 / 1_000_000, core.does)
    });
    matches!(core.answer, Answer::Silence).then(|| format!("core {} does not answer within {} s{stuck}", core.core, PATIENCE.as_secs()))
}

fn unready_core(status: &CoreStatus) -> Vec<String> {
    let replicas = status.replicas.iter().filter_map(|replica| lack(status, replica));
    let awaited = (status.shards_awaited > 0).then(|| {
        let (core, shards) = (status.core, status.shards_awaited);
        format!("core {core} has no replica yet of {shards} shards that the map gives it: no leader has admitted it")
    });
    replicas.chain(awaited).collect()
}

fn lack(status: &CoreStatus, replica: &ReplicaStatus) -> Option<String> {
    let lack = match replica.readiness {
        Readiness::Ready => return None,
        Readiness::Leaderless => "knows no leader",
        Readiness::Behind => "has yet to apply what was committed when this process started",
        Readiness::Voteless => "does not vote yet",
        Readiness::Damaged => "is damaged and was not started",
    };
    Some(format!("core {}: the replica of shard {} {lack}", status.core, replica.shard))
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::{answering, member, silent};
    use super::*;
    use margate_engine::types::Nanos;

    #[test]
    fn a_node_is_ready_when_all_its_replicas_are() {
        let view = member(vec![answering(0, &[Readiness::Ready; 3]), answering(1, &[Readiness::Ready])]);
        assert_eq!((dead(&view), unready(&view)), (vec![], vec![]));
        for (readiness, word) in [
            (Readiness::Leaderless, "no leader"),
            (Readiness::Behind, "yet to apply"),
            (Readiness::Voteless, "vote"),
            (Readiness::Damaged, "damaged"),
        ] {
            let view = member(vec![answering(0, &[Readiness::Ready, readiness])]);
            let lacks = unready(&view);
            assert!(
                lacks.len() == 1 && lacks[0].contains("shard 2") && lacks[0].contains(word),
                "{lacks:?}"
            );
            assert_eq!(dead(&view), [""; 0], "it lives all the same");
        }
    }

    #[test]
    fn a_core_that_does_not_answer_is_named() {
        let mut view = member(vec![answering(0, &[]), silent(1)]);
        assert_eq!(dead(&view), ["core 1 does not answer within 1 s"]);
        view.serving[1].stuck_for = Some(Nanos::from_millis(3_200));
        let told = "core 1 does not answer within 1 s, it has not come round for 3200 ms, since the end of a turn";
        assert_eq!((dead(&view), unready(&view)), (vec![told.to_owned()], vec![told.to_owned()]));
    }

    #[test]
    fn who_has_yet_to_start_lives_and_is_not_ready() {
        let mut view = member(vec![]);
        view.cores = 2;
        assert_eq!(unready(&view), ["2 of 2 cores do not serve yet: they replay their logs"]);
        view.member = false;
        assert_eq!(unready(&view), ["it is not a member of a deployment yet"]);
        view.stopping = true;
        assert_eq!(unready(&view), ["it was told to stop"]);
        assert_eq!(dead(&view), [""; 0]);
        let mut stopped = silent(0);
        stopped.answer = Answer::Stopped;
        let view = member(vec![stopped]);
        assert_eq!((dead(&view), unready(&view)), (vec![], vec!["core 0 has stopped".to_owned()]));
        let mut awaits = answering(0, &[]);
        if let Answer::Status(status) = &mut awaits.answer {
            status.shards_awaited = 4;
        }
        assert!(unready(&member(vec![awaits]))[0].contains("4 shards"));
    }

    #[test]
    fn many_lacks_are_cut_short() {
        let lacks = unready(&member(vec![answering(0, &[Readiness::Leaderless; 60])]));
        assert_eq!((lacks.len(), lacks[50].as_str()), (51, "and 10 more"));
    }
}
