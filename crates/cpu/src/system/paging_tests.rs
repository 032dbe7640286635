//! What control registers and MSRs do to paging, and the guards that SMAP and UMIP are.

use x86::{Cr0, Cr4, Eflags, PhysAddr};

use crate::{
    CpuModel, Exception, Gpr,
    fixture::{
        Fixture,
        places::{STACK0, TSS},
        selectors::{CODE0, DATA0, FREE},
    },
    mmu::{PageSize, Rights, TlbEntry},
    slow::Flow,
};

const MOV_CR0_EAX: &[u8] = &[0x0f, 0x22, 0xc0];
const MOV_CR3_EAX: &[u8] = &[0x0f, 0x22, 0xd8];
const MOV_CR4_EAX: &[u8] = &[0x0f, 0x22, 0xe0];
const RDMSR: &[u8] = &[0x0f, 0x32];
const WRMSR: &[u8] = &[0x0f, 0x30];
const CLAC: &[u8] = &[0x0f, 0x01, 0xca];
const STAC: &[u8] = &[0x0f, 0x01, 0xcb];

fn with_eax(f: &mut Fixture, eax: u32, code: &[u8]) -> Result<Flow, Exception> {
    f.cpu.state.set_gpr(Gpr::Eax, eax);
    f.exec(code)
}

fn write_msr(f: &mut Fixture, number: u32, value: u64) -> Result<Flow, Exception> {
    f.cpu.state.set_gpr(Gpr::Ecx, number);
    f.cpu.state.set_gpr(Gpr::Edx, (value >> 32) as u32);
    with_eax(f, value as u32, WRMSR)
}

fn read_msr(f: &mut Fixture, number: u32) -> Result<u64, Exception> {
    f.cpu.state.set_gpr(Gpr::Ecx, number);
    f.exec(RDMSR)?;
    let state = &f.cpu.state;
    Ok(u64::from(state.gpr(Gpr::Edx)) << 32 | u64::from(state.gpr(Gpr::Eax)))
}

fn pointers(f: &mut Fixture, at: u64, entries: [u64; 4]) {
    entries.iter().zip(0..).for_each(|(entry, i)| f.mem.write(PhysAddr(at + 8 * i), &entry.to_le_bytes()));
}

const FIRST: [u64; 4] = [0x1_0001, 0, 0x1_2019, 0x1_3001];
const SECOND: [u64; 4] = [0x2_0001, 0x2_1001, 0, 0];

#[test]
fn the_pointer_registers_are_loaded_at_the_manuals_moments_and_no_others() {
    let mut f = Fixture::ringed();
    pointers(&mut f, 0x7020, FIRST);
    with_eax(&mut f, 0x7038, MOV_CR3_EAX).unwrap();
    with_eax(&mut f, Cr4::PAE.bits(), MOV_CR4_EAX).unwrap();
    assert_eq!(f.cpu.state.pdpte, [0; 4], "paging is off");
    with_eax(&mut f, 0x8000_0011, MOV_CR0_EAX).unwrap();
    assert_eq!(f.cpu.state.pdpte, FIRST, "CR0.PG, from bits 31:5 of CR3");

    pointers(&mut f, 0x7020, SECOND);
    with_eax(&mut f, 0x8001_0011, MOV_CR0_EAX).unwrap();
    with_eax(&mut f, (Cr4::PAE | Cr4::OSFXSR | Cr4::SMAP).bits(), MOV_CR4_EAX).unwrap();
    assert_eq!(f.cpu.state.pdpte, FIRST, "neither memory, CR0.WP, CR4.OSFXSR nor CR4.SMAP loads them");
    with_eax(&mut f, 0x7020, MOV_CR3_EAX).unwrap();
    assert_eq!(f.cpu.state.pdpte, SECOND, "MOV to CR3");

    for (what, value, code) in [
        ("CR4.PGE", (Cr4::PAE | Cr4::PGE).bits(), MOV_CR4_EAX),
        ("CR4.PSE", (Cr4::PAE | Cr4::PGE | Cr4::PSE).bits(), MOV_CR4_EAX),
        ("CR4.SMEP", (Cr4::PAE | Cr4::PGE | Cr4::PSE | Cr4::SMEP).bits(), MOV_CR4_EAX),
        ("CR0.CD", 0xc001_0011, MOV_CR0_EAX),
        ("CR0.NW", 0xe001_0011, MOV_CR0_EAX),
    ] {
        f.cpu.state.pdpte = FIRST;
        with_eax(&mut f, value, code).unwrap();
        assert_eq!(f.cpu.state.pdpte, SECOND, "{what}");
    }
}

