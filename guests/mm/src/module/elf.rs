//! What is in an object file (`elf_validity_check`, `setup_load_info`).

use core::fmt;

use abi::{
    errno::{ENOEXEC, Errno, Result},
    module::{MODINFO_SECTION, MODULE_NAME_LEN, VERMAGIC},
};
use object::{LittleEndian, elf, pod};

use super::{Log, Text};

/// All numbers of the file are little endian.
pub(super) const LE: LittleEndian = LittleEndian;

pub(super) type Header = elf::FileHeader32<LittleEndian>;
pub(super) type Section = elf::SectionHeader32<LittleEndian>;
pub(super) type Symbol = elf::Sym32<LittleEndian>;
pub(super) type Relocation = elf::Rel32<LittleEndian>;

/// An object file whose headers hold what they promise.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    file: &'a [u8],
    sections: &'a [Section],
    section_names: &'a [u8],
    symtab: usize,
    symbols: &'a [Symbol],
    strings: &'a [u8],
    modinfo: &'a [u8],
    name: &'a str,
}

impl<'a> Object<'a> {
    /// Looks through the headers of a file. ENOEXEC for what is no module.
    pub fn parse(file: &'a [u8], log: Log<'_>) -> Result<Self> {
        let mut object = Self::validate(file, log)?;
        let unnamed = "(missing .modinfo section or name field)";
        object.modinfo = object.find(MODINFO_SECTION).and_then(|at| object.contents(at)).unwrap_or_default();
        let name = object.modinfo("name").and_then(|name| core::str::from_utf8(name).ok());
        object.find_symbols(name.unwrap_or(unnamed), log)?;
        match name {
            Some(name) if is_module_name(name) => object.name = name,
            _ => return Err(refuse(log, format_args!("{unnamed}: No module found in object"))),
        }
        Ok(object)
    }

    /// `elf_validity_check`.
    fn validate(file: &'a [u8], log: Log<'_>) -> Result<Self> {
        let Ok((header, _)) = pod::from_bytes::<Header>(file) else {
            return Err(refuse(log, format_args!("Invalid ELF header len {}", file.len())));
        };
        if header.e_ident.magic != elf::ELFMAG {
            return Err(refuse(log, format_args!("Invalid ELF header magic: != \\x7fELF")));
        }
        let (kind, machine) = (header.e_type.get(LE), header.e_machine.get(LE));
        if kind != elf::ET_REL {
            return Err(refuse(log, format_args!("Invalid ELF header type: {kind} != {}", elf::ET_REL)));
        }
        if machine != elf::EM_386 {
            return Err(refuse(log, format_args!("Invalid architecture in ELF header: {machine}")));
        }
        if usize::from(header.e_shentsize.get(LE)) != size_of::<Section>() {
            return Err(refuse(log, format_args!("Invalid ELF section header size")));
        }
        let count = header.e_shnum.get(LE);
        let table = file.get(header.e_shoff.get(LE) as usize..).filter(|rest| !rest.is_empty());
        let table = table.and_then(|rest| pod::slice_from_bytes::<Section>(rest, count.into()).ok());
        let Some((sections, _)) = table else {
            return Err(refuse(log, format_args!("Invalid ELF section header overflow")));
        };
        let names = header.e_shstrndx.get(LE);
        if names == elf::SHN_UNDEF || names >= count {
            return Err(refuse(
                log,
                format_args!("Invalid ELF section name index: {names} || e_shstrndx ({names}) >= e_shnum ({count})"),
            ));
        }
        let mut object = Object {
            file,
            sections,
            section_names: &[],
            symtab: 0,
            symbols: &[],
            strings: &[],
            modinfo: &[],
            name: "",
        };
        let names = &sections[usize::from(names)];
        object.section_names = match object.range(names) {
            None => {
                let kind = names.sh_type.get(LE);
                return Err(refuse(log, format_args!("Invalid ELF section hdr(type {kind})")));
            }
            Some([]) => return Err(refuse(log, format_args!("empty section name table"))),
            Some(bytes @ [.., 0]) => bytes,
            Some(_) => {
                return Err(refuse(log, format_args!("ELF Spec violation: section name table isn't null terminated")));
            }
        };
        let first = &sections[0];
        if first.sh_type.get(LE) != elf::SHT_NULL || first.sh_size.get(LE) != 0 || first.sh_addr.get(LE) != 0 {
            let kind = first.sh_type.get(LE);
            return Err(refuse(
                log,
                format_args!("ELF Spec violation: section 0 type({kind})!=SH_NULL or non-zero len or addr"),
            ));
        }
        object.validate_sections(log)?;
        Ok(object)
    }

