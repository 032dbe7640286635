//! `--trace int,io,mem,syscall,sched`: events of the processor in words.
//!
//! The machine is asked for stops at events and at touched memory, each of which is told and passed within the run:
//! the machine goes as it would without.

use cpu::{Bytes, Catches, CpuState, Exception, IoSize, Occurrence, Vectors, Watch, WatchHit, WatchKind, WatchSpace};
use machine::Stop;
use serde_json::json;
use x86::{LinearAddr, Vector, has_error_code};

use super::{
    sched::Sched,
    syscalls::Syscalls,
    thread,
    told::{Row, Told},
};
use crate::{Target, WiredRange, lens::symbol_at};

/// The gate of Linux's system calls.
const SYSTEM_CALL: u8 = 0x80;
/// The pages of the local APICs and the I/O APIC: devices that are reached as memory.
const DEVICE_PAGES: [u32; 2] = [0xfee0_0000, 0xfec0_0000];
const PAGE: u64 = 0x1000;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "each is the word of `--trace`")]
pub struct EventKinds {
    pub int: bool,
    pub io: bool,
    pub mem: bool,
    pub syscall: bool,
    pub sched: bool,
}

impl EventKinds {
    /// Whether there is anything to tell.
    pub fn any(self) -> bool {
        self != EventKinds::default()
    }
}

/// Tells of events.
#[derive(Default)]
pub struct EventTrace {
    kinds: EventKinds,
    syscalls: Syscalls,
    sched: Sched,
    told: Vec<Told>,
}

impl EventTrace {
    /// One that has told nothing yet.
    pub fn new(kinds: EventKinds) -> Self {
        EventTrace { kinds, ..EventTrace::default() }
    }

    /// The events that the machine must stop at.
    pub fn catches(&self) -> Catches {
        let EventKinds { int, io, syscall, .. } = self.kinds;
        let mut vectors = Vectors::default();
        (0..=255).filter(|&vector| int || syscall && vector == SYSTEM_CALL).for_each(|vector| vectors.insert(vector));
        let ports = if io { vec![(0, u16::MAX)] } else { Vec::new() };
        Catches { vectors, sysenter: syscall, ports, cr3: false, user: syscall }
    }

    /// The memory that the machine must stop at when it is touched. It depends on where the guest has its TSSs, which
    /// it may set up at any time: to be asked for now and then.
    pub fn watches(&self, target: &Target<'_>) -> Vec<Watch> {
        let mut watches = Vec::new();
        if self.kinds.mem {
            watches.extend(Watch::new(WatchSpace::Linear, 0, 1 << 32, WatchKind::Access));
        }
        if self.kinds.io {
            let page = |first| Watch::new(WatchSpace::Physical, first, PAGE, WatchKind::Access);
            watches.extend(DEVICE_PAGES.into_iter().filter_map(page));
        }
        if self.kinds.sched {
            for place in (0..target.cpus.len()).filter_map(|cpu| thread::place_of_esp0(target, cpu)) {
                let watch = Watch::new(WatchSpace::Linear, place, 4, WatchKind::Write);
                watches.extend(watch.filter(|watch| !watches.contains(watch)));
            }
        }
        watches
    }

    /// The machine stopped for what was asked for, at this virtual time, after an instruction that touched `hits` and
    /// did `beside` too.
    pub fn stopped(
        &mut self,
        target: &Target<'_>,
        now_ns: u64,
        stop: &Stop,
        hits: &[WatchHit],
        beside: Option<Occurrence>,
    ) {
        let Ok(state) = target.cpu(target.current) else { return };
        match stop {
            Stop::Caught(occurrence) => self.happened(target, now_ns, state, *occurrence),
            Stop::Watchpoint { .. } => {
                hits.iter().for_each(|hit| self.touched(target, now_ns, state, hit));
                if let Some(occurrence) = beside {
                    self.happened(target, now_ns, state, occurrence);
                }
            }
            _ => {}
        }
    }

