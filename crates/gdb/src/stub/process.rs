//! The guest's process as gdb sees it: its files, its program, its auxiliary vector.

use std::collections::BTreeMap;

use gdbstub::common::Pid;
use gdbstub::target::ext::auxv::Auxv;
use gdbstub::target::ext::exec_file::ExecFile;
use gdbstub::target::ext::host_io::{
    FsKind, HostIo, HostIoClose, HostIoCloseOps, HostIoErrno, HostIoError, HostIoFstat, HostIoFstatOps, HostIoOpen,
    HostIoOpenFlags, HostIoOpenMode, HostIoOpenOps, HostIoPread, HostIoPreadOps, HostIoReadlink, HostIoReadlinkOps,
    HostIoResult, HostIoSetfs, HostIoSetfsOps, HostIoStat,
};
use gdbstub::target::{TargetError, TargetResult};

use super::{Stub, slice_into};

/// Files that gdb may have open at once.
const MAX_OPEN: usize = 64;
/// The kernel's image, under the name by which gdb is told of it.
pub const VMLINUX: &str = "/boot/vmlinux";
/// gdb's number for the one process that it sees; which process of the guest that is, is
/// chosen by `monitor proc`.
const GDB_PID: u32 = 1;

/// Files opened by gdb: their contents at that time.
#[derive(Default)]
pub struct OpenFiles {
    files: BTreeMap<u32, Vec<u8>>,
}

impl OpenFiles {
    fn open(&mut self, contents: Vec<u8>) -> Option<u32> {
        if self.files.len() == MAX_OPEN {
            return None;
        }
        let fd = (0..).find(|fd| !self.files.contains_key(fd))?;
        self.files.insert(fd, contents);
        Some(fd)
    }
}

impl Stub<'_> {
    /// The file whose symbols gdb is to load: the program that is debugged, or the kernel.
    pub(super) fn exec_file(&self) -> Option<Vec<u8>> {
        let kernel = self.machine.boot_images().kernel().map(|_| VMLINUX.as_bytes().to_vec());
        self.setup.program.clone().or(kernel)
    }

    /// A file of the guest by its path: of `/proc`, the kernel's image, or what the host knows.
    fn guest_file(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        if path == VMLINUX.as_bytes() {
            return self.machine.boot_images().kernel().map(|image| image.bytes.clone());
        }
        if let Some((pid, name)) = std::str::from_utf8(path).ok().and_then(split_proc) {
            // A link to the program itself is a file like any other.
            let contents = self.process_file(pid, name)?;
            return if name == "exe" { self.keeper.file(self.machine, &contents) } else { Some(contents) };
        }
        self.keeper.file(self.machine, path)
    }

    /// The auxiliary vector of the program that is to run, as far as its file tells it. gdb
    /// asks once, when it connects, and never again: before the process exists.
    fn expected_auxv(&self) -> Option<Vec<u8>> {
        let program = self.setup.program.as_ref()?;
        auxv_of_elf(&self.keeper.file(self.machine, program)?)
    }

    fn process_file(&self, pid: u32, name: &str) -> Option<Vec<u8>> {
        let pid = if pid == GDB_PID { self.viewed_process().unwrap_or(pid) } else { pid };
        inspect::process_file(&self.target(), pid, name).ok().flatten()
    }
}

/// What exec will say of an ELF program at its linked address.
fn auxv_of_elf(bytes: &[u8]) -> Option<Vec<u8>> {
    use goblin::elf::program_header::PT_LOAD;
    const AT_NULL: u32 = 0;
    const AT_PHDR: u32 = 3;
    const AT_PHENT: u32 = 4;
    const AT_PHNUM: u32 = 5;
    const AT_PAGESZ: u32 = 6;
    const AT_BASE: u32 = 7;
    const AT_FLAGS: u32 = 8;
    const AT_ENTRY: u32 = 9;
    let elf = goblin::elf::Elf::parse(bytes).ok()?;
    let headers = elf.header.e_phoff;
    let loads = elf.program_headers.iter().filter(|header| header.p_type == PT_LOAD);
    let holder = loads.into_iter().find(|load| load.file_range().contains(&(headers as usize)))?;
    let phdr = (headers - holder.p_offset + holder.p_vaddr) as u32;
    let rows = [
        (AT_PAGESZ, 4096),
        (AT_PHDR, phdr),
        (AT_PHENT, elf.header.e_phentsize.into()),
        (AT_PHNUM, elf.header.e_phnum.into()),
        (AT_BASE, 0),
        (AT_FLAGS, 0),
        (AT_ENTRY, elf.header.e_entry as u32),
        (AT_NULL, 0),
    ];
    Some(rows.iter().flat_map(|&(kind, value)| [kind, value]).flat_map(u32::to_le_bytes).collect())
}

