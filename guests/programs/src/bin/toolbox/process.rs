//! Commands about processes: `env`, `kill`, `pmap`, `ps`, `sleep`.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

use pagewalk_programs::{maps, sys};

use crate::{
    Error, Outcome, about,
    args::{Args, number},
    ls,
};

/// Signals by number, from 1.
pub const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Ticks a second in the times of `/proc/PID/stat`.
const USER_HZ: u64 = 100;

/// `env [-i] [NAME=VALUE…] [COMMAND ARGS…]`
pub fn env(args: Args) -> Outcome {
    let parsed = args.parse("i")?;
    let is_setting = |arg: &OsString| arg.as_bytes().contains(&b'=');
    let split = parsed.operands.iter().position(|arg| !is_setting(arg)).unwrap_or(parsed.operands.len());
    let (settings, command) = parsed.operands.split_at(split);
    let mut variables: Vec<(OsString, OsString)> =
        if parsed.has('i') { Vec::new() } else { std::env::vars_os().collect() };
    for setting in settings {
        let bytes = setting.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        let (name, value) =
            (std::ffi::OsStr::from_bytes(&bytes[..end]), std::ffi::OsStr::from_bytes(&bytes[end + 1..]));
        variables.retain(|(other, _)| other != name);
        variables.push((name.into(), value.into()));
    }
    let Some((program, args)) = command.split_first() else {
        for (name, value) in variables {
            println!("{}={}", name.display(), value.display());
        }
        return Ok(0);
    };
    let error = Command::new(program).args(args).env_clear().envs(variables).exec();
    eprintln!("env: {}", about(program.display(), &error));
    Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// `kill [-SIGNAL | -s SIGNAL] PID…`, `kill -l`
pub fn kill(args: Args) -> Outcome {
    let mut args = args.text();
    if args.first().is_some_and(|arg| arg == "-l") {
        SIGNALS.iter().enumerate().for_each(|(at, name)| println!("{:2} {name}", at + 1));
        return Ok(0);
    }
    let mut signal = libc::SIGTERM;
    if args.first().is_some_and(|arg| arg == "-s") && args.len() > 1 {
        signal = signal_number(&args[1])?;
        args.drain(..2);
    } else if let Some(name) = args.first().and_then(|arg| arg.strip_prefix('-')).filter(|name| !name.is_empty()) {
        if name != "-" {
            signal = signal_number(name)?;
        }
        args.remove(0);
    }
    if args.is_empty() {
        return Err("missing operand: PID".into());
    }
    let mut status = 0;
    for pid in args {
        let sent = number(&pid).and_then(|number| sys::kill(number, signal).map_err(|error| about(&pid, &error)));
        if let Err(error) = sent {
            eprintln!("kill: {error}");
            status = 1;
        }
    }
    Ok(status)
}

/// A signal by number or name, with or without `SIG`.
pub fn signal_number(text: &str) -> Result<i32, Error> {
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) { Ok(number) } else { Err(format!("no signal {number}")) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let position = SIGNALS.iter().position(|known| *known == name);
    position.map(|at| at as i32 + 1).ok_or_else(|| format!("no signal `{text}`"))
}

/// `sleep SECONDS`
pub fn sleep(args: Args) -> Outcome {
    let parsed = args.parse("")?;
    let mut seconds = 0.0;
    for operand in parsed.at_least(1, "SECONDS")? {
        let text = operand.to_string_lossy();
        let (digits, unit) = match text.chars().last() {
            Some('s') => (&text[..text.len() - 1], 1.0),
            Some('m') => (&text[..text.len() - 1], 60.0),
            Some('h') => (&text[..text.len() - 1], 3600.0),
            _ => (&text[..], 1.0),
        };
        seconds += number::<f64>(digits)? * unit;
    }
    std::thread::sleep(Duration::try_from_secs_f64(seconds).map_err(|_| "not a time to sleep")?);
    Ok(0)
}

/// `ps [-a] [-e] [-f] …`: every process; the options that choose some are taken and change
/// nothing.
pub fn ps(args: Args) -> Outcome {
    let options = args.text();
    if let Some(other) = options.iter().find(|o| !o.trim_start_matches('-').chars().all(|c| "aefwxul".contains(c))) {
        return Err(format!("unknown option {other}"));
    }
    let mut pids: Vec<u32> =
        ls::names(Path::new("/proc"))?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    println!("  PID  PPID STAT     VSZ    RSS     TIME COMMAND");
    for pid in pids {
        // A process that ends meanwhile is left out.
        if let Some(line) = ps_line(pid) {
            println!("{line}");
        }
    }
    Ok(0)
}

fn ps_line(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Option<u64> { fields.get(at)?.parse().ok() };
    let seconds = (field(11)? + field(12)?) / USER_HZ;
    let (vsz_kib, rss_kib) = (field(20)? / 1024, field(21)? * 4);
    let command = match command_line(pid) {
        line if line.is_empty() => format!("[{name}]"),
        line => line,
    };
    Some(format!(
        "{pid:>5} {:>5} {:<4} {vsz_kib:>7} {rss_kib:>6} {:>5}:{:02} {command}",
        fields.get(1)?,
        fields.first()?,
        seconds / 60,
        seconds % 60,
    ))
}

/// The arguments with which a process was started; empty for threads of the kernel.
fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args = bytes.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    args.collect::<Vec<_>>().join(" ").trim_end().to_string()
}

