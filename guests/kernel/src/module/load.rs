//! Bringing a module in, and letting it go.
#![allow(unsafe_code)]

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use abi::{
    Ptr32,
    books::{ModuleRecord, module_state},
    errno::{EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, ENOMEM, Errno, Result},
    module::{MODULE_NAME_LEN, VERMAGIC},
};
use mm::module::{Image, Layout, Linked, Object, link, parse_args};

use super::{MODULES, Module, ModuleId, chrdev, exports, insert, relink, remove, update};
use crate::{
    lib::kallsyms::Symbol,
    mm::{
        PAGE_SIZE,
        vmalloc::{self, vfree, vzalloc},
    },
    pr_info,
    task::sched,
};

/// Largest number that stands for an error.
const MAX_ERRNO: i32 = 4095;

const _: () = {
    let (magic, release) = (VERMAGIC.as_bytes(), crate::UTS_RELEASE.as_bytes());
    let mut n = 0;
    while n < release.len() {
        assert!(magic[n] == release[n], "it begins with the release");
        n += 1;
    }
    assert!(magic[n] == b' ');
};

/// The image of a module in vmalloc's space.
pub struct ModuleMemory {
    at: *mut u8,
    size: u32,
}

// SAFETY: plain memory, whose owner is the module.
unsafe impl Send for ModuleMemory {}

impl ModuleMemory {
    fn base(&self) -> u32 {
        self.at as u32
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as many bytes of ours; the module's code does not run yet.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.size as usize) }
    }

    /// A string in the memory, for as long as the module is there.
    fn string(&self, offset: u32) -> Option<&'static [u8]> {
        // SAFETY: as many bytes of ours. The users of the result go before the memory: they
        // are of the module.
        let bytes: &'static [u8] = unsafe { core::slice::from_raw_parts(self.at, self.size as usize) };
        let rest = bytes.get(offset as usize..)?;
        Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
    }
}

impl Drop for ModuleMemory {
    fn drop(&mut self) {
        vmalloc::forget_callers(self.base(), self.base() + self.size);
        // SAFETY: the module is on no list, and none of its code runs.
        unsafe { vfree(self.at) };
    }
}

/// A module on the list that goes again unless it comes to life.
struct Coming(ModuleId);

impl Coming {
    /// It lives.
    fn live(self) {
        update(self.0, |module| module.record.state = module_state::LIVE);
        core::mem::forget(self);
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        free_module(self.0);
    }
}

/// Takes a module out and frees what it has.
fn free_module(id: ModuleId) {
    chrdev::forget(id);
    drop(remove(id));
}

fn log(line: fmt::Arguments<'_>) {
    pr_info!("{line}");
}

/// Loads a module from the bytes of its file and runs its first function, whose error is the
/// result. ENOEXEC for a file that is no module of this kernel, EEXIST if there is one of that
/// name, ENOENT for a symbol that nobody has, EINVAL for a parameter's value, ENOMEM.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn load_module(file: &[u8], args: &[u8]) -> Result<()> {
    let object = Object::parse(file, &mut log)?;
    object.check_vermagic(&mut log)?;
    let layout = Layout::new(&object, &mut log)?;
    let at = vzalloc(layout.size);
    if at.is_null() {
        return Err(ENOMEM);
    }
    let memory = ModuleMemory { at, size: layout.size };
    let coming = add_unformed_module(&object, &layout, memory)?;
    let linked = fill(&object, &layout, coming.0)?;
    set_parameters(&object, &layout, &linked, coming.0, args)?;
    protect(&layout, at as u32);
    if linked.init != 0 {
        do_one_initcall(object.name(), linked.init)?;
    }
    coming.live();
    Ok(())
}

/// `add_unformed_module`: puts the module on the list, where its name is taken from now on.
/// Waits for one of that name that is about to come or go.
fn add_unformed_module(object: &Object<'_>, layout: &Layout, memory: ModuleMemory) -> Result<Coming> {
    let mut record = ModuleRecord {
        state: module_state::COMING,
        base: memory.base(),
        size: layout.size,
        text_size: layout.text_size,
        ro_size: layout.ro_size,
        ..ModuleRecord::EMPTY
    };
    let name = object.name().as_bytes();
    record.name[..name.len().min(MODULE_NAME_LEN - 1)].copy_from_slice(name);
    loop {
        let other = MODULES.lock().iter().find(|module| module.name() == name).map(|module| module.record.state);
        match other {
            None => break,
            Some(module_state::LIVE) => return Err(EEXIST),
            Some(_) => sched::schedule(),
        }
    }
    // Nobody else runs between the look and the entry: nothing here sleeps.
    let module = Box::new(Module { record, uses: Vec::new(), exports: Vec::new(), memory });
    let coming = Coming(module.id());
    insert(module);
    Ok(coming)
}

