//! `parts`: how long each part of the data path takes, or how many instructions.

use super::{Verdict, scratch};
use crate::error::PerfError;
use crate::parts::arguments::PartsArguments;
use crate::parts::recorded::{CountedLine, Record};
use crate::parts::{counted, timed};

/// Prints a line for each part; rewrites the record if that is asked for.
///
/// # Errors
/// The folder or the record cannot be used, or valgrind is not there.
pub(crate) fn run(arguments: &PartsArguments) -> Result<Verdict, PerfError> {
    if arguments.record {
        // What cannot be read is about to be replaced; there is nothing to compare with then.
        let before = Record::read(&arguments.recorded).unwrap_or_else(|_| Record::of(&[]));
        let lines = count(arguments, &before)?;
        Record::of(&lines).write(&arguments.recorded)?;
        return Ok(Verdict::Good);
    }
    if arguments.count {
        let record = Record::read(&arguments.recorded)?;
        return Ok(judge(&record, &count(arguments, &record)?));
    }
    for named in arguments.parts() {
        let folder = scratch::folder(&arguments.data_root, false)?;
        if arguments.counted {
            counted::run(named, folder.path())?;
        } else {
            arguments
                .printed
                .output()
                .emit(&timed::run(named, folder.path(), arguments.secs)?)?;
        }
    }
    Ok(Verdict::Good)
}

fn count(arguments: &PartsArguments, record: &Record) -> Result<Vec<CountedLine>, PerfError> {
    let mut lines = Vec::new();
    for named in arguments.parts() {
        let instructions = counted::instructions(named, &arguments.data_root)?;
        let line = record.compare(named.name, instructions);
        arguments.printed.output().emit(&line)?;
        lines.push(line);
    }
    Ok(lines)
}

fn judge(record: &Record, lines: &[CountedLine]) -> Verdict {
    let kept = lines.iter().all(CountedLine::is_kept);
    if !kept {
        let why = record.differs().unwrap_or_else(|| "the code has changed".to_owned());
        eprintln!(
            "more instructions than recorded, or a part without a record: {why}. Mend it, or if it must be so, `margate-perf parts --record`"
        );
    } else if lines.iter().any(CountedLine::is_fallen) {
        eprintln!("fewer instructions than recorded: keep that with `margate-perf parts --record`");
    }
    Verdict::of(kept)
}
