//! `kmap`: addresses for frames of high memory that last until `kunmap`, the same for all.
#![allow(unsafe_code)]

use mm::pkmap::{Got, LAST_PKMAP, Pkmap};
use x86::Pte;

use super::{PAGE_SIZE, Page, highmem::slice_of, highmem::slice_of_mut};
use crate::{
    arch::{
        paging::{self, PKMAP_BASE},
        tlb,
    },
    sync::{SpinLock, might_sleep},
    task::wait::{WaitQueue, wait_event_uninterruptible},
};

static PKMAP: SpinLock<Pkmap> = SpinLock::new(Pkmap::new());
static PKMAP_MAP_WAIT: WaitQueue = WaitQueue::new();

fn address_of(slot: usize) -> u32 {
    PKMAP_BASE + slot as u32 * PAGE_SIZE
}

/// A frame that can be addressed until this is dropped, by whoever has the address.
pub struct Kmap {
    page: &'static Page,
    addr: u32,
}

/// `kmap`: maps a frame; frames of low memory cost nothing. While it is mapped, every
/// `kmap` of the frame gives the same address. Sleeps while all slots have users.
#[track_caller]
pub fn kmap(page: &'static Page) -> Kmap {
    might_sleep();
    if let Some(addr) = page.address() {
        return Kmap { page, addr };
    }
    let mut mapped = None;
    wait_event_uninterruptible(&PKMAP_MAP_WAIT, || {
        mapped = try_kmap_high(page);
        mapped.is_some()
    });
    Kmap { page, addr: mapped.expect("the wait ends with a slot") }
}

/// `kmap_high`, unless all slots have users.
fn try_kmap_high(page: &'static Page) -> Option<u32> {
    let mut pkmap = PKMAP.lock();
    let mut unmapped = false;
    let got = pkmap.get(page.pfn(), |slot| {
        let addr = address_of(slot);
        // SAFETY: nobody uses the slot; all of them are flushed below.
        unsafe { paging::unmap_kernel_range(addr, addr + PAGE_SIZE) }.later();
        unmapped = true;
    });
    if unmapped {
        tlb::flush_tlb_kernel_range(PKMAP_BASE, PKMAP_BASE + LAST_PKMAP as u32 * PAGE_SIZE);
    }
    match got {
        Got::Full => None,
        Got::Old(slot) => Some(address_of(slot)),
        Got::New(slot) => {
            let bits = Pte::P | Pte::RW | Pte::A | Pte::D | paging::global_bit();
            // SAFETY: the slot was free, and flushed since its last use.
            unsafe { paging::map_kernel_page(address_of(slot), Pte(page.phys() | bits)) };
            Some(address_of(slot))
        }
    }
}

/// `page_address`: where a frame is mapped now, in the direct map or by `kmap`.
pub fn page_address(page: &'static Page) -> Option<u32> {
    page.address().or_else(|| PKMAP.lock().find(page.pfn()).map(address_of))
}

impl Kmap {
    /// The address.
    pub fn addr(&self) -> u32 {
        self.addr
    }

    /// The frame's bytes, which others may change at any time.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped while `self` lives.
        unsafe { slice_of(self.addr) }
    }

    /// The frame's bytes, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: mapped while `self` lives.
        unsafe { slice_of_mut(self.addr) }
    }
}

impl Drop for Kmap {
    /// `kunmap`.
    fn drop(&mut self) {
        if self.page.address().is_none() && PKMAP.lock().put(self.page.pfn()) {
            PKMAP_MAP_WAIT.wake_all();
        }
    }
}