/// `/proc/7/maps` and `/proc/7/task/7/maps` as 7 and `maps`.
fn split_proc(path: &str) -> Option<(u32, &str)> {
    let (pid, rest) = path.strip_prefix("/proc/")?.split_once('/')?;
    let name = match rest.strip_prefix("task/") {
        Some(task) => task.split_once('/')?.1,
        None => rest,
    };
    Some((pid.parse().ok()?, name))
}

impl HostIo for Stub<'_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }

    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }

    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }

    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }

    fn support_readlink(&mut self) -> Option<HostIoReadlinkOps<'_, Self>> {
        Some(self)
    }

    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Stub<'_> {
    fn open(&mut self, path: &[u8], flags: HostIoOpenFlags, _mode: HostIoOpenMode) -> HostIoResult<u32, Self> {
        let writes = HostIoOpenFlags::O_WRONLY | HostIoOpenFlags::O_RDWR | HostIoOpenFlags::O_CREAT;
        if flags.intersects(writes) {
            return Err(HostIoError::Errno(HostIoErrno::EROFS));
        }
        let contents = self.guest_file(path).ok_or(HostIoError::Errno(HostIoErrno::ENOENT))?;
        self.files.open(contents).ok_or(HostIoError::Errno(HostIoErrno::EMFILE))
    }
}

impl HostIoClose for Stub<'_> {
    fn close(&mut self, fd: u32) -> HostIoResult<(), Self> {
        self.files.files.remove(&fd).map(drop).ok_or(HostIoError::Errno(HostIoErrno::EBADF))
    }
}

impl HostIoPread for Stub<'_> {
    fn pread(&mut self, fd: u32, count: usize, offset: u64, buf: &mut [u8]) -> HostIoResult<usize, Self> {
        let contents = self.files.files.get(&fd).ok_or(HostIoError::Errno(HostIoErrno::EBADF))?;
        Ok(slice_into(contents, offset, count, buf))
    }
}

impl HostIoFstat for Stub<'_> {
    fn fstat(&mut self, fd: u32) -> HostIoResult<HostIoStat, Self> {
        let contents = self.files.files.get(&fd).ok_or(HostIoError::Errno(HostIoErrno::EBADF))?;
        Ok(HostIoStat {
            st_dev: 0,
            st_ino: 0,
            st_mode: HostIoOpenMode::S_IFREG | HostIoOpenMode::S_IRUSR,
            st_nlink: 1,
            st_uid: 0,
            st_gid: 0,
            st_rdev: 0,
            st_size: contents.len() as u64,
            st_blksize: 4096,
            st_blocks: contents.len().div_ceil(512) as u64,
            st_atime: 0,
            st_mtime: 0,
            st_ctime: 0,
        })
    }
}

impl HostIoReadlink for Stub<'_> {
    fn readlink(&mut self, path: &[u8], buf: &mut [u8]) -> HostIoResult<usize, Self> {
        let link = std::str::from_utf8(path).ok().and_then(split_proc);
        let to = match link {
            Some((pid, "exe")) => self.process_file(pid, "exe"),
            Some((pid, "cwd" | "root")) => self.process_file(pid, "comm").map(|_| b"/".to_vec()),
            _ => None,
        };
        let to = to.ok_or(HostIoError::Errno(HostIoErrno::EINVAL))?;
        Ok(slice_into(&to, 0, to.len(), buf))
    }
}

impl HostIoSetfs for Stub<'_> {
    fn setfs(&mut self, _fs: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}

impl ExecFile for Stub<'_> {
    fn get_exec_file(
        &self,
        _pid: Option<Pid>,
        offset: u64,
        length: usize,
        buf: &mut [u8],
    ) -> TargetResult<usize, Self> {
        let path = self.exec_file().ok_or(TargetError::NonFatal)?;
        Ok(slice_into(&path, offset, length, buf))
    }
}

impl Auxv for Stub<'_> {
    fn get_auxv(&self, offset: u64, length: usize, buf: &mut [u8]) -> TargetResult<usize, Self> {
        let known = self.process_file(GDB_PID, "auxv").filter(|auxv| !auxv.is_empty());
        let auxv = known.or_else(|| self.expected_auxv()).ok_or(TargetError::NonFatal)?;
        Ok(slice_into(&auxv, offset, length, buf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_paths_name_a_process_and_a_file() {
        assert_eq!(split_proc("/proc/7/maps"), Some((7, "maps")));
        assert_eq!(split_proc("/proc/7/task/9/maps"), Some((7, "maps")));
        assert_eq!(split_proc("/proc/self/maps"), None);
        assert_eq!(split_proc("/bin/sh"), None);
    }

    #[test]
    fn file_numbers_are_used_again_and_bounded() {
        let mut open = OpenFiles::default();
        assert_eq!((open.open(vec![1]), open.open(vec![2])), (Some(0), Some(1)));
        open.files.remove(&0);
        assert_eq!(open.open(vec![3]), Some(0));
        (2..MAX_OPEN).for_each(|_| assert!(open.open(Vec::new()).is_some()));
        assert_eq!(open.open(Vec::new()), None);
    }
}
