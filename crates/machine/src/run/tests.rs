//! Small guests, assembled here, that show how a machine runs and ends.

mod bios;
mod smp;

use std::collections::VecDeque;

use cpu::{Engine, EngineConfig, Watch, WatchKind, WatchSpace};
use iced_x86::code_asm::{
    CodeAssembler, al, ax, byte_ptr, cr0, dword_ptr, dx, eax, ebx, ecx, edi, esi, esp, ptr, st0, st1, word_ptr,
};
use x86::{LinearAddr, PhysAddr, Vector};

use super::*;
use crate::{Boot, Detached, Image, MachineConfig, ResetCause, SerialInput};

const LOAD: u32 = 0x20_0000;
const ENTRY: u32 = LOAD + 0x20;
const STACK: u32 = 0x8_0000;
const IDT: u32 = 0x8000;
/// A word that the guests count in.
const COUNTER: u32 = 0x7000;
const EXIT_PORT: u32 = 0xf4;

type Assembled = Result<(), iced_x86::IcedError>;

/// A Multiboot kernel of the code that `build` writes.
fn kernel(build: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Image {
    let mut code = CodeAssembler::new(32).unwrap();
    code.mov(esp, STACK).unwrap();
    build(&mut code).unwrap();
    let code = code.assemble(ENTRY.into()).unwrap();
    let flags = 1 << 16;
    let checksum = 0u32.wrapping_sub(0x1bad_b002 + flags);
    let mut bytes: Vec<u8> =
        [0x1bad_b002, flags, checksum, LOAD, LOAD, 0, 0, ENTRY].into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(code);
    Image { name: "guest".into(), bytes }
}

fn machine(build: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Machine {
    machine_with(MachineConfig::default(), build)
}

fn machine_with(config: MachineConfig, build: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Machine {
    let boot = Boot::Multiboot { kernel: kernel(build), command_line: String::new(), modules: Vec::new() };
    let config = MachineConfig { memory_bytes: 16 << 20, ..config };
    Machine::new(config, boot, EngineConfig::default()).unwrap()
}

/// Runs to the end, within a bound that no guest here comes near.
fn finish(machine: &mut Machine, host: &mut dyn Host) -> Stop {
    machine.run(RunLimit { retired: Some(10_000_000), pass_breakpoint: false }, host)
}

/// OUT of an immediate byte.
fn out(code: &mut CodeAssembler, port: u32, value: u32) -> Assembled {
    code.mov(dx, port)?;
    code.mov(al, value)?;
    code.out(dx, al)
}

/// Ends the machine with EAX.
fn exit_with_eax(code: &mut CodeAssembler) -> Assembled {
    code.mov(dx, EXIT_PORT)?;
    code.out(dx, eax)
}

/// Loads an IDT whose gate `vector` leads to the code that `handler` writes.
fn handle(code: &mut CodeAssembler, vector: u8, handler: impl FnOnce(&mut CodeAssembler) -> Assembled) -> Assembled {
    // The call leaves the handler's address on the stack.
    let mut behind = code.create_label();
    code.call(behind)?;
    handler(code)?;
    code.set_label(&mut behind)?;
    // A GDT of our own, as the specification promises none that can be loaded from.
    let memory = [(0x6000, 0), (0x6004, 0), (0x6008, 0x0000_ffff), (0x600c, 0x00cf_9b00)];
    let descriptors = [(0x6010, 0x6000_000f), (0x6014, 0), (0x6020, IDT << 16 | 0x7ff), (0x6024, IDT >> 16)];
    for (at, value) in memory.into_iter().chain(descriptors) {
        code.mov(dword_ptr(at), value)?;
    }
    code.lgdt(ptr(0x6010))?;
    code.lidt(ptr(0x6020))?;
    let entry = IDT + 8 * u32::from(vector);
    code.pop(eax)?;
    code.mov(dword_ptr(entry), eax)?;
    code.mov(dword_ptr(entry + 4), eax)?;
    code.mov(word_ptr(entry + 2), 0x0008)?;
    code.mov(word_ptr(entry + 4), 0x8e00)
}

/// Keeps what comes out and gives what was laid ready.
#[derive(Default)]
struct Script {
    output: Vec<(Outlet, Vec<u8>)>,
    /// Answers to demands, each with the port expected; then the input has ended.
    demanded: VecDeque<Vec<u8>>,
    /// Events that come while the machine is idle, at the latest after so many nanoseconds.
    idle: VecDeque<(u64, InputEvent)>,
    come: VecDeque<InputEvent>,
    idles: Vec<(u64, Option<u64>)>,
}

impl Script {
    fn text(&self, outlet: Outlet) -> String {
        let bytes = self.output.iter().filter(|(o, _)| *o == outlet).flat_map(|(_, bytes)| bytes.clone());
        String::from_utf8(bytes.collect()).unwrap()
    }
}

impl Host for Script {
    fn output(&mut self, outlet: Outlet, bytes: &[u8]) {
        self.output.push((outlet, bytes.to_vec()));
    }

    fn poll_input(&mut self) -> Option<InputEvent> {
        self.come.pop_front()
    }

    fn demand_input(&mut self, port: u8) -> Option<InputEvent> {
        Some(match self.demanded.pop_front() {
            Some(bytes) => InputEvent::Serial { port, bytes },
            None => InputEvent::SerialEnd { port },
        })
    }

    fn idle(&mut self, now_ns: u64, deadline_ns: Option<u64>) -> Option<u64> {
        self.idles.push((now_ns, deadline_ns));
        let Some((after_ns, event)) = self.idle.pop_front() else { return deadline_ns };
        self.come.push_back(event);
        Some(now_ns + after_ns)
    }
}

#[test]
fn a_write_to_the_debug_exit_port_ends_the_machine_with_its_status() {
    for (value, width, status) in [(0x1234_5678, 4, 0x1234_5678), (0x1234_5678, 2, 0x5678), (0x1234_5678, 1, 0x78)] {
        let mut machine = machine(|code| {
            code.mov(eax, value)?;
            code.mov(dx, EXIT_PORT)?;
            match width {
                1 => code.out(dx, al),
                2 => code.out(dx, ax),
                _ => code.out(dx, eax),
            }
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status });
        assert_eq!(machine.retired(), 4);
    }
}

#[test]
fn output_reaches_the_host_in_order_and_by_outlet() {
    let config = MachineConfig { post_port: Some(0x80), ..MachineConfig::default() };
    let mut machine = machine_with(config, |code| {
        for (port, byte) in [(0x3f8, b'h'), (0x3f8, b'i'), (0xe9, b'd'), (0x80, b'p'), (0x2f8, b'2'), (0x3f8, b'!')] {
            out(code, port, byte.into())?;
        }
        exit_with_eax(code)
    });
    let mut host = Script::default();
    finish(&mut machine, &mut host);
    let expected = [
        (Outlet::Serial(0), &b"hi"[..]),
        (Outlet::Debug, b"d"),
        (Outlet::Post, b"p"),
        (Outlet::Serial(1), b"2"),
        (Outlet::Serial(0), b"!"),
    ];
    assert_eq!(host.output, expected.map(|(outlet, bytes)| (outlet, bytes.to_vec())));
}

#[test]
fn ports_without_a_device_read_all_ones() {
    let mut machine = machine(|code| {
        code.mov(dx, 0x1234)?;
        code.in_(eax, dx)?;
        exit_with_eax(code)
    });
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: !0 });
}

#[test]
fn a_wide_access_reaches_each_port_for_itself() {
    let mut machine = machine(|code| {
        code.mov(ax, 0xbeefu32)?;
        code.mov(dx, 0x3ff)?; // the scratch register of COM1 and the empty port behind it
        code.out(dx, ax)?;
        code.xor(eax, eax)?;
        code.in_(ax, dx)?;
        exit_with_eax(code)
    });
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 0xffef });
}

