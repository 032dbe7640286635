//! The Multiboot 1 boot protocol (Multiboot Specification 0.6.96).

mod information;

use std::ops::Range;

use memory::PhysMem;

use super::{BootError, Image, elf::Kernel, layout::Layout};
use crate::{Error, firmware::MemoryRegion};
use information::Information;

const MAGIC: u32 = 0x1bad_b002;
/// The header lies in this much of the file, at a multiple of 4.
const SEARCHED: usize = 8192;
const HEADER_BYTES: usize = 12;
const ADDRESSES_BYTES: usize = 20;

// Header flags. The lower half are requirements.
const WANT_PAGE_ALIGNED: u32 = 1 << 0;
const WANT_MEMORY: u32 = 1 << 1;
const WANT_VIDEO: u32 = 1 << 2;
const REQUIREMENTS: u32 = 0xffff;
const HAS_ADDRESSES: u32 = 1 << 16;

/// Where the information goes, in conventional memory.
const INFO_PLACE: Range<u64> = 0x9000..0x9_f000;

/// What the CPU begins with.
pub(super) struct Entry {
    pub eip: u32,
    pub info: u32,
}

/// Loads a kernel and its modules and writes the information structure.
pub(super) fn load(
    mem: &mut PhysMem,
    memory_map: &[MemoryRegion],
    kernel: &Image,
    command_line: &str,
    modules: &[(Image, String)],
) -> Result<Entry, Error> {
    let in_kernel = |source| Error::Boot { image: kernel.name.clone(), source };
    let mut layout = Layout::new(mem, memory_map);
    let loaded = load_kernel(&mut layout, &kernel.bytes).map_err(in_kernel)?;
    let mut module_ranges = Vec::new();
    for (image, _) in modules {
        let start = layout
            .append("the module", &image.bytes)
            .map_err(|source| Error::Boot { image: image.name.clone(), source })?;
        module_ranges.push((start as u32, (start + image.bytes.len() as u64) as u32));
    }
    if command_line.contains('\0') || modules.iter().any(|(_, string)| string.contains('\0')) {
        return Err(in_kernel(BootError::NulInCommandLine));
    }
    let information = Information {
        memory_map,
        command_line,
        modules: modules
            .iter()
            .zip(&module_ranges)
            .map(|((_, string), &(start, end))| (start, end, string.as_str()))
            .collect(),
        section_headers: &loaded.section_headers,
        section_names: loaded.section_names,
    };
    let info = write_information(&mut layout, &information).map_err(in_kernel)?;
    Ok(Entry { eip: loaded.eip, info })
}

/// A kernel in memory.
struct Loaded {
    eip: u32,
    /// Section headers with the addresses of the tables that were loaded for symbols.
    section_headers: Vec<u8>,
    section_names: u32,
}

fn load_kernel(layout: &mut Layout<'_>, bytes: &[u8]) -> Result<Loaded, BootError> {
    let is_elf = bytes.starts_with(b"\x7fELF");
    let elf = if is_elf { Some(Kernel::parse(bytes)?) } else { None };
    let Some(header) = find_header(bytes) else {
        let searched = SEARCHED.min(bytes.len());
        return Err(if is_elf { BootError::NoMultibootHeader { searched } } else { BootError::NotElf });
    };
    let unknown = header.flags & REQUIREMENTS & !(WANT_PAGE_ALIGNED | WANT_MEMORY | WANT_VIDEO);
    if unknown != 0 {
        return Err(BootError::Features { flags: unknown });
    }
    if header.flags & WANT_VIDEO != 0 {
        log::warn!("the kernel asks for a video mode: there is none");
    }
    match elf {
        Some(elf) => load_elf(layout, bytes, &elf),
        None => load_by_addresses(layout, bytes, &header),
    }
}

/// The header found in a file.
pub(super) struct Header {
    offset: usize,
    flags: u32,
}

