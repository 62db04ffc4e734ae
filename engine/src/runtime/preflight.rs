//! What must be true of this machine before a node starts, found out before anything is touched. `margate check` asks the same
//! questions, one by one.
//!
//! Not here, on purpose: what only makes a node slow, and the disk below the file system; `margate check` looks at those too.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, statfs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// Bytes of locked memory to be allowed at least: a ring takes some 40 KiB of them, and all rings of a user share one limit.
const MEMLOCK_MIN: u64 = 512 << 10;
/// `IORING_FEAT_EXT_ARG`: a ring can be waited for up to some time.
const FEATURE_EXT_ARG: u32 = 1 << 8;
/// Descriptors a core needs: files of its log and index, rings, peers, and room for clients.
const DESCRIPTORS_PER_CORE: u64 = 320;

/// Why this machine cannot run a node.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The kernel has no io_uring, or one from before Linux 5.11.
    #[error("this kernel has no io_uring or an old one (error {errno}); Margate needs Linux 5.11 or newer with it built in")]
    NoIoUring {
        /// What the kernel said.
        errno: i32,
    },
    /// The system forbids io_uring.
    #[error("io_uring is forbidden: {by}; {}", .by.mend())]
    IoUringForbidden {
        /// Who forbids it.
        by: Forbids,
    },
    /// The limit of locked memory is too low.
    #[error(
        "the limit of locked memory is {limit} bytes and a core needs {MEMLOCK_MIN}; raise it (ulimit -l, or LimitMEMLOCK in the unit)"
    )]
    MemlockTooLow {
        /// The limit.
        limit: u64,
    },
    /// A ring takes locked memory of a user without privileges, and there is none left.
    #[error(
        "the {limit} bytes of memory that this user may lock are taken, all its processes together; raise it (ulimit -l, or LimitMEMLOCK in the unit)"
    )]
    MemlockTaken {
        /// The limit.
        limit: u64,
    },
    /// The limit of open descriptors is too low.
    #[error("the limit of open files is {limit} and {cores} cores need {needed}; raise it (ulimit -n, or LimitNOFILE in the unit)")]
    DescriptorsTooFew {
        /// The limit.
        limit: u64,
        /// Cores of this node.
        cores: usize,
        /// What they need.
        needed: u64,
    },
    /// An address is reachable from outside while nothing is encrypted.
    #[error("{address} is not a loopback address, and connections are not encrypted yet; pass --insecure if the network is trusted")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The file system takes no direct writes, and a log consists of nothing else.
    #[error("{} is on {}, which takes no direct i/o (O_DIRECT); put the data on a local disk with ext4 or xfs", .path.display(), DisplayKind(*.kind))]
    NoDirectIo {
        /// The data directory, or what there is of the way to it.
        path: PathBuf,
        /// The file system, where it is one that is known here.
        kind: Option<InMemory>,
    },
    /// The file system lives in memory, so nothing on it is durable.
    #[error(
        "{} is on {kind}, which is empty again when the machine stops: no write there is durable; put the data on a local disk with ext4 or xfs, or pass --volatile if they may be lost", .path.display()
    )]
    NotDurable {
        /// The data directory, or what there is of the way to it.
        path: PathBuf,
        /// The file system.
        kind: InMemory,
    },
}

/// A file system that lives in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMemory {
    /// Takes direct writes since Linux 6.6.
    Tmpfs,
    /// Takes none.
    Ramfs,
}

impl InMemory {
    /// By the number the kernel gives a file system, see statfs(2).
    fn numbered(number: i64) -> Option<Self> {
        match number {
            0x0102_1994 => Some(Self::Tmpfs),
            0x8584_58f6 => Some(Self::Ramfs),
            _ => None,
        }
    }
}

impl fmt::Display for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmpfs => "tmpfs",
            Self::Ramfs => "ramfs",
        })
    }
}

struct DisplayKind(Option<InMemory>);

impl fmt::Display for DisplayKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(kind) => kind.fmt(f),
            None => f.write_str("a file system"),
        }
    }
}

/// What forbids io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbids {
    /// A sysctl, for everybody.
    Sysctl,
    /// A sysctl, for all but one group.
    SysctlButGroup,
    /// A filter of system calls.
    Seccomp,
}

impl Forbids {
    /// What to do.
    #[must_use]
    pub const fn mend(self) -> &'static str {
        match self {
            Self::Sysctl => "set it to 0",
            Self::SysctlButGroup => "set it to 0, or add this user's group to kernel.io_uring_group",
            Self::Seccomp => "allow io_uring_setup, io_uring_enter and io_uring_register",
        }
    }
}

impl fmt::Display for Forbids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sysctl => "the sysctl kernel.io_uring_disabled is 2",
            Self::SysctlButGroup => "the sysctl kernel.io_uring_disabled is 1",
            Self::Seccomp => "a seccomp filter denies it, as container runtimes do by default",
        })
    }
}

/// Checks this machine for a node of so many cores.
///
/// # Errors
/// [`PreflightError`]: what is wrong and how to change it.
pub fn check(cores: usize) -> Result<(), PreflightError> {
    // In this order: without locked memory a user without privileges gets no ring.
    locked_memory()?;
    io_uring()?;
    descriptors(cores).map(|_| ())
}

