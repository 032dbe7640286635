//! Accesses by linear address: translate, check rights, then touch memory or the bus.
//! Everything that can fault comes before anything that commits.
//!
//! `state.eip` and the time must be true when these are called: an entry of the TLB says who
//! filled it when, and a device is told the time.

use memory::FrameKind;
use x86::{Cr0, Cr4, Eflags, LinearAddr, PAGE_SIZE, PageFaultCode, PhysAddr};

use super::{
    breakpoint, changes, flush,
    host::HostBytes,
    project::Slot,
    rights::{Access, AccessKind, Guards, Privilege},
    tlb::TlbEntry,
    walk::PageFault,
    watch,
};
use crate::{Cpu, CpuState, Exception, IoEffect, IoSize, coherence};

/// With whose rights an access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    /// By CPL, as ordinary loads and stores.
    Current,
    /// As supervisor, implicitly: descriptor tables, TSS, IDT.
    Supervisor,
    /// As user, whatever the CPL: pushes onto a stack of CPL 3 that is not yet entered.
    User,
}

/// The rights that loads and stores of `view` have now. SMAP stays closed to implicit accesses
/// whatever EFLAGS.AC says (SDM Vol. 3A, "Access Rights").
#[inline]
pub(crate) fn privilege(state: &CpuState, view: View) -> Privilege {
    let user = match view {
        View::Current => state.cpl == 3,
        View::Supervisor => false,
        View::User => true,
    };
    let open = view == View::Current && state.eflags.contains(Eflags::AC);
    match user {
        true => Privilege::User,
        false if state.cr4().contains(Cr4::SMAP) && !open => Privilege::Closed,
        false => Privilege::Supervisor,
    }
}

/// Reads `N` bytes (1 … 16, or more for FXRSTOR and the like); may cross pages.
#[inline]
pub(crate) fn read<const N: usize>(cpu: &mut Cpu, addr: LinearAddr, view: View) -> Result<[u8; N], Exception> {
    if let Some(host) = cpu.projected(addr, N as u32, privilege(&cpu.state, view), AccessKind::Read) {
        let bytes = host.get();
        breakpoint::data(cpu, addr, N as u32, false);
        return Ok(bytes);
    }
    let mut bytes = [0; N];
    read_spanned(cpu, addr, &mut bytes, view)?;
    Ok(bytes)
}

/// `N` doublewords at `addr`, if the projection of the current view leads to all of them.
#[inline]
pub(crate) fn projected_words<const N: usize>(cpu: &mut Cpu, addr: LinearAddr) -> Option<[u32; N]> {
    let len = 4 * N as u32;
    cpu.projected(addr, len, privilege(&cpu.state, View::Current), AccessKind::Read).map(HostBytes::words)
}

/// Reads `bytes.len()` bytes, at most a page of them, by translating, whatever the projections say; may cross pages.
fn read_spanned(cpu: &mut Cpu, addr: LinearAddr, bytes: &mut [u8], view: View) -> Result<(), Exception> {
    let span = Span::translate(cpu, addr, bytes.len() as u32, AccessKind::Read, view)?;
    let (first, second) = bytes.split_at_mut(span.first_len);
    load(cpu, span.first, first);
    load(cpu, span.second, second);
    watch::loads(cpu, addr, &span, bytes);
    breakpoint::data(cpu, addr, bytes.len() as u32, false);
    Ok(())
}

/// Writes `N` bytes; both pages are translated before anything changes.
pub(crate) fn write<const N: usize>(
    cpu: &mut Cpu,
    addr: LinearAddr,
    bytes: &[u8; N],
    view: View,
) -> Result<(), Exception> {
    write_from(cpu, addr, bytes, view)
}

/// Writes `bytes`, at most a page of them; both pages are translated before anything changes.
pub(crate) fn write_from(cpu: &mut Cpu, addr: LinearAddr, bytes: &[u8], view: View) -> Result<(), Exception> {
    if let Some(host) = cpu.projected(addr, bytes.len() as u32, privilege(&cpu.state, view), AccessKind::Write) {
        host.write(bytes);
        breakpoint::data(cpu, addr, bytes.len() as u32, true);
        return Ok(());
    }
    let span = Span::translate(cpu, addr, bytes.len() as u32, AccessKind::Write, view)?;
    watch::stores(cpu, addr, &span, bytes);
    let (first, second) = bytes.split_at(span.first_len);
    store(cpu, span.first, first);
    store(cpu, span.second, second);
    breakpoint::data(cpu, addr, bytes.len() as u32, true);
    Ok(())
}

