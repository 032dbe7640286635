//! How many millions of guest instructions a second the engine retires, on small loops.
//!
//! `cargo run --release -p pagewalk-cpu --example mips [-- NAME…]`

use std::{sync::LazyLock, time::Instant};

use iced_x86::{IcedError, code_asm::*};
use memory::{FrameKind, PhysMem};
use pagewalk_cpu::{Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, RunRequest};
use x86::PhysAddr;

/// Strikes out multiples in a table of bytes, again and again.
fn sieve(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut start, mut fill, mut outer, mut inner, mut next) =
        (asm.create_label(), asm.create_label(), asm.create_label(), asm.create_label(), asm.create_label());
    asm.set_label(&mut start)?;
    asm.xor(eax, eax)?;
    asm.set_label(&mut fill)?;
    asm.mov(byte_ptr(eax + 0x10_0000), 1)?;
    asm.inc(eax)?;
    asm.cmp(eax, 0x1_0000)?;
    asm.jne(fill)?;
    asm.mov(esi, 2)?;
    asm.set_label(&mut outer)?;
    asm.cmp(byte_ptr(esi + 0x10_0000), 0)?;
    asm.je(next)?;
    asm.mov(edi, esi)?;
    asm.imul_2(edi, esi)?;
    asm.set_label(&mut inner)?;
    asm.mov(byte_ptr(edi + 0x10_0000), 0)?;
    asm.add(edi, esi)?;
    asm.cmp(edi, 0x1_0000)?;
    asm.jb(inner)?;
    asm.set_label(&mut next)?;
    asm.inc(esi)?;
    asm.cmp(esi, 256)?;
    asm.jb(outer)?;
    asm.jmp(start)
}

/// Fibonacci by recursion: calls, returns and the stack.
fn calls(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut start, mut fib, mut small) = (asm.create_label(), asm.create_label(), asm.create_label());
    asm.set_label(&mut start)?;
    asm.push(20)?;
    asm.call(fib)?;
    asm.add(esp, 4)?;
    asm.jmp(start)?;
    asm.set_label(&mut fib)?;
    asm.push(esi)?;
    asm.push(ebx)?;
    asm.mov(ebx, dword_ptr(esp + 12))?;
    asm.mov(eax, ebx)?;
    asm.cmp(ebx, 1)?;
    asm.jbe(small)?;
    asm.lea(eax, dword_ptr(ebx - 1))?;
    asm.push(eax)?;
    asm.call(fib)?;
    asm.mov(esi, eax)?;
    asm.lea(eax, dword_ptr(ebx - 2))?;
    asm.mov(dword_ptr(esp), eax)?;
    asm.call(fib)?;
    asm.add(esp, 4)?;
    asm.add(eax, esi)?;
    asm.set_label(&mut small)?;
    asm.pop(ebx)?;
    asm.pop(esi)?;
    asm.ret()
}

/// What the rounds of a hash do: rotations and logic, with the state in memory.
fn rounds(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.mov(edi, 0x2_0000)?;
    asm.set_label(&mut again)?;
    for n in 0..8 {
        let a = 4 * (n & 3);
        asm.mov(eax, dword_ptr(edi + a))?;
        asm.mov(edx, eax)?;
        asm.ror(edx, 6)?;
        asm.mov(ecx, eax)?;
        asm.ror(ecx, 11)?;
        asm.xor(edx, ecx)?;
        asm.rol(ecx, 14)?;
        asm.xor(edx, ecx)?;
        asm.mov(ecx, dword_ptr(edi + 16))?;
        asm.and(ecx, eax)?;
        asm.add(edx, ecx)?;
        asm.add(edx, 0x428a_2f98)?;
        asm.add(edx, ebx)?;
        asm.mov(dword_ptr(edi + (a ^ 4)), edx)?;
    }
    asm.dec(esi)?;
    asm.jne(again)?;
    asm.jmp(again)
}

