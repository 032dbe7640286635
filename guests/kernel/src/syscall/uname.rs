//! The names of the system.

use alloc::vec::Vec;

use abi::{
    errno::{EINVAL, EPERM, Result},
    proc::system::uts,
};

use super::user::store;
use crate::{
    mm::uaccess::{UserPtr, copy_from_user},
    sync::SpinLock,
    task::current,
};

/// Bytes of a name with its zero.
const FIELD: usize = 65;
const MAX_NAME: usize = FIELD - 1;

static HOSTNAME: SpinLock<Option<Vec<u8>>> = SpinLock::new(None);
static DOMAINNAME: SpinLock<Option<Vec<u8>>> = SpinLock::new(None);

fn name_or_none(cell: &SpinLock<Option<Vec<u8>>>) -> Vec<u8> {
    cell.lock().clone().unwrap_or_else(|| b"(none)".to_vec())
}

/// The machine's name.
pub fn hostname() -> Vec<u8> {
    name_or_none(&HOSTNAME)
}

/// Names the machine.
pub fn set_hostname(name: &[u8]) -> Result<()> {
    set(&HOSTNAME, name)
}

fn set(cell: &SpinLock<Option<Vec<u8>>>, name: &[u8]) -> Result<()> {
    if current().cred.lock().euid != 0 {
        return Err(EPERM);
    }
    if name.len() > MAX_NAME {
        return Err(EINVAL);
    }
    let old = cell.lock().replace(name.to_vec());
    drop(old);
    Ok(())
}

/// `uname`: `fields` are 6 for `newuname`, 5 for the call before it.
pub fn newuname(addr: u32, fields: usize) -> Result<u32> {
    let (host, domain) = (hostname(), name_or_none(&DOMAINNAME));
    let all: [&[u8]; 6] = [
        uts::SYSNAME.as_bytes(),
        &host,
        uts::RELEASE.as_bytes(),
        uts::VERSION.as_bytes(),
        uts::MACHINE.as_bytes(),
        &domain,
    ];
    let mut bytes = alloc::vec![0; FIELD * fields];
    for (n, text) in all.iter().take(fields).enumerate() {
        bytes[n * FIELD..n * FIELD + text.len()].copy_from_slice(text);
    }
    store(addr, &bytes).map(|()| 0)
}

/// `sethostname`, `setdomainname`
pub fn sethostname(addr: u32, len: u32, which: Name) -> Result<u32> {
    if len as usize > MAX_NAME {
        return Err(EINVAL);
    }
    let mut name = alloc::vec![0; len as usize];
    copy_from_user(&mut name, UserPtr::new(addr))?;
    let cell = if which == Name::Host { &HOSTNAME } else { &DOMAINNAME };
    set(cell, &name).map(|()| 0)
}

/// Which name is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Name {
    /// Of the machine.
    Host,
    /// Of its domain.
    Domain,
}
