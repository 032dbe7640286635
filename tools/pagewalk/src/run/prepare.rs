//! From the command line to what is loaded: kernel, modules, kernel command line.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use abi::runfile::RunFile;
use images::Initramfs;
use machine::{Boot as Images, Image};

use crate::{
    cli::RunArgs,
    error::Error,
    guest::{self, Kind},
};

/// What one of GUEST's standard streams is on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// A terminal: it becomes the guest's terminal, `/dev/ttyS0`.
    Terminal,
    /// Anything else: it goes through a serial line of its own, byte by byte.
    Raw,
    /// Nobody's: the input has ended before it began. The keyboard is gdb's.
    Absent,
}

/// GUEST's three standard streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streams {
    pub stdin: Stream,
    pub stdout: Stream,
    pub stderr: Stream,
}

impl Streams {
    /// Those of this process.
    pub fn of_host() -> Self {
        use std::io::IsTerminal;
        let of = |terminal: bool| if terminal { Stream::Terminal } else { Stream::Raw };
        Streams {
            stdin: of(std::io::stdin().is_terminal()),
            stdout: of(std::io::stdout().is_terminal()),
            stderr: of(std::io::stderr().is_terminal()),
        }
    }

    /// Whether the guest's terminal is a terminal of the host.
    pub fn terminal(self) -> bool {
        [self.stdin, self.stdout, self.stderr].contains(&Stream::Terminal)
    }
}

/// What the machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// The embedded tour; then a shell, if there is a terminal.
    Tour,
    /// A program on the guest kernel.
    Program,
    /// A kernel or a ROM: its console is ours.
    Kernel,
}

/// All that boot needs.
#[derive(Debug)]
pub struct Boot {
    pub mode: Mode,
    pub images: Images,
    /// GUEST or the ROM on the host, for messages.
    pub program: Option<PathBuf>,
}

/// A Multiboot kernel and its modules, each with its name for the loader.
fn multiboot(kernel: Image, command_line: String, modules: Vec<(String, Vec<u8>)>) -> Images {
    let modules = modules.into_iter().map(|(name, bytes)| (Image { name: name.clone(), bytes }, name)).collect();
    Images::Multiboot { kernel, command_line, modules }
}

fn embedded_kernel() -> Image {
    Image { name: "embedded kernel".into(), bytes: images::KERNEL.to_vec() }
}

/// The tour, and a shell after it where there is a terminal.
pub fn tour(interactive: bool) -> Result<Boot, Error> {
    let mut tree = Initramfs::new();
    tree.link_userland_into_bin();
    let mut command_line = "console=ttyS0 rdinit=/.pagewalk/init panic=-1".to_owned();
    if interactive {
        command_line += " pagewalk.shell";
    }
    Ok(Boot {
        mode: Mode::Tour,
        images: multiboot(
            embedded_kernel(),
            command_line,
            vec![("initramfs".into(), tree.build().map_err(cannot_start)?)],
        ),
        program: None,
    })
}

/// What `pagewalk run` is asked to run.
pub fn run(args: &RunArgs, streams: Streams) -> Result<Boot, Error> {
    if let Some(path) = &args.bios {
        let bytes = fs::read(path).map_err(Error::file(path))?;
        let rom = Image { name: path.display().to_string(), bytes };
        return Ok(Boot { mode: Mode::Kernel, images: Images::Bios { rom }, program: Some(path.clone()) });
    }
    let guest = match args.guest() {
        Some(path) => Some((path, guest::load(path)?)),
        None => None,
    };
    let initrd = match &args.machine.initrd {
        Some(path) => Some((path.display().to_string(), fs::read(path).map_err(Error::file(path))?)),
        None => None,
    };
    if let Some((path, (bytes, Kind::MultibootKernel))) = guest {
        let mut words: Vec<String> = swap_parameter(args).into_iter().chain(args.machine.append.clone()).collect();
        words.extend(args.args().iter().map(|a| a.to_string_lossy().into_owned()));
        return Ok(Boot {
            mode: Mode::Kernel,
            images: multiboot(
                Image { name: path.display().to_string(), bytes },
                words.join(" "),
                initrd.into_iter().collect(),
            ),
            program: Some(path.into()),
        });
    }
    let kernel = match &args.machine.kernel {
        Some(path) => Image { name: path.display().to_string(), bytes: fs::read(path).map_err(Error::file(path))? },
        None => embedded_kernel(),
    };
    let mut command_line = "console=ttyS0 rdinit=/.pagewalk/init panic=-1".to_owned();
    if streams.terminal() {
        command_line += " loglevel=1";
    }
    for more in swap_parameter(args).iter().chain(&args.machine.append) {
        command_line += " ";
        command_line += more;
    }
    let tree = program_tree(args, guest.map(|(path, (bytes, _))| (path, bytes)), streams)?;
    let mut modules = vec![("initramfs".to_owned(), tree.build().map_err(cannot_start)?)];
    modules.extend(initrd);
    Ok(Boot {
        mode: Mode::Program,
        images: multiboot(kernel, command_line, modules),
        program: args.guest().map(Path::to_path_buf),
    })
}

