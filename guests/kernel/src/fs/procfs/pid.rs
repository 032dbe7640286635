//! `/proc/PID`.

use alloc::{format, sync::Arc, vec::Vec};

use abi::{
    errno::{EACCES, EINVAL, ENOENT, ENOTDIR, ESRCH, Result},
    proc::{
        areas::AreaPages,
        limits,
        pid_stat::{self, PidStat},
        status::{self, Status},
    },
    stat::mode,
};

use super::{gather::gather, maps, mem::Mem, page::WordFile, parse_number, system};
use crate::{
    drivers::tty,
    fs::{Dentry, FileOps},
    mm::{
        MmRef,
        remote::{MmHandle, read_remote_vm},
    },
    task::{TaskStruct, cred::mm_access, pid, rlimits::resource, task_struct::state},
};

/// The kinds of files below `/proc/PID`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum Kind {
    Dir = 0,
    Auxv,
    Cmdline,
    Comm,
    Cwd,
    Environ,
    Exe,
    FdDir,
    Limits,
    Maps,
    Mem,
    Mountinfo,
    Mounts,
    OomScoreAdj,
    Pagemap,
    Root,
    Smaps,
    SmapsRollup,
    Stat,
    Statm,
    Status,
    TaskDir,
    Wchan,
    /// A thread's own directory, below `task`.
    ThreadDir,
    /// A descriptor.
    Fd,
}

const ENTRIES: [(&[u8], Kind); 21] = [
    (b"auxv", Kind::Auxv),
    (b"cmdline", Kind::Cmdline),
    (b"comm", Kind::Comm),
    (b"cwd", Kind::Cwd),
    (b"environ", Kind::Environ),
    (b"exe", Kind::Exe),
    (b"fd", Kind::FdDir),
    (b"limits", Kind::Limits),
    (b"maps", Kind::Maps),
    (b"mem", Kind::Mem),
    (b"mountinfo", Kind::Mountinfo),
    (b"mounts", Kind::Mounts),
    (b"oom_score_adj", Kind::OomScoreAdj),
    (b"pagemap", Kind::Pagemap),
    (b"root", Kind::Root),
    (b"smaps", Kind::Smaps),
    (b"smaps_rollup", Kind::SmapsRollup),
    (b"stat", Kind::Stat),
    (b"statm", Kind::Statm),
    (b"status", Kind::Status),
    (b"wchan", Kind::Wchan),
];

/// A name below `/proc/PID`.
#[derive(Clone, Copy, Debug)]
pub struct PidNode {
    pid: u32,
    kind: Kind,
    fd: u32,
}

impl PidNode {
    /// `/proc/PID` itself.
    pub fn process(pid: u32) -> Self {
        PidNode { pid, kind: Kind::Dir, fd: 0 }
    }

    fn with(self, kind: Kind) -> Self {
        PidNode { kind, ..self }
    }

    /// Numbers that do not change between two looks.
    pub fn ino(&self) -> u32 {
        let low = if self.kind == Kind::Fd { 0x100 + self.fd } else { self.kind as u32 };
        (self.pid << 12) + low
    }

    /// Type and rights.
    pub fn mode(&self) -> u32 {
        match self.kind {
            Kind::Dir | Kind::TaskDir | Kind::ThreadDir => mode::S_IFDIR | 0o555,
            Kind::FdDir => mode::S_IFDIR | 0o500,
            Kind::Cwd | Kind::Exe | Kind::Root => mode::S_IFLNK | 0o777,
            Kind::Fd => mode::S_IFLNK | self.fd_rights(),
            Kind::Auxv | Kind::Environ | Kind::Pagemap => mode::S_IFREG | 0o400,
            Kind::Mem => mode::S_IFREG | 0o600,
            Kind::Comm | Kind::OomScoreAdj => mode::S_IFREG | 0o644,
            _ => mode::S_IFREG | 0o444,
        }
    }

    /// A link to a descriptor shows how it is open.
    fn fd_rights(&self) -> u32 {
        let Ok(file) = self.task().and_then(|t| t.files().lock().get(self.fd)) else { return 0o500 };
        (if file.readable() { 0o500 } else { 0o100 }) | if file.writable() { 0o300 } else { 0 }
    }

    /// The process's user and group; the superuser for files of a process that is marked as
    /// private (`task_dump_owner`).
    pub fn owner(&self) -> (u32, u32) {
        let Ok(task) = self.task() else { return (0, 0) };
        let is_private = self.kind != Kind::Dir && task.mm().is_some_and(|mm| !mm.is_dumpable());
        if is_private { (0, 0) } else { task.fsuid_gid() }
    }

    fn task(&self) -> Result<Arc<TaskStruct>> {
        pid::find(self.pid).ok_or(ESRCH)
    }

    /// The address space, for who opens a file that shows what is in it. EACCES, and ESRCH when
    /// the process is gone.
    fn open_mm(&self) -> Result<Option<MmRef>> {
        mm_access(&*self.task()?).map_err(|_| EACCES)
    }

