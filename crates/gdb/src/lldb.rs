//! The registers in lldb's words, for its `qRegisterInfo`.

use gdbstub::arch::lldb::{Encoding, Format, Generic, Register as Words, RegisterInfo};

use crate::registers::{COUNT, LINUX, NAMES, Register};

/// What lldb is told of register `id`, in the order of the `g` packet; the end of the list behind the last.
pub fn register(id: usize) -> RegisterInfo<'static> {
    let Some(&name) = NAMES.get(id).filter(|_| id < COUNT) else { return RegisterInfo::Done };
    let bitsize = Register(id).size() * 8;
    let (encoding, format) = match bitsize {
        80 => (Encoding::IEEE754, Format::Float),
        128 => (Encoding::Vector, Format::VectorUInt8),
        _ => (Encoding::Uint, Format::Hex),
    };
    let generic = match name {
        "eip" => Some(Generic::Pc),
        "esp" => Some(Generic::Sp),
        "ebp" => Some(Generic::Fp),
        "eflags" => Some(Generic::Flags),
        _ => None,
    };
    let set = match bitsize {
        _ if id >= LINUX => "System Registers",
        80 | 128 => "Floating Point Registers",
        _ => "General Purpose Registers",
    };
    let number = dwarf(name);
    RegisterInfo::Register(Words {
        name,
        alt_name: None,
        bitsize,
        offset: (0..id).map(|before| Register(before).size()).sum(),
        encoding,
        format,
        set,
        gcc: number,
        dwarf: number,
        generic,
        container_regs: None,
        invalidate_regs: None,
    })
}

/// The number in debug information (System V ABI, Intel386 Supplement, "DWARF Register Number Mapping").
fn dwarf(name: &str) -> Option<usize> {
    const GENERAL: [&str; 10] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"];
    let digit = |prefix: &str| name.strip_prefix(prefix)?.parse::<usize>().ok();
    let general = GENERAL.iter().position(|&known| known == name);
    general.or(digit("st").map(|n| 11 + n)).or(digit("xmm").map(|n| 21 + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_follow_each_other_without_gaps_up_to_the_end() {
        let mut end = 0;
        for (id, &name) in NAMES.iter().enumerate() {
            let RegisterInfo::Register(words) = register(id) else { panic!("register {id} is missing") };
            assert_eq!((words.name, words.offset), (name, end));
            end += words.bitsize / 8;
        }
        assert!(matches!(register(COUNT), RegisterInfo::Done));
        assert_eq!(["esp", "st7", "xmm3", "cr0"].map(dwarf), [Some(4), Some(18), Some(24), None]);
    }
}
