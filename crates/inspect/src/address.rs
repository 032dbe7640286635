//! Addresses as a user writes them: hex, a symbol, `symbol+offset`, `segment:offset`, `$register`.

use cpu::{CpuState, Gpr, SegmentRegister};
use x86::{Descriptor, LinearAddr, SegReg, Selector};

use crate::{Error, Reader, Result, Target, lens::module_tables};

/// A logical address: the segment that was named and the offset in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segmented {
    /// The segment register, if one was named.
    pub register: Option<SegReg>,
    /// The segment with its base and limit.
    pub segment: SegmentRegister,
    /// The offset.
    pub offset: u32,
}

/// An address that was understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// Where it lies in linear space.
    pub linear: LinearAddr,
    /// The segmentation before it, if it was written as `segment:offset`.
    pub segmented: Option<Segmented>,
}

impl From<u32> for Address {
    fn from(linear: u32) -> Self {
        Address { linear: LinearAddr(linear), segmented: None }
    }
}

/// Reads `text` as an address on CPU `cpu`. Symbols of the kernel go before those of programs.
pub fn parse_address(target: &Target<'_>, cpu: usize, text: &str) -> Result<Address> {
    let state = target.cpu(cpu)?;
    let text = text.trim();
    match split_segment(text) {
        Some((segment, offset)) => {
            let offset = value(target, state, offset)?;
            let (register, segment) = segment_named(target, state, segment)?;
            let linear = LinearAddr(segment.base.wrapping_add(offset));
            Ok(Address { linear, segmented: Some(Segmented { register, segment, offset }) })
        }
        None => Ok(value(target, state, text)?.into()),
    }
}

/// Splits at a single colon; `::` belongs to a symbol.
fn split_segment(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let lone =
        |&at: &usize| bytes[at] == b':' && bytes.get(at + 1) != Some(&b':') && (at == 0 || bytes[at - 1] != b':');
    let at = (0..bytes.len()).find(lone)?;
    Some((&text[..at], &text[at + 1..]))
}

fn value(target: &Target<'_>, state: &CpuState, text: &str) -> Result<u32> {
    if let Some(name) = text.strip_prefix('$') {
        let (name, offset) = split_offset(name);
        return register(state, name)
            .map(|base| base.wrapping_add(offset))
            .ok_or_else(|| Error::BadAddress(text.to_owned()));
    }
    if let Some(number) = hex(text) {
        return Ok(number);
    }
    if text.is_empty() || text.starts_with("0x") || text.starts_with("0X") {
        return Err(Error::BadAddress(text.to_owned()));
    }
    if let Some(addr) = symbol(target, text) {
        return Ok(addr);
    }
    match split_offset(text) {
        (name, offset) if name.len() < text.len() => {
            let base = hex(name).or_else(|| symbol(target, name));
            base.map(|base| base.wrapping_add(offset)).ok_or_else(|| Error::NoSymbol(name.to_owned()))
        }
        _ => Err(Error::NoSymbol(text.to_owned())),
    }
}

/// `name+1f` as the name and 0x1f; `name-1f` likewise, negated.
fn split_offset(text: &str) -> (&str, u32) {
    let Some(at) = text.rfind(['+', '-']) else {
        return (text, 0);
    };
    match hex(&text[at + 1..]) {
        Some(offset) if text.as_bytes()[at] == b'-' => (&text[..at], offset.wrapping_neg()),
        Some(offset) => (&text[..at], offset),
        None => (text, 0),
    }
}