/// `pmap [-x] PID…`
pub fn pmap(args: Args) -> Outcome {
    let parsed = args.parse("x")?;
    for pid in parsed.at_least(1, "PID")? {
        let pid: u32 = number(pid)?;
        let mappings = maps::read(&pid.to_string()).map_err(|error| about(pid, &error))?;
        println!("{pid}:   {}", command_line(pid));
        if parsed.has('x') {
            extended_map(pid, &mappings)?;
        } else {
            plain_map(&mappings);
        }
    }
    Ok(0)
}

fn plain_map(mappings: &[maps::Mapping]) {
    let mut total_kib = 0;
    for mapping in mappings {
        let kib = mapping.range.len() / 1024;
        total_kib += kib;
        println!("{:08x} {kib:>6}K {} {}", mapping.range.start, pmap_mode(mapping), pmap_name(mapping));
    }
    println!(" total {total_kib:>8}K");
}

fn extended_map(pid: u32, mappings: &[maps::Mapping]) -> Result<(), Error> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).map_err(|error| about(&path, &error))?;
    println!("Address   Kbytes     RSS   Dirty Mode  Mapping");
    let mut totals = [0; 3];
    for mapping in mappings {
        // The rows of one mapping follow its line and end where the next line of an address begins.
        let rows = smaps.lines().skip_while(|line| **line != mapping.line).skip(1);
        let rows: Vec<&str> =
            rows.take_while(|line| line.split(' ').next().is_some_and(|w| w.ends_with(':'))).collect();
        let kib = |name: &str| -> usize {
            let value = rows.iter().find_map(|row| row.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let columns = [mapping.range.len() / 1024, kib("Rss"), kib("Shared_Dirty") + kib("Private_Dirty")];
        totals.iter_mut().zip(columns).for_each(|(total, column)| *total += column);
        let [size, rss, dirty] = columns;
        let (mode, name) = (pmap_mode(mapping), pmap_name(mapping));
        println!("{:08x} {size:>7} {rss:>7} {dirty:>7} {mode} {name}", mapping.range.start);
    }
    let [size, rss, dirty] = totals;
    println!("-------- ------- ------- ------- -------");
    println!("total kB {size:>7} {rss:>7} {dirty:>7}");
    Ok(())
}

/// Permissions as `pmap` writes them: five letters, `s` for shared in the fourth.
fn pmap_mode(mapping: &maps::Mapping) -> String {
    let permissions = mapping.permissions();
    let shared = if permissions.ends_with('s') { 's' } else { '-' };
    format!("{}{shared}-", permissions.get(..3).unwrap_or_default())
}

fn pmap_name(mapping: &maps::Mapping) -> String {
    match mapping.name() {
        "" => "  [ anon ]".into(),
        "[stack]" => "  [ stack ]".into(),
        name if name.starts_with('[') => "  [ anon ]".into(),
        path => path.rsplit('/').next().unwrap_or(path).into(),
    }
}
