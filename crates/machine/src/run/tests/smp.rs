//! Several CPUs: how they start, take turns, interrupt each other and see each other's memory.

use cpu::Gpr;
use iced_x86::code_asm::{bl, cr0 as CR0, cr3 as CR3, ds, dword_ptr, eax, ebx, ecx, edx, es, esp, ptr, ss};

use super::*;

/// Where start-up IPIs send the other CPUs, and where these go on in protected mode.
const TRAMPOLINE: u32 = 0x9000;
const OTHERS: u32 = 0x21_0000;
/// Counts what the other CPUs did, together and each for itself.
const COUNTS: u32 = 0x7100;
const STARTED: u32 = 0x7080;

const LAPIC: u32 = 0xfee0_0000;
const ID: u32 = LAPIC + 0x20;
const TPR: u32 = LAPIC + 0x80;
const EOI: u32 = LAPIC + 0xb0;
const LDR: u32 = LAPIC + 0xd0;
const SVR: u32 = LAPIC + 0xf0;
const ICR: u32 = LAPIC + 0x300;
const ICR_HIGH: u32 = LAPIC + 0x310;
const LVT_TIMER: u32 = LAPIC + 0x320;
const INITIAL_COUNT: u32 = LAPIC + 0x380;
const DIVIDE: u32 = LAPIC + 0x3e0;

const VECTOR: u8 = 0x41;

/// From real mode at the page of the start-up IPI to protected mode at [`OTHERS`].
fn trampoline() -> Vec<u8> {
    let mut bytes = vec![0xfa]; // cli
    bytes.extend([0x8c, 0xc8, 0x8e, 0xd8]); // mov ax, cs; mov ds, ax
    bytes.extend([0x66, 0x0f, 0x01, 0x16, 0x40, 0x00]); // lgdt [0x40]
    bytes.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0]); // cr0 |= PE
    bytes.extend([0x66, 0xea]); // jmp 8:OTHERS
    bytes.extend(OTHERS.to_le_bytes());
    bytes.extend([0x08, 0x00]);
    bytes.resize(0x40, 0x90);
    bytes.extend(0x17u16.to_le_bytes());
    bytes.extend((TRAMPOLINE + 0x48).to_le_bytes());
    bytes.resize(0x48, 0);
    bytes.extend([0u64, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff].into_iter().flat_map(u64::to_le_bytes));
    bytes
}

/// A machine whose CPU 0 does `first`, starts the others and does `then`; each of them does `others`, with
/// its number in EBX, flat segments, a stack and the IDT of CPU 0.
fn machine_of(
    config: MachineConfig,
    first: impl FnOnce(&mut CodeAssembler) -> Assembled,
    then: impl FnOnce(&mut CodeAssembler) -> Assembled,
    others: impl FnOnce(&mut CodeAssembler) -> Assembled,
) -> Machine {
    let mut machine = machine_with(config, |code| {
        first(code)?;
        code.mov(dword_ptr(ICR), 0xc_4500)?; // INIT to all others, then two start-up IPIs
        code.mov(dword_ptr(ICR), 0xc_4600 | TRAMPOLINE >> 12)?;
        code.mov(dword_ptr(ICR), 0xc_4600 | TRAMPOLINE >> 12)?;
        then(code)
    });
    let mut code = CodeAssembler::new(32).unwrap();
    let prologue = |code: &mut CodeAssembler| {
        code.mov(eax, 0x10)?;
        code.mov(ds, eax)?;
        code.mov(es, eax)?;
        code.mov(ss, eax)?;
        code.mov(ebx, dword_ptr(ID))?;
        code.shr(ebx, 24)?;
        code.mov(esp, ebx)?;
        code.shl(esp, 12)?;
        code.add(esp, STACK as i32)?;
        code.lidt(ptr(0x6020))?;
        code.mov(dword_ptr(SVR), 0x1ff)?;
        code.lock().inc(dword_ptr(STARTED))
    };
    prologue(&mut code).unwrap();
    others(&mut code).unwrap();
    machine.change_memory(PhysAddr(OTHERS.into()), &code.assemble(OTHERS.into()).unwrap());
    machine.change_memory(PhysAddr(TRAMPOLINE.into()), &trampoline());
    machine
}

