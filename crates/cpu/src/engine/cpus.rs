//! Several CPUs that share an engine and memory.

use iced_x86::code_asm::*;
use memory::PhysMem;
use x86::{Eflags, PhysAddr};

use crate::{
    Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, RunRequest, Switch, Watch, WatchKind, WatchSpace,
    testing::{CODE, Lab, TestBus, assemble},
};

/// A page with a function that the first CPU calls.
const FUNCTION: u32 = 0x5000;
const SECOND: u32 = 0x3000;

/// Two CPUs; the first runs `first`, the second `second`.
struct Two {
    cpus: [Cpu; 2],
    mem: PhysMem,
    bus: TestBus,
    engine: Engine,
}

impl Two {
    fn new(first: &[u8], second: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let Lab { cpu, mut mem, bus, engine } = Lab::new(first);
        let mut code = CodeAssembler::new(32).unwrap();
        second(&mut code).unwrap();
        mem.load(PhysAddr(SECOND.into()), &code.assemble(SECOND.into()).unwrap());
        let mut state = CpuState::multiboot(CpuModel::Max, SECOND, 0);
        state.set_gpr(Gpr::Esp, 0x7_0000);
        Two { cpus: [cpu, Cpu::new(state)], mem, bus, engine }
    }

    fn run(&mut self, cpu: usize, budget: u64) -> Exit {
        let request = RunRequest { budget, cpu, ..RunRequest::default() };
        self.engine.run(&mut self.cpus[cpu], &mut self.mem, &mut self.bus, request)
    }
}

/// Calls [`FUNCTION`] for ever.
fn caller() -> Vec<u8> {
    assemble(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.call(u64::from(FUNCTION))?;
        a.jmp(again)
    })
}

#[test]
fn a_frame_that_gains_code_on_one_cpu_is_looked_at_by_the_stores_of_another() {
    for eager in [false, true] {
        let mut two = Two::new(&caller(), |a| {
            a.mov(dword_ptr(FUNCTION + 0x800), 1)?; // the page is projected for stores
            a.mov(dword_ptr(FUNCTION + 0x800), 2)?;
            a.mov(dword_ptr(FUNCTION + 1), 9)?; // the function's immediate
            a.hlt()
        });
        two.engine = Engine::new(EngineConfig { eager, ..EngineConfig::default() });
        two.mem.load(PhysAddr(FUNCTION.into()), &[0xb8, 5, 0, 0, 0, 0xc3]); // mov eax, 5; ret
        assert_eq!(two.run(1, 2), Exit::Budget);
        assert_eq!(two.run(0, 40), Exit::Budget);
        assert_eq!(two.cpus[0].state.gpr(Gpr::Eax), 5);
        assert_eq!(two.run(1, 10), Exit::Halted);
        assert_eq!(two.run(0, 8), Exit::Budget);
        assert_eq!(two.cpus[0].state.gpr(Gpr::Eax), 9, "eager: {eager}");
    }
}

#[test]
fn breakpoints_and_watchpoints_hold_for_every_cpu() {
    let mut two = Two::new(&caller(), |a| {
        a.call(u64::from(FUNCTION))?;
        a.mov(dword_ptr(0x6000), eax)?;
        a.hlt()
    });
    two.mem.load(PhysAddr(FUNCTION.into()), &[0x40, 0xc3]);
    two.engine.add_breakpoint(x86::LinearAddr(FUNCTION));
    let breakpoint = Exit::Breakpoint { addr: x86::LinearAddr(FUNCTION) };
    assert_eq!((two.run(0, 100), two.run(1, 100)), (breakpoint, breakpoint));
    two.engine.remove_breakpoint(x86::LinearAddr(FUNCTION));
    two.engine.add_watch(Watch::new(WatchSpace::Linear, 0x6000, 4, WatchKind::Write).unwrap());
    assert!(matches!(two.run(1, 100), Exit::Watchpoint { .. }));
    assert_eq!(two.run(0, 10), Exit::Budget);
}

#[test]
fn a_linked_block_of_one_cpu_serves_the_other_where_its_tables_lead_to_the_same_frame_alone() {
    // Both run the same code at the same address; the page of the function differs.
    let mut two = Two::new(&caller(), |a| a.hlt());
    let (directory, table) = (0x9_0000, 0x9_2000);
    for cpu in 0..2 {
        let at = |base: u32| PhysAddr(u64::from(base + 0x1000 * cpu));
        two.mem.write_u32(at(directory), (table + 0x1000 * cpu) | 3);
        (0..256u32).for_each(|page| two.mem.write_u32(at(table).add(u64::from(page) * 4), page << 12 | 3));
        two.mem.write_u32(at(table).add(u64::from(FUNCTION >> 12) * 4), (0x6000 + 0x1000 * cpu) | 3);
        two.mem.load(PhysAddr(u64::from(0x6000 + 0x1000 * cpu)), &[0xb8, cpu as u8 + 1, 0, 0, 0, 0xc3]);
        let state = &mut two.cpus[cpu as usize].state;
        state.eip = CODE;
        state.cr3 = directory + 0x1000 * cpu;
        state.cr0 |= x86::Cr0::PG.bits();
    }
    for _ in 0..20 {
        for cpu in 0..2 {
            assert_eq!(two.run(cpu, 13), Exit::Budget);
            assert_eq!(two.cpus[cpu].state.gpr(Gpr::Eax), cpu as u32 + 1);
        }
    }
}

