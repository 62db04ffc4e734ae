//! The index in LMDB: one environment per core, one reader on the core, one writer on the index thread.
//!
//! Not here, on purpose: WRITE_MAP (a full disk would be a SIGBUS), NO_SYNC (marks would lie after a power cut),
//! scans that outlive a call (a long reader keeps LMDB from reusing pages).

use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;
use std::time::Instant;

use heed::types::Bytes as Raw;
use heed::{DatabaseFlags, Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use margate_net::ids::{LogIndex, Space};

use super::index_growth::Growth;
use super::index_reader::{HeedReader, decode_row};
use super::index_rests::{Rests, SharedUrgency, Span};
use super::index_rows;
use super::index_writeback::Writeback;
use super::segments::is_no_space;
use crate::index::churn::Count;
use crate::index::live_bytes::{LIVE_BYTES_KEY, LiveBytes};
use crate::index::marks::{self, CORE_KEY, IDENTITY_KEY, Identity};
use crate::index::row::{space_bounds, user_key};
use crate::index::{Churn, CoreMarks, Generation, IndexError, IndexReader, IndexWriter, Overlay};
use crate::limits::CLEARED_ROWS_MAX;

/// Bytes of a core's map unless configured: sparse, so only used pages cost disk; far above what one core's keys need.
pub const MAP_BYTES_DEFAULT: usize = 16 << 30;
/// Tenths of the map that may be in use; the rest is room for a generation's copies of pages.
const MAP_TENTHS_MAX: u64 = 9;
/// Reader slots, of 64 bytes each: the core's reader, its successor while it renews, forks for images, offline tools.
const READERS_MAX: u32 = 126;
/// `latest`, `history`, `meta`, `positions`.
pub(super) const DATABASES: u32 = 4;

/// Rows written between two looks at the clock.
const ROWS_PER_STEP: usize = 32;

pub(super) type Table = heed::Database<Raw, Raw>;

/// Opens a core's index.
#[derive(Debug)]
pub struct HeedIndex;

/// Commits generations; lives on the index thread.
#[derive(Debug)]
pub struct HeedWriter {
    env: Env<WithoutTls>,
    tables: Tables,
    committed: Option<CoreMarks>,
    live: LiveBytes,
    growth: Growth,
    writeback: Writeback,
    /// Whether somebody waits for its commits; without it they never rest.
    urgency: Option<SharedUrgency>,
    /// When the last commit began.
    began: Option<Instant>,
}

/// The databases of an environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    /// Index key → row.
    pub(super) latest: Table,
    /// Index key → inverted version and position, sorted duplicates of fixed size; empty until history is kept.
    pub(super) history: Table,
    /// Identity and marks.
    pub(super) meta: Table,
    /// Replica and entry → batch.
    pub(super) positions: Table,
}

impl HeedIndex {
    /// Opens the index in a directory, or makes a new one there.
    ///
    /// `map_size` bytes bound its size; a page-size multiple, freely changed from one open to the next as long as the contents fit.
    ///
    /// # Errors
    /// A newer format, another cluster's or directory's index, damage, or a failing disk; nothing is changed then.
    pub fn open(path: &Path, map_size: usize, identity: Identity) -> Result<(HeedReader, HeedWriter), IndexError> {
        let env = open_env(path, map_size)?;
        let tables = open_tables(&env, identity)?;
        sync_directories(path)?;
        let reader = HeedReader::new(&env, tables)?;
        let (committed, live) = (reader.core_marks()?, LiveBytes(reader.live_bytes()?));
        let (growth, writeback) = (Growth::new(&env)?, Writeback::new(&env)?);
        let writer = HeedWriter {
            env,
            tables,
            committed,
            live,
            growth,
            writeback,
            urgency: None,
            began: None,
        };
        Ok((reader, writer))
    }
}

fn open_env(path: &Path, map_size: usize) -> Result<Env<WithoutTls>, IndexError> {
    let doing = failed("opening");
    fs::create_dir_all(path).map_err(|error| doing(error.into()))?;
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(map_size).max_dbs(DATABASES).max_readers(READERS_MAX);
    // SAFETY: NO_READ_AHEAD is only advice to the kernel; no lock, no sync and no check is given up.
    unsafe { options.flags(EnvFlags::NO_READ_AHEAD) };
    // SAFETY: LMDB maps the file, so nobody else may change it. It lies in a core's own directory, which the node has
    // locked for itself, on a local disk; other processes open it through LMDB, whose lock file orders them.
    let env = unsafe { options.open(path) }.map_err(doing)?;
    env.clear_stale_readers()
        .map_err(failed("freeing the reader slots of dead processes"))?;
    Ok(env)
}

