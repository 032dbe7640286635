//! What the file named as GUEST is.

use std::path::Path;

use goblin::elf::{Elf, header, program_header::PT_LOAD};

use crate::error::Error;

/// The kinds of guest that run.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Kind {
    /// A Linux i386 program: runs on the embedded kernel.
    Program,
    /// A kernel with a Multiboot 1 header: boots.
    MultibootKernel,
}

/// Reads GUEST and tells what it is.
///
/// # Errors
/// 127 if it isn't there, 126 if nothing here can execute it, with the reason.
pub fn load(path: &Path) -> Result<(Vec<u8>, Kind), Error> {
    let refuse = |why: &str| Error::NotExecutable { path: path.into(), why: why.into() };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::NotFound(path.into())),
        Err(e) => return Err(refuse(&e.to_string())),
    };
    if meta.is_dir() {
        return Err(refuse("is a directory; name a program or a kernel"));
    }
    if !meta.is_file() {
        return Err(refuse("is not a regular file"));
    }
    let bytes = std::fs::read(path).map_err(|e| refuse(&e.to_string()))?;
    let kind = classify(&bytes).map_err(|why| refuse(&why))?;
    Ok((bytes, kind))
}

/// Tells what `bytes` are, or why they can't be run.
pub fn classify(bytes: &[u8]) -> Result<Kind, String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    if bytes.starts_with(b"#!") {
        return Ok(Kind::Program);
    }
    if !bytes.starts_with(b"\x7fELF") {
        return Err("is not an ELF file: a Linux i386 program or a Multiboot kernel is wanted".into());
    }
    if bytes.len() < 52 {
        return Err(format!("is cut short: {} bytes are less than an ELF header", bytes.len()));
    }
    match bytes[4] {
        1 => {}
        2 => return Err("is a 64-bit ELF file; only 32-bit x86 runs here".into()),
        class => return Err(format!("has the unknown ELF class {class}")),
    }
    if bytes[5] != 1 {
        return Err("is a big-endian ELF file; only x86 runs here".into());
    }
    let machine = u16::from_le_bytes([bytes[18], bytes[19]]);
    if machine != header::EM_386 {
        return Err(format!("is for {}, not for i386", header::machine_to_str(machine)));
    }
    if has_multiboot_header(bytes) {
        return Ok(Kind::MultibootKernel);
    }
    check_program(bytes)?;
    Ok(Kind::Program)
}

/// A Multiboot 1 header: in the first 8 KiB, four-byte aligned, with a matching checksum.
fn has_multiboot_header(bytes: &[u8]) -> bool {
    let word = |at: usize| bytes.get(at..at + 4).map(|w| u32::from_le_bytes(w.try_into().expect("four bytes")));
    (0..bytes.len().min(8192)).step_by(4).any(|at| {
        word(at) == Some(0x1bad_b002)
            && matches!((word(at + 4), word(at + 8)),
                (Some(flags), Some(sum)) if flags.wrapping_add(sum).wrapping_add(0x1bad_b002) == 0)
    })
}

/// Refuses a program whose headers can't be true, so that the user hears why from us; the
/// guest kernel checks again.
fn check_program(bytes: &[u8]) -> Result<(), String> {
    let header = Elf::parse_header(bytes).map_err(|e| format!("has a damaged ELF header: {e}"))?;
    if !matches!(header.e_type, header::ET_EXEC | header::ET_DYN) {
        return Err(format!("is an ELF file of type {}, not a program", header::et_to_str(header.e_type)));
    }
    let table_end = header.e_phoff.saturating_add(u64::from(header.e_phnum) * u64::from(header.e_phentsize));
    if header.e_phnum == 0 || header.e_phentsize != 32 || table_end > bytes.len() as u64 {
        return Err("is cut short or damaged: its program headers lie outside the file".into());
    }
    for index in 0..usize::from(header.e_phnum) {
        let at = header.e_phoff as usize + index * 32;
        let word = |n: usize| u32::from_le_bytes(bytes[at + n * 4..at + n * 4 + 4].try_into().expect("four bytes"));
        let (kind, offset, vaddr, filesz, memsz) = (word(0), word(1), word(2), word(4), word(5));
        if kind != PT_LOAD {
            continue;
        }
        if u64::from(offset) + u64::from(filesz) > bytes.len() as u64 {
            return Err(format!(
                "is cut short: segment {index} ends at {:#x}, the file at {:#x}",
                u64::from(offset) + u64::from(filesz),
                bytes.len()
            ));
        }
        if filesz > memsz || u64::from(vaddr) + u64::from(memsz) > 0xc000_0000 {
            return Err(format!("has a segment that no process can hold: {memsz:#x} bytes at {vaddr:#x}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Vec<u8> {
        let mut b = vec![0u8; 0x100];
        b[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        b[16..20].copy_from_slice(&[2, 0, 3, 0]);
        b[20] = 1;
        b[28] = 52; // e_phoff
        b[40..48].copy_from_slice(&[52, 0, 32, 0, 1, 0, 40, 0]); // e_ehsize, e_phentsize, e_phnum, e_shentsize
        let ph: [u32; 8] = [1, 0, 0x0804_8000, 0x0804_8000, 0x100, 0x100, 5, 0x1000];
        for (i, w) in ph.iter().enumerate() {
            b[52 + i * 4..56 + i * 4].copy_from_slice(&w.to_le_bytes());
        }
        b
    }

    #[test]
    fn a_plain_program_is_a_program() {
        assert_eq!(classify(&program()), Ok(Kind::Program));
    }

    #[test]
    fn a_multiboot_header_makes_a_kernel() {
        let mut b = program();
        for (i, w) in [0x1bad_b002u32, 3, 0u32.wrapping_sub(0x1bad_b002 + 3)].iter().enumerate() {
            b[0x80 + i * 4..0x84 + i * 4].copy_from_slice(&w.to_le_bytes());
        }
        assert_eq!(classify(&b), Ok(Kind::MultibootKernel));
    }

    #[test]
    fn what_can_not_run_is_refused_with_the_reason() {
        let with = |at: usize, bytes: &[u8]| {
            let mut b = program();
            b[at..at + bytes.len()].copy_from_slice(bytes);
            classify(&b).unwrap_err()
        };
        assert!(with(4, &[2]).contains("64-bit"));
        assert!(with(18, &[40, 0]).contains("ARM"));
        assert!(with(44, &[0xff, 0xff]).contains("outside the file"));
        assert!(with(52 + 4, &[0xff, 0xff, 0xff, 0x7f]).contains("cut short"));
        assert!(with(52 + 8, &[0, 0, 0, 0xc0]).contains("no process"));
        assert!(with(52 + 20, &[0, 0xf0, 0xff, 0xff]).contains("no process"));
        assert!(classify(&program()[..40]).unwrap_err().contains("cut short"));
        assert!(classify(b"").unwrap_err().contains("empty"));
        assert!(classify(b"hello").unwrap_err().contains("not an ELF"));
    }
}
