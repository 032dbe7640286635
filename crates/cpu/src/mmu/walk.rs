//! The page walk of 32-bit and PAE paging: free functions that know no TLB and no CPU.

use memory::PhysMem;
use serde::{Deserialize, Serialize};
use x86::{Cr0, Cr4, Efer, LinearAddr, PAGE_SIZE, PaePde, PaePte, PageFaultCode, Pde, Pdpte, PhysAddr, Pte};

use super::rights::{Access, AccessKind, Guards, Rights};

/// The registers that decide how linear addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paging {
    /// CR0: PG and WP count.
    pub cr0: Cr0,
    /// CR3: where the page directory, or the table of its pointers, lies.
    pub cr3: u32,
    /// CR4: PSE, PAE, PGE, SMEP and SMAP count.
    pub cr4: Cr4,
    /// IA32_EFER: NXE decides whether XD forbids a fetch.
    pub efer: Efer,
    /// The four page-directory-pointer registers, which count with PAE alone.
    pub pdpte: [u64; 4],
    /// The address lines that reach memory: all ones, but for line 20 where it is gated.
    pub a20_mask: u32,
}

impl Paging {
    /// Whether linear addresses are translated at all.
    pub const fn enabled(&self) -> bool {
        self.cr0.contains(Cr0::PG)
    }

    /// Whether the entries are those of PAE paging, if any.
    pub const fn pae(&self) -> bool {
        self.cr4.contains(Cr4::PAE)
    }

    /// Whether XD in an entry means something; else it is reserved.
    const fn has_xd(&self) -> bool {
        self.pae() && self.efer.contains(Efer::NXE)
    }

    /// Where CR3 leads: the page directory, or with PAE the table of pointers to four.
    pub const fn table(&self) -> PhysAddr {
        PhysAddr((self.cr3 & if self.pae() { !0x1f } else { !0xfff }) as u64)
    }

    /// Bytes of linear space that one page table covers.
    pub const fn table_bytes(&self) -> u32 {
        if self.pae() { 2 << 20 } else { 4 << 20 }
    }

    /// `self` with another address space, as if `cr3` were loaded into CR3: with PAE the
    /// pointer registers come from memory.
    pub fn with_cr3(self, mem: &PhysMem, cr3: u32) -> Self {
        let paging = Paging { cr3, ..self };
        if self.pae() { Paging { pdpte: paging.pdptes_in_memory(mem), ..paging } } else { paging }
    }

    /// The four page-directory pointers that CR3 leads to.
    pub fn pdptes_in_memory(&self, mem: &PhysMem) -> [u64; 4] {
        std::array::from_fn(|i| mem.read_u64(self.gate(self.table().add(8 * i as u64))))
    }

    /// What address line 20 makes of a physical address.
    pub const fn gate(&self, addr: PhysAddr) -> PhysAddr {
        PhysAddr(addr.0 & (self.a20_mask as u64 | !0xffff_ffff))
    }
}

/// The size of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KiB.
    #[default]
    Kib4,
    /// 2 MiB, with PAE.
    Mib2,
    /// 4 MiB, without.
    Mib4,
}

impl PageSize {
    /// The size in 4 KiB pages.
    pub const fn pages(self) -> u32 {
        match self {
            PageSize::Kib4 => 1,
            PageSize::Mib2 => 512,
            PageSize::Mib4 => 1024,
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.pages() * PAGE_SIZE
    }
}

/// What the paging structures say of a page: the rights are those of all levels together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Physical address of the page's first byte.
    pub base: PhysAddr,
    /// Size of the page.
    pub size: PageSize,
    /// What the entries allow.
    pub rights: Rights,
    /// A in every level that has it.
    pub accessed: bool,
    /// D in the last level.
    pub dirty: bool,
    /// G in the last level, if CR4.PGE is set.
    pub global: bool,
}

impl Mapping {
    /// The physical address of `addr`, which lies in the page.
    pub const fn translate(self, addr: LinearAddr) -> PhysAddr {
        self.base.add((addr.0 & (self.size.bytes() - 1)) as u64)
    }
}

