//! An allocator that remembers the largest piece asked for, so that a length that was believed before it was checked is found.
//!
//! Not here, on purpose: sums. What is allocated piece by piece grows with what was read.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, watched.
pub struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Runs something that reads `input_bytes`, and panics if it asked for a piece larger than `fixed` and `per_byte` of them.
pub fn within<T>(input_bytes: usize, fixed: usize, per_byte: usize, work: impl FnOnce() -> T) -> T {
    LARGEST.store(0, Ordering::Relaxed);
    let result = work();
    let (largest, allowed) = (LARGEST.load(Ordering::Relaxed), fixed + per_byte * input_bytes);
    assert!(
        largest <= allowed,
        "{input_bytes} bytes made it allocate {largest} at once, {allowed} are allowed"
    );
    result
}

fn note(bytes: usize) {
    LARGEST.fetch_max(bytes, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator with what it was given; noting a number changes nothing of that.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.realloc(place, layout, bytes) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;
