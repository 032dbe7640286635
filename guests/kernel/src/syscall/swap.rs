//! `swapon`, `swapoff`.

use abi::errno::Result;

use super::user::path;
use crate::{
    fs::namei::{self, Last},
    mm::swapfile,
};

/// `swapon`
pub fn swapon(path_addr: u32, flags: u32) -> Result<u32> {
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    swapfile::swapon(dentry, flags).map(|()| 0)
}

/// `swapoff`
pub fn swapoff(path_addr: u32) -> Result<u32> {
    let dentry = namei::lookup(&path(path_addr)?, Last::Follow)?;
    swapfile::swapoff(&dentry).map(|()| 0)
}
