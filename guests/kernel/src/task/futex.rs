//! `futex`: waiting on a word of memory.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    books::vm,
    errno::{EAGAIN, EFAULT, EINVAL, ENOSYS, Result},
};

use super::{TaskStruct, current, sched, signal, task_struct::state, timer};
use crate::{
    fs::procfs::inode_of,
    lib::race::{self, Race},
    mm::uaccess::{UserPtr, get_user, put_user},
    sync::SpinLock,
};

/// Names a word whatever it is called by: for private memory the address space and the
/// address, for shared memory the file and the offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    object: u32,
    offset: u64,
}

struct Waiter {
    key: Key,
    bitset: u32,
    task: Arc<TaskStruct>,
    woken: bool,
}

/// All waiters, oldest first.
static WAITERS: SpinLock<Vec<Waiter>> = SpinLock::new(Vec::new());

fn key(addr: u32) -> Result<Key> {
    if addr & 3 != 0 {
        return Err(EINVAL);
    }
    let mm = current().mm().ok_or(EFAULT)?;
    // The word must be there.
    get_user::<u32>(UserPtr::new(addr))?;
    let guard = mm.lock();
    let area = guard.areas.find(addr).map(|area| area.record);
    drop(guard);
    Ok(match area.filter(|a| a.start <= addr && a.flags & vm::SHARED != 0 && !a.file.is_null()) {
        Some(area) => {
            Key { object: inode_of(area.file), offset: (u64::from(area.pgoff) << 12) + u64::from(addr - area.start) }
        }
        None => Key { object: mm.record().0, offset: addr.into() },
    })
}

/// Sleeps if the word at `addr` has the value `expected`.
pub fn wait(addr: u32, expected: u32, bitset: u32, deadline_ns: Option<u64>) -> Result<()> {
    if bitset == 0 {
        return Err(EINVAL);
    }
    let key = key(addr)?;
    // Nothing runs between this and the sleep: this CPU keeps the kernel lock.
    if get_user::<u32>(UserPtr::new(addr))? != expected {
        return Err(EAGAIN);
    }
    race::window(Race::Futex);
    let task = current().arc();
    WAITERS.lock().push(Waiter { key, bitset, task, woken: false });
    loop {
        current().set_state(state::INTERRUPTIBLE);
        let woken = is_woken();
        let result = if woken {
            Some(Ok(()))
        } else if deadline_ns.is_some_and(timer::has_passed) {
            Some(Err(abi::errno::ETIMEDOUT))
        } else if signal::pending() {
            Some(Err(abi::errno::ERESTARTSYS))
        } else {
            timer::sleep_until(deadline_ns);
            None
        };
        current().set_state(state::RUNNING);
        if let Some(result) = result {
            leave();
            return result;
        }
    }
}

fn is_own(waiter: &Waiter) -> bool {
    core::ptr::eq(Arc::as_ptr(&waiter.task), &raw const *current())
}

fn is_woken() -> bool {
    WAITERS.lock().iter().any(|w| w.woken && is_own(w))
}

fn leave() {
    WAITERS.lock().retain(|w| !is_own(w));
}

/// Wakes up to `count` waiters of the word at `addr` whose bits meet `bitset`.
pub fn wake(addr: u32, count: u32, bitset: u32) -> Result<u32> {
    if bitset == 0 {
        return Err(EINVAL);
    }
    let key = key(addr)?;
    Ok(wake_key(key, count, bitset))
}

fn wake_key(key: Key, count: u32, bitset: u32) -> u32 {
    let mut done = 0;
    let mut waiters = WAITERS.lock();
    for waiter in waiters.iter_mut().filter(|w| !w.woken && w.key == key && w.bitset & bitset != 0) {
        if done == count {
            break;
        }
        waiter.woken = true;
        sched::wake_up_process(&waiter.task);
        done += 1;
    }
    done
}

