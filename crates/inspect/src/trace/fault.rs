//! One page fault, from the access to the retry, in lines of text.

use cpu::{CpuState, mmu::walk};
use x86::{Cr0, LinearAddr, PageFaultCode, SegReg, Selector, Vector};

use super::{Row, linear, thread};
use crate::{
    Books, Reader, Target, comm,
    lens::{MAX_INSTRUCTION, area_line, instruction_at, process_of_directory, symbol_at, tlb_entry, walk_lines},
    why::code_words,
};

/// What the processor pushed for a page fault.
#[derive(Clone, Copy)]
struct Frame {
    code: PageFaultCode,
    eip: u32,
    cs: u16,
    /// ESP of the interrupted code, once the handler has returned.
    esp: u32,
}

/// A fault whose handler has not returned yet.
pub struct Fault {
    number: u64,
    thread: u32,
    /// Where it is drawn.
    row: Row,
    /// Virtual time when it was raised.
    raised_ns: u64,
    cr3: u32,
    address: LinearAddr,
    frame: Frame,
    /// Linear address of the instruction.
    instruction: u32,
    /// Instructions retired when it was raised, and when its handler had returned.
    raised_at: u64,
    returned_at: u64,
    /// The page-table entry as the walk found it; `None` without a table.
    before: Option<u64>,
    text: String,
}

impl Fault {
    /// The fault whose handler is about to begin; `None` if its stack cannot be read.
    pub fn at_handler(target: &Target<'_>, state: &CpuState, thread: u32, number: u64, raised_ns: u64) -> Option<Self> {
        let frame = Frame::read(target, state)?;
        let address = LinearAddr(state.cr2);
        let who = thread::current(target, target.current);
        let is_idle = who.pid == 0 && who.name.is_some();
        let row = if is_idle { Row::Cpu(target.current as u8) } else { Row::Thread(who) };
        Some(Fault {
            number,
            thread,
            row,
            raised_ns,
            cr3: state.cr3,
            address,
            frame,
            instruction: linear(state, frame.eip),
            raised_at: state.retired,
            returned_at: 0,
            before: leaf(target, state, address),
            text: String::new(),
        })
    }

    /// When it was raised, where it is drawn, and what it is called there.
    pub fn bar(&self) -> (u64, Row, String) {
        (self.raised_ns, self.row.clone(), format!("#PF {:#010x}", self.address.0))
    }

    /// Whether ring 3 was interrupted.
    pub fn is_from_ring_3(&self) -> bool {
        self.frame.cs & 3 == 3
    }

    /// The thread that it happened to.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// What CR2 has.
    pub fn address(&self) -> u32 {
        self.address.0
    }

    /// Where the machine must stop for its return.
    pub fn return_linear(&self) -> u32 {
        self.instruction
    }

    /// Whether the CPU is about to try its instruction again.
    pub fn returns_here(&self, state: &CpuState, thread: u32) -> bool {
        self.is_context_of(state)
            && state.pc() == self.instruction
            && self.thread == thread
            && state.gpr[cpu::Gpr::Esp as usize] == self.frame.esp
    }

    /// Whether the CPU has executed its instruction, and is not in a handler.
    pub fn is_behind(&self, state: &CpuState) -> bool {
        self.is_context_of(state) && state.retired > self.returned_at
    }

    fn is_context_of(&self, state: &CpuState) -> bool {
        state.cr3 == self.cr3 && state.seg(SegReg::Cs).selector == self.frame.cs
    }

    /// Everything up to the handler's first instruction.
    pub fn describe(&mut self, target: &Target<'_>, state: &CpuState, made_by: Option<&str>) {
        let paging = state.paging();
        let who = self.process(target);
        self.text = format!("fault {}{who}, at instruction {}\n", self.number, self.raised_at);
        let area = self.area(target);
        if let Some(area) = &area {
            self.line("area", area);
        }
        if let Some(by) = made_by.filter(|_| area.is_some()) {
            self.line("made by", by);
        }
        let code = self.frame.code;
        let kind = match code {
            _ if code.contains(PageFaultCode::ID) || self.is_fetch(target, state) => "fetch",
            _ if code.contains(PageFaultCode::WR) => "write",
            _ => "read",
        };
        let words = match kind {
            "fetch" => "the instruction itself".to_owned(),
            _ => instruction_at(target, state, self.instruction),
        };
        let at = symbol_at(target, paging, LinearAddr(self.instruction));
        let at = at.map_or(String::new(), |symbol| format!(" <{symbol}>"));
        let ring = if self.is_from_ring_3() { 3 } else { 0 };
        let (address, instruction) = (self.address.0, self.instruction);
        self.line("access", &format!("{kind} of {address:#010x} by {instruction:#010x}{at} in ring {ring}: {words}"));
        self.line(
            "TLB",
            if code.contains(PageFaultCode::P) {
                "the rights refuse it; #PF drops what is held of the page"
            } else {
                "miss: a page that is not present is never held"
            },
        );
        self.text += &walk_lines(target, paging, self.address);
        let handler = symbol_at(target, paging, LinearAddr(state.pc()));
        let handler = handler.map_or(String::new(), |symbol| format!(" <{symbol}>"));
        self.line(
            "#PF",
            &format!(
                "error code {:#x} ({}), CR2 {address:#010x}, vector {} to {:#010x}{handler}",
                code.bits(),
                code_words(code, paging.cr0.contains(Cr0::WP)),
                Vector::PAGE_FAULT.0,
                state.pc(),
            ),
        );
    }

