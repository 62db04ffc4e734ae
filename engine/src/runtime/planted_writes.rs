//! A bug for crash tests on real files, built only with the feature `planted-buffered-writes`: what a core appends to its log
//! stops in the page cache, as if `O_DIRECT | O_DSYNC` had been forgotten. `.ci/power-cut --planted` must find it.
//!
//! Not here, on purpose: a way to switch it on when the program runs.

/// Whether this build has the bug. Said at each start, and `margate check` fails.
pub const PLANTED: bool = cfg!(feature = "planted-buffered-writes");
/// What a build with the bug says about itself.
pub const WARNING: &str = "this build has planted-buffered-writes: acknowledged writes do not survive a power cut; it is for tests only";
/// The flag of a durable write, unless the bug is built in.
pub(super) const DSYNC: i32 = if PLANTED { 0 } else { libc::O_DSYNC };

/// Takes `O_DIRECT`, which glommio asks for, off an open log file.
///
/// # Errors
/// What the system says.
#[cfg(feature = "planted-buffered-writes")]
pub(super) fn through_page_cache(file: &glommio::io::DmaFile) -> std::io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use std::os::fd::{AsRawFd, BorrowedFd};

    // SAFETY: the file is open and stays so during this call.
    let descriptor = unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) };
    let flags = fcntl_getfl(descriptor)?;
    Ok(fcntl_setfl(descriptor, flags - OFlags::DIRECT)?)
}
