//! What the engine's parts cost: `cargo bench -p pagewalk-cpu [-- NAME]`.
//!
//! Every case is a guest program that does one thing over and over, run for a number of
//! instructions, or one call of a function of the crate.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use iced_x86::{Decoder, DecoderOptions, Instruction, code_asm::*};
use memory::{FrameKind, PhysMem};
use pagewalk_cpu::{
    Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, RunRequest,
    mmu::{Paging, walk},
};
use x86::{Cr0, Cr4, Efer, LinearAddr, PhysAddr};

const RAM: u64 = 16 << 20;
const CODE: u32 = 0x1_0000;
const DIRECTORY: u32 = 0x1000;
const TABLES: u32 = 0x2000;
/// The linear address at which pages of data begin: one frame each.
const DATA: u32 = 0x40_0000;
/// How many of them.
const PAGES: u32 = 1024;
/// Instructions of one measured run of a loop.
const BUDGET: u64 = 100_000;

/// A machine without devices.
struct Bench {
    cpu: Cpu,
    mem: PhysMem,
    engine: Engine,
}

impl Bench {
    /// Code at [`CODE`] and, behind two-level paging that maps the first 8 MiB to itself, data.
    fn new(write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Bench {
        let mut asm = CodeAssembler::new(32).expect("an assembler");
        write(&mut asm).expect("encodable instructions");
        let mut mem = PhysMem::new().expect("address space");
        mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
        mem.load(PhysAddr(CODE.into()), &asm.assemble(CODE.into()).expect("labels in reach"));
        identity_map(&mut mem);
        let mut state = CpuState::multiboot(CpuModel::Max, CODE, 0);
        state.set_gpr(Gpr::Esp, 0x8_0000);
        let mut bench = Bench { cpu: Cpu::new(state), mem, engine: Engine::default() };
        bench.enable_paging();
        bench
    }

    /// Has the guest turn paging on, by code that is not measured.
    fn enable_paging(&mut self) {
        const BOOT: u32 = 0x8000;
        let mut asm = CodeAssembler::new(32).expect("an assembler");
        let boot = |asm: &mut CodeAssembler| {
            asm.mov(eax, DIRECTORY)?;
            asm.mov(cr3, eax)?;
            asm.mov(eax, cr0)?;
            asm.or(eax, 0x8000_0000_u32 as i32)?;
            asm.mov(cr0, eax)
        };
        boot(&mut asm).expect("encodable instructions");
        self.mem.load(PhysAddr(BOOT.into()), &asm.assemble(BOOT.into()).expect("no labels"));
        self.cpu.state.eip = BOOT;
        self.run(5);
        self.cpu.state.eip = CODE;
    }

    fn run(&mut self, budget: u64) {
        let request = RunRequest { budget, now: 0, pass_breakpoint: false, ..RunRequest::default() };
        let exit = self.engine.run(&mut self.cpu, &mut self.mem, &mut (), request);
        assert_eq!(exit, Exit::Budget, "at {:#x}", self.cpu.state.eip);
    }
}

/// Page tables for the first 8 MiB.
fn identity_map(mem: &mut PhysMem) {
    const PRESENT_WRITABLE: u32 = 3;
    for table in 0..2 {
        let at = TABLES + table * 0x1000;
        mem.write_u32(PhysAddr((DIRECTORY + table * 4).into()), at | PRESENT_WRITABLE);
        for page in 0..1024 {
            let frame = (table * 1024 + page) << 12;
            mem.write_u32(PhysAddr((at + page * 4).into()), frame | PRESENT_WRITABLE);
        }
    }
}

/// Ordinary instructions of many lengths, without jumps.
fn straight_line(asm: &mut CodeAssembler, count: u32) -> Result<(), IcedError> {
    for n in 0..count / 8 {
        asm.mov(eax, dword_ptr(DATA + n % 512 * 4))?;
        asm.add(eax, n as i32)?;
        asm.lea(edx, dword_ptr(eax + ecx * 4 + 8))?;
        asm.xor(edx, ebx)?;
        asm.rol(edx, 7)?;
        asm.mov(dword_ptr(DATA + 2048 + n % 512 * 4), edx)?;
        asm.movzx(ecx, dl)?;
        asm.inc(ebx)?;
    }
    Ok(())
}

fn decode(c: &mut Criterion) {
    const COUNT: u32 = 4096;
    let mut asm = CodeAssembler::new(32).expect("an assembler");
    straight_line(&mut asm, COUNT).expect("encodable instructions");
    let code = asm.assemble(CODE.into()).expect("no labels");
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(COUNT.into()));
    group.bench_function("instructions", |b| {
        b.iter(|| {
            let mut decoder = Decoder::with_ip(32, &code, CODE.into(), DecoderOptions::NONE);
            let mut insn = Instruction::default();
            while decoder.can_decode() {
                decoder.decode_out(&mut insn);
                black_box(&insn);
            }
        });
    });
    group.finish();
}

