//! From what is known to what is seen. Everything here is a function of model, choice and room.

mod cpus;
mod memory;
mod over;
mod panes;
mod processes;
mod table;

pub use panes::draw;
pub use table::{grouped, per_column_text};

use super::model::{Model, per_thousand};
use table::figure;

/// The first line: who, how, how far.
pub fn first_line(model: &Model) -> String {
    let look = &model.look;
    let seconds = look.counter("virtual_ns") as f64 / 1e9;
    let mips = model.mips().map(|mips| format!(", {mips:.1} MIPS")).unwrap_or_default();
    format!(
        "{}: {}, {} instructions, {seconds:.6} s of its time{mips}",
        model.name,
        model.state(),
        grouped(look.counter("instructions"))
    )
}

/// The second line: counters since its start.
pub fn second_line(model: &Model) -> String {
    let look = &model.look;
    let count = |name: &str| grouped(look.counter(name));
    let misses = per_thousand(look.counter("tlb_misses"), look.counter("instructions"));
    let shootdowns: Option<u64> = look.cpus.iter().map(|cpu| cpu.shootdowns).sum();
    let shootdowns = shootdowns.map(|sum| format!("shootdowns {}; ", grouped(sum))).unwrap_or_default();
    // A narrow terminal shows what comes first.
    format!(
        "TLB misses {}, {} in 1,000 instructions; {shootdowns}page faults {}; interrupts {}; flushes {}; INVLPG {}",
        count("tlb_misses"),
        figure(misses, 2),
        count("page_faults"),
        count("interrupts"),
        count("tlb_flushes"),
        count("tlb_invlpg"),
    )
}

/// What could not be known, a line each.
pub fn notes(model: &Model) -> Vec<String> {
    let notes = model.note.iter().flat_map(|note| note.lines()).map(str::to_owned);
    notes.chain(model.look.notes.iter().cloned()).map(|note| super::look::printable(&note)).collect()
}

/// All of it as text, for who has no terminal: every row, and as wide as it is.
pub fn text(model: &Model) -> String {
    const WIDTH: usize = 100;
    let mut text = format!("{}\n{}\n", first_line(model), second_line(model));
    notes(model).iter().for_each(|note| text += &format!("note: {note}\n"));
    text += "\n";
    text += &per_column_text(&cpus::COLUMNS, (0..model.look.cpus.len()).map(|at| cpus::cells(model, at)));
    text += "\n";
    if model.look.processes.is_some() {
        text += &per_column_text(&processes::COLUMNS, model.processes.iter().map(processes::cells));
        text += "\n";
    }
    memory::lines(model, WIDTH).iter().for_each(|line| text += &format!("{}\n", line.trim_end()));
    text += "\n";
    model.log.events().for_each(|event| text += &format!("{:>14} {}\n", event.at_ns, event.text));
    text
}
