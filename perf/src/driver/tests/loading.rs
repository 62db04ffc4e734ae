//! Loading.

use super::*;

#[tokio::test]
async fn loading_writes_every_key_and_no_other() {
    let target = Arc::new(Memory::default());
    let workload = Arc::new(Workload::new(101, 64, 3));
    let progress = Progress::shown_to(false, 101);
    let twice = load(target.clone(), workload, 7, &progress).await.expect("memory takes every put");
    assert_eq!((twice, target.begun.load(Ordering::Relaxed)), (0, 101));
    assert_eq!(target.rows.lock().expect("no worker panics").len(), 101);
    assert!((0..101).all(|number| target.has(number)));
}

#[tokio::test]
async fn a_key_of_which_it_is_unknown_whether_it_was_written_is_written_once_more_and_no_further_time() {
    let load_into = async |memory: Memory| {
        let (target, workload) = (Arc::new(memory), Arc::new(Workload::new(101, 64, 3)));
        let loaded = load(target.clone(), workload, 7, &Progress::shown_to(false, 101)).await;
        (loaded.ok(), target.begun.load(Ordering::Relaxed))
    };
    let forgetful = Memory {
        forgetful: true,
        ..Memory::default()
    };
    assert_eq!(load_into(forgetful).await, (Some(101), 202));
    let never_sure = Memory {
        refuse_puts: Some(Effect::Unknown),
        ..Memory::default()
    };
    assert_eq!(load_into(never_sure).await, (None, 14));
}

#[tokio::test]
async fn a_key_that_cannot_be_written_ends_loading() {
    let target = Arc::new(Memory {
        refuse_puts: Some(Effect::None),
        ..Memory::default()
    });
    let workload = Arc::new(Workload::new(101, 64, 3));
    let failure = load(target.clone(), workload, 7, &Progress::shown_to(false, 101)).await;
    assert_eq!(failure.expect_err("memory was told to refuse").to_string(), "told to fail");
    assert_eq!(target.begun.load(Ordering::Relaxed), 7, "each worker ends with its first failure");
}
