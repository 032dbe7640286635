//! The page walk of 32-bit paging: a free function that knows no TLB and no CPU.

use memory::PhysMem;
use serde::{Deserialize, Serialize};
use x86::{Cr0, Cr4, Efer, LinearAddr, PAGE_SIZE, PageFaultCode, Pde, PhysAddr, Pte};

/// The registers that decide how linear addresses are translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paging {
    /// CR0: PG and WP count.
    pub cr0: Cr0,
    /// CR3: where the page directory lies.
    pub cr3: u32,
    /// CR4: PSE, PGE and SMEP count.
    pub cr4: Cr4,
    /// IA32_EFER: NXE decides whether a fetch is told apart in error codes.
    pub efer: Efer,
}

impl Paging {
    /// Whether linear addresses are translated at all.
    pub const fn enabled(self) -> bool {
        self.cr0.contains(Cr0::PG)
    }
}

/// What an access wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessKind {
    /// Load.
    Read,
    /// Store, or load with intent to store.
    Write,
    /// Fetch of instructions.
    Fetch,
}

/// An access and with whose rights it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What it wants to do.
    pub kind: AccessKind,
    /// Made at CPL 3, and not implicitly as supervisor (descriptor tables, TSS).
    pub user: bool,
}

/// The size of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KiB.
    #[default]
    Small,
    /// 4 MiB.
    Large,
}

impl PageSize {
    /// The size in 4 KiB pages.
    pub const fn pages(self) -> u32 {
        match self {
            PageSize::Small => 1,
            PageSize::Large => 1024,
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u32 {
        self.pages() * PAGE_SIZE
    }
}

/// What the paging structures say of a page: the rights are those of both levels together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Physical address of the page's first byte.
    pub base: PhysAddr,
    /// Size of the page.
    pub size: PageSize,
    /// R/W in every level.
    pub writable: bool,
    /// U/S in every level.
    pub user: bool,
    /// A in every level.
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

    /// Whether the rights allow `access`; `write_protect` is CR0.WP
    /// (SDM Vol. 3A, "Determination of Access Rights").
    pub const fn allows(self, access: Access, write_protect: bool) -> bool {
        permits(self.writable, self.user, access, write_protect)
    }
}

/// Whether a page with these rights allows `access`.
pub(crate) const fn permits(writable: bool, user: bool, access: Access, write_protect: bool) -> bool {
    if access.user && !user {
        return false;
    }
    !matches!(access.kind, AccessKind::Write) || writable || !(access.user || write_protect)
}

/// A paging-structure entry that a walk read, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Page-directory entry.
    Pde {
        /// Its physical address.
        addr: PhysAddr,
        /// Its value.
        entry: Pde,
    },
    /// Page-table entry.
    Pte {
        /// Its physical address.
        addr: PhysAddr,
        /// Its value.
        entry: Pte,
    },
}

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkResult {
    /// CR0.PG is clear: linear is physical.
    PagingOff,
    /// A page.
    Mapped(Mapping),
    /// The last entry read has P clear.
    NotPresent,
    /// The last entry read has a reserved bit set.
    Reserved,
}

/// A walk, step by step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// The entries read, from the directory down.
    pub steps: Vec<Step>,
    /// How it ended.
    pub result: WalkResult,
}

/// Walks the tables for `addr` and changes nothing: for lenses and debuggers.
pub fn walk(mem: &PhysMem, paging: Paging, addr: LinearAddr) -> Walk {
    if !paging.enabled() {
        return Walk { steps: Vec::new(), result: WalkResult::PagingOff };
    }
    let path = Path::read(mem, paging, addr);
    let mut steps = vec![Step::Pde { addr: path.pde_addr, entry: path.pde }];
    steps.extend(path.pte.map(|(addr, entry)| Step::Pte { addr, entry }));
    let result = match path.end {
        Ok(mapping) => WalkResult::Mapped(mapping),
        Err(Stop::NotPresent) => WalkResult::NotPresent,
        Err(Stop::Reserved) => WalkResult::Reserved,
    };
    Walk { steps, result }
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
    pub(crate) fn new(paging: Paging, addr: LinearAddr, access: Access, cause: PageFaultCode) -> Self {
        let mut code = cause;
        code.set(PageFaultCode::WR, access.kind == AccessKind::Write);
        code.set(PageFaultCode::US, access.user);
        // Instruction fetches are told apart only where something can forbid them.
        let fetch_is_told =
            paging.cr4.contains(Cr4::SMEP) || paging.cr4.contains(Cr4::PAE) && paging.efer.contains(Efer::NXE);
        code.set(PageFaultCode::ID, access.kind == AccessKind::Fetch && fetch_is_told);
        PageFault { addr, code }
    }
}

