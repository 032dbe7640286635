//! `/proc`. Names are looked up anew each time; a file's text is made when it is read from
//! the beginning.

mod gather;
mod irq;
mod maps;
mod mem;
mod names;
mod page;
mod pid;
mod sys;
mod system;

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use abi::{
    errno::{EINVAL, ENOENT, Result},
    stat::mode,
};

pub use names::inode_of;

use self::{irq::IrqNode, pid::PidNode, sys::SysDir};
use super::{
    Dentry, Dest, DirContext, File, FileOps, Inode, InodeOps, SuperBlock, file::DirFile, inode::Attr,
    super_block::minor,
};
use crate::{
    sync::{Once, SpinLock},
    task::{current, pid as pids},
};

/// `f_type` of procfs.
const PROC_SUPER_MAGIC: u32 = 0x9fa0;
/// First number of the files that belong to no process.
const PROC_DYNAMIC_FIRST: u32 = 0xf000_0000;

static SUPER_BLOCK: Once<Arc<SuperBlock>> = Once::new();

/// What a name in `/proc` stands for.
#[derive(Clone, Copy)]
pub(crate) enum Node {
    /// `/proc` itself.
    Root,
    /// A file about the whole system.
    System(&'static system::Entry),
    /// `self` and `thread-self`.
    SelfLink,
    ThreadSelf,
    /// `mounts`, which leads to `self/mounts`.
    Mounts,
    /// `tty`, with a file that names the drivers of terminals.
    TtyDir,
    TtyDrivers,
    /// `/proc/sys` and below.
    Sys(&'static SysDir),
    SysFile(&'static sys::Entry),
    /// `/proc/irq` and below.
    Irq(IrqNode),
    /// `/proc/PID` and below.
    Pid(PidNode),
}

/// Makes the file system; returns its root.
pub fn new_fs() -> Arc<Dentry> {
    let sb = SUPER_BLOCK
        .try_get()
        .unwrap_or_else(|| SUPER_BLOCK.set(SuperBlock::new("proc", PROC_SUPER_MAGIC, minor::PROC, 1)));
    let root = Node::Root;
    let attr = attributes(&root);
    Dentry::new(None, b"", Inode::with_ino(sb, root.ino(), attr, None, Box::new(ProcInode(root))))
}

fn attributes(node: &Node) -> Attr {
    let mode = node.mode();
    let (uid, gid) = node.owner();
    let nlink = if mode & mode::S_IFMT == mode::S_IFDIR { 2 } else { 1 };
    let now = super::now();
    Attr { mode, nlink, uid, gid, atime: now, mtime: now, ctime: now, ..Attr::default() }
}

impl Node {
    fn ino(&self) -> u32 {
        match self {
            Node::Root => 1,
            Node::SelfLink => PROC_DYNAMIC_FIRST,
            Node::ThreadSelf => PROC_DYNAMIC_FIRST + 1,
            Node::Mounts => PROC_DYNAMIC_FIRST + 2,
            Node::TtyDir => PROC_DYNAMIC_FIRST + 3,
            Node::TtyDrivers => PROC_DYNAMIC_FIRST + 4,
            Node::System(entry) => PROC_DYNAMIC_FIRST + 16 + system::index(entry),
            Node::Sys(dir) => PROC_DYNAMIC_FIRST + 0x100 + dir.number,
            Node::SysFile(entry) => PROC_DYNAMIC_FIRST + 0x200 + entry.number,
            Node::Irq(node) => PROC_DYNAMIC_FIRST + 0x300 + node.number(),
            Node::Pid(node) => node.ino(),
        }
    }

    fn mode(&self) -> u32 {
        match self {
            Node::Root | Node::Sys(_) | Node::TtyDir => mode::S_IFDIR | 0o555,
            Node::TtyDrivers => mode::S_IFREG | 0o444,
            Node::SelfLink | Node::ThreadSelf | Node::Mounts => mode::S_IFLNK | 0o777,
            Node::System(entry) => mode::S_IFREG | entry.mode,
            Node::SysFile(entry) => mode::S_IFREG | entry.mode(),
            Node::Irq(node) if node.is_dir() => mode::S_IFDIR | node.mode(),
            Node::Irq(node) => mode::S_IFREG | node.mode(),
            Node::Pid(node) => node.mode(),
        }
    }

    fn owner(&self) -> (u32, u32) {
        match self {
            Node::Pid(node) => node.owner(),
            _ => (0, 0),
        }
    }

    fn child(&self, name: &[u8]) -> Result<Node> {
        match self {
            Node::Root => root_child(name),
            Node::Sys(dir) => sys::child(dir, name),
            Node::TtyDir if name == b"drivers" => Ok(Node::TtyDrivers),
            Node::TtyDir => Err(ENOENT),
            Node::Irq(node) => node.child(name).map(Node::Irq),
            Node::Pid(node) => node.child(name).map(Node::Pid),
            _ => Err(abi::errno::ENOTDIR),
        }
    }

    /// The names in a directory from an offset on: offset, name and node.
    fn list(&self, from: u64) -> Result<Vec<(u64, Vec<u8>, Node)>> {
        match self {
            Node::Root => Ok(root_list(from)),
            Node::Sys(dir) => Ok(number(sys::list(dir), from)),
            Node::TtyDir => Ok(number(alloc::vec![(b"drivers".to_vec(), Node::TtyDrivers)], from)),
            Node::Irq(node) => Ok(number(node.list()?.into_iter().map(|(n, i)| (n, Node::Irq(i))).collect(), from)),
            Node::Pid(node) => Ok(number(node.list()?.into_iter().map(|(n, p)| (n, Node::Pid(p))).collect(), from)),
            _ => Err(abi::errno::ENOTDIR),
        }
    }

    fn text(&self) -> Result<Vec<u8>> {
        match self {
            Node::System(entry) if entry.words.is_some() => Err(EINVAL),
            Node::System(entry) => Ok(gather::gather(entry.show)),
            Node::SysFile(entry) => Ok(entry.text()),
            Node::TtyDrivers => Ok(gather::gather(system::tty_drivers)),
            Node::Irq(node) => Ok(node.text()),
            Node::Pid(node) => node.text(),
            _ => Err(EINVAL),
        }
    }
}

/// Gives the entries of a directory offsets from 2 on.
fn number(entries: Vec<(Vec<u8>, Node)>, from: u64) -> Vec<(u64, Vec<u8>, Node)> {
    entries.into_iter().zip(2..).filter(|&(_, at)| at >= from).map(|((name, node), at)| (at, name, node)).collect()
}

fn root_child(name: &[u8]) -> Result<Node> {
    match name {
        b"self" => return Ok(Node::SelfLink),
        b"thread-self" => return Ok(Node::ThreadSelf),
        b"mounts" => return Ok(Node::Mounts),
        b"irq" => return Ok(Node::Irq(IrqNode::Root)),
        b"sys" => return Ok(Node::Sys(&sys::ROOT)),
        b"tty" => return Ok(Node::TtyDir),
        _ => {}
    }
    if let Some(entry) = system::find(name) {
        return Ok(Node::System(entry));
    }
    let pid = parse_number(name).ok_or(ENOENT)?;
    pids::find(pid).ok_or(ENOENT)?;
    Ok(Node::Pid(PidNode::process(pid)))
}

/// A number without superfluous zeros.
fn parse_number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Processes are listed by their numbers, so that none is skipped when others come or go.
const FIRST_PID_OFFSET: u64 = 256;

fn root_list(from: u64) -> Vec<(u64, Vec<u8>, Node)> {
    let mut fixed: Vec<(Vec<u8>, Node)> = system::entries().map(|e| (e.name.into(), Node::System(e))).collect();
    fixed.push((b"irq".to_vec(), Node::Irq(IrqNode::Root)));
    fixed.push((b"mounts".to_vec(), Node::Mounts));
    fixed.push((b"self".to_vec(), Node::SelfLink));
    fixed.push((b"sys".to_vec(), Node::Sys(&sys::ROOT)));
    fixed.push((b"thread-self".to_vec(), Node::ThreadSelf));
    fixed.push((b"tty".to_vec(), Node::TtyDir));
    let mut all = number(fixed, from);
    for task in pids::select(|t| t.is_leader() && u64::from(t.pid()) + FIRST_PID_OFFSET >= from) {
        let pid = task.pid();
        let name = alloc::format!("{pid}").into_bytes();
        all.push((u64::from(pid) + FIRST_PID_OFFSET, name, Node::Pid(PidNode::process(pid))));
    }
    all
}

/// An inode of `/proc`.
struct ProcInode(Node);

impl InodeOps for ProcInode {
    fn lookup(&self, dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
        let node = self.0.child(name)?;
        let inode = Inode::with_ino(dir.inode().sb(), node.ino(), attributes(&node), None, Box::new(ProcInode(node)));
        Ok(Dentry::new(Some(dir), name, inode))
    }

    fn readlink(&self) -> Result<Vec<u8>> {
        match &self.0 {
            Node::SelfLink => Ok(alloc::format!("{}", current().tgid()).into_bytes()),
            Node::ThreadSelf => Ok(alloc::format!("{}/task/{}", current().tgid(), current().pid()).into_bytes()),
            Node::Mounts => Ok(b"self/mounts".to_vec()),
            Node::Pid(node) => node.link_target().map(|dentry| dentry.path()),
            _ => Err(EINVAL),
        }
    }

    fn magic_target(&self) -> Option<Result<Arc<Dentry>>> {
        match &self.0 {
            Node::Pid(node) if node.mode() & mode::S_IFMT == mode::S_IFLNK => Some(node.link_target()),
            _ => None,
        }
    }

    fn open(&self, inode: &Arc<Inode>, _flags: u32) -> Result<Arc<dyn FileOps>> {
        match self.0.mode() & mode::S_IFMT {
            mode::S_IFDIR => Ok(Arc::new(ProcDir(self.0))),
            mode::S_IFREG => {
                let _ = inode;
                if let Node::System(system::Entry { words: Some(words), .. }) = &self.0 {
                    return Ok(words());
                }
                if let Node::Pid(node) = &self.0 {
                    node.check_open()?;
                    if let Some(ops) = node.special_file()? {
                        return Ok(ops);
                    }
                }
                Ok(Arc::new(ProcFile { node: self.0, text: SpinLock::new(None) }))
            }
            _ => Err(abi::errno::ELOOP),
        }
    }
}

/// An open directory.
struct ProcDir(Node);

impl FileOps for ProcDir {
    fn read(&self, file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        DirFile.read(file, dest, pos)
    }

    fn readdir(&self, file: &File, ctx: &mut DirContext<'_>) -> Result<()> {
        if !ctx.dots(file.dentry()) {
            return Ok(());
        }
        for (at, name, node) in self.0.list(ctx.pos())? {
            if !ctx.emit_before(&name, node.ino(), node.mode() & mode::S_IFMT, at + 1) {
                break;
            }
        }
        Ok(())
    }
}

/// An open file whose text is made at the first read.
struct ProcFile {
    node: Node,
    text: SpinLock<Option<Arc<[u8]>>>,
}

impl FileOps for ProcFile {
    fn read(&self, _file: &File, dest: &mut Dest<'_>, pos: &mut u64) -> Result<usize> {
        let kept = if *pos == 0 { None } else { self.text.lock().clone() };
        let text = match kept {
            Some(text) => text,
            None => {
                let text: Arc<[u8]> = self.node.text()?.into();
                *self.text.lock() = Some(text.clone());
                text
            }
        };
        let rest = text.get(*pos as usize..).unwrap_or_default();
        let count = if rest.is_empty() || dest.remaining() == 0 { 0 } else { dest.put(rest)? };
        *pos += count as u64;
        Ok(count)
    }

    /// Opening for a new value cuts nothing off.
    fn truncate(&self, _file: &File, _size: u64) -> Result<()> {
        Ok(())
    }

    fn write(&self, _file: &File, source: &mut super::Source<'_>, pos: &mut u64) -> Result<usize> {
        let mut text = alloc::vec![0; source.remaining().min(256)];
        let count = source.take(&mut text)?;
        match &self.node {
            Node::SysFile(entry) => entry.store(&text[..count])?,
            Node::Irq(node) => node.store(&text[..count])?,
            Node::Pid(node) => node.store(&text[..count])?,
            _ => return Err(abi::errno::EIO),
        }
        *pos += count as u64;
        Ok(count)
    }
}
