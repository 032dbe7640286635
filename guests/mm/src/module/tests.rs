//! Object files made by hand: what each relocation comes to, and files that lie.

extern crate std;

use std::{collections::BTreeMap, format, string::String, vec, vec::Vec};

use abi::{
    errno::{EINVAL, ENOENT, ENOEXEC, ENOMEM, ERANGE, Errno, Result},
    module::{VERMAGIC, param_kind},
};
use object::elf;
use proptest::prelude::*;

use super::*;

/// Where the images of these tests lie.
const BASE: u32 = 0xf880_1000;

/// An object file that is put together.
#[derive(Clone, Default)]
struct Builder {
    sections: Vec<Part>,
    /// Name, section, value, binding and type.
    symbols: Vec<(&'static str, u16, u32, u8)>,
    /// Section, offset, symbol, type.
    relocations: Vec<(usize, u32, u32, u32)>,
}

#[derive(Clone)]
struct Part {
    name: &'static str,
    kind: u32,
    flags: u32,
    bytes: Vec<u8>,
    size: u32,
    align: u32,
}

const GLOBAL_FUNC: u8 = elf::STB_GLOBAL << 4 | elf::STT_FUNC;
const GLOBAL: u8 = elf::STB_GLOBAL << 4;
const WEAK: u8 = elf::STB_WEAK << 4;
const CODE: u32 = elf::SHF_ALLOC | elf::SHF_EXECINSTR;
const CONSTANT: u32 = elf::SHF_ALLOC;
const DATA: u32 = elf::SHF_ALLOC | elf::SHF_WRITE;

impl Builder {
    /// A module with 16 bytes of code (section 1), 8 of constants, 8 of data, 64 of zeros.
    fn new() -> Self {
        let mut builder = Builder::default();
        builder.part(".text", elf::SHT_PROGBITS, CODE, &[0x90; 16]);
        builder.part(".rodata", elf::SHT_PROGBITS, CONSTANT, &[1, 2, 3, 4, 5, 6, 7, 8]);
        builder.part(".data", elf::SHT_PROGBITS, DATA, &[0; 8]);
        builder.part(".bss", elf::SHT_NOBITS, DATA, &[]);
        builder.sections[3].size = 64;
        builder.info(&format!("name=tiny\0vermagic={VERMAGIC}\0"));
        builder.symbol("init_module", 1, 4, GLOBAL_FUNC);
        builder.symbol("buffer", 4, 8, GLOBAL);
        builder
    }

    fn part(&mut self, name: &'static str, kind: u32, flags: u32, bytes: &[u8]) -> u16 {
        self.sections.push(Part { name, kind, flags, bytes: bytes.into(), size: bytes.len() as u32, align: 4 });
        self.sections.len() as u16
    }

    fn info(&mut self, text: &str) {
        self.sections.retain(|part| part.name != ".modinfo");
        self.part(".modinfo", elf::SHT_PROGBITS, CONSTANT, text.as_bytes());
    }

    /// Its number, from 1.
    fn symbol(&mut self, name: &'static str, section: u16, value: u32, info: u8) -> u32 {
        self.symbols.push((name, section, value, info));
        self.symbols.len() as u32
    }

    fn relocation(&mut self, section: usize, offset: u32, symbol: u32, kind: u32) {
        self.relocations.push((section, offset, symbol, kind));
    }

