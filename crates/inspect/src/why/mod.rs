//! The fault explainer: why a fault was not resolved, in some ten lines.
//!
//! The processor's record ([`cpu::FaultRecord`]) has what is gone by the time that the kernel has made up
//! its mind: the registers, the tables' entries, what the TLB held. The kernel says at [`Points`] what
//! becomes of a fault; of a kernel without them only double and triple faults are known to be unresolved.

mod access;
mod area;
mod change;
mod points;
mod refusal;
mod stack;

use cpu::{FaultRecord, mmu::Step};
use machine::{Explanation, Unresolved, Verdict};
use serde_json::{Value, json};
use x86::{Cr0, LinearAddr, PageFaultCode, SegReg, Vector};

use self::refusal::{Refused, refused};
use crate::{
    Books, Error, Result, Target, comm,
    lens::{Answer, describe_step, describe_tlb_entry, process_of_directory, stale_words},
};
pub use points::Points;

/// The last fault that was not resolved, of a machine at rest.
///
/// # Errors
/// [`Error::NoFault`] if there was none.
pub(crate) fn why(target: &Target<'_>) -> Result<Answer> {
    if let Some(Explanation { text, json }) = target.explanation {
        let json: Value = serde_json::from_str(json).unwrap_or_default();
        return Ok(Answer::new(text.as_str(), json));
    }
    if let Some(unresolved) = target.unresolved {
        return Ok(explain(target, unresolved));
    }
    let unresolved = last_seen(target).ok_or(Error::NoFault)?;
    Ok(explain(target, &unresolved))
}

/// What the hardware alone tells: the last triple or double fault, else the last page fault of a kernel that
/// does not say what becomes of its page faults.
pub fn last_seen(target: &Target<'_>) -> Option<Unresolved> {
    let says = target.kernel_symbols().is_some_and(Points::are_in);
    let newest = |is_it: &dyn Fn(&FaultRecord) -> bool| {
        let records = target.faults.iter().flat_map(|log| log.newest());
        records.filter(|record| is_it(record)).max_by_key(|record| record.at)
    };
    let of = |record: &FaultRecord, verdict| {
        let (cpu, at) = (record.cpu, record.at);
        Some(Unresolved { fault: Some(record.clone()), verdict, cpu, at })
    };
    if let Some(record) = newest(&FaultRecord::is_triple) {
        return of(record, Verdict::TripleFault);
    }
    if let Some(record) = newest(&FaultRecord::is_double) {
        return of(record, Verdict::DoubleFault);
    }
    of(newest(&|_| !says)?, Verdict::Unknown)
}

/// A fault explained: text and JSON.
pub fn explain(target: &Target<'_>, unresolved: &Unresolved) -> Answer {
    let mut page = Page { text: String::new(), json: json!({}) };
    let process = process(target, unresolved);
    page.head(unresolved, process.as_ref());
    match &unresolved.fault {
        Some(record) => page.fault(target, record, &unresolved.verdict),
        None => page.here(target, unresolved),
    }
    Answer::new(page.text, page.json)
}

/// The same, to be kept.
pub fn explanation(target: &Target<'_>, unresolved: &Unresolved) -> Explanation {
    let Answer { text, json, .. } = explain(target, unresolved);
    Explanation { text: String::from_utf8_lossy(&text).into_owned(), json: json.to_string() }
}

/// Who ran: process, thread, name.
struct Process {
    pid: u32,
    thread: u32,
    name: String,
}

fn process(target: &Target<'_>, unresolved: &Unresolved) -> Option<Process> {
    let books = Books::of(target).ok()?;
    let task = match &unresolved.fault {
        // Of a look that comes later only the address space is known.
        Some(record) => match books.current(record.cpu as u32) {
            Ok(task) if is_of(&books, &task, record) => task,
            _ => process_of_directory(&books, record.paging.cr3).ok()??.0,
        },
        None => books.current(unresolved.cpu as u32).ok()?,
    };
    Some(Process { pid: task.tgid, thread: task.pid, name: comm(&task) })
}

fn is_of(books: &Books<'_>, task: &abi::books::TaskRecord, record: &FaultRecord) -> bool {
    // A kernel thread uses whatever directory there is.
    let mm = books.mm(task).ok().flatten();
    mm.is_none_or(|mm| mm.pgd & !0xfff == record.paging.cr3 & !0xfff)
}

/// The report as it grows.
struct Page {
    text: String,
    json: Value,
}

impl Page {
    fn line(&mut self, name: &str, what: &str) {
        self.text += &format!("  {name:<8} {what}\n");
    }

