//! Counting, dropping, and whatever the file may hold.

use proptest::prelude::*;

use super::*;

fn name(shard: u64) -> ReplicaName {
    ReplicaName {
        shard: ShardId(shard),
        replica: ReplicaId(2),
    }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("SUSPECT");
    (folder, path)
}

fn panicked(path: &Path, shard: u64, times: usize) {
    (0..times).for_each(|time| note(path, name(shard), &format!("panic {time}")).expect("it is noted"));
}

fn condemned(path: &Path) -> Vec<u64> {
    let suspects = Suspects::load(path).expect("it is read");
    suspects.condemned().keys().map(|name| name.shard.0).collect()
}

#[test]
fn the_third_panic_condemns_and_others_are_none_of_it() {
    let (_folder, path) = file();
    assert_eq!(Suspects::load(&path).expect("no file is no suspect"), Suspects::default());
    panicked(&path, 1, 2);
    panicked(&path, 2, 1);
    assert_eq!(condemned(&path), Vec::<u64>::new());
    panicked(&path, 1, 1);
    assert_eq!(condemned(&path), [1]);
    panicked(&path, 1, 9);
    let suspects = Suspects::load(&path).expect("it is read");
    assert_eq!(suspects.lines.len(), PANICS_MAX + 1, "{suspects:?}");
    assert_eq!(suspects.condemned()[&name(1)], "panic 8");
}

#[test]
fn what_ran_is_acquitted_and_what_was_left_out_is_not() {
    let (_folder, path) = file();
    panicked(&path, 1, 3);
    panicked(&path, 2, 2);
    let mut trial = SuspectTrial::new(path.clone(), BTreeSet::from([name(1)]));
    let probation = trial.begin("mgt-susp-test").expect("a thread").expect("one is on trial");
    probation.end(&mut trial);
    assert_eq!(Suspects::load(&path).expect("it is read").lines.len(), 5, "a moment is no while");
    trial.acquit().expect("it is written");
    let left = Suspects::load(&path).expect("it is read");
    assert_eq!((condemned(&path), left.lines.len()), (vec![1], 3));
    assert!(trial.begin("mgt-susp-test").expect("it is read").is_none(), "nobody is on trial");
    SuspectTrial::new(path.clone(), BTreeSet::new()).acquit().expect("it is removed");
    assert!(!path.exists());
}

#[test]
fn a_file_cut_short_loses_its_last_line_alone() {
    let (_folder, path) = file();
    panicked(&path, 1, 3);
    let whole = fs::read(&path).expect("it is there");
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).expect("it is written");
        let lines = whole[..end].iter().filter(|byte| **byte == b'\n').count();
        let found = Suspects::load(&path).expect("it is read").lines.len();
        assert!((lines..=lines + 1).contains(&found), "{end}");
        panicked(&path, 2, 1);
        assert_eq!(Suspects::load(&path).expect("it is read").lines.len(), found + 1);
    }
}

#[test]
fn the_file_has_an_end() {
    let (_folder, path) = file();
    let mut suspects = Suspects::default();
    for shard in 0..LINES_MAX as u64 + 5 {
        suspects.add(name(shard), &"ä".repeat(MESSAGE_BYTES_MAX));
    }
    suspects.store(&path).expect("it is written");
    assert!(fs::metadata(&path).expect("it is there").len() < FILE_BYTES_MAX);
    let found = Suspects::load(&path).expect("it is read");
    assert_eq!(
        (found.lines.len(), found.lines.first().map(|(name, _)| name.shard.0)),
        (LINES_MAX, Some(5))
    );
}

proptest! {
    #[test]
    fn what_was_noted_is_read_again(noted in prop::collection::vec((0..4_u64, any::<String>()), 0..9)) {
        let mut suspects = Suspects::default();
        noted.iter().for_each(|(shard, message)| suspects.add(name(*shard), message));
        prop_assert_eq!(Suspects::parse(suspects.encode().as_bytes()), suspects);
    }

    #[test]
    fn garbage_is_passed_over(before in any::<Vec<u8>>(), after in any::<Vec<u8>>()) {
        let bytes = [&before[..], b"\n7 2 as noted\n", &after].concat();
        let suspects = Suspects::parse(&bytes);
        prop_assert!(suspects.lines.contains(&(name(7), "as noted".to_owned())));
        prop_assert_eq!(Suspects::parse(suspects.encode().as_bytes()).lines.len(), suspects.lines.len());
    }
}