/// Wakes up to `nr_wake` waiters and moves up to `nr_requeue` others to another word.
pub fn requeue(addr: u32, nr_wake: u32, addr2: u32, nr_requeue: u32, expected: Option<u32>) -> Result<u32> {
    if (nr_wake as i32) < 0 || (nr_requeue as i32) < 0 {
        return Err(EINVAL);
    }
    let (from, to) = (key(addr)?, key(addr2)?);
    if let Some(expected) = expected
        && get_user::<u32>(UserPtr::new(addr))? != expected
    {
        return Err(EAGAIN);
    }
    let woken = wake_key(from, nr_wake, !0);
    let mut moved = 0;
    let mut waiters = WAITERS.lock();
    for waiter in waiters.iter_mut().filter(|w| !w.woken && w.key == from) {
        if moved == nr_requeue {
            break;
        }
        waiter.key = to;
        moved += 1;
    }
    // The plain form counts the woken only.
    Ok(if expected.is_some() { woken + moved } else { woken })
}

/// Changes the word at `addr2`, wakes waiters of `addr`, and, if the old value compares as
/// `encoded` says, waiters of `addr2`.
pub fn wake_op(addr: u32, nr_wake: u32, addr2: u32, nr_wake2: u32, encoded: u32) -> Result<u32> {
    let (first, second) = (key(addr)?, key(addr2)?);
    let sign_extend = |value: u32| ((value << 20) as i32 >> 20) as u32;
    let (op, cmp) = (encoded >> 28 & 7, encoded >> 24 & 15);
    let mut op_arg = sign_extend(encoded >> 12 & 0xfff);
    let cmp_arg = sign_extend(encoded & 0xfff);
    if encoded >> 31 != 0 {
        op_arg = 1u32.checked_shl(op_arg).ok_or(EINVAL)?;
    }
    let word = UserPtr::<u32>::new(addr2);
    let old = get_user(word)?;
    let new = match op {
        0 => op_arg,
        1 => old.wrapping_add(op_arg),
        2 => old | op_arg,
        3 => old & !op_arg,
        4 => old ^ op_arg,
        _ => return Err(ENOSYS),
    };
    put_user(word, new)?;
    let (a, b) = (old as i32, cmp_arg as i32);
    let holds = match cmp {
        0 => a == b,
        1 => a != b,
        2 => a < b,
        3 => a <= b,
        4 => a > b,
        5 => a >= b,
        _ => return Err(ENOSYS),
    };
    let mut woken = wake_key(first, nr_wake, !0);
    if holds {
        woken += wake_key(second, nr_wake2, !0);
    }
    Ok(woken)
}

const FUTEX_WAITERS: u32 = 0x8000_0000;
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
const FUTEX_TID_MASK: u32 = 0x3fff_ffff;
/// A list that is longer is taken for a circle.
const ROBUST_LIST_LIMIT: u32 = 2048;

/// A thread ends: the robust locks that it holds are marked, and a waiter of each wakes.
pub fn exit_robust_list(head: u32) {
    if head != 0 {
        // A list that cannot be read is the program's loss.
        let _ = walk_robust_list(head);
    }
}

fn walk_robust_list(head: u32) -> Result<()> {
    let word = |addr: u32| get_user::<u32>(UserPtr::new(addr));
    let (mut entry, offset, pending) = (word(head)?, word(head.wrapping_add(4))?, word(head.wrapping_add(8))? & !1);
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !1 == head {
            break;
        }
        let next = word(entry & !1);
        if entry & !1 != pending {
            mark_dead((entry & !1).wrapping_add(offset))?;
        }
        entry = next?;
    }
    if pending != 0 {
        mark_dead(pending.wrapping_add(offset))?;
    }
    Ok(())
}

fn mark_dead(addr: u32) -> Result<()> {
    let ptr = UserPtr::<u32>::new(addr);
    let value = get_user(ptr)?;
    if value & FUTEX_TID_MASK == current().pid() {
        put_user(ptr, value & FUTEX_WAITERS | FUTEX_OWNER_DIED)?;
        if value & FUTEX_WAITERS != 0 {
            wake(addr, 1, !0)?;
        }
    }
    Ok(())
}
