//! Files of `/proc` about the whole system that are no lens of their own: for `proc -o DIR`.

use abi::books::tsc_ns;
use abi::out::render;
use abi::proc::system::{self, CpuTimes, Stat, uts};

use crate::{Books, Result, Target};

/// Nanoseconds since the guest's clock was started; `None` where the TSC is not its clock.
fn ktime_ns(target: &Target<'_>, books: &Books<'_>) -> Option<u64> {
    let places = books.root().system;
    let mult = books.word("clock", places.tsc_mult);
    let tsc = target.now_ns?.wrapping_add(target.cpu(0).ok()?.msr.tsc_offset);
    (mult != 0).then(|| tsc_ns(tsc.wrapping_sub(books.long("clock", places.tsc_base)), mult))
}

/// The contents of `/proc/NAME` as the books tell them, of those that are no lens of their own; `None`
/// for another file.
///
/// # Errors
/// Damaged books.
pub fn system_file(target: &Target<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    let files = files(target, &Books::of(target)?)?;
    Ok(files.into_iter().find(|(known, _)| *known == name).map(|(_, bytes)| bytes))
}

/// `stat`, `uptime`, `loadavg`, and what never changes.
pub(super) fn files(target: &Target<'_>, books: &Books<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let places = books.root().system;
    let nr_cpus = books.nr_cpus();
    let states = (0..nr_cpus).map(|cpu| books.cpu_state(cpu)).collect::<Result<Vec<_>>>()?;
    let times: Vec<_> = states
        .iter()
        .map(|state| CpuTimes {
            user_ns: state.user_ns.get(),
            system_ns: state.system_ns.get(),
            idle_ns: state.idle_ns.get(),
            ..CpuTimes::default()
        })
        .collect();
    let mut irqs = [0u32; 16];
    for (irq, _, line) in books.irqs()? {
        irqs[irq as usize] = line.counts.iter().fold(0, |sum: u32, &count| sum.wrapping_add(count));
    }
    let is_busy = |state: &abi::books::CpuStateRecord| u32::from(state.current != state.idle);
    let running =
        states.iter().fold(0u32, |sum, state| sum.saturating_add(state.nr_ready).saturating_add(is_busy(state)));
    let up = ktime_ns(target, books).unwrap_or(0);
    let stat = Stat {
        cpus: &times,
        irqs,
        ctxt: books.word("context switches", places.switches).into(),
        btime: (books.long("clock", places.realtime_offset_ns) / 1_000_000_000) as u32,
        processes: books.word("forks", places.total_forks),
        procs_running: running,
        procs_blocked: 0,
    };
    let idle = times.iter().fold(0u64, |sum, cpu| sum.wrapping_add(cpu.idle_ns));
    let average = |n: u32| books.word("load averages", abi::Ptr32::<u32>::new(places.averages.0.wrapping_add(n * 4)));
    let averages = if places.averages.is_null() { [0; 3] } else { [0, 1, 2].map(average) };
    let (total, last) = (books.tasks()?.len() as u32, books.word("last PID", places.last_pid));
    let line = |word: &str| format!("{word}\n").into_bytes();
    Ok(vec![
        ("stat", render(|out| system::stat(out, &stat))),
        ("uptime", render(|out| system::uptime(out, up, idle))),
        ("loadavg", render(|out| system::loadavg(out, averages, running, total, last))),
        ("version", render(|out| system::version(out))),
        ("sys/kernel/ostype", line(uts::SYSNAME)),
        ("sys/kernel/osrelease", line(uts::RELEASE)),
        ("sys/kernel/version", line(uts::VERSION)),
        ("sys/kernel/pid_max", line("32768")),
        (
            "tty/drivers",
            render(|out| {
                system::tty_driver(out, "/dev/tty", "tty", (5, 0), "system:/dev/tty");
                system::tty_driver(out, "/dev/console", "console", (5, 1), "system:console");
                system::tty_driver(out, "serial", "ttyS", (4, 64), "serial");
            }),
        ),
    ])
}
