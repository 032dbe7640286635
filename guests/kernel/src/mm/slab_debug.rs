//! Watching objects for wrong uses (`slab_debug`), and what is said of one.
//!
//! `slab_debug[=FZPU[,CACHE…]]` (Linux: `slub_debug`) on the command line chooses what is
//! put around and into the objects of which caches. Reports have Linux's form; the kernel
//! ends after one.
#![allow(unsafe_code)]

use core::{fmt::Arguments, sync::atomic::Ordering::Relaxed};

use abi::books::KmemCacheRecord;
use mm::slab::debug::{self, CONSISTENCY_CHECKS, POISON, RED_ZONE, STORE_USER};

use super::{
    PAGE_SIZE, Page,
    slab::{KmemCache, slab_head},
};
use crate::{
    arch::PAGE_OFFSET,
    lib::{cmdline, kallsyms::ReturnAddress, oops, printk},
    pr_info, printk, task,
};

/// In slabs outside of objects, and in objects that were never used.
const POISON_INUSE: u8 = 0x5a;
/// In free objects.
const POISON_FREE: u8 = 0x6b;
/// Their last byte.
const POISON_END: u8 = 0xa5;
/// Red zones of free objects.
const RED_INACTIVE: u8 = 0xbb;
/// Red zones of objects in use.
const RED_ACTIVE: u8 = 0xcc;

/// The functions between an allocation and its track, innermost first, are the allocator's.
const ALLOCATOR: [&str; 4] = ["mm::slab", "mm::kmalloc", "alloc::", "__rust"];

/// What the command line asks for a cache.
pub fn flags_of(cache: &str) -> u32 {
    let option = cmdline::value_of("slab_debug").or(cmdline::value_of("slub_debug"));
    option.map_or(0, |option| debug::of_option(option, cache))
}

/// Bytes of a slab.
///
/// # Safety
/// They are not read or written through any reference meanwhile.
unsafe fn bytes<'a>(at: u32, len: u32) -> &'a mut [u8] {
    // SAFETY: by the caller; slabs lie in the direct map.
    unsafe { core::slice::from_raw_parts_mut(at as *mut u8, len as usize) }
}

fn fill(at: u32, len: u32, byte: u8) {
    // SAFETY: parts of an object that its user has not got yet, or has given up.
    unsafe { bytes(at, len) }.fill(byte);
}

/// Fills a fresh slab, before its objects are made.
pub(super) fn poison_slab(cache: &KmemCache, base: u32) {
    if cache.flags & POISON != 0 {
        fill(base, PAGE_SIZE << cache.order, POISON_INUSE);
    }
}

/// Makes an object of a fresh slab a free one.
pub(super) fn init_free_object(cache: &KmemCache, object: u32) {
    init_object(cache, object, RED_INACTIVE);
    if cache.flags & STORE_USER != 0 {
        fill(object + cache.layout.track, mm::slab::TRACK_BYTES, 0);
    }
}

/// Whether free objects are poisoned: constructed ones must stay as they are.
fn poisons(cache: &KmemCache) -> bool {
    cache.flags & POISON != 0 && cache.ctor.is_none()
}

fn init_object(cache: &KmemCache, object: u32, red: u8) {
    let layout = &cache.layout;
    if cache.flags & RED_ZONE != 0 {
        fill(object - layout.red_left, layout.red_left, red);
        fill(object + layout.object_size, layout.inuse - layout.object_size, red);
    }
    if poisons(cache) {
        fill(object, layout.object_size - 1, POISON_FREE);
        fill(object + layout.object_size - 1, 1, POISON_END);
    }
}

/// Checks an object that leaves the free list and marks it as used.
pub(super) fn alloc_object(cache: &KmemCache, page: &'static Page, object: u32, frame: u32) {
    check_object(cache, page, object, RED_INACTIVE);
    set_track(cache, object, 0, frame);
    init_object(cache, object, RED_ACTIVE);
}