fn cpus(cpus: u8) -> MachineConfig {
    MachineConfig { cpus, ..MachineConfig::default() }
}

fn drawn(cpus: u8, seed: u64) -> MachineConfig {
    MachineConfig { schedule_seed: Some(seed), ..self::cpus(cpus) }
}

fn nothing(_: &mut CodeAssembler) -> Assembled {
    Ok(())
}

/// Spins until the doubleword at `addr` is `value`.
fn wait_for(code: &mut CodeAssembler, addr: u32, value: u32) -> Assembled {
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.pause()?;
    code.cmp(dword_ptr(addr), value as i32)?;
    code.jne(again)
}

/// Ends the machine with the doubleword at `addr`.
fn exit_with(code: &mut CodeAssembler, addr: u32) -> Assembled {
    code.mov(eax, dword_ptr(addr))?;
    exit_with_eax(code)
}

/// CLI, HLT.
fn rest_for_ever(code: &mut CodeAssembler) -> Assembled {
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.cli()?;
    code.hlt()?;
    code.jmp(again)
}

/// STI, HLT, again and again.
fn serve_interrupts(code: &mut CodeAssembler) -> Assembled {
    let mut again = code.create_label();
    code.set_label(&mut again)?;
    code.sti()?;
    code.hlt()?;
    code.jmp(again)
}

/// A handler that counts in [`COUNTER`], and for its CPU in [`COUNTS`].
fn count(code: &mut CodeAssembler) -> Assembled {
    code.push(eax)?;
    code.mov(eax, dword_ptr(ID))?;
    code.shr(eax, 24)?;
    code.lock().inc(dword_ptr(eax * 4 + COUNTS))?;
    code.pop(eax)?;
    code.lock().inc(dword_ptr(COUNTER))?;
    code.mov(dword_ptr(EOI), 0)?;
    code.iretd()
}

fn send(code: &mut CodeAssembler, destination: u32, command: u32) -> Assembled {
    code.mov(dword_ptr(ICR_HIGH), destination << 24)?;
    code.mov(dword_ptr(ICR), command)
}

fn word(machine: &Machine, addr: u32) -> u32 {
    machine.memory().read_u32(PhysAddr(addr.into()))
}

fn run_to(machine: &mut Machine, retired: u64) -> Stop {
    machine.run(RunLimit { retired: Some(retired), pass_breakpoint: false }, &mut Detached)
}

/// Two CPUs that count in turns without LOCK, so that what is lost depends on the schedule.
fn race(config: MachineConfig) -> Machine {
    let body = |code: &mut CodeAssembler| {
        let mut again = code.create_label();
        code.mov(ecx, 3000)?;
        code.set_label(&mut again)?;
        code.mov(eax, dword_ptr(COUNTER))?;
        code.inc(eax)?;
        code.mov(dword_ptr(COUNTER), eax)?;
        code.dec(ecx)?;
        code.jne(again)
    };
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, 1)?;
        body(code)?;
        wait_for(code, COUNTS, 1)?;
        exit_with(code, COUNTER)
    };
    machine_of(config, nothing, then, |code| {
        body(code)?;
        code.mov(dword_ptr(COUNTS), 1)?;
        rest_for_ever(code)
    })
}

#[test]
fn a_start_up_ipi_starts_the_others_in_real_mode_at_its_page() {
    let then = |code: &mut CodeAssembler| {
        wait_for(code, COUNTER, 7)?;
        exit_with(code, COUNTER)
    };
    let mut machine = machine_of(cpus(8), nothing, then, |code| {
        code.lock().inc(dword_ptr(COUNTER))?;
        rest_for_ever(code)
    });
    let waiting = |machine: &Machine, cpu| machine.cpu(cpu).activity == Activity::WaitForSipi;
    assert!((1..8).all(|cpu| waiting(&machine, cpu)) && !waiting(&machine, 0));
    assert_eq!(machine.step_cpu(5, RunLimit::default(), &mut Detached), Stop::Limit);
    let state = machine.cpu(5);
    assert_eq!((state.pc(), state.selector(x86::SegReg::Cs).0, state.protected()), (TRAMPOLINE + 1, 0x900, false));
    assert_eq!((state.gpr(Gpr::Edx), state.retired), (0x6f6, 1));
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 7 });
}

