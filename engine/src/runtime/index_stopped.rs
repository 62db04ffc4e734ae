//! The index of a stopped node, for the offline tools: read without changing a byte on disk.
//!
//! LMDB's lock file is left alone too, so whoever opens an index this way must hold the data directory.
//!
//! Not here, on purpose: repair.

use std::fs;
use std::io;
use std::path::Path;

use heed::types::Bytes as Raw;
use heed::{Env, EnvFlags, EnvOpenOptions, MdbError, WithoutTls};

use super::index_reader::HeedReader;
use super::index_store::{DATABASES, HeedIndex, Tables, failed};
use crate::index::IndexError;
use crate::index::marks::{IDENTITY_KEY, Identity, MetaItem};

impl HeedIndex {
    /// Opens the index of a stopped node to be read. Nothing on disk changes, not even LMDB's lock file, so the caller must hold
    /// the data directory. `None` if there is no index yet.
    ///
    /// # Errors
    /// As [`HeedIndex::open`], and an index file that was cut short.
    pub fn open_stopped(path: &Path, identity: Identity) -> Result<Option<HeedReader>, IndexError> {
        let bytes = match fs::metadata(path.join("data.mdb")) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("looking for it")(error.into())),
        };
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.max_dbs(DATABASES);
        // SAFETY: without its lock file LMDB relies on us that nobody writes: the caller holds the data directory. Read only and
        // without read-ahead give nothing up.
        unsafe { options.flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK | EnvFlags::NO_READ_AHEAD) };
        // SAFETY: the file is mapped, and the caller holds the data directory, so nobody changes it.
        let env = unsafe { options.open(path) }.map_err(failed("opening"))?;
        check_whole(&env, bytes)?;
        let Some(tables) = find_tables(&env, identity)? else {
            return Ok(None);
        };
        HeedReader::new(&env, tables).map(Some)
    }
}

/// Refuses a file that ends before its last page: to read there would kill the process.
fn check_whole(env: &Env<WithoutTls>, bytes: u64) -> Result<(), IndexError> {
    let doing = "measuring its file";
    let page_bytes = env.stat().page_size;
    let needed = (env.info().last_page_number as u64 + 1).saturating_mul(page_bytes.into());
    if bytes >= needed {
        return Ok(());
    }
    let source = io::Error::other(format!("it has {bytes} bytes and its pages need {needed}: it was cut short"));
    Err(IndexError::Io { doing, source })
}

/// Finds the databases of an index that is only read; `None` if they were never made.
fn find_tables(env: &Env<WithoutTls>, identity: Identity) -> Result<Option<Tables>, IndexError> {
    let doing = failed("opening the databases");
    let txn = env.read_txn().map_err(&doing)?;
    let open = |name| env.open_database::<Raw, Raw>(&txn, Some(name)).map_err(&doing);
    let Some(meta) = open("meta")? else { return Ok(None) };
    match meta.get(&txn, &IDENTITY_KEY).map_err(&doing)? {
        Some(value) => identity.check(value)?,
        None => return Err(IndexError::DamagedMeta { item: MetaItem::Identity }),
    }
    let needed = |name| open(name)?.ok_or_else(|| doing(MdbError::NotFound.into()));
    let tables = Tables {
        latest: needed("latest")?,
        history: needed("history")?,
        meta,
        positions: needed("positions")?,
    };
    // What is opened stays open only if its transaction ends in good order.
    txn.commit().map_err(&doing)?;
    Ok(Some(tables))
}

#[cfg(test)]
#[path = "index_stopped_tests.rs"]
mod tests;
