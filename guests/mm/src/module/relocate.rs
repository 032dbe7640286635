//! Filling the image: sections, the values of symbols, relocations (`simplify_symbols`,
//! `apply_relocate`).

use alloc::vec::Vec;

use abi::{
    errno::{ENOENT, ENOEXEC, Result},
    module::{EXIT_SYMBOL, INIT_SYMBOL, KSYMTAB_SECTION, PARAM_SECTION},
};
use object::{elf, pod};

use super::{
    Image, Layout, Log, Table, Text,
    elf::{LE, Object, Relocation, Symbol, refuse},
    vec_for,
};

/// The name under which compilers speak of the global offset table; nobody defines it.
const GOT_SYMBOL: &[u8] = b"_GLOBAL_OFFSET_TABLE_";

/// What is known of a module once it is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Linked {
    /// Address of the first function; 0 for none.
    pub init: u32,
    /// Address of the last function; 0 for none.
    pub exit: u32,
    /// Parameters, rows of `KernelParam`.
    pub params: Table,
    /// What it lets others use, rows of `KernelSymbol`.
    pub exports: Table,
    /// Its symbols, rows of `ModuleSymbolRecord`.
    pub symbols: Table,
}

/// One relocation of a loaded section.
pub(super) struct Entry {
    /// Where in the image.
    pub at: u32,
    /// Bytes from there to the section's end.
    pub room: u32,
    /// Number of the symbol.
    pub symbol: u32,
    pub kind: u32,
}

impl Entry {
    /// Whether it goes through the global offset table.
    pub fn wants_entry(&self) -> bool {
        matches!(self.kind, elf::R_386_GOT32 | elf::R_386_GOT32X)
    }
}

impl Object<'_> {
    /// Calls `visit` with the relocations of the loaded sections.
    pub(super) fn for_each_relocation(&self, layout: &Layout, visit: &mut dyn FnMut(Entry)) {
        for (number, section) in self.sections().iter().enumerate() {
            let target = section.sh_info.get(LE) as usize;
            let (elf::SHT_REL, Some(start)) = (section.sh_type.get(LE), layout.section(target)) else { continue };
            let size = self.sections()[target].sh_size.get(LE);
            let bytes = self.contents(number).unwrap_or_default();
            let rows = pod::slice_from_bytes::<Relocation>(bytes, bytes.len() / size_of::<Relocation>());
            for row in rows.map_or(&[][..], |(rows, _)| rows) {
                let offset = row.r_offset.get(LE);
                visit(Entry {
                    at: start.saturating_add(offset),
                    room: size.saturating_sub(offset),
                    symbol: row.r_sym(LE),
                    kind: row.r_type(LE),
                });
            }
        }
    }
}

/// Fills the image, whose bytes are zeros, and says what is in it. `resolve` gives the address
/// of what the kernel and other modules export. ENOENT for a symbol that nobody has, ENOEXEC
/// for what can't be done.
pub fn link(
    object: &Object<'_>,
    layout: &Layout,
    image: &mut Image<'_>,
    resolve: &mut dyn FnMut(&[u8]) -> Option<u32>,
    log: Log<'_>,
) -> Result<Linked> {
    for number in 1..object.sections().len() {
        if let Some(offset) = layout.section(number) {
            let contents = object.contents(number).unwrap_or_default();
            image.range(offset, contents.len() as u32).ok_or(ENOEXEC)?.copy_from_slice(contents);
        }
    }
    let values = symbol_values(object, layout, image.base, resolve, log)?;
    for (n, &symbol) in layout.got.iter().enumerate() {
        let value = values.get(symbol as usize).copied().flatten();
        image.set_word(layout.got_offset + n as u32 * 4, value.unwrap_or(0)).ok_or(ENOEXEC)?;
    }
    refuse_what_we_cannot(object, layout, log)?;
    let mut result = Ok(());
    object.for_each_relocation(layout, &mut |entry| {
        if result.is_ok() {
            result = relocate(object, layout, &values, image, &entry, log);
        }
    });
    result?;
    let table = |name: &str| {
        let number = object.find(name)?;
        Some(Table { offset: layout.section(number)?, len: object.sections()[number].sh_size.get(LE) })
    };
    Ok(Linked {
        init: function(object, layout, image.base, INIT_SYMBOL, log)?,
        exit: function(object, layout, image.base, EXIT_SYMBOL, log)?,
        params: table(PARAM_SECTION).unwrap_or_default(),
        exports: table(KSYMTAB_SECTION).unwrap_or_default(),
        symbols: keep_symbols(object, layout, &values, image)?,
    })
}

