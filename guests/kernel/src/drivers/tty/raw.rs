//! `/dev/rawS0` to `/dev/rawS3`: serial lines as plain streams of bytes, for programs whose
//! standard streams are no terminals. A reader that has to wait raises RTS; the loss of the
//! carrier with nothing received is the end of the file.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};

use abi::errno::{EAGAIN, EFAULT, Result};

use super::serial::{Asks, PORTS, Uart, port};
use crate::{
    fs::{Dest, File, FileOps, PollTable, Source, file::not_seekable, poll::events},
    sync::{Once, SpinLock},
    task::wait::{WaitQueue, wait_event},
};

/// Major number of the devices, from Linux's range for local use.
pub const MAJOR: u32 = 240;

struct Line {
    uart: &'static Uart,
    received: SpinLock<VecDeque<u8>>,
    readers: SpinLock<u32>,
    wait: Arc<WaitQueue>,
}

static LINES: Once<Vec<Arc<Line>>> = Once::new();

/// Makes the lines.
pub fn init() {
    let line = |uart| {
        Arc::new(Line { uart, received: SpinLock::default(), readers: SpinLock::default(), wait: Arc::default() })
    };
    LINES.set(PORTS.iter().map(line).collect());
}

/// An interrupt came: readers look.
pub fn run_input() {
    for line in LINES.try_get().into_iter().flatten() {
        if !line.wait.is_empty() {
            line.wait.wake_all();
        }
    }
}

/// Opens a line; ENODEV if there is no such port.
pub fn open(line: u32) -> Result<Arc<dyn FileOps>> {
    port(line)?;
    Ok(Arc::new(RawFile(LINES.get()[line as usize].clone())))
}

/// What a look at the line finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    Data,
    EndOfFile,
    Nothing,
}

impl Line {
    /// Fetches what the port has received.
    fn look(&self) -> Look {
        let mut received = self.received.lock();
        // The carrier first: bytes that came before it went are not lost then.
        let carrier = self.uart.carrier();
        if self.uart.has_data() {
            // Enough for now: what comes next is asked for when somebody waits again.
            self.uart.set_rts(Asks::ForSilence);
        }
        while let Some(byte) = self.uart.receive() {
            received.push_back(byte);
        }
        match (received.is_empty(), carrier) {
            (false, _) => Look::Data,
            (true, false) => Look::EndOfFile,
            (true, true) => Look::Nothing,
        }
    }

    /// Waits for data or the end.
    fn wait_for_input(&self) -> Result<()> {
        *self.readers.lock() += 1;
        let waited = wait_event(&self.wait, || {
            self.uart.listen();
            let nothing = self.look() == Look::Nothing;
            if nothing {
                self.uart.set_rts(Asks::ForData);
            }
            !nothing
        });
        let mut readers = self.readers.lock();
        *readers -= 1;
        if *readers == 0 {
            self.uart.silence();
            self.uart.set_rts(Asks::ForSilence);
        }
        waited
    }
}

struct RawFile(Arc<Line>);

impl FileOps for RawFile {
    fn check_seekable(&self) -> Result<()> {
        not_seekable()
    }

    fn read(&self, file: &File, dest: &mut Dest<'_>, _pos: &mut u64) -> Result<usize> {
        let line = &self.0;
        if dest.remaining() == 0 {
            return Ok(0);
        }
        loop {
            match line.look() {
                Look::EndOfFile => return Ok(0),
                Look::Nothing if file.nonblocking() => return Err(EAGAIN),
                Look::Nothing => line.wait_for_input()?,
                Look::Data => {
                    let taken: Vec<u8> = {
                        let mut received = line.received.lock();
                        let count = received.len().min(dest.remaining());
                        received.drain(..count).collect()
                    };
                    let stored = dest.put(&taken).unwrap_or(0);
                    let mut received = line.received.lock();
                    taken[stored..].iter().rev().for_each(|&b| received.push_front(b));
                    return if stored > 0 { Ok(stored) } else { Err(EFAULT) };
                }
            }
        }
    }

    fn write(&self, _file: &File, source: &mut Source<'_>, _pos: &mut u64) -> Result<usize> {
        let mut chunk = alloc::vec![0; source.remaining().min(1024)];
        let mut done = 0;
        while source.remaining() > 0 {
            match source.take(&mut chunk) {
                Ok(count) => {
                    chunk[..count].iter().for_each(|&b| self.0.uart.send(b));
                    done += count;
                }
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait_on(&self.0.wait);
        let input = match self.0.look() {
            Look::Nothing => {
                // With time stopped the host gives the next piece of its input: who asks for something else must not
                // wait for that.
                if table.wants(events::IN | events::RDNORM) {
                    self.0.uart.set_rts(Asks::ForData);
                    self.0.uart.listen();
                }
                0
            }
            Look::Data => events::IN | events::RDNORM,
            Look::EndOfFile => events::IN | events::RDNORM | events::HUP,
        };
        input | events::OUT | events::WRNORM
    }
}
