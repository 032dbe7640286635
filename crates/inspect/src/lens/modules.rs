//! The modules of the guest kernel: `modules`, and their symbols for the other lenses.

use abi::out::render;
use abi::proc::modules as rows;
use serde_json::json;

use super::{Answer, lossy};
use crate::{Books, Result, Symbols, Target};

/// `/proc/modules`.
pub fn modules(target: &Target<'_>) -> Result<Answer> {
    let books = &Books::of(target)?;
    let all = books.modules()?;
    let users = |at| all.iter().filter(move |(_, other)| books.module_uses(other, at)).map(|(_, other)| other);
    let text = render(|out| all.iter().for_each(|(at, module)| rows::line(out, module, users(*at))));
    let row = |(at, module): &(_, _)| {
        let users: Vec<String> = users(*at).map(|user| lossy(rows::name(user))).collect();
        json!({
            "name": lossy(rows::name(module)), "size": module.size, "refcnt": module.refcnt, "used_by": users,
            "state": rows::state(module.state), "base": module.base, "text_size": module.text_size,
            "ro_size": module.ro_size,
        })
    };
    Ok(Answer::new(text, all.iter().map(row).collect::<Vec<_>>()))
}

/// The symbols of each module, under its name.
pub(crate) fn tables(target: &Target<'_>) -> Vec<(String, Symbols)> {
    let Ok(books) = Books::of(target) else { return Vec::new() };
    let all = books.modules().unwrap_or_default();
    let table = |(_, module): &(_, _)| {
        let symbols = books.module_symbols(module).unwrap_or_default();
        (lossy(rows::name(module)), Symbols::of_rows(symbols))
    };
    all.iter().map(table).collect()
}

/// The name of what lies at an address of a module, as an oops shows it: `name+0x1f [module]`.
pub(crate) fn symbol_at(books: &Books<'_>, addr: u32) -> Option<String> {
    let all = books.modules().ok()?;
    let (_, module) = all.iter().find(|(_, module)| addr.wrapping_sub(module.base) < module.size)?;
    let symbols = Symbols::of_rows(books.module_symbols(module).ok()?);
    Some(format!("{} [{}]", symbols.describe(addr)?, lossy(rows::name(module))))
}
