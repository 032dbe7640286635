//! Bytes as code, in every mode.

use cpu::{
    Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, IoEffect, IoRead, IoSize, RunRequest, SegmentRegister,
    TableRegister,
    mmu::{Tlb, TlbGeometry},
};
use memory::{FrameKind, PhysMem};
use x86::{Descriptor, Eflags, PhysAddr, tss};

use crate::Random;

/// How the processor is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Real mode.
    Real,
    /// 16-bit segments in protected mode, ring 0.
    Protected16,
    /// Flat 32-bit segments, ring 0.
    Kernel,
    /// Flat 32-bit segments, ring 3.
    User,
    /// Virtual-8086 mode.
    V86,
}

/// All modes.
pub const MODES: [Mode; 5] = [Mode::Real, Mode::Protected16, Mode::Kernel, Mode::User, Mode::V86];

const RAM: u64 = 1 << 20;
const GDT: u32 = 0x2000;
const IDT: u32 = 0x3000;
const TSS: u32 = 0x4000;
const DIRECTORY: u32 = 0x5000;
const TABLE: u32 = 0x6000;
const POINTERS: u32 = 0x7000;
const CODE: u32 = 0x1_0000;
const CODE_BYTES: u32 = 0x2_0000;
/// Flat and small segments of both levels, two TSSs, an LDT, a call gate and a task gate.
const DESCRIPTORS: [u64; 16] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x0000_8b00_4000_0067,
    0x0000_8900_4100_0067,
    0x0000_9b01_0000_ffff,
    0x0000_9301_0000_ffff,
    0x0000_fb01_0000_ffff,
    0x0000_f301_0000_ffff,
    0x00cf_9f00_0000_ffff,
    0x0040_9700_0000_0fff,
    0x0000_8200_7000_00ff,
    0x0001_ec00_0008_1234,
    0x0000_e500_0030_0000,
];

/// Ports and devices that answer with their address; some want attention, some interrupt.
struct Echo {
    calls: u32,
}

impl Echo {
    /// Counts a call, and tells when the interrupt line changes with it.
    fn count(&mut self) -> IoEffect {
        let before = self.intr();
        self.calls += 1;
        if self.intr() != before || self.calls.is_multiple_of(16) { IoEffect::Recompute } else { IoEffect::None }
    }
}

impl Bus for Echo {
    fn port_in(&mut self, _: u64, port: u16, _: IoSize) -> IoRead {
        let effect = if port.is_multiple_of(8) { IoEffect::Recompute } else { IoEffect::None };
        IoRead { value: port.into(), effect }
    }
    fn port_out(&mut self, _: u64, _: u16, _: IoSize, _: u32) -> IoEffect {
        self.count()
    }
    fn mmio_read(&mut self, _: u64, addr: PhysAddr, _: IoSize) -> IoRead {
        IoRead { value: addr.0 as u32, effect: IoEffect::None }
    }
    fn mmio_write(&mut self, _: u64, _: PhysAddr, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn intr(&self) -> bool {
        self.calls % 64 == 63
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        self.calls += 1;
        self.calls as u8
    }
}

/// The ways to run: as always; with all effort for what runs once, too; by the slow functions alone.
pub fn ways() -> [EngineConfig; 3] {
    let ordinary = EngineConfig::default();
    [ordinary.clone(), EngineConfig { eager: true, ..ordinary.clone() }, EngineConfig { single_step: true, ..ordinary }]
}

/// Memory and an engine that see one world after another.
pub struct Worlds {
    mem: PhysMem,
    engine: Engine,
}

impl Worlds {
    /// With an engine of this configuration.
    ///
    /// # Panics
    /// When the host has no 4 GiB of address space.
    pub fn new(config: EngineConfig) -> Worlds {
        let mut mem = PhysMem::new().expect("4 GiB of address space");
        mem.map(PhysAddr(0), RAM, FrameKind::Ram).expect("whole frames");
        Worlds { mem, engine: Engine::new(config) }
    }

    /// Runs `code` in a world drawn from `seed` until it has retired `instructions` or the processor has shut
    /// down or halted for ever; how many it retired.
    ///
    /// # Panics
    /// When the engine breaks what it promises: retires more than its budget, or stops short of it for no reason.
    pub fn run(&mut self, mode: Mode, seed: u64, code: &[u8], instructions: u64) -> u64 {
        self.end(mode, seed, code, instructions).state.retired
    }

    /// Runs as [`Worlds::run`] does; what is left, in words that can be compared.
    ///
    /// # Panics
    /// As [`Worlds::run`].
    pub fn outcome(&mut self, mode: Mode, seed: u64, code: &[u8], instructions: u64) -> String {
        let cpu = self.end(mode, seed, code, instructions);
        let tlb = (cpu.state.tlb.tlb_hash(), cpu.state.tlb.counts());
        let state = CpuState { tlb: Tlb::default(), ..cpu.state };
        format!("{state:#x?}\n{tlb:x?}\nmemory {:x}", self.mem.hash())
    }