/// Looks whether this process may lock the memory one core needs; says how many bytes it may, `u64::MAX` for all.
///
/// # Errors
/// [`PreflightError::MemlockTooLow`].
pub fn locked_memory() -> Result<u64, PreflightError> {
    let limit = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    if limit < MEMLOCK_MIN {
        return Err(PreflightError::MemlockTooLow { limit });
    }
    Ok(limit)
}

/// Looks whether this process may open the files so many cores need; says how many it may, `u64::MAX` for any number.
///
/// # Errors
/// [`PreflightError::DescriptorsTooFew`].
pub fn descriptors(cores: usize) -> Result<u64, PreflightError> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = DESCRIPTORS_PER_CORE * cores as u64;
    if limit < needed {
        return Err(PreflightError::DescriptorsTooFew { limit, cores, needed });
    }
    Ok(limit)
}

/// Checks that nothing unencrypted is offered to a network by accident.
///
/// # Errors
/// [`PreflightError::NotLoopback`] names the address.
pub fn check_addresses(listens: &[SocketAddr], insecure: bool) -> Result<(), PreflightError> {
    match listens.iter().find(|address| !address.ip().is_loopback()) {
        Some(address) if !insecure => Err(PreflightError::NotLoopback { address: *address }),
        Some(_) | None => Ok(()),
    }
}

/// Checks that the file system a data directory lies on, or will be made on, takes direct writes and keeps them. Leaves nothing
/// behind. With `volatile` one that forgets is only warned of. What cannot be found out is left for the data directory's own errors.
///
/// # Errors
/// [`PreflightError::NoDirectIo`], [`PreflightError::NotDurable`].
pub fn check_storage(data: &Path, volatile: bool) -> Result<(), PreflightError> {
    let whole = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let Some(place) = whole.ancestors().find(|place| place.is_dir()) else {
        return Ok(());
    };
    let kind = statfs(place).ok().and_then(|found| InMemory::numbered(found.f_type));
    let nameless = OFlags::TMPFILE | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    if open(place, nameless, Mode::RUSR | Mode::WUSR).is_err_and(|errno| errno == Errno::INVAL) {
        return Err(PreflightError::NoDirectIo { path: whole, kind });
    }
    match kind {
        Some(kind) if volatile => {
            tracing::warn!(path = %whole.display(), file_system = %kind, "VOLATILE: every write is lost when this machine stops");
            Ok(())
        }
        Some(kind) => Err(PreflightError::NotDurable { path: whole, kind }),
        None => Ok(()),
    }
}

/// Makes a ring and lets it go again.
///
/// # Errors
/// [`PreflightError::NoIoUring`], [`PreflightError::IoUringForbidden`], [`PreflightError::MemlockTaken`].
pub fn io_uring() -> Result<(), PreflightError> {
    // Thirty numbers, of which the sixth tells what the ring can do.
    let mut parameters = [0u32; 30];
    // SAFETY: io_uring_setup reads and writes only the 120 bytes of its io_uring_params, which outlive the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring >= 0 {
        // SAFETY: the descriptor was just made here and is used nowhere else.
        unsafe { libc::close(i32::try_from(ring).unwrap_or(-1)) };
        let features = parameters.get(5).copied().unwrap_or_default();
        return match features & FEATURE_EXT_ARG {
            0 => Err(PreflightError::NoIoUring { errno: libc::ENOSYS }),
            _ => Ok(()),
        };
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Err(match errno {
        libc::EPERM | libc::EACCES => PreflightError::IoUringForbidden { by: forbidden_by() },
        libc::ENOMEM => PreflightError::MemlockTaken {
            limit: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX),
        },
        errno => PreflightError::NoIoUring { errno },
    })
}

fn forbidden_by() -> Forbids {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    match sysctl.as_deref().map(str::trim) {
        Ok("2") => Forbids::Sysctl,
        Ok("1") => Forbids::SysctlButGroup,
        Ok(_) | Err(_) => Forbids::Seccomp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_storage_and_nothing_is_left_on_it() {
        // The folder of the build is on a disk; a temporary one need not be.
        let built = std::env::current_exe().expect("this test is a program");
        let folder = tempfile::tempdir_in(built.parent().expect("it lies in a folder")).expect("a folder on the disk of the build");
        check_storage(&folder.path().join("not/made/yet"), false).expect("the disk of the build takes direct writes");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_forgets_is_refused_unless_it_may() {
        let memory = Path::new("/dev/shm");
        let kind = statfs(memory).ok().and_then(|found| InMemory::numbered(found.f_type));
        if kind != Some(InMemory::Tmpfs) {
            return;
        }
        match check_storage(&memory.join("data"), false) {
            Err(PreflightError::NotDurable { path, kind }) => {
                assert_eq!((path.as_path(), kind), (Path::new("/dev/shm/data"), InMemory::Tmpfs));
                check_storage(&memory.join("data"), true).expect("it may forget");
            }
            // Before Linux 6.6.
            other => assert!(
                matches!(
                    other,
                    Err(PreflightError::NoDirectIo {
                        kind: Some(InMemory::Tmpfs),
                        ..
                    })
                ),
                "{other:?}"
            ),
        }
    }
}
