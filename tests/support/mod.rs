//! What several tests share: how a test is made, what it may need, where things are.

pub mod asked;
#[cfg(unix)]
pub mod boot;
#[cfg(unix)]
pub mod guest;
#[cfg(unix)]
pub mod image;
#[cfg(unix)]
pub mod lenses;
#[cfg(unix)]
pub mod program;

use std::{
    env,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::{Failed, Trial};

/// A thing outside the repository that a test needs.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "each is used on the hosts that can have it")]
pub enum Need {
    /// A program on the PATH.
    Program(&'static str),
    /// A Debian i386 package, fetched by `tests/fetch-debian`.
    Debian(&'static str),
    /// A host that runs i386 programs natively.
    NativeI386,
    /// A host that lets us have mounts of our own.
    PrivateMounts,
    /// A machine with one CPU: what the test looks at is not the same with several.
    OneCpu,
}

impl Need {
    /// What is missing, in words; `None` if it is there.
    fn missing(self) -> Option<String> {
        match self {
            Need::Program(name) => find_program(name).is_none().then(|| name.to_owned()),
            Need::Debian(package) => (!debian_root().join(".fetched").join(package).exists())
                .then(|| format!("{package}:i386 (tests/fetch-debian {package})")),
            Need::NativeI386 => (!cfg!(all(target_os = "linux", target_arch = "x86_64")))
                .then(|| "a host that runs i386 programs".to_owned()),
            Need::PrivateMounts => private_mounts().is_none().then(|| "mounts of its own (unshare, mount)".to_owned()),
            Need::OneCpu => (asked::cpus() != 1).then(|| "one CPU".to_owned()),
        }
    }
}

/// A test that runs if all its needs are there, and else counts as ignored and says why.
pub fn trial(name: &str, needs: &[Need], test: impl FnOnce() + Send + 'static) -> Trial {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    let ignored = !missing.is_empty();
    if ignored {
        eprintln!("{name}: skipped: needs {}", missing.join(", "));
    }
    Trial::test(name, move || {
        catch_unwind(AssertUnwindSafe(test)).map_err(|payload| {
            let text = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|&s| s.to_owned()));
            Failed::from(text.unwrap_or_else(|| "panicked".to_owned()))
        })
    })
    .with_ignored_flag(ignored)
}

/// `unshare` into a mount and a PID namespace in which one may mount, if the host allows it: as root,
/// or as root of a user namespace.
#[allow(dead_code, reason = "for the modules that mount")]
pub fn private_mounts() -> Option<Command> {
    let unshare = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(options).args(["-m", "-p", "-f", "--"]);
        command
    };
    let works = |options: &&[&str]| {
        let mut command = unshare(options);
        command.args(["mount", "--bind", "/proc", "/proc"]).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [&[][..], &["-r"]].into_iter().find(works).map(unshare)
}

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The `pagewalk` command under test.
#[allow(dead_code, reason = "for the modules that run it")]
pub fn pagewalk() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pagewalk"))
}

/// `pagewalk run` with what the environment asks for, where `options` do not say otherwise, and with them.
#[allow(dead_code, reason = "for the modules that run it")]
pub fn pagewalk_run(options: &[&str]) -> Command {
    let mut command = pagewalk();
    command.arg("run").args(asked::options(options)).args(options);
    command
}

/// Runs a command with a text, or other bytes, as its standard input, to its end.
#[allow(dead_code, reason = "for the modules that run it")]
pub fn with_input(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who does not read all its input may be gone by now.
    let _ = stdin.write_all(input.as_ref());
    drop(stdin);
    child.wait_with_output().expect("its output")
}

/// Where a program is, if it is on the PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// The tree into which `tests/fetch-debian` unpacks packages.
pub fn debian_root() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_else(env::temp_dir).join("pagewalk/debian-i386/root")
}
