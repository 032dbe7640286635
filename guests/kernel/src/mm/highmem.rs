//! Short-lived mappings of frames that the direct map does not reach.
#![allow(unsafe_code)]

use core::sync::atomic::Ordering::Relaxed;

use x86::Pte;

use super::{PAGE_SIZE, Page};
use crate::{
    arch::{
        paging::{self, FIX_APIC, FIXADDR_KMAP},
        percpu::{NR_CPUS, cpu_number, this_cpu},
    },
    sync::{PreemptGuard, preempt_disable},
};

/// Slots of a CPU; they are used as a stack.
const KM_MAX_IDX: u32 = 16;

const _: () = assert!(FIXADDR_KMAP + NR_CPUS as u32 * KM_MAX_IDX * PAGE_SIZE <= FIX_APIC);

/// The address of a slot of this CPU.
fn slot_addr(slot: u32) -> u32 {
    FIXADDR_KMAP + (cpu_number() * KM_MAX_IDX + slot) * PAGE_SIZE
}

/// A frame that can be addressed until this is dropped. Mappings end in the reverse order
/// of their beginning. They belong to the thread, which may sleep with them, and stays on its CPU
/// as long as it has some.
pub struct KmapLocal {
    addr: u32,
    slot: Option<u32>,
}

/// `kmap_local_page`: maps a frame; frames of low memory cost nothing.
pub fn kmap_local(page: &'static Page) -> KmapLocal {
    if let Some(addr) = page.address() {
        return KmapLocal { addr, slot: None };
    }
    kmap_local_pfn(page.pfn())
}

/// The same for a frame that may have no descriptor.
pub fn kmap_local_pfn(pfn: u32) -> KmapLocal {
    let slot = this_cpu().kmap_depth.fetch_add(1, Relaxed);
    assert!(slot < KM_MAX_IDX, "more than {KM_MAX_IDX} frames mapped at once");
    let addr = slot_addr(slot);
    // SAFETY: the slot is ours until it is dropped.
    unsafe { paging::set_kernel_pte(addr, Pte(pfn << 12 | Pte::P | Pte::RW | Pte::A | Pte::D)) };
    KmapLocal { addr, slot: Some(slot) }
}

/// A frame that can be addressed until this is dropped, by a thread that does not sleep
/// meanwhile.
pub struct KmapAtomic {
    // The order of the fields is that of their ends.
    map: KmapLocal,
    _atomic: PreemptGuard,
}

/// `kmap_atomic`: `kmap_local_page` for code that must not sleep.
pub fn kmap_atomic(page: &'static Page) -> KmapAtomic {
    let atomic = preempt_disable();
    KmapAtomic { map: kmap_local(page), _atomic: atomic }
}

impl core::ops::Deref for KmapAtomic {
    type Target = KmapLocal;
    fn deref(&self) -> &KmapLocal {
        &self.map
    }
}

impl core::ops::DerefMut for KmapAtomic {
    fn deref_mut(&mut self) -> &mut KmapLocal {
        &mut self.map
    }
}

/// The bytes of a page.
///
/// # Safety
/// The page is mapped as long as the slice lives.
pub(super) unsafe fn slice_of<'a>(addr: u32) -> &'a [u8] {
    // SAFETY: by the caller.
    unsafe { core::slice::from_raw_parts(addr as *const u8, PAGE_SIZE as usize) }
}

/// The same for writing.
///
/// # Safety
/// The page is mapped as long as the slice lives.
pub(super) unsafe fn slice_of_mut<'a>(addr: u32) -> &'a mut [u8] {
    // SAFETY: by the caller.
    unsafe { core::slice::from_raw_parts_mut(addr as *mut u8, PAGE_SIZE as usize) }
}

impl KmapLocal {
    /// The address.
    pub fn addr(&self) -> u32 {
        self.addr
    }

    /// The frame's bytes. A program that maps the frame may change them at any time; what
    /// is made of them must not rest on their staying.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the page is mapped while `self` lives.
        unsafe { slice_of(self.addr) }
    }

    /// The frame's bytes, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the page is mapped while `self` lives.
        unsafe { slice_of_mut(self.addr) }
    }

    /// Fills the frame.
    pub fn write_bytes(&mut self, byte: u8) {
        self.as_mut_slice().fill(byte);
    }
}

impl Drop for KmapLocal {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            let top = this_cpu().kmap_depth.fetch_sub(1, Relaxed);
            debug_assert_eq!(top, slot + 1, "kmap_local mappings must end in reverse order");
            // SAFETY: nobody uses the slot any more.
            unsafe { paging::set_kernel_pte(self.addr, Pte(0)) };
        }
    }
}

/// The slots of a thread that does not run.
#[derive(Clone, Copy)]
pub struct KmapState {
    depth: u32,
    slots: [Pte; KM_MAX_IDX as usize],
}

impl KmapState {
    /// No slot in use.
    pub const EMPTY: KmapState = KmapState { depth: 0, slots: [Pte(0); KM_MAX_IDX as usize] };

    /// The running thread gives up the CPU: its slots become free for others.
    pub fn sched_out(&mut self) {
        self.depth = this_cpu().kmap_depth.swap(0, Relaxed);
        for slot in 0..self.depth {
            let addr = slot_addr(slot);
            self.slots[slot as usize] = paging::read_kernel_pte(addr);
            // SAFETY: the thread uses the slot again only after `sched_in`.
            unsafe { paging::set_kernel_pte(addr, Pte(0)) };
        }
    }

    /// The thread runs again: its slots map what they did.
    pub fn sched_in(&mut self) {
        for slot in 0..self.depth {
            // SAFETY: the thread that ran before has given its slots up.
            unsafe { paging::set_kernel_pte(slot_addr(slot), self.slots[slot as usize]) };
        }
        this_cpu().kmap_depth.store(core::mem::take(&mut self.depth), Relaxed);
    }

    /// Slots in use.
    pub fn depth(&self) -> u32 {
        self.depth
    }
}
