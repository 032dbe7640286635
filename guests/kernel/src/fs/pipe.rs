//! Pipes and FIFOs.

use alloc::{boxed::Box, collections::VecDeque, format, sync::Arc, vec::Vec};

use abi::{
    errno::{EAGAIN, EFAULT, ENXIO, EPIPE, Result},
    stat::mode,
};

use super::{
    Dentry, Dest, File, FileOps, Inode, InodeOps, PollTable, Source, SuperBlock,
    file::{not_seekable, o},
    inode::Attr,
    poll::events,
    super_block::minor,
};
use crate::{
    mm::uaccess,
    sync::{Once, SpinLock},
    task::{
        signal::{SIGPIPE, SigInfo},
        wait::{WaitQueue, wait_event},
    },
};

/// Bytes that a pipe holds.
pub const PIPE_SIZE: usize = 65536;
/// A write of at most this many bytes is not mixed with others.
pub const PIPE_BUF: usize = 4096;
/// At most this many bytes go by way of the stack.
const SHORT: usize = 64;
const FIONREAD: u32 = 0x541b;

static PIPE_MNT: Once<Arc<SuperBlock>> = Once::new();

/// Makes the file system that pipes belong to.
pub fn init() {
    PIPE_MNT.set(SuperBlock::new("pipefs", 0x5049_5045, minor::PIPEFS, 1));
}

#[derive(Default)]
struct State {
    buffer: VecDeque<u8>,
    readers: u32,
    writers: u32,
    /// Openings so far, so that a FIFO's opener sees that a partner came and went.
    reader_openings: u32,
    writer_openings: u32,
}

/// The buffer between two ends.
#[derive(Default)]
pub struct Pipe {
    state: SpinLock<State>,
    wait: Arc<WaitQueue>,
}

struct PipeInode(Arc<Pipe>);

impl InodeOps for PipeInode {
    /// Opening `/proc/PID/fd/N` of a pipe gives another end.
    fn open(&self, _inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOps>> {
        Ok(Arc::new(PipeEnd::new(&self.0, flags)))
    }
}

/// Both ends of a new pipe: for reading and for writing. `flags` may hold `O_NONBLOCK`.
pub fn create(flags: u32) -> (Arc<File>, Arc<File>) {
    let pipe = Arc::new(Pipe::default());
    let now = super::now();
    let attr = Attr { mode: mode::S_IFIFO | 0o600, nlink: 1, atime: now, mtime: now, ctime: now, ..Attr::default() };
    let inode = Inode::new(PIPE_MNT.get(), attr, None, Box::new(PipeInode(pipe.clone())));
    let dentry = Dentry::whole_name(format!("pipe:[{}]", inode.ino()).as_bytes(), inode, false);
    let end = |access: u32| {
        let flags = access | flags & o::NONBLOCK;
        File::new(dentry.clone(), Arc::new(PipeEnd::new(&pipe, flags)), flags)
    };
    (end(o::RDONLY), end(o::WRONLY))
}

/// A named pipe: the inode keeps the buffer.
#[derive(Default)]
pub struct Fifo(Arc<Pipe>);

impl InodeOps for Fifo {
    fn open(&self, _inode: &Arc<Inode>, flags: u32) -> Result<Arc<dyn FileOps>> {
        let pipe = &self.0;
        let access = flags & o::ACCMODE;
        let (seen_readers, seen_writers, readers, writers) = {
            let s = pipe.state.lock();
            (s.reader_openings, s.writer_openings, s.readers, s.writers)
        };
        if access == o::WRONLY && flags & o::NONBLOCK != 0 && readers == 0 {
            return Err(ENXIO);
        }
        let end = Arc::new(PipeEnd::new(pipe, flags));
        pipe.wait.wake_all();
        if flags & o::NONBLOCK == 0 {
            match access {
                o::RDONLY if writers == 0 => {
                    wait_event(&pipe.wait, || pipe.state.lock().writer_openings != seen_writers)?;
                }
                o::WRONLY if readers == 0 => {
                    wait_event(&pipe.wait, || pipe.state.lock().reader_openings != seen_readers)?;
                }
                _ => {}
            }
        }
        Ok(end)
    }
}

/// One end, or both.
struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
}

impl PipeEnd {
    fn new(pipe: &Arc<Pipe>, flags: u32) -> Self {
        let access = flags & o::ACCMODE;
        let end = PipeEnd { pipe: pipe.clone(), reads: access != o::WRONLY, writes: access != o::RDONLY };
        let mut state = pipe.state.lock();
        if end.reads {
            state.readers += 1;
            state.reader_openings += 1;
        }
        if end.writes {
            state.writers += 1;
            state.writer_openings += 1;
        }
        drop(state);
        end
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= u32::from(self.reads);
        state.writers -= u32::from(self.writes);
        drop(state);
        self.pipe.wait.wake_all();
    }
}

