//! Random code in random worlds: blocks and the slow functions alone must come to the same
//! state at the same count, and nothing that a guest does may harm the host.

use memory::{FrameKind, PhysMem};
use pagewalk_cpu::{
    Bus, Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, IoEffect, IoRead, IoSize, RunRequest, SegmentRegister,
    TableRegister,
    mmu::{Tlb, TlbGeometry},
};
use x86::{Descriptor, Eflags, PhysAddr, tss};

const RAM_BYTES: u64 = 1 << 20;
const GDT: u32 = 0x2000;
const IDT: u32 = 0x3000;
const TSS: u32 = 0x4000;
const DIRECTORY: u32 = 0x5000;
const PAGE_TABLE: u32 = 0x6000;
const CODE: u32 = 0x1_0000;
const CODE_BYTES: u32 = 0x2_0000;
const INSTRUCTIONS: u64 = 1000;

/// Ports and devices that answer with their address; some want attention.
struct Echo;

impl Bus for Echo {
    fn port_in(&mut self, _: u64, port: u16, _: IoSize) -> IoRead {
        let effect = if port.is_multiple_of(8) { IoEffect::Recompute } else { IoEffect::None };
        IoRead { value: port.into(), effect }
    }
    fn port_out(&mut self, _: u64, _: u16, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn mmio_read(&mut self, _: u64, addr: PhysAddr, _: IoSize) -> IoRead {
        IoRead { value: addr.0 as u32, effect: IoEffect::None }
    }
    fn mmio_write(&mut self, _: u64, _: PhysAddr, _: IoSize, _: u32) -> IoEffect {
        IoEffect::None
    }
    fn intr(&self) -> bool {
        false
    }
    fn acknowledge(&mut self, _: u64) -> u8 {
        0x20
    }
}

/// Xorshift: the same numbers on every host.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = random.word());
        random
    }

    fn word(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.word() % limit
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    fn rarely(&mut self, n: u32, bits: u32) -> u32 {
        if self.one_in(n) { bits } else { 0 }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }
}

/// Bytes in which opcodes of control flow, segments and prefixes are more frequent than by chance.
fn code(random: &mut Random) -> Vec<u8> {
    const FREQUENT: &[u8] =
        &[0x89, 0x8b, 0x50, 0x58, 0xcd, 0xcf, 0x8e, 0x66, 0x67, 0xf3, 0xc3, 0xe8, 0x75, 0x9a, 0xea, 0xcb, 0x83, 0xff];
    let byte = |random: &mut Random| match random.below(8) {
        0 => 0x0f,
        1 => random.below(64) as u8,
        2 => random.pick(FREQUENT),
        _ => random.word() as u8,
    };
    (0..CODE_BYTES).map(|_| byte(random)).collect()
}

/// Flat and small segments of both levels, a TSS and another, an LDT, a call gate.
const DESCRIPTORS: [u64; 15] = [
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
];

fn write_descriptors(mem: &mut PhysMem, random: &mut Random) {
    let put = |mem: &mut PhysMem, base: u32, index: usize, value: u64| {
        mem.write(PhysAddr(u64::from(base) + index as u64 * 8), &value.to_le_bytes());
    };
    for (i, &descriptor) in DESCRIPTORS.iter().enumerate() {
        put(mem, GDT, i, descriptor);
    }
    for i in DESCRIPTORS.len()..64 {
        let damaged = random.pick(&DESCRIPTORS) ^ 1 << random.below(64);
        put(mem, GDT, i, damaged);
    }
    for vector in 0..256 {
        let access = random.pick(&[0x8e, 0x8f, 0xee, 0xef, 0x86, 0x85, 0x0e]);
        let selector = if access == 0x85 { 0x30 } else { random.pick(&[0x08, 0x38, 0x58, 0x18]) };
        let entry = CODE + random.below(CODE_BYTES / 2);
        put(mem, IDT, vector, Descriptor::gate(selector, entry, access).0);
    }
}

fn write_tasks(mem: &mut PhysMem, random: &mut Random) {
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
            mem.write_u32(PhysAddr((base + offset).into()), value);
        }
    }
}

/// The first 4 MiB mapped by small pages, the rest by large ones, some with nonsense.
fn write_page_tables(mem: &mut PhysMem, random: &mut Random) {
    for i in 0..1024 {
        let pde = match random.below(4) {
            _ if i == 0 => PAGE_TABLE | 7,
            0 => 0,
            1 => random.word(),
            _ => (i << 22) | 0x87,
        };
        mem.write_u32(PhysAddr((DIRECTORY + 4 * i).into()), pde);
        let frame = if i < 0x30 { i } else { random.below(0x100) };
        let rights = if i < 16 || !random.one_in(4) { 7 } else { random.below(8) };
        let global = random.below(2) << 8;
        mem.write_u32(PhysAddr((PAGE_TABLE + 4 * i).into()), (frame << 12) | rights | global);
    }
}