    fn head(&mut self, unresolved: &Unresolved, process: Option<&Process>) {
        let Unresolved { fault, verdict, cpu, at } = unresolved;
        let who = process.map_or(String::new(), |Process { pid, thread, name }| match pid == thread {
            true => format!(" of process {pid} ({name})"),
            false => format!(" of thread {thread} of process {pid} ({name})"),
        });
        let vector = fault.as_ref().and_then(|record| record.raised().next()).map(|first| first.vector);
        let what = match vector {
            Some(Vector::PAGE_FAULT) => "page fault".to_owned(),
            Some(vector) => format!("{vector:?}"),
            None => "fault".to_owned(),
        };
        let (kind, headline) = match verdict {
            Verdict::Signal { number, is_handled } => {
                let end = if *is_handled { "for which it has a handler" } else { "which ends it" };
                ("signal", format!("{what}{who}: {}, {end}", signal_name(*number)))
            }
            Verdict::Oops => ("oops", format!("{what} in the kernel{}", who.replacen(" of", ", on behalf of", 1))),
            Verdict::Panic(words) => ("panic", format!("the kernel panics: {words}")),
            Verdict::DoubleFault => ("double fault", format!("double fault{who}: {}", chain(fault.as_ref()))),
            Verdict::TripleFault => ("triple fault", format!("triple fault{who}: {}", chain(fault.as_ref()))),
            Verdict::Unknown => ("unknown", format!("the last {what}; this kernel does not say what became of it")),
        };
        self.text += &format!("CPU {cpu}: {headline}\n");
        self.json = json!({
            "verdict": kind, "headline": headline, "cpu": cpu, "at": at,
            "process": process.map(|Process { pid, thread, name }| json!({"pid": pid, "thread": thread, "name": name})),
        });
        match verdict {
            Verdict::Signal { number, is_handled } => {
                self.json["signal"] = (*number).into();
                self.json["handled"] = (*is_handled).into();
            }
            Verdict::Panic(words) => self.json["panic"] = words.as_str().into(),
            _ => {}
        }
    }

    fn fault(&mut self, target: &Target<'_>, record: &FaultRecord, verdict: &Verdict) {
        self.json["instruction"] = record.retired.into();
        let raised = record.raised().map(|raised| json!({"vector": raised.vector.0, "error_code": raised.code}));
        self.json["raised"] = raised.collect();
        if let Some(fault) = record.page_fault {
            self.access(target, record, fault.addr, PageFaultCode::from_bits_retain(fault.code));
        }
        let code = access::code(target, record);
        self.line("by", &code.line);
        code.operands.iter().for_each(|operand| self.line("with", operand));
        self.json["by"] = code.json;
        if let Some(fault) = record.page_fault {
            let addr = LinearAddr(fault.addr);
            self.walk(target, record, addr);
            self.area(target, record, addr, verdict);
        }
        let stack = stack::of(target, record.paging, record.pc(), &record.gpr, &record.seg);
        self.stack(&stack);
    }

    /// What is known where there is no record of a fault: where the CPU is.
    fn here(&mut self, target: &Target<'_>, unresolved: &Unresolved) {
        let Ok(state) = target.cpu(unresolved.cpu) else { return };
        self.json["instruction"] = state.retired.into();
        let stack = stack::of(target, state.paging(), state.pc(), &state.gpr, &state.seg);
        self.stack(&stack);
    }

    fn stack(&mut self, stack: &stack::Stack) {
        self.line("stack", &stack.line);
        self.json["stack"] = stack.json.clone();
    }

    fn access(&mut self, target: &Target<'_>, record: &FaultRecord, addr: u32, code: PageFaultCode) {
        let kind = access::kind(target, record, addr, code);
        let words = code_words(code, record.paging.cr0.contains(Cr0::WP));
        let bits = code.bits();
        let ring = record.cpl;
        let at = record.retired;
        self.line(
            "access",
            &format!("{kind} of {addr:#010x} in ring {ring} at instruction {at}: error code {bits:#x} ({words})"),
        );
        self.json["address"] = addr.into();
        self.json["access"] = kind.into();
        self.json["ring"] = ring.into();
        self.json["error_code"] = bits.into();
        self.json["error"] = words.into();
    }

