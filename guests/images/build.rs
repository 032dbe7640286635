//! Builds the guest kernel and the guest's programs with a nested cargo and hands the
//! results to `include_bytes!`.
//!
//! The nested build has a target directory of its own beside the outer profiles
//! (`target/guests`), because the outer cargo holds the lock of its own while build
//! scripts run; debug and release builds of the host share it. What goes wrong for want of
//! a target or a source file is said in one line.

use std::{
    env, fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, exit},
};

#[path = "build/kallsyms.rs"]
mod kallsyms;
#[path = "build/modules.rs"]
mod modules;

/// A guest workspace. How it is linked stands in its `.cargo/config.toml`, which holds for a
/// build by hand too.
struct Guest {
    /// Its folder in `guests/`.
    dir: &'static str,
    target: &'static str,
    /// What cargo is to build, when that is not everything.
    what: &'static [&'static str],
    /// The binaries to embed.
    bins: &'static [&'static str],
    /// More of them, which are no part of the userland.
    apart: &'static [&'static str],
}

const KERNEL: Guest =
    Guest { dir: "kernel", target: "i586-unknown-linux-gnu", what: &[], bins: &["kernel"], apart: &[] };

/// The archives that it makes are linked by [`modules`].
const MODULES: Guest = Guest { dir: "modules", target: KERNEL.target, what: &["--examples"], bins: &[], apart: &[] };

const PROGRAMS: Guest = Guest {
    dir: "programs",
    target: "i686-unknown-linux-musl",
    what: &[],
    bins: &["init", "mmprobe", "stress", "toolbox", "tour", "workload"],
    apart: &["bigtext"],
};

type Result<T> = std::result::Result<T, String>;

fn main() {
    if let Err(message) = build_guests() {
        println!("cargo::error={message}");
    }
}

fn build_guests() -> Result<()> {
    let out_dir = PathBuf::from(cargo_env("OUT_DIR")?);
    let guests_dir = Path::new(&cargo_env("CARGO_MANIFEST_DIR")?).join("..");
    let target_dir = outer_target_dir(&out_dir)?.join("guests");

    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    for source in ["kernel", "modules", "programs", "abi", "mm", "../crates/x86"] {
        watch_sources(&guests_dir.join(source))?;
    }

    // Cargo's own lock ends with the build; ours also covers the copying of what it made.
    fs::create_dir_all(&target_dir).map_err(|e| failed("create", &target_dir, e))?;
    let lock_path = target_dir.join(".images-lock");
    let lock = File::create(&lock_path).map_err(|e| failed("create", &lock_path, e))?;
    lock.lock().map_err(|e| failed("lock", &lock_path, e))?;
    for guest in [KERNEL, PROGRAMS] {
        need_target(guest.target)?;
        let built = build(&guest, &guests_dir.join(guest.dir), &target_dir)?;
        for bin in guest.bins.iter().chain(guest.apart) {
            let (from, to) = (built.join(bin), out_dir.join(bin));
            let mut image = fs::read(&from).map_err(|e| failed("read", &from, e))?;
            if guest.dir == KERNEL.dir {
                kallsyms::embed(&mut image)?;
            }
            fs::write(&to, image).map_err(|e| failed("write", &to, e))?;
        }
    }
    need_target(MODULES.target)?;
    let modules_dir = guests_dir.join(MODULES.dir);
    let built = build(&MODULES, &modules_dir, &target_dir)?;
    let names = modules::link(&modules_dir, &built.join("examples"), &out_dir)?;
    write_list(&out_dir, "modules.rs", names.iter().map(|name| (name.clone(), format!("{name}.ko"))))?;
    write_list(&out_dir, "programs.rs", PROGRAMS.bins.iter().map(|&bin| (bin.to_owned(), bin.to_owned())))
}

