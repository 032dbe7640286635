//! How many millions of guest instructions a second the engine retires, on loops of SSE, x87 and
//! MMX instructions.
//!
//! `cargo run --release -p pagewalk-cpu --example float [-- NAME…]`

use std::{sync::LazyLock, time::Instant};

use iced_x86::{IcedError, code_asm::*};
use memory::{FrameKind, PhysMem};
use pagewalk_cpu::{Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, RunRequest};
use x86::PhysAddr;

/// Doubles lie here, at EDI.
const DATA: i32 = 0x2_0000;

/// What n-body does for a pair of bodies, by SSE2 doubles.
fn pairs_sse2(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.mov(edi, DATA)?;
    asm.set_label(&mut again)?;
    for axis in 0..3 {
        let (reg, square) = ([xmm0, xmm1, xmm2][axis], [xmm3, xmm4, xmm5][axis]);
        asm.movsd_2(reg, qword_ptr(edi + 8 * axis as i32))?;
        asm.subsd(reg, qword_ptr(edi + 64 + 8 * axis as i32))?;
        asm.movapd(square, reg)?;
        asm.mulsd(square, reg)?;
    }
    asm.addsd(xmm3, xmm4)?;
    asm.addsd(xmm3, xmm5)?;
    asm.sqrtsd(xmm4, xmm3)?;
    asm.mulsd(xmm3, xmm4)?;
    asm.movsd_2(xmm5, qword_ptr(edi + 128))?;
    asm.divsd(xmm5, xmm3)?;
    for (axis, reg) in [xmm0, xmm1, xmm2].into_iter().enumerate() {
        let at = 192 + 8 * axis as i32;
        asm.movapd(xmm6, reg)?;
        asm.mulsd(xmm6, xmm5)?;
        asm.movsd_2(xmm7, qword_ptr(edi + at))?;
        asm.subsd(xmm7, xmm6)?;
        asm.movsd_2(qword_ptr(edi + at), xmm7)?;
        asm.mulsd(reg, qword_ptr(edi + 136))?;
        asm.addsd(reg, qword_ptr(edi + at + 64))?;
        asm.movsd_2(qword_ptr(edi + at + 64), reg)?;
    }
    asm.dec(esi)?;
    asm.jne(again)?;
    asm.jmp(again)
}

/// The inner loop of a matrix product, by packed doubles.
fn matrix_sse2(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut outer = asm.create_label();
    let mut inner = asm.create_label();
    asm.mov(edi, DATA)?;
    asm.set_label(&mut outer)?;
    asm.movsd_2(xmm1, qword_ptr(edi))?;
    asm.unpcklpd(xmm1, xmm1)?;
    asm.xor(ecx, ecx)?;
    asm.set_label(&mut inner)?;
    asm.movapd(xmm0, xmmword_ptr(edi + ecx * 8 + 0x100))?;
    asm.mulpd(xmm0, xmm1)?;
    asm.addpd(xmm0, xmmword_ptr(edi + ecx * 8 + 0x1100))?;
    asm.movapd(xmmword_ptr(edi + ecx * 8 + 0x1100), xmm0)?;
    asm.add(ecx, 2)?;
    asm.cmp(ecx, 256)?;
    asm.jne(inner)?;
    asm.jmp(outer)
}

/// Conversions, comparisons and singles.
fn mixed_sse2(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut skip) = (asm.create_label(), asm.create_label());
    asm.mov(edi, DATA)?;
    asm.set_label(&mut again)?;
    asm.cvtsi2sd(xmm0, esi)?;
    asm.mulsd(xmm0, qword_ptr(edi + 8))?;
    asm.cvttsd2si(eax, xmm0)?;
    asm.add(ebx, eax)?;
    asm.comisd(xmm0, qword_ptr(edi + 16))?;
    asm.jbe(skip)?;
    asm.addsd(xmm1, xmm0)?;
    asm.set_label(&mut skip)?;
    asm.movss(xmm2, dword_ptr(edi + 24))?;
    asm.mulss(xmm2, xmm2)?;
    asm.cvtss2sd(xmm3, xmm2)?;
    asm.dec(esi)?;
    asm.jne(again)?;
    asm.jmp(again)
}

/// The same as `pairs_sse2` by the x87, as compilers do it.
fn pairs_x87(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = asm.create_label();
    asm.mov(edi, DATA)?;
    asm.set_label(&mut again)?;
    for axis in 0..3 {
        asm.fld(qword_ptr(edi + 8 * axis))?;
        asm.fsub(qword_ptr(edi + 64 + 8 * axis))?;
    }
    asm.fld(st2)?;
    asm.fmul_2(st0, st3)?;
    asm.fld(st2)?;
    asm.fmul_2(st0, st3)?;
    asm.faddp(st1, st0)?;
    asm.fld(st1)?;
    asm.fmul_2(st0, st2)?;
    asm.faddp(st1, st0)?;
    asm.fld(st0)?;
    asm.fsqrt()?;
    asm.fmulp(st1, st0)?;
    asm.fdivr(qword_ptr(edi + 128))?;
    for axis in 0..3 {
        let at = 192 + 8 * axis;
        asm.fxch(st0, st1)?;
        asm.fmul_2(st0, st1)?;
        asm.fsubr(qword_ptr(edi + at))?;
        asm.fstp(qword_ptr(edi + at))?;
        asm.fld(qword_ptr(edi + 136))?;
        asm.fmul(qword_ptr(edi + at))?;
        asm.fadd(qword_ptr(edi + at + 64))?;
        asm.fstp(qword_ptr(edi + at + 64))?;
    }
    asm.fstp(st0)?;
    asm.dec(esi)?;
    asm.jne(again)?;
    asm.jmp(again)
}