#[test]
fn a_limit_is_reached_exactly_and_one_instruction_is_one_nanosecond() {
    let mut machine = machine(|code| {
        let mut top = code.create_label();
        code.set_label(&mut top)?;
        code.inc(eax)?;
        code.jmp(top)
    });
    for retired in [1, 2, 1000, 3_000_001] {
        let limit = RunLimit { retired: Some(retired), pass_breakpoint: false };
        assert_eq!(machine.run(limit, &mut Detached), Stop::Limit);
        assert_eq!((machine.retired(), machine.now_ns()), (retired, retired));
    }
    assert_eq!(machine.step(&mut Detached), Stop::Limit);
    assert_eq!(machine.retired(), 3_000_002);
}

#[test]
fn a_halt_with_interrupts_off_is_the_end() {
    let mut machine = machine(|code| code.hlt());
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff));
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::InterruptsOff), "and stays so");
    assert_eq!(machine.retired(), 2);
}

#[test]
fn a_halt_that_nothing_can_end_is_the_end() {
    let config = MachineConfig { serial: [Some(SerialInput::None); 4], ..MachineConfig::default() };
    let mut machine = machine_with(config, |code| {
        out(code, 0x21, 0xff)?;
        code.sti()?;
        code.hlt()
    });
    // The timer runs as firmware left it, but its line is masked now.
    assert!(machine.chipset().pit.deadline_ns().is_some());
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::NothingToCome));
}