    fn validate_sections(&self, log: Log<'_>) -> Result<()> {
        let count = self.sections.len();
        for (n, section) in self.sections.iter().enumerate().skip(1) {
            let (kind, link) = (section.sh_type.get(LE), section.sh_link.get(LE));
            if kind == elf::SHT_NULL || kind == elf::SHT_NOBITS {
                continue;
            }
            if kind == elf::SHT_SYMTAB && (link == 0 || link as usize >= count) {
                return Err(refuse(
                    log,
                    format_args!("Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({count})"),
                ));
            }
            if self.range(section).is_none() {
                return Err(refuse(log, format_args!("Invalid ELF section in module (section {n} type {kind})")));
            }
            let name_is_outside = section.sh_name.get(LE) as usize >= self.section_names.len();
            if section.sh_flags.get(LE) & elf::SHF_ALLOC != 0 && name_is_outside {
                return Err(refuse(log, format_args!("Invalid ELF section name in module (section {n} type {kind})")));
            }
        }
        Ok(())
    }

    /// The symbol table and its strings.
    fn find_symbols(&mut self, name: &str, log: Log<'_>) -> Result<()> {
        let is_symtab = |section: &Section| section.sh_type.get(LE) == elf::SHT_SYMTAB;
        let Some(symtab) = self.sections.iter().position(is_symtab) else {
            return Err(refuse(log, format_args!("{name}: module has no symbols (stripped?)")));
        };
        let bytes = self.contents(symtab).unwrap_or_default();
        let strings = self.contents(self.sections[symtab].sh_link.get(LE) as usize);
        match (pod::slice_from_bytes(bytes, bytes.len() / size_of::<Symbol>()), strings) {
            (Ok((symbols, _)), Some(strings @ [.., 0])) => {
                (self.symtab, self.symbols, self.strings) = (symtab, symbols, strings);
                Ok(())
            }
            _ => Err(refuse(log, format_args!("{name}: the names of its symbols have no end"))),
        }
    }

    /// The bytes of a section's range; `None` if it reaches beyond the file.
    fn range(&self, section: &Section) -> Option<&'a [u8]> {
        let start = section.sh_offset.get(LE) as usize;
        self.file.get(start..start.checked_add(section.sh_size.get(LE) as usize)?)
    }

    /// What the file has of a section: nothing of one that is only zeros, `None` for one that
    /// is not there.
    pub(super) fn contents(&self, number: usize) -> Option<&'a [u8]> {
        let section = self.sections.get(number)?;
        match section.sh_type.get(LE) {
            elf::SHT_NULL => None,
            elf::SHT_NOBITS => Some(&[]),
            _ => self.range(section),
        }
    }

    /// All sections; the first is none.
    pub(super) fn sections(&self) -> &'a [Section] {
        self.sections
    }

    /// All symbols; the first is none.
    pub(super) fn symbols(&self) -> &'a [Symbol] {
        self.symbols
    }

    /// The number of the section with the symbols.
    pub(super) fn symtab(&self) -> usize {
        self.symtab
    }

    /// A section's name.
    pub(super) fn section_name(&self, section: &Section) -> &'a [u8] {
        string_at(self.section_names, section.sh_name.get(LE)).unwrap_or_default()
    }

    /// A symbol's name; `None` if it lies outside of the names.
    pub(super) fn symbol_name(&self, symbol: &Symbol) -> Option<&'a [u8]> {
        string_at(self.strings, symbol.st_name.get(LE))
    }

    /// `find_sec`: the section with this name, of those that are loaded.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let wanted = |section: &Section| {
            section.sh_flags.get(LE) & elf::SHF_ALLOC != 0 && self.section_name(section) == name.as_bytes()
        };
        self.sections.iter().position(wanted)
    }

    /// The module's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// `get_modinfo`: what the module says of itself under a tag.
    pub fn modinfo(&self, tag: &str) -> Option<&'a [u8]> {
        let rows = self.modinfo.split(|&byte| byte == 0);
        rows.filter_map(|row| row.strip_prefix(tag.as_bytes())?.strip_prefix(b"=")).next()
    }

    /// `check_modinfo`: ENOEXEC for a module that was made for another kernel.
    pub fn check_vermagic(&self, log: Log<'_>) -> Result<()> {
        match self.modinfo("vermagic") {
            Some(magic) if magic == VERMAGIC.as_bytes() => Ok(()),
            Some(magic) => {
                Err(refuse(log, format_args!("{}: version magic '{}' should be '{VERMAGIC}'", self.name, Text(magic))))
            }
            None => Err(refuse(log, format_args!("{}: no version magic, should be '{VERMAGIC}'", self.name))),
        }
    }
}

/// The bytes up to the next zero.
fn string_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(at as usize..)?;
    Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
}

/// Whether a name can be shown in a line of `/proc/modules` and has room there.
fn is_module_name(name: &str) -> bool {
    (1..MODULE_NAME_LEN).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Says why a file is no module.
pub(super) fn refuse(log: Log<'_>, why: fmt::Arguments<'_>) -> Errno {
    log(why);
    ENOEXEC
}
