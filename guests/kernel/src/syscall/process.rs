//! Making, replacing and ending processes.

use core::sync::atomic::Ordering::Relaxed;

use abi::{
    errno::{EFAULT, EINVAL, ENOENT, Result},
    wire::u32_at,
};

use super::user::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, bytes, dirfd, path, store};
use crate::{
    arch::{
        PtRegs,
        gdt::GDT_ENTRY_TLS_MIN,
        tls::{UserDesc, set_thread_area as set_descriptor, tls_index},
    },
    fs::namei::Last,
    mm::uaccess::{UserPtr, strncpy_from_user},
    task::{
        current, exec,
        exec::Strings,
        exit::do_group_exit,
        fork::{CloneArgs, clone, kernel_clone},
        signal::SIGCHLD,
    },
};

/// `fork`
pub fn fork(regs: &PtRegs) -> Result<u32> {
    kernel_clone(CloneArgs { exit_signal: SIGCHLD, ..CloneArgs::default() }, regs)
}

/// `vfork`
pub fn vfork(regs: &PtRegs) -> Result<u32> {
    let flags = clone::VFORK | clone::VM;
    kernel_clone(CloneArgs { flags, exit_signal: SIGCHLD, ..CloneArgs::default() }, regs)
}

/// `clone`: flags, stack, parent's word, descriptor, child's word.
pub fn clone(args: [u32; 6], regs: &PtRegs) -> Result<u32> {
    let [flags, stack, parent_tid, tls, child_tid, _] = args;
    let exit_signal = flags & clone::CSIGNAL;
    kernel_clone(CloneArgs { flags: flags & !clone::CSIGNAL, exit_signal, stack, parent_tid, child_tid, tls }, regs)
}

/// `execve`, `execveat`
pub fn execveat(fd: u32, path_addr: u32, argv: u32, envp: u32, flags: u32, regs: &mut PtRegs) -> Result<u32> {
    if flags & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(EINVAL);
    }
    let mut name = path(path_addr)?;
    let mut start = dirfd(fd, &name)?;
    if name.is_empty() {
        let dentry = start.take().filter(|_| flags & AT_EMPTY_PATH != 0).ok_or(ENOENT)?;
        name = dentry.path();
    }
    let (argv, envp) = (Strings::from_user(argv)?, Strings::from_user(envp)?);
    let last = if flags & AT_SYMLINK_NOFOLLOW != 0 { Last::NoFollow } else { Last::Follow };
    exec::do_execve(start.as_ref(), name, last, argv, envp, regs)?;
    // The new program finds nothing of the call in its registers.
    Ok(0)
}

/// `exit`: one thread. It ends on its way out, by the same path as for a signal.
pub fn exit(code: u32) -> ! {
    crate::task::exit::do_exit(((code & 0xff) << 8) as i32)
}

/// `exit_group`
pub fn exit_group(code: u32) -> ! {
    let status = ((code & 0xff) << 8) as i32;
    do_group_exit(status);
    let decided = current().signal().state.lock().exit_code.unwrap_or(status);
    crate::task::exit::do_exit(decided)
}

fn user_desc(addr: u32) -> Result<UserDesc> {
    let b: [u8; 16] = bytes(addr)?;
    let word = |n: usize| u32_at(&b, n * 4);
    Ok(UserDesc { entry_number: word(0), base_addr: word(1), limit: word(2), flags: word(3) })
}

/// `set_thread_area`
pub fn set_thread_area(addr: u32) -> Result<u32> {
    let desc = user_desc(addr)?;
    let entry = current().with_thread(|thread| {
        let mut tls = thread.tls;
        let entry = set_descriptor(&mut tls, desc)?;
        thread.set_tls_all(tls);
        Ok(entry)
    })?;
    if desc.entry_number == !0 {
        store(addr, &entry.to_le_bytes())?;
    }
    Ok(0)
}

/// `get_thread_area`
pub fn get_thread_area(addr: u32) -> Result<u32> {
    let number = u32::from_le_bytes(bytes(addr)?);
    let index = tls_index(number)?;
    let desc = current()
        .with_thread(|thread| UserDesc::from_descriptor((index + GDT_ENTRY_TLS_MIN) as u32, thread.tls[index]));
    let words = [desc.entry_number, desc.base_addr, desc.limit, desc.flags];
    store(addr, &words.map(u32::to_le_bytes).concat()).map(|()| 0)
}

/// `prctl`
pub fn prctl(option: u32, args: [u32; 4]) -> Result<u32> {
    const PR_SET_PDEATHSIG: u32 = 1;
    const PR_GET_PDEATHSIG: u32 = 2;
    const PR_GET_DUMPABLE: u32 = 3;
    const PR_SET_DUMPABLE: u32 = 4;
    const PR_SET_NAME: u32 = 15;
    const PR_GET_NAME: u32 = 16;
    const PR_CAPBSET_READ: u32 = 23;
    const PR_GET_SECUREBITS: u32 = 27;
    const PR_SET_CHILD_SUBREAPER: u32 = 36;
    const PR_GET_CHILD_SUBREAPER: u32 = 37;
    const PR_SET_NO_NEW_PRIVS: u32 = 38;
    const PR_GET_NO_NEW_PRIVS: u32 = 39;
    let task = current();
    match option {
        PR_SET_NAME => {
            let name = strncpy_from_user(UserPtr::new(args[0]), 4096).map_err(|_| EFAULT)?;
            task.set_comm(&name);
            Ok(0)
        }
        PR_GET_NAME => store(args[0], &task.record().with(|r| r.comm)).map(|()| 0),
        PR_GET_DUMPABLE => Ok(task.mm().is_none_or(|mm| mm.is_dumpable()).into()),
        PR_SET_DUMPABLE if args[0] > 1 => Err(EINVAL),
        PR_SET_DUMPABLE => {
            task.mm().inspect(|mm| mm.set_dumpable(args[0] == 1));
            Ok(0)
        }
        PR_SET_PDEATHSIG => Ok(0),
        PR_GET_PDEATHSIG => store(args[0], &0u32.to_le_bytes()).map(|()| 0),
        PR_CAPBSET_READ if args[0] <= 40 => Ok(1),
        PR_GET_SECUREBITS => Ok(0),
        PR_SET_CHILD_SUBREAPER => {
            task.signal().child_subreaper.store(args[0] != 0, Relaxed);
            Ok(0)
        }
        PR_GET_CHILD_SUBREAPER => {
            let on = u32::from(task.signal().child_subreaper.load(Relaxed));
            store(args[0], &on.to_le_bytes()).map(|()| 0)
        }
        PR_SET_NO_NEW_PRIVS if args[0] == 1 => Ok(0),
        PR_GET_NO_NEW_PRIVS => Ok(0),
        _ => Err(EINVAL),
    }
}