/// Counts timer ticks at 1 kHz in HLT and ends with the count after ten.
fn ticking(code: &mut CodeAssembler) -> Assembled {
    let mut top = code.create_label();
    handle(code, 8, |code| {
        code.inc(dword_ptr(COUNTER))?;
        out(code, 0x20, 0x20)?;
        code.iretd()
    })?;
    for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04), (0x21, 0xfe)] {
        out(code, port, value)?;
    }
    code.sti()?;
    code.set_label(&mut top)?;
    code.hlt()?;
    code.cmp(dword_ptr(COUNTER), 10)?;
    code.jb(top)?;
    code.mov(eax, dword_ptr(COUNTER))?;
    exit_with_eax(code)
}

#[test]
fn the_timer_wakes_a_halted_machine_at_its_exact_times() {
    let mut machine = machine(ticking);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 10 });
    assert_eq!(machine.stats().interrupts_by_vector[8], 10);
    // Ten periods of 0x4a9 ticks of 1193182 Hz, give or take the instructions around them.
    let ten_periods_ns = 10 * 0x4a9 * 1_000_000_000 / 1_193_182;
    assert!((ten_periods_ns..ten_periods_ns + 2000).contains(&machine.now_ns()), "{}", machine.now_ns());
    assert!(machine.retired() < 200);
}

#[test]
fn an_x87_error_reaches_dos_software_as_interrupt_13() {
    for (native, vector) in [(false, 0x70 + 5), (true, 16)] {
        let mut machine = machine(|code| {
            handle(code, vector, |code| {
                code.inc(dword_ptr(COUNTER))?;
                out(code, 0xf0, 0)?;
                code.fnstsw(ax)?; // the exception is still pending, and ignored
                code.fnclex()?;
                out(code, 0xa0, 0x20)?;
                out(code, 0x20, 0x20)?;
                code.iretd()
            })?;
            out(code, 0x21, 0xfb)?;
            out(code, 0xa1, 0xdf)?;
            code.mov(eax, cr0)?;
            if native {
                code.or(eax, 0x20)?
            } else {
                code.and(eax, !0x20)?
            }
            code.mov(cr0, eax)?;
            code.mov(dword_ptr(0x6040), 0x037b)?; // division by zero is not masked
            code.fninit()?;
            code.fldcw(word_ptr(0x6040))?;
            code.sti()?;
            for _ in 0..2 {
                code.fld1()?;
                code.fldz()?;
                code.fdivp(st1, st0)?;
                code.wait()?;
            }
            code.mov(eax, dword_ptr(COUNTER))?;
            exit_with_eax(code)
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 2 }, "CR0.NE {native}");
    }
}