/// Opens the databases once the identity has said that this release may touch them.
fn open_tables(env: &Env<WithoutTls>, identity: Identity) -> Result<Tables, IndexError> {
    let doing = failed("opening the databases");
    let mut txn = env.write_txn().map_err(&doing)?;
    let meta: Table = env.create_database(&mut txn, Some("meta")).map_err(&doing)?;
    match meta.get(&txn, &IDENTITY_KEY).map_err(&doing)? {
        Some(value) => identity.check(value)?,
        None => meta.put(&mut txn, &IDENTITY_KEY, &identity.encode()).map_err(&doing)?,
    }
    let history = env
        .database_options()
        .types::<Raw, Raw>()
        .name("history")
        .flags(DatabaseFlags::DUP_SORT | DatabaseFlags::DUP_FIXED)
        .create(&mut txn)
        .map_err(&doing)?;
    let tables = Tables {
        latest: env.create_database(&mut txn, Some("latest")).map_err(&doing)?,
        history,
        meta,
        positions: env.create_database(&mut txn, Some("positions")).map_err(&doing)?,
    };
    txn.commit().map_err(&doing)?;
    Ok(tables)
}

/// Makes the index's own names durable: LMDB syncs its file, not the directories that lead to it.
fn sync_directories(path: &Path) -> Result<(), IndexError> {
    for directory in [Some(path), path.parent()].into_iter().flatten() {
        let name = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        let synced = File::open(name).and_then(|directory| directory.sync_all());
        synced.map_err(|source| IndexError::Io {
            doing: "syncing its directory",
            source,
        })?;
    }
    Ok(())
}

impl Tables {
    /// Bytes of the pages that hold something, free pages left out.
    pub(super) fn bytes_used(&self, txn: &RoTxn<'_>) -> Result<u64, IndexError> {
        let mut bytes = 0;
        for table in [self.latest, self.history, self.meta, self.positions] {
            let stat = table.stat(txn).map_err(failed("measuring its size"))?;
            let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
            bytes += pages as u64 * u64::from(stat.page_size);
        }
        Ok(bytes)
    }
}

impl HeedWriter {
    /// From now on commits that are not urgent leave the CPU to others.
    pub(super) fn rest_unless(&mut self, urgency: SharedUrgency) {
        self.urgency = Some(urgency);
    }

    /// Refuses while nothing is written yet: at a nearly full map, or when the file system cannot hold the pages to come.
    fn make_room(&mut self, txn: &RwTxn<'_>, generation: &Generation) -> Result<(), IndexError> {
        let used = self.tables.bytes_used(txn)?;
        let map = self.env.info().map_size as u64;
        if used > map / 10 * MAP_TENTHS_MAX {
            return Err(IndexError::Full { used, map });
        }
        self.growth.reserve(&self.env, used, generation)
    }

    /// Writes everything.
    fn write(&mut self, txn: &mut RwTxn<'_>, generation: &Generation, span: Span) -> Result<Count, IndexError> {
        let mut count = Count::new(self.live);
        self.write_rows(txn, &generation.rows, span, &mut count)?;
        self.clear(txn, &generation.cleared, &mut count)?;
        self.write_marks(txn, generation, count.live)?;
        self.write_positions(txn, generation).map_err(failed("writing positions"))?;
        Ok(count)
    }

    fn write_rows(&mut self, txn: &mut RwTxn<'_>, rows: &Overlay, span: Span, count: &mut Count) -> Result<(), IndexError> {
        let (mut rests, writeback) = (Rests::new(self.urgency.as_ref(), span, rows.len()), &mut self.writeback);
        index_rows::write(self.tables.latest, txn, rows, count, |written| {
            if written % ROWS_PER_STEP == 0 {
                rests.step(written);
                writeback.step()?;
            }
            Ok(())
        })
    }