/// Looks for the header where the specification wants it.
pub(super) fn find_header(bytes: &[u8]) -> Option<Header> {
    let searched = &bytes[..bytes.len().min(SEARCHED)];
    (0..searched.len().saturating_sub(HEADER_BYTES - 1)).step_by(4).find_map(|offset| {
        let [magic, flags, checksum] = [0, 4, 8].map(|field| word(searched, offset + field));
        (magic == MAGIC && magic.wrapping_add(flags).wrapping_add(checksum) == 0).then_some(Header { offset, flags })
    })
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn load_elf(layout: &mut Layout<'_>, bytes: &[u8], elf: &Kernel) -> Result<Loaded, BootError> {
    for segment in &elf.segments {
        let what = format!("program header {}'s segment", segment.number);
        layout.place(&what, segment.physical, &bytes[segment.file.clone()], segment.memory_bytes)?;
    }
    let mut section_headers = Vec::new();
    for section in &elf.sections {
        let mut header = bytes[section.header.clone()].to_vec();
        if let Some(symbols) = &section.symbols {
            let address = layout.append("the symbol table", &bytes[symbols.clone()])?;
            header[12..16].copy_from_slice(&(address as u32).to_le_bytes()); // sh_addr
        }
        section_headers.extend(header);
    }
    Ok(Loaded { eip: elf.entry as u32, section_headers, section_names: u32::from(elf.section_names) })
}

/// A kernel that is no ELF file says in its header where it goes.
fn load_by_addresses(layout: &mut Layout<'_>, bytes: &[u8], header: &Header) -> Result<Loaded, BootError> {
    if header.flags & HAS_ADDRESSES == 0 {
        return Err(BootError::NotElf);
    }
    let fields = header.offset + HEADER_BYTES;
    if bytes.len() < fields + ADDRESSES_BYTES {
        let end = (fields + ADDRESSES_BYTES) as u64;
        return Err(BootError::Truncated { what: "the Multiboot header".into(), end, len: bytes.len() as u64 });
    }
    let [header_addr, load_addr, load_end, bss_end, entry] =
        [0, 4, 8, 12, 16].map(|field| u64::from(word(bytes, fields + field)));
    let corrupt = |what: &str| BootError::Corrupt { what: format!("Multiboot header: {what}") };
    let before_header = header_addr.checked_sub(load_addr).ok_or_else(|| corrupt("it lies before the load address"))?;
    let start =
        (header.offset as u64).checked_sub(before_header).ok_or_else(|| corrupt("loads from before the file"))?;
    let file_bytes = match load_end {
        0 => bytes.len() as u64 - start,
        end => end.checked_sub(load_addr).ok_or_else(|| corrupt("the load ends before it begins"))?,
    };
    let end = start + file_bytes;
    if end > bytes.len() as u64 {
        return Err(BootError::Truncated { what: "the kernel".into(), end, len: bytes.len() as u64 });
    }
    let memory_bytes = match bss_end {
        0 => file_bytes,
        end => end
            .checked_sub(load_addr)
            .filter(|&len| len >= file_bytes)
            .ok_or_else(|| corrupt("bss ends in the data"))?,
    };
    layout.place("the kernel", load_addr, &bytes[start as usize..end as usize], memory_bytes)?;
    Ok(Loaded { eip: entry as u32, section_headers: Vec::new(), section_names: 0 })
}

/// Writes the information structure with all that hangs on it into conventional memory.
fn write_information(layout: &mut Layout<'_>, information: &Information<'_>) -> Result<u32, BootError> {
    let bytes = information.block(0).len() as u64;
    let room = INFO_PLACE.end - INFO_PLACE.start;
    let start = layout.gap(INFO_PLACE, bytes).ok_or(BootError::TooMuchInformation { bytes, room })?;
    layout.place("the boot information", start, &information.block(start as u32), bytes)?;
    Ok(start as u32)
}