    /// Whether the instruction's own bytes end where the fault is: without NX its error code is that of a read.
    fn is_fetch(&self, target: &Target<'_>, state: &CpuState) -> bool {
        let mut bytes = [0; MAX_INSTRUCTION];
        let read = Reader::new(target.mem, state.paging()).read(LinearAddr(self.instruction), &mut bytes);
        read < bytes.len() && self.instruction.wrapping_add(read as u32) == self.address.0
    }

    /// The handler has returned: what it has done.
    pub fn returned(&mut self, target: &Target<'_>, state: &CpuState) {
        if self.returned_at != 0 {
            return;
        }
        self.returned_at = state.retired;
        let area = self.area(target).unwrap_or_else(|| "none".into());
        self.line("VMA", &area);
        let after = leaf(target, state, self.address);
        if let Some(frame) = after.filter(|entry| entry & 1 != 0).map(|entry| (entry >> 12) as u32 & 0xf_ffff) {
            let words = frame_words(target, frame);
            self.line("frame", &words);
        }
        let entry = |value: Option<u64>| value.map_or("no table".to_owned(), |value| format!("{value:#010x}"));
        let (before, after) = (entry(self.before), entry(after));
        self.line("PTE", &format!("{before} -> {after}"));
        let spent = self.returned_at - self.raised_at;
        let to = self.instruction;
        self.line("IRET", &format!("to {to:#010x} after {spent} instructions"));
    }

    /// The instruction was tried again and has been executed.
    pub fn retried(mut self, state: &CpuState) -> String {
        self.line("retry", &format!("executed, instruction {}", state.retired));
        let held = tlb_entry(state, self.address).unwrap_or_else(|| "nothing is held for the page".into());
        self.line("TLB", &format!("filled: {held}"));
        self.text + "\n"
    }

    /// The instruction was tried again and faults again: the next fault tells of it.
    pub fn faults_again(mut self) -> String {
        self.line("retry", "faults again");
        self.text + "\n"
    }

    /// Nobody came back.
    pub fn abandoned(mut self, why: &str) -> String {
        self.line("end", why);
        self.text + "\n"
    }

    fn line(&mut self, name: &str, what: &str) {
        self.text += &format!("{name:<9} {what}\n");
    }

    fn process(&self, target: &Target<'_>) -> String {
        let task = Books::of(target).and_then(|books| books.task(self.thread));
        task.map_or(String::new(), |task| match task.pid == task.tgid {
            true => format!(": process {} ({})", task.pid, comm(&task)),
            false => format!(": thread {} of process {} ({})", task.pid, task.tgid, comm(&task)),
        })
    }

    /// The area of the address, as a line of `maps`.
    fn area(&self, target: &Target<'_>) -> Option<String> {
        let books = Books::of(target).ok()?;
        let (_, mm) = process_of_directory(&books, self.cr3).ok()??;
        area_line(&books, &mm, self.address).ok()?
    }
}

impl Frame {
    fn read(target: &Target<'_>, state: &CpuState) -> Option<Self> {
        let esp = state.gpr[cpu::Gpr::Esp as usize];
        let reader = Reader::new(target.mem, state.paging());
        let word = |n: u32| reader.u32(LinearAddr(state.seg(SegReg::Ss).base.wrapping_add(esp).wrapping_add(n * 4)));
        let cs = word(2)? as u16;
        // Without a change of rings the processor pushed no SS:ESP.
        let inner = Selector(cs).rpl() == Selector(state.seg(SegReg::Cs).selector).rpl();
        let back = if inner { esp.wrapping_add(16) } else { word(4)? };
        Some(Frame { code: PageFaultCode::from_bits_retain(word(0)?), eip: word(1)?, cs, esp: back })
    }
}

/// The last entry of a walk.
fn leaf(target: &Target<'_>, state: &CpuState, address: LinearAddr) -> Option<u64> {
    let steps = walk(target.mem, state.paging(), address).steps;
    let last = steps.last()?;
    (last.level == cpu::mmu::Level::Table || last.value & 1 != 0).then_some(last.value)
}

/// A frame by the kernel's descriptor of it.
fn frame_words(target: &Target<'_>, pfn: u32) -> String {
    let mut text = format!("{pfn:#07x}");
    let Ok(books) = Books::of(target) else { return text };
    let Some(page) = books.page(pfn) else { return text };
    let zones = books.zones().unwrap_or_default();
    let zone = zones.iter().find(|zone| pfn.wrapping_sub(zone.start_pfn) < zone.spanned_pages);
    // A single frame is a block of order 0; a compound page has its order in its head.
    let order = if page.flags & abi::books::pg::HEAD != 0 { page.private } else { 0 };
    text += &format!(", order {order}");
    if let Some(zone) = zone {
        text += &format!(", zone {}", abi::proc::zones::name(zone));
    }
    let mapped = page.mapcount.wrapping_add(1);
    text + &format!(", refcount {}, mapcount {mapped}", page.refcount)
}
