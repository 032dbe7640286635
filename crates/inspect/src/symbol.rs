//! Symbols of the kernel and of programs.

use goblin::elf::Elf;
use goblin::elf::sym::{STT_FILE, STT_SECTION, STT_TLS};
use serde::Serialize;

/// A name for a range of linear addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Symbol {
    /// First address.
    pub addr: u32,
    /// Bytes; 0 if the object file does not say.
    pub size: u32,
    /// As the source has it, demangled.
    pub name: String,
    /// As the linker has it.
    #[serde(skip)]
    pub raw: String,
}

impl Symbol {
    /// A symbol under the name that the linker has for it.
    pub fn named_by_linker(addr: u32, size: u32, raw: String) -> Symbol {
        Symbol { addr, size, name: format!("{:#}", rustc_demangle::demangle(&raw)), raw }
    }
}

/// The symbols of one object file, by ascending address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    rows: Vec<Symbol>,
}

impl Symbols {
    /// Reads the symbol table of an ELF file; none or a damaged one gives no symbols.
    pub fn of_elf(elf: &Elf<'_>) -> Symbols {
        let named = elf.syms.iter().filter(|sym| {
            sym.st_shndx != 0 && !matches!(sym.st_type(), STT_FILE | STT_SECTION | STT_TLS) && sym.st_value != 0
        });
        let rows: Vec<Symbol> = named
            .filter_map(|sym| {
                let raw = elf.strtab.get_at(sym.st_name).filter(|name| !name.is_empty())?;
                let addr = u32::try_from(sym.st_value).ok()?;
                Some(Symbol::named_by_linker(addr, sym.st_size.min(u64::from(u32::MAX)) as u32, raw.to_owned()))
            })
            .collect();
        Symbols::of_rows(rows)
    }

    /// A table of some symbols.
    pub fn of_rows(mut rows: Vec<Symbol>) -> Symbols {
        // Of several names for an address the one with a size comes last and is found.
        rows.sort_by(|a, b| (a.addr, a.size, &a.raw).cmp(&(b.addr, b.size, &b.raw)));
        Symbols { rows }
    }

    /// Reads the symbol table of an ELF file in memory.
    pub fn of_bytes(bytes: &[u8]) -> Symbols {
        Elf::parse(bytes).map(|elf| Symbols::of_elf(&elf)).unwrap_or_default()
    }

    /// The symbol that holds `addr`, and how far into it. One without a size holds
    /// everything up to the next symbol, but no more than 64 KiB.
    pub fn at(&self, addr: u32) -> Option<(&Symbol, u32)> {
        let end = self.rows.partition_point(|row| row.addr <= addr);
        // A small symbol inside a larger one (a local label) must not hide the larger: look back a little.
        self.rows[..end].iter().rev().take(16).enumerate().find_map(|(back, row)| {
            let offset = addr - row.addr;
            let holds = if row.size == 0 { back == 0 && offset < 0x1_0000 } else { offset < row.size };
            holds.then_some((row, offset))
        })
    }

    /// The symbol with this name, mangled or not. Of several, the lowest.
    pub fn named(&self, name: &str) -> Option<&Symbol> {
        self.rows.iter().find(|row| row.raw == name || row.name == name)
    }

    /// All symbols whose name ends in `::name`: a function without its path.
    pub fn with_last_part<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Symbol> {
        self.rows.iter().filter(move |row| row.name.rsplit("::").next() == Some(name))
    }

    /// All of them, by ascending address.
    pub fn iter(&self) -> impl Iterator<Item = &Symbol> {
        self.rows.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// `name+0x1f`, or `name` at its first byte.
    pub fn describe(&self, addr: u32) -> Option<String> {
        self.at(addr).map(|(symbol, offset)| match offset {
            0 => symbol.name.clone(),
            _ => format!("{}+{offset:#x}", symbol.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(rows: &[(u32, u32, &str)]) -> Symbols {
        let row = |&(addr, size, name): &(u32, u32, &str)| Symbol { addr, size, name: name.into(), raw: name.into() };
        Symbols { rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn an_address_is_named_by_the_symbol_that_holds_it() {
        let table = symbols(&[(0x100, 0, "_start"), (0x200, 0x40, "main"), (0x210, 4, "inner"), (0x300, 8, "last")]);
        let name = |addr| table.describe(addr);
        assert_eq!(name(0x110).as_deref(), Some("_start+0x10"));
        assert_eq!(name(0x200).as_deref(), Some("main"));
        assert_eq!(name(0x212).as_deref(), Some("inner+0x2"));
        assert_eq!(name(0x220).as_deref(), Some("main+0x20"));
        assert_eq!(name(0x308), None);
        assert_eq!(name(0xff), None);
    }

    #[test]
    fn a_symbol_is_found_by_its_last_part() {
        let table = symbols(&[(1, 1, "a::do_page_fault"), (2, 1, "b::x")]);
        assert_eq!(table.with_last_part("do_page_fault").map(|s| s.addr).collect::<Vec<_>>(), [1]);
        assert_eq!(table.named("b::x").map(|s| s.addr), Some(2));
    }
}
