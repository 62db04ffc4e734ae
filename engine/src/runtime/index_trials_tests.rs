//! What a row of starts leaves behind, each ended as a signal, a fault or a graceful stop would.

use margate_net::ids::{ClusterId, DirectoryId};

use super::super::index_store::HeedIndex;
use super::*;
use crate::index::conformance::{generation, put};
use crate::index::marks::Identity;

fn index() -> (tempfile::TempDir, PathBuf) {
    let core = tempfile::tempdir().expect("a folder");
    let index = core.path().join("index");
    make(&index);
    (core, index)
}

fn make(index: &Path) {
    fs::create_dir(index).expect("a folder in it");
    fs::write(index.join("data.mdb"), b"rows").expect("a file in that");
}

/// A start during which the index was opened at this generation.
#[track_caller]
fn start(index: &Path, generation: u64) -> IndexTrial {
    let mut trial = IndexTrial::begin(index).expect("it is counted");
    trial.reached(generation).expect("it is noted");
    trial
}

#[track_caller]
fn end(trial: IndexTrial, verdict: Verdict) {
    trial.end(verdict).expect("it is noted");
}

#[test]
fn the_fourth_start_in_a_row_begins_without_the_index() {
    let (core, index) = index();
    for _ in 0..3 {
        start(&index, 7);
        assert!(index.join("data.mdb").exists());
    }
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists());
    assert_eq!(fs::read(core.path().join("index.aside/data.mdb")).expect("it was kept"), b"rows");
    make(&index);
    IndexTrial::begin(&index).expect("it is counted anew");
    assert!(index.exists());
}

#[test]
fn a_start_that_succeeds_ends_the_row() {
    let (core, index) = index();
    for _ in 0..9 {
        end(start(&index, 7), Verdict::Acquitted);
        assert!(!core.path().join("index.failed-starts").exists());
    }
    assert!(index.exists());
}

#[test]
fn ends_without_a_word_while_serving_count_a_third() {
    let (_core, index) = index();
    for _ in 0..9 {
        assert!(index.exists());
        start(&index, 7).served().expect("it is counted");
    }
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists());
}

#[test]
fn a_failure_after_the_acquittal_is_the_first_of_a_row() {
    let (_core, index) = index();
    for _ in 0..9 {
        let mut trial = start(&index, 7);
        trial.acquit().expect("it is taken back");
        end(trial, Verdict::Failed);
    }
    assert!(index.exists());
    let mut trial = start(&index, 7);
    trial.acquit().expect("it is taken back");
    end(trial, Verdict::Condemned);
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists());
}

#[test]
fn a_start_that_says_nothing_of_the_index_leaves_the_count_as_it_was() {
    let (core, index) = index();
    end(start(&index, 7), Verdict::Innocent);
    assert!(!core.path().join("index.failed-starts").exists());
    start(&index, 7);
    start(&index, 7);
    for _ in 0..9 {
        end(start(&index, 7), Verdict::Innocent);
    }
    start(&index, 7);
    assert!(index.exists(), "that was the third");
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists());
}

#[test]
fn a_replay_that_gets_on_may_be_killed_at_any_time() {
    let (_core, index) = index();
    for generation in 1..9 {
        // The index grows after it was opened, and the process ends; the next start finds it grown.
        start(&index, generation);
    }
    for generation in (10..90).step_by(10) {
        let mut trial = IndexTrial::begin(&index).expect("it is counted");
        trial.reached(generation).expect("it is noted");
    }
    // One that got nowhere, one that got on at last.
    start(&index, 80);
    start(&index, 80).reached(81).expect("it is noted");
    start(&index, 81);
    assert!(index.exists());
    start(&index, 81);
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists(), "three that got nowhere");
}

/// A start from a real index that is killed after it has committed this generation.
#[track_caller]
fn killed_after(index: &Path, committed: Option<u64>) {
    let ours = Identity {
        cluster: ClusterId(1),
        directory: DirectoryId(2),
    };
    let mut trial = IndexTrial::begin(index).expect("it is counted");
    let (reader, mut writer) = HeedIndex::open(index, 1 << 20, ours).expect("ours");
    let mut watched = trial.watch(&reader, &mut writer).expect("it is noted");
    if let Some(number) = committed {
        watched.commit(&generation(number, &[(b"k", put(1))])).expect("room");
    }
}

#[test]
fn a_real_index_that_grows_is_kept_until_it_grows_no_more() {
    let core = tempfile::tempdir().expect("a folder");
    let index = core.path().join("index");
    let aside = core.path().join("index.aside");
    for number in 1..6 {
        killed_after(&index, Some(number));
    }
    killed_after(&index, None);
    // The last start that the count allows gets on.
    killed_after(&index, Some(6));
    killed_after(&index, None);
    killed_after(&index, None);
    assert!(!aside.exists());
    killed_after(&index, None);
    assert!(
        aside.exists(),
        "the sixth generation was opened three times in a row, and nothing came of it"
    );
}

#[test]
fn an_index_found_guilty_is_not_tried_again() {
    let (core, index) = index();
    for _ in 0..2 {
        end(start(&index, 7), Verdict::Condemned);
        IndexTrial::begin(&index).expect("it is set aside, and an older one makes room");
        assert!(!index.exists() && core.path().join("index.aside").exists());
        make(&index);
    }
}

#[test]
fn a_failure_that_may_pass_counts_one() {
    let (_core, index) = index();
    for _ in 0..3 {
        assert!(index.exists());
        end(start(&index, 7), Verdict::Failed);
    }
    IndexTrial::begin(&index).expect("it is set aside");
    assert!(!index.exists());
}

#[test]
fn an_index_that_is_gone_already_is_made_anew_and_what_was_set_aside_stays() {
    let (core, index) = index();
    end(start(&index, 7), Verdict::Condemned);
    let aside = core.path().join("index.aside");
    fs::rename(&index, &aside).expect("as before a crash");
    for _ in 0..2 {
        let trial = IndexTrial::begin(&index).expect("nothing is in the way");
        assert_eq!(fs::read(aside.join("data.mdb")).expect("it was kept"), b"rows");
        assert_eq!(trial.before, Count::default(), "the new index has done nothing yet");
    }
}

#[test]
fn a_count_that_cannot_be_read_counts_as_one() {
    for bytes in [&b""[..], b"3", b"3 7", b"300 7\n", b"-1 7\n", b"a b\n", b"\xFF 7\n"] {
        let (core, index) = index();
        fs::write(core.path().join("index.failed-starts"), bytes).expect("written");
        for failed in [1, 2] {
            let trial = IndexTrial::begin(&index).expect("the second or third");
            assert_eq!(trial.before.points, failed * FAILED, "{bytes:?}");
        }
        IndexTrial::begin(&index).expect("the fourth");
        assert!(!index.exists());
    }
}
