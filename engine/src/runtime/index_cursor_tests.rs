//! Rows are written in order, wherever they lie.

use std::collections::BTreeMap;

use heed::{Comparator, Env, EnvOpenOptions, WithoutTls};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use super::*;

const MAP: usize = 16 << 20;
/// Some ten to a page.
const ROW: usize = 300;

fn env(folder: &TempDir) -> Env<WithoutTls> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP).max_dbs(1);
    // SAFETY: the folder is the test's own, and nothing else opens it meanwhile.
    unsafe { options.open(folder.path()) }.expect("an environment of our own")
}

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

/// Writes these as the store does: a new row, or none. How often a cursor began.
fn write(table: Table, txn: &mut RwTxn<'_>, rows: &BTreeMap<u32, Option<u8>>, model: &mut BTreeMap<u32, u8>) -> usize {
    let (mut rows, mut reach, mut begun) = (rows.iter().peekable(), Reach::new(), 0);
    while let Some((first, _)) = rows.peek() {
        let mut cursor = RowCursor::begin(table, txn, &key(**first)).expect("a sound tree");
        begun += 1;
        let mut looked = 0;
        while let Some((number, row)) = rows.peek() {
            let old = match cursor.find(&key(**number), &mut reach).expect("a sound tree") {
                Found::Far => break,
                Found::Nothing => None,
                Found::Row(old) => Some(old[0]),
            };
            looked += 1;
            assert_eq!(old, model.get(*number).copied(), "row {number}");
            match row {
                Some(fill) => {
                    cursor.put(&key(**number), &[*fill; ROW]).expect("room");
                    model.insert(**number, *fill);
                }
                None if old.is_some() => {
                    cursor.delete().expect("found");
                    model.remove(*number);
                }
                None => {}
            }
            rows.next();
        }
        assert!(looked > 0, "a fresh cursor is at its key");
    }
    begun
}

fn holds(table: Table, txn: &RwTxn<'_>, model: &BTreeMap<u32, u8>) -> bool {
    let found = table.iter(txn).expect("a sound tree").map(|row| row.expect("a sound row"));
    found
        .map(|(key, row)| (key.to_vec(), row[0]))
        .eq(model.iter().map(|(number, fill)| (key(*number).to_vec(), *fill)))
}

#[test]
fn any_rows_are_found_written_and_deleted() {
    let folder = tempfile::tempdir().expect("a directory for the test");
    let env = env(&folder);
    let mut txn = env.write_txn().expect("the only writer");
    let table: Table = env.create_database(&mut txn, Some("latest")).expect("room");
    let (mut model, mut dice) = (BTreeMap::new(), StdRng::seed_from_u64(3));
    for round in 0..60_u8 {
        // Every row of a part, one of so many of another: those near each other and those far apart.
        let (from, apart, deleted) = (dice.random_range(0..4_000), dice.random_range(1..24), dice.random_range(0.0..1.0));
        let part = (from..from + 600).chain((from + 600..6_000).step_by(apart));
        let rows = part.map(|number| (number, (!dice.random_bool(deleted)).then_some(round)));
        write(table, &mut txn, &rows.collect(), &mut model);
        assert!(holds(table, &txn, &model), "round {round}");
    }
    let none = (0..6_000).map(|number| (number, None)).collect();
    write(table, &mut txn, &none, &mut model);
    assert!(holds(table, &txn, &model) && model.is_empty());
    write(table, &mut txn, &BTreeMap::from([(7, Some(7)), (9, Some(9))]), &mut model);
    assert!(holds(table, &txn, &model));
}

#[test]
fn rows_near_each_other_need_one_cursor_and_rows_far_apart_one_each() {
    let folder = tempfile::tempdir().expect("a directory for the test");
    let env = env(&folder);
    let mut txn = env.write_txn().expect("the only writer");
    let table: Table = env.create_database(&mut txn, Some("latest")).expect("room");
    let mut model = BTreeMap::new();
    let mut begun = |first: u32, apart: usize| {
        let rows = (first..6_000).step_by(apart).map(|number| (number, Some(1)));
        write(table, &mut txn, &rows.collect(), &mut model)
    };
    assert_eq!([begun(0, 1), begun(0, 1), begun(0, 8)], [1, 1, 1]);
    assert_eq!(begun(0, 100), 60);
    // After those far apart it learns that these are not.
    let steps = usize::try_from(VAIN_MAX).expect("few");
    assert!(begun(1, 4) <= 2 * steps, "each of 1,500 began anew");
}

/// The order in which a damaged tree stands.
enum Falling {}

impl Comparator for Falling {
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        right.cmp(left)
    }
}

#[test]
fn a_tree_that_is_out_of_order_is_damaged_and_never_looked_through_for_ever() {
    let folder = tempfile::tempdir().expect("a directory for the test");
    {
        let env = env(&folder);
        let mut txn = env.write_txn().expect("the only writer");
        let mut options = env.database_options().types::<Raw, Raw>().key_comparator::<Falling>();
        let table = options.name("latest").create(&mut txn).expect("room");
        (0..500).for_each(|number| table.put(&mut txn, &key(number), &[1; ROW]).expect("room"));
        txn.commit().expect("room");
        env.prepare_for_closing().wait();
    }
    let env = env(&folder);
    let mut txn = env.write_txn().expect("the only writer");
    let table: Table = env.create_database(&mut txn, Some("latest")).expect("there");
    let mut damaged = 0;
    for number in 0..500 {
        let mut cursor = RowCursor::begin(table, &mut txn, &key(number)).expect("readable");
        match cursor.find(&key(number), &mut Reach::new()) {
            Ok(Found::Far) => panic!("{number}: the next cursor would begin at it again"),
            Ok(Found::Nothing | Found::Row(_)) => {}
            Err(error) => {
                assert!(matches!(error, heed::Error::Mdb(MdbError::Corrupted)), "{error}");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0, "some keys lie above all of the page they would be in");
}
