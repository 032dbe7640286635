//! Bochs with our kernel, which a ROM of ours starts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Found, Job, Outcome, Platform, Runner, guest, in_path, outcome, rom};
use crate::{
    error::Error,
    workloads::{Spec, Time},
};

struct Bochs {
    runner: Runner,
    bochs: PathBuf,
    version: String,
}

pub fn find(runner: Runner) -> Result<Found, Error> {
    let Some(bochs) = in_path("bochs") else {
        return Ok(Err("no bochs in the path (Debian: apt-get install bochs bochs-term)".into()));
    };
    let platform = Bochs { version: version_of(&bochs), runner, bochs };
    platform.write("vga", &vga_rom())?;
    // A build with the debugger begins there: go on. Others take no notice.
    platform.write("go", b"continue\n")?;
    platform.write("bochsrc", platform.configuration().as_bytes())?;
    Ok(match platform.run(Job { program: "nothing", size: 0, rounds: 1, cpus: 1, time: Time::Cpu }) {
        Ok(_) => Ok(Box::new(platform)),
        Err(error) => Err(format!(
            "our kernel does not run in it: {error} (it needs the terminal display, Debian: apt-get install bochs-term)"
        )),
    })
}

/// `Bochs x86 Emulator 2.7` in the head of its help.
fn version_of(bochs: &Path) -> String {
    let output = Command::new(bochs).arg("--help").output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Bochs x86 Emulator "));
    version.map_or("unknown".into(), Into::into)
}

/// Bochs wants a ROM with the signature of a VGA's; nobody calls it.
fn vga_rom() -> Vec<u8> {
    let mut rom = vec![0; 512];
    rom[..4].copy_from_slice(&[0x55, 0xaa, 1, 0xcb]);
    rom[511] = 0_u8.wrapping_sub(rom.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    rom
}

impl Bochs {
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.runner.file(name);
        fs::write(&path, bytes).map_err(|error| Error::file("write", &path, error))
    }

    fn configuration(&self) -> String {
        let path = |name| self.runner.file(name).display().to_string();
        format!(
            "config_interface: textconfig\n\
             display_library: term\n\
             romimage: file={rom}\n\
             vgaromimage: file={vga}\n\
             memory: guest={memory}, host={memory}\n\
             cpu: count=1, ips=50000000, reset_on_triple_fault=0\n\
             clock: sync=none\n\
             com1: enabled=1, mode=file, dev={serial}\n\
             plugin_ctrl: speaker=0, gameport=0, parallel=0, extfpuirq=0, biosdev=0, unmapped=1, iodebug=0\n\
             pci: enabled=0\n\
             sound: waveoutdrv=dummy\n\
             floppya: type=none\n\
             ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\n\
             ata0-master: type=disk, path={disk}, mode=flat\n\
             ata1: enabled=0\n\
             vga: extension=none, update_freq=1\n\
             log: {log}\n\
             panic: action=fatal\n\
             error: action=ignore\n\
             info: action=ignore\n\
             debug: action=ignore\n",
            rom = path("rom"),
            vga = path("vga"),
            disk = path("disk"),
            serial = path("serial"),
            log = path("log"),
            memory = guest::MEMORY_MIB,
        )
    }
}

impl Platform for Bochs {
    fn name(&self) -> &'static str {
        "bochs"
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// Debian's has one CPU.
    fn suits(&self, spec: &Spec) -> bool {
        spec.cpus == 1
    }

    fn slowness(&self) -> f64 {
        150.0
    }

    fn run(&self, job: Job) -> Result<Outcome, Error> {
        let start = rom::start(images::KERNEL, &guest::initramfs(job)?, guest::COMMAND_LINE, guest::MEMORY_MIB);
        let start = start.map_err(Error::Rom)?;
        self.write("rom", &start.rom)?;
        self.write("disk", &start.disk)?;
        self.write("serial", b"")?;
        let mut command = Command::new(&self.bochs);
        command.arg("-q").arg("-f").arg(self.runner.file("bochsrc")).arg("-rc").arg(self.runner.file("go"));
        command.env("TERM", "xterm");
        let ended = self.runner.run(command, job)?;
        let serial = self.runner.file("serial");
        let output = fs::read(&serial).map_err(|error| Error::file("read", &serial, error))?;
        // Its own status says nothing of the guest's.
        outcome(&ended, job, &String::from_utf8_lossy(&output), true)
    }
}
