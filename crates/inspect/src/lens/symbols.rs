//! Names and addresses.

use serde_json::json;

use super::Answer;
use crate::address::parse_address;
use crate::{Error, Result, Symbol, Symbols, Target};

/// A symbol by its name, or the symbol at an address.
pub fn sym(target: &Target<'_>, what: &str) -> Result<Answer> {
    let modules = super::module_tables(target);
    let tables = || {
        let modules = modules.iter().map(|(name, symbols)| (name.clone(), symbols));
        let programs = target.programs.iter().map(|program| (super::lossy(&program.path), &program.symbols));
        target.kernel_symbols().into_iter().map(|symbols| ("kernel".to_owned(), symbols)).chain(modules).chain(programs)
    };
    let named = |(owner, table): (String, &Symbols)| -> Vec<(String, Symbol)> {
        let whole = table.named(what).into_iter();
        let mut found: Vec<Symbol> = whole.chain(table.with_last_part(what)).cloned().collect();
        found.dedup();
        found.into_iter().map(|symbol| (owner.clone(), symbol)).collect()
    };
    let found: Vec<_> = tables().flat_map(named).collect();
    if !found.is_empty() {
        let line = |(owner, symbol): &(String, Symbol)| {
            format!("{:08x} {:>8} {}  ({owner})\n", symbol.addr, symbol.size, symbol.name)
        };
        let json = |(owner, symbol): &(String, Symbol)| json!({"addr": symbol.addr, "size": symbol.size, "name": symbol.name, "mangled": symbol.raw, "owner": owner});
        return Ok(Answer::new(found.iter().map(line).collect::<String>(), found.iter().map(json).collect::<Vec<_>>()));
    }
    let addr = parse_address(target, 0, what)?.linear.0;
    let at: Vec<_> = tables()
        .filter_map(|(owner, table)| table.at(addr).map(|(symbol, offset)| (owner, symbol.clone(), offset)))
        .collect();
    if at.is_empty() {
        return Err(Error::NoSymbol(what.to_owned()));
    }
    let line = |(owner, symbol, offset): &(String, Symbol, u32)| {
        format!("{addr:08x} {}+{offset:#x}  ({owner})\n", symbol.name)
    };
    let json = |(owner, symbol, offset): &(String, Symbol, u32)| json!({"addr": addr, "name": symbol.name, "mangled": symbol.raw, "offset": offset, "size": symbol.size, "owner": owner});
    Ok(Answer::new(at.iter().map(line).collect::<String>(), at.iter().map(json).collect::<Vec<_>>()))
}