/// A bytecode interpreter: a table of targets, which is filled by calls that return nowhere.
fn bytecode(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    const CASES: usize = 8;
    let mut dispatch = asm.create_label();
    let mut enters: Vec<_> = (0..=CASES).map(|_| asm.create_label()).collect();
    for n in 0..64 {
        asm.mov(byte_ptr(0x2_1000 + n), (n * 5 + n / 7) & 7)?;
    }
    for n in 0..CASES {
        let mut note = asm.create_label();
        asm.set_label(&mut enters[n])?;
        asm.call(note)?;
        match n % 4 {
            0 => asm.add(ebx, edx)?,
            1 => asm.xor(edx, ecx)?,
            2 => asm.rol(ecx, 3)?,
            _ => asm.sub(ebx, ecx)?,
        }
        asm.jmp(dispatch)?;
        asm.set_label(&mut note)?;
        asm.pop(dword_ptr(0x2_0000 + 4 * n as i32))?;
        asm.jmp(enters[n + 1])?;
    }
    asm.set_label(&mut enters[CASES])?;
    asm.xor(esi, esi)?;
    asm.set_label(&mut dispatch)?;
    asm.movzx(eax, byte_ptr(esi + 0x2_1000))?;
    asm.inc(esi)?;
    asm.and(esi, 63)?;
    asm.jmp(dword_ptr(eax * 4 + 0x2_0000))
}

/// Sorts a table by insertion, after filling it anew: compares, loads and stores.
fn sort(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut labels: Vec<_> = (0..5).map(|_| asm.create_label()).collect();
    let [start, fill, outer, inner, place] = labels.as_mut_slice() else { unreachable!("five labels were made") };
    asm.set_label(start)?;
    asm.xor(ecx, ecx)?;
    asm.set_label(fill)?;
    asm.imul_3(ebx, ebx, 1_664_525)?;
    asm.add(ebx, 1_013_904_223)?;
    asm.mov(dword_ptr(ecx * 4 + 0x2_0000), ebx)?;
    asm.inc(ecx)?;
    asm.cmp(ecx, 500)?;
    asm.jne(*fill)?;
    asm.mov(esi, 1)?;
    asm.set_label(outer)?;
    asm.mov(eax, dword_ptr(esi * 4 + 0x2_0000))?;
    asm.mov(edi, esi)?;
    asm.set_label(inner)?;
    asm.mov(edx, dword_ptr(edi * 4 + 0x1_fffc))?;
    asm.cmp(edx, eax)?;
    asm.jbe(*place)?;
    asm.mov(dword_ptr(edi * 4 + 0x2_0000), edx)?;
    asm.dec(edi)?;
    asm.jne(*inner)?;
    asm.set_label(place)?;
    asm.mov(dword_ptr(edi * 4 + 0x2_0000), eax)?;
    asm.inc(esi)?;
    asm.cmp(esi, 500)?;
    asm.jne(*outer)?;
    asm.jmp(*start)
}

/// Copies 16 KiB by REP MOVSD, over and over; each iteration counts.
fn copy(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.set_label(&mut again)?;
    asm.mov(esi, 0x2_0000)?;
    asm.mov(edi, 0x3_0000)?;
    asm.mov(ecx, 4096)?;
    asm.rep().movsd()?;
    asm.jmp(again)
}

/// Patches a constant in a function and calls it, again and again.
fn patch(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut function) = (asm.create_label(), asm.create_label());
    asm.set_label(&mut again)?;
    asm.inc(ecx)?;
    asm.mov(dword_ptr(0x1041), ecx)?;
    asm.call(function)?;
    asm.jmp(again)?;
    while asm.instructions().len() < 54 {
        asm.nop()?;
    }
    asm.set_label(&mut function)?; // at 0x1040
    asm.mov(eax, 0x1234_5678)?;
    asm.add(ebx, eax)?;
    asm.ret()
}

