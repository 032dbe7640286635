//! Names by the records that the host reads: the path of a file, the handler of an interrupt.
#![allow(unsafe_code)]

use abi::{
    Ptr32,
    books::{DentryRecord, FileRecord, InodeRecord, IrqRecord},
    out::Out,
    proc::maps::escaped,
};

use crate::fs::dentry::{DENTRY_UNLINKED, DENTRY_WHOLE_NAME};

/// Copies the records that an open file points to.
pub fn file_records(file: Ptr32<FileRecord>) -> (DentryRecord, InodeRecord) {
    // SAFETY: an area keeps its file open, and a file its dentry and inode; the caller holds
    // the area's lock.
    unsafe {
        let file = *(file.0 as usize as *const FileRecord);
        (*(file.dentry.0 as usize as *const DentryRecord), *(file.inode.0 as usize as *const InodeRecord))
    }
}

/// Tells the inode of an open file from others.
pub fn inode_of(file: Ptr32<FileRecord>) -> u32 {
    // SAFETY: as for `file_records`.
    unsafe { (*(file.0 as usize as *const FileRecord)).inode.0 }
}

/// Writes the path of a dentry.
pub fn write_path(dentry: &DentryRecord, out: &mut dyn Out) {
    if dentry.flags & DENTRY_WHOLE_NAME != 0 {
        escaped(out, name(dentry));
    } else {
        let mut depth = 0;
        while !nth(dentry, depth).parent.is_null() {
            depth += 1;
        }
        if depth == 0 {
            out.bytes(b"/");
        }
        for level in (0..depth).rev() {
            out.bytes(b"/");
            escaped(out, name(&nth(dentry, level)));
        }
    }
    if dentry.flags & DENTRY_UNLINKED != 0 {
        out.bytes(b" (deleted)");
    }
}

/// The dentry `level` steps above.
fn nth(dentry: &DentryRecord, level: usize) -> DentryRecord {
    let mut at = *dentry;
    for _ in 0..level {
        if at.parent.is_null() {
            break;
        }
        // SAFETY: a dentry keeps its parent.
        at = unsafe { *(at.parent.0 as usize as *const DentryRecord) };
    }
    at
}

fn name(dentry: &DentryRecord) -> &'static [u8] {
    // SAFETY: the record points at its dentry's name, which outlives this use under the
    // caller's lock.
    unsafe { core::slice::from_raw_parts(dentry.name.0 as usize as *const u8, dentry.name_len as usize) }
}

/// Who handles an interrupt line.
pub fn irq_name(line: &IrqRecord) -> &'static [u8] {
    if line.name.is_null() {
        return b"";
    }
    // SAFETY: the record points at the `&'static str` that was given with the handler.
    unsafe { core::slice::from_raw_parts(line.name.0 as usize as *const u8, line.name_len as usize) }
}
