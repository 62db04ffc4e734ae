//! Reading the command line and the environment. A variable that is set to nothing counts as not set, as unit files and
//! compose files write it.

use std::ffi::OsStr;

use clap::builder::Resettable;
use clap::{Command, CommandFactory as _, FromArgMatches as _};

use super::Args;

impl Args {
    /// What this process was started with; ends it with a message and code 2 if that makes no sense.
    pub(crate) fn read() -> Self {
        let command = without(Args::command(), &|name| {
            std::env::var_os(name).is_some_and(|value| value.is_empty())
        });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.format(&mut Args::command()).exit())
    }
}

/// The command and all below it, deaf to these variables.
fn without(command: Command, unset: &impl Fn(&OsStr) -> bool) -> Command {
    let command = command.mut_args(|argument| match argument.get_env() {
        Some(name) if unset(name) => argument.env(Resettable::Reset),
        Some(_) | None => argument,
    });
    command.mut_subcommands(|below| without(below, unset))
}
