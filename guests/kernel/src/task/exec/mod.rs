//! `execve`: one program replaces another.

mod args;
mod binfmt_elf;
mod binfmt_script;

use alloc::{sync::Arc, vec::Vec};

use abi::{
    errno::{EACCES, ELOOP, ENOEXEC, ETXTBSY, Result},
    stat::mode,
};

pub use args::Strings;

use super::{
    current, exit, sched,
    signal::{self, AltStack, SIGSEGV, SigHand, SigInfo},
};
use crate::{
    arch::PtRegs,
    fs::{
        Dentry, File,
        file::o,
        namei::{self, Last},
    },
    mm::MmRef,
};

/// Bytes of a file that decide its format.
const BINPRM_BUF_SIZE: usize = 256;
/// Scripts whose interpreters are scripts.
const MAX_INTERPRETERS: u32 = 5;

/// A program's file: while it is executed nobody may open it for writing.
pub struct ExeFile(Arc<File>);

impl ExeFile {
    /// Opens a program: EACCES if it is none, ETXTBSY while somebody writes it.
    fn open(dentry: Arc<Dentry>) -> Result<Arc<Self>> {
        let inode = dentry.inode().clone();
        if inode.kind() != mode::S_IFREG {
            return Err(EACCES);
        }
        inode.permission(1, current().fsuid_gid())?;
        let file = File::open(dentry, o::RDONLY)?;
        let mut writers = inode.write_count.lock();
        if *writers > 0 {
            return Err(ETXTBSY);
        }
        *writers -= 1;
        Ok(Arc::new(ExeFile(file)))
    }

    /// The open file.
    pub fn file(&self) -> &Arc<File> {
        &self.0
    }
}

impl Drop for ExeFile {
    fn drop(&mut self) {
        *self.0.inode().write_count.lock() += 1;
    }
}

/// `linux_binprm`: a program on its way.
pub struct Binprm {
    /// The file whose format counts: of a script its interpreter.
    exe: Arc<ExeFile>,
    /// Its first bytes, zeros behind the end.
    buf: [u8; BINPRM_BUF_SIZE],
    argv: Strings,
    envp: Strings,
    /// The path as given to `execve`, for AT_EXECFN.
    filename: Vec<u8>,
    /// What the format's code opens: of a script the script, then its interpreter.
    interp: Vec<u8>,
}

impl Binprm {
    fn set_exe(&mut self, exe: Arc<ExeFile>) -> Result<()> {
        self.exe = exe;
        self.buf = [0; BINPRM_BUF_SIZE];
        self.exe.file().kernel_read(0, &mut self.buf).map(drop)
    }
}

/// Replaces the running program by the file that `filename` names. On success `regs` are
/// those of the new program's start.
pub fn do_execve(
    start: Option<&Arc<Dentry>>,
    filename: Vec<u8>,
    last: Last,
    argv: Strings,
    envp: Strings,
    regs: &mut PtRegs,
) -> Result<()> {
    let dentry = namei::lookup_from(start, &filename, last)?;
    if dentry.inode().kind() == mode::S_IFLNK {
        return Err(ELOOP);
    }
    let exe = ExeFile::open(dentry)?;
    let interp = filename.clone();
    let mut bprm = Binprm { exe: exe.clone(), buf: [0; BINPRM_BUF_SIZE], argv, envp, filename, interp };
    bprm.set_exe(exe)?;
    for _ in 0..=MAX_INTERPRETERS {
        if !bprm.buf.starts_with(b"#!") {
            return binfmt_elf::load(&mut bprm, regs);
        }
        binfmt_script::load(&mut bprm)?;
    }
    Err(ELOOP)
}

/// The point of no return: the old program's threads, memory, handlers and descriptors go.
/// From here on a failure ends the process.
fn begin_new_exec(bprm: &Binprm, mm: &MmRef) -> Result<()> {
    exit::de_thread()?;
    let task = current();
    exit::mm_release();
    let old = task.set_mm(Some(mm.clone()));
    sched::activate_mm(Some(mm));
    drop(old);
    *task.exe.lock() = Some(bprm.exe.clone());

    // Handlers may be shared with another process: this one gets its own.
    let own = SigHand::copy_of(&task.sighand());
    own.lock().flush();
    task.set_sighand(own);
    task.signals.lock().altstack = AltStack::default();
    super::posix_timer::delete_all(task.signal());
    task.signal().state.lock().did_exec = true;

    let files = task.files();
    let own = Arc::new(crate::sync::SpinLock::new(files.lock().clone()));
    let closing = own.lock().take_cloexec();
    drop(task.set_files(own));
    drop(files);
    drop(closing);

    let name = bprm.filename.rsplit(|&b| b == b'/').next().unwrap_or_default();
    task.set_comm(name);
    task.with_thread(|thread| thread.flush());
    Ok(())
}

/// What ends a process whose new program failed half-way.
fn fail_after_point_of_no_return() {
    signal::force_sig(SigInfo::kernel(SIGSEGV));
}

/// ENOEXEC unless a file begins as long as an ELF header.
fn read_whole(file: &File, pos: u64, buffer: &mut [u8]) -> Result<()> {
    if file.kernel_read(pos, buffer)? < buffer.len() { Err(ENOEXEC) } else { Ok(()) }
}