    fn build(&self) -> Vec<u8> {
        let mut parts = self.sections.clone();
        let mut strings = vec![0];
        let mut symbols = vec![0; 16];
        for &(name, section, value, info) in &self.symbols {
            for word in [strings.len() as u32, value, 0, u32::from(info) | u32::from(section) << 16] {
                symbols.extend(word.to_le_bytes());
            }
            strings.extend(name.bytes().chain([0]));
        }
        let add = |parts: &mut Vec<Part>, name, kind, bytes: Vec<u8>| {
            parts.push(Part { name, kind, flags: 0, size: bytes.len() as u32, bytes, align: 4 });
            parts.len() as u32
        };
        let symtab = add(&mut parts, ".symtab", elf::SHT_SYMTAB, symbols);
        let strtab = add(&mut parts, ".strtab", elf::SHT_STRTAB, strings);
        let mut links = BTreeMap::from([(symtab, (strtab, 1))]);
        let mut by_section: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for &(section, offset, symbol, kind) in &self.relocations {
            let rows = by_section.entry(section).or_default();
            rows.extend(offset.to_le_bytes());
            rows.extend((symbol << 8 | kind).to_le_bytes());
        }
        for (section, rows) in by_section {
            let number = add(&mut parts, ".rel", elf::SHT_REL, rows);
            links.insert(number, (symtab, section as u32));
        }
        let names = add(&mut parts, ".shstrtab", elf::SHT_STRTAB, Vec::new());
        let mut texts = vec![0];
        let offsets: Vec<u32> = parts
            .iter()
            .map(|part| {
                let at = texts.len() as u32;
                texts.extend(part.name.bytes().chain([0]));
                at
            })
            .collect();
        let last = parts.last_mut().expect("the names");
        (last.size, last.bytes) = (texts.len() as u32, texts);

        let mut file = vec![0; 52];
        let mut headers = vec![0; 40];
        for (n, (part, name)) in (1u32..).zip(parts.iter().zip(offsets)) {
            let (link, info) = links.get(&n).copied().unwrap_or_default();
            let words = [name, part.kind, part.flags, 0, file.len() as u32, part.size, link, info, part.align, 0];
            headers.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            file.extend(&part.bytes);
        }
        let table = file.len() as u32;
        file.extend(&headers);
        file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        for (at, half) in [(16, 1), (18, 3), (46, 40), (48, parts.len() as u16 + 1), (50, names as u16)] {
            file[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        file[32..36].copy_from_slice(&table.to_le_bytes());
        file
    }
}

/// A module in memory.
struct Loaded {
    linked: Linked,
    layout: Layout,
    bytes: Vec<u8>,
}

impl Loaded {
    fn word(&self, offset: u32) -> u32 {
        u32::from_le_bytes(self.bytes[offset as usize..][..4].try_into().unwrap())
    }
}

/// Loads a file, with the kernel's symbol `printk` at 0xC0101000; and what was logged.
fn load_logged(file: &[u8]) -> (Result<Loaded>, Vec<String>) {
    let mut lines = Vec::new();
    let result = load_into(file, &mut |line| lines.push(format!("{line}")));
    (result, lines)
}

fn load_into(file: &[u8], log: Log<'_>) -> Result<Loaded> {
    let object = Object::parse(file, log)?;
    object.check_vermagic(log)?;
    let layout = Layout::new(&object, log)?;
    let mut bytes = vec![0; layout.size as usize];
    let mut resolve = |name: &[u8]| (name == b"printk").then_some(0xc010_1000);
    let linked = link(&object, &layout, &mut Image { base: BASE, bytes: &mut bytes }, &mut resolve, log)?;
    Ok(Loaded { linked, layout, bytes })
}

fn load(file: &[u8]) -> Loaded {
    let (result, lines) = load_logged(file);
    result.unwrap_or_else(|error| panic!("{error}: {lines:?}"))
}

/// The error and the last line of the log of a file that is refused.
fn refused(file: &[u8]) -> (Errno, String) {
    let (result, lines) = load_logged(file);
    (result.err().expect("it is refused"), lines.last().cloned().unwrap_or_default())
}

#[test]
fn code_constants_and_data_lie_in_pages_of_their_own() {
    let module = load(&Builder::new().build());
    let Layout { text_size, ro_size, size, .. } = module.layout;
    assert_eq!((text_size, ro_size, size), (0x1000, 0x2000, 0x3000));
    assert_eq!(module.linked.init, BASE + 4);
    assert_eq!(module.linked.exit, 0);
    assert_eq!(module.bytes[..16], [0x90; 16]);
    assert_eq!(module.bytes[0x1000..0x1008], [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn relocations_give_what_the_abi_says() {
    // Symbol 2 is `buffer`, at 8 in the zeros, which follow 8 bytes of data at 0x2000.
    let buffer = BASE + 0x2000 + 8 + 8;
    let mut builder = Builder::new();
    let printk = builder.symbol("printk", 0, 0, GLOBAL);
    let got = builder.symbol("_GLOBAL_OFFSET_TABLE_", 0, 0, GLOBAL);
    let weak = builder.symbol("nobody_has_it", 0, 0, WEAK);
    builder.sections[0].bytes = [0x90; 64].to_vec();
    builder.sections[0].size = 64;
    let addends = [(0, 5), (4, -4i32), (8, -4), (12, 0), (16, 2), (20, 0), (24, 0), (28, 3), (32, 0)];
    for (at, addend) in addends {
        builder.sections[0].bytes[at..at + 4].copy_from_slice(&addend.to_le_bytes());
    }
    // The entry at 20 has no base register: ModRM with mod 0 and r/m 5 stands before it.
    builder.sections[0].bytes[19] = 0x05;
    builder.sections[0].bytes[16..19].copy_from_slice(&[2, 0, 0]);
    for (offset, symbol, kind) in [
        (0, 2, elf::R_386_32),
        (4, printk, elf::R_386_PC32),
        (8, printk, elf::R_386_PLT32),
        (12, 2, elf::R_386_GOTOFF),
        (20, printk, elf::R_386_GOT32X),
        (24, 2, elf::R_386_GOT32),
        (28, got, elf::R_386_GOTPC),
        (32, weak, elf::R_386_32),
        (36, 2, elf::R_386_NONE),
    ] {
        builder.relocation(1, offset, symbol, kind);
    }
    let module = load(&builder.build());
    let table = BASE + module.layout.got_offset;
    let slot = |n: u32| module.word(module.layout.got_offset + n * 4);
    assert_eq!(module.word(0), buffer + 5);
    assert_eq!(module.word(4), 0xc010_1000u32.wrapping_sub(BASE + 4 + 4));
    assert_eq!(module.word(8), 0xc010_1000u32.wrapping_sub(BASE + 8 + 4));
    assert_eq!(module.word(12), buffer.wrapping_sub(table));
    assert_eq!((slot(0), slot(1)), (buffer, 0xc010_1000), "entries by symbol");
    assert_eq!(module.word(20), table + 4);
    assert_eq!(module.word(24), 0, "the first entry's distance from the table");
    assert_eq!(module.word(28), table.wrapping_add(3).wrapping_sub(BASE + 28));
    assert_eq!(module.word(32), 0, "a weak symbol that nobody has is 0");
    assert_eq!(module.word(36), 0x9090_9090);
}

#[test]
fn kept_symbols_are_sorted_and_named() {
    let module = load(&Builder::new().build());
    let row = |n: u32| {
        let at = module.linked.symbols.offset + n * 16;
        let (name, len) = (module.word(at + 8) - BASE, module.word(at + 12));
        (module.word(at), &module.bytes[name as usize..][..len as usize])
    };
    assert_eq!(module.linked.symbols.len, 32);
    assert_eq!(row(0), (BASE + 4, &b"init_module"[..]));
    assert_eq!(row(1), (BASE + 0x2010, &b"buffer"[..]));
}

#[test]
fn what_is_no_module_is_refused_in_linux_words() {
    let good = Builder::new().build();
    let with = |at: usize, half: u16| {
        let mut file = good.clone();
        file[at..at + 2].copy_from_slice(&half.to_le_bytes());
        refused(&file)
    };
    let noexec = |line: &str| (ENOEXEC, String::from(line));
    assert_eq!(refused(&good[..51]), noexec("Invalid ELF header len 51"));
    assert_eq!(with(0, 0), noexec("Invalid ELF header magic: != \\x7fELF"));
    assert_eq!(with(16, 2), noexec("Invalid ELF header type: 2 != 1"));
    assert_eq!(with(18, 62), noexec("Invalid architecture in ELF header: 62"));
    assert_eq!(with(46, 64), noexec("Invalid ELF section header size"));
    assert_eq!(with(48, 0xffff), noexec("Invalid ELF section header overflow"));
    assert_eq!(refused(&good[..good.len() - 1]), noexec("Invalid ELF section header overflow"));
    assert_eq!(with(50, 99), noexec("Invalid ELF section name index: 99 || e_shstrndx (99) >= e_shnum (9)"));
}

#[test]
fn a_symbol_that_nobody_has_is_named() {
    let mut builder = Builder::new();
    builder.symbol("foo", 0, 0, GLOBAL);
    builder.symbol("printk", 0, 0, GLOBAL);
    builder.symbol("bar", 0, 0, GLOBAL);
    let (result, lines) = load_logged(&builder.build());
    assert_eq!(result.err(), Some(ENOENT));
    assert_eq!(lines, ["tiny: Unknown symbol foo (err -2)", "tiny: Unknown symbol bar (err -2)"]);
}

#[test]
fn modules_of_other_kernels_and_nameless_ones_are_refused() {
    let with = |info: &str| {
        let mut builder = Builder::new();
        builder.info(info);
        refused(&builder.build())
    };
    let other = format!("tiny: version magic '5.10.0 SMP ' should be '{VERMAGIC}'");
    assert_eq!(with("name=tiny\0vermagic=5.10.0 SMP \0"), (ENOEXEC, other));
    assert_eq!(with("name=tiny\0"), (ENOEXEC, format!("tiny: no version magic, should be '{VERMAGIC}'")));
    let unnamed = "(missing .modinfo section or name field): No module found in object";
    for info in ["", "license=x\0", "name=\0", "name=a/b\0", "name=a b\0"] {
        assert_eq!(with(info), (ENOEXEC, unnamed.into()), "{info:?}");
    }
    let long = format!("name={}\0", "x".repeat(60));
    assert_eq!(with(&long), (ENOEXEC, unnamed.into()));
}

#[test]
fn what_lies_outside_is_refused() {
    let refuse = |change: fn(&mut Builder)| {
        let mut builder = Builder::new();
        change(&mut builder);
        refused(&builder.build())
    };
    let outside = "tiny: a relocation lies outside of its section";
    for offset in [13, 16, 0x7fff_ffff, !0, !3] {
        let mut builder = Builder::new();
        builder.relocation(1, offset, 2, elf::R_386_32);
        assert_eq!(refused(&builder.build()), (ENOEXEC, outside.into()), "{offset:#x}");
    }
    let (error, line) = refuse(|b| b.relocation(1, 0, 99, elf::R_386_32));
    assert_eq!((error, &*line), (ENOEXEC, "tiny: a relocation is for symbol 99"));
    let (error, line) = refuse(|b| b.relocation(1, 0, 2, 37));
    assert_eq!((error, &*line), (ENOEXEC, "module: tiny: Unknown relocation: 37"));
    let (error, line) = refuse(|b| _ = b.symbol("x", 77, 0, GLOBAL));
    assert_eq!((error, &*line), (ENOEXEC, "tiny: symbol 3 is of section 77, which is none"));
    let (error, line) = refuse(|b| _ = b.symbol("x", 1, 17, GLOBAL));
    assert_eq!((error, &*line), (ENOEXEC, "tiny: symbol 3 lies outside of section 1"));
    let (error, line) = refuse(|b| _ = b.symbol("x", elf::SHN_COMMON, 0, GLOBAL));
    assert_eq!((error, &*line), (ENOEXEC, "tiny: please compile with -fno-common"));
    let (error, line) = refuse(|b| b.symbols[0].1 = 3);
    assert_eq!((error, &*line), (ENOEXEC, "tiny: init_module is no function"));
    let (error, line) = refuse(|b| b.sections[2].align = 3);
    assert_eq!((error, &*line), (ENOEXEC, "tiny: section 3 wants an alignment of 3"));
    let (error, _) = refuse(|b| b.sections[3].size = 0xffff_fff0);
    assert_eq!(error, ENOMEM);
    let (error, line) = refuse(|b| b.sections[2].size = 0xffff_fff0);
    assert_eq!((error, &*line), (ENOEXEC, "Invalid ELF section in module (section 3 type 1)"));
}

#[test]
fn parameters_are_set_and_bad_values_are_refused() {
    let mut builder = Builder::new();
    let mut rows = Vec::new();
    for (name, kind, variable) in [
        (0, param_kind::INT, 0),
        (0, param_kind::UINT, 4),
        (0, param_kind::BOOL, 8),
        (0, 9, 0),
        (0, param_kind::INT, 0),
    ] {
        rows.extend([name, kind, variable].iter().flat_map(|word: &u32| word.to_le_bytes()));
    }
    let table = builder.part("__param", elf::SHT_PROGBITS, CONSTANT, &rows);
    let names = builder.part(".rodata.names", elf::SHT_PROGBITS, CONSTANT, b"count\0size_kb\0fast\0odd\0code\0");
    let name_offsets = [0, 6, 14, 19, 23];
    let name_symbols: Vec<u32> = name_offsets.iter().map(|&at| builder.symbol("", names, at, GLOBAL)).collect();
    let zeros = builder.symbol("", 4, 0, GLOBAL);
    let code = builder.symbol("", 1, 0, GLOBAL);
    for (n, name) in (0..).zip(name_symbols) {
        builder.relocation(table.into(), n * 12, name, elf::R_386_32);
        builder.relocation(table.into(), n * 12 + 8, if n == 4 { code } else { zeros }, elf::R_386_32);
    }
    let mut module = load(&builder.build());
    let table = module.linked.params;
    let zeros = module.layout.ro_size + 8;
    let mut set = |args: &str| {
        let mut lines = Vec::new();
        let mut image = Image { base: BASE, bytes: &mut module.bytes };
        let result = parse_args("tiny", args.as_bytes(), table, zeros - 8, &mut image, &mut |line| {
            lines.push(format!("{line}"));
        });
        let words = [0, 4, 8].map(|at| image.word(zeros + at).unwrap());
        (result, lines.join("\n"), words)
    };
    assert_eq!(set("count=-3 size-kb=0x10 fast"), (Ok(()), String::new(), [-3i32 as u32, 16, 1]));
    assert_eq!(set("  fast=n\tcount=010 size_kb=\"7\" "), (Ok(()), String::new(), [8, 7, 0]));
    assert_eq!(set("speed=9 count=1").1, "tiny: unknown parameter 'speed' ignored");
    for (args, error) in [
        ("count=x", EINVAL),
        ("count=", EINVAL),
        ("count", EINVAL),
        ("count=08", EINVAL),
        ("count=2147483648", ERANGE),
        ("size_kb=-1", ERANGE),
        ("size_kb=99999999999999999999", ERANGE),
        ("fast=maybe", EINVAL),
        ("odd=1", EINVAL),
        ("code=1", EINVAL),
    ] {
        let (result, line, _) = set(args);
        assert_eq!(result, Err(error), "{args}");
        assert!(line.starts_with("tiny: `") && line.contains("' invalid for parameter `"), "{line}");
    }
}

/// A file with every kind of thing in it.
fn rich() -> Vec<u8> {
    let mut builder = Builder::new();
    let printk = builder.symbol("printk", 0, 0, GLOBAL);
    builder.relocation(1, 0, 2, elf::R_386_32);
    builder.relocation(1, 4, printk, elf::R_386_PLT32);
    builder.relocation(1, 8, printk, elf::R_386_GOT32X);
    builder.relocation(3, 0, 1, elf::R_386_32);
    builder.build()
}

#[test]
fn no_cut_off_file_loads() {
    let file = rich();
    for len in 0..file.len() {
        assert_eq!(load_logged(&file[..len]).0.err(), Some(ENOEXEC), "{len}");
    }
}

#[test]
fn no_changed_byte_makes_the_loader_fail_otherwise_than_by_an_error() {
    let file = rich();
    for at in 0..file.len() {
        for mask in [0x01, 0x02, 0x10, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] ^= mask;
            let _ = load_logged(&changed);
        }
    }
}

proptest! {
    #[test]
    fn the_loader_lives_with_any_file(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = rich();
        for (at, value) in changes {
            let at = at.index(file.len() - 3);
            file[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        if cut.index(4) == 0 {
            file.truncate(cut.index(file.len()));
        }
        let _ = load_logged(&file);
    }
}
