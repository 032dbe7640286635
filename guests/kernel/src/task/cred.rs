//! Users and groups.

use alloc::vec::Vec;

/// Who a task acts as.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Cred {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub groups: Vec<u32>,
}
