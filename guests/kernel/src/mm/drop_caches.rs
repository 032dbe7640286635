//! `/proc/sys/vm/drop_caches`.

use super::{
    page_writeback::drop_pagecache,
    slab,
    vmstat::{self, Item},
};

/// Clean file pages.
const PAGECACHE: u32 = 1;
/// Objects of caches that could be made again.
const SLAB: u32 = 2;

/// Drops what `what` says. Dirty pages stay: `sync` comes first.
pub fn drop_caches(what: u32) {
    if what & PAGECACHE != 0 {
        drop_pagecache();
        vmstat::count(Item::drop_pagecache);
    }
    if what & SLAB != 0 {
        slab::shrink_all();
        vmstat::count(Item::drop_slab);
    }
}
