//! `parts`: how long each part of the data path takes, or how many instructions.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::parts::arguments::PartsArguments;
use crate::parts::recorded::{CountedLine, Record};
use crate::parts::{Named, PARTS, counted, timed};
use crate::report::Output;

/// Prints a line for each part, or rewrites the record.
///
/// # Errors
/// The folder or the record cannot be used, or valgrind is not there.
pub(crate) fn run(arguments: &PartsArguments) -> Result<Verdict, PerfError> {
    if arguments.record {
        return record(arguments);
    }
    if arguments.count {
        return compare(arguments);
    }
    for named in arguments.parts() {
        let folder = scratch::folder(&arguments.data_root, false)?;
        if arguments.counted {
            counted::run(named, folder.path())?;
        } else {
            Output::of(arguments.json).emit(&timed::run(named, folder.path(), arguments.secs)?)?;
        }
    }
    Ok(Verdict::Good)
}

fn record(arguments: &PartsArguments) -> Result<Verdict, PerfError> {
    let mut instructions = BTreeMap::new();
    for named in &PARTS {
        instructions.insert(named.name.to_owned(), count(named, &arguments.data_root)?);
    }
    let record = Record::new(instructions);
    record.write(&arguments.recorded)?;
    for (named, instructions) in PARTS
        .iter()
        .zip(PARTS.iter().filter_map(|named| record.instructions.get(named.name)))
    {
        println!("{}", record.compare(named.name, *instructions));
    }
    Ok(Verdict::Good)
}

fn compare(arguments: &PartsArguments) -> Result<Verdict, PerfError> {
    let record = Record::read(&arguments.recorded)?;
    let mut lines = Vec::new();
    for named in arguments.parts() {
        let line = record.compare(named.name, count(named, &arguments.data_root)?);
        Output::of(arguments.json).emit(&line)?;
        lines.push(line);
    }
    let kept = lines.iter().all(CountedLine::is_kept);
    if !kept {
        let why = record.differs().unwrap_or_else(|| "the code has changed".to_owned());
        eprintln!("more instructions than recorded: {why}. Mend it, or if it must be so, `margate-perf parts --record`");
    } else if lines.iter().any(CountedLine::is_fallen) {
        eprintln!("fewer instructions than recorded: keep that with `margate-perf parts --record`");
    }
    Ok(Verdict::of(kept))
}

fn count(named: &Named, data_root: &Path) -> Result<u64, PerfError> {
    counted::instructions(named, data_root)
}