/// A level of the paging structures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Page-directory-pointer table, of PAE paging.
    Pdpt,
    /// Page directory.
    Directory,
    /// Page table.
    Table,
}

/// A paging-structure entry that a walk went by, and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// What table it belongs to.
    pub level: Level,
    /// Its number in that table.
    pub index: u32,
    /// Its physical address. A [`Level::Pdpt`] entry is not read from there but held in a register.
    pub addr: PhysAddr,
    /// Its value; 32 bits without PAE.
    pub value: u64,
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkResult {
    /// CR0.PG is clear: linear is physical.
    PagingOff,
    /// A page.
    Mapped(Mapping),
    /// The last entry has P clear.
    NotPresent,
    /// The last entry has a reserved bit set.
    Reserved,
}

/// A walk, step by step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// The entries on the way, from the top down.
    pub steps: Vec<Step>,
    /// How it ended.
    pub result: WalkResult,
}

impl Walk {
    /// How many bytes from `addr` on, up to the end of what the last entry covers, have the same answer
    /// for the same reason: up to the next page where the walk came to a page table, else further.
    pub fn reach(&self, paging: &Paging, addr: LinearAddr) -> u64 {
        let covers: u64 = match (self.steps.last().map(|step| step.level), &self.result) {
            (None, _) => 1 << 32,
            (_, WalkResult::Mapped(mapping)) => mapping.size.bytes().into(),
            (Some(Level::Pdpt), _) => 1 << 30,
            (Some(Level::Directory), _) => paging.table_bytes().into(),
            (Some(Level::Table), _) => PAGE_SIZE.into(),
        };
        covers - (u64::from(addr.0) & (covers - 1))
    }
}

/// Walks the tables for `addr` and changes nothing: for lenses and debuggers.
pub fn walk(mem: &PhysMem, paging: Paging, addr: LinearAddr) -> Walk {
    Glance::at(mem, &paging, addr).walk(&paging, addr)
}

/// What a walk met, without room for it on the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    pde: Option<Entry>,
    pte: Option<Entry>,
    result: WalkResult,
}

impl Glance {
    /// Reads the entries for `addr` and changes nothing.
    pub(crate) fn at(mem: &PhysMem, paging: &Paging, addr: LinearAddr) -> Self {
        if !paging.enabled() {
            return Glance { pde: None, pte: None, result: WalkResult::PagingOff };
        }
        let Path { pde, pte, end } = Path::read(mem, paging, addr);
        let result = match end {
            Ok(mapping) => WalkResult::Mapped(mapping),
            Err(Stop::NotPresent) => WalkResult::NotPresent,
            Err(Stop::Reserved) => WalkResult::Reserved,
        };
        Glance { pde, pte, result }
    }

    /// The steps, of the walk of `addr` that `paging` then decided.
    pub fn walk(&self, paging: &Paging, addr: LinearAddr) -> Walk {
        let mut steps = Vec::new();
        if paging.pae() && paging.enabled() {
            let index = addr.pdpte_index();
            let place = paging.gate(paging.table().add(u64::from(index * 8)));
            steps.push(Step { level: Level::Pdpt, index, addr: place, value: paging.pdpte[index as usize] });
        }
        let [directory, table] = match paging.pae() {
            true => [addr.pae_pde_index(), addr.pae_pte_index()],
            false => [addr.pde_index(), addr.pte_index()],
        };
        let step = |level, index| move |entry: Entry| Step { level, index, addr: entry.addr, value: entry.value };
        steps.extend(self.pde.map(step(Level::Directory, directory)));
        steps.extend(self.pte.map(step(Level::Table, table)));
        Walk { steps, result: self.result }
    }
}

/// A walk that did not end in an allowed page: what goes into CR2 and the error code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageFault {
    /// The linear address.
    pub addr: LinearAddr,
    /// The error code.
    pub code: PageFaultCode,
}