    /// Whether the file may be opened: the process is there, and its address space is shown
    /// only to who may look into it.
    pub fn check_open(&self) -> Result<()> {
        match self.kind {
            Kind::Auxv | Kind::Environ | Kind::Maps | Kind::Smaps | Kind::SmapsRollup => self.open_mm().map(drop),
            _ => self.task().map(drop),
        }
    }

    /// A name in a directory.
    pub fn child(&self, name: &[u8]) -> Result<PidNode> {
        let task = self.task().map_err(|_| ENOENT)?;
        match self.kind {
            Kind::Dir if name == b"task" => Ok(self.with(Kind::TaskDir)),
            Kind::Dir | Kind::ThreadDir => {
                let found = ENTRIES.iter().find(|(entry, _)| *entry == name).ok_or(ENOENT)?;
                Ok(self.with(found.1))
            }
            Kind::TaskDir => {
                let number = parse_number(name).ok_or(ENOENT)?;
                pid::find(number).filter(|t| t.tgid() == task.tgid()).ok_or(ENOENT)?;
                Ok(PidNode { pid: number, kind: Kind::ThreadDir, fd: 0 })
            }
            Kind::FdDir => {
                let fd = parse_number(name).ok_or(ENOENT)?;
                task.files().lock().get(fd).map_err(|_| ENOENT)?;
                Ok(PidNode { fd, ..self.with(Kind::Fd) })
            }
            _ => Err(ENOTDIR),
        }
    }

    /// All names in a directory.
    pub fn list(&self) -> Result<Vec<(Vec<u8>, PidNode)>> {
        let task = self.task()?;
        let decimal = |number: u32| format!("{number}").into_bytes();
        Ok(match self.kind {
            Kind::Dir | Kind::ThreadDir => {
                let mut list: Vec<_> = ENTRIES.iter().map(|&(name, kind)| (name.to_vec(), self.with(kind))).collect();
                if self.kind == Kind::Dir {
                    list.push((b"task".to_vec(), self.with(Kind::TaskDir)));
                }
                list
            }
            Kind::TaskDir => {
                let threads = pid::threads(task.tgid());
                let node = |t: &Arc<TaskStruct>| PidNode { pid: t.pid(), kind: Kind::ThreadDir, fd: 0 };
                threads.iter().map(|t| (decimal(t.pid()), node(t))).collect()
            }
            Kind::FdDir => {
                let fds = task.files().lock().open_fds();
                fds.into_iter().map(|fd| (decimal(fd), PidNode { fd, ..self.with(Kind::Fd) })).collect()
            }
            _ => return Err(ENOTDIR),
        })
    }

    /// Where a link leads.
    pub fn link_target(&self) -> Result<Arc<Dentry>> {
        let task = self.task().map_err(|_| ENOENT)?;
        match self.kind {
            Kind::Cwd => Ok(task.fs().lock().pwd.clone()),
            Kind::Root => Ok(task.fs().lock().root.clone()),
            Kind::Exe => task.exe.lock().as_ref().map(|exe| exe.file().dentry().clone()).ok_or(ENOENT),
            Kind::Fd => task.files().lock().get(self.fd).map(|file| file.dentry().clone()).map_err(|_| ENOENT),
            _ => Err(EINVAL),
        }
    }

    /// The text of a file.
    pub fn text(&self) -> Result<Vec<u8>> {
        let task = self.task()?;
        let mm = task.mm();
        Ok(match self.kind {
            Kind::Auxv => mm.map_or(Vec::new(), |mm| mm.auxv.lock().clone()),
            Kind::Cmdline => mm.map_or(Vec::new(), |mm| range(&mm, |r| (r.arg_start, r.arg_end))),
            Kind::Environ => mm.map_or(Vec::new(), |mm| range(&mm, |r| (r.env_start, r.env_end))),
            Kind::Comm => format!("{}\n", task.comm()).into_bytes(),
            Kind::Limits => gather(|out| {
                let all = *task.signal().rlimits.lock();
                limits::write(out, all.0.map(|limit| [limit.cur, limit.max]));
            }),
            Kind::Maps => mm.map_or(Vec::new(), |mm| gather(|out| maps::show_maps(&mm, out))),
            Kind::Smaps => mm.map_or(Vec::new(), |mm| gather(|out| maps::show_smaps(&mm, out))),
            Kind::SmapsRollup => mm.map_or(Vec::new(), |mm| gather(|out| maps::show_rollup(&mm, out))),
            Kind::Mountinfo => gather(system::mountinfo),
            Kind::Mounts => gather(system::mounts),
            Kind::OomScoreAdj | Kind::Wchan => b"0\n".to_vec(),
            // What they show is taken inside the pass, so that the host shows the same.
            Kind::Stat => gather(|out| {
                let (whole, more) = self.stat(&task);
                pid_stat::stat(out, &whole, mm.as_ref().map(|mm| mm.snapshot()).as_ref(), &more);
            }),
            Kind::Statm => gather(|out| {
                let record = mm.as_ref().map(|mm| mm.snapshot());
                pid_stat::statm(out, record.as_ref(), &mm.as_ref().map(area_pages).unwrap_or_default());
            }),
            Kind::Status => gather(|out| {
                let more = self.status(&task, mm.as_ref());
                status::write(out, &task.record().get(), mm.as_ref().map(|mm| mm.snapshot()).as_ref(), &more);
            }),
            _ => return Err(EINVAL),
        })
    }