/// Counts in memory beside the code, in the same page.
fn beside(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.set_label(&mut again)?;
    asm.inc(dword_ptr(0x1800))?;
    asm.mov(dword_ptr(0x1900), ecx)?;
    asm.inc(ecx)?;
    asm.jmp(again)
}

/// Moves 16 MiB by REP MOVSD, over and over.
fn large_copy(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.set_label(&mut again)?;
    asm.mov(esi, 16 << 20)?;
    asm.mov(edi, 32 << 20)?;
    asm.mov(ecx, 4 << 20)?;
    asm.rep().movsd()?;
    asm.jmp(again)
}

/// 1 MiB of code without a jump, as compilers write it, which ends in a loop.
fn once(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    asm.mov(esp, 0x8_0000)?;
    asm.mov(ebp, 0x4_0000)?;
    let mut random = 1u32;
    for n in 0..ONCE / 8 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let local = (random >> 20 & 0xfc) as i32;
        asm.mov(eax, dword_ptr(ebp + local))?;
        asm.add(eax, n)?;
        asm.lea(edx, dword_ptr(eax + ecx * 4 + local))?;
        asm.mov(dword_ptr(ebp - local), edx)?;
        asm.movzx(ecx, byte_ptr(ebp + local))?;
        asm.xor(ecx, eax)?;
        asm.shl(ecx, (local >> 2) & 15)?;
        asm.imul_2(esi, ecx)?;
    }
    let mut end = asm.create_label();
    asm.set_label(&mut end)?;
    asm.jmp(end)
}

/// Instructions of [`once`], about.
const ONCE: u32 = 320_000;

type Write = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Instructions of a loop.
const MANY: u64 = 400_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all: [(&str, Write, u64); 10] = [
        ("rounds", rounds, MANY),
        ("sort", sort, MANY),
        ("calls", calls, MANY),
        ("bytecode", bytecode, MANY),
        ("sieve", sieve, MANY),
        ("rep movsd", copy, MANY),
        ("rep movsd 16 MiB", large_copy, MANY),
        ("patch and call", patch, MANY / 40),
        ("data beside code", beside, MANY / 10),
        ("code run once", once, ONCE.into()),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    for (name, write, budget) in all {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            measure(name, write, EngineConfig::default(), budget)?;
        }
    }
    if wanted.is_empty() {
        measure(
            "sieve, single steps",
            sieve,
            EngineConfig { single_step: true, ..EngineConfig::default() },
            5_000_000,
        )?;
    }
    Ok(())
}

fn measure(name: &str, write: Write, config: EngineConfig, budget: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut asm = CodeAssembler::new(32)?;
    write(&mut asm)?;
    let mut mem = PhysMem::new()?;
    mem.map(PhysAddr(0), 64 << 20, FrameKind::Ram)?;
    // Where the data of the loops is not.
    let entry = if name.ends_with("once") { 1 << 20 } else { 0x1000 };
    mem.load(PhysAddr(entry.into()), &asm.assemble(entry.into())?);
    let mut state = CpuState::multiboot(CpuModel::Max, entry, 0);
    state.set_gpr(Gpr::Esp, 0x8_0000);
    let mut cpu = Cpu::new(state);
    let mut engine = Engine::new(config);
    let start = cpu_seconds();
    let exit = engine.run(
        &mut cpu,
        &mut mem,
        &mut (),
        RunRequest { budget, now: 0, pass_breakpoint: false, ..RunRequest::default() },
    );
    let seconds = cpu_seconds() - start;
    assert_eq!(exit, Exit::Budget, "{name} runs for ever");
    let stats = engine.stats();
    println!("{name:20} {:7.0} MIPS   {} lookups", budget as f64 / seconds / 1e6, stats.lookups);
    Ok(())
}

/// Time that this process has had on a CPU; where the host does not tell, time that has passed.
fn cpu_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns / 1e9)
}
