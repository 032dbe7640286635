//! Where the parts of a module go: code, then what is only read, then data, each in pages of
//! their own (`layout_sections`).

use alloc::vec::Vec;

use abi::{
    books::ModuleSymbolRecord,
    errno::{ENOMEM, Result},
    module::MODINFO_SECTION,
};
use object::elf;

use super::{
    Log,
    elf::{LE, Object, Section, Symbol, refuse},
    vec_for,
};

const PAGE_SIZE: u32 = 4096;
/// Largest image: what no address space of the kernel could hold is refused before it is tried.
const MAX_SIZE: u32 = 64 << 20;
/// The place of a section that is not loaded.
const NOT_LOADED: u32 = !0;

/// The plan of a module's image.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Where each section begins.
    offsets: Vec<u32>,
    /// Bytes of code, in whole pages.
    pub text_size: u32,
    /// Bytes of code and of what is only read, in whole pages.
    pub ro_size: u32,
    /// Bytes of all, in whole pages.
    pub size: u32,
    /// The symbols with an entry in the global offset table, ascending.
    pub(super) got: Vec<u32>,
    /// Where that table begins.
    pub(super) got_offset: u32,
    /// Symbols that are kept for backtraces; where their records begin, and their names.
    pub(super) kept: u32,
    pub(super) records_offset: u32,
    pub(super) names_offset: u32,
}

/// Whether a section is in the image: what the module says of itself is not.
fn is_loaded(object: &Object<'_>, section: &Section) -> bool {
    section.sh_flags.get(LE) & elf::SHF_ALLOC != 0
        && section.sh_type.get(LE) != elf::SHT_NULL
        && object.section_name(section) != MODINFO_SECTION.as_bytes()
}

/// Which part of the image a section goes to.
fn part(section: &Section) -> usize {
    let flags = section.sh_flags.get(LE);
    match flags {
        _ if flags & elf::SHF_EXECINSTR != 0 => 0,
        _ if flags & elf::SHF_WRITE == 0 => 1,
        _ => 2,
    }
}

/// Adds bytes at an alignment; says where they begin.
fn place(end: &mut u32, size: u32, align: u32) -> Result<u32> {
    let start = end.checked_next_multiple_of(align).ok_or(ENOMEM)?;
    *end = start.checked_add(size).filter(|&end| end <= MAX_SIZE).ok_or(ENOMEM)?;
    Ok(start)
}

impl Layout {
    /// Lays an object out. ENOEXEC for sections that can't be, ENOMEM for too much.
    pub fn new(object: &Object<'_>, log: Log<'_>) -> Result<Self> {
        let mut offsets = vec_for(object.sections().len())?;
        // What is loaded is known before where: the tables are made of all of it.
        offsets.extend(object.sections().iter().map(|section| if is_loaded(object, section) { 0 } else { NOT_LOADED }));
        let mut layout = Layout {
            offsets,
            text_size: 0,
            ro_size: 0,
            size: 0,
            got: Vec::new(),
            got_offset: 0,
            kept: 0,
            records_offset: 0,
            names_offset: 0,
        };
        let mut end = 0;
        layout.place_part(object, 0, &mut end, log)?;
        end = end.next_multiple_of(PAGE_SIZE);
        layout.text_size = end;
        layout.place_part(object, 1, &mut end, log)?;
        layout.place_tables(object, &mut end)?;
        end = end.next_multiple_of(PAGE_SIZE);
        layout.ro_size = end;
        layout.place_part(object, 2, &mut end, log)?;
        layout.size = end.next_multiple_of(PAGE_SIZE);
        Ok(layout)
    }

    fn place_part(&mut self, object: &Object<'_>, wanted: usize, end: &mut u32, log: Log<'_>) -> Result<()> {
        for (n, section) in object.sections().iter().enumerate().skip(1) {
            if self.offsets[n] == NOT_LOADED || part(section) != wanted {
                continue;
            }
            let align = section.sh_addralign.get(LE).max(1);
            if !align.is_power_of_two() || align > PAGE_SIZE {
                let name = object.name();
                return Err(refuse(log, format_args!("{name}: section {n} wants an alignment of {align}")));
            }
            self.offsets[n] = place(end, section.sh_size.get(LE), align)?;
        }
        Ok(())
    }

    /// The tables that the loader makes: entries for symbols, and the symbols' names.
    fn place_tables(&mut self, object: &Object<'_>, end: &mut u32) -> Result<()> {
        let mut count = 0;
        object.for_each_relocation(self, &mut |relocation| count += usize::from(relocation.wants_entry()));
        let mut got = vec_for(count)?;
        object.for_each_relocation(self, &mut |relocation| {
            if relocation.wants_entry() {
                got.push(relocation.symbol);
            }
        });
        got.sort_unstable();
        got.dedup();
        self.got_offset = place(end, got.len() as u32 * 4, 4)?;
        self.got = got;
        let (mut kept, mut bytes) = (0u32, 0u32);
        for symbol in object.symbols() {
            if let Some(name) = self.kept_name(object, symbol) {
                kept += 1;
                bytes = bytes.checked_add(name.len() as u32).ok_or(ENOMEM)?;
            }
        }
        let records = kept.checked_mul(size_of::<ModuleSymbolRecord>() as u32).ok_or(ENOMEM)?;
        self.kept = kept;
        self.records_offset = place(end, records, 4)?;
        self.names_offset = place(end, bytes, 1)?;
        Ok(())
    }

    /// Where a section begins in the image, if it is loaded.
    pub(super) fn section(&self, number: usize) -> Option<u32> {
        self.offsets.get(number).copied().filter(|&offset| offset != NOT_LOADED)
    }

    /// The name of a symbol that is kept: of what is in the image and is no local label.
    pub(super) fn kept_name<'a>(&self, object: &Object<'a>, symbol: &Symbol) -> Option<&'a [u8]> {
        let kind_fits = matches!(symbol.st_type(), elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC);
        let number = usize::from(symbol.st_shndx.get(LE));
        self.section(number).filter(|_| kind_fits)?;
        let fits = symbol.st_value.get(LE) <= object.sections()[number].sh_size.get(LE);
        let name = object.symbol_name(symbol).filter(|name| !name.is_empty() && !name.starts_with(b".L"))?;
        (fits && core::str::from_utf8(name).is_ok()).then_some(name)
    }
}