    /// What there is to tell since the last call, in the order of time.
    pub fn take(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// The run has ended: what goes on still is drawn up to here.
    pub fn finish(&mut self, now_ns: u64) {
        self.told.extend(self.sched.finish(now_ns));
        self.told.extend(self.syscalls.finish(now_ns));
    }

    fn happened(&mut self, target: &Target<'_>, now_ns: u64, state: &CpuState, occurrence: Occurrence) {
        let cpu = target.current as u8;
        let row = Row::Cpu(cpu);
        let head = format!("{now_ns} CPU {cpu}");
        let here = place(target, state, state.pc());
        match occurrence {
            Occurrence::SoftwareInterrupt { vector } => {
                if self.kinds.int {
                    let name = format!("INT {vector:#04x}");
                    let line = format!("{head} executes {name} at {here}");
                    self.told.push(Told::mark(now_ns, row, "int", &name, json!({ "at": here })).with_line(&line));
                }
                if vector == SYSTEM_CALL {
                    self.system_call(target, now_ns, state, false);
                }
            }
            Occurrence::SystemEnter => self.system_call(target, now_ns, state, true),
            Occurrence::EnteredUser if self.kinds.syscall => {
                let thread = thread::current(target, target.current);
                self.told.extend(self.syscalls.leave(now_ns, cpu, &thread, state));
            }
            Occurrence::Exception(exception) if self.kinds.int => {
                let words = exception_words(exception);
                let line = format!("{head} raises {words} at {here}");
                let name = vector_name(exception.vector);
                let args = json!({ "what": words, "at": here });
                self.told.push(Told::mark(now_ns, row, "int", &name, args).with_line(&line));
            }
            Occurrence::Delivered { vector } if self.kinds.int => {
                let name = vector_name(vector);
                let line = format!("{head} takes {name}, handler {here}");
                self.told.push(Told::mark(now_ns, row, "int", &name, json!({ "handler": here })).with_line(&line));
            }
            Occurrence::Port { port, size, output, value } if self.kinds.io => {
                let device = device(target.wiring.map(|wiring| &wiring.ports[..]), port.into());
                let value = hex(value, size);
                let what = match output {
                    true => format!("writes {value} to port {port:#06x}"),
                    false => format!("reads {value} from port {port:#06x}"),
                };
                let line = format!("{head} {what} ({device}), then {here}");
                let name = if output { format!("out {device}") } else { format!("in {device}") };
                self.told.push(Told::mark(now_ns, row, "io", &name, json!({ "what": what })).with_line(&line));
            }
            _ => {}
        }
    }

    fn system_call(&mut self, target: &Target<'_>, now_ns: u64, state: &CpuState, by_sysenter: bool) {
        if self.kinds.syscall && state.cpl == 3 {
            let thread = thread::current(target, target.current);
            let cpu = target.current as u8;
            self.told.push(self.syscalls.enter(target, now_ns, cpu, thread, state, by_sysenter));
        }
    }

    fn touched(&mut self, target: &Target<'_>, now_ns: u64, state: &CpuState, hit: &WatchHit) {
        let cpu = target.current as u8;
        let is_everything = hit.watch.space == WatchSpace::Linear && hit.watch.first == 0 && hit.watch.last == u32::MAX;
        if is_everything {
            self.access(target, now_ns, state, hit, "mem", "");
        } else if hit.watch.space == WatchSpace::Physical {
            let device = device(target.wiring.map(|wiring| &wiring.memory[..]), hit.phys.0 as u32);
            self.access(target, now_ns, state, hit, "io", &format!(", {device}"));
        } else if let Ok(stack) = <[u8; 4]>::try_from(hit.after.get()) {
            let thread = thread::of_stack(target, target.current, u32::from_le_bytes(stack));
            self.told.extend(self.sched.runs(now_ns, cpu, thread));
        }
    }

    /// A load or a store.
    fn access(
        &mut self,
        target: &Target<'_>,
        now_ns: u64,
        state: &CpuState,
        hit: &WatchHit,
        category: &str,
        device: &str,
    ) {
        let cpu = target.current as u8;
        let by = place(target, state, hit.pc.0);
        let to = match hit.linear {
            Some(linear) => format!("{:#010x} (physical {:#010x}{device})", linear.0, hit.phys.0),
            None => format!("physical {:#010x}{device}, by the page walker", hit.phys.0),
        };
        let len = hit.len;
        let what = match (hit.write, hit.before) {
            (false, _) => format!("reads {len} at {to}: {}", number(hit.after)),
            (true, Some(before)) => format!("writes {len} at {to}: {} -> {}", number(before), number(hit.after)),
            (true, None) => format!("writes {len} at {to}: {}", number(hit.after)),
        };
        let line = format!("{now_ns} CPU {cpu} {what} by {by}");
        let name = if hit.write { "write" } else { "read" };
        let args = json!({ "what": what, "by": by });
        self.told.push(Told::mark(now_ns, Row::Cpu(cpu), category, name, args).with_line(&line));
    }
}

/// An address of code with its symbol.
pub(super) fn place(target: &Target<'_>, state: &CpuState, pc: u32) -> String {
    let symbol = symbol_at(target, state.paging(), LinearAddr(pc));
    symbol.map_or(format!("{pc:#010x}"), |symbol| format!("{pc:#010x} <{symbol}>"))
}

pub(super) fn vector_name(vector: Vector) -> String {
    vector.mnemonic().map_or(format!("interrupt {:#04x}", vector.0), str::to_owned)
}

/// An exception with all that is pushed or set for it.
pub(super) fn exception_words(exception: Exception) -> String {
    let mut words = vector_name(exception.vector);
    if has_error_code(exception.vector) {
        words += &format!(", error code {:#x}", exception.code);
    }
    if exception.vector == Vector::PAGE_FAULT {
        words += &format!(", address {:#010x},", exception.addr);
    }
    words
}

/// The innermost range that holds an address or a port.
fn device(ranges: Option<&[WiredRange]>, at: u32) -> String {
    let holds = |range: &&WiredRange| (range.start..=range.end).contains(&at);
    let innermost = ranges.unwrap_or_default().iter().filter(holds).max_by_key(|range| range.depth);
    innermost.map_or("no device".to_owned(), |range| range.name.clone())
}

fn hex(value: u32, size: IoSize) -> String {
    let digits = 2 * size as usize;
    format!("0x{value:0digits$x}")
}

/// Bytes as the number that they are, or one by one if there are more than a register has.
fn number(bytes: Bytes) -> String {
    let bytes = bytes.get();
    match bytes.len() {
        0 => "nothing".to_owned(),
        1..=8 => bytes.iter().rev().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_stops_the_machine() {
        let catches = |kinds| EventTrace::new(kinds).catches();
        assert_eq!(catches(EventKinds { mem: true, sched: true, ..EventKinds::default() }), Catches::default());
        let calls = catches(EventKinds { syscall: true, ..EventKinds::default() });
        assert!(calls.user && calls.sysenter && calls.vectors.holds(0x80) && !calls.vectors.holds(14));
        assert!(catches(EventKinds { int: true, ..EventKinds::default() }).vectors.holds(14));
        assert_eq!(catches(EventKinds { io: true, ..EventKinds::default() }).ports, [(0, 0xffff)]);
    }

    #[test]
    fn numbers_are_written_as_a_register_would_have_them() {
        assert_eq!(number(Bytes::of(&[0x78, 0x56, 0x34, 0x12])), "0x12345678");
        assert_eq!(number(Bytes::of(&[1; 10])), "01 01 01 01 01 01 01 01 01 01");
    }

    #[test]
    fn the_innermost_range_names_the_device() {
        let range = |depth, start, end, name: &str| WiredRange { depth, start, end, name: name.to_owned() };
        let ranges = [range(0, 0, 0xfff, "bus"), range(1, 0x60, 0x6f, "keyboard")];
        assert_eq!(device(Some(&ranges), 0x64), "keyboard");
        assert_eq!(device(Some(&ranges), 0x2000), "no device");
    }
}
