//! The checker finds what it should find, and nothing else.

use abi::errno::EUCLEAN;
use core::sync::atomic::Ordering::Relaxed;

use crate::mm::{
    __free_pages, alloc_page, alloc_pages, get_page,
    gfp::{GFP_HIGHUSER, GFP_KERNEL},
    page::{pg, put_page},
    verify::verify,
};

/// See the module.
pub fn run() {
    assert_eq!(verify(), Ok(()), "the kernel as it is");
    let page = alloc_page(GFP_HIGHUSER).expect("a frame");
    assert_eq!(verify(), Err(EUCLEAN), "a frame that nobody owns");
    __free_pages(page, 0);
    assert_eq!(verify(), Ok(()));
    let page = alloc_pages(GFP_KERNEL, 5).expect("a block");
    page.flags.fetch_or(pg::HEAD, Relaxed);
    page.private.store(5, Relaxed);
    assert_eq!(verify(), Ok(()), "a compound page of somebody");
    get_page(page);
    assert_eq!(verify(), Err(EUCLEAN), "a user too many");
    put_page(page);
    page.add_rmap();
    assert_eq!(verify(), Err(EUCLEAN), "a mapping that no table has");
    page.remove_rmap();
    put_page(page);
    assert_eq!(verify(), Ok(()));
}
