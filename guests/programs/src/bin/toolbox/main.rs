//! The guest's everyday commands in one program. The name under which it is called says
//! which one it is; `toolbox NAME ARGS…` runs one by name, `toolbox --list` names them all.

mod args;
mod calendar;
mod files;
mod filter;
mod ls;
mod module;
mod mount;
mod pattern;
mod print;
mod process;
mod sh;
mod system;
mod test;
mod text;

use std::{ffi::OsString, io, process::ExitCode};

use args::Args;
use pagewalk_programs::sys;

/// Why a command failed: what it says after its own name.
type Error = String;
/// The exit status of a command, or why there is none.
type Outcome = Result<u8, Error>;

/// A command: takes its arguments, prints, and ends with a status.
type Applet = fn(Args) -> Outcome;

/// The commands, in alphabetical order.
const APPLETS: &[(&str, Applet)] = &[
    ("[", test::bracket),
    ("cat", text::cat),
    ("cp", files::cp),
    ("cut", filter::cut),
    ("date", system::date),
    ("dmesg", system::dmesg),
    ("echo", print::echo),
    ("env", process::env),
    ("false", |_| Ok(1)),
    ("free", system::free),
    ("grep", text::grep),
    ("head", text::head),
    ("hexdump", print::hexdump),
    ("id", system::id),
    ("insmod", module::insmod),
    ("kill", process::kill),
    ("ln", files::ln),
    ("ls", ls::ls),
    ("lsmod", module::lsmod),
    ("mkdir", files::mkdir),
    ("mount", mount::mount),
    ("mv", files::mv),
    ("pmap", process::pmap),
    ("poweroff", system::poweroff),
    ("printf", print::printf),
    ("ps", process::ps),
    ("pwd", system::pwd),
    ("rm", files::rm),
    ("rmmod", module::rmmod),
    ("seq", print::seq),
    ("sh", sh::sh),
    ("sleep", process::sleep),
    ("sort", text::sort),
    ("swapoff", mount::swapoff),
    ("swapon", mount::swapon),
    ("sync", mount::sync),
    ("tail", text::tail),
    ("tee", filter::tee),
    ("test", test::test),
    ("touch", files::touch),
    ("tr", filter::tr),
    ("true", |_| Ok(0)),
    ("tty", system::tty),
    ("umount", mount::umount),
    ("uname", system::uname),
    ("wc", text::wc),
];

fn main() -> ExitCode {
    sys::default_signals();
    let mut argv: Vec<OsString> = std::env::args_os().collect();
    let mut name = base_name(argv.first());
    if name == "toolbox" && argv.len() > 1 {
        argv.remove(0);
        if argv[0] == "--list" {
            APPLETS.iter().for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        name = base_name(argv.first());
    }
    let Some((_, run)) = APPLETS.iter().find(|(applet, _)| *applet == name) else {
        eprintln!("toolbox: no command `{name}`; `toolbox --list` names them");
        return ExitCode::from(127);
    };
    match run(Args::new(argv)) {
        Ok(status) => ExitCode::from(status),
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The last component of the path under which the program was called, without the dash
/// that marks a login shell.
fn base_name(argv0: Option<&OsString>) -> String {
    let path = argv0.map(|name| name.to_string_lossy()).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    name.strip_prefix('-').unwrap_or(name).into()
}

/// `FILE: reason`.
fn about(file: impl std::fmt::Display, error: &io::Error) -> Error {
    format!("{file}: {}", sys::reason(error))
}