#[test]
fn cpuid_and_the_base_register_tell_which_cpu_it_is() {
    // Each leaves the initial APIC ID, the count and IA32_APIC_BASE.
    let look = |code: &mut CodeAssembler| {
        code.mov(eax, 1)?;
        code.cpuid()?;
        code.shr(ebx, 16)?;
        code.mov(esp, ebx)?;
        code.mov(ecx, 0x1b)?;
        code.rdmsr()?;
        rest_for_ever(code)
    };
    let mut machine = machine_of(cpus(3), nothing, look, look);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    let told: Vec<_> = (0..3).map(|cpu| (machine.cpu(cpu).gpr(Gpr::Esp), machine.cpu(cpu).gpr(Gpr::Eax))).collect();
    assert_eq!(told, [(0x003, 0xfee0_0900), (0x103, 0xfee0_0800), (0x203, 0xfee0_0800)]);
}

#[test]
fn additions_with_lock_are_never_lost_whatever_the_schedule() {
    let add = |code: &mut CodeAssembler| {
        let mut again = code.create_label();
        code.mov(ecx, 2000)?;
        code.set_label(&mut again)?;
        code.mov(eax, 1)?;
        code.lock().xadd(dword_ptr(COUNTER), eax)?;
        code.dec(ecx)?;
        code.jne(again)?;
        code.lock().inc(dword_ptr(COUNTS))
    };
    for config in [cpus(4), drawn(4, 1), drawn(4, 2), drawn(8, 3)] {
        let all = u32::from(config.cpus);
        let then = |code: &mut CodeAssembler| {
            add(code)?;
            wait_for(code, COUNTS, all)?;
            exit_with(code, COUNTER)
        };
        let mut machine = machine_of(config, nothing, then, |code| {
            add(code)?;
            rest_for_ever(code)
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 2000 * all });
    }
}

#[test]
fn a_race_ends_as_its_seed_says() {
    let end = |seed| {
        let mut machine = race(drawn(2, seed));
        let Stop::PowerOff { status } = finish(&mut machine, &mut Detached) else { panic!("seed {seed}") };
        assert!(status <= 6000, "{status}");
        (status, machine.state_hash(), machine.retired())
    };
    let ends: Vec<_> = (0..12).map(end).collect();
    assert_eq!(end(5), ends[5], "the same again");
    let mut counts: Vec<_> = ends.iter().map(|end| end.0).collect();
    counts.sort_unstable();
    counts.dedup();
    assert!(counts.len() > 3 && counts[0] < 6000, "{counts:?}");
}

#[test]
fn a_fixed_ipi_reaches_whom_it_names() {
    let first = |code: &mut CodeAssembler| handle(code, VECTOR, count);
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, 3)?;
        send(code, 2, 0x4000 | u32::from(VECTOR))?; // physical
        wait_for(code, COUNTER, 1)?;
        send(code, 0x0a, 0x4800 | u32::from(VECTOR))?; // logical: CPUs 1 and 3
        wait_for(code, COUNTER, 3)?;
        send(code, 0, 0xc_4000 | u32::from(VECTOR))?; // all others
        wait_for(code, COUNTER, 6)?;
        send(code, 0, 0x4_4000 | u32::from(VECTOR))?; // itself
        code.sti()?;
        code.nop()?;
        exit_with(code, COUNTER)
    };
    let others = |code: &mut CodeAssembler| {
        // Logical ID: a bit each.
        code.mov(ecx, ebx)?;
        code.mov(eax, 1 << 24)?;
        code.shl(eax, iced_x86::code_asm::cl)?;
        code.mov(dword_ptr(LDR), eax)?;
        serve_interrupts(code)
    };
    for config in [cpus(4), drawn(4, 9)] {
        let mut machine = machine_of(config, first, then, others);
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 7 });
        assert_eq!([0, 1, 2, 3].map(|cpu| word(&machine, COUNTS + 4 * cpu)), [1, 2, 2, 2]);
        assert_eq!(machine.stats().interrupts_by_cpu, [1, 2, 2, 2]);
    }
}

