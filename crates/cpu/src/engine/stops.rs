//! What a debugger waits for: watched memory and events.

use iced_x86::code_asm::*;
use x86::{Descriptor, PhysAddr, Vector};

use crate::{
    Catches, Exit, Gpr, IoSize, Occurrence, RunRequest, Vectors, Watch, WatchHit, WatchKind, WatchSpace,
    testing::{CODE, Lab},
};

/// Where [`paged`] has its directory, its first table, and the frame that two pages lead to.
const DIRECTORY: u32 = 0x9_0000;
const TABLE: u32 = 0x9_1000;
const FRAME: u32 = 0x9_8000;
/// Two pages that lead to [`FRAME`].
const PAGE: u32 = 0x40_0000;
const ALIAS: u32 = 0x40_1000;
const IDT: u32 = 0x9_4000;

/// With paging: the first 4 MiB lead to themselves, [`PAGE`] and [`ALIAS`] to the same frame. Interrupts go to
/// `HLT` at 0x7000.
fn paged(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Lab {
    let mut lab = Lab::assembled(write);
    let mut entry = |at: u32, value: u32| lab.mem.write_u32(PhysAddr(at.into()), value);
    entry(DIRECTORY, TABLE | 3);
    entry(DIRECTORY + 4, (TABLE + 0x1000) | 3);
    (0..256).for_each(|page| entry(TABLE + page * 4, page << 12 | 3));
    entry(TABLE + 0x1000, FRAME | 3);
    entry(TABLE + 0x1004, FRAME | 3);
    for vector in 0..256 {
        let gate = Descriptor::gate(lab.cpu.state.selector(x86::SegReg::Cs).0, 0x7000, 0x8e).0;
        lab.mem.write(PhysAddr(u64::from(IDT + vector * 8)), &gate.to_le_bytes());
    }
    // The code segment must be found in a table for an interrupt to enter it.
    for (index, descriptor) in [(1u64, 0x00cf_9b00_0000_ffff_u64), (2, 0x00cf_9300_0000_ffff)] {
        lab.mem.write(PhysAddr(0x9_5000 + index * 8), &descriptor.to_le_bytes());
    }
    lab.mem.write(PhysAddr(0x7000), &[0xf4]);
    let state = &mut lab.cpu.state;
    state.idtr = crate::TableRegister { base: IDT, limit: 0x7ff };
    state.gdtr = crate::TableRegister { base: 0x9_5000, limit: 0xff };
    state.cr3 = DIRECTORY;
    state.cr0 |= (x86::Cr0::PG | x86::Cr0::WP).bits();
    lab
}

fn watch(space: WatchSpace, first: u32, len: u64, kind: WatchKind) -> Watch {
    Watch::new(space, first, len, kind).unwrap()
}

fn hits(lab: &Lab) -> Vec<WatchHit> {
    lab.engine.watch_hits().to_vec()
}

fn values(hit: &WatchHit) -> (Vec<u8>, Vec<u8>) {
    (hit.before.map(|bytes| bytes.get().to_vec()).unwrap_or_default(), hit.after.get().to_vec())
}

/// Goes on after an event.
fn pass(lab: &mut Lab, budget: u64) -> Exit {
    let request = RunRequest { budget, now: lab.cpu.state.retired, pass_event: true, ..RunRequest::default() };
    lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request)
}

fn catching(vectors: &[u8]) -> Catches {
    let mut set = Vectors::default();
    vectors.iter().for_each(|&vector| set.insert(vector));
    Catches { vectors: set, ..Catches::default() }
}