impl PageFault {
    /// The fault of `access` at `addr`; `cause` is P, or P and RSVD, or nothing.
    pub(crate) fn new(paging: &Paging, addr: LinearAddr, access: Access, cause: PageFaultCode) -> Self {
        let mut code = cause;
        code.set(PageFaultCode::WR, access.kind == AccessKind::Write);
        code.set(PageFaultCode::US, access.is_user());
        // Instruction fetches are told apart only where something can forbid them.
        let fetch_is_told = paging.cr4.contains(Cr4::SMEP) || paging.has_xd();
        code.set(PageFaultCode::ID, access.kind == AccessKind::Fetch && fetch_is_told);
        PageFault { addr, code }
    }
}

/// Translates `addr` by 32-bit or PAE paging (SDM Vol. 3A, "32-Bit Paging", "PAE Paging") for `access`.
/// Sets the accessed and dirty flags, once nothing can fault any more.
pub(crate) fn translate(
    mem: &mut PhysMem,
    paging: &Paging,
    addr: LinearAddr,
    access: Access,
) -> (TableFrames, Result<Mapping, PageFault>) {
    let path = Path::read(mem, paging, addr);
    (path.frames(), path.allow(mem, paging, addr, access))
}

/// The frames of the directory and of the table that a walk read.
pub(crate) type TableFrames = [Option<u32>; 2];

/// Why a walk ended without a page.
#[derive(Clone, Copy)]
enum Stop {
    NotPresent,
    Reserved,
}

/// An entry that was read from memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    addr: PhysAddr,
    value: u64,
}

/// The entries on the way to a page.
struct Path {
    /// `None` if the PDPTE register has P clear.
    pde: Option<Entry>,
    pte: Option<Entry>,
    end: Result<Mapping, Stop>,
}

impl Path {
    fn frames(&self) -> TableFrames {
        [self.pde, self.pte].map(|entry| entry.map(|entry| entry.addr.frame()))
    }

    /// The page, with the accessed and dirty flags set, if it allows `access` to `addr`.
    fn allow(self, mem: &mut PhysMem, paging: &Paging, addr: LinearAddr, access: Access) -> Result<Mapping, PageFault> {
        let fault = |cause| PageFault::new(paging, addr, access, cause);
        let mut mapping = self.end.map_err(|stop| match stop {
            Stop::NotPresent => fault(PageFaultCode::empty()),
            Stop::Reserved => fault(PageFaultCode::P | PageFaultCode::RSVD),
        })?;
        if !mapping.rights.allow(access, Guards::of(paging.cr0, paging.cr4)) {
            return Err(fault(PageFaultCode::P));
        }
        self.set_accessed(mem, access.kind == AccessKind::Write);
        mapping.accessed = true;
        mapping.dirty |= access.kind == AccessKind::Write;
        Ok(mapping)
    }

    #[inline]
    fn read(mem: &PhysMem, paging: &Paging, addr: LinearAddr) -> Self {
        if paging.pae() { Self::read_pae(mem, paging, addr) } else { Self::read_32(mem, paging, addr) }
    }

    fn read_32(mem: &PhysMem, paging: &Paging, addr: LinearAddr) -> Self {
        let has_global = paging.cr4.contains(Cr4::PGE);
        let pde_addr = paging.gate(paging.table().add(u64::from(addr.pde_index() * 4)));
        let pde = Pde(mem.read_u32(pde_addr));
        let first = Entry { addr: pde_addr, value: pde.0.into() };
        let ended = |end| Path { pde: Some(first), pte: None, end };
        if !pde.present() {
            return ended(Err(Stop::NotPresent));
        }
        if pde.large() && paging.cr4.contains(Cr4::PSE) {
            if pde.0 & Pde::LARGE_RESERVED != 0 {
                return ended(Err(Stop::Reserved));
            }
            return ended(Ok(Mapping {
                base: pde.large_frame(),
                size: PageSize::Mib4,
                rights: Rights { writable: pde.writable(), user: pde.user(), executable: true },
                accessed: pde.accessed(),
                dirty: pde.dirty(),
                global: pde.global() && has_global,
            }));
        }
        let pte_addr = paging.gate(pde.table().add(u64::from(addr.pte_index() * 4)));
        let pte = Pte(mem.read_u32(pte_addr));
        let end = if pte.present() {
            Ok(Mapping {
                base: pte.frame(),
                size: PageSize::Kib4,
                rights: Rights {
                    writable: pde.writable() && pte.writable(),
                    user: pde.user() && pte.user(),
                    executable: true,
                },
                accessed: pde.accessed() && pte.accessed(),
                dirty: pte.dirty(),
                global: pte.global() && has_global,
            })
        } else {
            Err(Stop::NotPresent)
        };
        Path { pde: Some(first), pte: Some(Entry { addr: pte_addr, value: pte.0.into() }), end }
    }

