//! Files that only their mappings keep alive, in no file system's tree. To the books each is
//! a deleted file.

use alloc::{string::String, sync::Arc};
use core::mem::offset_of;

use abi::{
    Ptr32,
    books::{DentryRecord, FileRecord, InodeRecord},
};

/// Deleted, and the name is whole.
const DENTRY_FLAGS: u32 = 3;

/// Such a file with its contents. The records point at each other and at the name, so it
/// lives in one place.
pub struct Nameless<T> {
    file: FileRecord,
    dentry: DentryRecord,
    inode: InodeRecord,
    name: String,
    contents: T,
}

impl<T> Nameless<T> {
    /// A file on the device `0:minor`.
    pub fn with_contents(name: &str, minor: u32, ino: u32, contents: T) -> Arc<Self> {
        let name = String::from(name);
        Arc::new_cyclic(|this| {
            let this: *const Self = this.as_ptr();
            let field = |offset: usize| (this as usize + offset) as u32;
            Nameless {
                file: FileRecord {
                    dentry: Ptr32::new(field(offset_of!(Self, dentry))),
                    inode: Ptr32::new(field(offset_of!(Self, inode))),
                },
                dentry: DentryRecord {
                    parent: Ptr32::NULL,
                    name: Ptr32::new(name.as_ptr() as u32),
                    name_len: name.len() as u32,
                    flags: DENTRY_FLAGS,
                },
                inode: InodeRecord { ino, major: 0, minor },
                name,
                contents,
            }
        })
    }

    /// The name, without ` (deleted)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds.
    pub fn contents(&self) -> &T {
        &self.contents
    }

    /// The record that the host follows to the name.
    pub fn record(&self) -> Ptr32<FileRecord> {
        Ptr32::new((&raw const self.file) as u32)
    }
}