#[test]
fn a_pointer_with_a_reserved_bit_refuses_the_load_and_changes_nothing() {
    for bad in [0x1_0003, 0x1_0021, 0x1_0101, 0x10_0001_0001, 0x8000_0000_0001_0001] {
        let mut f = Fixture::ringed();
        pointers(&mut f, 0x7000, FIRST);
        pointers(&mut f, 0x7020, [0x1_0001, 0, 0, bad]);
        f.cpu.state.cr4 = Cr4::PAE.bits();
        f.cpu.state.cr3 = 0x7000;
        with_eax(&mut f, 0x8000_0011, MOV_CR0_EAX).unwrap();
        assert_eq!(with_eax(&mut f, 0x7020, MOV_CR3_EAX), Err(Exception::gp(0)), "{bad:#x}");
        assert_eq!((f.cpu.state.cr3, f.cpu.state.pdpte), (0x7000, FIRST));
        f.cpu.state.cr3 = 0x7020;
        assert_eq!(with_eax(&mut f, 0xc000_0011, MOV_CR0_EAX), Err(Exception::gp(0)));
        assert_eq!(with_eax(&mut f, (Cr4::PAE | Cr4::PSE).bits(), MOV_CR4_EAX), Err(Exception::gp(0)));
        assert_eq!((f.cpu.state.cr0, f.cpu.state.cr4), (0x8000_0011, Cr4::PAE.bits()));
        pointers(&mut f, 0x7020, [0x1_0001, 0, 0, bad & !1]);
        with_eax(&mut f, 0x7020, MOV_CR3_EAX).unwrap();
    }
}

#[test]
fn a_task_switch_that_changes_cr3_loads_the_pointer_registers() {
    for (entries, expect) in [(SECOND, Ok(SECOND)), ([3, 0, 0, 0], Err(Exception::gp(0)))] {
        let mut f = Fixture::ringed();
        // 2 MiB pages: the first is itself.
        f.mem.write(PhysAddr(0x1_0000), &0x87u64.to_le_bytes());
        f.mem.write(PhysAddr(0x2_0000), &0x87u64.to_le_bytes());
        pointers(&mut f, 0x7000, [0x1_0001, 0, 0, 0]);
        pointers(&mut f, 0x7020, entries);
        f.cpu.state.cr3 = 0x7000;
        f.cpu.state.cr4 = Cr4::PAE.bits();
        with_eax(&mut f, 0x8000_0011, MOV_CR0_EAX).unwrap();
        f.set_descriptor(FREE, 0x0000_8900_4100_0067);
        let new = u64::from(TSS) + 0x100;
        for (at, value) in [(28, 0x7020), (32, 0x5000), (36, 2), (56, STACK0), (76, CODE0.into()), (80, DATA0.into())] {
            f.mem.write_u32(PhysAddr(new + at), value);
        }
        let jump = [0xea, 0, 0, 0, 0, FREE as u8, 0];
        let seen = f.exec(&jump).map(|_| f.cpu.state.pdpte);
        assert_eq!(seen, expect);
        assert_eq!((f.cpu.state.cr3, f.cpu.state.eip), (0x7020, 0x5000), "a fault is the new task's");
    }
}

