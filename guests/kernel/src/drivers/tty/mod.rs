//! The terminal on COM1, and raw serial lines.

pub mod raw;
pub mod serial;

mod ioctl;
mod job;

use alloc::{sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::{
    Ptr32,
    errno::{EAGAIN, EFAULT, ENXIO, Result},
    ldisc::{LineDiscipline, SignalKey, cc, lflag},
};

pub use job::{disassociate_on_exit, tpgid};

use self::serial::{Asks, Uart};
use crate::{
    fs::{
        Dest, File, FileOps, PollTable, Source,
        file::{not_seekable, o},
        poll::events,
    },
    lib::books,
    sync::{Once, SpinLock},
    task::{
        current,
        signal::{SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SigInfo, send_to_group},
        wait::{WaitQueue, Waited, wait_event_until},
    },
    time::ktime_get_ns,
};

/// Major number of serial terminals.
pub const TTY_MAJOR: u32 = 4;
/// Major number of `/dev/tty` and `/dev/console`.
pub const TTYAUX_MAJOR: u32 = 5;

/// A terminal.
pub struct Tty {
    uart: &'static Uart,
    ldisc: SpinLock<LineDiscipline>,
    /// Readers, and pollers.
    wait: Arc<WaitQueue>,
    /// Foreground process group; 0 none.
    pgrp: AtomicU32,
    /// Session that it controls; 0 none.
    session: AtomicU32,
    /// Rows, columns, width and height in pixels.
    winsize: SpinLock<[u16; 4]>,
}

static CONSOLE: Once<Arc<Tty>> = Once::new();

impl Tty {
    /// The number that `/proc/PID/stat` shows: ttyS0.
    pub const DEVICE_NUMBER: u32 = TTY_MAJOR << 8 | 64;
}

/// Finds the serial ports and makes the terminal of the console.
pub fn init() {
    serial::init();
    raw::init();
    if let Ok(uart) = serial::port(0) {
        let tty = Tty {
            uart,
            ldisc: SpinLock::default(),
            wait: Arc::default(),
            pgrp: AtomicU32::new(0),
            session: AtomicU32::new(0),
            winsize: SpinLock::new([0; 4]),
        };
        let tty = CONSOLE.set(Arc::new(tty));
        books::update(|books| books.tty_pgrp = Ptr32::new(tty.pgrp.as_ptr() as u32));
        uart.set_rts(Asks::ForData);
        uart.listen();
    }
}

/// Opens `/dev/tty`, `/dev/console` or `/dev/ttyS0`.
pub fn open(rdev: (u32, u32), flags: u32) -> Result<Arc<dyn FileOps>> {
    let console = || CONSOLE.try_get().cloned().ok_or(abi::errno::ENODEV);
    let tty = match rdev {
        (TTYAUX_MAJOR, 0) => current().signal().tty.lock().clone().ok_or(ENXIO)?,
        (TTYAUX_MAJOR, 1) => console()?,
        (TTY_MAJOR, 64) => {
            let tty = console()?;
            if flags & o::NOCTTY == 0 {
                job::take_if_leader(&tty);
            }
            tty
        }
        _ => return Err(ENXIO),
    };
    Ok(Arc::new(TtyFile(tty)))
}

/// Input has come: passes it through the line discipline.
pub fn run_input() {
    raw::run_input();
    let Some(tty) = CONSOLE.try_get() else { return };
    let mut signals = Vec::new();
    let mut echo = Vec::new();
    let mut any = false;
    loop {
        // Fetched until nothing is left after the port may interrupt again.
        while let Some(byte) = tty.uart.receive() {
            any = true;
            signals.extend(tty.ldisc.lock().receive(byte, &mut echo));
        }
        tty.uart.carrier();
        tty.uart.listen();
        match tty.uart.receive() {
            Some(byte) => signals.extend(tty.ldisc.lock().receive(byte, &mut echo)),
            None => break,
        }
    }
    echo.iter().for_each(|&b| tty.uart.send(b));
    for key in signals {
        let signal = match key {
            SignalKey::Interrupt => SIGINT,
            SignalKey::Quit => SIGQUIT,
            SignalKey::Suspend => SIGTSTP,
        };
        let pgrp = tty.pgrp.load(Relaxed);
        if pgrp != 0 {
            send_to_group(pgrp, SigInfo::kernel(signal));
        }
    }
    if any {
        tty.wait.wake_all();
    }
}

/// An open terminal.
struct TtyFile(Arc<Tty>);

impl TtyFile {
    /// Waits for input as the mode asks: a line, or VMIN bytes within VTIME.
    fn wait_for_input(&self, file: &File, wanted: usize) -> Result<Waited> {
        let tty = &self.0;
        let (is_canonical, min, time) = {
            let termios = tty.ldisc.lock().termios;
            (termios.is_canonical(), termios.cc[cc::VMIN] as usize, u64::from(termios.cc[cc::VTIME]))
        };
        let need = if is_canonical { 1 } else { min.min(wanted).max(1) };
        if tty.ldisc.lock().can_read(need) {
            return Ok(Waited::Ready);
        }
        if !is_canonical && min == 0 && time == 0 {
            return Ok(Waited::TimedOut);
        }
        if file.nonblocking() {
            return Err(EAGAIN);
        }
        // VTIME counts tenths of a second: from the first byte if VMIN is set, else from now.
        let deadline = (!is_canonical && min == 0).then(|| ktime_get_ns() + time * 100_000_000);
        wait_event_until(&tty.wait, deadline, || tty.ldisc.lock().can_read(need))
    }
}

impl FileOps for TtyFile {
    fn check_seekable(&self) -> Result<()> {
        not_seekable()
    }

    fn read(&self, file: &File, dest: &mut Dest<'_>, _pos: &mut u64) -> Result<usize> {
        let tty = &self.0;
        let mut done = 0;
        while dest.remaining() > 0 {
            job::check_background(tty, SIGTTIN)?;
            match self.wait_for_input(file, dest.remaining()) {
                Ok(Waited::Ready) => {}
                Ok(Waited::TimedOut) => break,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
            let (taken, is_canonical) = {
                let mut ldisc = tty.ldisc.lock();
                (ldisc.read(dest.remaining().min(4096)), ldisc.termios.is_canonical())
            };
            done += match dest.put(&taken) {
                Ok(count) => count,
                Err(_) if taken.is_empty() => 0,
                Err(_) => return Err(EFAULT),
            };
            // One line or one lot of bytes a call; an empty line is the end of the file.
            if is_canonical || done > 0 {
                break;
            }
        }
        Ok(done)
    }

    fn write(&self, _file: &File, source: &mut Source<'_>, _pos: &mut u64) -> Result<usize> {
        let tty = &self.0;
        if tty.ldisc.lock().termios.lflag & lflag::TOSTOP != 0 {
            job::check_background(tty, SIGTTOU)?;
        }
        let mut chunk = alloc::vec![0; source.remaining().min(1024)];
        let mut out = Vec::new();
        let mut done = 0;
        while source.remaining() > 0 {
            let count = match source.take(&mut chunk) {
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            out.clear();
            {
                let ldisc = tty.ldisc.lock();
                chunk[..count].iter().for_each(|&b| ldisc.send(b, &mut out));
            }
            out.iter().for_each(|&b| tty.uart.send(b));
            done += count;
        }
        Ok(done)
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: u32) -> Result<u32> {
        ioctl::ioctl(&self.0, cmd, arg)
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        let tty = &self.0;
        table.wait_on(&tty.wait);
        let input = if tty.ldisc.lock().can_read(1) { events::IN | events::RDNORM } else { 0 };
        input | events::OUT | events::WRNORM
    }
}
