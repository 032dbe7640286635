//! `pgd_list`: all page directories, linked through their descriptors.

use mm::list::PfnList;

use super::{
    Page,
    page::{MemMap, pfn_to_page},
};
use crate::sync::SpinLock;

static PGD_LIST: SpinLock<PfnList> = SpinLock::new(PfnList::new());

/// `pgd_list_add`: a new directory.
pub fn add(page: &'static Page) {
    PGD_LIST.lock().push_head(&mut MemMap::get(), page.pfn());
}

/// `pgd_list_del`: a directory that nobody uses any more.
pub fn remove(page: &'static Page) {
    PGD_LIST.lock().remove(&mut MemMap::get(), page.pfn());
}

/// Calls `visit` with each directory, newest first.
pub fn for_each(mut visit: impl FnMut(&'static Page)) {
    PGD_LIST.lock().iter(&MemMap::get()).for_each(|pfn| visit(pfn_to_page(pfn)));
}
