//! The end of a run: its status, its report, its snapshot.

use std::{io::Write, path::Path};

use machine::{Machine, Stop};
use x86::SegReg;

use super::{
    host::Surroundings,
    prepare::{Mode, cannot_start},
};
use crate::{
    cli::RunArgs,
    error::{Error, status},
};

/// What the guest kernel writes to the debug-exit port when it panics.
const PANIC_STATUS: u32 = status::GUEST_PANIC as u32;

/// The exit status that tells how the machine stopped.
pub fn status(stop: Stop, args: &RunArgs, machine: &Machine) -> u8 {
    match stop {
        Stop::PowerOff { status } => status.min(255) as u8,
        Stop::Limit if args.save_at == Some(machine.retired()) => 0,
        Stop::Limit => status::LIMIT,
        Stop::TripleFault { .. } | Stop::Idle(_) | Stop::Reset { .. } => status::GUEST_PANIC,
        Stop::Interrupted | Stop::Breakpoint { .. } | Stop::Watchpoint { .. } | Stop::Caught(_) => status::INTERRUPTED,
    }
}

/// Whether the guest came to grief rather than to its end.
pub fn is_crash(stop: Stop) -> bool {
    matches!(
        stop,
        Stop::PowerOff { status: PANIC_STATUS } | Stop::TripleFault { .. } | Stop::Idle(_) | Stop::Reset { .. }
    )
}

/// The line on standard error that says what the exit status can't.
pub fn report(stop: Stop, args: &RunArgs, mode: Mode, name: &str) -> Option<String> {
    match stop {
        Stop::PowerOff { status: PANIC_STATUS } => {
            Some(format!("{name}: the guest kernel panicked, or the program was aborted"))
        }
        Stop::PowerOff { status } => {
            let signal = status.checked_sub(128).filter(|_| mode == Mode::Program)?;
            signal_name(signal).map(|text| format!("{name}: killed by {text}"))
        }
        Stop::Limit if args.save_at.is_some() => None,
        Stop::Limit => Some(format!("{name}: the limit of {} instructions is reached", args.max_instructions?)),
        other => Some(format!("{name}: {other}")),
    }
}

/// Fatal signals as users know them.
fn signal_name(signal: u32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP (hang-up)",
        2 => "SIGINT (interrupt)",
        3 => "SIGQUIT (quit)",
        4 => "SIGILL (illegal instruction)",
        5 => "SIGTRAP (trace trap)",
        6 => "SIGABRT (abort)",
        7 => "SIGBUS (bus error)",
        8 => "SIGFPE (arithmetic exception)",
        9 => "SIGKILL (kill)",
        11 => "SIGSEGV (segmentation fault)",
        13 => "SIGPIPE (broken pipe)",
        14 => "SIGALRM (alarm)",
        15 => "SIGTERM (termination)",
        _ => return None,
    })
}

/// The kernel's last words, where they have not been shown already.
pub fn show_console(host: &Surroundings) {
    const LINES: usize = 40;
    if host.console_shown() {
        return;
    }
    let text = host.console_tail();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let mut err = std::io::stderr().lock();
    for line in &lines[lines.len().saturating_sub(LINES)..] {
        let _ = writeln!(err, "{}", line.trim_end_matches('\r'));
    }
}

/// The registers of the CPU that ran last, four lines; and which one it is, if there are several.
pub fn registers(machine: &Machine) -> String {
    let number = machine.current_cpu();
    let cpu = machine.cpu(number);
    let which = if machine.cpu_count() > 1 { format!("CPU {number}:\n") } else { String::new() };
    let [eax, ecx, edx, ebx, esp, ebp, esi, edi] = std::array::from_fn(|i| cpu.gpr[i]);
    let segments: Vec<String> =
        SegReg::ALL.iter().map(|&reg| format!("{}={:04x}", reg.name(), cpu.selector(reg).0)).collect();
    format!(
        "{which}eax={eax:08x} ebx={ebx:08x} ecx={ecx:08x} edx={edx:08x} esi={esi:08x} edi={edi:08x} ebp={ebp:08x} esp={esp:08x}\n\
         eip={:08x} eflags={:08x} {} cpl={}\n\
         cr0={:08x} cr2={:08x} cr3={:08x} cr4={:08x} gdt={:08x}:{:04x} idt={:08x}:{:04x} tr={:04x}\n\
         after {} instructions\n",
        cpu.eip,
        cpu.eflags.bits(),
        segments.join(" "),
        cpu.cpl,
        cpu.cr0,
        cpu.cr2,
        cpu.cr3,
        cpu.cr4,
        cpu.gdtr.base,
        cpu.gdtr.limit,
        cpu.idtr.base,
        cpu.idtr.limit,
        cpu.tr.selector,
        machine.retired(),
    )
}

/// Finds out before the run whether its snapshot can be written.
pub fn check_writable(file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if file.is_dir() {
        return Err(Error::CannotStart(format!("{}: is a directory; name a file for the snapshot", file.display())));
    }
    if file.metadata().is_ok_and(|there| !there.is_file()) {
        return Err(Error::CannotStart(format!(
            "{}: not a regular file; name a file for the snapshot",
            file.display()
        )));
    }
    tempfile::NamedTempFile::new_in(folder).map(drop).map_err(Error::file(file))
}

/// Writes the snapshot.
pub fn save(machine: &Machine, file: &Path) -> Result<(), Error> {
    machine.save(file).map_err(cannot_start)
}
