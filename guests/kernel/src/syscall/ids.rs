//! Numbers of processes, groups, sessions, users.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::{
    errno::{EACCES, EINVAL, EPERM, ESRCH, Result},
    wire::u32_at,
};

use super::user::store;
use crate::{
    mm::uaccess::{UserPtr, copy_from_user},
    task::{TaskStruct, cred::Cred, current, pid},
};
use alloc::sync::Arc;

fn process(number: u32) -> Result<Arc<TaskStruct>> {
    let number = if number == 0 { current().tgid() } else { number };
    pid::find_process(number).ok_or(ESRCH)
}

/// `getppid`
pub fn getppid() -> Result<u32> {
    Ok(current().ppid())
}

/// `getpgid`
pub fn getpgid(number: u32) -> Result<u32> {
    process(number).map(|t| t.pgrp())
}

/// `getsid`
pub fn getsid(number: u32) -> Result<u32> {
    process(number).map(|t| t.session())
}

/// `setpgid`
pub fn setpgid(number: u32, pgrp: u32) -> Result<u32> {
    let own = current();
    if pgrp as i32 <= -1 {
        return Err(EINVAL);
    }
    let task = process(number)?;
    let is_child = task.ppid() == own.tgid();
    if task.tgid() != own.tgid() && !is_child {
        return Err(ESRCH);
    }
    if is_child {
        if task.session() != own.session() {
            return Err(EPERM);
        }
        if task.signal().state.lock().did_exec {
            return Err(EACCES);
        }
    }
    if task.session() == task.tgid() {
        return Err(EPERM);
    }
    let pgrp = if pgrp == 0 { task.tgid() } else { pgrp };
    if pgrp != task.tgid() && !pid::group(pgrp).iter().any(|t| t.session() == own.session()) {
        return Err(EPERM);
    }
    for thread in pid::threads(task.tgid()) {
        thread.record().update(|r| r.pgrp = pgrp);
    }
    Ok(0)
}

/// `setsid`
pub fn setsid() -> Result<u32> {
    let own = current();
    let number = own.tgid();
    if !pid::group(number).is_empty() {
        return Err(EPERM);
    }
    for thread in pid::threads(number) {
        thread.record().update(|r| (r.session, r.pgrp, r.tty_nr) = (number, number, 0));
    }
    let tty = own.signal().tty.lock().take();
    drop(tty);
    Ok(number)
}

/// One of the numbers of `cred`.
pub fn cred(read: fn(&Cred) -> u32) -> Result<u32> {
    Ok(read(&current().cred.lock()))
}

/// Changes the credentials, and their copy in the books.
fn update(change: impl FnOnce(&mut Cred) -> Result<()>) -> Result<u32> {
    let own = current();
    let mut cred = own.cred.lock();
    let mut new = cred.clone();
    change(&mut new)?;
    if (new.euid, new.egid) != (cred.euid, cred.egid) {
        // What it has in memory may be for other eyes than those of its new user.
        own.mm().inspect(|mm| mm.set_dumpable(false));
    }
    *cred = new;
    own.record().update(|r| (r.uid, r.gid) = (cred.uid, cred.gid));
    Ok(0)
}

/// `setuid32`
pub fn setuid(uid: u32) -> Result<u32> {
    update(|c| {
        if c.euid == 0 {
            (c.uid, c.euid, c.suid) = (uid, uid, uid);
        } else if uid == c.uid || uid == c.suid {
            c.euid = uid;
        } else {
            return Err(EPERM);
        }
        Ok(())
    })
}

/// `setgid32`
pub fn setgid(gid: u32) -> Result<u32> {
    update(|c| {
        if c.euid == 0 {
            (c.gid, c.egid, c.sgid) = (gid, gid, gid);
        } else if gid == c.gid || gid == c.sgid {
            c.egid = gid;
        } else {
            return Err(EPERM);
        }
        Ok(())
    })
}

