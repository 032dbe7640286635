//! Unpacks the archives that the loader passed as modules into the root.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use abi::{
    cpio::{Archive, Entry},
    errno::{EEXIST, EINVAL, ENOENT, ENOTDIR, Result},
    stat::{Timespec, mode},
};

use super::{Dentry, namei::ROOT, ramfs};
use crate::{
    arch::{PAGE_OFFSET, multiboot::Module},
    mm::{PAGE_SHIFT, boot},
    pr_info,
};

/// Unpacks every module in order. A damaged archive is reported, and what came before the
/// damage stays.
pub fn unpack_all() {
    for module in (0..).map_while(crate::boot_module) {
        match boot_module_bytes(module) {
            Some(archive) => {
                if let Err(error) = Unpacker::default().unpack(archive) {
                    pr_info!("Initramfs unpacking failed: {error}");
                }
                boot::free_module(module.start, module.end);
            }
            None => pr_info!("Initramfs unpacking failed: the archive lies beyond the direct map"),
        }
    }
}

/// The bytes of a module, which nobody else uses until it is freed.
#[allow(unsafe_code)]
fn boot_module_bytes(module: Module) -> Option<&'static [u8]> {
    let in_low_memory = module.start <= module.end && module.end >> PAGE_SHIFT < boot::max_low_pfn();
    // SAFETY: low memory is mapped at PAGE_OFFSET, and boot reserved the module's frames.
    in_low_memory.then(|| unsafe {
        let start = (PAGE_OFFSET + module.start) as usize as *const u8;
        core::slice::from_raw_parts(start, (module.end - module.start) as usize)
    })
}

/// Device and inode number in an archive.
type FileId = ((u32, u32), u32);

/// Names of an archive by device and inode, for its hard links.
#[derive(Default)]
struct Unpacker {
    links: BTreeMap<FileId, Vec<Arc<Dentry>>>,
}

impl Unpacker {
    fn unpack(&mut self, archive: &[u8]) -> core::result::Result<(), abi::cpio::Error> {
        for entry in Archive::new(archive) {
            let entry = entry?;
            if let Err(error) = self.add(&entry) {
                let name = alloc::string::String::from_utf8_lossy(entry.name);
                pr_info!("Initramfs: {name}: {error}");
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let mut parts: Vec<&[u8]> = entry.name.split(|&b| b == b'/').filter(|p| !matches!(*p, b"" | b".")).collect();
        let Some(name) = parts.pop() else {
            ROOT.get().inode().update(|a| a.mode = entry.mode);
            return Ok(());
        };
        let dir = directory(&parts)?;
        if name == b".." || parts.contains(&&b".."[..]) {
            return Err(EINVAL);
        }
        let existing = dir.children().lock().get(name).cloned();
        match (existing, entry.mode & mode::S_IFMT) {
            (Some(old), mode::S_IFDIR) if old.inode().is_dir() => {
                set_attributes(&old, entry);
                return Ok(());
            }
            (Some(old), _) if old.inode().is_dir() => return Err(EEXIST),
            (Some(old), _) => dir.inode().ops().unlink(&dir, &old)?,
            (None, _) => {}
        }
        match entry.mode & mode::S_IFMT {
            mode::S_IFREG if entry.nlink > 1 => return self.add_link(&dir, name, entry),
            mode::S_IFLNK => {
                dir.inode().ops().symlink(&dir, name, entry.data)?;
                let made = dir.children().lock().get(name).cloned().ok_or(ENOENT)?;
                set_attributes(&made, entry);
            }
            _ => {
                let made = ramfs::add(&dir, name, entry.mode, entry.rdev)?;
                fill(&made, entry)?;
            }
        }
        Ok(())
    }

    /// One of several names of a file: the first makes it, and whichever carries the data
    /// fills it.
    fn add_link(&mut self, dir: &Arc<Dentry>, name: &[u8], entry: &Entry<'_>) -> Result<()> {
        let names = self.links.entry((entry.dev, entry.ino)).or_default();
        let made = match names.first() {
            Some(first) => {
                dir.inode().ops().link(dir, name, first.inode())?;
                dir.children().lock().get(name).cloned().ok_or(ENOENT)?
            }
            None => ramfs::add(dir, name, entry.mode, entry.rdev)?,
        };
        names.push(made.clone());
        fill(&made, entry)
    }
}

/// The directory at `parts`, made where it is missing.
fn directory(parts: &[&[u8]]) -> Result<Arc<Dentry>> {
    let mut dir = ROOT.get().clone();
    for part in parts {
        let found = dir.children().lock().get(*part).cloned();
        dir = match found {
            Some(found) if found.inode().is_dir() => found,
            Some(_) => return Err(ENOTDIR),
            None => ramfs::add(&dir, part, mode::S_IFDIR | 0o755, (0, 0))?,
        };
    }
    Ok(dir)
}

fn fill(made: &Arc<Dentry>, entry: &Entry<'_>) -> Result<()> {
    if let Some(mapping) = made.inode().mapping().filter(|_| !entry.data.is_empty()) {
        let mut done = 0;
        while done < entry.data.len() {
            done += mapping.write(done as u64, &entry.data[done..])?;
        }
    }
    set_attributes(made, entry);
    Ok(())
}

fn set_attributes(made: &Arc<Dentry>, entry: &Entry<'_>) {
    let time = Timespec { sec: entry.mtime.into(), nsec: 0 };
    made.inode().update(|a| {
        a.mode = entry.mode;
        (a.uid, a.gid) = (entry.uid, entry.gid);
        (a.atime, a.mtime, a.ctime) = (time, time, time);
    });
}