#[test]
fn what_a_cpu_sends_to_itself_interrupts_before_the_next_instruction() {
    let mut machine = machine_with(cpus(2), |code| {
        handle(code, VECTOR, |code| {
            code.mov(ebx, eax)?;
            code.iretd()
        })?;
        code.mov(dword_ptr(SVR), 0x1ff)?;
        code.mov(eax, 1)?;
        code.sti()?;
        code.nop()?;
        code.mov(dword_ptr(ICR), 0x4_4000 | u32::from(VECTOR))?;
        code.mov(eax, 2)?;
        rest_for_ever(code)
    });
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    assert_eq!(machine.cpu(0).gpr(Gpr::Ebx), 1);
}

#[test]
fn interrupts_of_lowest_priority_go_round_among_equals_and_spare_the_busy() {
    let first = |code: &mut CodeAssembler| handle(code, VECTOR, count);
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, 3)?;
        let mut again = code.create_label();
        code.mov(ecx, 0)?;
        code.set_label(&mut again)?;
        code.inc(ecx)?;
        send(code, 0x0e, 0x4900 | u32::from(VECTOR))?;
        let mut served = code.create_label();
        code.set_label(&mut served)?;
        code.pause()?;
        code.cmp(dword_ptr(COUNTER), ecx)?;
        code.jne(served)?;
        code.cmp(ecx, 30)?;
        code.jne(again)?;
        exit_with(code, COUNTER)
    };
    let others = |code: &mut CodeAssembler| {
        code.mov(ecx, ebx)?;
        code.mov(eax, 1 << 24)?;
        code.shl(eax, iced_x86::code_asm::cl)?;
        code.mov(dword_ptr(LDR), eax)?;
        // CPU 3 has better things to do.
        let mut equal = code.create_label();
        code.cmp(bl, 3)?;
        code.jne(equal)?;
        code.mov(dword_ptr(TPR), 0x20)?;
        code.set_label(&mut equal)?;
        code.nop()?; // the loop has a label of its own
        serve_interrupts(code)
    };
    let mut machine = machine_of(cpus(4), first, then, others);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 30 });
    assert_eq!([1, 2, 3].map(|cpu| word(&machine, COUNTS + 4 * cpu)), [15, 15, 0]);
}

#[test]
fn an_nmi_wakes_a_cpu_that_takes_no_interrupts() {
    let first = |code: &mut CodeAssembler| {
        handle(code, 2, |code| {
            code.lock().inc(dword_ptr(COUNTER))?;
            code.iretd()
        })
    };
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, 1)?;
        for count in 1..4 {
            send(code, 1, 0x4400)?;
            wait_for(code, COUNTER, count)?;
        }
        exit_with(code, COUNTER)
    };
    let mut machine = machine_of(cpus(2), first, then, rest_for_ever);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 3 });
    assert_eq!(machine.stats().interrupts(), 0);
}

#[test]
fn each_cpu_has_a_timer_of_its_own() {
    let first = |code: &mut CodeAssembler| handle(code, VECTOR, count);
    let start = |code: &mut CodeAssembler, mode: u32, count: u32| {
        code.mov(dword_ptr(DIVIDE), 0xb)?;
        code.mov(dword_ptr(LVT_TIMER), mode | u32::from(VECTOR))?;
        code.mov(dword_ptr(INITIAL_COUNT), count)
    };
    // One shot on CPU 0, a period on CPU 1, so that its second count is the sixth interrupt of all.
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, 1)?;
        start(code, 0, 100_000)?;
        code.sti()?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.hlt()?;
        code.jmp(again)
    };
    let others = |code: &mut CodeAssembler| {
        start(code, 0x2_0000, 50_000)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.sti()?;
        code.hlt()?;
        code.cmp(dword_ptr(COUNTS + 4), 10)?;
        code.jne(again)?;
        exit_with(code, COUNTER)
    };
    let mut machine = machine_of(cpus(2), first, then, others);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 11 });
    assert_eq!([0, 1].map(|cpu| word(&machine, COUNTS + 4 * cpu)), [1, 10]);
    assert!((500_000..510_000).contains(&machine.now_ns()), "{}", machine.now_ns());
    assert!(machine.retired() < 10_000, "time was skipped while both rested");
}

