//! `/sys`: the CPUs of the machine (`/sys/devices/system/cpu`), by which programs count them.

use alloc::{boxed::Box, format, sync::Arc, vec::Vec};

use abi::{
    errno::{ENOENT, ENOTDIR, Result},
    out,
    out::{Out, render},
    proc::cpumask,
    stat::mode,
};

use super::{
    Dentry, Dest, DirContext, File, FileOps, Inode, InodeOps, SuperBlock, file::DirFile, inode::Attr,
    super_block::minor,
};
use crate::{
    arch::{
        percpu::{NR_CPUS, per_cpu},
        smp,
    },
    sync::Once,
};

/// `f_type` of sysfs.
const SYSFS_MAGIC: u32 = 0x6265_6572;

static SUPER_BLOCK: Once<Arc<SuperBlock>> = Once::new();

/// A directory whose names are fixed, but for those of CPUs.
struct Dir {
    number: u32,
    dirs: &'static [(&'static str, &'static Dir)],
    files: &'static [SystemFile],
    /// Whether each CPU has a directory here.
    has_cpus: bool,
}

/// A file about all CPUs: its name and what writes it.
type SystemFile = (&'static str, fn(&mut dyn Out));
/// A file about one CPU.
type CpuFile = (&'static str, fn(&mut dyn Out, u32));

static ROOT: Dir = Dir { number: 1, dirs: &[("devices", &DEVICES)], files: &[], has_cpus: false };
static DEVICES: Dir = Dir { number: 2, dirs: &[("system", &SYSTEM)], files: &[], has_cpus: false };
static SYSTEM: Dir = Dir { number: 3, dirs: &[("cpu", &CPU)], files: &[], has_cpus: false };
static CPU: Dir = Dir { number: 4, dirs: &[], files: &CPU_FILES, has_cpus: true };

static CPU_FILES: [SystemFile; 5] = [
    ("kernel_max", |out| out!(out, "{}", NR_CPUS - 1)),
    ("offline", |out| cpumask::list(out, smp::possible_mask() & !smp::online_mask())),
    ("online", |out| cpumask::list(out, smp::online_mask())),
    ("possible", |out| cpumask::list(out, smp::possible_mask())),
    ("present", |out| cpumask::list(out, smp::possible_mask())),
];

/// Each CPU is a package of its own, with one core that has one thread.
static TOPOLOGY: [CpuFile; 10] = [
    ("core_cpus", own_mask),
    ("core_cpus_list", own_list),
    ("core_id", |out, _| out!(out, "0")),
    ("core_siblings", own_mask),
    ("core_siblings_list", own_list),
    ("package_cpus", own_mask),
    ("package_cpus_list", own_list),
    ("physical_package_id", |out, cpu| out!(out, "{}", per_cpu(cpu).apic_id())),
    ("thread_siblings", own_mask),
    ("thread_siblings_list", own_list),
];

fn own_mask(out: &mut dyn Out, cpu: u32) {
    cpumask::mask(out, 1 << cpu, smp::possible_mask());
}

fn own_list(out: &mut dyn Out, cpu: u32) {
    cpumask::list(out, 1 << cpu);
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Node {
    Dir(&'static Dir),
    /// A file of a directory, by its place there.
    File(&'static Dir, usize),
    /// `cpuN`
    Cpu(u32),
    /// `cpuN/topology`
    Topology(u32),
    /// A file there, by its place.
    TopologyFile(u32, usize),
}

/// Makes the file system; returns its root.
pub fn new_fs() -> Arc<Dentry> {
    let sb = SUPER_BLOCK
        .try_get()
        .unwrap_or_else(|| SUPER_BLOCK.set(SuperBlock::new("sysfs", SYSFS_MAGIC, minor::SYSFS, 1)));
    Dentry::new(None, b"", inode_of(sb, Node::Dir(&ROOT)))
}

fn inode_of(sb: &Arc<SuperBlock>, node: Node) -> Arc<Inode> {
    let (mode, nlink) = if node.is_dir() { (mode::S_IFDIR | 0o755, 2) } else { (mode::S_IFREG | 0o444, 1) };
    let now = super::now();
    let attr = Attr { mode, nlink, atime: now, mtime: now, ctime: now, ..Attr::default() };
    Inode::with_ino(sb, node.ino(), attr, None, Box::new(SysInode(node)))
}

impl Node {
    fn is_dir(&self) -> bool {
        matches!(self, Node::Dir(_) | Node::Cpu(_) | Node::Topology(_))
    }

    fn ino(&self) -> u32 {
        match *self {
            Node::Dir(dir) => dir.number,
            Node::File(dir, at) => 0x100 * dir.number + at as u32,
            Node::Cpu(cpu) => 0x1000 + 0x20 * cpu,
            Node::Topology(cpu) => 0x1001 + 0x20 * cpu,
            Node::TopologyFile(cpu, at) => 0x1002 + 0x20 * cpu + at as u32,
        }
    }

    /// The names in a directory. ENOTDIR.
    fn list(&self) -> Result<Vec<(Vec<u8>, Node)>> {
        match *self {
            Node::Dir(dir) => {
                let dirs = dir.dirs.iter().map(|&(name, dir)| (name.into(), Node::Dir(dir)));
                let cpus = if dir.has_cpus { smp::possible_mask() } else { 0 };
                let cpus = (0..NR_CPUS as u32).filter(|cpu| cpus & 1 << cpu != 0);
                let cpus = cpus.map(|cpu| (format!("cpu{cpu}").into_bytes(), Node::Cpu(cpu)));
                let files = dir.files.iter().enumerate().map(|(at, (name, _))| ((*name).into(), Node::File(dir, at)));
                Ok(dirs.chain(cpus).chain(files).collect())
            }
            // What is known of a CPU it has said itself.
            Node::Cpu(cpu) if !smp::is_online(cpu) => Ok(Vec::new()),
            Node::Cpu(cpu) => Ok(alloc::vec![(b"topology".to_vec(), Node::Topology(cpu))]),
            Node::Topology(cpu) => {
                let files = TOPOLOGY.iter().enumerate();
                Ok(files.map(|(at, (name, _))| ((*name).into(), Node::TopologyFile(cpu, at))).collect())
            }
            _ => Err(ENOTDIR),
        }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = render(|out| match *self {
            Node::File(dir, at) => dir.files[at].1(out),
            Node::TopologyFile(cpu, at) => TOPOLOGY[at].1(out, cpu),
            _ => {}
        });
        text.push(b'\n');
        text
    }
}

/// An inode of `/sys`.
struct SysInode(Node);

impl InodeOps for SysInode {
    fn lookup(&self, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let node = self.0.list()?.into_iter().find(|(known, _)| known == name).map(|(_, node)| node).ok_or(ENOENT)?;
        Ok(Dentry::new(Some(dir), name, inode_of(dir.inode().sb(), node)))
    }

    fn open(&self, _inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        Ok(if self.0.is_dir() { Arc::new(SysDir(self.0)) } else { Arc::new(SysFile(self.0.text())) })
    }

    fn size(&self) -> u64 {
        // As in Linux, a file says a page, and a directory nothing.
        if self.0.is_dir() { 0 } else { 4096 }
    }
}

/// An open directory.
struct SysDir(Node);

impl FileOps for SysDir {
    fn read(&self, file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        DirFile.read(file, dest, pos)
    }

    fn readdir(&self, file: &File, ctx: &mut DirContext<'_>) -> Result<()> {
        if !ctx.dots(file.dentry()) {
            return Ok(());
        }
        let from = ctx.pos() as usize - 2;
        for (name, node) in self.0.list()?.into_iter().skip(from) {
            let kind = if node.is_dir() { mode::S_IFDIR } else { mode::S_IFREG };
            if !ctx.emit(&name, node.ino(), kind) {
                break;
            }
        }
        Ok(())
    }
}

/// An open file, with its text as it was then.
struct SysFile(Vec<u8>);

impl FileOps for SysFile {
    fn read(&self, _file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        let rest = self.0.get(*pos as usize..).unwrap_or_default();
        let count = if rest.is_empty() || dest.remaining() == 0 { 0 } else { dest.put(rest)? };
        *pos += count as u64;
        Ok(count)
    }
}