/// Checks an object that its user gives up and marks it as free.
pub(super) fn free_object(cache: &KmemCache, page: &'static Page, object: u32, frame: u32) {
    if cache.flags & CONSISTENCY_CHECKS != 0 && on_freelist(cache, page, object) {
        object_err(cache, page, object, "Object already free");
    }
    check_object(cache, page, object, RED_ACTIVE);
    set_track(cache, object, 1, frame);
    init_object(cache, object, RED_INACTIVE);
}

/// Whether an object is on the list of free ones of its slab.
pub(super) fn on_freelist(cache: &KmemCache, page: &'static Page, object: u32) -> bool {
    let mut at = page.index.load(Relaxed);
    for _ in 0..=cache.record.objperslab {
        if at == object || at == 0 {
            return at == object;
        }
        if !lies_in_slab(cache, page, at) {
            object_err(cache, page, object, "Freechain corrupt");
        }
        // SAFETY: a free object of the slab.
        at = unsafe { cache.link(at).read() };
    }
    object_err(cache, page, object, "Freechain corrupt")
}

fn lies_in_slab(cache: &KmemCache, page: &'static Page, object: u32) -> bool {
    let base = page.address().unwrap_or(0);
    object >= base && object < base + cache.record.objperslab * cache.record.objsize
}

fn check_object(cache: &KmemCache, page: &'static Page, object: u32, red: u8) {
    let layout = &cache.layout;
    if cache.flags & RED_ZONE != 0 {
        check_bytes(cache, page, object, "Left Redzone", object - layout.red_left, layout.red_left, red);
        let behind = layout.inuse - layout.object_size;
        check_bytes(cache, page, object, "Right Redzone", object + layout.object_size, behind, red);
    }
    if poisons(cache) && red == RED_INACTIVE {
        check_bytes(cache, page, object, "Poison", object, layout.object_size - 1, POISON_FREE);
        check_bytes(cache, page, object, "Poison", object + layout.object_size - 1, 1, POISON_END);
    }
    if cache.flags & POISON != 0 {
        let padding = cache.record.objsize - layout.red_left - layout.end;
        check_bytes(cache, page, object, "Object padding", object + layout.end, padding, POISON_INUSE);
    }
}

/// `check_bytes_and_report`.
fn check_bytes(cache: &KmemCache, page: &'static Page, object: u32, what: &str, at: u32, len: u32, want: u8) {
    // SAFETY: the watched parts of an object, which nobody should write.
    let bytes = unsafe { bytes(at, len) };
    let Some(first) = bytes.iter().position(|&byte| byte != want) else { return };
    let last = bytes.iter().rposition(|&byte| byte != want).unwrap_or(first);
    slab_bug(cache, format_args!("{what} overwritten"));
    let from = at + first as u32;
    pr_info!(
        "{from:#010x}-{:#010x} @offset={}. First byte {:#x} instead of {want:#x}",
        at + last as u32,
        from - page.address().unwrap_or(0),
        bytes[first]
    );
    print_trailer(cache, page, object);
    oops::bug_of(format_args!("slab: {what} overwritten in {}", cache.name()))
}

/// Who had it: `which` 0 allocates, 1 frees.
fn set_track(cache: &KmemCache, object: u32, which: u32, frame: u32) {
    if cache.flags & STORE_USER != 0 {
        let caller = oops::caller_outside(frame, &ALLOCATOR);
        let pid = if task::current::exists() { task::current().pid() } else { 0 };
        let at = (object + cache.layout.track + 8 * which) as *mut [u32; 2];
        // SAFETY: the tracks of an object, which are words.
        unsafe { at.write([caller, pid]) };
    }
}

/// `object_err`: what is wrong with an object, and the end.
#[cold]
pub(super) fn object_err(cache: &KmemCache, page: &'static Page, object: u32, reason: &str) -> ! {
    slab_bug(cache, format_args!("{reason}"));
    print_trailer(cache, page, object);
    oops::bug_of(format_args!("slab: {reason} in {}", cache.name()))
}

/// A pointer into the middle of an object.
#[cold]
pub(super) fn invalid_pointer(cache: &KmemCache, page: &'static Page, object: u32) -> ! {
    slab_bug(cache, format_args!("Invalid object pointer {object:#010x}"));
    print_slab_info(page, &cache.record);
    oops::bug_of(format_args!("slab: Invalid object pointer in {}", cache.name()))
}