    /// The record with the time of all threads, and what else `stat` tells.
    fn stat(&self, task: &Arc<TaskStruct>) -> (abi::books::TaskRecord, PidStat) {
        let mut record = task.record().get();
        record.tgid = record.pid;
        let group = task.signal().state.lock();
        let (children, dead, exit_code) = (group.children, group.dead_threads, group.exit_code);
        let shared_pending = group.pending.set();
        drop(group);
        if self.kind == Kind::Stat && task.is_leader() {
            let mut time = dead;
            pid::threads(task.tgid()).iter().for_each(|t| time += t.cpu_time());
            (record.utime_ns, record.stime_ns) = (abi::U64::new(time.user_ns), abi::U64::new(time.system_ns));
        }
        let (ignored, caught) = task.sighand().lock().ignored_and_caught();
        let signals = task.signals.lock();
        let low = |set: u64| set as u32;
        let zombie = record.state == state::ZOMBIE;
        let more = PidStat {
            tpgid: tty::tpgid(task),
            flags: 0x40_0000,
            nice: task.nice.load(core::sync::atomic::Ordering::Relaxed),
            cmin_flt: children.min_flt,
            cmaj_flt: children.maj_flt,
            cutime_ns: children.time.user_ns,
            cstime_ns: children.time.system_ns,
            rss_limit: task.rlimit(resource::RSS),
            signals: [low(signals.pending.set() | shared_pending), low(signals.blocked), low(ignored), low(caught)],
            exit_signal: task.exit_signal.load(core::sync::atomic::Ordering::Relaxed),
            exit_code: if zombie { exit_code.map_or(record.exit_code, |c| c as u32) } else { 0 },
            ..PidStat::default()
        };
        (record, more)
    }

    fn status(&self, task: &Arc<TaskStruct>, mm: Option<&MmRef>) -> Status {
        let cred = task.cred.lock().clone();
        let shared = task.signal().state.lock().pending.set();
        let (ignored, caught) = task.sighand().lock().ignored_and_caught();
        let (pending, blocked, queued) = {
            let signals = task.signals.lock();
            (signals.pending.set(), signals.blocked, signals.pending.count())
        };
        Status {
            umask: task.fs().lock().umask,
            uids: [cred.uid, cred.euid, cred.suid, cred.euid],
            gids: [cred.gid, cred.egid, cred.sgid, cred.egid],
            fd_size: task.files().lock().capacity(),
            sig_queued: queued,
            sig_limit: task.rlimit(resource::SIGPENDING),
            sig_pnd: pending,
            shd_pnd: shared,
            sig_blk: blocked,
            sig_ign: ignored,
            sig_cgt: caught,
            voluntary_switches: task.nvcsw.load(core::sync::atomic::Ordering::Relaxed),
            nonvoluntary_switches: task.nivcsw.load(core::sync::atomic::Ordering::Relaxed),
            nr_cpus: crate::arch::smp::num_online_cpus(),
            areas: mm.map(area_pages).unwrap_or_default(),
        }
    }

    /// `mem`, which is no text.
    pub fn special_file(&self) -> Result<Option<Arc<dyn FileOps>>> {
        Ok(match self.kind {
            Kind::Mem => Some(Arc::new(Mem(self.open_mm()?.map(|mm| MmHandle::new(&mm))))),
            Kind::Pagemap => Some(Arc::new(WordFile::Pagemap(self.open_mm()?.map(|mm| MmHandle::new(&mm))))),
            _ => None,
        })
    }

    /// Takes what is written to a file.
    pub fn store(&self, text: &[u8]) -> Result<()> {
        match self.kind {
            Kind::Comm => {
                self.task()?.set_comm(text.strip_suffix(b"\n").unwrap_or(text));
                Ok(())
            }
            // Who is killed first is decided by size alone; a wish is taken without effect.
            Kind::OomScoreAdj => {
                let number = core::str::from_utf8(text.trim_ascii()).ok().and_then(|t| t.parse::<i32>().ok());
                if number.is_some_and(|n| (-1000..=1000).contains(&n)) { Ok(()) } else { Err(EINVAL) }
            }
            _ => Err(EACCES),
        }
    }
}

fn area_pages(mm: &MmRef) -> AreaPages {
    let mut pages = AreaPages::default();
    mm.lock().for_each_area(|area| pages.add(area));
    pages
}

/// The bytes of a range that the address space's record names.
fn range(mm: &MmRef, which: impl Fn(&abi::books::MmRecord) -> (u32, u32)) -> Vec<u8> {
    let (start, end) = which(&mm.snapshot());
    let mut bytes = alloc::vec![0; end.saturating_sub(start) as usize];
    let count = read_remote_vm(mm, start, &mut bytes, true);
    bytes.truncate(count);
    bytes
}
