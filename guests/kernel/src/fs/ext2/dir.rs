//! Entries of directories: in each block a chain of records that fills it.

use alloc::vec::Vec;

use abi::{
    errno::{ENOENT, Result},
    stat::mode,
    wire::{u16_at, u32_at},
};

use super::{Ext2, Space, inode::Node};

/// Bytes of a record before the name.
const HEAD: usize = 8;

/// An entry and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Position in the directory.
    pub pos: u64,
    /// Bytes to the next record.
    pub len: u32,
    pub ino: u32,
    pub name: Vec<u8>,
    /// `S_IFMT` bits; 0 if the entry does not tell.
    pub kind: u32,
}

/// Bytes that a record with such a name takes.
fn needed(name_len: usize) -> usize {
    (HEAD + name_len).next_multiple_of(4)
}

/// The type in an entry, by the type in a mode.
fn file_type(kind: u32) -> u8 {
    match kind & mode::S_IFMT {
        mode::S_IFREG => 1,
        mode::S_IFDIR => 2,
        mode::S_IFCHR => 3,
        mode::S_IFBLK => 4,
        mode::S_IFIFO => 5,
        mode::S_IFSOCK => 6,
        mode::S_IFLNK => 7,
        _ => 0,
    }
}

fn kind_of(file_type: u8) -> u32 {
    const KINDS: [u32; 8] =
        [0, mode::S_IFREG, mode::S_IFDIR, mode::S_IFCHR, mode::S_IFBLK, mode::S_IFIFO, mode::S_IFSOCK, mode::S_IFLNK];
    KINDS.get(usize::from(file_type)).copied().unwrap_or(0)
}

impl Node {
    /// The entries of block `logical` of a directory, unused records with inode 0 among them. EIO
    /// for a damaged one, which is told of; a hole has none.
    pub(super) fn entries(&self, logical: u64) -> Result<Vec<Entry>> {
        let fs = &self.fs;
        let size = fs.layout.block_size as usize;
        let Some(block) = self.bmap(logical)? else { return Ok(Vec::new()) };
        let mut bytes = alloc::vec![0; size];
        fs.read(fs.block_pos(block), &mut bytes)?;
        let mut entries = Vec::new();
        let mut at = 0;
        while at < size {
            let (ino, len) = (u32_at(&bytes, at), usize::from(u16_at(&bytes, at + 4)));
            let name_len = usize::from(bytes.get(at + 6).copied().unwrap_or(0));
            let why = if len < needed(1) {
                "rec_len is smaller than minimal"
            } else if !len.is_multiple_of(4) {
                "unaligned directory entry"
            } else if len < needed(name_len) {
                "rec_len is too small for name_len"
            } else if at + len > size {
                "directory entry across blocks"
            } else if ino > fs.layout.inodes {
                "inode out of bounds"
            } else {
                ""
            };
            let pos = logical * size as u64 + at as u64;
            if !why.is_empty() {
                return Err(fs.error(format_args!(
                    "ext2_check_page: bad entry in directory #{}: {why} - offset={pos}, inode={ino}, rec_len={len}, name_len={name_len}",
                    self.ino
                )));
            }
            let kind = if fs.layout.has_file_type { kind_of(bytes[at + 7]) } else { 0 };
            let name = bytes[at + HEAD..at + HEAD + name_len].to_vec();
            entries.push(Entry { pos, len: len as u32, ino, name, kind });
            at += len;
        }
        Ok(entries)
    }

    fn blocks(&self) -> u64 {
        self.size() / u64::from(self.fs.layout.block_size)
    }

    /// Finds a name; ENOENT.
    pub(super) fn find(&self, name: &[u8]) -> Result<Entry> {
        for logical in 0..self.blocks() {
            let entries = self.entries(logical)?;
            if let Some(entry) = entries.into_iter().find(|entry| entry.ino != 0 && entry.name == name) {
                return Ok(entry);
            }
        }
        Err(ENOENT)
    }

