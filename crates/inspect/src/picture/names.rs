//! Symbols for the search: names and where they are.

use serde::{Deserialize, Serialize};

use super::column::{Column, Room};
use crate::lens::module_tables;
use crate::{Symbols, Target};

/// Longest name that a picture keeps; longer ones are cut.
const MAX_NAME: usize = 96;

/// The symbols of one object, by ascending address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Names {
    /// `kernel`, a module, a program's path.
    pub owner: String,
    /// First addresses.
    pub addr: Column,
    /// Bytes; 0 where the object does not say.
    pub size: Column,
    /// The names, a line each.
    pub names: String,
}

/// The symbols that fit.
pub(super) fn of(target: &Target<'_>, room: &mut Room) -> Vec<Names> {
    let modules = module_tables(target);
    let kernel = target.kernel_symbols().map(|symbols| ("kernel".to_owned(), symbols));
    let modules = modules.iter().map(|(name, symbols)| (name.clone(), symbols));
    let programs =
        target.programs.iter().map(|program| (String::from_utf8_lossy(&program.path).into_owned(), &program.symbols));
    let tables = kernel.into_iter().chain(modules).chain(programs).filter(|(_, symbols)| !symbols.is_empty());
    tables.filter_map(|(owner, symbols)| pack(owner, symbols, room)).collect()
}

fn pack(owner: String, symbols: &Symbols, room: &mut Room) -> Option<Names> {
    let rows: Vec<_> = symbols.iter().filter(|symbol| !symbol.name.contains('\n')).collect();
    let cut = |name: &str| name.chars().take(MAX_NAME).collect::<String>();
    let names: Vec<String> = rows.iter().map(|symbol| cut(&symbol.name)).collect();
    let names = names.join("\n");
    if !room.take(names.len()) {
        room.left_out.push(format!("symbols of {owner}: left out, for the picture would be too large"));
        return None;
    }
    let addr: Vec<u32> = rows.iter().map(|symbol| symbol.addr).collect();
    let size: Vec<u32> = rows.iter().map(|symbol| symbol.size).collect();
    let addr = room.column(|| format!("addresses of the symbols of {owner}"), &addr);
    let size = room.column(|| format!("sizes of the symbols of {owner}"), &size);
    Some(Names { owner, addr, size, names })
}