#[test]
fn where_a_run_is_interrupted_changes_nothing() {
    let mut whole = machine(ticking);
    finish(&mut whole, &mut Detached);
    for stride in [1, 7, 50] {
        let mut pieces = machine(ticking);
        loop {
            let limit = RunLimit { retired: Some(pieces.retired() + stride), pass_breakpoint: false };
            match pieces.run(limit, &mut Detached) {
                Stop::Limit => {}
                stop => break assert_eq!(stop, Stop::PowerOff { status: 10 }),
            }
        }
        assert_eq!((pieces.retired(), pieces.state_hash()), (whole.retired(), whole.state_hash()), "{stride}");
    }
}

#[test]
fn a_restored_machine_goes_on_as_the_saved_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm");
    let mut original = machine(ticking);
    original.run(RunLimit { retired: Some(90), pass_breakpoint: false }, &mut Detached);
    original.save(&path).unwrap();
    let mut restored = Machine::restore(&path, EngineConfig::default()).unwrap();
    assert_eq!(restored.state_hash(), original.state_hash());
    for machine in [&mut original, &mut restored] {
        assert_eq!(finish(machine, &mut Detached), Stop::PowerOff { status: 10 });
    }
    assert_eq!((restored.retired(), restored.state_hash()), (original.retired(), original.state_hash()));
}

#[test]
fn a_triple_fault_names_the_first_exception() {
    let mut machine = machine(|code| {
        code.mov(dword_ptr(0x6020), 0)?;
        code.mov(dword_ptr(0x6024), 0)?;
        code.lidt(ptr(0x6020))?;
        code.ud2()
    });
    let stop = finish(&mut machine, &mut Detached);
    let Stop::TripleFault { first } = stop else { panic!("{stop:?}") };
    assert_eq!(first.vector, Vector::INVALID_OPCODE);
    assert_eq!(stop.to_string(), "triple fault after #UD (error code 0x0)");
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Idle(IdleReason::Shutdown));
}

#[test]
fn a_reset_stops_with_its_cause_and_a_reboot_begins_anew() {
    for (port, value, cause) in [
        (0x64, 0xfe, ResetCause::KeyboardController),
        (0x92, 0x03, ResetCause::FastReset),
        (0xcf9, 0x06, ResetCause::ResetControl),
    ] {
        let mut machine = machine(|code| {
            let mut second = code.create_label();
            code.inc(dword_ptr(COUNTER))?;
            code.mov(eax, dword_ptr(COUNTER))?;
            code.cmp(eax, 2)?;
            code.je(second)?;
            out(code, port, value)?;
            code.hlt()?;
            code.set_label(&mut second)?;
            exit_with_eax(code)
        });
        assert_eq!(finish(&mut machine, &mut Detached), Stop::Reset { cause });
        let retired = machine.retired();
        machine.reboot().unwrap();
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 2 });
        assert!(machine.retired() > retired, "the count goes on");
    }
}

/// Echoes COM2 until carrier is lost, then ends with the number of bytes.
fn echo(code: &mut CodeAssembler) -> Assembled {
    let (mut top, mut receive, mut done) = (code.create_label(), code.create_label(), code.create_label());
    code.xor(esi, esi)?;
    out(code, 0x2fa, 0x01)?; // FIFOs
    out(code, 0x2fc, 0x03)?; // DTR, RTS
    code.set_label(&mut top)?;
    code.mov(dx, 0x2fd)?;
    code.in_(al, dx)?;
    code.test(al, 1)?;
    code.jne(receive)?;
    code.mov(dx, 0x2fe)?;
    code.in_(al, dx)?;
    code.test(al, 0x80)?;
    code.je(done)?;
    code.jmp(top)?;
    code.set_label(&mut receive)?;
    code.mov(dx, 0x2f8)?;
    code.in_(al, dx)?;
    code.out(dx, al)?;
    code.inc(esi)?;
    code.jmp(top)?;
    code.set_label(&mut done)?;
    code.mov(eax, esi)?;
    exit_with_eax(code)
}