#[test]
fn cpus_that_wait_for_each_other_in_loops_go_on() {
    // They hand a number to and fro, with PAUSE and without.
    for pauses in [true, false] {
        let spin = |code: &mut CodeAssembler, odd: u32| {
            let mut again = code.create_label();
            code.mov(ecx, 50)?;
            code.set_label(&mut again)?;
            if pauses {
                code.pause()?;
            }
            code.mov(eax, dword_ptr(COUNTER))?;
            code.and(eax, 1)?;
            code.cmp(eax, odd as i32)?;
            code.jne(again)?;
            code.inc(dword_ptr(COUNTER))?;
            code.dec(ecx)?;
            code.jne(again)
        };
        let then = |code: &mut CodeAssembler| {
            spin(code, 0)?;
            wait_for(code, COUNTER, 100)?;
            exit_with(code, COUNTER)
        };
        let mut machine = machine_of(cpus(2), nothing, then, |code| {
            spin(code, 1)?;
            rest_for_ever(code)
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 100 });
        // Who waits by PAUSE gives the rest of its turn away.
        assert_eq!(machine.retired() < 40_000, pauses, "{}", machine.retired());
    }
}

#[test]
fn a_turn_ends_where_the_cpu_switches_to_another_address_space() {
    let turns = |config: MachineConfig, switches: bool| {
        let then = |code: &mut CodeAssembler| {
            wait_for(code, STARTED, 1)?;
            let mut again = code.create_label();
            code.mov(ecx, 100)?;
            code.set_label(&mut again)?;
            code.mov(eax, if switches { ecx } else { edx })?;
            code.mov(CR3, eax)?;
            code.mov(CR3, eax)?; // no other one
            code.sti()?;
            code.nop()?;
            code.cli()?;
            code.dec(ecx)?;
            code.jne(again)?;
            exit_with(code, COUNTER)
        };
        let mut machine = machine_of(config, nothing, then, |code| {
            let mut again = code.create_label();
            code.set_label(&mut again)?;
            code.jmp(again)
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 0 });
        machine.stats().turns_by_cpu.clone()
    };
    let (few, many) = (turns(cpus(2), false), turns(cpus(2), true));
    assert_eq!([0, 1].map(|cpu| many[cpu] - few[cpu]), [100; 2]);
    // A race is found by turns that end anywhere.
    assert_eq!(turns(drawn(2, 1), true), turns(drawn(2, 1), false));
}

#[test]
fn a_machine_whose_cpus_all_halt_for_ever_ends() {
    let mut machine = machine_of(cpus(4), nothing, rest_for_ever, rest_for_ever);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    assert_eq!(word(&machine, STARTED), 3, "but not before what was on its way has arrived");
}

#[test]
fn init_sends_a_running_cpu_back_to_wait_and_empties_its_tlb() {
    let then = |code: &mut CodeAssembler| {
        wait_for(code, COUNTER, 1)?;
        send(code, 1, 0x4500)?;
        rest_for_ever(code)
    };
    let mut machine = machine_of(cpus(2), nothing, then, |code| {
        code.mov(eax, DIRECTORY)?;
        code.mov(CR3, eax)?;
        code.mov(eax, CR0)?;
        code.or(eax, 0x8000_0000u32 as i32)?;
        code.mov(CR0, eax)?;
        code.mov(dword_ptr(COUNTER), 1)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.jmp(again)
    });
    identity(&mut machine);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    let state = machine.cpu(1);
    assert_eq!((state.activity, state.cr0, state.cr3), (Activity::WaitForSipi, 0x6000_0010, 0));
    assert_eq!((state.tlb.iter().len(), state.tlb.counts().fills > 0), (0, true));
}

