//! System calls in words.

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

/// How the arguments of the common calls are written, one letter each: `i` a signed number, `u` an unsigned one,
/// `f` a descriptor, `o` octal, `x` an address or bits, `s` a string of the program's, `b` bytes of its, as many as the
/// next argument says.
const SHAPES: [(&str, &str); 78] = [
    ("exit", "i"),
    ("fork", ""),
    ("read", "fxu"),
    ("write", "fbu"),
    ("open", "sxo"),
    ("close", "f"),
    ("waitpid", "ixx"),
    ("creat", "so"),
    ("link", "ss"),
    ("unlink", "s"),
    ("execve", "sxx"),
    ("chdir", "s"),
    ("mknod", "sox"),
    ("chmod", "so"),
    ("lseek", "fii"),
    ("getpid", ""),
    ("mount", "sssxx"),
    ("getuid", ""),
    ("alarm", "u"),
    ("pause", ""),
    ("access", "so"),
    ("sync", ""),
    ("kill", "ii"),
    ("rename", "ss"),
    ("mkdir", "so"),
    ("rmdir", "s"),
    ("dup", "f"),
    ("pipe", "x"),
    ("times", "x"),
    ("brk", "x"),
    ("getgid", ""),
    ("geteuid", ""),
    ("getegid", ""),
    ("ioctl", "fxx"),
    ("fcntl", "fix"),
    ("setpgid", "ii"),
    ("umask", "o"),
    ("dup2", "ff"),
    ("getppid", ""),
    ("getpgrp", ""),
    ("setsid", ""),
    ("gettimeofday", "xx"),
    ("symlink", "ss"),
    ("readlink", "sxu"),
    ("munmap", "xu"),
    ("ftruncate", "fu"),
    ("wait4", "ixxx"),
    ("sysinfo", "x"),
    ("fsync", "f"),
    ("sigreturn", ""),
    ("clone", "xxxxx"),
    ("uname", "x"),
    ("getpgid", "i"),
    ("_llseek", "fuuxi"),
    ("msync", "xux"),
    ("readv", "fxu"),
    ("writev", "fxu"),
    ("sched_yield", ""),
    ("nanosleep", "xx"),
    ("mremap", "xuuxx"),
    ("poll", "xui"),
    ("prctl", "ixxxx"),
    ("rt_sigreturn", ""),
    ("rt_sigaction", "ixxu"),
    ("rt_sigprocmask", "ixxu"),
    ("getcwd", "xu"),
    ("ftruncate64", "fuu"),
    ("stat64", "sx"),
    ("lstat64", "sx"),
    ("fstat64", "fx"),
    ("getdents64", "fxu"),
    ("gettid", ""),
    ("madvise", "xui"),
    ("futex", "xiixxi"),
    ("set_thread_area", "x"),
    ("set_tid_address", "x"),
    ("exit_group", "i"),
    ("openat", "fsxo"),
];

/// The call that a thread makes, at INT 0x80 or SYSENTER, with its arguments as strace prints them where that is
/// known of the call, else the first three as numbers.
pub fn any(state: &CpuState, memory: Reader<'_>) -> String {
    let arg = |reg: Gpr| state.gpr[reg as usize];
    let number = arg(Gpr::Eax);
    let Some(name) = nr::name(number) else { return format!("syscall_{number}()") };
    if let Some(words) = changing_areas(state, memory).filter(|_| number != nr::EXECVE) {
        return words;
    }
    let regs = [Gpr::Ebx, Gpr::Ecx, Gpr::Edx, Gpr::Esi, Gpr::Edi, Gpr::Ebp].map(arg);
    let shape = SHAPES.iter().find(|(known, _)| *known == name).map_or("xxx", |(_, shape)| *shape);
    let words = shape.bytes().zip(0..).map(|(letter, n): (u8, usize)| {
        let value = regs[n];
        match letter {
            b'i' | b'f' => format!("{}", value as i32),
            b'u' => format!("{value}"),
            b'o' => format!("{value:#o}"),
            b's' => quoted(memory, value),
            b'b' => bytes(memory, value, regs[n + 1]),
            _ => format!("{value:#x}"),
        }
    });
    format!("{name}({})", words.collect::<Vec<_>>().join(", "))
}

/// What a call gave, as strace prints it.
pub fn returned(value: u32) -> String {
    // Errors are -1 to -4095.
    match value.wrapping_neg() {
        errno @ 1..=4095 => format!("-1 {}", abi::errno::Errno(errno as u16)),
        _ if value < 1 << 20 => format!("{value}"),
        _ => format!("{value:#x}"),
    }
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

/// The first bytes of what a program writes.
fn bytes(memory: Reader<'_>, addr: u32, len: u32) -> String {
    let mut bytes = [0; 32];
    let wanted = bytes.len().min(len as usize);
    let read = memory.read(LinearAddr(addr), &mut bytes[..wanted]);
    if read == 0 && len != 0 {
        return format!("{addr:#x}");
    }
    let more = if (read as u32) < len { "…" } else { "" };
    format!("\"{}\"{more}", bytes[..read].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_gives_is_a_number_an_address_or_an_error() {
        assert_eq!(
            [5, 0x804_8000, -2i32 as u32, -4096i32 as u32].map(returned),
            ["5", "0x8048000", "-1 ENOENT", "0xfffff000"]
        );
    }

    #[test]
    fn every_shape_is_of_a_call_that_there_is() {
        let names: Vec<&str> = (0..500).filter_map(nr::name).collect();
        for (name, shape) in SHAPES {
            assert!(names.contains(&name), "{name}");
            assert!(shape.len() <= 6 && shape.bytes().all(|letter| b"iufoxsb".contains(&letter)), "{name}");
        }
    }

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