/// Makes sure that a later `write` of `len` bytes at `addr` cannot fault: takes its page faults
/// now, sets A and D. For read-modify-write and for instructions that store more than once.
pub(crate) fn probe_write(cpu: &mut Cpu, addr: LinearAddr, len: u32, view: View) -> Result<(), Exception> {
    if cpu.projected(addr, len, privilege(&cpu.state, view), AccessKind::Write).is_some() {
        return Ok(());
    }
    Span::translate(cpu, addr, len, AccessKind::Write, view).map(drop)
}

/// Takes the page faults that a `read` of `len` bytes at `addr` would; reads nothing.
pub(crate) fn probe_read(cpu: &mut Cpu, addr: LinearAddr, len: u32, view: View) -> Result<(), Exception> {
    Span::translate(cpu, addr, len, AccessKind::Read, view).map(drop)
}

macro_rules! widths {
    ($($read:ident, $write:ident: $t:ty;)*) => {$(
        #[doc = concat!("Reads a little-endian `", stringify!($t), "`.")]
        pub(crate) fn $read(cpu: &mut Cpu, addr: LinearAddr, view: View) -> Result<$t, Exception> {
            read(cpu, addr, view).map(<$t>::from_le_bytes)
        }

        #[doc = concat!("Writes a little-endian `", stringify!($t), "`.")]
        pub(crate) fn $write(cpu: &mut Cpu, addr: LinearAddr, value: $t, view: View) -> Result<(), Exception> {
            write(cpu, addr, &value.to_le_bytes(), view)
        }
    )*};
}
widths! {
    read_u8, write_u8: u8;
    read_u16, write_u16: u16;
    read_u32, write_u32: u32;
    read_u64, write_u64: u64;
}

/// The physical address of the code byte at `addr`: from the TLB with execute rights, else by a walk.
pub(crate) fn fetch(cpu: &mut Cpu, addr: LinearAddr) -> Result<PhysAddr, Exception> {
    let privilege = if cpu.state.cpl == 3 { Privilege::User } else { Privilege::Supervisor };
    translate(cpu, addr, Access { kind: AccessKind::Fetch, privilege })
}

/// The physical address of `addr` for `access`: from the TLB, else by a walk that
/// fills it. Projects the page where nothing need be looked at any more.
fn translate(cpu: &mut Cpu, addr: LinearAddr, access: Access) -> Result<PhysAddr, Exception> {
    flush::address_line_20(cpu);
    if !cpu.state.cr0().contains(Cr0::PG) {
        let phys = gate(cpu, PhysAddr(u64::from(addr.0)));
        project(cpu, addr, phys, access, Projected { store: true, fetch: true, global: true });
        return Ok(phys);
    }
    let entry = held(cpu, addr, access).map_err(|fault| Exception::pf(fault.addr.0, fault.code))?;
    let phys = gate(cpu, entry.translate(addr));
    if coherence::suspects(cpu, entry.page) {
        return Ok(phys);
    }
    let guards = Guards::of(cpu.state.cr0(), cpu.state.cr4());
    let allows = |kind| entry.rights.allow(Access { kind, ..access }, guards);
    let projected = Projected {
        store: entry.dirty && allows(AccessKind::Write),
        fetch: allows(AccessKind::Fetch),
        global: entry.global,
    };
    project(cpu, addr, phys, access, projected);
    Ok(phys)
}

/// What address line 20 makes of `addr`.
fn gate(cpu: &mut Cpu, addr: PhysAddr) -> PhysAddr {
    PhysAddr(addr.0 & (u64::from(cpu.projection().a20_mask()) | !0xffff_ffff))
}

