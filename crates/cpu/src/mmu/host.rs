//! Guest memory by host address, for accesses that the projections allow.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use memory::line_mask;
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
    /// A copy of them, which are `N`.
    #[inline]
    pub fn get<const N: usize>(self) -> [u8; N] {
        assert_eq!(N, self.len as usize, "the length asked for");
        // SAFETY: `Cpu::projected` found so many bytes there, in the mapping of guest memory, which no Rust
        // reference points into; an array of bytes has no alignment.
        unsafe { self.at.cast::<[u8; N]>().read() }
    }

    /// A copy of them, which are `N` little-endian doublewords.
    #[inline]
    pub fn words<const N: usize>(self) -> [u32; N] {
        assert_eq!(4 * N, self.len as usize, "the length asked for");
        // SAFETY: as in `get`.
        unsafe { self.at.cast::<[[u8; 4]; N]>().read() }.map(u32::from_le_bytes)
    }

    /// Overwrites them by little-endian doublewords; `words` have their length.
    #[inline]
    pub fn write_words(self, words: &[u32]) {
        assert_eq!(4 * words.len(), self.len as usize, "the length asked for");
        for (n, word) in words.iter().enumerate() {
            // SAFETY: as in `get`.
            unsafe { self.at.cast::<[u8; 4]>().add(n).write(word.to_le_bytes()) };
        }
    }

    /// Overwrites them; `bytes` has their length.
    pub fn write(self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len as usize, "the length asked for");
        // SAFETY: as in `get`.
        unsafe { self.at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Cpu {
    /// The `len` bytes at `addr`, if they lie in one page whose projection allows the access.
    #[inline]
    pub(crate) fn projected(
        &mut self,
        addr: LinearAddr,
        len: u32,
        privilege: Privilege,
        kind: AccessKind,
    ) -> Option<HostBytes<'_>> {
        if addr.page_offset() + len > PAGE_SIZE {
            return None;
        }
        let is_write = kind == AccessKind::Write;
        let value = match self.projection().get(privilege, addr.page_number(), is_write) {
            0 if is_write => {
                let beside = self.beside_code(privilege, addr)?;
                let is_code = beside.lines & line_mask(addr.page_offset(), len) != 0;
                if is_code { 0 } else { beside.value }
            }
            value => value,
        };
        if value == 0 {
            return None;
        }
        let at = value.wrapping_add(u64::from(addr.0)) as *mut u8;
        Some(HostBytes { at, len, cpu: PhantomData })
    }

    /// The page of `addr`, if stores may go there but for the code that its frame holds.
    #[inline]
    pub(crate) fn beside_code(&mut self, privilege: Privilege, addr: LinearAddr) -> Option<BesideCode> {
        let value = self.projection().beside_code(privilege, addr.page_number());
        if value == 0 {
            return None;
        }
        let base = self.mem().host_base() as u64;
        let frame = (value.wrapping_add(u64::from(addr.0)).wrapping_sub(base) >> 12) as u32;
        let lines = self.mem().code_lines(frame);
        // Without code the page is projected as any other, when it is next looked at.
        (lines != 0).then_some(BesideCode { value, frame, lines })
    }
}

/// A page that could be written but for its code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BesideCode {
    /// Its host address less its linear one.
    pub value: u64,
    /// Its frame.
    pub frame: u32,
    /// The lines that hold code.
    pub lines: u64,
}