#[test]
fn input_on_demand_is_read_when_rts_asks_and_ends_with_carrier() {
    let mut serial = MachineConfig::default().serial;
    serial[1] = Some(SerialInput::OnDemand);
    let run = |pieces: &[&[u8]]| {
        let mut machine = machine_with(MachineConfig { serial, ..MachineConfig::default() }, echo);
        let mut host = Script { demanded: pieces.iter().map(|piece| piece.to_vec()).collect(), ..Script::default() };
        let stop = finish(&mut machine, &mut host);
        (stop, host.text(Outlet::Serial(1)))
    };
    let text = "the quick brown fox jumps over the lazy dog";
    let expected = (Stop::PowerOff { status: text.len() as u32 }, text.to_owned());
    assert_eq!(run(&[text.as_bytes()]), expected);
    assert_eq!(run(&[&text.as_bytes()[..3], &text.as_bytes()[3..]]), expected);
    assert_eq!(run(&[]), (Stop::PowerOff { status: 0 }, String::new()));
}

#[test]
fn a_guest_that_raises_no_rts_is_given_input_when_it_waits_for_its_interrupt() {
    let run = |input, listens: u8| {
        let mut serial = MachineConfig::default().serial;
        serial[0] = Some(input);
        let mut machine = machine_with(MachineConfig { serial, ..MachineConfig::default() }, |code| {
            handle(code, 12, |code| {
                code.xor(eax, eax)?;
                code.mov(dx, 0x3f8)?;
                code.in_(al, dx)?;
                exit_with_eax(code)
            })?;
            for (port, value) in [(0x3f9, listens.into()), (0x3fc, 0x08), (0x21, 0xef)] {
                out(code, port, value)?;
            }
            code.sti()?;
            code.hlt()
        });
        let mut host = Script { demanded: vec![b"A".to_vec()].into(), ..Script::default() };
        (finish(&mut machine, &mut host), host.demanded.len())
    };
    assert_eq!(run(SerialInput::OnInterest, 1), (Stop::PowerOff { status: b'A'.into() }, 0));
    assert_eq!(run(SerialInput::OnInterest, 0).1, 1, "the port is silent");
    assert_eq!(run(SerialInput::OnDemand, 1).1, 1, "nobody asks");
}

#[test]
fn a_host_that_cannot_give_demanded_input_now_stops_the_run() {
    struct Interrupted;
    impl Host for Interrupted {
        fn output(&mut self, _: Outlet, _: &[u8]) {}
        fn demand_input(&mut self, _: u8) -> Option<InputEvent> {
            None
        }
    }
    let mut serial = MachineConfig::default().serial;
    serial[1] = Some(SerialInput::OnDemand);
    let mut machine = machine_with(MachineConfig { serial, ..MachineConfig::default() }, echo);
    assert_eq!(finish(&mut machine, &mut Interrupted), Stop::Interrupted);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 0 });
}

/// Rests until COM1 interrupts, then ends with the byte received.
fn wait_for_key(code: &mut CodeAssembler) -> Assembled {
    handle(code, 12, |code| {
        code.xor(eax, eax)?;
        code.mov(dx, 0x3f8)?;
        code.in_(al, dx)?;
        exit_with_eax(code)
    })?;
    for (port, value) in [(0x3f9, 0x01), (0x3fc, 0x0b), (0x21, 0xef)] {
        out(code, port, value)?;
    }
    code.sti()?;
    code.hlt()
}

#[test]
fn a_machine_that_waits_for_input_alone_asks_the_host_to_wait() {
    let mut waiting = machine(wait_for_key);
    let key = InputEvent::Serial { port: 0, bytes: vec![b'k'] };
    let mut host = Script { idle: [(5000, key)].into(), ..Script::default() };
    assert_eq!(finish(&mut waiting, &mut host), Stop::PowerOff { status: b'k'.into() });
    assert_eq!(host.idles.len(), 1);
    assert_eq!(host.idles[0].1, None, "there was no deadline");
    assert!(waiting.now_ns() >= host.idles[0].0 + 5000);
    assert_eq!(finish(&mut machine(wait_for_key), &mut Detached), Stop::Idle(IdleReason::NothingToCome));
}