    fn end(&mut self, mode: Mode, seed: u64, code: &[u8], instructions: u64) -> Cpu {
        let random = &mut Random::new(seed);
        let mut cpu = Cpu::new(self.begin(mode, random, code));
        let mut bus = Echo { calls: 0 };
        let mut attentions = 0;
        while cpu.state.retired < instructions {
            let now = cpu.state.retired;
            let budget = (instructions - now).min(1 + u64::from(random.below(4000)));
            let request = RunRequest { budget, now, pass_breakpoint: true, ..RunRequest::default() };
            let exit = self.engine.run(&mut cpu, &mut self.mem, &mut bus, request);
            let retired = cpu.state.retired - now;
            assert!(retired <= budget, "{mode:?}, seed {seed}: {retired} retired of {budget}");
            match exit {
                Exit::Budget => assert_eq!(retired, budget, "{mode:?}, seed {seed}"),
                Exit::Bus => attentions += 1,
                Exit::Halted if random.one_in(2) => cpu.state.nmi_pending = true,
                _ => break,
            }
            if retired == 0 {
                attentions += 1;
            }
            assert!(attentions <= 2 * instructions, "{mode:?}, seed {seed}: it comes to no end");
        }
        cpu
    }

    fn begin(&mut self, mode: Mode, random: &mut Random, code: &[u8]) -> CpuState {
        // Nothing of the world before, so that whatever happens happens again.
        self.mem.write(PhysAddr(0), &[0; RAM as usize]);
        let place = |start: usize| &code[start % code.len().max(1)..];
        let mut page = Vec::with_capacity(CODE_BYTES as usize);
        while !code.is_empty() && page.len() < CODE_BYTES as usize {
            page.extend_from_slice(place(page.len()));
        }
        page.resize(CODE_BYTES as usize, 0);
        self.mem.write(PhysAddr(CODE.into()), &page);
        self.write_descriptors(random);
        self.write_tasks(random);
        let pae = random.one_in(3);
        self.write_tables(pae, random);
        self.engine.invalidate();

        let mut state = CpuState::multiboot(CpuModel::Max, CODE + random.below(0x8000), 0);
        for register in &mut state.gpr[..8] {
            *register = if random.one_in(4) { random.word() } else { CODE + random.below(CODE_BYTES) };
        }
        state.gpr[4] = 0x3_0000 - random.below(64) * 4;
        state.gdtr = TableRegister { base: GDT, limit: 0x1ff };
        state.idtr = TableRegister { base: IDT, limit: 0x7ff };
        state.tr = SegmentRegister { base: TSS, limit: 0x67, rights: 0x8b, selector: 0x28 };
        state.ldtr = SegmentRegister { base: 0x7800, limit: 0xff, rights: 0x82, selector: 0x68 };
        state.cr4 = 0x600;
        let system = if random.one_in(4) { 3 << 12 } else { 0 } | if random.one_in(8) { 1 << 18 | 1 << 8 } else { 0 };
        state.eflags = Eflags::from_bits_retain(2 | (random.word() & 0x0ed5) | system);
        state.cr0 |= if random.one_in(2) { 1 << 16 } else { 0 } | if random.one_in(2) { 1 << 18 } else { 0 };
        state.cr3 = DIRECTORY;
        if mode != Mode::Real && random.one_in(2) {
            state.cr0 |= 1 << 31;
            state.cr4 |= 0x90;
            if pae {
                state.cr4 |= 1 << 5;
                state.cr3 = POINTERS;
                state.pdpte = std::array::from_fn(|i| self.mem.read_u64(PhysAddr((POINTERS + 8 * i as u32).into())));
            }
        }
        if random.one_in(3) {
            state.tlb = Tlb::new(TlbGeometry::Bounded { entries: 16, ways: 2 });
        }
        if random.one_in(6) {
            state.dr[7] = random.word() & 0xffff_00ff | 0x400;
            state.dr[0] = CODE + random.below(CODE_BYTES);
        }
        enter(mode, &mut state, random);
        state
    }

    fn put(&mut self, addr: u32, value: u64) {
        self.mem.write(PhysAddr(addr.into()), &value.to_le_bytes());
    }

    fn write_descriptors(&mut self, random: &mut Random) {
        for i in 0..64 {
            let known = DESCRIPTORS.get(i as usize).copied();
            let damaged = random.pick(&DESCRIPTORS) ^ 1 << random.below(64);
            self.put(GDT + 8 * i, known.unwrap_or(damaged));
            self.put(0x7800 + 8 * (i & 31), damaged);
        }
        for vector in 0..256 {
            let access = random.pick(&[0x8e, 0x8f, 0xee, 0xef, 0x86, 0x85, 0x0e]);
            let selector = if access == 0x85 { 0x30 } else { random.pick(&[0x08, 0x38, 0x58, 0x18]) };
            let entry = CODE + random.below(CODE_BYTES / 2);
            self.put(IDT + 8 * vector, Descriptor::gate(selector, entry, access).0);
        }
    }

