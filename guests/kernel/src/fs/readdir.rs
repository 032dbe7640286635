//! What `getdents` collects.

use alloc::{sync::Arc, vec::Vec};

use abi::stat::mode;

use super::Dentry;

/// The two layouts of a directory entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirentFormat {
    /// `linux_dirent`.
    Old,
    /// `linux_dirent64`.
    Dirent64,
}

/// Entries being collected, up to the length of the caller's buffer.
pub struct DirContext<'a> {
    format: DirentFormat,
    limit: usize,
    buffer: &'a mut Vec<u8>,
    pos: u64,
    /// An entry did not fit.
    full: bool,
    last: Option<usize>,
}

impl<'a> DirContext<'a> {
    /// Collects at most `limit` bytes, from the offset `pos` on.
    pub fn new(format: DirentFormat, limit: usize, buffer: &'a mut Vec<u8>, pos: u64) -> Self {
        DirContext { format, limit, buffer, pos, full: false, last: None }
    }

    /// The offset of the next entry.
    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// Whether an entry did not fit.
    pub fn full(&self) -> bool {
        self.full
    }

    /// Adds the entry at the present offset; false when it does not fit, and the listing
    /// must stop.
    pub fn emit(&mut self, name: &[u8], ino: u32, kind: u32) -> bool {
        self.emit_before(name, ino, kind, self.pos + 1)
    }

    /// Adds an entry after which the listing goes on at the offset `next`.
    pub fn emit_before(&mut self, name: &[u8], ino: u32, kind: u32, next: u64) -> bool {
        let (fixed, align) = match self.format {
            DirentFormat::Old => (10, 4),
            DirentFormat::Dirent64 => (19, 8),
        };
        // The old layout has the type in its last byte.
        let tail = if self.format == DirentFormat::Old { 2 } else { 1 };
        let len = (fixed + name.len() + tail).next_multiple_of(align);
        if self.buffer.len() + len > self.limit {
            self.full = true;
            return false;
        }
        let start = self.buffer.len();
        let d_type = (kind >> 12) as u8;
        match self.format {
            DirentFormat::Old => {
                self.buffer.extend_from_slice(&ino.to_le_bytes());
                self.buffer.extend_from_slice(&(next as u32).to_le_bytes());
                self.buffer.extend_from_slice(&(len as u16).to_le_bytes());
            }
            DirentFormat::Dirent64 => {
                self.buffer.extend_from_slice(&u64::from(ino).to_le_bytes());
                self.buffer.extend_from_slice(&next.to_le_bytes());
                self.buffer.extend_from_slice(&(len as u16).to_le_bytes());
                self.buffer.push(d_type);
            }
        }
        self.buffer.extend_from_slice(name);
        self.buffer.resize(start + len, 0);
        if self.format == DirentFormat::Old {
            self.buffer[start + len - 1] = d_type;
        }
        self.last = Some(start);
        self.pos = next;
        true
    }

    /// Adds `.` and `..` if the offset is before them; false when they do not fit.
    pub fn dots(&mut self, dir: &Arc<Dentry>) -> bool {
        if self.pos == 0 && !self.emit(b".", dir.inode().ino(), mode::S_IFDIR) {
            return false;
        }
        let parent = dir.parent().unwrap_or_else(|| dir.clone());
        self.pos != 1 || self.emit(b"..", parent.inode().ino(), mode::S_IFDIR)
    }
}