    /// Whether there is nothing but `.` and `..`.
    pub(super) fn is_empty_dir(&self) -> Result<bool> {
        for logical in 0..self.blocks() {
            let used = |entry: &Entry| entry.ino != 0 && !matches!(&*entry.name, b"." | b"..");
            if self.entries(logical)?.iter().any(used) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where byte `pos` of the directory lies on the device.
    fn device_pos(&self, pos: u64) -> Result<u64> {
        let size = u64::from(self.fs.layout.block_size);
        let block = self.bmap(pos / size)?.ok_or(abi::errno::EIO)?;
        Ok(self.fs.block_pos(block) + pos % size)
    }

    fn put_record(&self, at: u64, record: &Record<'_>) -> Result<()> {
        let file_type = if self.fs.layout.has_file_type { file_type(record.kind) } else { 0 };
        let mut bytes = Vec::with_capacity(HEAD + record.name.len());
        bytes.extend_from_slice(&record.ino.to_le_bytes());
        bytes.extend_from_slice(&(record.len as u16).to_le_bytes());
        bytes.extend_from_slice(&[record.name.len() as u8, file_type]);
        bytes.extend_from_slice(record.name);
        self.fs.write(at, &bytes)
    }

    /// Enters a name, which must be new, where there is room or in a new block.
    pub(super) fn add_entry(&self, space: &mut Space, name: &[u8], ino: u32, kind: u32) -> Result<()> {
        let wanted = needed(name.len()) as u32;
        for logical in 0..self.blocks() {
            for entry in self.entries(logical)? {
                let used = if entry.ino == 0 { 0 } else { needed(entry.name.len()) as u32 };
                if entry.len < used + wanted {
                    continue;
                }
                let at = self.device_pos(entry.pos)?;
                // The new record first: until the old one is cut, nobody sees it.
                self.put_record(at + u64::from(used), &Record { ino, len: entry.len - used, name, kind })?;
                if used != 0 {
                    self.fs.write(at + 4, &(used as u16).to_le_bytes())?;
                }
                self.drop_index();
                return Ok(());
            }
        }
        let logical = self.blocks();
        let block = self.get_block(space, logical)?;
        self.fresh.lock().remove(&logical);
        self.fs.zero_block(block)?;
        let size = self.fs.layout.block_size;
        self.put_record(self.fs.block_pos(block), &Record { ino, len: size, name, kind })?;
        self.set_size((logical + 1) * u64::from(size));
        self.drop_index();
        Ok(())
    }

    /// Takes an entry out: the record before it takes its place.
    pub(super) fn remove_entry(&self, entry: &Entry) -> Result<()> {
        let size = u64::from(self.fs.layout.block_size);
        let entries = self.entries(entry.pos / size)?;
        let before = entries.iter().take_while(|other| other.pos < entry.pos).last();
        match before {
            Some(before) => {
                let len = (before.len + entry.len) as u16;
                self.fs.write(self.device_pos(before.pos)? + 4, &len.to_le_bytes())?;
            }
            None => self.fs.write(self.device_pos(entry.pos)?, &[0; 4])?,
        }
        self.drop_index();
        Ok(())
    }

    /// An entry names another inode from now on.
    pub(super) fn set_entry(&self, entry: &Entry, ino: u32, kind: u32) -> Result<()> {
        let record = Record { ino, len: entry.len, name: &entry.name, kind };
        self.put_record(self.device_pos(entry.pos)?, &record)
    }

    /// The first block of a new directory.
    pub(super) fn make_empty(&self, space: &mut Space, parent: u32) -> Result<()> {
        let block = self.get_block(space, 0)?;
        self.fresh.lock().remove(&0);
        self.fs.zero_block(block)?;
        let (at, size) = (self.fs.block_pos(block), self.fs.layout.block_size);
        self.put_record(at, &Record { ino: self.ino, len: 12, name: b".", kind: mode::S_IFDIR })?;
        self.put_record(at + 12, &Record { ino: parent, len: size - 12, name: b"..", kind: mode::S_IFDIR })?;
        self.set_size(size.into());
        Ok(())
    }
}

struct Record<'a> {
    ino: u32,
    len: u32,
    name: &'a [u8],
    kind: u32,
}

impl Ext2 {
    /// The type of an entry that does not tell it.
    pub(super) fn kind_on_device(&self, ino: u32) -> Result<u32> {
        let mut bytes = [0; 2];
        self.read(self.inode_pos(ino), &mut bytes)?;
        Ok(u32::from(u16::from_le_bytes(bytes)) & mode::S_IFMT)
    }
}