/// Room for `count` bytes: in `short`, if it is large enough.
fn room_for<'a>(count: usize, short: &'a mut [u8; SHORT], long: &'a mut Vec<u8>) -> &'a mut [u8] {
    if count <= SHORT {
        return &mut short[..count];
    }
    long.resize(count, 0);
    long
}

impl FileOps for PipeEnd {
    fn check_seekable(&self) -> Result<()> {
        not_seekable()
    }

    fn read(&self, file: &File, dest: &mut Dest<'_>, _pos: &mut u64) -> Result<usize> {
        if dest.remaining() == 0 {
            return Ok(0);
        }
        let pipe = &self.pipe;
        loop {
            // The bytes leave the buffer before they are stored, because storing may sleep.
            let (mut short, mut long) = ([0; SHORT], Vec::new());
            let (taken, ended) = {
                let mut state = pipe.state.lock();
                let count = state.buffer.len().min(dest.remaining());
                let taken = room_for(count, &mut short, &mut long);
                let (first, second) = state.buffer.as_slices();
                let (lower, upper) = taken.split_at_mut(count.min(first.len()));
                lower.copy_from_slice(&first[..lower.len()]);
                upper.copy_from_slice(&second[..upper.len()]);
                state.buffer.drain(..count);
                (taken, state.writers == 0)
            };
            if !taken.is_empty() {
                let stored = dest.put(taken).unwrap_or(0);
                let mut state = pipe.state.lock();
                taken[stored..].iter().rev().for_each(|&b| state.buffer.push_front(b));
                drop(state);
                pipe.wait.wake_all_sync();
                return if stored > 0 { Ok(stored) } else { Err(EFAULT) };
            }
            if ended {
                return Ok(0);
            }
            if file.nonblocking() {
                return Err(EAGAIN);
            }
            wait_event(&pipe.wait, || {
                let state = pipe.state.lock();
                !state.buffer.is_empty() || state.writers == 0
            })?;
        }
    }

    fn write(&self, file: &File, source: &mut Source<'_>, _pos: &mut u64) -> Result<usize> {
        let pipe = &self.pipe;
        let total = source.remaining();
        let mut done = 0;
        let (mut short, mut long) = ([0; SHORT], Vec::new());
        let chunk = room_for(total.min(PIPE_BUF), &mut short, &mut long);
        while done < total {
            // A short write goes in whole or not at all.
            let want = if total <= PIPE_BUF { total } else { (total - done).min(PIPE_BUF) };
            let need = if total <= PIPE_BUF { total } else { 1 };
            let room = {
                let state = pipe.state.lock();
                if state.readers == 0 {
                    drop(state);
                    crate::task::signal::send_to_current(SigInfo::kernel(SIGPIPE));
                    return if done > 0 { Ok(done) } else { Err(EPIPE) };
                }
                PIPE_SIZE.saturating_sub(state.buffer.len())
            };
            if room < need {
                if file.nonblocking() {
                    return if done > 0 { Ok(done) } else { Err(EAGAIN) };
                }
                let waited = wait_event(&pipe.wait, || {
                    let state = pipe.state.lock();
                    PIPE_SIZE.saturating_sub(state.buffer.len()) >= need || state.readers == 0
                });
                match waited {
                    Err(_) if done > 0 => return Ok(done),
                    other => other?,
                }
                continue;
            }
            let count = match source.take(&mut chunk[..want.min(room)]) {
                Ok(count) => count,
                Err(_) if done > 0 => break,
                Err(error) => return Err(error),
            };
            // Taking may have slept: others may have filled the room meanwhile, by one
            // chunk each, which the buffer bears.
            pipe.state.lock().buffer.extend(&chunk[..count]);
            pipe.wait.wake_all_sync();
            done += count;
            if count < want.min(room) {
                break;
            }
        }
        Ok(done)
    }

    fn ioctl(&self, _file: &File, cmd: u32, arg: u32) -> Result<u32> {
        if cmd != FIONREAD {
            return Err(abi::errno::ENOTTY);
        }
        let count = self.pipe.state.lock().buffer.len() as u32;
        uaccess::copy_to_user(uaccess::UserPtr::new(arg), &count.to_le_bytes())?;
        Ok(0)
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait_on(&self.pipe.wait);
        let state = self.pipe.state.lock();
        let mut mask = 0;
        if self.reads {
            if !state.buffer.is_empty() {
                mask |= events::IN | events::RDNORM;
            }
            if state.writers == 0 && state.writer_openings > 0 {
                mask |= events::HUP;
            }
        }
        if self.writes {
            if PIPE_SIZE - state.buffer.len().min(PIPE_SIZE) >= PIPE_BUF {
                mask |= events::OUT | events::WRNORM;
            }
            if state.readers == 0 {
                mask |= events::ERR;
            }
        }
        mask
    }
}
