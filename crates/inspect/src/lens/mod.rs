//! The lenses, a file a subject.

mod backtrace;
mod code;
mod cost;
mod frame;
mod maps;
mod modules;
mod page;
mod pagemap;
mod pagetable;
mod proc;
mod process;
mod regs;
mod resources;
mod screen;
mod symbols;
mod system;
mod system_files;
#[cfg(test)]
mod tests;
mod tlb;
mod top;
mod verify;
mod vmalloc;
mod walk;
mod zones;

use cpu::mmu::Paging;
use serde::Serialize;
use serde_json::Value;
use x86::LinearAddr;

use crate::{Books, Error, KernelImage, Picture, Reader, Request, Result, Target, timeline::Points, with_directory};

pub(crate) use backtrace::{Registers, frames};
pub(crate) use code::{MAX_INSTRUCTION, instruction_at, instruction_words};
pub(crate) use maps::{Neighbour, area_line, area_rows, neighbours};
pub(crate) use modules::tables as module_tables;
pub use proc::{RUN_BYTES, SPARSE};
pub use process::{process_file, process_of_directory};
pub use screen::{Cell, Screen};
pub use system_files::system_file;
pub(crate) use tlb::{describe as describe_tlb_entry, stale as stale_words, tlb_entry};
pub(crate) use walk::{describe_step, walk_lines};

/// What a lens shows: text, with its last line feed, and the same as JSON.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// For people. Bytes, since a path need not be UTF-8.
    pub text: Vec<u8>,
    /// For programs. Keys are stable.
    pub json: Value,
    /// What the reader must know of both, in lines that are part of neither: how it was looked
    /// at, and where the kernel's books are damaged.
    pub note: Option<String>,
}

impl Answer {
    pub(crate) fn new(text: impl Into<Vec<u8>>, json: impl Serialize) -> Answer {
        let json = serde_json::to_value(json).expect("lens rows have string keys and plain values");
        Answer { text: text.into(), json, note: None }
    }
}

/// Looks at a machine.
///
/// # Errors
/// Whatever keeps the lens from showing anything, as one clear line.
pub fn look(target: &Target<'_>, request: &Request) -> Result<Answer> {
    target.damage.take();
    let answer = show(target, request);
    let damage = target.damage.take();
    match answer {
        _ if damage.is_empty() => answer,
        Ok(answer) => {
            let lines = answer.note.into_iter().chain(damage);
            Ok(Answer { note: Some(lines.collect::<Vec<_>>().join("\n")), ..answer })
        }
        Err(why) => Err(Error::Damaged { why: Box::new(why), damage: damage.join("; ") }),
    }
}

/// Looks, and leaves in `target` what was found wrong.
pub(crate) fn show(target: &Target<'_>, request: &Request) -> Result<Answer> {
    match request {
        Request::Ps => process::ps(target),
        Request::Maps { pid } => maps::maps(target, *pid),
        Request::Smaps { pid } => maps::smaps(target, *pid),
        Request::Pmap { pid, extended } => maps::pmap(target, *pid, *extended),
        Request::Status { pid } => process::status(target, *pid),
        Request::Iomem { machine } => resources::iomem(target, *machine),
        Request::Ioports { machine } => resources::ioports(target, *machine),
        Request::Buddyinfo => zones::buddyinfo(target),
        Request::Pagetypeinfo => zones::pagetypeinfo(target),
        Request::Slabinfo => zones::slabinfo(target),
        Request::Vmallocinfo => vmalloc::vmallocinfo(target),
        Request::Modules => modules::modules(target),
        Request::Meminfo => system::meminfo(target),
        Request::Vmstat => system::vmstat(target),
        Request::Zoneinfo => system::zoneinfo(target),
        Request::Interrupts => system::interrupts(target),
        Request::Cpuinfo => system::cpuinfo(target),
        Request::Swaps => system::swaps(target),
        Request::Page { pfn } => page::page(target, *pfn),
        Request::Verify => verify::verify(target),
        Request::Walk { addr, cpu, pid } => walk::walk(target, addr, *cpu, *pid),
        Request::Pagetable { cpu, pid } => pagetable::pagetable(target, *cpu, *pid),
        Request::Tlb { cpu } => tlb::tlb(target, *cpu),
        Request::Regs { cpu } => regs::regs(target, *cpu),
        Request::Disas { addr, count, cpu, pid } => code::disas(target, addr, *count, *cpu, *pid),
        Request::X { addr, count, cpu, pid } => code::examine(target, addr, *count, *cpu, *pid),
        Request::Sym { what } => symbols::sym(target, what),
        Request::Bt { cpu } => backtrace::backtrace(target, *cpu),
        Request::Stats => regs::stats(target),
        Request::Screen => screen::screen(target),
        Request::Timeline => timeline(target),
        Request::Why => crate::why::why(target),
        Request::Picture { limit } => Ok(picture(target, *limit)),
        Request::Top { since_ns } => Ok(top::top(target, *since_ns)),
        Request::PagetableCost => cost::cost(target),
        Request::Proc => proc::proc(target),
        Request::TimelineTrace => Ok(timeline_trace(target)),
    }
}

