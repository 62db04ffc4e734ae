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

/// Takes `O_DIRECT`, off an open log file.
///
/// # Errors
/// What the system says.
#[cfg(feature = "planted-buffered-writes")]
pub(super) fn through_page_cache(file: &impl std::os::fd::AsFd) -> std::io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let flags = fcntl_getfl(file)?;
    Ok(fcntl_setfl(file, flags - OFlags::DIRECT)?)
}
