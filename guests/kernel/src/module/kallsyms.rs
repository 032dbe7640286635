//! The symbols of modules, which each has in its own memory.
#![allow(unsafe_code)]

use abi::{Ptr32, books::ModuleSymbolRecord};

use super::{MODULES, Module};
use crate::lib::kallsyms::Found;

/// The symbol of a module that an address lies in. It lasts as long as the module. Nothing is
/// found while the list is being changed, so that an oops in there can be printed.
pub fn lookup<'a>(addr: u32) -> Option<Found<'a>> {
    let list = MODULES.try_lock()?;
    list.iter().find(|module| module.holds(addr)).and_then(|module| symbol_in(module, addr))
}

fn symbol_in<'a>(module: &Module, addr: u32) -> Option<Found<'a>> {
    let record = &module.record;
    // SAFETY: the loader wrote as many records there, and nobody changes them.
    let symbols: &[ModuleSymbolRecord] = unsafe {
        match record.nr_symbols {
            0 => &[],
            count => core::slice::from_raw_parts(record.symbols.0 as *const ModuleSymbolRecord, count as usize),
        }
    };
    let after = symbols.partition_point(|symbol| symbol.addr <= addr);
    let symbol = symbols.get(after.checked_sub(1)?)?;
    let end = symbols.get(after).map_or(record.base + record.size, |next| next.addr);
    Some(Found {
        name: text(symbol.name, symbol.name_len)?,
        offset: addr - symbol.addr,
        size: end - symbol.addr,
        module: text(Ptr32::new(record.name.as_ptr() as u32), module.name().len() as u32),
    })
}

fn text<'a>(at: Ptr32<u8>, len: u32) -> Option<&'a str> {
    // SAFETY: in the module's record or its memory, whose names the loader checked.
    core::str::from_utf8(unsafe { core::slice::from_raw_parts(at.0 as *const u8, len as usize) }).ok()
}