#[test]
fn cr4_has_what_its_model_has() {
    let all = Cr4::SMEP | Cr4::SMAP | Cr4::UMIP;
    for (model, allowed) in [(CpuModel::Pentium3, Cr4::empty()), (CpuModel::Core2, Cr4::empty()), (CpuModel::Max, all)]
    {
        for bit in [Cr4::SMEP, Cr4::SMAP, Cr4::UMIP] {
            let mut f = Fixture::ringed();
            f.cpu.state.model = model;
            let seen = with_eax(&mut f, bit.bits(), MOV_CR4_EAX);
            assert_eq!(seen.is_ok(), allowed.contains(bit), "{model:?} {bit:?}");
        }
    }
}

#[test]
fn clearing_smep_keeps_what_is_held_but_asks_again_before_the_next_fetch() {
    let mut f = Fixture::ringed();
    f.cpu.state.cr4 = Cr4::SMEP.bits();
    let rights = Rights { writable: true, user: false, executable: true };
    let entry = TlbEntry {
        page: 1,
        frame: 1,
        size: PageSize::Kib4,
        rights,
        dirty: true,
        global: false,
        filled_by: 0,
        filled_at: 0,
    };
    f.cpu.state.tlb.fill(entry);
    f.cpu.state.tlb.set_latch(crate::mmu::FetchLatch { page: 1, frame: 1, user: false });
    with_eax(&mut f, 0, MOV_CR4_EAX).unwrap();
    assert_eq!((f.cpu.state.tlb.iter().len(), f.cpu.state.tlb.latch()), (1, None));
}

#[test]
fn clac_and_stac_move_ac_for_the_supervisor_of_a_model_that_has_smap() {
    let mut f = Fixture::ringed();
    f.exec(STAC).unwrap();
    assert!(f.cpu.eflags().contains(Eflags::AC));
    f.exec(CLAC).unwrap();
    assert!(!f.cpu.eflags().contains(Eflags::AC));
    f.cpu.state.model = CpuModel::Core2;
    assert_eq!(f.exec(STAC), Err(Exception::ud()));
    let mut f = Fixture::user();
    assert_eq!((f.exec(STAC), f.exec(CLAC)), (Err(Exception::ud()), Err(Exception::ud())));
}

#[test]
fn umip_keeps_system_registers_from_programs() {
    let sgdt: &[u8] = &[0x0f, 0x01, 0x05, 0, 0x60, 0, 0];
    let sidt: &[u8] = &[0x0f, 0x01, 0x0d, 0, 0x60, 0, 0];
    let (sldt, str, smsw): (&[u8], &[u8], &[u8]) = (&[0x0f, 0x00, 0xc0], &[0x0f, 0x00, 0xc8], &[0x0f, 0x01, 0xe0]);
    for code in [sgdt, sidt, sldt, str, smsw] {
        for (cr4, user, expect) in [
            (Cr4::empty(), true, Ok(Flow::Next)),
            (Cr4::UMIP, false, Ok(Flow::Next)),
            (Cr4::UMIP, true, Err(Exception::gp(0))),
        ] {
            let mut f = if user { Fixture::user() } else { Fixture::ringed() };
            f.cpu.state.cr4 = cr4.bits();
            assert_eq!(f.exec(code), expect, "{code:x?} {cr4:?} {user}");
        }
    }
}

#[test]
fn efer_has_nxe_alone_where_the_model_has_nx() {
    let mut f = Fixture::ringed();
    f.cpu.state.tlb.set_latch(crate::mmu::FetchLatch { page: 1, frame: 1, user: false });
    write_msr(&mut f, 0xc000_0080, 0x800).unwrap();
    assert_eq!(f.cpu.state.tlb.latch(), None, "what may be fetched has changed");
    assert_eq!(read_msr(&mut f, 0xc000_0080), Ok(0x800));
    for bad in [1, 0x100, 0x400, 1 << 32] {
        assert_eq!(write_msr(&mut f, 0xc000_0080, bad), Err(Exception::gp(0)), "{bad:#x}");
    }
    f.cpu.state.model = CpuModel::Pentium3;
    assert_eq!(read_msr(&mut f, 0xc000_0080), Err(Exception::gp(0)));
}

