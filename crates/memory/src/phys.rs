#![allow(unsafe_code)]

use memmap2::{MmapOptions, MmapRaw};
use x86::{PAGE_SIZE, PhysAddr};

use crate::{Error, FrameKind, line_mask};

const SPACE: u64 = 1 << 32;
const FRAMES: usize = (SPACE / PAGE_SIZE as u64) as usize;

/// The guest's physical address space, 4 GiB.
pub struct PhysMem {
    host: MmapRaw,
    kind: Vec<FrameKind>,
    /// Lines of each frame that hold translated code.
    code: Vec<u64>,
    /// Frames that may differ from all zero, a bit each.
    touched: Vec<u64>,
    /// Frames, and lines of them, whose translated code was overwritten since the engine last looked.
    killed: Vec<(u32, u64)>,
}

/// Asks the host for large pages, which spare most misses of its own TLB when the guest roams its
/// memory. A host that takes no such advice does without.
fn advise_large_pages(host: &MmapRaw) {
    #[cfg(target_os = "linux")]
    if let Err(error) = host.advise(memmap2::Advice::HugePage) {
        log::debug!("guest memory gets no large pages: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = host;
}

impl PhysMem {
    /// An address space with nothing in it.
    ///
    /// # Errors
    /// [`Error::Reserve`] when the host has no 4 GiB of address space to give.
    pub fn new() -> Result<Self, Error> {
        let bytes = SPACE as usize;
        let host = MmapOptions::new()
            .len(bytes)
            .no_reserve_swap()
            .map_anon()
            .map(MmapRaw::from)
            .map_err(|source| Error::Reserve { bytes, source })?;
        advise_large_pages(&host);
        Ok(PhysMem {
            host,
            kind: vec![FrameKind::Bus; FRAMES],
            code: vec![0; FRAMES],
            touched: vec![0; FRAMES / 64],
            killed: Vec::new(),
        })
    }

    /// Declares what stands behind `len` bytes from `start`.
    ///
    /// # Errors
    /// [`Error::Range`] unless the range is made of whole frames below 4 GiB.
    pub fn map(&mut self, start: PhysAddr, len: u64, kind: FrameKind) -> Result<(), Error> {
        let error = Error::Range { start: start.0, len };
        let end = start.0.checked_add(len).filter(|&end| end <= SPACE).ok_or(error)?;
        if start.page_offset() != 0 || end % PAGE_SIZE as u64 != 0 {
            return Err(Error::Range { start: start.0, len });
        }
        self.kind[start.frame() as usize..(end >> 12) as usize].fill(kind);
        Ok(())
    }

    /// What stands behind frame `pfn`; beyond 4 GiB it is the bus.
    #[inline]
    pub fn kind(&self, pfn: u32) -> FrameKind {
        self.kind.get(pfn as usize).copied().unwrap_or_default()
    }

    /// Host address of frame `pfn`'s first byte. Valid as long as `self`; the frame must be RAM or ROM.
    /// Whoever stores through it has called [`PhysMem::touch`] and made sure that the
    /// frame has no code lines, or uses [`PhysMem::write`] instead.
    #[inline]
    pub fn host_page(&self, pfn: u32) -> *mut u8 {
        debug_assert_ne!(self.kind(pfn), FrameKind::Bus, "frame {pfn:#x} has no memory");
        self.host.as_mut_ptr().wrapping_add((pfn as usize) << 12)
    }

    /// Host address of physical address 0; page `pfn` is at `base + pfn * 4096`.
    #[inline]
    pub fn host_base(&self) -> *mut u8 {
        self.host.as_mut_ptr()
    }

    /// Marks frame `pfn` as no longer known to be zero.
    #[inline]
    pub fn touch(&mut self, pfn: u32) {
        self.touched[pfn as usize >> 6] |= 1 << (pfn & 63);
    }

    /// Whether frame `pfn` may differ from all zero.
    #[inline]
    pub fn is_touched(&self, pfn: u32) -> bool {
        self.touched[pfn as usize >> 6] >> (pfn & 63) & 1 != 0
    }

    /// The frames that may differ from all zero, ascending.
    pub fn touched_frames(&self) -> impl Iterator<Item = u32> + '_ {
        self.touched.iter().enumerate().flat_map(|(word, &bits)| {
            (0..64).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| (word as u32) << 6 | bit)
        })
    }

    /// Copies from memory. Bytes that are not RAM or ROM read as `0xff`.
    pub fn read(&self, addr: PhysAddr, buf: &mut [u8]) {
        self.each_frame(addr, buf.len(), |mem, pfn, offset, range| {
            let out = &mut buf[range];
            if mem.kind(pfn) == FrameKind::Bus {
                out.fill(0xff);
            } else {
                // SAFETY: the frame lies in the mapping and the range does not leave it.
                unsafe { out.as_mut_ptr().copy_from_nonoverlapping(mem.host_page(pfn).add(offset), out.len()) };
            }
        });
    }

    /// Writes to RAM; bytes elsewhere are dropped. Marks the frames touched and kills the
    /// translated code in the lines it writes.
    #[inline]
    pub fn write(&mut self, addr: PhysAddr, bytes: &[u8]) {
        self.store(addr, bytes, FrameKind::Ram);
    }

    /// Writes to RAM and ROM: for loaders.
    #[inline]
    pub fn load(&mut self, addr: PhysAddr, bytes: &[u8]) {
        self.store(addr, bytes, FrameKind::Rom);
    }

    fn store(&mut self, addr: PhysAddr, bytes: &[u8], highest: FrameKind) {
        let mut done = 0;
        while done < bytes.len() {
            let at = addr.add(done as u64);
            let offset = at.page_offset() as usize;
            let n = (bytes.len() - done).min(PAGE_SIZE as usize - offset);
            let kind = if at.0 < SPACE { self.kind(at.frame()) } else { FrameKind::Bus };
            if kind != FrameKind::Bus && kind as u8 <= highest as u8 {
                let pfn = at.frame();
                self.touch(pfn);
                self.kill_code(pfn, line_mask(offset as u32, n as u32));
                // SAFETY: the frame lies in the mapping and `offset + n` does not leave it.
                unsafe { self.host_page(pfn).add(offset).copy_from_nonoverlapping(bytes[done..].as_ptr(), n) };
            }
            done += n;
        }
    }

    fn each_frame(&self, addr: PhysAddr, len: usize, mut f: impl FnMut(&Self, u32, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < len {
            let at = addr.add(done as u64);
            let offset = at.page_offset() as usize;
            let n = (len - done).min(PAGE_SIZE as usize - offset);
            let pfn = if at.0 < SPACE { at.frame() } else { u32::MAX };
            f(self, pfn, offset, done..done + n);
            done += n;
        }
    }

    /// A little-endian byte.
    #[inline]
    pub fn read_u8(&self, addr: PhysAddr) -> u8 {
        self.read_array::<1>(addr)[0]
    }

    /// A little-endian word; need not be aligned.
    #[inline]
    pub fn read_u16(&self, addr: PhysAddr) -> u16 {
        u16::from_le_bytes(self.read_array(addr))
    }

    /// A little-endian doubleword; need not be aligned.
    #[inline]
    pub fn read_u32(&self, addr: PhysAddr) -> u32 {
        u32::from_le_bytes(self.read_array(addr))
    }

    /// A little-endian quadword; need not be aligned.
    #[inline]
    pub fn read_u64(&self, addr: PhysAddr) -> u64 {
        u64::from_le_bytes(self.read_array(addr))
    }

    /// Writes a little-endian doubleword, as [`PhysMem::write`] does.
    #[inline]
    pub fn write_u32(&mut self, addr: PhysAddr, value: u32) {
        self.write(addr, &value.to_le_bytes());
    }

    #[inline]
    fn read_array<const N: usize>(&self, addr: PhysAddr) -> [u8; N] {
        let mut bytes = [0; N];
        let within = addr.page_offset() as usize + N <= PAGE_SIZE as usize;
        if within && addr.0 < SPACE && self.kind(addr.frame()) != FrameKind::Bus {
            // SAFETY: the bytes lie in one frame, which lies in the mapping.
            return unsafe { self.host.as_mut_ptr().add(addr.0 as usize).cast::<[u8; N]>().read_unaligned() };
        }
        self.read(addr, &mut bytes);
        bytes
    }

    /// Notes that `lines` of frame `pfn` hold translated code.
    #[inline]
    pub fn mark_code(&mut self, pfn: u32, lines: u64) {
        self.code[pfn as usize] |= lines;
    }

    /// The lines of frame `pfn` that hold translated code.
    #[inline]
    pub fn code_lines(&self, pfn: u32) -> u64 {
        self.code[pfn as usize]
    }

    /// Says which lines of frame `pfn` still hold code: the engine has dropped some of its blocks.
    #[inline]
    pub fn set_code_lines(&mut self, pfn: u32, lines: u64) {
        self.code[pfn as usize] = lines;
    }

    /// Puts those of `lines` that hold code on the killed list; says whether there were any.
    #[inline]
    pub fn kill_code(&mut self, pfn: u32, lines: u64) -> bool {
        let hit = self.code[pfn as usize] & lines;
        if hit == 0 {
            return false;
        }
        match self.killed.last_mut() {
            Some(last) if last.0 == pfn => last.1 |= hit,
            _ => self.killed.push((pfn, hit)),
        }
        true
    }

    /// Whether code was killed since [`PhysMem::take_killed`].
    #[inline]
    pub fn has_killed(&self) -> bool {
        !self.killed.is_empty()
    }

    /// The frames whose code was overwritten since the last call, each at least once, and the lines.
    pub fn take_killed(&mut self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.killed)
    }

    /// The commutative sum over all frames of a hash of their number and contents; a zero frame adds nothing.
    pub fn hash(&self) -> u64 {
        let mut page = [0u8; PAGE_SIZE as usize];
        self.touched_frames().fold(0, |sum, pfn| {
            self.read(PhysAddr::from_frame(pfn), &mut page);
            if page.iter().all(|&b| b == 0) {
                return sum;
            }
            sum.wrapping_add(xxhash_rust::xxh3::xxh3_64_with_seed(&page, u64::from(pfn)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> PhysMem {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x10000, FrameKind::Ram).unwrap();
        mem.map(PhysAddr(0x10000), 0x1000, FrameKind::Rom).unwrap();
        mem
    }

    #[test]
    fn a_write_across_two_frames_reads_back() {
        let mut mem = memory();
        mem.write(PhysAddr(0xffe), &[1, 2, 3, 4]);
        assert_eq!(mem.read_u32(PhysAddr(0xffe)), 0x0403_0201);
        assert_eq!(mem.touched_frames().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn rom_ignores_writes_but_not_its_loader() {
        let mut mem = memory();
        mem.write_u32(PhysAddr(0x10000), 7);
        assert_eq!(mem.read_u32(PhysAddr(0x10000)), 0);
        mem.load(PhysAddr(0x10000), &[7]);
        assert_eq!(mem.read_u8(PhysAddr(0x10000)), 7);
    }

    #[test]
    fn addresses_without_memory_read_all_ones() {
        let mem = memory();
        assert_eq!(mem.read_u32(PhysAddr(0xffff_fffc)), !0);
        assert_eq!(mem.read_u64(PhysAddr(0x1_0000_0000)), !0);
    }

    #[test]
    fn a_write_to_a_line_with_code_kills_it_and_one_beside_does_not() {
        let mut mem = memory();
        mem.mark_code(2, line_mask(0x40, 0x40));
        mem.write(PhysAddr(0x2080), &[1]);
        assert!(!mem.has_killed());
        mem.write(PhysAddr(0x207f), &[1]);
        assert_eq!(mem.take_killed(), [(2, 1 << 1)]);
    }

    #[test]
    fn the_hash_forgets_what_was_zeroed_again() {
        let mut mem = memory();
        let empty = mem.hash();
        mem.write_u32(PhysAddr(0x3000), 5);
        assert_ne!(mem.hash(), empty);
        mem.write_u32(PhysAddr(0x3000), 0);
        assert_eq!(mem.hash(), empty);
    }

    #[test]
    fn a_range_that_is_not_whole_frames_is_refused() {
        let mut mem = memory();
        assert!(mem.map(PhysAddr(1), 4096, FrameKind::Ram).is_err());
        assert!(mem.map(PhysAddr(0xffff_f000), 8192, FrameKind::Ram).is_err());
    }
}