/// The entry that translates `addr` and allows `access`. Rights are judged on the entry that is
/// held; a store through one that is not dirty walks again (SDM Vol. 3A, "Caching Translation
/// Information").
fn held(cpu: &mut Cpu, addr: LinearAddr, access: Access) -> Result<TlbEntry, PageFault> {
    let guards = Guards::of(cpu.state.cr0(), cpu.state.cr4());
    let old = cpu.state.tlb.lookup(addr).copied();
    if let Some(entry) = old {
        if !entry.rights.allow(access, guards) {
            return Err(PageFault::new(&cpu.state.paging(), addr, access, PageFaultCode::P));
        }
        if access.kind != AccessKind::Write || entry.dirty {
            coherence::used(cpu, &entry, addr, access);
            return Ok(entry);
        }
    }
    let mut paging = cpu.state.paging();
    paging.a20_mask = cpu.projection().a20_mask();
    let mapping = watch::walk(cpu, &paging, addr, access)?;
    let entry = TlbEntry::new(addr, mapping, cpu.state.pc(), cpu.now());
    let evicted = match old {
        Some(old) => {
            cpu.projection().clear_page(old.page, old.size);
            cpu.state.tlb.replace(&old, entry)
        }
        None => cpu.state.tlb.fill(entry),
    };
    if let Some(evicted) = evicted {
        cpu.projection().clear_page(evicted.page, evicted.size);
    }
    coherence::filled(cpu, &paging, &entry);
    Ok(entry)
}

/// What the accesses of one privilege may do to a page without looking.
struct Projected {
    /// Store: it touches no table and is allowed.
    store: bool,
    fetch: bool,
    global: bool,
}

/// Fills the projection of `addr`'s page, unless its accesses must be looked at. Whatever kind of access
/// was allowed, loads are too.
fn project(cpu: &mut Cpu, addr: LinearAddr, phys: PhysAddr, access: Access, allowed: Projected) {
    let (page, frame) = (addr.page_number(), phys.frame());
    let guarded = cpu.guarded(page, frame);
    if guarded.loads {
        return;
    }
    let watched = guarded.stores || coherence::watches_stores(cpu, frame) || changes::are_followed(cpu, frame);
    let mem = cpu.mem();
    let kind = mem.kind(frame);
    if kind == FrameKind::Bus {
        let stores = allowed.store && !guarded.stores;
        return cpu.projection().fill_device(access.privilege, page, frame, stores);
    }
    let writable = allowed.store && kind == FrameKind::Ram && !watched;
    let coded = mem.code_lines(frame) != 0;
    if writable {
        mem.touch(frame);
    }
    let host = mem.host_page(frame) as u64;
    let slot = Slot { page, frame, host, writable, coded, executable: allowed.fetch, global: allowed.global };
    cpu.projection().fill(access.privilege, slot);
}

/// The physical places of an access: one, or two where it crosses a page.
pub(super) struct Span {
    pub first: PhysAddr,
    pub first_len: usize,
    pub second: PhysAddr,
}

impl Span {
    fn translate(cpu: &mut Cpu, addr: LinearAddr, len: u32, kind: AccessKind, view: View) -> Result<Self, Exception> {
        debug_assert!(len <= PAGE_SIZE, "an access of {len} bytes");
        let first_len = len.min(PAGE_SIZE - addr.page_offset());
        let access = Access { kind, privilege: privilege(&cpu.state, view) };
        if first_len == len
            && let Some(frame) =
                cpu.projection().device(access.privilege, addr.page_number(), kind == AccessKind::Write)
        {
            let first = PhysAddr::from_frame(frame).add(addr.page_offset().into());
            return Ok(Span { first, first_len: len as usize, second: PhysAddr(0) });
        }
        let first = translate(cpu, addr, access)?;
        let second = if first_len < len { translate(cpu, addr.wrapping_add(first_len), access)? } else { PhysAddr(0) };
        Ok(Span { first, first_len: first_len as usize, second })
    }
}

/// Reads within a frame.
fn load(cpu: &mut Cpu, addr: PhysAddr, bytes: &mut [u8]) {
    if cpu.mem().kind(addr.frame()) != FrameKind::Bus {
        return cpu.mem().read(addr, bytes);
    }
    let now = cpu.now();
    for (at, size) in pieces(addr, bytes.len()) {
        let read = cpu.bus().mmio_read(now, addr.add(at as u64), size);
        let n = size as usize;
        bytes[at..at + n].copy_from_slice(&read.value.to_le_bytes()[..n]);
        note_effect(cpu, read.effect);
    }
}

