//! What must be true of this machine before a node starts, found out before anything is touched.

use std::net::SocketAddr;

use margate_net::map::MapNode;
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
    #[error("io_uring is forbidden: {by}")]
    IoUringForbidden {
        /// Who forbids it and what to do.
        by: &'static str,
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

/// Checks this machine for a node of so many cores.
///
/// # Errors
/// [`PreflightError`]: what is wrong and how to change it.
pub fn check(cores: usize) -> Result<(), PreflightError> {
    check_io_uring()?;
    let memlock = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    if memlock < MEMLOCK_MIN {
        return Err(PreflightError::MemlockTooLow { limit: memlock });
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = DESCRIPTORS_PER_CORE * cores as u64;
    if limit < needed {
        return Err(PreflightError::DescriptorsTooFew { limit, cores, needed });
    }
    Ok(())
}

/// Checks that nothing unencrypted is offered to a network by accident.
///
/// # Errors
/// [`PreflightError::NotLoopback`] names the address.
pub fn check_addresses(node: &MapNode, insecure: bool) -> Result<(), PreflightError> {
    match node.cores.iter().find(|address| !address.ip().is_loopback()) {
        Some(address) if !insecure => Err(PreflightError::NotLoopback { address: *address }),
        Some(_) | None => Ok(()),
    }
}

fn check_io_uring() -> Result<(), PreflightError> {
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

fn forbidden_by() -> &'static str {
    match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .as_deref()
        .map(str::trim)
    {
        Ok("2") => "the sysctl kernel.io_uring_disabled is 2; set it to 0",
        Ok("1") => "the sysctl kernel.io_uring_disabled is 1; set it to 0, or add this user's group to kernel.io_uring_group",
        Ok(_) | Err(_) => {
            "a seccomp filter denies it, as container runtimes do by default; allow io_uring_setup, io_uring_enter and io_uring_register"
        }
    }
}