/// The kernel's parameter that turns the swap disk on, which comes behind the images.
fn swap_parameter(args: &RunArgs) -> Option<String> {
    let letter = b'a' + u8::try_from(args.machine.disks.len()).ok()?;
    args.machine.swap.map(|_| format!("swap=/dev/sd{}", char::from(letter)))
}

fn program_tree(args: &RunArgs, guest: Option<(&Path, Vec<u8>)>, streams: Streams) -> Result<Initramfs, Error> {
    let mut tree = Initramfs::new();
    match &args.machine.root {
        Some(root) => tree.add_root(root).map_err(cannot_start)?,
        None => tree.link_userland_into_bin(),
    }
    for file in &args.machine.files {
        let (host, guest) = match file.split_once('=') {
            Some((host, guest)) => (host, guest.to_owned()),
            None => (file.as_str(), format!("/{}", base_name(Path::new(file))?)),
        };
        tree.add_host_file(Path::new(host), guest).map_err(cannot_start)?;
    }
    let exe = match guest {
        Some((path, bytes)) => match inside_root(path, args.machine.root.as_deref()) {
            Some(inside) => inside,
            None => {
                let place = format!("/bin/{}", base_name(path)?);
                tree.add_file(&place, 0o755, bytes).map_err(cannot_start)?;
                place.into_bytes()
            }
        },
        None if tree.contains("/bin/sh") => b"/bin/sh".to_vec(),
        None => format!("{}/bin/sh", images::USERLAND).into_bytes(),
    };
    let mut argv = vec![exe.clone()];
    argv.extend(args.args().iter().map(|arg| arg.as_bytes().to_vec()));
    tree.set_run_file(&RunFile {
        exe,
        args: argv,
        env: environment(&args.machine.env, streams)?,
        cwd: b"/".to_vec(),
        stdin: device(streams.stdin, 1),
        stdout: device(streams.stdout, 1),
        stderr: device(streams.stderr, 2),
        umask: 0o022,
    })
    .map_err(cannot_start)?;
    Ok(tree)
}

/// The guest path of a host file that lies inside `--root`, links resolved.
fn inside_root(path: &Path, root: Option<&Path>) -> Option<Vec<u8>> {
    let root = fs::canonicalize(root?).ok()?;
    let path = fs::canonicalize(path).ok()?;
    let inside = path.strip_prefix(root).ok()?;
    Some([b"/", inside.as_os_str().as_bytes()].concat())
}

fn base_name(path: &Path) -> Result<String, Error> {
    let name = path.file_name().and_then(OsStr::to_str);
    name.map(str::to_owned)
        .ok_or_else(|| Error::Usage(format!("{}: has no file name that the guest could use", path.display())))
}

fn environment(extra: &[String], streams: Streams) -> Result<Vec<Vec<u8>>, Error> {
    let term = match std::env::var("TERM") {
        Ok(term) if streams.terminal() && !term.is_empty() => term,
        _ => "dumb".to_owned(),
    };
    let mut env = vec!["PATH=/bin:/usr/bin".to_owned(), "HOME=/".to_owned(), format!("TERM={term}")];
    for pair in extra {
        let Some((name, _)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Error::Usage(format!("--env wants NAME=VALUE, not `{pair}`")));
        };
        env.retain(|old| old.split('=').next() != Some(name));
        env.push(pair.clone());
    }
    Ok(env.into_iter().map(String::into_bytes).collect())
}

fn device(stream: Stream, line: u8) -> Vec<u8> {
    match stream {
        Stream::Terminal => b"/dev/ttyS0".to_vec(),
        Stream::Raw | Stream::Absent => format!("/dev/rawS{line}").into_bytes(),
    }
}

pub fn cannot_start(e: impl std::fmt::Display) -> Error {
    Error::CannotStart(e.to_string())
}