/// Page tables that map the first 4 MiB and the APICs to themselves; [`WINDOW`] to [`FRAME`].
const DIRECTORY: u32 = 0x30_0000;
const TABLE: u32 = 0x30_1000;
const DEVICES: u32 = 0x30_2000;
const WINDOW: u32 = 0x3f_0000;
const FRAME: u32 = 0x3e_0000;

fn identity(machine: &mut Machine) {
    let mut poke = |addr: u32, value: u32| machine.change_memory(PhysAddr(addr.into()), &value.to_le_bytes());
    poke(DIRECTORY, TABLE | 3);
    poke(DIRECTORY + 4 * (LAPIC >> 22), DEVICES | 3);
    (0..1024).for_each(|page| poke(TABLE + 4 * page, page << 12 | 3));
    poke(DEVICES + 4 * (LAPIC >> 12 & 0x3ff), LAPIC | 0x13);
    poke(TABLE + 4 * (WINDOW >> 12), FRAME | 3);
}

#[test]
fn a_cpu_uses_a_translation_that_another_one_has_changed_until_it_flushes_its_own() {
    let enter = |code: &mut CodeAssembler| {
        code.mov(eax, DIRECTORY)?;
        code.mov(CR3, eax)?;
        code.mov(eax, CR0)?;
        code.or(eax, 0x8000_0000u32 as i32)?;
        code.mov(CR0, eax)?;
        code.mov(edx, dword_ptr(WINDOW)) // held from now on
    };
    let then = |code: &mut CodeAssembler| {
        enter(code)?;
        wait_for(code, COUNTER, 1)?;
        code.mov(dword_ptr(TABLE + 4 * (WINDOW >> 12)), (FRAME + 0x1000) | 3)?;
        code.invlpg(ptr(WINDOW))?;
        code.mov(eax, dword_ptr(WINDOW))?;
        code.mov(dword_ptr(COUNTS), eax)?;
        code.mov(dword_ptr(COUNTER), 2)?;
        wait_for(code, COUNTER, 3)?;
        rest_for_ever(code)
    };
    let others = |code: &mut CodeAssembler| {
        enter(code)?;
        code.mov(dword_ptr(COUNTER), 1)?;
        wait_for(code, COUNTER, 2)?;
        code.mov(eax, dword_ptr(WINDOW))?;
        code.mov(dword_ptr(COUNTS + 4), eax)?;
        code.invlpg(ptr(WINDOW))?;
        code.mov(eax, dword_ptr(WINDOW))?;
        code.mov(dword_ptr(COUNTS + 8), eax)?;
        code.mov(dword_ptr(COUNTER), 3)?;
        rest_for_ever(code)
    };
    for config in [cpus(2), drawn(2, 1), drawn(2, 77)] {
        let mut machine = machine_of(config, nothing, then, others);
        identity(&mut machine);
        machine.change_memory(PhysAddr(FRAME.into()), b"old.");
        machine.change_memory(PhysAddr((FRAME + 0x1000).into()), b"new.");
        assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
        let seen = [0, 4, 8].map(|at| word(&machine, COUNTS + at).to_le_bytes());
        assert_eq!(seen, [*b"new.", *b"old.", *b"new."]);
    }
}

/// CPU 1 calls a function again and again; CPU 0 changes what it returns.
fn patched(config: MachineConfig, engine: EngineConfig) -> Machine {
    const FUNCTION: u32 = 0x22_0000;
    let then = |code: &mut CodeAssembler| {
        wait_for(code, COUNTS, 1)?;
        for value in 2..20 {
            code.mov(dword_ptr(FUNCTION + 1), value)?;
            wait_for(code, COUNTS, value)?;
        }
        rest_for_ever(code)
    };
    let mut machine = machine_of(config, nothing, then, |code| {
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.call(u64::from(FUNCTION))?;
        code.mov(dword_ptr(COUNTS), eax)?;
        code.lock().inc(dword_ptr(COUNTER))?;
        code.cmp(eax, 19)?;
        code.jne(again)?;
        rest_for_ever(code)
    });
    // mov eax, 1; ret
    machine.change_memory(PhysAddr(FUNCTION.into()), &[0xb8, 1, 0, 0, 0, 0xc3]);
    machine.engine = Engine::new(engine);
    machine
}

