//! Commands about the machine and the session: `date`, `dmesg`, `free`, `id`, `poweroff`,
//! `pwd`, `tty`, `uname`.

use std::{
    fs,
    io::{self, Write},
    time::SystemTime,
};

use pagewalk_programs::sys;

use crate::{
    Outcome, about,
    args::{Args, number},
    calendar::DateTime,
};

/// `date [-u] [-d @SECONDS] [+FORMAT]`
pub fn date(args: Args) -> Outcome {
    let parsed = args.parse("ud:")?;
    let now = match parsed.value('d').map(|when| when.to_string_lossy()) {
        None => DateTime::from_system(SystemTime::now()),
        Some(when) => match when.strip_prefix('@') {
            Some(seconds) => DateTime::from_unix(number(seconds)?),
            None => return Err("only -d @SECONDS is supported".into()),
        },
    };
    let format = parsed.operands.first().map_or("+%a %b %e %H:%M:%S %Z %Y".into(), |f| f.to_string_lossy());
    let format = format.strip_prefix('+').ok_or("the clock can't be set")?;
    println!("{}", now.format(format));
    Ok(0)
}

/// `dmesg`
pub fn dmesg(args: Args) -> Outcome {
    args.parse("")?;
    let log = sys::kernel_log().map_err(|error| about("the kernel's log", &error))?;
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        // Each line begins with its level in angle brackets.
        let text = line.strip_prefix(b"<").and_then(|rest| {
            let end = rest.iter().position(|&byte| byte == b'>')?;
            Some(&rest[end + 1..])
        });
        io::stdout().write_all(text.unwrap_or(line)).map_err(|error| about("standard output", &error))?;
    }
    Ok(0)
}

/// `free [-b|-k|-m]`
pub fn free(args: Args) -> Outcome {
    let parsed = args.parse("bkm")?;
    let path = "/proc/meminfo";
    let text = fs::read_to_string(path).map_err(|error| about(path, &error))?;
    let kib = |row: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(':'));
        value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let scale = |kib: u64| match () {
        () if parsed.has('b') => kib * 1024,
        () if parsed.has('m') => kib / 1024,
        () => kib,
    };
    let cache = kib("Buffers") + kib("Cached") + kib("SReclaimable");
    let (total, free, shared) = (kib("MemTotal"), kib("MemFree"), kib("Shmem"));
    let used = total.saturating_sub(free + cache);
    let row = |name: &str, values: &[u64]| {
        let columns: String = values.iter().map(|&value| format!(" {:>11}", scale(value))).collect();
        println!("{name:<8}{columns}");
    };
    println!("               total        used        free      shared  buff/cache   available");
    row("Mem:", &[total, used, free, shared, cache, kib("MemAvailable")]);
    let (swap, swap_free) = (kib("SwapTotal"), kib("SwapFree"));
    row("Swap:", &[swap, swap.saturating_sub(swap_free), swap_free]);
    Ok(0)
}

/// `id [-u|-g] [-n]`
pub fn id(args: Args) -> Outcome {
    let parsed = args.parse("ugn")?;
    let [_, uid, _, gid] = sys::ids();
    let name = |id: u32| if id == 0 { "root".to_string() } else { id.to_string() };
    let shown = |id: u32| if parsed.has('n') { name(id) } else { id.to_string() };
    match () {
        () if parsed.has('u') => println!("{}", shown(uid)),
        () if parsed.has('g') => println!("{}", shown(gid)),
        () => println!("uid={uid}({}) gid={gid}({})", name(uid), name(gid)),
    }
    Ok(0)
}

/// `poweroff [STATUS]`: the status goes to whoever runs the machine.
pub fn poweroff(args: Args) -> Outcome {
    let parsed = args.parse("f")?;
    let status = parsed.operands.first().map_or(Ok(0), number)?;
    Err(about("cannot power off", &sys::power_off(status)))
}

/// `pwd [-L|-P]`
pub fn pwd(args: Args) -> Outcome {
    args.parse("LP")?;
    let cwd = std::env::current_dir().map_err(|error| about("the working directory", &error))?;
    println!("{}", cwd.display());
    Ok(0)
}

/// `tty [-s]`
pub fn tty(args: Args) -> Outcome {
    let parsed = args.parse("s")?;
    let name = sys::ttyname(0);
    if !parsed.has('s') {
        println!("{}", name.as_deref().unwrap_or("not a tty"));
    }
    Ok(u8::from(name.is_none()))
}

/// `uname [-asnrvm]`
pub fn uname(args: Args) -> Outcome {
    let parsed = args.parse("asnrvmo")?;
    let [system, node, release, version, machine] = sys::uname().map_err(|error| about("uname", &error))?;
    let fields = [('s', system), ('n', node), ('r', release), ('v', version), ('m', machine), ('o', "Linux".into())];
    let nothing_chosen = !fields.iter().any(|(letter, _)| parsed.has(*letter)) && !parsed.has('a');
    let chosen = |letter: char| parsed.has('a') || parsed.has(letter) || (nothing_chosen && letter == 's');
    let shown: Vec<_> = fields.iter().filter(|(letter, _)| chosen(*letter)).map(|(_, text)| text.as_str()).collect();
    println!("{}", shown.join(" "));
    Ok(0)
}
