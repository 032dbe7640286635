//! `eventfd`: a counter that is a file.

use alloc::sync::Arc;

use abi::errno::{EAGAIN, EINVAL, Result};

use super::{
    Dest, File, FileOps, PollTable, Source, anon_inode,
    file::{not_seekable, o},
    poll::events,
};
use crate::{
    sync::SpinLock,
    task::wait::{WaitQueue, wait_event},
};

/// `EFD_SEMAPHORE`.
pub const EFD_SEMAPHORE: u32 = 1;

struct EventFd {
    count: SpinLock<u64>,
    wait: Arc<WaitQueue>,
    semaphore: bool,
}

/// A new counter. `flags` are those of `eventfd2`.
pub fn create(initial: u32, flags: u32) -> Arc<File> {
    let count = SpinLock::new(initial.into());
    let ops = EventFd { count, wait: Arc::default(), semaphore: flags & EFD_SEMAPHORE != 0 };
    anon_inode::file("[eventfd]", Arc::new(ops), o::RDWR | flags & o::NONBLOCK)
}

impl FileOps for EventFd {
    fn check_seekable(&self) -> Result<()> {
        not_seekable()
    }

    fn read(&self, file: &File, dest: &mut Dest<'_>, _pos: &mut u64) -> Result<usize> {
        if dest.remaining() < 8 {
            return Err(EINVAL);
        }
        let taken = loop {
            let mut count = self.count.lock();
            if *count > 0 {
                let taken = if self.semaphore { 1 } else { *count };
                *count -= taken;
                break taken;
            }
            drop(count);
            if file.nonblocking() {
                return Err(EAGAIN);
            }
            wait_event(&self.wait, || *self.count.lock() > 0)?;
        };
        self.wait.wake_all();
        dest.put(&taken.to_le_bytes())
    }

    fn write(&self, file: &File, source: &mut Source<'_>, _pos: &mut u64) -> Result<usize> {
        let mut bytes = [0; 8];
        if source.remaining() < 8 || source.take(&mut bytes)? < 8 {
            return Err(EINVAL);
        }
        let add = u64::from_le_bytes(bytes);
        if add == u64::MAX {
            return Err(EINVAL);
        }
        loop {
            let mut count = self.count.lock();
            if u64::MAX - *count > add {
                *count += add;
                break;
            }
            drop(count);
            if file.nonblocking() {
                return Err(EAGAIN);
            }
            wait_event(&self.wait, || u64::MAX - *self.count.lock() > add)?;
        }
        self.wait.wake_all();
        Ok(8)
    }

    fn poll(&self, _file: &File, table: &mut PollTable) -> u32 {
        table.wait_on(&self.wait);
        let count = *self.count.lock();
        let mut mask = 0;
        if count > 0 {
            mask |= events::IN | events::RDNORM;
        }
        if count < u64::MAX - 1 {
            mask |= events::OUT | events::WRNORM;
        }
        mask
    }
}
