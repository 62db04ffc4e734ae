//! Processes this one starts: they end with it, whichever way it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::error::PerfError;

/// Time between the polite signal and the other one.
const GRACE: Duration = Duration::from_secs(10);
/// How often an ending process is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A running process; dropping it ends it: SIGTERM, then SIGKILL after ten seconds.
#[derive(Debug)]
pub(crate) struct Child {
    inner: std::process::Child,
}

impl Child {
    /// Starts the command with its output appended to `talk`. Must be called from the main thread: the kernel
    /// ends the child together with the thread that started it.
    ///
    /// # Errors
    /// The program or the file cannot be opened.
    pub(crate) fn spawn(command: &mut Command, talk: &Path) -> io::Result<Self> {
        let talk: File = OpenOptions::new().create(true).append(true).open(talk)?;
        Self::spawn_said(command.stdout(talk.try_clone()?).stderr(talk))
    }

    /// Starts the command with its output where it was told to leave it. Must be called from the main thread, too.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn spawn_said(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null());
        // SAFETY: between fork and exec the closure makes one system call, which is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        Ok(Self { inner: command.spawn()? })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.inner.try_wait().ok().flatten()
    }

    /// An error if it has ended, which names the program and where its output is.
    ///
    /// # Errors
    /// [`PerfError::Ended`].
    pub(crate) fn check(&mut self, program: &str, talk: &Path) -> Result<(), PerfError> {
        match self.exited() {
            None => Ok(()),
            Some(status) => Err(PerfError::Ended {
                program: program.to_owned(),
                status,
                talk: talk.to_owned(),
            }),
        }
    }

    fn end(&mut self) {
        if self.exited().is_some() {
            return;
        }
        signal(self.pid(), Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < GRACE {
            if self.exited().is_some() {
                return;
            }
            thread::sleep(POLL);
        }
        // Either fails only when the process has just ended, which is what we want.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process; a process that is gone needs none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone_and_its_output_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let talk = folder.path().join("talk");
        let child = Child::spawn(Command::new("sh").args(["-c", "echo hello; exec sleep 60"]), &talk).expect("sh is there");
        let pid = child.pid();
        let began = Instant::now();
        while std::fs::read_to_string(&talk).expect("the file is made first") != "hello\n" {
            assert!(began.elapsed() < Duration::from_secs(10), "the child says nothing");
            thread::sleep(POLL);
        }
        drop(child);
        assert!(began.elapsed() < GRACE, "SIGTERM is enough for sleep");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = Child::spawn(&mut Command::new("/no/such/program"), &folder.path().join("talk")).expect_err("it is not there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