/// Writes within a frame.
fn store(cpu: &mut Cpu, addr: PhysAddr, bytes: &[u8]) {
    if cpu.mem().kind(addr.frame()) != FrameKind::Bus {
        return match changes::are_followed(cpu, addr.frame()) && !bytes.is_empty() {
            true => changes::store(cpu, addr, bytes),
            false => store_in_memory(cpu, addr, bytes),
        };
    }
    let now = cpu.now();
    for (at, size) in pieces(addr, bytes.len()) {
        let mut value = [0; 4];
        value[..size as usize].copy_from_slice(&bytes[at..at + size as usize]);
        let effect = cpu.bus().mmio_write(now, addr.add(at as u64), size, u32::from_le_bytes(value));
        note_effect(cpu, effect);
    }
}

/// Writes within a frame of RAM or ROM.
pub(super) fn store_in_memory(cpu: &mut Cpu, addr: PhysAddr, bytes: &[u8]) {
    match coherence::watches_stores(cpu, addr.frame()) && !bytes.is_empty() {
        true => coherence::store(cpu, addr, bytes),
        false => cpu.mem().write(addr, bytes),
    }
}

/// The block ends after this instruction if the machine must look at its devices.
pub(crate) fn note_effect(cpu: &mut Cpu, effect: IoEffect) {
    cpu.run.attention |= effect == IoEffect::Recompute;
}

/// Cuts `len` bytes from `addr` into aligned accesses of at most a doubleword.
fn pieces(addr: PhysAddr, len: usize) -> impl Iterator<Item = (usize, IoSize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (place, left) = (addr.0 + at as u64, len - at);
        let size = match left {
            0 => return None,
            4.. if place % 4 == 0 => IoSize::Dword,
            2.. if place % 2 == 0 => IoSize::Word,
            _ => IoSize::Byte,
        };
        at += size as usize;
        Some((at - size as usize, size))
    })
}

#[cfg(test)]
mod tests {
    use x86::{Cr4, Vector};

    use super::*;
    use crate::{
        fixture::{self, Fixture},
        mmu::{fetch, flush},
    };

    /// Paging with WP: directory at 0x1000, its table at 0x2000 maps pages 0x10 up to 0x13 to
    /// frames 0x20 up: user and supervisor, read-write and read-only; 0x400000 is the
    /// device's 4 MiB page.
    fn paged() -> Fixture {
        let mut f = Fixture::flat();
        f.mem.write_u32(PhysAddr(0x1000), 0x2007);
        f.mem.write_u32(PhysAddr(0x1004), 0x0100_0087);
        for (page, bits) in [(0x10, 7), (0x11, 5), (0x12, 3), (0x13, 1)] {
            f.mem.write_u32(PhysAddr(0x2000 + page * 4), (page as u32 + 0x10) << 12 | bits);
        }
        f.cpu.state.cr3 = 0x1000;
        f.cpu.state.cr0 |= (Cr0::PG | Cr0::WP).bits();
        f.cpu.state.cr4 |= Cr4::PSE.bits();
        f
    }

    fn pte(f: &Fixture, page: u64) -> u32 {
        f.mem.read_u32(PhysAddr(0x2000 + page * 4))
    }

    fn fault(code: u32, addr: u32) -> Exception {
        Exception { vector: Vector::PAGE_FAULT, code, addr }
    }

    #[test]
    fn a_write_then_a_read_meet_in_the_mapped_frame() {
        let mut f = paged();
        f.run(|cpu| write_u32(cpu, LinearAddr(0x10_ff8), 0x1234_5678, View::Current)).unwrap();
        assert_eq!(f.mem.read_u32(PhysAddr(0x20_ff8)), 0x1234_5678);
        assert_eq!(f.run(|cpu| read_u16(cpu, LinearAddr(0x10_ffa), View::Current)), Ok(0x1234));
        assert_eq!(pte(&f, 0x10), 0x20067);
    }

