//! Memory operands of any length, by the projections.

/// Where `bytes` bytes at `addr` lie on the host, if the access need not be looked at. `aligned`
/// refuses addresses that are no multiples of 16.
///
/// # Safety
/// `table` is a projection of the current view.
#[inline(always)]
pub(super) unsafe fn host_bytes(table: *const u64, addr: u32, bytes: u32, aligned: bool) -> Option<*mut u8> {
    // SAFETY: a projection has 2^20 entries.
    let page = unsafe { *table.add((addr >> 12) as usize) };
    // What is aligned does not cross a page.
    if page == 0 {
        return rare();
    }
    if if aligned { addr & 15 != 0 } else { addr & 0xfff > 0x1000 - bytes } {
        return rare();
    }
    Some(std::ptr::with_exposed_provenance_mut(page.wrapping_add(u64::from(addr)) as usize))
}

/// Tells the compiler that what leads here is rare, so that each test is a branch of its own.
#[cold]
const fn rare<T>() -> Option<T> {
    None
}
