//! What gdb's user is told of a stop, beside what gdb says of its own.

use inspect::KernelImage;
use machine::{Bytes, Machine, Occurrence, WatchHit};
use x86::{PageFaultCode, Vector};

use super::Process;
use crate::server::Setup;

/// ` by 0xc0101234 do_page_fault+0x4, CPU 0, process 5`.
fn place(machine: &Machine, kernel: &KernelImage, setup: &Setup, cpu: usize, pc: u32) -> String {
    let symbol = kernel.symbols().describe(pc).or_else(|| setup.programs.iter().find_map(|it| it.symbols.describe(pc)));
    let symbol = symbol.map_or(String::new(), |symbol| format!(" {symbol}"));
    let process = Process::on(machine, kernel, cpu).map_or(String::new(), |it| format!(", process {}", it.pid));
    format!("{pc:#010x}{symbol}, CPU {cpu}{process}")
}

/// A row's instruction comes next.
pub fn at_instruction(machine: &Machine, kernel: &KernelImage, setup: &Setup, cpu: usize) -> String {
    let pc = machine.cpu(cpu).pc();
    format!("[at {}]\n", place(machine, kernel, setup, cpu, pc))
}

/// Watched memory was touched.
pub fn touch(machine: &Machine, kernel: &KernelImage, setup: &Setup, cpu: usize, hit: &WatchHit) -> String {
    let by = place(machine, kernel, setup, cpu, hit.pc.0);
    let at = match hit.linear {
        Some(linear) => format!("linear {:#010x}, physical {:#010x}", linear.0, hit.phys.0),
        None => format!("physical {:#010x}, by the page walker", hit.phys.0),
    };
    let more = if hit.len as usize > Bytes::MOST { " …" } else { "" };
    let after = value(&hit.after);
    let what = match (hit.write, &hit.before) {
        (false, _) => format!("read {after}{more}"),
        (true, Some(before)) => format!("wrote {} -> {after}{more}", value(before)),
        (true, None) => format!("wrote {after}{more}"),
    };
    format!("[{what} ({} bytes) at {at}; instruction {by}]\n", hit.len)
}

/// What has one of the sizes of registers as a number, else byte by byte.
fn value(bytes: &Bytes) -> String {
    let bytes = bytes.get();
    match bytes.len() {
        1 | 2 | 4 | 8 => bytes.iter().rev().fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}")),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}

/// An event.
pub fn event(machine: &Machine, kernel: &KernelImage, setup: &Setup, cpu: usize, occurrence: Occurrence) -> String {
    let state = machine.cpu(cpu);
    let what = match occurrence {
        Occurrence::SoftwareInterrupt { vector: 0x80 } | Occurrence::SystemEnter => {
            let number = state.gpr[0];
            let name = abi::nr::name(number).map_or(String::new(), |name| format!(" {name}"));
            let args: Vec<String> = [3, 1, 2, 6, 7, 5].iter().map(|&reg| format!("{:#x}", state.gpr[reg])).collect();
            format!("system call {number}{name}({})", args.join(", "))
        }
        Occurrence::SoftwareInterrupt { vector } => format!("the guest's own interrupt {}", named(Vector(vector))),
        Occurrence::Exception(fault) if fault.vector == Vector::PAGE_FAULT => {
            format!("page fault at {:#010x} ({}), not yet delivered", fault.addr, reason(fault.code))
        }
        Occurrence::Exception(fault) => {
            format!("exception {}, error code {:#x}, not yet delivered", named(fault.vector), fault.code)
        }
        Occurrence::Delivered { vector } => format!("interrupt {} delivered", named(vector)),
        Occurrence::Port { port, size, output, value } => {
            let digits = 2 * size as usize;
            let way = if output { "out" } else { "in" };
            format!("{way} {value:#0width$x} at port {port:#06x}", width = digits + 2)
        }
        Occurrence::EnteredUser => String::from("returned to ring 3"),
        Occurrence::LoadedCr3 { before, after } => format!("CR3 {before:#010x} -> {after:#010x}"),
    };
    format!("[{what}; at {}]\n", place(machine, kernel, setup, cpu, state.pc()))
}

fn named(vector: Vector) -> String {
    let name = vector.mnemonic().map_or(String::new(), |name| format!(" {name}"));
    format!("{}{name}", vector.0)
}

/// A page fault's error code in words.
fn reason(code: u32) -> String {
    let code = PageFaultCode::from_bits_retain(code);
    let pick = |bit, yes, no| if code.contains(bit) { yes } else { no };
    let access = match code.contains(PageFaultCode::ID) {
        true => "fetch",
        false => pick(PageFaultCode::WR, "write", "read"),
    };
    let why = match code.contains(PageFaultCode::RSVD) {
        true => "reserved bit",
        false => pick(PageFaultCode::P, "not allowed", "not present"),
    };
    format!("{access} by {}, {why}", pick(PageFaultCode::US, "user", "supervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_registers_size_are_numbers_and_others_bytes() {
        for (bytes, text) in [
            (&[0x12][..], "0x12"),
            (&[0x34, 0x12], "0x1234"),
            (&[0x78, 0x56, 0x34, 0x12], "0x12345678"),
            (&[1, 2, 3], "01 02 03"),
        ] {
            assert_eq!(value(&Bytes::of(bytes)), text);
        }
    }

    #[test]
    fn error_codes_are_told_in_words() {
        for (code, text) in [
            (0, "read by supervisor, not present"),
            (7, "write by user, not allowed"),
            (0x14, "fetch by user, not present"),
            (9, "read by supervisor, reserved bit"),
        ] {
            assert_eq!(reason(code), text);
        }
    }
}
