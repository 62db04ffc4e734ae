//! The exit codes: one table, which `margate --help` prints and every error maps to.

use std::process::ExitCode;

/// What the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done as asked.
    Success = 0,
    /// It failed for a reason none of the other codes names.
    Failure = 1,
    /// The arguments, the environment or the configuration are wrong.
    Usage = 2,
    /// The key, or its version, does not exist.
    NotFound = 3,
    /// No server answered, or a shard has no leader.
    Unavailable = 4,
    /// The time given with `--timeout` passed.
    Timeout = 5,
    /// A condition did not hold: the key exists, is missing, or holds another version or value.
    Conflict = 6,
    /// `inspect` or `check` did its work and found something wrong.
    Problems = 7,
    /// Stopped by ctrl-c before it was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table as users read it.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failure
    2  wrong arguments or configuration
    3  the key does not exist
    4  unavailable: no server answers, or a shard has no leader
    5  timeout
    6  conflict: a condition did not hold
    7  check or inspect found problems
  130  interrupted before it was done (dev and node that stop in good order end with 0)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_table_names_every_code() {
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::Timeout,
            Exit::Conflict,
            Exit::Problems,
            Exit::Interrupted,
        ];
        for exit in all {
            let start = format!("{:>5}  ", exit as u8);
            assert!(
                EXIT_CODES.lines().any(|line| line.starts_with(&start)),
                "{exit:?} is not in the table"
            );
        }
    }
}
