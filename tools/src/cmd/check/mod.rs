//! `margate check`: whether this machine, and the disk below a directory, are fit to run a node.
//!
//! A [`row`] per thing: what was found, what that means, why it matters, how to mend it. [`machine`] asks the kernel, [`disk`] and
//! [`trial`] the disk. What a node refuses to start without is asked by the engine's own preflight.
//!
//! Not here, on purpose: changing anything.

mod disk;
mod machine;
mod row;
mod trial;

use std::io;
use std::path::PathBuf;

use serde_json::Value;

use self::row::{Row, Verdict};
use super::{is_text, prepare};
use crate::args::{CheckArgs, Global};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output::{Object, Output};

/// Why a machine was not checked, or is not fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    /// The directory cannot be looked at.
    #[error("cannot look at {}: {source}; make it first, or name another directory on the disk that will hold the data", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What should be a directory is none.
    #[error("{} is no directory; name one on the disk that will hold the data", .path.display())]
    NoDirectory {
        /// What it is called.
        path: PathBuf,
    },
    /// Something must be mended.
    #[error("{failed} of {rows} checks failed: a node does not start here, or is not durable; the rows that failed say how to mend that")]
    Unfit {
        /// Rows that failed.
        failed: usize,
        /// All rows.
        rows: usize,
    },
}

impl CheckError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Directory { .. } | Self::NoDirectory { .. } => Exit::Usage,
            Self::Unfit { .. } => Exit::Problems,
        }
    }
}

pub(crate) fn run(global: &Global, args: &CheckArgs) -> Result<(), Failure> {
    prepare(global)?;
    if args.data.is_file() {
        return Err(CheckError::NoDirectory { path: args.data.clone() }.into());
    }
    let disk = disk::rows(&args.data).map_err(|source| CheckError::Directory {
        path: args.data.clone(),
        source,
    })?;
    let rows: Vec<Row> = machine::rows().into_iter().chain(disk).collect();
    let mut output = Output::new(global.output);
    let done = print(&mut output, &rows);
    output.finish().and(done)?;
    match count(&rows, Verdict::Fail) {
        0 => Ok(()),
        failed => Err(CheckError::Unfit { failed, rows: rows.len() }.into()),
    }
}

fn print(output: &mut Output, rows: &[Row]) -> Result<(), Failure> {
    if is_text(output) {
        return rows.iter().flat_map(Row::lines).try_for_each(|line| output.line(&line));
    }
    let objects: Vec<Value> = rows.iter().map(|row| row.object().into()).collect();
    let (failed, warned) = (count(rows, Verdict::Fail), count(rows, Verdict::Warn));
    let document = Object::default()
        .field("fit", failed == 0)
        .field("failed", failed)
        .field("warned", warned);
    output.object(document.field("rows", objects))
}

fn count(rows: &[Row], verdict: Verdict) -> usize {
    rows.iter().filter(|row| row.verdict == verdict).count()
}