/// Code that is new and run once: as code is that runs for the first time, and with all the effort that
/// code gets that runs again.
fn block_build(c: &mut Criterion) {
    const COUNT: u32 = 4096;
    let mut group = c.benchmark_group("block");
    group.throughput(Throughput::Elements(COUNT.into()));
    for (name, eager) in [("run once", false), ("keep and run", true)] {
        let mut bench = Bench::new(|asm| straight_line(asm, COUNT));
        bench.engine = Engine::new(EngineConfig { eager, ..EngineConfig::default() });
        group.bench_function(BenchmarkId::new("build", name), |b| {
            b.iter(|| {
                bench.engine.invalidate();
                bench.cpu.state.eip = CODE;
                bench.run(COUNT.into());
            });
        });
    }
    group.finish();
}

/// Stores into a page that holds code, in other lines than the code, and into one that holds none.
fn store_beside_code(c: &mut Criterion) {
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(BUDGET * 32 / 33));
    for (name, place) in [("beside code", CODE + 0x800), ("elsewhere", DATA)] {
        let mut bench = Bench::new(|asm| {
            let mut again = asm.create_label();
            asm.set_label(&mut again)?;
            for n in 0..32 {
                asm.mov(dword_ptr(place + n * 4), eax)?;
            }
            asm.jmp(again)
        });
        group.bench_function(name, |b| b.iter(|| bench.run(BUDGET)));
    }
    group.finish();
}

/// Loads from one page, and loads that each need a walk: CR3 is loaded before every pass.
fn tlb(c: &mut Criterion) {
    let mut hit = Bench::new(|asm| {
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        for n in 0..64 {
            asm.mov(eax, dword_ptr(DATA + n * 4))?;
        }
        asm.jmp(again)
    });
    let mut miss = Bench::new(|asm| {
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        asm.mov(ecx, cr3)?;
        asm.mov(cr3, ecx)?;
        for page in 0..PAGES {
            asm.mov(eax, dword_ptr(DATA + (page << 12)))?;
        }
        asm.jmp(again)
    });
    let mut group = c.benchmark_group("tlb");
    for (name, bench, loads, others) in [("hit", &mut hit, 64_u64, 1), ("miss", &mut miss, u64::from(PAGES), 3)] {
        group.throughput(Throughput::Elements(BUDGET * loads / (loads + others)));
        group.bench_function(BenchmarkId::new("loads", name), |b| b.iter(|| bench.run(BUDGET)));
    }
    group.finish();
}

fn page_walk(c: &mut Criterion) {
    let mut mem = PhysMem::new().expect("address space");
    mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
    identity_map(&mut mem);
    let paging = Paging {
        cr0: Cr0::PE | Cr0::PG | Cr0::WP,
        cr3: DIRECTORY,
        cr4: Cr4::empty(),
        efer: Efer::empty(),
        pdpte: [0; 4],
        a20_mask: !0,
    };
    let mut group = c.benchmark_group("walk");
    group.throughput(Throughput::Elements(PAGES.into()));
    group.bench_function("two levels", |b| {
        b.iter(|| {
            for page in 0..PAGES {
                black_box(walk(&mem, paging, LinearAddr(DATA + (page << 12))));
            }
        });
    });
    group.finish();
}

/// Blocks of one instruction, so that going from one to the next is all there is.
fn dispatch(c: &mut Criterion) {
    const BLOCKS: u32 = 64;
    let mut chained = Bench::new(|asm| {
        let mut again = asm.create_label();
        asm.set_label(&mut again)?;
        for _ in 1..BLOCKS {
            let mut next = asm.create_label();
            asm.jmp(next)?;
            asm.set_label(&mut next)?;
        }
        asm.jmp(again)
    });
    let mut indirect = Bench::new(|asm| {
        /// MOV of an immediate and JMP to a register.
        const BLOCK_BYTES: u32 = 5 + 2;
        for next in 1..=BLOCKS {
            asm.mov(eax, CODE + next % BLOCKS * BLOCK_BYTES)?;
            asm.jmp(eax)?;
        }
        Ok(())
    });
    let mut returns = Bench::new(|asm| {
        let (mut again, mut leaf) = (asm.create_label(), asm.create_label());
        asm.set_label(&mut again)?;
        for _ in 0..BLOCKS {
            asm.call(leaf)?;
        }
        asm.jmp(again)?;
        asm.set_label(&mut leaf)?;
        asm.ret()
    });
    let mut group = c.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(BUDGET));
    for (name, bench) in [("chained jumps", &mut chained), ("indirect", &mut indirect), ("calls", &mut returns)] {
        group.bench_function(name, |b| b.iter(|| bench.run(BUDGET)));
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for bench in [decode, block_build, store_beside_code, tlb, page_walk, dispatch] {
        bench(&mut criterion);
    }
    criterion.final_summary();
}
