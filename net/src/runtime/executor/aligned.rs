//! Memory for direct I/O: its address and size are whole blocks, whatever the device's block.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Bytes to which address and size are aligned: a page, which no device exceeds.
pub(super) const ALIGNMENT: usize = 4_096;

/// Aligned bytes on the heap. Bytes that nobody has written are not shown.
pub struct AlignedBuffer {
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes from the start that are initialised.
    initialised: usize,
    /// Bytes of those that are shown.
    shown: usize,
}

impl AlignedBuffer {
    /// So many zeros.
    ///
    /// # Panics
    /// If there are none, or more than half of the address space holds.
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        let layout = layout(length);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        Self {
            start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)),
            layout,
            initialised: layout.size(),
            shown: length,
        }
    }

    /// One so long, in the same memory if there is enough; what its bytes are is not said.
    ///
    /// # Panics
    /// As [`AlignedBuffer::zeroed`].
    #[must_use]
    pub fn resized(mut self, length: usize) -> Self {
        if length > self.initialised {
            return Self::zeroed(length);
        }
        self.shown = length;
        self
    }

    /// Room for at least so many bytes, and none in it.
    ///
    /// # Panics
    /// As [`AlignedBuffer::zeroed`].
    pub(super) fn with_room(length: usize) -> Self {
        let layout = layout(length);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout) };
        Self {
            start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)),
            layout,
            initialised: 0,
            shown: 0,
        }
    }

    /// Bytes there is memory for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.layout.size()
    }

    pub(super) fn start(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Shows so many bytes from the start.
    ///
    /// # Safety
    /// They are initialised, and the buffer has room for them.
    pub(super) unsafe fn set_filled(&mut self, filled: usize) {
        debug_assert!(filled <= self.capacity());
        (self.initialised, self.shown) = (filled, filled);
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: those that are shown are initialised, and are this buffer's own until it is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.shown) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.shown) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and nobody has it any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

fn layout(length: usize) -> Layout {
    assert!(length > 0, "a buffer for direct i/o has bytes");
    let layout = Layout::from_size_align(length.next_multiple_of(ALIGNMENT), ALIGNMENT);
    layout.expect("a buffer is smaller than half of the address space")
}