    #[test]
    fn the_view_is_that_of_the_access_and_not_of_the_cpl() {
        let mut f = paged();
        f.cpu.state.cpl = 3;
        assert_eq!(f.run(|cpu| read_u8(cpu, LinearAddr(0x12_000), View::Current)), Err(fault(5, 0x12_000)));
        assert_eq!(f.run(|cpu| read_u8(cpu, LinearAddr(0x12_000), View::Supervisor)), Ok(0));
        f.cpu.state.cpl = 0;
        assert_eq!(f.run(|cpu| read_u8(cpu, LinearAddr(0x12_000), View::User)), Err(fault(5, 0x12_000)));
    }

    #[test]
    fn a_store_across_pages_changes_nothing_if_its_second_page_faults() {
        let mut f = paged();
        f.mem.write_u32(PhysAddr(0x20_ffc), 0xaaaa_aaaa);
        let result = f.run(|cpu| write_u32(cpu, LinearAddr(0x10_ffe), 0, View::Current));
        assert_eq!(result, Err(fault(3, 0x11_000)), "CR2 is the first byte that faults");
        assert_eq!(f.mem.read_u32(PhysAddr(0x20_ffc)), 0xaaaa_aaaa);
    }

    #[test]
    fn a_stale_entry_is_really_used_until_invlpg() {
        let mut f = paged();
        f.mem.write_u32(PhysAddr(0x20_000), 1);
        f.mem.write_u32(PhysAddr(0x30_000), 2);
        let read = |cpu: &mut Cpu| read_u32(cpu, LinearAddr(0x10_000), View::Current).unwrap();
        assert_eq!(f.run(read), 1);
        f.mem.write_u32(PhysAddr(0x2040), 0x30_007);
        assert_eq!(f.run(read), 1);
        f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x10_abc)));
        assert_eq!(f.run(read), 2);
    }

    #[test]
    fn rights_are_judged_on_the_held_entry_until_a_fault_drops_it() {
        let mut f = paged();
        let write = |cpu: &mut Cpu| write_u8(cpu, LinearAddr(0x13_000), 1, View::Current);
        f.run(|cpu| read_u8(cpu, LinearAddr(0x13_000), View::Current)).unwrap();
        f.mem.write_u32(PhysAddr(0x204c), 0x23_003); // rights raised, nothing flushed
        assert_eq!(f.run(write), Err(fault(3, 0x13_000)), "the spurious fault");
        f.run(|cpu| flush::page_fault(cpu, LinearAddr(0x13_000)));
        assert_eq!(f.run(write), Ok(()), "happens once");
    }

    #[test]
    fn the_first_store_through_a_clean_entry_walks_again() {
        let mut f = paged();
        let write = |cpu: &mut Cpu| write_u8(cpu, LinearAddr(0x10_000), 9, View::Current);
        f.run(|cpu| read_u8(cpu, LinearAddr(0x10_000), View::Current)).unwrap();
        f.mem.write_u32(PhysAddr(0x2040), 0x30_007);
        f.run(write).unwrap();
        assert_eq!(f.mem.read_u8(PhysAddr(0x30_000)), 9, "the frame is replaced too");
        assert_eq!(pte(&f, 0x10), 0x30_067);
        f.mem.write_u32(PhysAddr(0x2040), 0);
        assert_eq!(f.run(write), Ok(()), "a store through a dirty entry touches no table");
        assert_eq!(pte(&f, 0x10), 0);
    }

    #[test]
    fn the_first_store_through_a_clean_entry_faults_if_the_tables_forbid_it_now() {
        let mut f = paged();
        f.run(|cpu| read_u8(cpu, LinearAddr(0x10_000), View::Current)).unwrap();
        f.mem.write_u32(PhysAddr(0x2040), 0x30_006);
        assert_eq!(f.run(|cpu| write_u8(cpu, LinearAddr(0x10_000), 9, View::Current)), Err(fault(2, 0x10_000)));
    }

    #[test]
    fn what_is_not_present_is_never_held() {
        let mut f = paged();
        let read = |cpu: &mut Cpu| read_u8(cpu, LinearAddr(0x50_000), View::Current);
        assert_eq!(f.run(read), Err(fault(0, 0x50_000)));
        assert_eq!(f.cpu.state.tlb.iter().len(), 0);
        f.mem.write_u32(PhysAddr(0x2140), 0x20_007);
        assert_eq!(f.run(read), Ok(0));
    }

    #[test]
    fn a_page_is_projected_for_stores_once_it_is_dirty_and_holds_no_code() {
        let mut f = paged();
        let tables = |f: &mut Fixture| {
            let t = f.projection.active(Privilege::Supervisor, false);
            // SAFETY: both tables have 2^20 values.
            #[allow(unsafe_code)]
            unsafe {
                (*t.read.add(0x10), *t.write.add(0x10))
            }
        };
        f.run(|cpu| read_u8(cpu, LinearAddr(0x10_000), View::Current)).unwrap();
        assert_eq!(tables(&mut f), (f.mem.host_page(0x20) as u64 - 0x10_000, 0));
        f.run(|cpu| write_u8(cpu, LinearAddr(0x10_000), 1, View::Current)).unwrap();
        assert_ne!(tables(&mut f).1, 0);
        f.mem.mark_code(0x20, 1);
        f.projection.revoke_write(0x20);
        f.run(|cpu| write_u8(cpu, LinearAddr(0x10_fff), 1, View::Current)).unwrap();
        assert_eq!(tables(&mut f).1, 0);
        f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x10_000)));
        assert_eq!(tables(&mut f), (0, 0));
    }

    #[test]
    fn a_device_sees_aligned_accesses_of_at_most_a_doubleword() {
        use fixture::Access::{Read, Write};
        let mut f = paged();
        f.bus.answer = 0x4433_2211;
        f.bus.recompute = true;
        let value = f.run(|cpu| read_u32(cpu, LinearAddr(0x40_0ffe), View::Current)).unwrap();
        assert_eq!(value, 0x2211_2211);
        f.run(|cpu| write_u32(cpu, LinearAddr(0x40_0011), 0xddcc_bbaa, View::Current)).unwrap();
        assert_eq!(
            f.bus.log,
            [
                (Read, 0x100_0ffe, IoSize::Word, 0),
                (Read, 0x100_1000, IoSize::Word, 0),
                (Write, 0x100_0011, IoSize::Byte, 0xaa),
                (Write, 0x100_0012, IoSize::Word, 0xccbb),
                (Write, 0x100_0014, IoSize::Byte, 0xdd),
            ]
        );
        assert!(f.cpu.run.attention);
    }

    #[test]
    fn a_gated_address_line_20_hides_bit_20() {
        let mut f = Fixture::flat();
        f.mem.write_u32(PhysAddr(0x500), 7);
        let read = |cpu: &mut Cpu| read_u32(cpu, LinearAddr(0x10_0500), View::Current).unwrap();
        assert_eq!(f.run(read), 0);
        f.bus.a20_gated = true;
        f.run(flush::address_line_20); // as OUT does
        assert_eq!(f.run(read), 7);
    }

    #[test]
    fn the_fetch_latch_outlives_a_change_of_the_tables_but_no_removal() {
        let mut f = paged();
        let fetch = |cpu: &mut Cpu| fetch::translate(cpu, LinearAddr(0x12_345)).map(|p| p.0);
        assert_eq!(f.run(fetch), Ok(0x22_345));
        f.mem.write_u32(PhysAddr(0x2048), 0x30_003);
        assert_eq!(f.run(fetch), Ok(0x22_345));
        f.run(|cpu| flush::invlpg(cpu, LinearAddr(0x12_000)));
        assert_eq!(f.run(fetch), Ok(0x30_345));
        f.cpu.state.cpl = 3;
        assert_eq!(f.run(fetch), Err(fault(5, 0x12_345)), "the view differs");
    }

    #[test]
    fn an_entry_says_who_filled_it() {
        let mut f = paged();
        f.run(|cpu| read_u8(cpu, LinearAddr(0x11_000), View::Current)).unwrap();
        let entry = f.cpu.state.tlb.iter().next().unwrap();
        assert_eq!((entry.page, entry.frame, entry.filled_by), (0x11, 0x21, 0x1000));
        assert!(!entry.rights.writable && entry.rights.user && !entry.dirty);
    }
}
