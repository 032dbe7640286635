//! A look while the guest kernel is in the middle of a change: the books are read in a copy
//! of the machine that has run on to the change's end.

use abi::Ptr32;
use machine::{Detached, Host, InputEvent, Machine, Outlet, RunLimit, Stop};

use crate::{Books, Error, KernelImage, Request, Result, Target};

/// Instructions that a copy runs until we give up: far more than any lock is held for.
pub const SETTLE_LIMIT: u64 = 4_000_000;
/// Instructions between two looks at the lock.
const STEP: u64 = 16;

/// What keeps the books that `request` reads from being whole at this instruction: a lock
/// that is held, or lists that are being changed. `None` too for what needs no books, or
/// where there are none.
pub fn in_flux(target: &Target<'_>, request: &Request) -> Option<&'static str> {
    let books = Books::of(target).ok()?;
    let root = books.root();
    let zones = (root.zone_lock, "the lock of the zones is held");
    let caches = (root.slab_lock, "the lock of the slab caches is held");
    let locks = match *request {
        Request::Ps | Request::Interrupts => vec![],
        Request::Maps { pid } | Request::Smaps { pid } | Request::Pmap { pid, .. } | Request::Status { pid } => {
            // A list that cannot be followed may be one that is being changed: `seq` tells.
            let mm = books.task(pid).and_then(|task| books.mm(&task)).ok().flatten();
            vec![(mm.map_or(Ptr32::NULL, |mm| mm.mmap_lock), "the lock of the process's address space is held")]
        }
        Request::Iomem { machine: false } | Request::Ioports { machine: false } => {
            vec![(root.resource_lock, "the lock of the resource trees is held")]
        }
        Request::Buddyinfo | Request::Pagetypeinfo => vec![zones],
        Request::Page { .. } | Request::Verify => vec![zones, caches],
        Request::Slabinfo => vec![caches],
        Request::Vmallocinfo => vec![(root.vmap_lock, "the lock of vmalloc's areas is held")],
        Request::Modules => vec![(root.modules_lock, "the lock of the modules is held")],
        // Not those of the address spaces: in a busy machine one is always held.
        Request::Picture { .. } => vec![
            zones,
            caches,
            (root.vmap_lock, "the lock of vmalloc's areas is held"),
            (root.modules_lock, "the lock of the modules is held"),
        ],
        Request::Meminfo | Request::Vmstat | Request::Zoneinfo | Request::Top { .. } => vec![zones, caches],
        Request::PagetableCost => mmap_locks(&books),
        Request::Proc => {
            let others = [
                (root.resource_lock, "the lock of the resource trees is held"),
                (root.vmap_lock, "the lock of vmalloc's areas is held"),
                (root.modules_lock, "the lock of the modules is held"),
                zones,
                caches,
            ];
            mmap_locks(&books).into_iter().chain(others).collect()
        }
        _ => return None,
    };
    if root.seq & 1 != 0 {
        return Some("the kernel's lists are being changed");
    }
    locks.into_iter().find(|&(lock, _)| !lock.is_null() && books.is_held(lock)).map(|(_, what)| what)
}

/// The locks of all address spaces.
fn mmap_locks(books: &Books<'_>) -> Vec<(Ptr32<u8>, &'static str)> {
    let tasks = books.processes().unwrap_or_default();
    let mms = tasks.iter().filter_map(|task| books.mm(task).ok().flatten());
    mms.map(|mm| (mm.mmap_lock, "the lock of a process's address space is held")).collect()
}

/// The machine in which to look.
pub struct Settled {
    /// A copy that has run on; `None`: the machine itself, whose books are whole, or will
    /// not be within [`SETTLE_LIMIT`].
    pub copy: Option<Machine>,
    /// What the reader must know, as one line.
    pub note: Option<String>,
}

impl Settled {
    /// The copy, or `machine` itself.
    pub fn machine<'a>(&'a self, machine: &'a Machine) -> &'a Machine {
        self.copy.as_ref().unwrap_or(machine)
    }
}

/// Sees to it that the books which `request` reads are whole. `machine` is left as it is.
///
/// # Errors
/// [`Error::NoCopy`] when the host has no room for a copy.
pub fn settle(machine: &Machine, kernel: Option<&KernelImage>, request: &Request) -> Result<Settled> {
    let in_flux = |machine: &Machine| {
        let cpus = (0..machine.cpu_count()).map(|number| machine.cpu(number)).collect();
        in_flux(&Target { kernel, ..Target::new(cpus, machine.memory()) }, request)
    };
    let Some(why) = in_flux(machine) else {
        return Ok(Settled { copy: None, note: None });
    };
    let mut copy = machine.duplicate().map_err(|error| Error::NoCopy(error.to_string()))?;
    let end = machine.retired() + SETTLE_LIMIT;
    while copy.retired() < end {
        let limit = RunLimit { retired: Some(copy.retired() + STEP), pass_breakpoint: true };
        let stop = copy.run(limit, &mut Nobody(Detached));
        if in_flux(&copy).is_none() {
            let note = format!("{why}: shown as of {} instructions later", copy.retired() - machine.retired());
            return Ok(Settled { copy: Some(copy), note: Some(note) });
        }
        if stop != Stop::Limit {
            break;
        }
    }
    let ran = copy.retired() - machine.retired();
    Ok(Settled {
        copy: None,
        note: Some(format!("{why}, and still after {ran} instructions: this may be half changed")),
    })
}

/// A host that ends the run where the guest asks for input, for there is none to give.
struct Nobody(Detached);

impl Host for Nobody {
    fn output(&mut self, outlet: Outlet, bytes: &[u8]) {
        self.0.output(outlet, bytes);
    }

    fn demand_input(&mut self, _: u8) -> Option<InputEvent> {
        None
    }
}