    /// The entries on the way, what refused, what the TLB held, and who changed the mapping last.
    fn walk(&mut self, target: &Target<'_>, record: &FaultRecord, addr: LinearAddr) {
        let Some(walk) = record.tables.map(|tables| tables.walk(&record.paging, addr)) else { return };
        let refused = refused(target, record, &walk);
        for (number, step) in walk.steps.iter().enumerate() {
            let is_leaf = number + 1 == walk.steps.len();
            let (name, words) = describe_step(record.paging, *step, is_leaf);
            let mark = match &refused {
                Refused::Entry { step, bit, .. } if *step == number => format!("   <- refuses: {bit}"),
                _ => String::new(),
            };
            self.line(name, &format!("{words}{mark}"));
        }
        let entries = walk.steps.iter().map(|Step { level, index, addr, value }| {
            json!({"level": refusal::level_word(*level), "index": index, "addr": addr.0, "value": value})
        });
        self.json["walk"] = entries.collect();
        self.json["refused"] = refused.json(&walk);
        if let Refused::Paging(why) = &refused {
            self.line("refused", why);
        }
        let stale = record.held.as_ref().and_then(|held| stale_words(held, &walk.result));
        let held = match &record.held {
            None => "held nothing for the page".to_owned(),
            Some(held) => {
                let stale = stale.map_or(String::new(), |why| format!("  STALE: {why}"));
                let mark = if matches!(refused, Refused::Tlb) { "   <- refuses" } else { "" };
                format!("held {}{stale}{mark}", describe_tlb_entry(held))
            }
        };
        self.line("TLB", &format!("CPU {} {held}", record.cpu));
        self.json["tlb"] = json!({
            "held": record.held.map(|held| json!({
                "linear": u64::from(held.page) << 12, "physical": u64::from(held.frame) << 12,
                "user": held.rights.user, "write": held.rights.writable, "execute": held.rights.executable,
                "filled_by": held.filled_by, "filled_at": held.filled_at,
            })),
            "stale": stale,
        });
        let changed = change::of(target, record, &walk, &refused);
        self.line("changed", &changed.line);
        self.json["changed"] = changed.json;
    }

    fn area(&mut self, target: &Target<'_>, record: &FaultRecord, addr: LinearAddr, verdict: &Verdict) {
        let Some(area) = area::of(target, record, addr, verdict) else { return };
        for (name, line) in &area.lines {
            self.line(name, line);
        }
        self.json["vma"] = area.json;
    }
}

/// What was raised, in the order of raising.
fn chain(record: Option<&FaultRecord>) -> String {
    let Some(record) = record else { return "it is not remembered".into() };
    let words = record.raised().map(|raised| {
        let mut words = format!("{:?}", raised.vector);
        if x86::has_error_code(raised.vector) && raised.vector != Vector::DOUBLE_FAULT {
            words += &format!("({:#x})", raised.code);
        }
        if raised.vector == Vector::PAGE_FAULT {
            words += &format!(" at {:#010x}", raised.addr);
        }
        words
    });
    words.collect::<Vec<_>>().join(", then ")
}

/// An error code in words.
pub(crate) fn code_words(code: PageFaultCode, write_protect: bool) -> String {
    let mut words = Vec::new();
    words.push(match () {
        _ if code.contains(PageFaultCode::RSVD) => "a reserved bit is set",
        _ if code.contains(PageFaultCode::P) => "present",
        _ => "not present",
    });
    words.push(match () {
        _ if code.contains(PageFaultCode::ID) => "fetch",
        _ if code.contains(PageFaultCode::WR) => "write",
        _ => "read",
    });
    words.push(if code.contains(PageFaultCode::US) { "user" } else { "supervisor" });
    if code.contains(PageFaultCode::P | PageFaultCode::WR) && !code.contains(PageFaultCode::US) && write_protect {
        words.push("CR0.WP is set");
    }
    words.join(", ")
}

fn signal_name(number: u32) -> String {
    match number {
        7 => "SIGBUS".into(),
        11 => "SIGSEGV".into(),
        number => format!("signal {number}"),
    }
}

/// `<symbol>` after an address, or nothing.
fn in_brackets(symbol: Option<String>) -> String {
    symbol.map_or(String::new(), |symbol| format!(" <{symbol}>"))
}

/// Base of a segment as the record has it.
fn base(record: &FaultRecord, reg: SegReg) -> u32 {
    record.seg[reg as usize].base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_is_spelled_out() {
        let code = PageFaultCode::from_bits_retain;
        assert_eq!(code_words(code(6), true), "not present, write, user");
        assert_eq!(code_words(code(3), true), "present, write, supervisor, CR0.WP is set");
        assert_eq!(code_words(code(0x15), true), "present, fetch, user");
        assert_eq!(code_words(code(9), true), "a reserved bit is set, read, supervisor");
    }
}