/// Translates `addr` by 32-bit paging (SDM Vol. 3A, "32-Bit Paging") for `access`.
/// Sets the accessed and dirty flags, once nothing can fault any more.
pub(crate) fn translate(
    mem: &mut PhysMem,
    paging: Paging,
    addr: LinearAddr,
    access: Access,
) -> Result<Mapping, PageFault> {
    let path = Path::read(mem, paging, addr);
    let fault = |cause| PageFault::new(paging, addr, access, cause);
    let mut mapping = path.end.map_err(|stop| match stop {
        Stop::NotPresent => fault(PageFaultCode::empty()),
        Stop::Reserved => fault(PageFaultCode::P | PageFaultCode::RSVD),
    })?;
    if !mapping.allows(access, paging.cr0.contains(Cr0::WP)) {
        return Err(fault(PageFaultCode::P));
    }
    path.set_accessed(mem, access.kind == AccessKind::Write);
    mapping.accessed = true;
    mapping.dirty |= access.kind == AccessKind::Write;
    Ok(mapping)
}

/// Why a walk ended without a page.
#[derive(Clone, Copy)]
enum Stop {
    NotPresent,
    Reserved,
}

/// The entries on the way to a page.
struct Path {
    pde_addr: PhysAddr,
    pde: Pde,
    pte: Option<(PhysAddr, Pte)>,
    end: Result<Mapping, Stop>,
}

/// Bits of a 4 MiB page's directory entry that must be 0: bit 21, and those of bits 20:13 that
/// hold address bits beyond the 36 that PSE-36 has.
const LARGE_RESERVED: u32 = 0x3e_0000;

impl Path {
    fn read(mem: &PhysMem, paging: Paging, addr: LinearAddr) -> Self {
        let pde_addr = PhysAddr(u64::from(paging.cr3 & 0xffff_f000)).add(u64::from(addr.pde_index() * 4));
        let pde = Pde(mem.read_u32(pde_addr));
        let ended = |end| Path { pde_addr, pde, pte: None, end };
        if !pde.present() {
            return ended(Err(Stop::NotPresent));
        }
        let has_global = paging.cr4.contains(Cr4::PGE);
        if pde.large() && paging.cr4.contains(Cr4::PSE) {
            if pde.0 & LARGE_RESERVED != 0 {
                return ended(Err(Stop::Reserved));
            }
            return ended(Ok(Mapping {
                base: pde.large_frame(),
                size: PageSize::Large,
                writable: pde.writable(),
                user: pde.user(),
                accessed: pde.accessed(),
                dirty: pde.dirty(),
                global: pde.global() && has_global,
            }));
        }
        let pte_addr = pde.table().add(u64::from(addr.pte_index() * 4));
        let pte = Pte(mem.read_u32(pte_addr));
        let end = if pte.present() {
            Ok(Mapping {
                base: pte.frame(),
                size: PageSize::Small,
                writable: pde.writable() && pte.writable(),
                user: pde.user() && pte.user(),
                accessed: pde.accessed() && pte.accessed(),
                dirty: pte.dirty(),
                global: pte.global() && has_global,
            })
        } else {
            Err(Stop::NotPresent)
        };
        Path { pde_addr, pde, pte: Some((pte_addr, pte)), end }
    }

    /// Sets A in every entry of the path and, for a write, D in the last, where they are clear.
    fn set_accessed(&self, mem: &mut PhysMem, write: bool) {
        let last = Pte::A | if write { Pte::D } else { 0 };
        let of_pde = if self.pte.is_some() { Pde::A } else { last };
        if self.pde.0 & of_pde != of_pde {
            mem.write_u32(self.pde_addr, self.pde.0 | of_pde);
        }
        if let Some((addr, pte)) = self.pte
            && pte.0 & last != last
        {
            mem.write_u32(addr, pte.0 | last);
        }
    }
}

#[cfg(test)]
mod tests {
    use memory::FrameKind;

    use super::*;

    const READ: Access = Access { kind: AccessKind::Read, user: true };
    const WRITE: Access = Access { kind: AccessKind::Write, user: true };
    const KERNEL_WRITE: Access = Access { kind: AccessKind::Write, user: false };

    fn paging(cr0: Cr0, cr4: Cr4) -> Paging {
        Paging { cr0: cr0 | Cr0::PG | Cr0::PE, cr3: 0x1000, cr4, efer: Efer::empty() }
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
        translate(mem, paging, LinearAddr(0x3123), access).err().map(|fault| fault.code.bits())
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
        translate(&mut mem, p, LinearAddr(0x3123), READ).unwrap();
        assert_eq!((mem.read_u32(PhysAddr(0x1000)), mem.read_u32(PhysAddr(0x200c))), (0x2027, 0x5027));
        let mapping = translate(&mut mem, p, LinearAddr(0x3123), WRITE).unwrap();
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
        let large = translate(&mut mem, paging(Cr0::WP, Cr4::PSE), LinearAddr(0x3123), WRITE).unwrap();
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
                Step::Pde { addr: PhysAddr(0x1000), entry: Pde(0x2007) },
                Step::Pte { addr: PhysAddr(0x200c), entry: Pte(0x5006) },
            ]
        );
        assert_eq!(mem.read_u32(PhysAddr(0x1000)), 0x2007);
    }

    #[test]
    fn without_paging_linear_is_physical() {
        let mem = tables(0, 0);
        let off = Paging { cr0: Cr0::PE, ..paging(Cr0::empty(), Cr4::empty()) };
        assert_eq!(walk(&mem, off, LinearAddr(5)).result, WalkResult::PagingOff);
    }
}