/// The value of each symbol; `None` for one of a section that is not loaded.
fn symbol_values(
    object: &Object<'_>,
    layout: &Layout,
    base: u32,
    resolve: &mut dyn FnMut(&[u8]) -> Option<u32>,
    log: Log<'_>,
) -> Result<Vec<Option<u32>>> {
    let module = object.name();
    let mut values = vec_for(object.symbols().len())?;
    let mut result = Ok(());
    for (n, symbol) in object.symbols().iter().enumerate() {
        let Some(name) = object.symbol_name(symbol) else {
            return Err(refuse(log, format_args!("{module}: symbol {n} has its name outside of the names")));
        };
        let (section, value) = (symbol.st_shndx.get(LE), symbol.st_value.get(LE));
        values.push(match section {
            elf::SHN_UNDEF if n == 0 => Some(0),
            elf::SHN_UNDEF if name == GOT_SYMBOL => Some(base.wrapping_add(layout.got_offset)),
            elf::SHN_UNDEF => match resolve(name) {
                None if symbol.st_bind() != elf::STB_WEAK => {
                    log(format_args!("{module}: Unknown symbol {} (err {})", Text(name), ENOENT.to_ret()));
                    result = Err(ENOENT);
                    None
                }
                found => Some(found.unwrap_or(0)),
            },
            elf::SHN_ABS => Some(value),
            elf::SHN_COMMON => {
                log(format_args!("{module}: please compile with -fno-common"));
                result = Err(ENOEXEC);
                None
            }
            _ => {
                let Some(header) = object.sections().get(usize::from(section)) else {
                    return Err(refuse(
                        log,
                        format_args!("{module}: symbol {n} is of section {section}, which is none"),
                    ));
                };
                if value > header.sh_size.get(LE) {
                    return Err(refuse(log, format_args!("{module}: symbol {n} lies outside of section {section}")));
                }
                layout.section(section.into()).map(|offset| base.wrapping_add(offset).wrapping_add(value))
            }
        });
    }
    result.map(|()| values)
}