#[test]
fn a_breakpoint_stops_before_its_instruction_and_can_be_passed() {
    let mut machine = machine(|code| {
        code.mov(ecx, 1)?;
        code.mov(ecx, 2)?;
        code.mov(eax, ecx)?;
        exit_with_eax(code)
    });
    let addr = LinearAddr(ENTRY + 10);
    machine.add_breakpoint(addr);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Breakpoint { addr });
    assert_eq!((machine.retired(), machine.cpu(0).gpr[1]), (2, 1));
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Breakpoint { addr }, "it is still there");
    let limit = RunLimit { retired: None, pass_breakpoint: true };
    assert_eq!(machine.run(limit, &mut Detached), Stop::PowerOff { status: 2 });
}

#[test]
fn a_watchpoint_stops_behind_the_instruction_that_touched_it() {
    let mut machine = machine(|code| {
        code.mov(edi, COUNTER)?;
        code.mov(byte_ptr(edi + 1), 5)?;
        code.hlt()
    });
    let watch = Watch::new(WatchSpace::Linear, COUNTER, 4, WatchKind::Write).unwrap();
    machine.add_watch(watch);
    let stop = finish(&mut machine, &mut Detached);
    assert_eq!(stop, Stop::Watchpoint { watch, addr: COUNTER + 1 });
    assert_eq!(machine.memory().read_u8(PhysAddr(u64::from(COUNTER) + 1)), 5);
    assert_eq!(machine.retired(), 3);
}

#[test]
fn looking_changes_nothing() {
    let mut looked_at = machine(ticking);
    let mut left_alone = machine(ticking);
    let mut done = false;
    while !done {
        let retired = looked_at.retired() + 13;
        for machine in [&mut looked_at, &mut left_alone] {
            let limit = RunLimit { retired: Some(retired), pass_breakpoint: false };
            done = machine.run(limit, &mut Detached) != Stop::Limit;
        }
        let before = looked_at.state_hash();
        let _ = (looked_at.port_resources(), looked_at.memory_resources(), looked_at.stats().interrupts());
        let _ = (looked_at.cpu(0).pc(), looked_at.memory().read_u32(PhysAddr(0)), looked_at.chipset().clone());
        assert_eq!(looked_at.state_hash(), before);
        assert_eq!(left_alone.state_hash(), before);
    }
}

#[test]
fn the_a20_gate_folds_odd_megabytes_onto_even_ones() {
    let mut machine = machine(|code| {
        let high = 0x10_0000 + COUNTER;
        code.mov(dword_ptr(high), 7)?;
        out(code, 0x92, 0)?;
        code.add(eax, dword_ptr(high))?; // the keyboard controller's gate is still open
        out(code, 0x64, 0xdd)?;
        code.mov(dword_ptr(COUNTER), 0x500)?;
        code.mov(eax, dword_ptr(high))?;
        out(code, 0x64, 0xdf)?;
        code.mov(ebx, dword_ptr(high))?;
        exit_with_eax(code)
    });
    finish(&mut machine, &mut Detached);
    assert_eq!(machine.cpu(0).gpr[3], 7, "open again");
    assert!(machine.chipset().a20());
}