/// Up to 32 bits of hex, with or without `0x`.
fn hex(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// A symbol of the kernel, of a module or of a program, by its whole name or by its last part if only one has it.
fn symbol(target: &Target<'_>, name: &str) -> Option<u32> {
    let modules = module_tables(target);
    let tables = || {
        let programs = target.programs.iter().map(|program| &program.symbols);
        target.kernel_symbols().into_iter().chain(modules.iter().map(|(_, symbols)| symbols)).chain(programs)
    };
    if let Some(found) = tables().find_map(|table| table.named(name)) {
        return Some(found.addr);
    }
    let mut parts = tables().flat_map(|table| table.with_last_part(name));
    match (parts.next(), parts.next()) {
        (Some(only), None) => Some(only.addr),
        _ => None,
    }
}

/// A register by its name. EIP and ESP give linear addresses, through their segments.
fn register(state: &CpuState, name: &str) -> Option<u32> {
    let general = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
    let base = |reg: SegReg| state.seg(reg).base;
    match name.to_ascii_lowercase().as_str() {
        "eip" | "pc" => Some(state.pc()),
        "esp" | "sp" => Some(base(SegReg::Ss).wrapping_add(state.gpr(Gpr::Esp))),
        "cr2" => Some(state.cr2),
        "cr3" => Some(state.cr3),
        "gdtr_base" | "gdtr" => Some(state.gdtr.base),
        "idtr_base" | "idtr" => Some(state.idtr.base),
        "fs_base" => Some(base(SegReg::Fs)),
        "gs_base" => Some(base(SegReg::Gs)),
        name => general.iter().position(|&known| known == name).map(|number| state.gpr[number]),
    }
}

/// A segment by a register's name or by a selector's value.
fn segment_named(target: &Target<'_>, state: &CpuState, name: &str) -> Result<(Option<SegReg>, SegmentRegister)> {
    let name = name.strip_prefix('$').unwrap_or(name).to_ascii_lowercase();
    if let Some(&reg) = SegReg::ALL.iter().find(|reg| reg.name() == name) {
        let segment = *state.seg(reg);
        if segment.unusable() {
            return Err(Error::BadSelector { selector: segment.selector, why: "the register holds a null selector" });
        }
        return Ok((Some(reg), segment));
    }
    let selector = hex(&name).and_then(|value| u16::try_from(value).ok()).ok_or(Error::BadAddress(name))?;
    if !state.protected() || state.v86() {
        return Ok((None, SegmentRegister::real(selector)));
    }
    let descriptor = descriptor(target, state, Selector(selector))?;
    Ok((None, SegmentRegister::from_descriptor(Selector(selector), descriptor)))
}

/// The descriptor that a selector names, read from its table as a load would.
fn descriptor(target: &Target<'_>, state: &CpuState, selector: Selector) -> Result<Descriptor> {
    let bad = |why| Error::BadSelector { selector: selector.0, why };
    if selector.is_null() {
        return Err(bad("the null selector names no segment"));
    }
    let (base, limit) = match selector.local() {
        true if state.ldtr.unusable() => return Err(bad("there is no LDT")),
        true => (state.ldtr.base, state.ldtr.limit),
        false => (state.gdtr.base, u32::from(state.gdtr.limit)),
    };
    if selector.offset() + 7 > limit {
        return Err(bad("beyond the limit of its descriptor table"));
    }
    let at = LinearAddr(base.wrapping_add(selector.offset()));
    let bytes = Reader::new(target.mem, state.paging()).bytes(at, 8).ok_or(Error::Unmapped(at))?;
    let descriptor = Descriptor(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)));
    match descriptor {
        d if !d.is_segment() => Err(bad("names a system descriptor, not a segment")),
        d if !d.present() => Err(bad("its segment is not present")),
        d => Ok(d),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpu::CpuModel;
    use memory::{FrameKind, PhysMem};
    use x86::PhysAddr;

    fn with_target(check: impl FnOnce(&Target<'_>)) {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 0x10000, FrameKind::Ram).unwrap();
        mem.write(PhysAddr(0x808), &Descriptor::segment(0x1234_0000, 0xfff, 0xf2, true).0.to_le_bytes());
        let mut state = CpuState::multiboot(CpuModel::default(), 0x10_0000, 0x9000);
        state.gdtr.base = 0x800;
        state.gdtr.limit = 0x1f;
        state.gpr[6] = 0x20;
        state.seg[SegReg::Gs as usize].base = 0xb000_0000;
        check(&Target::new(vec![&state], &mem));
    }

    #[test]
    fn addresses_are_read_in_every_form() {
        with_target(|target| {
            let linear = |text| parse_address(target, 0, text).map(|address| address.linear.0);
            assert_eq!(linear("c0100000"), Ok(0xc010_0000));
            assert_eq!(linear("0xC0100000"), Ok(0xc010_0000));
            assert_eq!(linear("$eip"), Ok(0x10_0000));
            assert_eq!(linear("$esi+10"), Ok(0x30));
            assert_eq!(linear("$esi-10"), Ok(0x10));
            assert_eq!(linear("gs:10"), Ok(0xb000_0010));
            assert_eq!(linear("gs:$esi"), Ok(0xb000_0020));
            assert_eq!(linear("b:4"), Ok(0x1234_0004));
            assert_eq!(linear("100+8"), Ok(0x108));
        });
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        with_target(|target| {
            let error = |text| parse_address(target, 0, text).unwrap_err().to_string();
            assert_eq!(error("nonsense"), "no symbol `nonsense`");
            assert_eq!(error("0xg"), "`0xg` is neither an address, a symbol, a register nor segment:offset");
            assert_eq!(error(""), "`` is neither an address, a symbol, a register nor segment:offset");
            assert_eq!(error("$nope"), "`$nope` is neither an address, a symbol, a register nor segment:offset");
            assert_eq!(error("30:0"), "selector 0x0030: beyond the limit of its descriptor table");
            assert_eq!(error("0:0"), "selector 0x0000: the null selector names no segment");
            assert_eq!(error("123456789"), "no symbol `123456789`");
            assert_eq!(parse_address(target, 3, "0"), Err(Error::NoCpu { asked: 3, have: 1 }));
        });
    }
}