    fn read_pae(mem: &PhysMem, paging: &Paging, addr: LinearAddr) -> Self {
        let has_global = paging.cr4.contains(Cr4::PGE);
        let reserved_xd = if paging.has_xd() { 0 } else { PaePte::XD };
        let pdpte = Pdpte(paging.pdpte[addr.pdpte_index() as usize]);
        if !pdpte.present() {
            return Path { pde: None, pte: None, end: Err(Stop::NotPresent) };
        }
        let pde_addr = paging.gate(pdpte.directory().add(u64::from(addr.pae_pde_index() * 8)));
        let pde = PaePde(mem.read_u64(pde_addr));
        let first = Entry { addr: pde_addr, value: pde.0 };
        let ended = |end| Path { pde: Some(first), pte: None, end };
        if !pde.present() {
            return ended(Err(Stop::NotPresent));
        }
        let reserved = if pde.large() { PaePde::LARGE_RESERVED } else { PaePde::RESERVED };
        if pde.0 & (reserved | reserved_xd) != 0 {
            return ended(Err(Stop::Reserved));
        }
        if pde.large() {
            return ended(Ok(Mapping {
                base: pde.large_frame(),
                size: PageSize::Mib2,
                rights: Rights { writable: pde.writable(), user: pde.user(), executable: !pde.execute_disable() },
                accessed: pde.accessed(),
                dirty: pde.dirty(),
                global: pde.global() && has_global,
            }));
        }
        let pte_addr = paging.gate(pde.table().add(u64::from(addr.pae_pte_index() * 8)));
        let pte = PaePte(mem.read_u64(pte_addr));
        let end = if !pte.present() {
            Err(Stop::NotPresent)
        } else if pte.0 & (PaePte::RESERVED | reserved_xd) != 0 {
            Err(Stop::Reserved)
        } else {
            Ok(Mapping {
                base: pte.frame(),
                size: PageSize::Kib4,
                rights: Rights {
                    writable: pde.writable() && pte.writable(),
                    user: pde.user() && pte.user(),
                    executable: !pde.execute_disable() && !pte.execute_disable(),
                },
                accessed: pde.accessed() && pte.accessed(),
                dirty: pte.dirty(),
                global: pte.global() && has_global,
            })
        };
        Path { pde: Some(first), pte: Some(Entry { addr: pte_addr, value: pte.0 }), end }
    }