/// An object of `other` was given to `cache`.
#[cold]
pub(super) fn wrong_cache(cache: &KmemCache, other: &KmemCache, page: &'static Page, object: u32) -> ! {
    printk::set_console(true);
    let (name, of) = (cache.name(), other.name());
    pr_info!("cache_from_obj: Wrong slab cache. {name} but object is from {of}");
    let head = slab_head(object, other.order);
    print_trailer(other, if head.pfn() <= page.pfn() { head } else { page }, object);
    oops::bug_of(format_args!("cache_from_obj: Wrong slab cache. {name} but object is from {of}"))
}

/// An address of the direct map that no slab has.
#[cold]
pub(super) fn not_a_slab(what: &str, page: &'static Page, object: u32) -> ! {
    printk::set_console(true);
    let flags = page.flags.load(Relaxed);
    pr_info!("{what}: {object:#010x} is no slab object: frame {:#x}, flags={flags:#x}", page.pfn());
    oops::bug_of(format_args!("{what}: {object:#010x} is no slab object"))
}

/// An address outside of the direct map.
#[cold]
pub(super) fn no_memory_of_ours(what: &str, object: u32) -> ! {
    printk::set_console(true);
    pr_info!("{what}: {object:#010x} lies outside of {PAGE_OFFSET:#010x} and what follows it");
    oops::bug_of(format_args!("{what}: {object:#010x} is no slab object"))
}

fn slab_bug(cache: &KmemCache, what: Arguments) {
    printk::set_console(true);
    pr_info!("=============================================================================");
    pr_info!("BUG {} (Not tainted): {what}", cache.name());
    pr_info!("-----------------------------------------------------------------------------");
    pr_info!("");
}

fn print_slab_info(page: &'static Page, record: &KmemCacheRecord) {
    pr_info!(
        "Slab {:#010x} objects={} used={} fp={:#010x} flags={:#x}(slab)",
        (&raw const *page) as u32,
        record.objperslab,
        page.private.load(Relaxed),
        page.index.load(Relaxed),
        page.flags.load(Relaxed)
    );
}

fn print_trailer(cache: &KmemCache, page: &'static Page, object: u32) {
    let (layout, base) = (&cache.layout, page.address().unwrap_or(0));
    if cache.flags & STORE_USER != 0 {
        for (n, what) in [(0, "Allocated"), (1, "Freed")] {
            // SAFETY: the tracks of an object, which are words.
            let [caller, pid] = unsafe { ((object + layout.track + 8 * n) as *const [u32; 2]).read() };
            if caller != 0 {
                pr_info!("{what} in {} cpu=0 pid={pid}", ReturnAddress(caller));
            }
        }
    }
    print_slab_info(page, &cache.record);
    // SAFETY: the link of an object of the slab.
    let link = unsafe { cache.link(object).read_unaligned() };
    pr_info!("Object {object:#010x} @offset={} fp={link:#010x}", object.wrapping_sub(base));
    pr_info!("");
    if cache.flags & RED_ZONE != 0 {
        print_section("Redzone  ", object - layout.red_left, layout.red_left);
    }
    print_section("Object   ", object, layout.object_size.min(PAGE_SIZE));
    if cache.flags & RED_ZONE != 0 {
        print_section("Redzone  ", object + layout.object_size, layout.inuse - layout.object_size);
    }
    print_section("Padding  ", object + layout.end, cache.record.objsize.saturating_sub(layout.red_left + layout.end));
}

/// Bytes in rows of sixteen, as numbers and as text.
fn print_section(name: &str, at: u32, len: u32) {
    // SAFETY: inside a slab.
    for (n, row) in unsafe { bytes(at, len) }.chunks(16).enumerate() {
        printk!("{name}{:08x}:", at + 16 * n as u32);
        row.iter().for_each(|byte| printk!(" {byte:02x}"));
        (row.len()..16).for_each(|_| printk!("   "));
        printk!("  ");
        row.iter().for_each(|&byte| printk!("{}", if (0x20..0x7f).contains(&byte) { byte as char } else { '.' }));
        printk!("\n");
    }
}