#[test]
fn code_that_another_cpu_overwrites_is_executed_anew() {
    for config in [cpus(2), drawn(2, 4), drawn(3, 5)] {
        let mut machine = patched(config, EngineConfig::default());
        assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
        assert_eq!(word(&machine, COUNTS), 19);
        assert!(word(&machine, COUNTER) >= 19);
    }
}

/// The race, with a timer on CPU 0, which goes from one address space to the next, and interrupts to CPU 1 while both
/// count.
fn storm(config: MachineConfig) -> Machine {
    let first = |code: &mut CodeAssembler| handle(code, VECTOR, count);
    let then = |code: &mut CodeAssembler| {
        wait_for(code, STARTED, u32::from(config.cpus) - 1)?;
        code.mov(dword_ptr(DIVIDE), 0xb)?;
        code.mov(dword_ptr(LVT_TIMER), 0x2_0000 | u32::from(VECTOR))?;
        code.mov(dword_ptr(INITIAL_COUNT), 777)?;
        code.sti()?;
        let mut again = code.create_label();
        code.mov(ecx, 40)?;
        code.set_label(&mut again)?;
        send(code, 1, 0x4000 | u32::from(VECTOR))?;
        code.pause()?;
        code.cli()?;
        code.mov(CR3, ecx)?;
        code.inc(dword_ptr(COUNTER))?;
        code.sti()?;
        code.dec(ecx)?;
        code.jne(again)?;
        code.cli()?;
        exit_with(code, COUNTER)
    };
    let cpus = config.clone();
    machine_of(cpus, first, then, |code| {
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.sti()?;
        code.inc(dword_ptr(COUNTER))?;
        code.cmp(bl, 2)?;
        code.jne(again)?;
        code.hlt()?;
        code.jmp(again)
    })
}

#[test]
fn a_run_in_pieces_by_blocks_and_by_single_steps_comes_to_the_same_end() {
    for config in [cpus(3), drawn(3, 11), drawn(3, 12)] {
        let mut whole = storm(config.clone());
        let end = finish(&mut whole, &mut Detached);
        assert!(matches!(end, Stop::PowerOff { .. }), "{end:?}");
        let hash = whole.state_hash();
        for (engine, stride) in [
            (EngineConfig::default(), 1),
            (EngineConfig::default(), 7),
            (EngineConfig::default(), 1009),
            (EngineConfig { single_step: true, ..EngineConfig::default() }, 10_000),
            (EngineConfig { uncached: true, ..EngineConfig::default() }, 333),
            (EngineConfig { eager: true, ..EngineConfig::default() }, 50),
        ] {
            let mut pieces = storm(config.clone());
            pieces.engine = Engine::new(engine);
            let stop = loop {
                let next = pieces.retired() + stride;
                match run_to(&mut pieces, next) {
                    Stop::Limit => assert_eq!(pieces.retired(), next),
                    stop => break stop,
                }
            };
            assert_eq!((stop, pieces.retired(), pieces.state_hash()), (end, whole.retired(), hash), "by {stride}");
        }
    }
}

#[test]
fn a_machine_saved_in_the_middle_of_a_turn_or_with_a_message_on_its_way_comes_to_the_same_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm");
    for config in [cpus(2), drawn(2, 3)] {
        let mut whole = storm(config.clone());
        let end = finish(&mut whole, &mut Detached);
        let (retired, hash) = (whole.retired(), whole.state_hash());
        let mut machine = storm(config.clone());
        let mut busy = 0;
        for next in (53..retired).step_by(53) {
            assert_eq!(run_to(&mut machine, next), Stop::Limit);
            let travels = machine.chipset.apics.is_busy() && busy < 5;
            if !travels && !next.is_multiple_of(53 * 500) {
                continue;
            }
            busy += u32::from(travels);
            machine.save(&path).unwrap();
            let mut restored = Machine::restore(&path, EngineConfig::default()).unwrap();
            assert_eq!(restored.state_hash(), machine.state_hash());
            let mut copy = machine.duplicate().unwrap();
            for machine in [&mut restored, &mut copy] {
                assert_eq!((finish(machine, &mut Detached), machine.state_hash()), (end, hash));
            }
        }
        assert!(busy > 0, "no message was on its way");
    }
}