/// A new number, or the old one for -1; EPERM if an ordinary user may not take it.
fn choose(new: u32, old: u32, allowed: &[u32], is_root: bool) -> Result<u32> {
    match new {
        u32::MAX => Ok(old),
        new if is_root || allowed.contains(&new) => Ok(new),
        _ => Err(EPERM),
    }
}

/// `setresuid32`
pub fn setresuid(uid: u32, euid: u32, suid: u32) -> Result<u32> {
    update(|c| {
        let (allowed, root) = ([c.uid, c.euid, c.suid], c.euid == 0);
        c.uid = choose(uid, c.uid, &allowed, root)?;
        c.euid = choose(euid, c.euid, &allowed, root)?;
        c.suid = choose(suid, c.suid, &allowed, root)?;
        Ok(())
    })
}

/// `setresgid32`
pub fn setresgid(gid: u32, egid: u32, sgid: u32) -> Result<u32> {
    update(|c| {
        let (allowed, root) = ([c.gid, c.egid, c.sgid], c.euid == 0);
        c.gid = choose(gid, c.gid, &allowed, root)?;
        c.egid = choose(egid, c.egid, &allowed, root)?;
        c.sgid = choose(sgid, c.sgid, &allowed, root)?;
        Ok(())
    })
}

/// `setreuid32`
pub fn setreuid(uid: u32, euid: u32) -> Result<u32> {
    let old = current().cred.lock().clone();
    let saved = if uid != !0 || euid != !0 && euid != old.uid { if euid != !0 { euid } else { old.euid } } else { !0 };
    setresuid(uid, euid, saved)
}

/// `setregid32`
pub fn setregid(gid: u32, egid: u32) -> Result<u32> {
    let old = current().cred.lock().clone();
    let saved = if gid != !0 || egid != !0 && egid != old.gid { if egid != !0 { egid } else { old.egid } } else { !0 };
    setresgid(gid, egid, saved)
}

/// `getresuid32`, `getresgid32`
pub fn getres(addrs: [u32; 3], read: fn(&Cred) -> [u32; 3]) -> Result<u32> {
    let values = read(&current().cred.lock());
    for (addr, value) in addrs.into_iter().zip(values) {
        store(addr, &value.to_le_bytes())?;
    }
    Ok(0)
}

/// `getgroups32`
pub fn getgroups(size: u32, list: u32) -> Result<u32> {
    let groups = current().cred.lock().groups.clone();
    let count = groups.len() as u32;
    if size == 0 {
        return Ok(count);
    }
    if size < count {
        return Err(EINVAL);
    }
    let bytes: Vec<u8> = groups.iter().flat_map(|g| g.to_le_bytes()).collect();
    store(list, &bytes)?;
    Ok(count)
}

/// `setgroups32`
pub fn setgroups(size: u32, list: u32) -> Result<u32> {
    if current().fsuid_gid().0 != 0 {
        return Err(EPERM);
    }
    if size > 65536 {
        return Err(EINVAL);
    }
    let mut bytes = alloc::vec![0; size as usize * 4];
    copy_from_user(&mut bytes, UserPtr::new(list))?;
    let groups = bytes.chunks_exact(4).map(|b| u32_at(b, 0)).collect();
    update(|c| {
        c.groups = groups;
        Ok(())
    })
}

/// `set_tid_address`
pub fn set_tid_address(addr: u32) -> Result<u32> {
    current().clear_child_tid.store(addr, Relaxed);
    Ok(current().pid())
}

/// `set_robust_list`
pub fn set_robust_list(head: u32, len: u32) -> Result<u32> {
    if len != 12 {
        return Err(EINVAL);
    }
    current().robust_list.store(head, Relaxed);
    Ok(0)
}

/// `get_robust_list`
pub fn get_robust_list(number: u32, head: u32, len: u32) -> Result<u32> {
    let task = if number == 0 { current().arc() } else { pid::find(number).ok_or(ESRCH)? };
    store(len, &12u32.to_le_bytes())?;
    store(head, &task.robust_list.load(Relaxed).to_le_bytes())?;
    Ok(0)
}
