//! Loadable modules: the list of them, and who keeps one from going.
//!
//! Reading order: `syscall/module.rs` → [`load`] → `mm::module` (the object file) → the
//! module's own code, which calls [`exports`]. A driver of a module is reached through
//! [`chrdev`].

pub mod chrdev;
mod exports;
pub mod kallsyms;
mod load;

use alloc::{boxed::Box, vec::Vec};

use abi::{
    Ptr32,
    books::{ModuleRecord, module_state},
    out::Out,
    proc::modules,
};

pub use load::{delete_module, load_module};

use self::load::ModuleMemory;
use crate::{
    lib::books,
    pr_info, printk,
    sync::{SpinLock, SpinLockGuard},
};

/// Which module: where its record lies, as long as it is there.
pub type ModuleId = Ptr32<ModuleRecord>;

/// `struct module`.
#[repr(C)]
pub struct Module {
    record: ModuleRecord,
    /// The modules whose symbols it uses.
    uses: Vec<ModuleId>,
    /// What it lets others use: address and name, which lies in its memory.
    exports: Vec<(u32, &'static [u8])>,
    memory: ModuleMemory,
}

impl Module {
    fn id(&self) -> ModuleId {
        Ptr32::new(&raw const self.record as u32)
    }

    fn name(&self) -> &[u8] {
        modules::name(&self.record)
    }

    fn holds(&self, addr: u32) -> bool {
        addr.wrapping_sub(self.record.base) < self.record.size
    }
}

/// All modules, in the order in which they came.
#[allow(clippy::vec_box, reason = "the host follows the records' addresses")]
static MODULES: SpinLock<Vec<Box<Module>>> = SpinLock::new(Vec::new());

#[allow(clippy::vec_box, reason = "as above")]
type List = SpinLockGuard<'static, Vec<Box<Module>>>;

/// Makes the records' links true, newest first, after a change of the list.
fn relink(list: &mut List) {
    books::update(|books| {
        let mut next = Ptr32::NULL;
        for module in list.iter_mut() {
            module.record.next = next;
            (module.record.uses, module.record.nr_uses) =
                (Ptr32::new(module.uses.as_ptr() as u32), module.uses.len() as u32);
            next = module.id();
        }
        books.modules = next;
    });
}

/// Enters a module.
fn insert(module: Box<Module>) {
    let mut list = MODULES.lock();
    list.push(module);
    relink(&mut list);
}

/// Takes a module out; its memory goes when the result is dropped, without the lock.
fn remove(id: ModuleId) -> Option<Box<Module>> {
    let mut list = MODULES.lock();
    let at = list.iter().position(|module| module.id() == id)?;
    let module = list.remove(at);
    for used in list.iter_mut().filter(|other| module.uses.contains(&other.id())) {
        used.record.refcnt -= 1;
    }
    relink(&mut list);
    Some(module)
}

/// Changes a module that is on the list.
fn update<R>(id: ModuleId, change: impl FnOnce(&mut Module) -> R) -> Option<R> {
    let mut list = MODULES.lock();
    let module = list.iter_mut().find(|module| module.id() == id)?;
    let result = change(module);
    relink(&mut list);
    Some(result)
}

/// `__module_address`: the module whose memory holds an address.
fn module_address(addr: u32) -> Option<ModuleId> {
    MODULES.lock().iter().find(|module| module.holds(addr)).map(|module| module.id())
}

/// A use of a module, which keeps it from going.
pub struct ModuleRef(ModuleId);

impl ModuleRef {
    /// `try_module_get`: `None` if the module is about to go.
    fn get(id: ModuleId) -> Option<Self> {
        let mut list = MODULES.lock();
        let module = list.iter_mut().find(|module| module.id() == id)?;
        (module.record.state != module_state::GOING).then(|| {
            module.record.refcnt += 1;
            ModuleRef(id)
        })
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        let mut list = MODULES.lock();
        if let Some(module) = list.iter_mut().find(|module| module.id() == self.0) {
            module.record.refcnt -= 1;
        }
    }
}

/// `/proc/modules`: newest first.
pub fn show(out: &mut dyn Out) {
    let list = MODULES.lock();
    for module in list.iter().rev() {
        let users = list.iter().rev().filter(|other| other.uses.contains(&module.id()));
        modules::line(out, &module.record, users.map(|user| &user.record));
    }
}

/// The lock of the list, for the books.
pub fn books() -> Ptr32<u8> {
    MODULES.flag()
}

/// Whether an address lies in the code of a module. `false` if the list is being changed.
pub fn is_module_text(addr: u32) -> bool {
    MODULES
        .try_lock()
        .is_some_and(|list| list.iter().any(|module| addr.wrapping_sub(module.record.base) < module.record.text_size))
}

/// The line of an oops that names the modules.
pub fn print_modules() {
    printk!("Modules linked in:");
    if let Some(list) = MODULES.try_lock() {
        for module in list.iter().rev() {
            printk!(" {}", core::str::from_utf8(module.name()).unwrap_or("?"));
        }
    }
    pr_info!("");
}
