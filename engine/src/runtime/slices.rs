//! How long a core waits for a CPU that another thread has: it asks the scheduler for short time slices.
//!
//! A thread that wakes waits until whoever runs has had its slice, 3 ms as a rule, and there are several such waits between a request
//! and its reply. Since Linux 6.12 a thread may ask for another length (`sched_setattr(2)`: `sched_runtime`, which the kernel keeps between
//! 0.1 and 100 ms for threads without real-time priority); one with a short slice takes the CPU from one with a long slice when it wakes, and is
//! put off sooner in its turn. It gets no more of the CPU than before, only earlier. Older kernels take the call and change nothing.
//!
//! Not here, on purpose: weights (`index_thread`), pinning (`node`).

use std::io;
use std::mem::{MaybeUninit, size_of};

/// Half of a core's turns are shorter than this with some hundred operations in each.
const SLICE_NS: u64 = 100_000;

/// Asks for short slices for the calling thread, and for the threads and kernel workers it makes from now on.
///
/// # Errors
/// What the system says. The thread runs on as before.
pub(super) fn ask_for_short() -> io::Result<()> {
    let mut attributes = attributes()?;
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the structure is whole, and says its own size.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How the calling thread is scheduled.
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    // SAFETY: a place for the answer, of the size that is told.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), size, 0) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is made of integers only, and was zeroed.
    Ok(unsafe { attributes.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_nothing_but_the_slice() {
        let before = attributes().expect("a thread may look at itself");
        ask_for_short().expect("every thread may");
        let after = attributes().expect("a thread may look at itself");
        assert_eq!(
            (after.sched_policy, after.sched_nice, after.sched_priority),
            (before.sched_policy, before.sched_nice, before.sched_priority)
        );
        // Kernels before 6.12 tell of none.
        assert!([0, SLICE_NS].contains(&after.sched_runtime), "{}", after.sched_runtime);
    }
}
