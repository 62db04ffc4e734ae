//! A terminal that a test looks at and types into.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The far side of a terminal, and the process on it.
pub(crate) struct Terminal {
    far: File,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    /// Starts a command on a terminal of this size.
    pub(crate) fn start(mut command: Command, (columns, lines): (u16, u16)) -> Self {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&far).expect("it is ours");
        unlockpt(&far).expect("it is ours");
        let name = ptsname(&far, Vec::new()).expect("it has a name");
        let near: OwnedFd = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its near side");
        let size = Winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&near, size).expect("it has a size");
        let copy = near.try_clone().expect("a descriptor");
        command.env("TERM", "xterm").stdin(copy).stdout(near).stderr(Stdio::null());
        let child = command.spawn().expect("the binary runs");
        // The near side is the child's alone, so that its end is seen.
        drop(command);
        Self {
            far: File::from(far),
            child,
            seen: Vec::new(),
        }
    }

    /// Waits until all these words were drawn.
    #[track_caller]
    pub(crate) fn expect(&mut self, words: &[&str]) {
        while !words.iter().all(|word| self.seen().contains(word)) {
            assert!(self.read(), "it ended: {}", self.seen());
        }
    }

    /// Types.
    pub(crate) fn type_in(&mut self, keys: &[u8]) {
        self.far.write_all(keys).expect("it is open");
    }

    /// Waits until the process has ended: how, and all that was drawn.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        while self.read() {}
        (self.child.wait().expect("a child"), self.seen())
    }

    /// The process.
    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads more; not if the near side is closed, which the kernel tells as an error.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        let read = self.far.read(&mut bytes).unwrap_or(0);
        self.seen.extend_from_slice(&bytes[..read]);
        read > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended is not hurt by it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
