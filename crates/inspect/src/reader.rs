//! Reading guest memory by linear address without touching anything.

use cpu::mmu::Paging;
use memory::{FrameKind, PhysMem};
use x86::{LinearAddr, PAGE_SIZE, PhysAddr};

use crate::paging::mapping;

/// Guest memory as one address space shows it.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    mem: &'a PhysMem,
    /// `None` reads physical memory.
    paging: Option<Paging>,
    /// Linear addresses that lead to physical ones by subtraction alone, whatever the tables say:
    /// the kernel's direct map.
    direct: Option<DirectMap>,
}

/// The linear range in which a kernel maps physical memory from 0 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectMap {
    /// `PAGE_OFFSET`.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

impl<'a> Reader<'a> {
    /// Reads through `paging`.
    pub fn new(mem: &'a PhysMem, paging: Paging) -> Self {
        Reader { mem, paging: Some(paging), direct: None }
    }

    /// Reads physical memory.
    pub fn physical(mem: &'a PhysMem) -> Self {
        Reader { mem, paging: None, direct: None }
    }

    /// The same, but with a direct map that needs no tables.
    pub fn with_direct_map(self, direct: DirectMap) -> Self {
        Reader { direct: Some(direct), ..self }
    }

    /// The memory below.
    pub fn mem(&self) -> &'a PhysMem {
        self.mem
    }

    /// Where `addr` leads, if it leads to RAM or ROM.
    pub fn translate(&self, addr: LinearAddr) -> Option<PhysAddr> {
        let phys = match self.direct {
            Some(map) if addr.0.wrapping_sub(map.start) < map.len => PhysAddr(u64::from(addr.0 - map.start)),
            _ => match self.paging {
                Some(paging) => mapping(self.mem, paging, addr)?.translate(addr),
                None => PhysAddr(u64::from(addr.0)),
            },
        };
        (phys.0 < 1 << 32 && self.mem.kind(phys.frame()) != FrameKind::Bus).then_some(phys)
    }

    /// Reads from `addr` on up to the first byte that is not memory; says how many bytes that were.
    pub fn read(&self, addr: LinearAddr, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let at = addr.wrapping_add(done as u32);
            let Some(phys) = self.translate(at) else { break };
            let n = (buf.len() - done).min((PAGE_SIZE - at.page_offset()) as usize);
            self.mem.read(phys, &mut buf[done..done + n]);
            done += n;
        }
        done
    }

    /// Exactly `len` bytes, or nothing.
    pub fn bytes(&self, addr: LinearAddr, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        (self.read(addr, &mut bytes) == len).then_some(bytes)
    }

    /// A little-endian doubleword.
    pub fn u32(&self, addr: LinearAddr) -> Option<u32> {
        let mut bytes = [0; 4];
        (self.read(addr, &mut bytes) == 4).then(|| u32::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::{Cr0, Cr4, Efer};

    #[test]
    fn a_read_stops_at_the_first_byte_that_is_no_memory() {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x2000, FrameKind::Ram).unwrap();
        mem.write(PhysAddr(0xfff), &[1, 2]);
        let reader = Reader::physical(&mem);
        assert_eq!(reader.bytes(LinearAddr(0xfff), 2), Some(vec![1, 2]));
        assert_eq!(reader.read(LinearAddr(0x1ffc), &mut [0; 16]), 4);
        assert_eq!(reader.u32(LinearAddr(0x1ffe)), None);
        assert_eq!(reader.u32(LinearAddr(0xffff_ffff)), None);
    }

    #[test]
    fn the_direct_map_needs_no_tables() {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x2000, FrameKind::Ram).unwrap();
        mem.write_u32(PhysAddr(0x10), 7);
        let (cr4, efer) = (Cr4::empty(), Efer::empty());
        let paging = Paging { cr0: Cr0::PG, cr3: 0x1000, cr4, efer, pdpte: [0; 4], a20_mask: !0 };
        let direct = DirectMap { start: 0xc000_0000, len: 0x3800_0000 };
        let reader = Reader::new(&mem, paging).with_direct_map(direct);
        assert_eq!(reader.u32(LinearAddr(0xc000_0010)), Some(7));
        assert_eq!(reader.u32(LinearAddr(0x10)), None);
    }
}
