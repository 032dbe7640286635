//! The architecture as gdbstub wants it described, and the target description for gdb.

use std::num::NonZeroUsize;

use gdbstub::arch::{Arch, RegId, Registers, lldb::RegisterInfo};

use crate::registers::{CORE, COUNT, LINUX, NAMES, Register, SSE};

/// x86-32 with control registers.
pub enum X86 {}

impl Arch for X86 {
    type Usize = u32;
    type Registers = Bytes;
    type RegId = Register;
    type BreakpointKind = usize;

    fn lldb_register_info(reg_id: usize) -> Option<RegisterInfo<'static>> {
        Some(crate::lldb::register(reg_id))
    }
}

/// All registers, one after the other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bytes(pub Vec<u8>);

impl Registers for Bytes {
    type ProgramCounter = u32;

    fn pc(&self) -> u32 {
        let at = 8 * 4;
        self.0.get(at..at + 4).map_or(0, |bytes| bytes.iter().rev().fold(0, |pc, &byte| pc << 8 | u32::from(byte)))
    }

    fn gdb_serialize(&self, mut write: impl FnMut(Option<u8>)) {
        self.0.iter().for_each(|&byte| write(Some(byte)));
    }

    fn gdb_deserialize(&mut self, bytes: &[u8]) -> Result<(), ()> {
        let whole: usize = Register::all().map(Register::size).sum();
        if bytes.len() != whole {
            return Err(());
        }
        self.0 = bytes.to_vec();
        Ok(())
    }
}

impl RegId for Register {
    fn from_raw_id(id: usize) -> Option<(Self, Option<NonZeroUsize>)> {
        (id < COUNT).then(|| (Register(id), NonZeroUsize::new(Register(id).size())))
    }

    fn to_raw_id(&self) -> Option<usize> {
        Some(self.0)
    }
}

/// Names of single bits, by number.
type Bits = &'static [(&'static str, u32)];

const EFLAGS: Bits = &[
    ("CF", 0),
    ("", 1),
    ("PF", 2),
    ("AF", 4),
    ("ZF", 6),
    ("SF", 7),
    ("TF", 8),
    ("IF", 9),
    ("DF", 10),
    ("OF", 11),
    ("NT", 14),
    ("RF", 16),
    ("VM", 17),
    ("AC", 18),
    ("VIF", 19),
    ("VIP", 20),
    ("ID", 21),
];
const MXCSR: Bits = &[
    ("IE", 0),
    ("DE", 1),
    ("ZE", 2),
    ("OE", 3),
    ("UE", 4),
    ("PE", 5),
    ("DAZ", 6),
    ("IM", 7),
    ("DM", 8),
    ("ZM", 9),
    ("OM", 10),
    ("UM", 11),
    ("PM", 12),
    ("FZ", 15),
];
const CR0: Bits = &[
    ("PE", 0),
    ("MP", 1),
    ("EM", 2),
    ("TS", 3),
    ("ET", 4),
    ("NE", 5),
    ("WP", 16),
    ("AM", 18),
    ("NW", 29),
    ("CD", 30),
    ("PG", 31),
];
const CR4: Bits = &[
    ("VME", 0),
    ("PVI", 1),
    ("TSD", 2),
    ("DE", 3),
    ("PSE", 4),
    ("PAE", 5),
    ("MCE", 6),
    ("PGE", 7),
    ("PCE", 8),
    ("OSFXSR", 9),
    ("OSXMMEXCPT", 10),
    ("UMIP", 11),
    ("SMEP", 20),
    ("SMAP", 21),
];
const EFER: Bits = &[("SCE", 0), ("NXE", 11)];

