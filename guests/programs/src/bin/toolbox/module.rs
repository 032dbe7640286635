//! `insmod`, `rmmod` and `lsmod`, with the messages of kmod.

use std::{ffi::OsString, fs, io, os::unix::ffi::OsStrExt, path::Path};

use pagewalk_programs::sys;

use crate::{Outcome, about, args::Args};

const MODULES: &str = "/proc/modules";

/// `insmod FILE [NAME=VALUE…]`
pub fn insmod(args: Args) -> Outcome {
    let mut operands = args.parse("")?.operands.into_iter();
    let file = operands.next().ok_or("ERROR: missing filename.")?;
    let options: Vec<OsString> = operands.collect();
    let options = options.join(&OsString::from(" "));
    let shown = file.to_string_lossy();
    let opened = fs::File::open(&file);
    let opened = opened.map_err(|error| format!("ERROR: could not load module {shown}: {}", sys::reason(&error)))?;
    sys::finit_module(&opened, &options)
        .map_err(|error| format!("ERROR: could not insert module {shown}: {}", reason(&error)))?;
    Ok(0)
}

/// Why a module was refused: some errors mean something else there.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => "Invalid module format".into(),
        Some(libc::ENOENT) => "Unknown symbol in module".into(),
        Some(libc::ESRCH) => "Module has wrong symbol version".into(),
        Some(libc::EINVAL) => "Invalid parameters".into(),
        _ => sys::reason(error),
    }
}

/// A line of `/proc/modules`.
struct Loaded {
    name: String,
    size: String,
    users: u32,
    holders: Vec<String>,
}

fn loaded() -> Result<Vec<Loaded>, String> {
    let text = fs::read_to_string(MODULES).map_err(|error| about(MODULES, &error))?;
    let rows = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (name, size, users, holders) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let holders = holders.split(',').filter(|holder| !matches!(*holder, "" | "-") && !holder.starts_with('['));
        Some(Loaded {
            name: name.into(),
            size: size.into(),
            users: users.parse().ok()?,
            holders: holders.map(str::to_owned).collect(),
        })
    });
    Ok(rows.collect())
}

/// `lsmod`
pub fn lsmod(args: Args) -> Outcome {
    args.parse("")?;
    println!("Module                  Size  Used by");
    for module in loaded()? {
        let holders = if module.holders.is_empty() { String::new() } else { format!(" {}", module.holders.join(",")) };
        println!("{:<19} {:>8}  {}{holders}", module.name, module.size, module.users);
    }
    Ok(0)
}

/// `rmmod NAME…`
pub fn rmmod(args: Args) -> Outcome {
    let operands = args.parse("")?.operands;
    if operands.is_empty() {
        return Err("ERROR: missing module name.".into());
    }
    let mut status = 0;
    for operand in operands {
        if let Err(message) = remove(&module_name(&operand)) {
            eprintln!("rmmod: ERROR: {message}");
            status = 1;
        }
    }
    Ok(status)
}

fn remove(name: &str) -> Result<(), String> {
    let all = loaded()?;
    let Some(module) = all.iter().find(|module| module.name == name) else {
        return Err(format!("Module {name} is not currently loaded"));
    };
    if !module.holders.is_empty() {
        return Err(format!("Module {name} is in use by: {}", module.holders.join(" ")));
    }
    if module.users > 0 {
        return Err(format!("Module {name} is in use"));
    }
    sys::delete_module(name).map_err(|error| format!("could not remove module {name}: {}", sys::reason(&error)))
}

/// The name of a module by itself or by its file: dashes are underscores.
fn module_name(operand: &OsString) -> String {
    let base = Path::new(operand).file_name().map_or(operand.as_bytes(), OsStrExt::as_bytes);
    let name = String::from_utf8_lossy(base.strip_suffix(b".ko").unwrap_or(base));
    name.replace('-', "_")
}
