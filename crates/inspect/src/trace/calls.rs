//! System calls that make, move or take areas, in words.

use abi::nr;
use cpu::{CpuState, Gpr};

use crate::Reader;
use x86::LinearAddr;

/// `mman.h`: PROT_READ, PROT_WRITE, PROT_EXEC.
const PROT: [(u32, &str); 3] = [(1, "PROT_READ"), (2, "PROT_WRITE"), (4, "PROT_EXEC")];
/// `mman.h`: the flags that programs use.
const MAP: [(u32, &str); 10] = [
    (1, "MAP_SHARED"),
    (2, "MAP_PRIVATE"),
    (0x10, "MAP_FIXED"),
    (0x20, "MAP_ANONYMOUS"),
    (0x100, "MAP_GROWSDOWN"),
    (0x2000, "MAP_LOCKED"),
    (0x4000, "MAP_NORESERVE"),
    (0x8000, "MAP_POPULATE"),
    (0x4_0000, "MAP_HUGETLB"),
    (0x10_0000, "MAP_FIXED_NOREPLACE"),
];

/// The call that a thread makes, at the kernel's entry, if it may change the areas: with its
/// arguments as strace prints them.
pub fn changing_areas(state: &CpuState, memory: Reader<'_>) -> Option<String> {
    let arg = |reg: Gpr| state.gpr[reg as usize];
    let regs = [Gpr::Ebx, Gpr::Ecx, Gpr::Edx, Gpr::Esi, Gpr::Edi, Gpr::Ebp].map(arg);
    let number = arg(Gpr::Eax);
    let name = nr::name(number)?;
    let args = match number {
        nr::MMAP2 => mmap(regs, "page offset"),
        nr::MMAP => {
            // The old call has its six arguments in memory.
            let word = |n: u32| memory.u32(LinearAddr(regs[0].wrapping_add(n * 4))).unwrap_or(0);
            mmap([word(0), word(1), word(2), word(3), word(4), word(5)], "offset")
        }
        nr::BRK => format!("{:#x}", regs[0]),
        nr::MUNMAP => format!("{:#x}, {}", regs[0], regs[1]),
        nr::MPROTECT => format!("{:#x}, {}, {}", regs[0], regs[1], words(regs[2], &PROT, "PROT_NONE")),
        nr::MREMAP => format!("{:#x}, {}, {}, {:#x}", regs[0], regs[1], regs[2], regs[3]),
        nr::EXECVE => quoted(memory, regs[0]) + ", …",
        nr::SHMAT => String::from("…"),
        _ => return None,
    };
    Some(format!("{name}({args})"))
}

fn mmap([addr, len, prot, flags, fd, offset]: [u32; 6], unit: &str) -> String {
    let (prot, flags) = (words(prot, &PROT, "PROT_NONE"), words(flags, &MAP, "0"));
    format!("{addr:#x}, {len}, {prot}, {flags}, {}, {unit} {offset}", fd as i32)
}

/// Bits by name, joined by `|`; what has no name as a number.
fn words(bits: u32, names: &[(u32, &str)], none: &str) -> String {
    let known = names.iter().filter(|(bit, _)| bits & bit != 0);
    let mut parts: Vec<String> = known.clone().map(|(_, name)| (*name).to_owned()).collect();
    let rest = bits & !known.fold(0, |all, (bit, _)| all | bit);
    if rest != 0 {
        parts.push(format!("{rest:#x}"));
    }
    if parts.is_empty() { none.to_owned() } else { parts.join("|") }
}

/// A string of the program's, with what is not printable escaped.
fn quoted(memory: Reader<'_>, addr: u32) -> String {
    let mut bytes = [0; 64];
    let read = memory.read(LinearAddr(addr), &mut bytes);
    let end = bytes[..read].iter().position(|&byte| byte == 0);
    let more = if end.is_none() { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..end.unwrap_or(read)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_named_and_what_has_no_name_is_a_number() {
        assert_eq!(words(0x22, &MAP, "0"), "MAP_PRIVATE|MAP_ANONYMOUS");
        assert_eq!(words(0x80_0002, &MAP, "0"), "MAP_PRIVATE|0x800000");
        assert_eq!(words(0, &PROT, "PROT_NONE"), "PROT_NONE");
    }

    #[test]
    fn mmap_shows_its_arguments_as_a_program_writes_them() {
        let text = mmap([0, 8192, 3, 0x22, !0, 0], "page offset");
        assert_eq!(text, "0x0, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, page offset 0");
    }
}