#[test]
fn a_watched_frame_tells_of_stores_by_every_alias_with_the_values_before_and_after() {
    let mut lab = paged(|asm| {
        asm.mov(dword_ptr(PAGE), 1)?;
        asm.mov(dword_ptr(ALIAS), 2)?;
        asm.mov(eax, dword_ptr(ALIAS))?;
        asm.mov(byte_ptr(PAGE + 2), 9)?;
        asm.hlt()
    });
    // Both pages are projected before anybody watches.
    lab.retire(2);
    lab.cpu.state.eip = CODE;
    let watched = watch(WatchSpace::Physical, FRAME + 2, 6, WatchKind::Write);
    lab.engine.add_watch(watched);
    let wanted = [
        (PAGE + 2, 2, vec![0, 0], vec![0, 0]),
        (ALIAS + 2, 2, vec![0, 0], vec![0, 0]),
        (PAGE + 2, 1, vec![0], vec![9]),
    ];
    for (linear, len, before, after) in wanted {
        assert_eq!(lab.run(100), Exit::Watchpoint { watch: watched, addr: FRAME + 2 });
        let [hit] = hits(&lab)[..] else { panic!("one hit: {:?}", hits(&lab)) };
        assert_eq!((hit.linear.map(|addr| addr.0), hit.len, hit.write), (Some(linear), len, true));
        assert_eq!(values(&hit), (before, after));
    }
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn watching_changes_nothing_in_the_machine() {
    let code = |asm: &mut CodeAssembler| {
        asm.mov(edi, PAGE + 0xff0)?;
        asm.mov(ecx, 10)?;
        asm.rep().stosd()?;
        asm.mov(esi, PAGE)?;
        asm.mov(edi, ALIAS + 4)?;
        asm.mov(ecx, 30)?;
        asm.rep().movsd()?;
        asm.push(eax)?;
        asm.hlt()
    };
    let (mut plain, mut watched) = (paged(code), paged(code));
    assert_eq!(plain.run(1000), Exit::Halted);
    for (space, first) in [(WatchSpace::Physical, FRAME + 0x20), (WatchSpace::Linear, ALIAS + 8)] {
        watched.engine.add_watch(watch(space, first, 8, WatchKind::Access));
    }
    let mut stops = 0;
    while watched.run(1000) != Exit::Halted {
        stops += 1;
    }
    assert!(stops > 4, "{stops}");
    assert_eq!(format!("{:?}", watched.cpu.state), format!("{:?}", plain.cpu.state));
    assert_eq!(watched.mem.hash(), plain.mem.hash());
}

#[test]
fn a_repeated_store_stops_after_the_iteration_that_touches_the_watched_bytes() {
    let mut lab = paged(|asm| {
        asm.mov(edi, PAGE)?;
        asm.mov(ecx, 100)?;
        asm.mov(eax, 0x1234_5678)?;
        asm.rep().stosd()?;
        asm.hlt()
    });
    let watched = watch(WatchSpace::Linear, PAGE + 40, 4, WatchKind::Write);
    lab.engine.add_watch(watched);
    assert_eq!(lab.run(1000), Exit::Watchpoint { watch: watched, addr: PAGE + 40 });
    assert_eq!((lab.gpr(Gpr::Ecx), lab.gpr(Gpr::Edi)), (89, PAGE + 44));
    assert_eq!(lab.run(1000), Exit::Halted);
    assert_eq!(lab.read_u32(FRAME + 99 * 4), 0x1234_5678);
}

#[test]
fn the_page_walker_is_seen_setting_accessed_and_dirty() {
    let mut lab = paged(|asm| {
        asm.mov(eax, dword_ptr(PAGE))?;
        asm.mov(dword_ptr(PAGE), eax)?;
        asm.hlt()
    });
    let entry = TABLE + 0x1000;
    let watched = watch(WatchSpace::Physical, entry, 4, WatchKind::Write);
    lab.engine.add_watch(watched);
    for (before, after) in [(FRAME | 3, FRAME | 0x23), (FRAME | 0x23, FRAME | 0x63)] {
        assert_eq!(lab.run(100), Exit::Watchpoint { watch: watched, addr: entry });
        let [hit] = hits(&lab)[..] else { panic!("one hit") };
        assert_eq!((hit.linear, hit.phys), (None, PhysAddr(entry.into())));
        assert_eq!(values(&hit), (before.to_le_bytes().to_vec(), after.to_le_bytes().to_vec()));
    }
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn loads_are_told_with_what_they_read_and_fetches_are_no_loads() {
    let mut lab = paged(|asm| {
        asm.mov(eax, dword_ptr(CODE))?;
        asm.hlt()
    });
    let watched = watch(WatchSpace::Linear, CODE, 0x100, WatchKind::Read);
    lab.engine.add_watch(watched);
    assert_eq!(lab.run(100), Exit::Watchpoint { watch: watched, addr: CODE });
    let [hit] = hits(&lab)[..] else { panic!("one hit") };
    assert_eq!((hit.write, hit.pc.0, values(&hit).1), (false, CODE, lab.gpr(Gpr::Eax).to_le_bytes().to_vec()));
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn an_interrupt_instruction_is_caught_before_it_begins_and_passed_then() {
    let mut lab = paged(|asm| {
        asm.inc(ebx)?;
        asm.int(0x80)?;
        asm.inc(ebx)
    });
    lab.engine.set_catches(catching(&[0x80]));
    let caught = Exit::Caught(Occurrence::SoftwareInterrupt { vector: 0x80 });
    assert_eq!(lab.run(100), caught);
    assert_eq!((lab.cpu.state.eip, lab.cpu.state.retired, lab.gpr(Gpr::Ebx)), (CODE + 1, 1, 1));
    assert_eq!(lab.run(100), caught, "unless it is told to pass");
    assert_eq!(pass(&mut lab, 100), Exit::Halted);
    assert_eq!(lab.cpu.state.eip, 0x7001);
}

#[test]
fn a_fault_is_caught_before_its_delivery_and_happens_then_as_without_a_debugger() {
    let code = |asm: &mut CodeAssembler| {
        asm.mov(eax, 5)?;
        asm.mov(dword_ptr(PAGE + 0x3000), eax)?;
        asm.nop()
    };
    let (mut plain, mut lab) = (paged(code), paged(code));
    assert_eq!(plain.run(100), Exit::Halted);
    lab.engine.set_catches(catching(&[14]));
    let Exit::Caught(Occurrence::Exception(fault)) = lab.run(100) else { panic!("a fault") };
    assert_eq!((fault.vector, fault.addr, fault.code), (Vector::PAGE_FAULT, PAGE + 0x3000, 2));
    assert_eq!((lab.cpu.state.eip, lab.cpu.state.cr2, lab.cpu.state.retired), (CODE + 5, 0, 1));
    assert_eq!(pass(&mut lab, 100), Exit::Halted);
    assert_eq!(format!("{:?}", lab.cpu.state), format!("{:?}", plain.cpu.state));
    assert_eq!(lab.mem.hash(), plain.mem.hash());
}

#[test]
fn an_external_interrupt_is_told_at_its_handler() {
    let mut lab = paged(|asm| {
        asm.sti()?;
        asm.nop()?;
        asm.nop()?;
        asm.nop()
    });
    lab.bus.intr = Some(0x31);
    lab.engine.set_catches(catching(&[0x31]));
    assert_eq!(lab.run(100), Exit::Caught(Occurrence::Delivered { vector: Vector(0x31) }));
    assert_eq!(lab.cpu.state.eip, 0x7000);
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn ports_and_loads_of_cr3_are_told_after_their_instruction() {
    let mut lab = paged(|asm| {
        asm.mov(eax, 0x1234)?;
        asm.out(0x60, al)?;
        asm.out(0x70, al)?;
        asm.mov(eax, cr3)?;
        asm.mov(cr3, eax)?;
        asm.mov(edi, PAGE)?;
        asm.mov(ecx, 3)?;
        asm.mov(edx, 0x60)?;
        asm.rep().insd()?;
        asm.hlt()
    });
    lab.bus.at_once = 9;
    lab.engine.set_catches(Catches { ports: vec![(0x60, 0x61)], cr3: true, ..Catches::default() });
    let port = |output, size, value| Exit::Caught(Occurrence::Port { port: 0x60, size, output, value });
    assert_eq!(lab.run(100), port(true, IoSize::Byte, 0x34));
    assert_eq!(lab.bus.out.len(), 1);
    assert_eq!(lab.run(100), Exit::Caught(Occurrence::LoadedCr3 { before: DIRECTORY, after: DIRECTORY }));
    for left in [2, 1, 0] {
        assert_eq!(lab.run(100), port(false, IoSize::Dword, 0x60));
        assert_eq!(lab.gpr(Gpr::Ecx), left);
    }
    assert_eq!(lab.run(100), Exit::Halted);
}

#[test]
fn a_return_to_ring_3_is_told_at_its_first_instruction() {
    let mut lab = paged(|asm| {
        asm.push(0x23)?;
        asm.push(0x7_0000)?;
        asm.push(2)?;
        asm.push(0x1b)?;
        asm.push(0x6000)?;
        asm.iretd()
    });
    for (index, descriptor) in [(3u64, 0x00cf_fb00_0000_ffff_u64), (4, 0x00cf_f300_0000_ffff)] {
        lab.mem.write(PhysAddr(0x9_5000 + index * 8), &descriptor.to_le_bytes());
    }
    lab.engine.set_catches(Catches { user: true, ..Catches::default() });
    assert_eq!(lab.run(100), Exit::Caught(Occurrence::EnteredUser));
    assert_eq!((lab.cpu.state.eip, lab.cpu.state.cpl, lab.cpu.state.retired), (0x6000, 3, 6));
}

#[test]
fn an_exchange_that_ends_a_turn_tells_of_what_it_touched() {
    let mut lab = paged(|asm| {
        asm.mov(eax, 1)?;
        asm.mov(dword_ptr(PAGE), eax)?;
        asm.xchg(dword_ptr(PAGE), eax)?;
        asm.hlt()
    });
    lab.retire(2);
    let watched = watch(WatchSpace::Physical, FRAME, 4, WatchKind::Write);
    lab.engine.add_watch(watched);
    let request = RunRequest { budget: 10, pauses: 1, ..RunRequest::default() };
    let exit = lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request);
    assert_eq!((exit, lab.cpu.pauses_left()), (Exit::Watchpoint { watch: watched, addr: FRAME }, 0));
}
