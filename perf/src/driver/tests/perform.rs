//! Answers that cannot be true.

use super::*;
use crate::target::WrongRead;
use crate::workload::keys::key;

/// Three keys in memory, of which the last is not counted as loaded.
fn three_keys() -> (Memory, Workload) {
    let (target, workload) = (Memory::default(), Workload::new(2, 64, 3));
    for number in 0..3 {
        target.insert(key(number), workload.written(1, 0).value(number));
    }
    (target, workload)
}

async fn wrong(target: &Memory, workload: &Workload, step: Step) -> String {
    perform(target, workload, 0, step).await.expect_err("it cannot be true").to_string()
}

#[tokio::test]
async fn a_read_of_a_missing_key_or_a_foreign_value_is_an_error() {
    let (target, workload) = (Memory::default(), Workload::new(2, 64, 3));
    for step in [
        Step::Read { number: 0 },
        Step::ReadModifyWrite {
            number: 0,
            value: Bytes::new(),
        },
    ] {
        let missing = wrong(&target, &workload, step.clone()).await;
        assert_eq!(missing, WrongRead::Missing { number: 0 }.to_string());
    }
    target.insert(key(0), workload.values.make(1, 1));
    let foreign = wrong(&target, &workload, Step::Read { number: 0 }).await;
    assert_eq!(foreign, WrongRead::Foreign { number: 0, length: 64 }.to_string());
}

#[tokio::test]
async fn a_scan_may_meet_rows_of_others_but_no_foreign_value_of_ours() {
    let (target, workload) = three_keys();
    let mut ours: Vec<u64> = (0..3).collect();
    ours.sort_by_key(|number| key(*number));
    let scan = |number| Step::Scan { number, rows: 100 };
    target.insert([&key(ours[0])[..], b"of somebody else"].concat().into(), Bytes::new());
    target.insert(key(2), Bytes::from_static(b"of an earlier run"));
    perform(&target, &workload, 0, scan(ours[0])).await.expect("neither is this run's");
    let last = *ours.iter().rfind(|number| **number < 2).expect("there are three");
    target.insert(key(last), Bytes::from_static(b"foreign"));
    let foreign = wrong(&target, &workload, scan(ours[0])).await;
    assert_eq!(foreign, WrongRead::Foreign { number: last, length: 7 }.to_string());
}

#[tokio::test]
async fn a_scan_begins_with_its_key_and_goes_on_in_order() {
    /// Answers every list with the same rows.
    struct Always(Vec<Row>);

    impl Target for Always {
        async fn put(&self, _: usize, _: Bytes, _: Bytes) -> Result<(), Failure> {
            Ok(())
        }

        async fn get(&self, _: usize, _: Bytes) -> Result<Option<Bytes>, Failure> {
            Ok(None)
        }

        async fn scan(&self, _: usize, _: Bytes, _: usize) -> Result<Vec<Row>, Failure> {
            Ok(self.0.clone())
        }
    }

    let (target, workload) = three_keys();
    let rising: Vec<Row> = target.rows.lock().expect("no worker panics").clone().into_iter().collect();
    let (first, number) = (rising[0].clone(), crate::workload::keys::number_of(&rising[0].0).expect("ours"));
    let falling = vec![first.clone(), rising[2].clone(), rising[1].clone()];
    let out_of_order = |asked, length| WrongRead::ScanOutOfOrder { number, asked, length }.to_string();
    let elsewhere = WrongRead::ScanBeginsElsewhere { number }.to_string();
    for (rows, asked, expected) in [
        (falling, 3, out_of_order(3, 3)),
        (vec![first.clone(), first], 2, out_of_order(2, 2)),
        (rising.clone(), 2, out_of_order(2, 3)),
        (rising[1..].to_vec(), 3, elsewhere.clone()),
        (Vec::new(), 3, elsewhere),
    ] {
        let step = Step::Scan { number, rows: asked };
        let failure = perform(&Always(rows), &workload, 0, step).await.expect_err("it cannot be true");
        assert_eq!(failure.to_string(), expected);
    }
}

#[tokio::test]
async fn an_insert_that_failed_leaves_its_number_to_the_next() {
    let target = Memory {
        refuse_puts: Some(Effect::Unknown),
        ..Memory::default()
    };
    let workload = Workload::new(2, 64, 3);
    let number = workload.records.begin_insert();
    let step = Step::Insert {
        number,
        value: Bytes::new(),
    };
    wrong(&target, &workload, step).await;
    assert_eq!((workload.records.present(), workload.records.begin_insert()), (2, number));
}
