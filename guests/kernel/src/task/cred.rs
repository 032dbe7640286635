//! Users and groups, and who may look into whose memory.

use alloc::vec::Vec;

use abi::errno::{EPERM, Result};

use super::{TaskStruct, current};
use crate::mm::MmRef;

/// Who a task acts as.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
#[repr(C)]
pub struct Cred {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub groups: Vec<u32>,
}

// The host reads what comes before it as this record.
const _: () = assert!(core::mem::offset_of!(Cred, groups) == size_of::<abi::books::CredRecord>());

/// `ptrace_may_access` with `PTRACE_MODE_ATTACH_REALCREDS`: whether the running task may look
/// into another one. The superuser may; others only into processes of their own whose users
/// and groups are all the same, and which nothing has marked as private.
pub fn may_access(target: &TaskStruct) -> bool {
    let task = current();
    if task.tgid() == target.tgid() {
        return true;
    }
    let own = task.cred.lock().clone();
    if own.euid == 0 {
        return true;
    }
    let other = target.cred.lock().clone();
    let users = [other.euid, other.suid, other.uid].iter().all(|&uid| uid == own.uid);
    let groups = [other.egid, other.sgid, other.gid].iter().all(|&gid| gid == own.gid);
    users && groups && target.mm().is_none_or(|mm| mm.is_dumpable())
}

/// The address space of another task for who wants to look into it; none in a kernel thread
/// and after the end. EPERM.
pub fn mm_access(target: &TaskStruct) -> Result<Option<MmRef>> {
    let Some(mm) = target.mm() else { return Ok(None) };
    let is_own = current().mm().is_some_and(|own| own.ptr_eq(&mm));
    if is_own || may_access(target) { Ok(Some(mm)) } else { Err(EPERM) }
}
