//! The system's allocator, counting: a test that takes this part in has it, and asks how often its thread allocated, and how
//! much it holds.
#![allow(unsafe_code, reason = "a global allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        hold(chunk(layout.size()), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, octets: *mut u8, layout: Layout) {
        hold(0, chunk(layout.size()));
        unsafe { System.dealloc(octets, layout) }
    }

    unsafe fn realloc(&self, octets: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        hold(chunk(size), chunk(layout.size()));
        unsafe { System.realloc(octets, layout, size) }
    }
}

fn hold(more: usize, less: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().wrapping_add(more).wrapping_sub(less)));
}

/// What the C library takes for `size` octets: its own word, rounded up to 16, at least 32.
fn chunk(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

/// Octets that this thread has allocated and not freed, with what their keeping costs. Differences tell, as other threads may
/// free what this one allocated.
pub(crate) fn held() -> usize {
    HELD.with(Cell::get)
}

/// How often this thread has allocated so far.
pub(crate) fn so_far() -> u64 {
    ALLOCATIONS.with(Cell::get)
}
