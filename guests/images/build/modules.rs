//! Links the sample modules: from the archive that cargo made of each to one relocatable
//! object, which is what the guest kernel loads.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What is looked for in the archive; a module need not have both.
const ROOTS: [&str; 2] = ["init_module", "cleanup_module"];

/// Links `samples/NAME.rs`, each from `libNAME.a`, to `NAME.ko`; the names, sorted.
pub fn link(modules_dir: &Path, archives: &Path, out_dir: &Path) -> Result<Vec<String>, String> {
    let linker = rust_lld()?;
    let mut names = sample_names(&modules_dir.join("samples"))?;
    names.sort();
    for name in &names {
        let mut command = Command::new(&linker);
        command.args(["-flavor", "gnu", "-m", "elf_i386", "-r", "--gc-sections", "-T"]);
        command.arg(modules_dir.join("module.ld"));
        command.args(ROOTS.map(|root| format!("--undefined-glob={root}")));
        command.arg("-o").arg(out_dir.join(format!("{name}.ko"))).arg(archives.join(format!("lib{name}.a")));
        let output = command.output().map_err(|e| format!("cannot run {}: {e}", linker.display()))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let reason = stderr.lines().next().unwrap_or("no reason given");
            return Err(format!("cannot link the module {name}: {reason}"));
        }
    }
    Ok(names)
}

fn sample_names(samples: &Path) -> Result<Vec<String>, String> {
    let failed = |e| format!("cannot read {}: {e}", samples.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(samples).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    Ok(names)
}

/// The linker that comes with the toolchain, beside the libraries of the host.
fn rust_lld() -> Result<PathBuf, String> {
    let rustc = env::var("RUSTC").map_err(|_| "cargo did not set RUSTC")?;
    let output = Command::new(rustc)
        .args(["--print", "target-libdir"])
        .output()
        .map_err(|e| format!("cannot run rustc: {e}"))?;
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let name = format!("rust-lld{}", env::consts::EXE_SUFFIX);
    let linker = libdir.with_file_name("bin").join(name);
    if linker.is_file() { Ok(linker) } else { Err(format!("the toolchain has no rust-lld: {}", linker.display())) }
}