    /// Deletes rows of spaces nobody owns, up to the limit of one commit.
    fn clear(&self, txn: &mut RwTxn<'_>, spaces: &[Space], count: &mut Count) -> Result<(), IndexError> {
        let doing = failed("clearing a space");
        let mut left = CLEARED_ROWS_MAX;
        for space in spaces {
            let (first, end) = space_bounds(*space, b"", b"");
            let range = (first.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
            let mut last = None;
            for entry in self.tables.latest.range(txn, &range).map_err(&doing)?.take(left) {
                let (key, row) = entry.map_err(&doing)?;
                count.lose(user_key(key).map_or(0, <[u8]>::len), &decode_row(*space, row)?);
                last = Some(key);
            }
            let Some(last) = last.map(<[u8]>::to_vec) else { continue };
            let done = (range.0, Bound::Included(&last[..]));
            left -= self.tables.latest.delete_range(txn, &done).map_err(&doing)?;
        }
        Ok(())
    }

    fn write_marks(&self, txn: &mut RwTxn<'_>, generation: &Generation, live: LiveBytes) -> Result<(), IndexError> {
        let doing = failed("writing marks");
        self.tables.meta.put(txn, &CORE_KEY, &generation.core.encode()).map_err(&doing)?;
        self.tables.meta.put(txn, &LIVE_BYTES_KEY, &live.encode()).map_err(&doing)?;
        for replica in &generation.replicas {
            self.tables.meta.put(txn, &replica.key(), &replica.encode()?).map_err(&doing)?;
        }
        Ok(())
    }

    /// Notes new positions, then deletes those of entries that have left the log.
    fn write_positions(&self, txn: &mut RwTxn<'_>, generation: &Generation) -> Result<(), heed::Error> {
        let positions = self.tables.positions;
        for (name, index, position) in &generation.positions {
            let (key, value) = (marks::position_key(*name, *index), marks::encode_position(*position));
            positions.put(txn, &key, &value)?;
        }
        for replica in &generation.replicas {
            let first = marks::position_key(replica.name, LogIndex(0));
            let last = marks::position_key(replica.name, replica.truncated);
            positions.delete_range(txn, &(Bound::Included(&first[..]), Bound::Included(&last[..])))?;
        }
        Ok(())
    }

    /// Names what stopped a commit, an overflowing map or disk above all; dropping the transaction has undone it.
    fn explain(&self, error: IndexError) -> IndexError {
        match error {
            IndexError::Lmdb {
                source: heed::MdbError::MapFull,
                ..
            } => {
                let info = self.env.info();
                let map = info.map_size as u64;
                IndexError::Full { used: map, map }
            }
            IndexError::Io { source, .. } if is_no_space(&source) => self.growth.no_space(),
            other => other,
        }
    }
}

impl IndexWriter for HeedWriter {
    fn commit(&mut self, generation: &Generation) -> Result<Churn, IndexError> {
        generation.assert_follows(self.committed.as_ref());
        let span = self
            .began
            .replace(Instant::now())
            .map_or_else(Span::default, |last| Span::after(last.elapsed()));
        let env = self.env.clone();
        let mut txn = env.write_txn().map_err(failed("beginning a commit"))?;
        self.make_room(&txn, generation)?;
        let written = self.write(&mut txn, generation, span);
        let committed = written.and_then(|count| txn.commit().map(|()| count).map_err(failed("committing")));
        let count = committed.map_err(|error| self.explain(error))?;
        (self.live, self.committed) = (count.live, Some(generation.core));
        Ok(count.churn)
    }
}

/// Says what was being done when LMDB failed.
pub(super) fn failed(doing: &'static str) -> impl Fn(heed::Error) -> IndexError {
    move |error| match error {
        heed::Error::Mdb(source) => IndexError::Lmdb { doing, source },
        heed::Error::Io(source) => IndexError::Io { doing, source },
        heed::Error::EnvAlreadyOpened => IndexError::AlreadyOpen,
        // Raw bytes are neither encoded nor decoded, so these two never come.
        heed::Error::Encoding(cause) | heed::Error::Decoding(cause) => IndexError::Io {
            doing,
            source: std::io::Error::other(cause),
        },
    }
}

#[cfg(test)]
#[path = "index_store_tests.rs"]
mod tests;