#[test]
fn a_place_that_is_noted_stops_nothing_and_changes_nothing() {
    let guest = |code: &mut CodeAssembler| {
        let mut again = code.create_label();
        code.mov(ecx, 3)?;
        code.set_label(&mut again)?;
        code.inc(eax)?;
        code.dec(ecx)?;
        code.jne(again)?;
        exit_with_eax(code)
    };
    // Behind MOV ESP and MOV ECX.
    let again = LinearAddr(ENTRY + 10);
    let (mut plain, mut noted, mut stopped) = (machine(guest), machine(guest), machine(guest));
    let end = finish(&mut plain, &mut Detached);
    noted.note_place(again);
    assert_eq!(finish(&mut noted, &mut Detached), end);
    assert_eq!((noted.state_hash(), noted.retired()), (plain.state_hash(), plain.retired()));
    let passed = |machine: &Machine| {
        let facts = machine.timeline().events().map(|event| event.fact);
        let counts = facts.filter_map(|fact| match fact {
            crate::Fact::Passed { place, registers: [_, count, _] } => Some((place, count)),
            _ => None,
        });
        counts.collect::<Vec<_>>()
    };
    assert_eq!(passed(&noted), [3, 2, 1].map(|count| (again.0, count)));
    assert_eq!(passed(&plain), []);
    // A breakpoint there stops as ever, and each time is noted once; without it the place still is.
    stopped.note_place(again);
    stopped.add_breakpoint(again);
    assert_eq!(finish(&mut stopped, &mut Detached), Stop::Breakpoint { addr: again });
    assert_eq!(finish(&mut stopped, &mut Detached), Stop::Breakpoint { addr: again });
    stopped.remove_breakpoint(again);
    assert_eq!(finish(&mut stopped, &mut Detached), end);
    assert_eq!(passed(&stopped), passed(&noted));
}

/// Wants no stop, and counts what it was asked.
#[derive(Default)]
struct Never {
    breakpoints: u32,
    touches: u32,
    events: u32,
}

impl Judge for Never {
    fn stops(&mut self, machine: &Machine, stop: &Stop) -> bool {
        match stop {
            Stop::Breakpoint { .. } => self.breakpoints += 1,
            Stop::Watchpoint { watch, addr } => {
                let hit = machine.watch_hits()[0];
                assert_eq!((hit.watch, hit.addr), (*watch, *addr));
                self.touches += 1;
            }
            Stop::Caught(_) => self.events += 1,
            other => panic!("nobody asked for {other}"),
        }
        false
    }
}

#[test]
fn stops_that_nobody_wants_leave_no_trace() {
    let (mut plain, mut judged) = (machine(ticking), machine(ticking));
    let end = finish(&mut plain, &mut Detached);
    for space in [WatchSpace::Linear, WatchSpace::Physical] {
        judged.add_watch(Watch::new(space, 0, 1 << 32, WatchKind::Access).unwrap());
    }
    let mut vectors = cpu::Vectors::default();
    (0..=255).for_each(|vector| vectors.insert(vector));
    judged.set_catches(cpu::Catches { vectors, ports: vec![(0, 0xffff)], ..cpu::Catches::default() });
    judged.add_breakpoint(LinearAddr(ENTRY));
    (1..0x80).for_each(|offset| judged.add_breakpoint(LinearAddr(ENTRY + offset)));
    let mut never = Never::default();
    assert_eq!(judged.run_judged(RunLimit::default(), &mut Detached, &mut never), end);
    assert!(never.breakpoints > 30 && never.touches > 30 && never.events > 14);
    assert_eq!((judged.state_hash(), judged.retired()), (plain.state_hash(), plain.retired()));
}

#[test]
fn an_event_before_its_instruction_stops_once_and_is_then_passed() {
    let mut machine = machine(|code| {
        handle(code, 0x80, |code| code.iretd())?;
        code.mov(ecx, 2)?;
        let mut again = code.create_label();
        code.set_label(&mut again)?;
        code.int(0x80)?;
        code.dec(ecx)?;
        code.jne(again)?;
        code.mov(eax, 7)?;
        exit_with_eax(code)
    });
    let mut vectors = cpu::Vectors::default();
    vectors.insert(0x80);
    machine.set_catches(cpu::Catches { vectors, ..cpu::Catches::default() });
    let caught = Stop::Caught(Occurrence::SoftwareInterrupt { vector: 0x80 });
    assert_eq!(finish(&mut machine, &mut Detached), caught);
    let (eip, retired) = (machine.cpu(0).eip, machine.retired());
    // A step does the instruction.
    assert_eq!(machine.step(&mut Detached), Stop::Limit);
    assert_ne!(machine.cpu(0).eip, eip);
    assert_eq!(machine.retired(), retired + 1);
    assert_eq!(finish(&mut machine, &mut Detached), caught);
    assert_eq!(machine.cpu(0).eip, eip);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 7 });
}
