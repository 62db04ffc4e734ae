//! Power cuts, carried out by a program that is given: root's work, and another on every system.
//!
//! ```text
//! PROGRAM mount DIR…   before the nodes start: each folder lies on a disk of its own from now on, with what it
//!                      holds; the first time the disk is made, later it comes back after a cut
//! PROGRAM cut DIR…     what is not durable in these folders is lost from this instant, for good
//! ```
//! `.ci/power-cut` is such a program.
//!
//! Not here, on purpose: the end of the processes. They are killed as soon as `cut` returns.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use tokio::task::spawn_blocking;

use crate::error::PerfError;

/// Whoever can cut the power of a node's disk.
#[derive(Clone, Debug)]
pub(crate) struct Power {
    program: PathBuf,
    talk: PathBuf,
}

impl Power {
    /// This program; what it and the nodes say is in `talk`.
    pub(crate) fn new(program: PathBuf, talk: &Path) -> Self {
        let talk = talk.to_owned();
        Self { program, talk }
    }

    /// Puts folders on disks, or brings those disks back.
    ///
    /// # Errors
    /// The program is not there or says it failed.
    pub(crate) async fn mount(&self, folders: Vec<PathBuf>) -> Result<(), PerfError> {
        self.run("mount", folders).await
    }

    /// Cuts the power of folders, all at once.
    ///
    /// # Errors
    /// The program is not there or says it failed.
    pub(crate) async fn cut(&self, folders: Vec<PathBuf>) -> Result<(), PerfError> {
        self.run("cut", folders).await
    }

    /// Not on the thread that serves the clients: they go on while it works.
    async fn run(&self, verb: &'static str, folders: Vec<PathBuf>) -> Result<(), PerfError> {
        let mut command = Command::new(&self.program);
        command.arg(verb).args(folders).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = spawn_blocking(move || command.status()).await;
        let status: ExitStatus = ended.map_err(std::io::Error::other).flatten().map_err(|source| PerfError::Start {
            program: self.program.display().to_string(),
            source,
            advice: "it must be a program that takes `mount DIR…` and `cut DIR…`",
        })?;
        if status.success() {
            return Ok(());
        }
        Err(PerfError::Ended {
            program: format!("{} {verb}", self.program.display()),
            status,
            talk: self.talk.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_fails_or_is_not_there_is_an_error() {
        let power = |program| Power::new(PathBuf::from(program), Path::new("talk"));
        assert!(power("true").cut(Vec::new()).await.is_ok());
        let failed = power("false").mount(vec![PathBuf::from("folder")]).await;
        assert!(matches!(failed, Err(PerfError::Ended { .. })));
        let missing = power("/no/such/program").cut(Vec::new()).await;
        assert!(matches!(missing, Err(PerfError::Start { .. })));
    }
}
