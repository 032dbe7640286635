//! Guest memory by host address, for accesses that the projections allow.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use x86::{LinearAddr, PAGE_SIZE};

use super::rights::{AccessKind, Privilege};
use crate::Cpu;

/// Bytes of guest memory within one page, good until anything else is done with the CPU.
pub(crate) struct HostBytes<'a> {
    at: *mut u8,
    len: u32,
    cpu: PhantomData<&'a mut Cpu>,
}

impl HostBytes<'_> {
    /// Copies them out; `bytes` has their length.
    pub fn read(self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len as usize, "the length asked for");
        // SAFETY: `Cpu::projected` found `len` bytes there, in the mapping of guest memory, which
        // no Rust reference points into.
        unsafe { bytes.as_mut_ptr().copy_from_nonoverlapping(self.at, bytes.len()) };
    }

    /// Overwrites them; `bytes` has their length.
    pub fn write(self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len as usize, "the length asked for");
        // SAFETY: as in `read`.
        unsafe { self.at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Cpu {
    /// The `len` bytes at `addr`, if they lie in one page whose projection allows the access.
    pub(crate) fn projected(
        &mut self,
        addr: LinearAddr,
        len: u32,
        privilege: Privilege,
        kind: AccessKind,
    ) -> Option<HostBytes<'_>> {
        let value = self.projection().get(privilege, addr.page_number(), kind == AccessKind::Write);
        if value == 0 || addr.page_offset() + len > PAGE_SIZE {
            return None;
        }
        let at = value.wrapping_add(u64::from(addr.0)) as *mut u8;
        Some(HostBytes { at, len, cpu: PhantomData })
    }
}