/// Everything; as text only what could not be known.
fn picture(target: &Target<'_>, limit: usize) -> Answer {
    let picture = Picture::of(target, limit);
    let text: String = picture.notes.iter().map(|note| format!("{note}\n")).collect();
    Answer::new(text, picture)
}

/// The last shootdowns.
fn timeline(target: &Target<'_>) -> Result<Answer> {
    let (events, forgotten) = match target.timeline {
        Some(timeline) => (timeline.events().copied().collect(), timeline.forgotten()),
        None => (Vec::new(), 0),
    };
    let (text, json) = crate::timeline::show(&events, forgotten, Points::of(target));
    Ok(Answer::new(text, json))
}

/// The time line for Perfetto.
fn timeline_trace(target: &Target<'_>) -> Answer {
    let events: Vec<_> = target.timeline.iter().flat_map(|timeline| timeline.events()).copied().collect();
    let trace = crate::timeline::chrome(&events, Points::of(target), target.cpus.len());
    let text = trace.iter().map(|event| format!("{event}\n")).collect::<String>();
    Answer::new(text, trace)
}

/// The tables to look through: those of a process, or those that the CPU uses now.
fn paging(target: &Target<'_>, cpu: usize, pid: Option<u32>) -> Result<Paging> {
    let state = target.cpu(cpu)?;
    let Some(pid) = pid else {
        return Ok(state.paging());
    };
    let books = Books::of(target)?;
    let pgd = books.mm(&books.task(pid)?)?.map_or(books.root().swapper_pg_dir, |mm| mm.pgd);
    Ok(with_directory(state, target.mem, pgd))
}

/// Memory through those tables.
fn reader<'a>(target: &Target<'a>, cpu: usize, pid: Option<u32>) -> Result<Reader<'a>> {
    Ok(Reader::new(target.mem, paging(target, cpu, pid)?))
}

/// The name of what lies at a linear address: by the kernel's symbols, or by those of the
/// program that runs in the address space.
pub(crate) fn symbol_at(target: &Target<'_>, paging: Paging, addr: LinearAddr) -> Option<String> {
    let kernel = target.kernel_symbols().filter(|_| target.kernel.is_some_and(|kernel| kernel.holds(addr.0)));
    if let Some(symbols) = kernel {
        return symbols.describe(addr.0);
    }
    let books = Books::of(target).ok().filter(|_| paging.enabled())?;
    if target.kernel.and_then(KernelImage::note).is_some_and(|note| addr.0 >= note.page_offset) {
        return modules::symbol_at(&books, addr.0);
    }
    let (_, mm) = process_of_directory(&books, paging.cr3).ok()??;
    let exe = books.file(mm.exe).ok()?;
    target.program_symbols(&exe.path)?.describe(addr.0)
}

/// Bytes for JSON: text if they are UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