/// Runs the nested cargo; the folder with the binaries.
fn build(guest: &Guest, manifest_dir: &Path, target_dir: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(cargo_env("CARGO")?);
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(is_outer_build_variable) {
            cargo.env_remove(name);
        }
    }
    cargo
        .args(["build", "--release", "--locked", "--target", guest.target])
        .args(guest.what)
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", cargo_env("RUSTC")?)
        .current_dir(manifest_dir);
    let output = cargo.output().map_err(|e| format!("cannot run cargo for guests/{}: {e}", guest.dir))?;
    if !output.status.success() {
        // Cargo shows what is on standard error only if the script itself fails.
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        println!("cargo::error=the nested build of guests/{} failed; its messages are below", guest.dir);
        exit(1);
    }
    Ok(target_dir.join(guest.target).join("release"))
}

/// Whether a variable was set for the outer build and would change the nested one. What
/// says where registries and proxies are stays.
fn is_outer_build_variable(name: &str) -> bool {
    const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_"];
    const OUTER: [&str; 15] = [
        "CARGO",
        "DEBUG",
        "HOST",
        "LD_LIBRARY_PATH",
        "MAKEFLAGS",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "RUSTC",
        "RUSTC_LINKER",
        "RUSTDOC",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "TARGET",
    ];
    let starts_with = |prefix: &str| name.starts_with(prefix);
    (["CARGO_", "DEP_", "RUSTC_"].into_iter().any(starts_with) && !KEPT.into_iter().any(starts_with))
        || OUTER.contains(&name)
}

/// Adds a target to the toolchain if it is missing. (`rust-toolchain.toml` names it, but
/// that works by itself only where rustup may install.)
fn need_target(target: &str) -> Result<()> {
    if has_target(target)? {
        return Ok(());
    }
    let missing = format!("the Rust target {target} is missing");
    match Command::new("rustup").args(["target", "add", target]).output() {
        Err(_) => Err(format!("{missing}, and there is no rustup to add it: install rust-std for it")),
        Ok(_) if has_target(target)? => Ok(()),
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let reason = stderr.lines().find(|line| line.starts_with("error")).unwrap_or("no reason given");
            Err(format!("{missing}, and `rustup target add {target}` failed: {reason}"))
        }
    }
}

fn has_target(target: &str) -> Result<bool> {
    let output = Command::new(cargo_env("RUSTC")?)
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .map_err(|e| format!("cannot run rustc: {e}"))?;
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// The target directory of the outer build, wherever the user has put it: `OUT_DIR` is
/// `<target>[/<triple>]/<profile>/build/<package>/out`.
fn outer_target_dir(out_dir: &Path) -> Result<PathBuf> {
    let above_profile =
        out_dir.ancestors().nth(4).ok_or_else(|| format!("OUT_DIR is too short: {}", out_dir.display()))?;
    let is_triple = above_profile.file_name() == Some(cargo_env("TARGET")?.as_ref());
    Ok(if is_triple { above_profile.join("..") } else { above_profile.to_path_buf() })
}

/// Has cargo run this script again when a source of a guest changes. Never a `target`
/// folder, whose files are newer at each build.
fn watch_sources(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(|e| failed("read", dir, e))? {
        let entry = entry.map_err(|e| failed("read", dir, e))?;
        if entry.file_name() != "target" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}

/// A list of names and bytes of files of the output folder, for `include!`.
fn write_list(out_dir: &Path, list: &str, rows: impl Iterator<Item = (String, String)>) -> Result<()> {
    let mut text = String::from("&[\n");
    for (name, file) in rows {
        text += &format!("    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}\"))),\n");
    }
    text += "]\n";
    let path = out_dir.join(list);
    fs::write(&path, text).map_err(|e| failed("write", &path, e))
}

fn cargo_env(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("cargo did not set {name}"))
}

fn failed(verb: &str, path: &Path, error: impl fmt::Display) -> String {
    format!("cannot {verb} {}: {error}", path.display())
}
