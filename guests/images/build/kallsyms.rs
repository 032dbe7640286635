//! Writes the kernel's symbol table into the place that the kernel reserves for it, so that
//! an oops names functions wherever the image is booted.
//!
//! Layout (little endian): `KALLSYMS`, the count of rows, then by ascending address the
//! rows (address, offset of the name from the table's start), then the names, each ended
//! by a zero.

use rustc_demangle::demangle;

const SECTION: &str = ".kallsyms";
const MAGIC: &[u8; 8] = b"KALLSYMS";
const SHT_SYMTAB: u32 = 2;
const STT_NOTYPE: u8 = 0;
const STT_FUNC: u8 = 2;

struct Section {
    name: usize,
    kind: u32,
    addr: u32,
    offset: usize,
    size: usize,
    link: usize,
}

/// Fills the table of an i386 ELF image; the error says what is wrong with the image.
pub fn embed(image: &mut [u8]) -> Result<(), String> {
    let sections = sections(image).ok_or("the kernel's section headers are damaged")?;
    let names = sections.get(usize::from(u16_at(image, 50).unwrap_or(0))).ok_or("no section names")?;
    let find = |wanted: &str| sections.iter().find(|s| string_at(image, names.offset + s.name) == Some(wanted));
    let table = find(SECTION).ok_or("the kernel has no section .kallsyms")?;
    let text = find(".text").ok_or("the kernel has no section .text")?;
    let symbols = symbols(image, &sections, text.addr..text.addr + text.size as u32).ok_or("no symbol table")?;
    let bytes = encode(&symbols);
    if bytes.len() > table.size {
        return Err(format!("{} bytes of symbols do not fit into the {} reserved", bytes.len(), table.size));
    }
    let place = image.get_mut(table.offset..table.offset + bytes.len()).ok_or("the table lies outside the file")?;
    if !place.starts_with(MAGIC) {
        return Err("the section .kallsyms does not begin with its magic".into());
    }
    place.copy_from_slice(&bytes);
    Ok(())
}

fn encode(symbols: &[(u32, String)]) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC.as_slice());
    bytes.extend((symbols.len() as u32).to_le_bytes());
    let mut name_at = (bytes.len() + symbols.len() * 8) as u32;
    for (addr, name) in symbols {
        bytes.extend(addr.to_le_bytes());
        bytes.extend(name_at.to_le_bytes());
        name_at += name.len() as u32 + 1;
    }
    for (_, name) in symbols {
        bytes.extend(name.bytes());
        bytes.push(0);
    }
    bytes
}

/// Functions and assembly labels of the code, one an address.
fn symbols(image: &[u8], sections: &[Section], text: std::ops::Range<u32>) -> Option<Vec<(u32, String)>> {
    let symtab = sections.iter().find(|s| s.kind == SHT_SYMTAB)?;
    let strings = sections.get(symtab.link)?;
    let mut found = Vec::new();
    for at in (symtab.offset..symtab.offset + symtab.size).step_by(16) {
        let (name, value) = (u32_at(image, at)?, u32_at(image, at + 4)?);
        let kind = image.get(at + 12)? & 15;
        if text.contains(&value) && (kind == STT_FUNC || kind == STT_NOTYPE) {
            let name = string_at(image, strings.offset + name as usize)?;
            if !name.is_empty() {
                found.push((value, format!("{:#}", demangle(name))));
            }
        }
    }
    found.sort();
    found.dedup_by_key(|(addr, _)| *addr);
    Some(found)
}

fn sections(image: &[u8]) -> Option<Vec<Section>> {
    let (table, size, count) = (u32_at(image, 32)?, u16_at(image, 46)?, u16_at(image, 48)?);
    (0..usize::from(count))
        .map(|n| {
            let at = table as usize + n * usize::from(size);
            let word = |n: usize| u32_at(image, at + n * 4);
            Some(Section {
                name: word(0)? as usize,
                kind: word(1)?,
                addr: word(3)?,
                offset: word(4)? as usize,
                size: word(5)? as usize,
                link: word(6)? as usize,
            })
        })
        .collect()
}

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?))
}

fn string_at(image: &[u8], at: usize) -> Option<&str> {
    let rest = image.get(at..)?;
    let len = rest.iter().position(|&b| b == 0)?;
    std::str::from_utf8(&rest[..len]).ok()
}