/// Fills the module's memory from the object file.
fn fill(object: &Object<'_>, layout: &Layout, id: ModuleId) -> Result<Linked> {
    let bytes = update(id, |module| core::ptr::from_mut(module.memory.bytes())).ok_or(ENOENT)?;
    // SAFETY: the module stays on the list, and its memory is ours alone until its code runs.
    let bytes = unsafe { &mut *bytes };
    let base = bytes.as_ptr() as u32;
    let mut image = Image { base, bytes };
    let mut resolve = |name: &[u8]| exports::find(name).or_else(|| use_symbol(id, name));
    let linked = link(object, layout, &mut image, &mut resolve, &mut log)?;
    let mut exported = Vec::new();
    for row in linked.exports.rows(8) {
        let (Some(value), Some(name)) = (image.word(row), image.word(row + 4)) else { continue };
        exported.extend(image.offset_of(name).map(|name| (value, name)));
    }
    update(id, |module| {
        let symbols = linked.symbols;
        module.record.symbols = Ptr32::new(base + symbols.offset);
        module.record.nr_symbols = symbols.len / 16;
        (module.record.init, module.record.exit) = (linked.init, linked.exit);
        for (value, name) in exported {
            module.exports.extend(module.memory.string(name).map(|name| (value, name)));
        }
    });
    Ok(linked)
}

/// A symbol that another module exports, which must stay from now on.
fn use_symbol(id: ModuleId, name: &[u8]) -> Option<u32> {
    let mut list = MODULES.lock();
    let exports = |module: &Module| {
        let (value, _) = module.exports.iter().find(|(_, own)| *own == name)?;
        (module.record.state == module_state::LIVE).then(|| (module.id(), *value))
    };
    let (owner, value) = list.iter().find_map(|module| exports(module))?;
    let user = list.iter_mut().find(|module| module.id() == id)?;
    if !user.uses.contains(&owner) {
        user.uses.push(owner);
        for module in list.iter_mut().filter(|module| module.id() == owner) {
            module.record.refcnt += 1;
        }
        relink(&mut list);
    }
    Some(value)
}

fn set_parameters(object: &Object<'_>, layout: &Layout, linked: &Linked, id: ModuleId, args: &[u8]) -> Result<()> {
    update(id, |module| {
        let base = module.memory.base();
        let mut image = Image { base, bytes: module.memory.bytes() };
        parse_args(object.name(), args, linked.params, layout.ro_size, &mut image, &mut log)
    })
    .unwrap_or(Err(ENOENT))
}

/// Code and constants are not written any more.
fn protect(layout: &Layout, base: u32) {
    // SAFETY: the loader has written all of it, and the module's own code must not.
    unsafe { vmalloc::set_memory_ro(base, layout.ro_size / PAGE_SIZE) };
}

/// Runs the first function of a module.
fn do_one_initcall(name: &str, init: u32) -> Result<()> {
    // SAFETY: the loader saw that it lies in the module's code. What the code does is the
    // superuser's responsibility, who had it loaded.
    let init_module = unsafe { core::mem::transmute::<u32, extern "C" fn() -> i32>(init) };
    let result = init_module();
    match result {
        0 => Ok(()),
        1.. => {
            pr_info!("do_init_module: '{name}'->init suspiciously returned {result}, it should follow 0/-E convention");
            Ok(())
        }
        _ if result < -MAX_ERRNO => {
            pr_info!("{}: init of '{name}' returned {result}, which is no error", Symbol(init));
            Err(EINVAL)
        }
        _ => Err(Errno(-result as u16)),
    }
}

/// Runs the last function of a module and frees it. ENOENT for a name that is none, EAGAIN
/// while it is used, EBUSY while it comes or goes, or for one that has no last function.
pub fn delete_module(name: &[u8]) -> Result<()> {
    let (id, exit) = {
        let mut list = MODULES.lock();
        let at = list.iter().position(|module| module.name() == name).ok_or(ENOENT)?;
        let id = list[at].id();
        if list.iter().any(|other| other.uses.contains(&id)) {
            return Err(EAGAIN);
        }
        let record = &mut list[at].record;
        if record.state != module_state::LIVE || (record.init != 0 && record.exit == 0) {
            return Err(EBUSY);
        }
        if record.refcnt != 0 {
            return Err(EAGAIN);
        }
        record.state = module_state::GOING;
        (id, record.exit)
    };
    if exit != 0 {
        // SAFETY: as for the first function.
        let exit = unsafe { core::mem::transmute::<u32, extern "C" fn()>(exit) };
        exit();
    }
    free_module(id);
    Ok(())
}
