//! The kernel's stacks: 8 KiB a thread, with nothing below them that could fault.

use goblin::elf::{Elf, sym::STT_FUNC};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};
use libtest_mimic::Trial;

use crate::support::{pagewalk_run, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mm::stacks::no_function_of_the_kernel_has_a_large_frame", &[], frames),
        trial("mm::stacks::the_deepest_calls_leave_room", &[], depth),
    ]
}

/// Bytes: what Linux's build warns of on a machine of 32 bits (`CONFIG_FRAME_WARN`).
const LARGEST_FRAME: u64 = 1024;

/// What an instruction takes from the stack for local variables.
fn taken(insn: &Instruction) -> Option<u64> {
    let takes = matches!(insn.code(), Code::Sub_rm32_imm32 | Code::Sub_rm32_imm8);
    (takes && insn.op0_register() == Register::ESP).then(|| insn.immediate(1))
}

fn frames() {
    let elf = Elf::parse(images::KERNEL).expect("the kernel is an ELF file");
    let mut looked_at = 0;
    let mut large = Vec::new();
    for sym in elf.syms.iter().filter(|sym| sym.st_type() == STT_FUNC && sym.st_size != 0) {
        let name = elf.strtab.get_at(sym.st_name).unwrap_or("?");
        let section = elf.section_headers.iter().find(|s| s.vm_range().contains(&(sym.st_value as usize)));
        let section = section.expect("a function lies in a section");
        let at = (sym.st_value - section.sh_addr + section.sh_offset) as usize;
        let code = &images::KERNEL[at..at + sym.st_size as usize];
        let decoder = Decoder::with_ip(32, code, sym.st_value, DecoderOptions::NONE);
        let frame = decoder.into_iter().filter_map(|insn| taken(&insn)).max().unwrap_or(0);
        looked_at += 1;
        if frame > LARGEST_FRAME {
            large.push((frame, name.to_owned()));
        }
    }
    assert!(looked_at > 1000, "{looked_at} functions");
    assert!(large.is_empty(), "each leaves little of the 8192 bytes of a stack: {large:#?}");
}

/// Reclaim and swap below page faults below system calls, interrupts on top, on all CPUs; every file of `/proc`.
const WORK: &str = "tour >/dev/null; cat /proc/[a-z]* /proc/self/[a-z]* >/dev/null 2>&1; ls -lR / >/dev/null
    workload storm 1 >/dev/null & workload anonymous 12288 >/dev/null & workload anonymous 8192 >/dev/null &
    smp-storm --seed 7 --processes 2 --threads 2 --rounds 3 >/dev/null; wait; exit 0";

fn depth() {
    let options = ["-v", "--memory", "32M", "--swap", "64M", "--cpus", "4", "--append", "debug_stack_usage"];
    let ended = with_input(&mut pagewalk_run(&options), WORK);
    let log = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{:?}: {log}", ended.status);
    let left = log.lines().filter_map(|line| {
        let (_, left) = line.split_once("used greatest stack depth: ")?;
        left.strip_suffix(" bytes left")?.parse::<u32>().ok()
    });
    let left = left.min().unwrap_or_else(|| panic!("nobody says how deep it was: {log}"));
    // What comes on top is one interrupt, whose handler does not nest.
    assert!(left >= 4096, "{left} bytes of 8192 were left: {log}");
}