/// The target description (GDB manual, "Target Descriptions"). The architecture is i386 in
/// every mode, so that packets never change their length.
pub fn description() -> String {
    let mut xml = String::from(concat!(
        "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n",
        "<target version=\"1.0\">\n<architecture>i386</architecture>\n<osabi>GNU/Linux</osabi>\n",
    ));
    feature(&mut xml, "org.gnu.gdb.i386.core", &flags("i386_eflags", EFLAGS, &[("IOPL", 12, 13)]), 0..CORE);
    let vectors = concat!(
        "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>",
        "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>",
        "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n",
        "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>",
        "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>",
        "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>",
        "<field name=\"uint128\" type=\"uint128\"/></union>\n",
    );
    let sse = vectors.to_owned() + &flags("i386_mxcsr", MXCSR, &[("RC", 13, 14)]);
    feature(&mut xml, "org.gnu.gdb.i386.sse", &sse, CORE..SSE);
    feature(&mut xml, "org.gnu.gdb.i386.linux", "", SSE..LINUX);
    // Structures rather than flags: only of those can an expression take a bit, `$cr0.PG`.
    let system = [structure("i386_cr0", CR0, &[]), structure("i386_cr4", CR4, &[]), structure("i386_efer", EFER, &[])];
    feature(&mut xml, "org.pagewalk.i386.system", &system.concat(), LINUX..COUNT);
    xml + "</target>\n"
}

fn feature(xml: &mut String, name: &str, types: &str, registers: std::ops::Range<usize>) {
    *xml += &format!("<feature name=\"{name}\">\n{types}");
    for id in registers {
        let (name, bits) = (NAMES[id], Register(id).size() * 8);
        let group = if id >= LINUX { " group=\"system\"" } else { "" };
        *xml += &format!("<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{}\"{group}/>\n", type_of(name, bits));
    }
    *xml += "</feature>\n";
}

fn type_of(name: &str, bits: usize) -> &'static str {
    match (name, bits) {
        (_, 80) => "i387_ext",
        (_, 128) => "vec128",
        ("esp" | "ebp" | "fs_base" | "gs_base" | "gdtr_base" | "idtr_base" | "cr2", _) => "data_ptr",
        ("eip", _) => "code_ptr",
        ("eflags", _) => "i386_eflags",
        ("mxcsr", _) => "i386_mxcsr",
        ("cr0", _) => "i386_cr0",
        // A number, so that a condition can compare it.
        ("cr3", _) => "uint32",
        ("cr4", _) => "i386_cr4",
        ("efer", _) => "i386_efer",
        _ => "int32",
    }
}

fn flags(id: &str, bits: Bits, fields: &[(&str, u32, u32)]) -> String {
    format!("<flags id=\"{id}\" size=\"4\">{}</flags>\n", members(bits, fields))
}

fn structure(id: &str, bits: Bits, fields: &[(&str, u32, u32)]) -> String {
    format!("<struct id=\"{id}\" size=\"4\">{}</struct>\n", members(bits, fields))
}

fn members(bits: Bits, fields: &[(&str, u32, u32)]) -> String {
    let mut all: Vec<_> = bits.iter().map(|&(name, bit)| (name, bit, bit)).chain(fields.iter().copied()).collect();
    all.sort_by_key(|&(_, start, _)| start);
    all.iter().map(|(name, start, end)| format!("<field name=\"{name}\" start=\"{start}\" end=\"{end}\"/>")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_every_register_once_and_in_order() {
        let xml = description();
        let named: Vec<&str> = xml.split("<reg name=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(named, NAMES);
    }

    #[test]
    fn all_registers_travel_as_one_block() {
        let whole: usize = Register::all().map(Register::size).sum();
        let mut bytes = Bytes::default();
        assert!(bytes.gdb_deserialize(&vec![7; whole]).is_ok());
        assert!(bytes.gdb_deserialize(&vec![7; whole - 1]).is_err());
        assert_eq!(bytes.pc(), 0x0707_0707);
        let mut count = 0;
        bytes.gdb_serialize(|byte| count += usize::from(byte == Some(7)));
        assert_eq!(count, whole);
    }
}