    /// Sets A in every entry of the path and, for a write, D in the last, where they are clear.
    fn set_accessed(&self, mem: &mut PhysMem, write: bool) {
        let last = Pte::A | if write { Pte::D } else { 0 };
        let of_pde = if self.pte.is_some() { Pde::A } else { last };
        for (entry, bits) in [(self.pde, of_pde), (self.pte, last)] {
            // The flags lie in the low half of an entry of either size.
            if let Some(Entry { addr, value }) = entry
                && value as u32 & bits != bits
            {
                mem.write_u32(addr, value as u32 | bits);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use memory::FrameKind;

    use super::*;
    use crate::mmu::rights::Privilege;

    const READ: Access = Access { kind: AccessKind::Read, privilege: Privilege::User };
    const WRITE: Access = Access { kind: AccessKind::Write, privilege: Privilege::User };
    const FETCH: Access = Access { kind: AccessKind::Fetch, privilege: Privilege::User };
    const KERNEL_WRITE: Access = Access { kind: AccessKind::Write, privilege: Privilege::Supervisor };

    fn paging(cr0: Cr0, cr4: Cr4) -> Paging {
        let cr0 = cr0 | Cr0::PG | Cr0::PE;
        Paging { cr0, cr3: 0x1000, cr4, efer: Efer::empty(), pdpte: [0; 4], a20_mask: !0 }
    }

    /// Directory at 0x1000; entry 0 is `pde`, which leads to a table at 0x2000 whose entry 3 is `pte`.
    fn tables(pde: u32, pte: u32) -> PhysMem {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x10000, FrameKind::Ram).unwrap();
        mem.write_u32(PhysAddr(0x1000), pde);
        mem.write_u32(PhysAddr(0x200c), pte);
        mem
    }

    fn code(mem: &mut PhysMem, paging: Paging, access: Access) -> Option<u32> {
        translate(mem, &paging, LinearAddr(0x3123), access).1.err().map(|fault| fault.code.bits())
    }

    #[test]
    fn the_rights_of_both_levels_together_decide() {
        for (pde, pte, access, wp, expect) in [
            (0x2007, 0x5007, WRITE, true, None),
            (0x2005, 0x5007, WRITE, true, Some(7)),
            (0x2007, 0x5005, WRITE, true, Some(7)),
            (0x2007, 0x5003, READ, true, Some(5)),
            (0x2003, 0x5007, READ, true, Some(5)),
            (0x2006, 0x5007, READ, true, Some(4)),
            (0x2007, 0x5006, WRITE, true, Some(6)),
            (0x2007, 0x5005, KERNEL_WRITE, true, Some(3)),
            (0x2007, 0x5005, KERNEL_WRITE, false, None),
            (0x2003, 0x5003, KERNEL_WRITE, true, None),
        ] {
            let cr0 = if wp { Cr0::WP } else { Cr0::empty() };
            let mut mem = tables(pde, pte);
            assert_eq!(code(&mut mem, paging(cr0, Cr4::empty()), access), expect, "{pde:x} {pte:x} {access:?} {wp}");
        }
    }

    #[test]
    fn a_read_sets_accessed_and_a_write_sets_dirty_too() {
        let p = paging(Cr0::WP, Cr4::empty());
        let mut mem = tables(0x2007, 0x5007);
        translate(&mut mem, &p, LinearAddr(0x3123), READ).1.unwrap();
        assert_eq!((mem.read_u32(PhysAddr(0x1000)), mem.read_u32(PhysAddr(0x200c))), (0x2027, 0x5027));
        let mapping = translate(&mut mem, &p, LinearAddr(0x3123), WRITE).1.unwrap();
        assert_eq!(mapping.translate(LinearAddr(0x3123)), PhysAddr(0x5123));
        assert_eq!((mem.read_u32(PhysAddr(0x1000)), mem.read_u32(PhysAddr(0x200c))), (0x2027, 0x5067));
    }

    #[test]
    fn a_walk_that_faults_sets_no_flag() {
        let mut mem = tables(0x2007, 0x5005);
        assert!(code(&mut mem, paging(Cr0::WP, Cr4::empty()), WRITE).is_some());
        assert_eq!((mem.read_u32(PhysAddr(0x1000)), mem.read_u32(PhysAddr(0x200c))), (0x2007, 0x5005));
    }

    #[test]
    fn a_large_page_needs_pse_and_sets_its_flags_in_the_directory() {
        let mut mem = tables(0x0040_0087, 0);
        let large = translate(&mut mem, &paging(Cr0::WP, Cr4::PSE), LinearAddr(0x3123), WRITE).1.unwrap();
        assert_eq!(large.translate(LinearAddr(0x3123)), PhysAddr(0x40_3123));
        assert_eq!(mem.read_u32(PhysAddr(0x1000)), 0x0040_00e7);
        let without = walk(&mem, paging(Cr0::WP, Cr4::empty()), LinearAddr(0x3123));
        assert_eq!(without.steps.len(), 2, "PS is ignored without CR4.PSE");
    }

    #[test]
    fn reserved_bits_of_a_large_page_fault_even_for_a_supervisor() {
        let mut mem = tables(0x0060_0087, 0);
        assert_eq!(code(&mut mem, paging(Cr0::WP, Cr4::PSE), KERNEL_WRITE), Some(0xb));
        let mut mem = tables(0x0040_6087, 0);
        assert_eq!(code(&mut mem, paging(Cr0::WP, Cr4::PSE), READ), None, "36 address bits are there");
    }

    #[test]
    fn a_page_is_global_only_with_pge() {
        let mem = tables(0x2007, 0x5107);
        for (cr4, expect) in [(Cr4::empty(), false), (Cr4::PGE, true)] {
            let WalkResult::Mapped(mapping) = walk(&mem, paging(Cr0::WP, cr4), LinearAddr(0x3000)).result else {
                panic!("the page is mapped");
            };
            assert_eq!(mapping.global, expect);
        }
    }

    #[test]
    fn looking_changes_nothing_and_says_every_step() {
        let mem = tables(0x2007, 0x5006);
        let seen = walk(&mem, paging(Cr0::WP, Cr4::empty()), LinearAddr(0x3123));
        assert_eq!(seen.result, WalkResult::NotPresent);
        assert_eq!(
            seen.steps,
            [
                Step { level: Level::Directory, index: 0, addr: PhysAddr(0x1000), value: 0x2007 },
                Step { level: Level::Table, index: 3, addr: PhysAddr(0x200c), value: 0x5006 },
            ]
        );
        assert_eq!(mem.read_u32(PhysAddr(0x1000)), 0x2007);
    }

    /// PAE with NXE: PDPTE 0 leads to a directory at 0x1000 whose entry 0 is `pde`, which leads to a
    /// table at 0x2000 whose entry 3 is `pte`.
    fn pae(pde: u64, pte: u64) -> (PhysMem, Paging) {
        let mut mem = tables(0, 0);
        mem.write(PhysAddr(0x1000), &pde.to_le_bytes());
        mem.write(PhysAddr(0x2018), &pte.to_le_bytes());
        let paging = paging(Cr0::WP, Cr4::PAE);
        (mem, Paging { pdpte: [0x1001, 0, 0, 0], efer: Efer::NXE, ..paging })
    }

    const XD: u64 = 1 << 63;

    #[test]
    fn the_error_code_of_pae_paging_bit_by_bit() {
        let kernel_fetch = Access { kind: AccessKind::Fetch, privilege: Privilege::Supervisor };
        for (pde, pte, access, expect) in [
            (0x2007, 0x5007, WRITE, None),
            (0x2007, 0x5007, FETCH, None),
            (0x2006, 0x5007, READ, Some(4)),
            (0x2007, 0x5006, WRITE, Some(6)),
            (0x2007, 0x5006, FETCH, Some(0x14)),
            (0x2005, 0x5007, WRITE, Some(7)),
            (0x2007, 0x5005, KERNEL_WRITE, Some(3)),
            (0x2007 | XD, 0x5007, FETCH, Some(0x15)),
            (0x2007, 0x5007 | XD, FETCH, Some(0x15)),
            (0x2007, 0x5007 | XD, kernel_fetch, Some(0x11)),
            (0x2007, 0x5007 | XD, WRITE, None),
            // Address bits 36 and up, in either level, and in a large page's entry bit 13 too.
            (0x2007 | 1 << 36, 0x5007, READ, Some(0xd)),
            (0x2007, 0x5007 | 1 << 62, WRITE, Some(0xf)),
            (0x2007, 0x5007 | 1 << 36, kernel_fetch, Some(0x19)),
            (0x0020_2087, 0, KERNEL_WRITE, Some(0xb)),
            (0x0020_0087, 0, WRITE, None),
            (0x0020_1087 | XD, 0, READ, None), // PAT is no reserved bit
            // What is not present has no reserved bits.
            (0x2006 | 1 << 62, 0, READ, Some(4)),
        ] {
            let (mut mem, paging) = pae(pde, pte);
            assert_eq!(code(&mut mem, paging, access), expect, "{pde:#x} {pte:#x} {access:?}");
        }
    }

    #[test]
    fn without_nxe_xd_is_reserved_and_a_fetch_is_not_told_apart() {
        for (pte, access, expect) in [(0x5007 | XD, READ, Some(0xd)), (0x5006, FETCH, Some(4)), (0x5007, FETCH, None)] {
            let (mut mem, paging) = pae(0x2007, pte);
            let paging = Paging { efer: Efer::empty(), ..paging };
            assert_eq!(code(&mut mem, paging, access), expect, "{pte:#x} {access:?}");
        }
        let (mut mem, paging) = pae(0x2007, 0x5006);
        let smep = Paging { efer: Efer::empty(), cr4: Cr4::PAE | Cr4::SMEP, ..paging };
        assert_eq!(code(&mut mem, smep, FETCH), Some(0x14), "with SMEP it is");
        let mut mem = tables(0x2007, 0x5006);
        let nxe = Paging { efer: Efer::NXE, ..self::paging(Cr0::WP, Cr4::empty()) };
        assert_eq!(code(&mut mem, nxe, FETCH), Some(4), "NXE means nothing without PAE");
    }

    #[test]
    fn a_pointer_register_that_is_not_present_faults_without_reading_memory() {
        let (mut mem, paging) = pae(0x2007, 0x5007);
        assert_eq!(
            translate(&mut mem, &paging, LinearAddr(0x4000_3123), WRITE).1.unwrap_err().code.bits(),
            6,
            "of the second GiB"
        );
        let seen = walk(&mem, paging, LinearAddr(0x4000_3123));
        assert_eq!(seen.result, WalkResult::NotPresent);
        assert_eq!(seen.steps, [Step { level: Level::Pdpt, index: 1, addr: PhysAddr(0x1008), value: 0 }]);
        assert_eq!(seen.reach(&paging, LinearAddr(0x4000_3123)), 0x3fff_cedd);
    }

    #[test]
    fn pae_sets_accessed_and_dirty_in_the_low_half_and_keeps_the_high_one() {
        let (mut mem, paging) = pae(0x2007, 0x3_0000_5007 | XD);
        let mapping = translate(&mut mem, &paging, LinearAddr(0x3123), WRITE).1.unwrap();
        assert_eq!(mapping.translate(LinearAddr(0x3123)), PhysAddr(0x3_0000_5123), "above 4 GiB");
        assert_eq!((mem.read_u64(PhysAddr(0x1000)), mem.read_u64(PhysAddr(0x2018))), (0x2027, 0x3_0000_5067 | XD));
        let (mut mem, paging) = pae(0x0020_0187, 0);
        let paging = Paging { cr4: Cr4::PAE | Cr4::PGE, ..paging };
        let large = translate(&mut mem, &paging, LinearAddr(0x12_3456), WRITE).1.unwrap();
        assert_eq!((large.size, large.global), (PageSize::Mib2, true));
        assert_eq!(large.translate(LinearAddr(0x12_3456)), PhysAddr(0x32_3456));
        assert_eq!(mem.read_u64(PhysAddr(0x1000)), 0x0020_01e7);
    }

    #[test]
    fn a_gated_address_line_20_holds_for_the_tables_too() {
        let mut mem = tables(0x10_2007, 0x5007);
        let gated = Paging { a20_mask: 0xffef_ffff, cr3: 0x10_1000, ..paging(Cr0::WP, Cr4::empty()) };
        assert_eq!(code(&mut mem, gated, READ), None);
        assert_eq!(mem.read_u32(PhysAddr(0x200c)), 0x5027);
    }

    #[test]
    fn without_paging_linear_is_physical() {
        let mem = tables(0, 0);
        let off = Paging { cr0: Cr0::PE, ..paging(Cr0::empty(), Cr4::empty()) };
        assert_eq!(walk(&mem, off, LinearAddr(5)).result, WalkResult::PagingOff);
    }
}
