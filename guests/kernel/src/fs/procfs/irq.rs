//! `/proc/irq`: which CPUs the lines of devices may interrupt.

use alloc::{format, vec::Vec};

use abi::{
    errno::{EACCES, ENOENT, ENOTDIR, Result},
    out::render,
    proc::cpumask,
};

use crate::{
    arch::smp,
    drivers::irq::{self, NR_IRQS},
};

/// What a name stands for.
#[derive(Clone, Copy)]
pub enum IrqNode {
    /// `/proc/irq` itself.
    Root,
    /// The CPUs of a line that gets its first handler from now on.
    Default,
    /// The directory of a line.
    Line(u8),
    /// A file about a line.
    File(u8, File),
}

/// The files about a line.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum File {
    /// The CPUs that it may interrupt, as a mask.
    Affinity,
    /// The same as a list.
    AffinityList,
    /// The CPU that it does interrupt, as a mask.
    Effective,
    /// The same as a list.
    EffectiveList,
}

const FILES: [(&str, File); 4] = [
    ("effective_affinity", File::Effective),
    ("effective_affinity_list", File::EffectiveList),
    ("smp_affinity", File::Affinity),
    ("smp_affinity_list", File::AffinityList),
];
const DEFAULT_NAME: &str = "default_smp_affinity";

impl IrqNode {
    /// Its place among the inode numbers of `/proc/irq`.
    pub fn number(&self) -> u32 {
        match *self {
            IrqNode::Root => 0,
            IrqNode::Default => 1,
            IrqNode::Line(line) => 8 + 8 * u32::from(line),
            IrqNode::File(line, file) => 9 + 8 * u32::from(line) + file as u32,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self, IrqNode::Root | IrqNode::Line(_))
    }

    /// The rights of a file.
    pub fn mode(&self) -> u32 {
        match self {
            IrqNode::File(_, File::Effective | File::EffectiveList) => 0o444,
            _ if self.is_dir() => 0o555,
            _ => 0o644,
        }
    }

    /// The names in a directory. ENOTDIR.
    pub fn list(&self) -> Result<Vec<(Vec<u8>, IrqNode)>> {
        match *self {
            IrqNode::Root => {
                let lines = (0..NR_IRQS as u8).map(|line| (format!("{line}").into_bytes(), IrqNode::Line(line)));
                Ok(lines.chain([(DEFAULT_NAME.into(), IrqNode::Default)]).collect())
            }
            IrqNode::Line(line) => {
                Ok(FILES.iter().map(|&(name, file)| (name.into(), IrqNode::File(line, file))).collect())
            }
            _ => Err(ENOTDIR),
        }
    }

    /// What a name in a directory stands for. ENOENT, ENOTDIR.
    pub fn child(&self, name: &[u8]) -> Result<IrqNode> {
        self.list()?.into_iter().find(|(known, _)| known == name).map(|(_, node)| node).ok_or(ENOENT)
    }

    /// The text of a file.
    pub fn text(&self) -> Vec<u8> {
        let (cpus, as_list) = match *self {
            IrqNode::Default => (irq::default_affinity(), false),
            IrqNode::File(line, File::Affinity) => (irq::affinity(line), false),
            IrqNode::File(line, File::AffinityList) => (irq::affinity(line), true),
            IrqNode::File(line, File::Effective) => (irq::effective_affinity(line), false),
            IrqNode::File(line, File::EffectiveList) => (irq::effective_affinity(line), true),
            IrqNode::Root | IrqNode::Line(_) => return Vec::new(),
        };
        let possible = smp::possible_mask();
        let mut text = render(|out| match as_list {
            true => cpumask::list(out, cpus & possible),
            false => cpumask::mask(out, cpus, possible),
        });
        text.push(b'\n');
        text
    }

    /// Takes other CPUs. EINVAL for a text that is no set or a set without a CPU that runs, EIO for a
    /// line whose controller knows one CPU only, EACCES.
    pub fn store(&self, text: &[u8]) -> Result<()> {
        match *self {
            IrqNode::Default => irq::set_default_affinity(cpumask::parse_mask(text)?),
            IrqNode::File(line, File::Affinity) => irq::set_affinity(line, cpumask::parse_mask(text)?),
            IrqNode::File(line, File::AffinityList) => irq::set_affinity(line, cpumask::parse_list(text)?),
            _ => Err(EACCES),
        }
    }
}
