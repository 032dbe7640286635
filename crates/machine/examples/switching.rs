//! What it costs that CPUs take turns: millions of instructions a second of one CPU that computes, and of
//! several that all do.
//!
//! `cargo run --release -p pagewalk-machine --example switching`

use std::time::Instant;

use iced_x86::{IcedError, code_asm::*};
use pagewalk_machine::{Boot, Detached, EngineConfig, Image, Machine, MachineConfig, RunLimit};
use x86::PhysAddr;

const LOAD: u32 = 0x20_0000;
const ENTRY: u32 = LOAD + 0x20;
/// Where all others begin, in real mode and then in protected mode.
const TRAMPOLINE: u32 = 0x9000;
const COMPUTE: u32 = 0x21_0000;
const ICR: u32 = 0xfee0_0300;
const ID: u32 = 0xfee0_0020;
/// Instructions that are measured.
const COUNT: u64 = 600_000_000;

/// Mixes a table of 64 KiB of the CPU's own for ever, by a function that it calls for each word.
fn compute(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut pass, mut word, mut mix) = (asm.create_label(), asm.create_label(), asm.create_label());
    asm.mov(eax, 0x10)?;
    asm.mov(ds, eax)?;
    asm.mov(es, eax)?;
    asm.mov(ss, eax)?;
    asm.mov(ebx, dword_ptr(ID))?;
    asm.shr(ebx, 8)?; // 64 KiB a CPU
    asm.lea(esp, dword_ptr(ebx + 0x40_0000))?;
    asm.add(ebx, 0x50_0000)?;
    asm.set_label(&mut pass)?;
    asm.xor(esi, esi)?;
    asm.set_label(&mut word)?;
    asm.mov(eax, dword_ptr(ebx + esi * 4))?;
    asm.call(mix)?;
    asm.mov(dword_ptr(ebx + esi * 4), eax)?;
    asm.inc(esi)?;
    asm.cmp(esi, 0x4000)?;
    asm.jne(word)?;
    asm.jmp(pass)?;
    asm.set_label(&mut mix)?;
    asm.add(edx, eax)?;
    asm.mov(ecx, edx)?;
    asm.shl(ecx, 7)?;
    asm.xor(eax, ecx)?;
    asm.imul_3(eax, eax, 0x9e37_79b1u32 as i32)?;
    asm.ret()
}

fn trampoline() -> Vec<u8> {
    let mut bytes = vec![0xfa, 0x8c, 0xc8, 0x8e, 0xd8, 0x66, 0x0f, 0x01, 0x16, 0x40, 0x00];
    bytes.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0x66, 0xea]);
    bytes.extend(COMPUTE.to_le_bytes());
    bytes.extend([0x08, 0x00]);
    bytes.resize(0x40, 0x90);
    bytes.extend(0x17u16.to_le_bytes());
    bytes.extend((TRAMPOLINE + 0x48).to_le_bytes());
    bytes.resize(0x48, 0);
    bytes.extend(descriptors());
    bytes
}

fn machine(cpus: u8) -> Result<Machine, Box<dyn std::error::Error>> {
    let mut asm = CodeAssembler::new(32)?;
    for command in [0xc_4500, 0xc_4600 | TRAMPOLINE >> 12] {
        asm.mov(dword_ptr(ICR), command)?;
    }
    asm.mov(eax, COMPUTE)?;
    asm.jmp(eax)?;
    let magic = 0x1bad_b002u32;
    let head = [magic, 1 << 16, 0u32.wrapping_sub(magic + (1 << 16)), LOAD, LOAD, 0, 0, ENTRY];
    let mut bytes: Vec<u8> = head.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(asm.assemble(ENTRY.into())?);
    let kernel = Image { name: "switching".into(), bytes };
    let boot = Boot::Multiboot { kernel, command_line: String::new(), modules: Vec::new() };
    let config = MachineConfig { cpus, memory_bytes: 16 << 20, ..MachineConfig::default() };
    let mut machine = Machine::new(config, boot, EngineConfig::default())?;
    let mut code = CodeAssembler::new(32)?;
    compute(&mut code)?;
    machine.change_memory(PhysAddr(COMPUTE.into()), &code.assemble(COMPUTE.into())?);
    machine.change_memory(PhysAddr(TRAMPOLINE.into()), &trampoline());
    // The data segment that the code loads: the loader's table has none to load from.
    machine.change_memory(PhysAddr(0x6000), &descriptors());
    machine.change_cpu(0, |state| (state.gdtr.base, state.gdtr.limit) = (0x6000, 0x17));
    Ok(machine)
}

/// Nothing, flat code, flat data.
fn descriptors() -> Vec<u8> {
    [0u64, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff].into_iter().flat_map(u64::to_le_bytes).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for round in 0..5 {
        let mut rates = Vec::new();
        for cpus in [1, 2, 4, 8] {
            let mut machine = machine(cpus)?;
            let to = |retired| RunLimit { retired: Some(retired), pass_breakpoint: false };
            machine.run(to(20_000_000), &mut Detached);
            let began = Instant::now();
            machine.run(to(20_000_000 + COUNT), &mut Detached);
            rates.push(COUNT as f64 / began.elapsed().as_secs_f64() / 1e6);
        }
        let parts: Vec<String> = rates.iter().map(|rate| format!("{rate:7.0} ({:.3})", rate / rates[0])).collect();
        println!("round {round}: MIPS with 1, 2, 4, 8 CPUs: {}", parts.join(" "));
    }
    Ok(())
}