#[test]
fn a_breakpoint_stops_every_cpu_and_ends_no_turn() {
    let config = drawn(3, 21);
    let mut whole = storm(config.clone());
    let end = finish(&mut whole, &mut Detached);
    let mut looked = storm(config);
    // The other CPUs' loop begins behind their prologue.
    let stops = [OTHERS, OTHERS + 5];
    stops.iter().for_each(|&addr| looked.add_breakpoint(LinearAddr(addr)));
    let mut met = [0; 3];
    let stop = loop {
        match looked.run(RunLimit { retired: None, pass_breakpoint: true }, &mut Detached) {
            Stop::Breakpoint { addr } => {
                let cpu = looked.current_cpu();
                assert_eq!(looked.cpu(cpu).pc(), addr.0);
                met[cpu] += 1;
            }
            stop => break stop,
        }
    };
    assert_eq!(met, [0, 2, 2]);
    assert_eq!((stop, looked.state_hash()), (end, whole.state_hash()));
}

#[test]
fn a_triple_fault_of_any_cpu_stops_the_machine_and_says_whose_it_was() {
    let then = |code: &mut CodeAssembler| {
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.jmp(again)
    };
    let first = |code: &mut CodeAssembler| handle(code, 0x80, |code| code.iretd());
    let mut machine = machine_of(cpus(2), first, then, |code| code.ud2());
    let stop = finish(&mut machine, &mut Detached);
    assert!(matches!(stop, Stop::TripleFault { .. }), "{stop:?}");
    assert_eq!(machine.current_cpu(), 1);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::Shutdown));
    machine.reboot().unwrap();
    assert_eq!([0, 1].map(|cpu| machine.cpu(cpu).activity), [Activity::Running, Activity::WaitForSipi]);
}

#[test]
fn a_single_cpu_has_its_apics_and_loses_no_turn_by_pause() {
    let mut machine = machine(|code| {
        let mut again = code.create_label();
        code.mov(ecx, 10_000)?;
        code.set_label(&mut again)?;
        code.pause()?;
        code.dec(ecx)?;
        code.jne(again)?;
        code.mov(dword_ptr(0xfec0_0000u32), 1)?;
        code.mov(eax, dword_ptr(0xfec0_0010u32))?;
        code.mov(ebx, dword_ptr(LAPIC + 0x30))?;
        rest_for_ever(code)
    });
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    let state = machine.cpu(0);
    assert_eq!((state.gpr(Gpr::Eax), state.gpr(Gpr::Ebx) & 0xff), (0x0017_0011, 0x14));
    assert!(machine.stats().entries < 10, "{}", machine.stats().entries);
}

#[test]
fn a_local_apic_can_be_moved_and_switched_off() {
    let mut machine = machine(|code| {
        code.mov(ecx, 0x1b)?;
        code.mov(eax, 0xfed4_0000u32 | 0x800)?;
        code.xor(edx, edx)?;
        code.wrmsr()?;
        code.mov(ebx, dword_ptr(0xfed4_0030u32))?;
        code.mov(esp, dword_ptr(LAPIC + 0x30))?;
        code.mov(eax, 0xfed4_0000u32)?;
        code.wrmsr()?;
        code.mov(edx, dword_ptr(0xfed4_0030u32))?;
        rest_for_ever(code)
    });
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    let [there, before, off] = [Gpr::Ebx, Gpr::Esp, Gpr::Edx].map(|reg| machine.cpu(0).gpr(reg));
    assert_eq!((there & 0xff, before, off), (0x14, !0, !0));
}
