//! What the build makes of the handlers of micro-operations: how many there are, and that in
//! builds that chain them by tail calls none of them calls the next.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use goblin::elf::{Elf, sym::STT_FUNC};
use iced_x86::{Decoder, DecoderOptions, FlowControl};
use pagewalk_cpu::Engine;

/// The functions of `exec::hot` in this very program: name, address and code.
fn functions() -> Vec<(String, u64, Vec<u8>)> {
    // Whoever runs an engine links every handler.
    std::hint::black_box(Engine::run as *const ());
    let file = std::fs::read("/proc/self/exe").expect("this program can be read");
    let elf = Elf::parse(&file).expect("this program is an ELF file");
    let in_file = |addr: u64| {
        let section = elf.section_headers.iter().find(|s| s.vm_range().contains(&(addr as usize)));
        section.map(|s| (addr - s.sh_addr + s.sh_offset) as usize)
    };
    let mut functions = Vec::new();
    for sym in elf.syms.iter().filter(|sym| sym.st_type() == STT_FUNC && sym.st_size != 0) {
        let name = elf.strtab.get_at(sym.st_name).unwrap_or("");
        if name.contains("4exec3hot")
            && let Some(at) = in_file(sym.st_value)
        {
            functions.push((name.to_owned(), sym.st_value, file[at..at + sym.st_size as usize].to_vec()));
        }
    }
    functions
}

#[test]
fn there_are_many_handlers_but_not_too_many() {
    let count = functions().len();
    // Each costs time to build and place in the host's caches: more need a reason.
    assert!((600..2500).contains(&count), "{count} functions of handlers");
}

#[test]
#[cfg_attr(not(tail_calls), ignore = "this build runs handlers in a loop")]
fn every_handler_jumps_to_the_next_one() {
    let mut callers = Vec::new();
    for (name, addr, code) in functions() {
        let decoder = Decoder::with_ip(64, &code, addr, DecoderOptions::NONE);
        // Functions of the standard library are called through a table at a fixed place.
        let by_value = |insn: iced_x86::Instruction| {
            insn.flow_control() == FlowControl::IndirectCall && !insn.is_ip_rel_memory_operand()
        };
        if decoder.into_iter().any(by_value) {
            callers.push(name);
        }
    }
    // The generic operation calls the instruction's slow function.
    callers.retain(|name| !name.contains("4slow3run"));
    assert!(callers.is_empty(), "these call through a pointer: {callers:#?}");
}