/// Comparisons and conversions to integers by the x87.
fn mixed_x87(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut again, mut skip) = (asm.create_label(), asm.create_label());
    asm.mov(edi, DATA)?;
    asm.fnstcw(word_ptr(edi + 512))?;
    asm.mov(word_ptr(edi + 514), 0xf7f)?;
    asm.set_label(&mut again)?;
    asm.mov(dword_ptr(edi + 520), esi)?;
    asm.fild(dword_ptr(edi + 520))?;
    asm.fmul(qword_ptr(edi + 8))?;
    asm.fld(st0)?;
    asm.fldcw(word_ptr(edi + 514))?;
    asm.fistp(dword_ptr(edi + 524))?;
    asm.fldcw(word_ptr(edi + 512))?;
    asm.fcomp(qword_ptr(edi + 16))?;
    asm.fnstsw(ax)?;
    asm.sahf()?;
    asm.jbe(skip)?;
    asm.inc(ebx)?;
    asm.set_label(&mut skip)?;
    asm.dec(esi)?;
    asm.jne(again)?;
    asm.jmp(again)
}

/// Copies as memcpy does, with some integer arithmetic on the way.
fn copy_sse2(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut outer, mut inner) = (asm.create_label(), asm.create_label());
    asm.mov(edi, DATA)?;
    asm.set_label(&mut outer)?;
    asm.xor(ecx, ecx)?;
    asm.pxor(xmm7, xmm7)?;
    asm.set_label(&mut inner)?;
    asm.movdqu(xmm0, xmmword_ptr(edi + ecx + 0x105))?;
    asm.movdqa(xmm1, xmmword_ptr(edi + ecx + 0x110))?;
    asm.paddd(xmm7, xmm0)?;
    asm.pshufd(xmm2, xmm1, 0x1b)?;
    asm.movdqa(xmmword_ptr(edi + ecx + 0x4000), xmm0)?;
    asm.movdqa(xmmword_ptr(edi + ecx + 0x4010), xmm2)?;
    asm.add(ecx, 32)?;
    asm.cmp(ecx, 2048)?;
    asm.jne(inner)?;
    asm.jmp(outer)
}

/// MMX arithmetic.
fn mmx(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut outer, mut inner) = (asm.create_label(), asm.create_label());
    asm.mov(edi, DATA)?;
    asm.set_label(&mut outer)?;
    asm.xor(ecx, ecx)?;
    asm.set_label(&mut inner)?;
    asm.movq(mm0, qword_ptr(edi + ecx + 0x100))?;
    asm.paddw(mm0, mm1)?;
    asm.pmullw(mm0, mm2)?;
    asm.psraw(mm0, 3)?;
    asm.movq(qword_ptr(edi + ecx + 0x4000), mm0)?;
    asm.add(ecx, 8)?;
    asm.cmp(ecx, 2048)?;
    asm.jne(inner)?;
    asm.jmp(outer)
}

type Write = fn(&mut CodeAssembler) -> Result<(), IcedError>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all: [(&str, Write); 7] = [
        ("pairs-sse2", pairs_sse2),
        ("matrix-sse2", matrix_sse2),
        ("mixed-sse2", mixed_sse2),
        ("pairs-x87", pairs_x87),
        ("mixed-x87", mixed_x87),
        ("copy-sse2", copy_sse2),
        ("mmx", mmx),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).collect();
    for (name, write) in all {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            measure(name, write, 40_000_000)?;
        }
    }
    Ok(())
}

fn measure(name: &str, write: Write, budget: u64) -> Result<(), Box<dyn std::error::Error>> {
    let mut asm = CodeAssembler::new(32)?;
    write(&mut asm)?;
    let mut mem = PhysMem::new()?;
    mem.map(PhysAddr(0), 4 << 20, FrameKind::Ram)?;
    mem.load(PhysAddr(0x1000), &asm.assemble(0x1000)?);
    for n in 0..0x400 {
        let value = (f64::from(n as u32) * 0.37 + 1.25) / 1000.0;
        mem.load(PhysAddr(DATA as u64 + 8 * n), &value.to_le_bytes());
    }
    let mut state = CpuState::multiboot(CpuModel::Max, 0x1000, 0);
    state.cr4 |= 0x600; // OSFXSR, OSXMMEXCPT
    state.set_gpr(Gpr::Esp, 0x8_0000);
    let mut cpu = Cpu::new(state);
    let mut engine = Engine::new(EngineConfig::default());
    let start = cpu_seconds();
    let exit = engine.run(
        &mut cpu,
        &mut mem,
        &mut (),
        RunRequest { budget, now: 0, pass_breakpoint: false, ..RunRequest::default() },
    );
    let seconds = cpu_seconds() - start;
    assert_eq!(exit, Exit::Budget, "{name} runs for ever");
    println!("{name:20} {:7.1} MIPS", budget as f64 / seconds / 1e6);
    Ok(())
}

/// Time that this process has had on a CPU; where the host does not tell, time that has passed.
fn cpu_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns / 1e9)
}
