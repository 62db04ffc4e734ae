//! What must be true of this machine before a node starts, found out before anything is touched. `margate check` asks the same
//! questions, one by one.
//!
//! Not here, on purpose: what only makes a node slow, and disks; `margate check` looks at those too.

use std::fmt;
use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit};

/// Bytes of locked memory an executor needs at least; glommio refuses less.
const MEMLOCK_MIN: u64 = 512 << 10;
/// Descriptors a core needs: files of its log and index, rings, peers, and room for clients.
const DESCRIPTORS_PER_CORE: u64 = 320;

/// Why this machine cannot run a node.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring (error {errno}); Margate needs Linux 5.8 or newer with it built in")]
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
    io_uring()?;
    locked_memory()?;
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

/// Makes a ring and lets it go again.
///
/// # Errors
/// [`PreflightError::NoIoUring`], [`PreflightError::IoUringForbidden`].
pub fn io_uring() -> Result<(), PreflightError> {
    let mut parameters = [0u8; 120];
    // SAFETY: io_uring_setup reads and writes only the 120 bytes of its io_uring_params, which outlive the call.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring >= 0 {
        // SAFETY: the descriptor was just made here and is used nowhere else.
        unsafe { libc::close(i32::try_from(ring).unwrap_or(-1)) };
        return Ok(());
    }
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Err(match errno {
        libc::EPERM | libc::EACCES => PreflightError::IoUringForbidden { by: forbidden_by() },
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
