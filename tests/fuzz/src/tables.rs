//! Random page tables: the walk for lenses returns, and finds only what is present.

use cpu::mmu::{Paging, WalkResult, walk};
use memory::{FrameKind, PhysMem};
use x86::{Cr0, Cr4, Efer, LinearAddr, PhysAddr};

const RAM: u64 = 1 << 16;

/// Memory for tables.
pub struct Tables(PhysMem);

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// All zero.
    ///
    /// # Panics
    /// When the host has no 4 GiB of address space.
    pub fn new() -> Self {
        let mut mem = PhysMem::new().expect("4 GiB of address space");
        mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
        Tables(mem)
    }

    /// Walks tables made of `bytes` for addresses made of them.
    ///
    /// # Panics
    /// When a walk takes more steps than there are levels.
    pub fn body(&mut self, bytes: &[u8]) {
        body(&mut self.0, bytes);
    }
}

fn body(mem: &mut PhysMem, bytes: &[u8]) {
    let word = |i: usize| bytes.get(4 * i..4 * i + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    for (page, chunk) in bytes.chunks(4096).enumerate().take(16) {
        mem.write(PhysAddr(page as u64 * 4096), chunk);
    }
    let paging = Paging {
        cr0: Cr0::from_bits_retain(word(0) | 0x8000_0001),
        cr3: word(1) & 0xffff,
        cr4: Cr4::from_bits_retain(word(2)),
        efer: Efer::from_bits_retain(word(3)),
        pdpte: std::array::from_fn(|i| u64::from(word(4 + 2 * i)) | u64::from(word(5 + 2 * i)) << 32),
        a20_mask: if word(12) & 1 != 0 { !0 } else { 0xffef_ffff },
    };
    for i in 13..45 {
        let found = walk(mem, paging, LinearAddr(word(i)));
        assert!(found.steps.len() <= 3, "{} steps", found.steps.len());
        assert!(!matches!(found.result, WalkResult::PagingOff), "paging is on");
    }
}