    fn write_tasks(&mut self, random: &mut Random) {
        for base in [TSS, TSS + 0x100] {
            for offset in (0..tss::SIZE).step_by(4) {
                let value = match offset {
                    4 | 12 | 20 | 56 | 60 => 0x2_f000 + random.below(0x1000),
                    8 | 16 | 24 | 72 | 80 | 84 | 88 | 92 => 0x10,
                    76 => 0x08,
                    tss::CR3 => DIRECTORY,
                    tss::EIP => CODE + random.below(0x1000),
                    tss::EFLAGS => 2 | (random.word() & 0x7fd5),
                    tss::LDT => 0,
                    _ => random.word(),
                };
                self.mem.write_u32(PhysAddr((base + offset).into()), value);
            }
        }
    }

    /// Identity for what the world needs; the rest large pages, holes and nonsense.
    fn write_tables(&mut self, pae: bool, random: &mut Random) {
        for i in 0..4 {
            let wrong = u64::from(random.word()) << 32 | u64::from(random.word());
            self.put(POINTERS + 8 * i, if i > 1 && random.one_in(2) { wrong } else { u64::from(DIRECTORY) | 1 });
        }
        for i in 0..if pae { 512 } else { 1024 } {
            let frame = if i < 0x30 { i } else { random.below(0x100) };
            let rights = if i < 16 || !random.one_in(4) { 7 } else { random.below(8) };
            let pte = (frame << 12) | rights | random.below(2) << 8;
            let large = if pae { i << 21 } else { i << 22 };
            let pde = match random.below(4) {
                _ if i == 0 => TABLE | 7,
                0 => 0,
                1 => random.word(),
                _ => large | 0x87,
            };
            if pae {
                let high = if random.one_in(8) { u64::from(random.word()) << 32 } else { 0 };
                self.put(DIRECTORY + 8 * i, u64::from(pde) | if i == 0 { 0 } else { high });
                self.put(TABLE + 8 * i, u64::from(pte) | if i < 0x30 { 0 } else { high });
            } else {
                self.mem.write_u32(PhysAddr((DIRECTORY + 4 * i).into()), pde);
                self.mem.write_u32(PhysAddr((TABLE + 4 * i).into()), pte);
            }
        }
    }
}

fn enter(mode: Mode, state: &mut CpuState, random: &mut Random) {
    let small = SegmentRegister { base: CODE, limit: 0xffff, rights: 0x93, selector: 0x1000 };
    match mode {
        Mode::Kernel => {}
        Mode::User => {
            for segment in &mut state.seg {
                segment.rights |= 0x60;
                segment.selector = 0x23;
            }
            state.seg[1].selector = 0x1b;
            state.cpl = 3;
        }
        Mode::Protected16 => {
            state.seg = [SegmentRegister { selector: 0x40, ..small }; 6];
            state.seg[1] = SegmentRegister { rights: 0x9b, selector: 0x38, ..small };
            state.eip = random.below(0x8000);
            state.gpr[4] = random.below(0x1_0000);
        }
        Mode::Real => {
            state.cr0 &= !0x8000_0001;
            state.seg = [small; 6];
            state.idtr = TableRegister { base: 0, limit: 0x3ff };
            state.eip = random.below(0x8000);
        }
        Mode::V86 => {
            state.eflags |= Eflags::VM;
            state.seg = [SegmentRegister { rights: 0xf3, ..small }; 6];
            state.eip = random.below(0x8000);
            state.cpl = 3;
        }
    }
}

/// The body of the fuzz target: the first bytes choose mode and world, the rest is code.
pub fn body(worlds: &mut Worlds, bytes: &[u8]) {
    let [mode, low, high, code @ ..] = bytes else { return };
    let seed = u64::from(*low) | u64::from(*high) << 8;
    worlds.run(MODES[usize::from(*mode) % MODES.len()], seed, code, 2000);
}

/// Bytes in which opcodes of control flow, segments and prefixes are more frequent than by chance.
pub fn likely(random: &mut Random, count: usize) -> Vec<u8> {
    const FREQUENT: &[u8] =
        &[0x89, 0x8b, 0x50, 0x58, 0xcd, 0xcf, 0x8e, 0x66, 0x67, 0xf3, 0xc3, 0xe8, 0x75, 0x9a, 0xea, 0xcb, 0x83, 0xff];
    let byte = |random: &mut Random| match random.below(8) {
        0 => 0x0f,
        1 => random.below(64) as u8,
        2 => random.pick(FREQUENT),
        _ => random.word() as u8,
    };
    (0..count).map(|_| byte(random)).collect()
}
