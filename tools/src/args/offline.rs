//! The commands that need no deployment: `inspect` and `check`.

use std::path::PathBuf;

/// `margate inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The data directory (node.data) of a node that does not run
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Only this core
    #[arg(long, value_name = "CORE")]
    pub(crate) core: Option<u16>,
    /// Show segments, replicas and the index of each core; what is shown if nothing else is asked for
    #[arg(long, group = "what", help_heading = "What to show")]
    pub(crate) summary: bool,
    /// Print every record of the log, in order
    #[arg(long, group = "what", help_heading = "What to show")]
    pub(crate) records: bool,
    /// Read everything, hold index and log against each other, and list what is wrong
    #[arg(long, group = "what", help_heading = "What to show")]
    pub(crate) verify: bool,
}

/// What of a data directory is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InspectWhat {
    /// `--summary`
    Summary,
    /// `--records`
    Records,
    /// `--verify`
    Verify,
}

impl InspectArgs {
    /// What was asked for; clap takes one of the flags at most.
    pub(crate) fn what(&self) -> InspectWhat {
        if self.records {
            InspectWhat::Records
        } else if self.verify {
            InspectWhat::Verify
        } else {
            InspectWhat::Summary
        }
    }
}

/// `margate check`
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Directory on the disk that will hold the data; a temporary file is written there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) data: PathBuf,
}

pub(super) const INSPECT_EXAMPLES: &str = "\
Examples:
  margate inspect /var/lib/margate
  margate inspect margate-data/node-1/data --core 0 --records
  margate inspect /var/lib/margate --verify -o json

Nothing is changed, and no node can start on the directory meanwhile. A record is printed with its
place, SEGMENT:OFFSET, the effects of an entry below it; keys that are no plain text as 0x….

--verify reads every batch, record and effect with its checksum, follows every row of the index to its
record, holds the index against the entries it claims to contain, and its marks against the log.

A torn tail is what a crash left of bytes nobody was told about: it is shown, and is no damage. Ends with
code 7 if anything is wrong.";
pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  margate check
  margate check --data /var/lib/margate -o json

Each row passes, warns or fails. A node does not start, or is not durable, where one fails; it is slower
than it could be where one warns. Ends with code 7 if a row fails. The disk is tried with 200 direct,
durable writes of 4 KiB.";
