//! One operation: what is asked of the target, and whether the answer can be true.

use crate::target::{Failure, Row, Target, WrongRead};
use crate::workload::keys::{key, number_of};
use crate::workload::{Step, Workload};

/// Carries a step out.
///
/// # Errors
/// The target's, or [`WrongRead`] for an answer that cannot be true.
pub(super) async fn perform<T: Target>(target: &T, workload: &Workload, worker: usize, step: Step) -> Result<(), Failure> {
    match step {
        Step::Read { number } => read(target, workload, worker, number).await,
        Step::Update { number, value } => target.put(worker, key(number), value).await,
        Step::Insert { number, value } => {
            let written = target.put(worker, key(number), value).await;
            match &written {
                Ok(()) => workload.records.inserted(number),
                Err(_) => workload.records.failed(number),
            }
            written
        }
        Step::Scan { number, rows } => {
            let found = target.scan(worker, key(number), rows).await?;
            check_scan(workload, number, rows, &found).map_err(Failure::none)
        }
        Step::ReadModifyWrite { number, value } => {
            read(target, workload, worker, number).await?;
            target.put(worker, key(number), value).await
        }
    }
}

async fn read<T: Target>(target: &T, workload: &Workload, worker: usize, number: u64) -> Result<(), Failure> {
    match target.get(worker, key(number)).await? {
        Some(value) if workload.values.belongs_to(number, &value) => Ok(()),
        Some(value) => Err(Failure::none(WrongRead::Foreign {
            number,
            length: value.len(),
        })),
        None => Err(Failure::none(WrongRead::Missing { number })),
    }
}

/// Rows of others and those of earlier runs may stand between ours.
fn check_scan(workload: &Workload, number: u64, asked: usize, rows: &[Row]) -> Result<(), WrongRead> {
    let rises = rows.is_sorted_by(|(before, _), (after, _)| before < after);
    if rows.len() > asked || !rises {
        let length = rows.len();
        return Err(WrongRead::ScanOutOfOrder { number, asked, length });
    }
    if rows.first().is_none_or(|(first, _)| *first != key(number)) {
        return Err(WrongRead::ScanBeginsElsewhere { number });
    }
    let present = workload.records.present();
    for (found, value) in rows {
        let ours = number_of(found).filter(|number| *number < present);
        if let Some(number) = ours.filter(|number| !workload.values.belongs_to(*number, value)) {
            let length = value.len();
            return Err(WrongRead::Foreign { number, length });
        }
    }
    Ok(())
}