/// Puts the CPU into one of its modes.
fn enter_mode(state: &mut CpuState, random: &mut Random) {
    let sixteen_bit = SegmentRegister { base: CODE, limit: 0xffff, rights: 0x93, selector: 0x1000 };
    match random.below(5) {
        0 => {}
        1 | 2 => {
            for segment in &mut state.seg {
                segment.rights |= 0x60;
                segment.selector = 0x23;
            }
            state.seg[1].selector = 0x1b;
            state.cpl = 3;
        }
        3 => {
            state.cr0 &= !0x8000_0001;
            state.seg = [sixteen_bit; 6];
            state.idtr = TableRegister { base: 0, limit: 0x3ff };
            state.eip = random.below(0x8000);
        }
        _ => {
            state.eflags |= Eflags::VM;
            state.seg = [SegmentRegister { rights: 0xf3, ..sixteen_bit }; 6];
            state.eip = random.below(0x8000);
            state.cpl = 3;
        }
    }
}

/// Memory and a CPU, with registers that often point into memory.
fn world(seed: u64) -> (CpuState, PhysMem) {
    let random = &mut Random::new(seed);
    let mut mem = PhysMem::new().unwrap();
    mem.map(PhysAddr(0), RAM_BYTES, FrameKind::Ram).unwrap();
    mem.write(PhysAddr(CODE.into()), &code(random));
    write_descriptors(&mut mem, random);
    write_tasks(&mut mem, random);
    write_page_tables(&mut mem, random);

    let mut state = CpuState::multiboot(CpuModel::Max, CODE + random.below(0x8000), 0);
    for register in &mut state.gpr[..8] {
        *register = if random.one_in(4) { random.word() } else { CODE + random.below(CODE_BYTES) };
    }
    state.gpr[4] = 0x3_0000 - random.below(64) * 4;
    state.gdtr = TableRegister { base: GDT, limit: 0x1ff };
    state.idtr = TableRegister { base: IDT, limit: 0x7ff };
    state.tr = SegmentRegister { base: TSS, limit: 0x67, rights: 0x8b, selector: 0x28 };
    state.ldtr = SegmentRegister { base: 0x7000, limit: 0xff, rights: 0x82, selector: 0x68 };
    state.cr3 = DIRECTORY;
    state.cr4 = 0x600;
    let system_flags = random.rarely(4, 3 << 12) | random.rarely(6, 1 << 18) | random.rarely(16, 1 << 8);
    state.eflags = Eflags::from_bits_retain(2 | (random.word() & 0x0cd5) | system_flags);
    state.cr0 |= 1 << 5 | random.rarely(2, 1 << 16) | random.rarely(4, 1 << 18);
    if random.one_in(2) {
        state.cr0 |= 1 << 31;
        state.cr4 |= 0x90;
    }
    enter_mode(&mut state, random);
    if random.one_in(3) {
        state.tlb = Tlb::new(TlbGeometry::Bounded { entries: 16, ways: 2 });
    }
    (state, mem)
}

/// What is left after a run, in words that can be compared.
fn outcome(seed: u64, single_step: bool) -> String {
    let (state, mut mem) = world(seed);
    let mut cpu = Cpu::new(state);
    let mut engine = Engine::new(EngineConfig { single_step, ..EngineConfig::default() });
    let exit = loop {
        let now = cpu.state.retired;
        let request = RunRequest { budget: INSTRUCTIONS - now, now, pass_breakpoint: false };
        let exit = engine.run(&mut cpu, &mut mem, &mut Echo, request);
        // Whatever wants attention gets none, and the run goes on.
        if exit != Exit::Bus || cpu.state.retired >= INSTRUCTIONS {
            break exit;
        }
    };
    let tlb = (cpu.state.tlb.tlb_hash(), cpu.state.tlb.counts());
    let state = CpuState { tlb: Tlb::default(), ..cpu.state };
    format!("{exit:x?}\n{state:#x?}\n{tlb:x?}\nmemory {:x}", mem.hash())
}

#[test]
fn blocks_and_slow_functions_agree_on_random_code_in_random_worlds() {
    for seed in 0..300 {
        let (blocks, slow) = (outcome(seed, false), outcome(seed, true));
        if blocks != slow {
            let differs = blocks.lines().zip(slow.lines()).find(|(a, b)| a != b);
            panic!("seed {seed}: blocks and slow functions differ: {differs:?}");
        }
    }
}
