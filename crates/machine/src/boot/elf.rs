use std::ops::Range;

use goblin::{
    container::{Container, Ctx, Endian},
    elf::{
        Elf, ProgramHeader, SectionHeader, header,
        program_header::PT_LOAD,
        section_header::{SHT_STRTAB, SHT_SYMTAB},
    },
    elf32::{program_header::SIZEOF_PHDR, section_header::SIZEOF_SHDR},
};

use super::BootError;

/// A part of the file and where it goes.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: usize,
    pub physical: u64,
    pub virtual_start: u64,
    pub memory_bytes: u64,
    pub file: Range<usize>,
}

/// A section header as the file has it, and the symbol data behind it that no segment loads.
#[derive(Debug)]
pub(super) struct Section {
    /// The 40 bytes of the header.
    pub header: Range<usize>,
    /// Contents of a symbol or string table that is not part of a segment.
    pub symbols: Option<Range<usize>>,
}

/// What a boot loader wants of an ELF file, checked against the file's size.
#[derive(Debug)]
pub(super) struct Kernel {
    pub entry: u64,
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
    pub section_names: u16,
}

impl Kernel {
    pub fn parse(bytes: &[u8]) -> Result<Self, BootError> {
        let header = check_identity(bytes)?;
        let ctx = Ctx::new(Container::Little, Endian::Little);
        let count = usize::from(header.e_phnum);
        let table = table(bytes, "the program header table", header.e_phoff, count, SIZEOF_PHDR)?;
        if count > 0 && usize::from(header.e_phentsize) != SIZEOF_PHDR {
            return Err(corrupt(format!("program headers of {} bytes", header.e_phentsize)));
        }
        let headers =
            ProgramHeader::parse(bytes, table.start, count, ctx).map_err(|error| corrupt(error.to_string()))?;
        let mut segments = Vec::new();
        for (number, header) in headers.iter().enumerate() {
            if header.p_type == PT_LOAD && header.p_memsz > 0 {
                segments.push(segment(bytes, number, header)?);
            }
        }
        if segments.is_empty() {
            return Err(BootError::NoSegments);
        }
        let sections = sections(bytes, &header, ctx)?;
        Ok(Kernel {
            entry: physical_entry(header.e_entry, &segments),
            segments,
            sections,
            section_names: header.e_shstrndx,
        })
    }
}

fn check_identity(bytes: &[u8]) -> Result<header::Header, BootError> {
    if bytes.len() < header::SELFMAG || bytes[..header::SELFMAG] != *header::ELFMAG {
        return Err(BootError::NotElf);
    }
    let truncated = || BootError::Truncated { what: "the ELF header".into(), end: 52, len: bytes.len() as u64 };
    match bytes.get(header::EI_CLASS).ok_or_else(truncated)? {
        &header::ELFCLASS32 => {}
        &header::ELFCLASS64 => return Err(BootError::Elf64),
        class => return Err(corrupt(format!("ELF class {class}"))),
    }
    match bytes.get(header::EI_DATA).ok_or_else(truncated)? {
        &header::ELFDATA2LSB => {}
        &header::ELFDATA2MSB => return Err(BootError::BigEndian),
        order => return Err(corrupt(format!("byte order {order}"))),
    }
    let header = Elf::parse_header(bytes).map_err(|_| truncated())?;
    if header.e_machine != header::EM_386 {
        return Err(BootError::OtherProcessor { name: processor(header.e_machine) });
    }
    if header.e_type != header::ET_EXEC {
        return Err(BootError::NotExecutable { kind: header.e_type });
    }
    Ok(header)
}

fn processor(machine: u16) -> String {
    match header::machine_to_str(machine) {
        "UNKNOWN" | "UNKNOWN_EM" => format!("processor number {machine}"),
        name => name.trim_start_matches("EM_").to_owned(),
    }
}

fn segment(bytes: &[u8], number: usize, header: &ProgramHeader) -> Result<Segment, BootError> {
    if header.p_filesz > header.p_memsz {
        return Err(corrupt(format!(
            "program header {number} has {:#x} bytes in the file, more than its {:#x} in memory",
            header.p_filesz, header.p_memsz
        )));
    }
    if header.p_paddr + header.p_memsz > 1 << 32 {
        return Err(corrupt(format!(
            "program header {number} wraps round the end of the address space: {:#x} bytes at {:#x}",
            header.p_memsz, header.p_paddr
        )));
    }
    let what = format!("program header {number}'s segment");
    let file = table(bytes, &what, header.p_offset, header.p_filesz as usize, 1)?;
    Ok(Segment { number, physical: header.p_paddr, virtual_start: header.p_vaddr, memory_bytes: header.p_memsz, file })
}

/// The section headers, if the file has some that are whole. They serve symbols only: a
/// kernel boots without.
fn sections(bytes: &[u8], header: &header::Header, ctx: Ctx) -> Result<Vec<Section>, BootError> {
    let count = usize::from(header.e_shnum);
    if count == 0 || usize::from(header.e_shentsize) != SIZEOF_SHDR {
        return Ok(Vec::new());
    }
    let table = table(bytes, "the section header table", header.e_shoff, count, SIZEOF_SHDR)?;
    let headers = SectionHeader::parse_from(bytes, table.start, count, ctx).map_err(|e| corrupt(e.to_string()))?;
    headers
        .iter()
        .enumerate()
        .map(|(number, section)| {
            let wanted = matches!(section.sh_type, SHT_SYMTAB | SHT_STRTAB) && section.sh_addr == 0;
            let contents =
                || self::table(bytes, &format!("section {number}"), section.sh_offset, section.sh_size as usize, 1);
            let symbols = if wanted { Some(contents()?) } else { None };
            let start = table.start + number * SIZEOF_SHDR;
            Ok(Section { header: start..start + SIZEOF_SHDR, symbols })
        })
        .collect()
}

/// The bytes of `count` entries of `size` from `offset`, if the file has them all.
fn table(bytes: &[u8], what: &str, offset: u64, count: usize, size: usize) -> Result<Range<usize>, BootError> {
    let end = offset + count as u64 * size as u64;
    if count > 0 && end > bytes.len() as u64 {
        return Err(BootError::Truncated { what: what.to_owned(), end, len: bytes.len() as u64 });
    }
    if count == 0 {
        return Ok(0..0);
    }
    Ok(offset as usize..end as usize)
}

/// The entry point as a physical address. Kernels that are linked high give a virtual one.
fn physical_entry(entry: u64, segments: &[Segment]) -> u64 {
    segments
        .iter()
        .find(|segment| (segment.virtual_start..segment.virtual_start + segment.memory_bytes).contains(&entry))
        .map_or(entry, |segment| entry - segment.virtual_start + segment.physical)
}

fn corrupt(what: String) -> BootError {
    BootError::Corrupt { what }
}