#[test]
fn an_exchange_that_finds_a_lock_taken_counts_as_a_pause_in_every_engine() {
    for config in [
        EngineConfig::default(),
        EngineConfig { eager: true, ..EngineConfig::default() },
        EngineConfig { eager: true, interpreted: true, ..EngineConfig::default() },
        EngineConfig { single_step: true, ..EngineConfig::default() },
    ] {
        let mut lab = Lab::assembled(|a| {
            let (mut again, mut spin) = (a.create_label(), a.create_label());
            a.set_label(&mut again)?;
            a.mov(eax, 1)?;
            a.set_label(&mut spin)?;
            a.xchg(dword_ptr(0x6000), eax)?;
            a.test(eax, eax)?;
            a.jne(spin)?;
            a.xchg(dword_ptr(0x6000), eax)?; // free again
            a.xchg(dword_ptr(0x6004), ebx)?; // 0 for 0
            a.mov(ecx, 5)?;
            a.mov(edx, 5)?;
            a.xchg(ecx, edx)?;
            a.jmp(again)
        });
        lab.engine = Engine::new(config);
        let request = RunRequest { budget: 90, pauses: 3, ..RunRequest::default() };
        let run = |lab: &mut Lab| lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request);
        assert_eq!((run(&mut lab), lab.cpu.pauses_left()), (Exit::Budget, 3), "nobody holds it");
        lab.cpu.state.eip = CODE;
        lab.mem.write_u32(PhysAddr(0x6000), 1);
        let before = lab.cpu.state.retired;
        assert_eq!((run(&mut lab), lab.cpu.pauses_left()), (Exit::Paused, 0));
        // MOV, twice XCHG, TEST and JNE, and the third XCHG.
        assert_eq!(lab.cpu.state.retired - before, 1 + 2 * 3 + 1);
    }
}

#[test]
fn a_switch_to_another_address_space_ends_the_run_once_interrupts_are_taken() {
    // By turns without and with interrupts, and with STI where a block goes on behind it.
    let program = |a: &mut CodeAssembler| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.add(eax, 0x1000)?;
        a.mov(cr3, eax)?; // ends the run
        a.mov(cr3, eax)?; // the same one
        a.cli()?;
        a.add(eax, 0x1000)?;
        a.mov(cr3, eax)?;
        a.inc(ecx)?;
        a.sti()?; // so does this
        a.inc(ecx)?;
        a.cli()?;
        a.sti()?;
        a.jmp(again)
    };
    for config in [
        EngineConfig::default(),
        EngineConfig { eager: true, ..EngineConfig::default() },
        EngineConfig { eager: true, interpreted: true, ..EngineConfig::default() },
        EngineConfig { single_step: true, ..EngineConfig::default() },
    ] {
        let mut lab = Lab::assembled(program);
        lab.engine = Engine::new(config.clone());
        lab.cpu.state.eflags |= Eflags::IF;
        let mut run = |budget, switch| {
            let request = RunRequest { budget, switch, ..RunRequest::default() };
            let exit = lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request);
            (exit, lab.cpu.has_switched(), lab.cpu.state.retired)
        };
        assert_eq!(run(100, Switch::Ends), (Exit::Switched, true, 2), "{config:?}");
        assert_eq!(run(100, Switch::Ends), (Exit::Switched, true, 8), "{config:?}");
        assert_eq!(run(100, Switch::Ends), (Exit::Switched, true, 14), "{config:?}");
        assert_eq!(run(5, Switch::Ends), (Exit::Budget, true, 19), "before STI");
        assert_eq!(run(100, Switch::Made), (Exit::Switched, true, 20), "as if it had run at once");
        assert_eq!(run(100, Switch::GoesOn), (Exit::Budget, false, 120));
    }
}

#[test]
fn pause_ends_the_run_at_the_last_one_that_is_allowed() {
    let mut lab = Lab::assembled(|a| {
        let mut again = a.create_label();
        a.set_label(&mut again)?;
        a.inc(eax)?;
        a.pause()?;
        a.jmp(again)
    });
    for (pauses, exit, retired, left) in
        [(3, Exit::Paused, 8, 0), (1, Exit::Paused, 11, 0), (1000, Exit::Budget, 111, 967)]
    {
        let request = RunRequest { budget: 100, pauses, ..RunRequest::default() };
        assert_eq!(lab.engine.run(&mut lab.cpu, &mut lab.mem, &mut lab.bus, request), exit);
        assert_eq!((lab.cpu.state.retired, lab.cpu.pauses_left()), (retired, left));
    }
}