/// Tables of relocations that are not for this processor, or for other symbols.
fn refuse_what_we_cannot(object: &Object<'_>, layout: &Layout, log: Log<'_>) -> Result<()> {
    let module = object.name();
    for section in object.sections() {
        let is_loaded = layout.section(section.sh_info.get(LE) as usize).is_some();
        match section.sh_type.get(LE) {
            elf::SHT_RELA if is_loaded => {
                return Err(refuse(log, format_args!("module: {module}: ADD RELOCATION unsupported")));
            }
            elf::SHT_REL if is_loaded && section.sh_link.get(LE) as usize != object.symtab() => {
                return Err(refuse(log, format_args!("{module}: relocations for other symbols")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// One relocation (System V ABI, Intel386 supplement, "Relocation").
fn relocate(
    object: &Object<'_>,
    layout: &Layout,
    values: &[Option<u32>],
    image: &mut Image<'_>,
    entry: &Entry,
    log: Log<'_>,
) -> Result<()> {
    let module = object.name();
    let (base, got) = (image.base, image.base.wrapping_add(layout.got_offset));
    if entry.kind == elf::R_386_NONE {
        return Ok(());
    }
    let addend = match image.word(entry.at) {
        Some(word) if entry.room >= 4 => word,
        _ => return Err(refuse(log, format_args!("{module}: a relocation lies outside of its section"))),
    };
    let value = match values.get(entry.symbol as usize) {
        Some(&Some(value)) => value,
        // A symbol of what is not loaded has no address, and the table needs none.
        Some(None) if entry.kind == elf::R_386_GOTPC => got,
        _ => return Err(refuse(log, format_args!("{module}: a relocation is for symbol {}", entry.symbol))),
    };
    let place = base.wrapping_add(entry.at);
    let slot = || {
        let n = layout.got.binary_search(&entry.symbol).map_err(|_| ENOEXEC)?;
        Ok(layout.got_offset + n as u32 * 4)
    };
    let result = match entry.kind {
        elf::R_386_32 => value.wrapping_add(addend),
        elf::R_386_PC32 | elf::R_386_PLT32 => value.wrapping_add(addend).wrapping_sub(place),
        elf::R_386_GOTOFF => value.wrapping_add(addend).wrapping_sub(got),
        elf::R_386_GOTPC => got.wrapping_add(addend).wrapping_sub(place),
        elf::R_386_GOT32 | elf::R_386_GOT32X => {
            let slot: u32 = slot()?;
            // An operand without a base register wants the entry's address, one with a base its
            // distance from the table (the ModRM byte before it tells: mod 0, r/m 5).
            let modrm = entry.at.checked_sub(1).and_then(|at| image.bytes.get(at as usize)).copied().unwrap_or(0);
            let from = if modrm & 0xc7 == 0x05 { base.wrapping_add(slot) } else { slot - layout.got_offset };
            from.wrapping_add(addend)
        }
        kind => return Err(refuse(log, format_args!("module: {module}: Unknown relocation: {kind}"))),
    };
    image.set_word(entry.at, result).ok_or(ENOEXEC)
}

/// The address of a function that the kernel calls; 0 if there is none of that name.
fn function(object: &Object<'_>, layout: &Layout, base: u32, name: &str, log: Log<'_>) -> Result<u32> {
    let is_it = |symbol: &&Symbol| {
        symbol.st_shndx.get(LE) != elf::SHN_UNDEF && object.symbol_name(symbol) == Some(name.as_bytes())
    };
    let Some(symbol) = object.symbols().iter().find(is_it) else { return Ok(0) };
    let number = usize::from(symbol.st_shndx.get(LE));
    let value = symbol.st_value.get(LE);
    let section = object
        .sections()
        .get(number)
        .filter(|section| section.sh_flags.get(LE) & elf::SHF_EXECINSTR != 0 && value < section.sh_size.get(LE));
    match (section, layout.section(number)) {
        (Some(_), Some(offset)) => Ok(base.wrapping_add(offset).wrapping_add(value)),
        _ => Err(refuse(log, format_args!("{}: {name} is no function", object.name()))),
    }
}

/// Writes the records and names of the symbols that backtraces show, by ascending address.
fn keep_symbols(object: &Object<'_>, layout: &Layout, values: &[Option<u32>], image: &mut Image<'_>) -> Result<Table> {
    let mut kept = vec_for(layout.kept as usize)?;
    for (symbol, value) in object.symbols().iter().zip(values) {
        if let (Some(name), Some(value)) = (layout.kept_name(object, symbol), *value) {
            kept.push((value, symbol.st_size.get(LE), name));
        }
    }
    kept.sort_unstable();
    let table = Table { offset: layout.records_offset, len: kept.len() as u32 * 16 };
    let mut at = layout.names_offset;
    for (row, (value, size, name)) in table.rows(16).zip(kept) {
        let words = [value, size, image.base.wrapping_add(at), name.len() as u32];
        for (n, word) in (0..).zip(words) {
            image.set_word(row + n * 4, word).ok_or(ENOEXEC)?;
        }
        image.range(at, name.len() as u32).ok_or(ENOEXEC)?.copy_from_slice(name);
        at += name.len() as u32;
    }
    Ok(table)
}