#[test]
fn the_registers_that_kernels_read_at_boot_are_there() {
    let mut f = Fixture::ringed();
    for (number, expect) in [
        (0x17, Ok(0)),
        (0x8b, Ok(0)),
        (0xfe, Ok(0x508)),
        (0x2ff, Ok(0xc06)),
        (0x277, Ok(0x0007_0406_0007_0406)),
        (0x1a0, Ok(0x1801)),
        (0x1b, Ok(0xfee0_0900)),
        (0x210, Err(Exception::gp(0))),
    ] {
        assert_eq!(read_msr(&mut f, number), expect, "{number:#x}");
    }
    f.cpu.state.model = CpuModel::Pentium3;
    assert_eq!(read_msr(&mut f, 0x1a0), Err(Exception::gp(0)), "came after Pentium III");
    assert_eq!(write_msr(&mut f, 0x17, 0), Err(Exception::gp(0)), "cannot be written");
}

#[test]
fn a_local_apic_is_moved_and_switched_off_but_stays_that_of_the_bootstrap_processor() {
    let mut f = Fixture::ringed();
    assert_eq!(write_msr(&mut f, 0x1b, 0xfed4_0000), Ok(Flow::Leave));
    assert_eq!(read_msr(&mut f, 0x1b), Ok(0xfed4_0100));
    assert!(f.cpu.run.attention, "the machine looks where it is now");
    for bad in [0xfee0_0901, 0xfee0_0c00, 1 << 40] {
        assert_eq!(write_msr(&mut f, 0x1b, bad), Err(Exception::gp(0)), "{bad:#x}");
    }
}

#[test]
fn values_that_a_register_cannot_have_are_refused() {
    let mut f = Fixture::ringed();
    for (number, value, good) in [
        (0x277, 0x0007_0406_0007_0402, false),
        (0x277, 0x0800_0000_0000_0000, false),
        (0x277, 0x0001_0406_0007_0506, true),
        (0x2ff, 0x803, false),
        (0x2ff, 0x800, true),
        (0x200, 0x8000_0002, false),
        (0x201, 0xf_8000_0800, true),
        (0x250, 0x0202_0202_0202_0202, false),
    ] {
        let before = read_msr(&mut f, number).unwrap();
        assert_eq!(write_msr(&mut f, number, value).is_ok(), good, "{number:#x} {value:#x}");
        assert_eq!(read_msr(&mut f, number), Ok(if good { value } else { before }));
    }
}

#[test]
fn the_time_stamp_counter_counts_on_from_what_is_written() {
    let mut f = Fixture::ringed();
    write_msr(&mut f, 0x10, u64::MAX).unwrap();
    let now = f.run(|cpu| cpu.now());
    assert_eq!(read_msr(&mut f, 0x10), Ok(u64::MAX));
    f.cpu.run.time_offset = f.cpu.run.time_offset.wrapping_add(5);
    assert_eq!(f.run(|cpu| cpu.now()), now + 5);
    assert_eq!(read_msr(&mut f, 0x10), Ok(4), "modulo 2^64");
}

#[test]
fn wp_decides_anew_on_the_same_translations() {
    let mut f = Fixture::ringed();
    // A directory at 0x1_0000 of 4 MiB pages: the first read-only, itself.
    f.mem.write_u32(PhysAddr(0x1_0000), 0xc5);
    f.cpu.state.cr3 = 0x1_0000;
    f.cpu.state.cr4 = Cr4::PSE.bits();
    with_eax(&mut f, 0x8000_0011, MOV_CR0_EAX).unwrap();
    let store: &[u8] = &[0xa3, 0, 0x60, 0, 0]; // mov [0x6000], eax
    f.exec(store).unwrap();
    let held: Vec<_> = f.cpu.state.tlb.iter().copied().collect();
    with_eax(&mut f, 0x8001_0011, MOV_CR0_EAX).unwrap();
    assert_eq!(f.exec(store).unwrap_err().code, 3);
    assert_eq!(f.cpu.state.tlb.iter().copied().collect::<Vec<_>>(), held);
    assert!(Cr0::from_bits_retain(f.cpu.state.cr0).contains(Cr0::WP));
}
