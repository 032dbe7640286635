//! Bochs with the monitor as its ROM.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{layout::RECORDS, outcome::Lines};

/// How long Bochs may take to its first word, on a busy host.
const START: Duration = Duration::from_secs(30);
/// How long a case may stay silent in a batch, and how long when it runs alone to make sure of it.
pub const SILENCE: Duration = Duration::from_secs(2);
pub const LONG_SILENCE: Duration = Duration::from_secs(20);
/// How often Bochs may be told to go on; more than a run has cases.
const CONTINUES: usize = 10_000;

/// A folder with the files that do not change.
pub struct Bochs {
    folder: tempfile::TempDir,
}

impl Bochs {
    pub fn new() -> Bochs {
        let bochs = Bochs { folder: tempfile::tempdir().expect("a temporary folder") };
        // Bochs wants a ROM with the VGA's signature; nobody calls it.
        let mut vga = vec![0; 512];
        vga[..4].copy_from_slice(&[0x55, 0xaa, 1, 0xcb]);
        vga[511] = 0_u8.wrapping_sub(vga.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        bochs.write("vga", &vga);
        // Debian's Bochs begins in its debugger, and returns to it at every triple fault.
        bochs.write("go", &b"c\n".repeat(CONTINUES));
        bochs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("the temporary folder can be written");
    }

    fn configuration(&self, model: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        format!(
            "config_interface: textconfig\n\
             display_library: term\n\
             romimage: file={rom}, address={RECORDS:#x}\n\
             vgaromimage: file={vga}\n\
             megs: 32\n\
             cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=1, ignore_bad_msrs=0\n\
             port_e9_hack: enabled=1\n\
             plugin_ctrl: speaker=0, gameport=0, parallel=0, serial=0, extfpuirq=0, biosdev=1, unmapped=1, iodebug=0\n\
             pci: enabled=0\n\
             sound: waveoutdrv=dummy\n\
             floppya: type=none\n\
             ata0: enabled=0\n\
             ata1: enabled=0\n\
             vga: extension=none, update_freq=1\n\
             log: {log}\n\
             panic: action=report\n\
             error: action=ignore\n\
             info: action=ignore\n\
             debug: action=ignore\n",
            rom = path("rom"),
            vga = path("vga"),
            log = path("log"),
        )
    }

    /// Whether the last run ended because code was to be fetched from the memory of a device.
    pub fn left_memory(&self) -> bool {
        fs::read(self.path("log")).is_ok_and(|log| String::from_utf8_lossy(&log).contains("vetoed direct read"))
    }

    /// Runs the cases of a ROM up to the end or to one that says nothing for so long; `model` is Bochs' name of a
    /// processor.
    pub fn run(&self, rom: &[u8], model: &str, silence: Duration) -> Lines {
        self.write("rom", rom);
        self.write("bochsrc", self.configuration(model).as_bytes());
        let child = Command::new("bochs")
            .args(["-q", "-f"])
            .arg(self.path("bochsrc"))
            .arg("-rc")
            .arg(self.path("go"))
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("bochs starts");
        let mut child = Ended(child);
        let mut output = child.0.stdout.take().expect("it is piped");
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut chunk = [0; 1 << 16];
            while let Ok(n @ 1..) = output.read(&mut chunk) {
                if sender.send(chunk[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut lines = Lines::default();
        let mut patience = START;
        while let Ok(bytes) = receiver.recv_timeout(patience) {
            lines.take(&bytes);
            if !lines.of.is_empty() {
                patience = silence;
            }
        }
        drop(receiver);
        drop(child);
        reader.join().expect("the reader does not panic");
        lines
    }
}

/// Ends the child in any case.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
