//! The command line of `parts`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::PARTS;
use crate::args::positive_seconds;
use crate::args::shared::LinesArguments;

/// `parts`
#[derive(Debug, Args)]
pub(crate) struct PartsArguments {
    /// Parts, with commas [default: all]
    #[arg(value_delimiter = ',', value_parser = PossibleValuesParser::new(PARTS.map(|part| part.name)))]
    names: Vec<String>,
    /// Seconds that each part is run for.
    #[arg(long, default_value = "1", value_parser = positive_seconds, value_name = "SECS")]
    pub(crate) secs: Duration,
    /// Count instructions under valgrind instead, and compare them with those recorded: fails where there are more than 5 % more.
    #[arg(long)]
    pub(crate) count: bool,
    /// Count all parts and rewrite the record.
    #[arg(long, conflicts_with_all = ["count", "names"])]
    pub(crate) record: bool,
    /// The record.
    #[arg(long, default_value = "perf/parts.toml", value_name = "FILE")]
    pub(crate) recorded: PathBuf,
    /// Folder in which all data are put, in a new folder that is deleted at the end; not on tmpfs.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) data_root: PathBuf,
    #[command(flatten)]
    pub(crate) printed: LinesArguments,
    /// Run one part as often as is counted, and print nothing: what `--count` starts under valgrind.
    #[arg(long, hide = true, conflicts_with_all = ["count", "record"])]
    pub(crate) counted: bool,
}

impl PartsArguments {
    /// The parts that are asked for, in the order of all.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'static super::Named> {
        let asked = |name: &str| self.names.is_empty() || self.names.iter().any(|asked| asked == name);
        PARTS.iter().filter(move |part| asked(part.name))
    }
}
