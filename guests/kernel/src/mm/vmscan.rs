//! Page replacement: which pages go when memory is short. `kswapd` begins below a zone's low
//! mark and ends above the high ones; who finds less than the min mark reclaims for itself.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use abi::books::vm;

use super::{
    Gfp, Page, gfp, oom,
    page::{pg, put_page},
    page_alloc::{ZONE_DMA, ZONE_HIGHMEM, ZONE_NORMAL, with_zones},
    page_lock::{end_page_writeback, trylock_page, unlock_page},
    page_writeback::{wakeup_flusher, write_one_page},
    rmap::{Unmapped, page_referenced, try_to_unmap},
    shmem, slab,
    swap::{Batch, End, Lru, isolate, lru_add, mlock_page, putback},
    swap_state::{self, add_to_swap, entry_of, try_to_free_swap},
    swapfile::{nr_free_swap_pages, swap_writepage},
    vmstat::{self, Item},
};
use crate::{
    arch::traps::in_interrupt,
    pr_info,
    sync::{SpinLock, cond_resched},
    task::{
        current::{self, current},
        kthread::kthread_run,
        sched, softirq,
        task_struct::state,
        timer,
        wait::{WaitQueue, Waited, wait_event_idle},
    },
    time::ktime_get_ns,
};

/// `vm.swappiness`: how dear it is to read a file page again against an anonymous one; 100
/// is equal, 200 never drops file pages for anonymous ones.
pub static SWAPPINESS: AtomicU32 = AtomicU32::new(60);

/// Pages that one round frees, and takes off a list at a time (`SWAP_CLUSTER_MAX`).
const SWAP_CLUSTER_MAX: u32 = 32;
/// The first round looks at a 4096th of a list, each later one at twice as much.
const DEF_PRIORITY: u32 = 12;
/// Rounds with progress after which an allocation gives up all the same
/// (`MAX_RECLAIM_RETRIES`).
const MAX_RECLAIM_RETRIES: u32 = 16;
/// How long a reclaimer waits for others to write.
const WRITEBACK_WAIT_NS: u64 = 50_000_000;
/// How long `kswapd` naps before it sleeps.
const NAP_NS: u64 = 100_000_000;

/// Runs of `kswapd` in a row that freed nothing; after so many it is left alone until somebody
/// finds something to free.
static KSWAPD_FAILURES: AtomicU32 = AtomicU32::new(0);
static KSWAPD_WAIT: WaitQueue = WaitQueue::new();
static KSWAPD_WANTED: AtomicBool = AtomicBool::new(false);

/// What reading pages again has cost lately, for the balance of the lists: `[anon, file]`.
static COST: SpinLock<[u32; 2]> = SpinLock::new([0; 2]);

/// `scan_control`: what one reclaim is to do.
struct ScanControl {
    /// The highest zone that the request could use.
    highest_zone: usize,
    /// Files may be written to.
    may_write_files: bool,
    /// Swap may be written to.
    may_swap: bool,
    is_kswapd: bool,
    priority: u32,
    nr_to_reclaim: u32,
    nr_scanned: u32,
    nr_reclaimed: u32,
    /// Dirty file pages that only the write-back thread may write.
    nr_unqueued_dirty: u32,
}

/// A reclaimer's own allocations may take the reserve, and never reclaim (`PF_MEMALLOC`).
struct MemAlloc;

impl MemAlloc {
    /// `None` if the running task reclaims already.
    fn enter() -> Option<Self> {
        (!current().memalloc.swap(true, Relaxed)).then_some(MemAlloc)
    }
}

impl Drop for MemAlloc {
    fn drop(&mut self) {
        current().memalloc.store(false, Relaxed);
    }
}

/// Whether the caller may sleep for memory.
fn can_reclaim(gfp: Gfp) -> bool {
    gfp.contains(Gfp::DIRECT_RECLAIM) && current::exists() && !in_interrupt() && !current().memalloc.load(Relaxed)
}

/// `__alloc_pages_slowpath`: what an allocation does whose zones are all below the low mark.
/// `attempt` tries again down to the min mark.
pub fn slowpath<T>(gfp: Gfp, zone: usize, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    if gfp.contains(Gfp::KSWAPD_RECLAIM) {
        wakeup_kswapd();
    }
    if let Some(found) = attempt() {
        return Some(found);
    }
    if !can_reclaim(gfp) {
        slab::shrink_all();
        return attempt();
    }
    let stall = match zone {
        ZONE_DMA => Item::allocstall_dma,
        ZONE_NORMAL => Item::allocstall_normal,
        _ if gfp.contains(Gfp::MOVABLE) => Item::allocstall_movable,
        _ => Item::allocstall_high,
    };
    let rounds = if gfp.contains(Gfp::NORETRY) { 1 } else { MAX_RECLAIM_RETRIES };
    for _ in 0..rounds {
        vmstat::count(stall);
        let freed = try_to_free_pages(gfp, zone);
        if let Some(found) = attempt() {
            return Some(found);
        }
        if freed == 0 {
            return None;
        }
    }
    None
}

/// `try_to_free_pages`: direct reclaim. Returns how many pages it freed.
pub fn try_to_free_pages(gfp: Gfp, highest_zone: usize) -> u32 {
    let Some(_memalloc) = MemAlloc::enter() else { return 0 };
    let mut sc = ScanControl {
        highest_zone,
        // Its caller may hold locks of the very file system.
        may_write_files: false,
        may_swap: gfp.contains(Gfp::IO),
        is_kswapd: false,
        priority: DEF_PRIORITY,
        nr_to_reclaim: SWAP_CLUSTER_MAX,
        nr_scanned: 0,
        nr_reclaimed: 0,
        nr_unqueued_dirty: 0,
    };
    loop {
        shrink_node(&mut sc);
        if sc.nr_reclaimed >= sc.nr_to_reclaim || sc.priority == 0 {
            break;
        }
        sc.priority -= 1;
    }
    if sc.nr_unqueued_dirty > 0 {
        wakeup_flusher();
        if sc.nr_reclaimed == 0 {
            // `kswapd` and the write-back thread may make clean what this one may not write.
            let before = vmstat::read(Item::nr_written);
            wakeup_kswapd();
            current().set_state(state::UNINTERRUPTIBLE);
            timer::sleep_until(Some(ktime_get_ns() + WRITEBACK_WAIT_NS));
            current().set_state(state::RUNNING);
            return u32::from(vmstat::read(Item::nr_written) != before || vmstat::read(Item::nr_writeback) > 0);
        }
    }
    sc.nr_reclaimed
}

/// Asks for `kswapd`. May be called with any lock held: it is woken when the running task
/// next gives the CPU away or leaves for ring 3.
pub fn wakeup_kswapd() {
    if !all_unreclaimable() && !KSWAPD_WANTED.swap(true, Relaxed) {
        softirq::raise(softirq::KSWAPD);
    }
}

/// Whether `kswapd` has found nothing to free for so long that it is left alone
/// (`all_unreclaimable`).
pub fn all_unreclaimable() -> bool {
    KSWAPD_FAILURES.load(Relaxed) >= MAX_RECLAIM_RETRIES
}

/// The deferred half of [`wakeup_kswapd`].
pub fn run_wakeup() {
    KSWAPD_WAIT.wake_all();
}

/// Starts `kswapd`.
pub fn start() {
    if let Err(error) = kthread_run("kswapd0", kswapd) {
        pr_info!("no kswapd: {error}");
    }
}

/// Whether every zone that a request could use is above its high mark (`pgdat_balanced`: one
/// such zone is enough).
fn balanced(highest_zone: usize) -> bool {
    with_zones(|zones| {
        let managed = || zones[..=highest_zone].iter().filter(|zone| zone.managed_pages > 0);
        managed().all(|zone| zone.free_pages >= zone.watermark_high)
    })
}

/// Whether some zone is below its low mark, for a new `min_free_kbytes`.
pub fn below_low() -> bool {
    with_zones(|zones| zones.iter().any(|zone| zone.managed_pages > 0 && zone.free_pages < zone.watermark_low))
}

/// The thread.
fn kswapd() -> ! {
    let Some(_memalloc) = MemAlloc::enter() else { unreachable!("a fresh thread does not reclaim") };
    loop {
        let wanted = || KSWAPD_WANTED.load(Relaxed);
        // A short nap first: who finds little may come again soon.
        if wait_event_idle(&KSWAPD_WAIT, Some(ktime_get_ns() + NAP_NS), wanted) == Waited::Ready {
            vmstat::count(Item::kswapd_low_wmark_hit_quickly);
        } else {
            wait_event_idle(&KSWAPD_WAIT, None, wanted);
        }
        KSWAPD_WANTED.store(false, Relaxed);
        balance_pgdat();
    }
}

/// `balance_pgdat`: frees until all zones are above their high marks, or nothing helps.
fn balance_pgdat() {
    vmstat::count(Item::pageoutrun);
    let (mut priority, mut freed) = (DEF_PRIORITY, 0);
    while priority > 0 && !balanced(ZONE_HIGHMEM) {
        let mut sc = ScanControl {
            // A zone that is above its mark needs nothing, however high it lies.
            highest_zone: highest_unbalanced(),
            may_write_files: true,
            may_swap: true,
            is_kswapd: true,
            priority,
            nr_to_reclaim: shortage().max(SWAP_CLUSTER_MAX),
            nr_scanned: 0,
            nr_reclaimed: 0,
            nr_unqueued_dirty: 0,
        };
        shrink_node(&mut sc);
        freed += sc.nr_reclaimed;
        if sc.nr_reclaimed < sc.nr_to_reclaim {
            priority -= 1;
        }
        // Others run between the rounds, as they would on a CPU of their own.
        sched::schedule();
    }
    if freed == 0 && !balanced(ZONE_HIGHMEM) {
        KSWAPD_FAILURES.fetch_add(1, Relaxed);
    }
}

fn highest_unbalanced() -> usize {
    with_zones(|zones| {
        let short = |zone: &abi::books::ZoneRecord| zone.managed_pages > 0 && zone.free_pages < zone.watermark_high;
        zones.iter().rposition(short).unwrap_or(ZONE_HIGHMEM)
    })
}

fn shortage() -> u32 {
    with_zones(|zones| zones.iter().map(|zone| zone.watermark_high.saturating_sub(zone.free_pages)).sum())
}

/// `shrink_node`: one round over all lists and caches.
fn shrink_node(sc: &mut ScanControl) {
    shrink_lruvec(sc);
    slab::shrink_all();
}

/// `get_scan_count`: how many pages of each list to look at.
fn scan_count(sc: &ScanControl) -> [(Lru, Lru, u32, u32); 2] {
    let anon =
        if sc.may_swap && nr_free_swap_pages() > 0 { Lru::InactiveAnon.size() + Lru::ActiveAnon.size() } else { 0 };
    let file = Lru::InactiveFile.size() + Lru::ActiveFile.size();
    let swappiness = u64::from(SWAPPINESS.load(Relaxed));
    let cost = *COST.lock();
    let total = u64::from(cost[0]) + u64::from(cost[1]);
    let pressure = |share: u64, own: u32| share * (total + 1) / (u64::from(own) + 1);
    let weights = [pressure(swappiness, cost[0]), pressure(200 - swappiness.min(200), cost[1])];
    let sum = (weights[0] + weights[1]).max(1);
    let part = |inactive: Lru, active: Lru, pages: u32, weight: u64, alone: bool| {
        if pages == 0 {
            return (inactive, active, 0, 0);
        }
        let of = |list: Lru| {
            let scan = list.size() >> sc.priority;
            // The last rounds look at everything, whatever it costs.
            if alone || sc.priority == 0 { scan } else { (u64::from(scan) * weight).div_ceil(sum) as u32 }
        };
        (inactive, active, of(inactive), of(active))
    };
    [
        part(Lru::InactiveAnon, Lru::ActiveAnon, anon, weights[0], file == 0),
        part(Lru::InactiveFile, Lru::ActiveFile, file, weights[1], anon == 0),
    ]
}

/// Notes what going on without pages of a kind costs; old costs fade.
fn note_cost(is_file: bool, pages: u32) {
    let mut cost = COST.lock();
    cost[usize::from(is_file)] += pages;
    let lists = [Lru::InactiveAnon, Lru::ActiveAnon, Lru::InactiveFile, Lru::ActiveFile];
    let size: u32 = lists.iter().map(|list| list.size()).sum();
    if cost[0] + cost[1] > size / 4 {
        *cost = cost.map(|cost| cost / 2);
    }
}

/// `shrink_lruvec`.
fn shrink_lruvec(sc: &mut ScanControl) {
    let mut plan = scan_count(sc);
    while plan.iter().any(|(_, _, inactive, active)| *inactive > 0 || *active > 0) {
        for (inactive, active, left_inactive, left_active) in &mut plan {
            let step = (*left_active).min(SWAP_CLUSTER_MAX);
            *left_active -= step;
            if step > 0 && inactive.size() < active.size() {
                shrink_active_list(*active, step, sc);
            }
            let step = (*left_inactive).min(SWAP_CLUSTER_MAX);
            *left_inactive -= step;
            if step > 0 {
                shrink_inactive_list(*inactive, step, sc);
            }
        }
        if sc.nr_reclaimed >= sc.nr_to_reclaim {
            return;
        }
        cond_resched();
    }
    // Anonymous memory ages even when nothing of it can go yet.
    if sc.may_swap && nr_free_swap_pages() > 0 && Lru::InactiveAnon.size() < Lru::ActiveAnon.size() {
        shrink_active_list(Lru::ActiveAnon, SWAP_CLUSTER_MAX, sc);
    }
}

/// `shrink_active_list`: the oldest pages become inactive. What they were used for while they
/// were active no longer counts, except for a program's code.
fn shrink_active_list(active: Lru, nr: u32, sc: &mut ScanControl) {
    let mut batch = Batch::new();
    let scanned = isolate(active, nr, sc.highest_zone, &mut batch);
    vmstat::add(Item::pgrefill, scanned as i32);
    for page in batch {
        let referenced = page_referenced(page);
        if active == Lru::ActiveFile && referenced.ptes > 0 && referenced.vm_flags & vm::EXEC != 0 {
            putback(page);
            continue;
        }
        page.clear(pg::ACTIVE);
        page.set(pg::WORKINGSET);
        vmstat::count(Item::pgdeactivate);
        putback(page);
    }
}

/// `shrink_inactive_list`.
fn shrink_inactive_list(inactive: Lru, nr: u32, sc: &mut ScanControl) {
    let is_file = inactive == Lru::InactiveFile;
    let isolated = if is_file { Item::nr_isolated_file } else { Item::nr_isolated_anon };
    let mut batch = Batch::new();
    let scanned = isolate(inactive, nr, sc.highest_zone, &mut batch);
    let taken = batch.len() as i32;
    vmstat::add(isolated, taken);
    sc.nr_scanned += scanned;
    vmstat::add(if sc.is_kswapd { Item::pgscan_kswapd } else { Item::pgscan_direct }, scanned as i32);
    vmstat::add(if is_file { Item::pgscan_file } else { Item::pgscan_anon }, scanned as i32);
    let mut freed = 0;
    for page in batch {
        freed += u32::from(shrink_page(page, sc));
    }
    vmstat::add(isolated, -taken);
    sc.nr_reclaimed += freed;
    if freed > 0 {
        KSWAPD_FAILURES.store(0, Relaxed);
    }
    vmstat::add(if sc.is_kswapd { Item::pgsteal_kswapd } else { Item::pgsteal_direct }, freed as i32);
    vmstat::add(if is_file { Item::pgsteal_file } else { Item::pgsteal_anon }, freed as i32);
}

/// What becomes of a page that was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It goes.
    Free,
    /// It stays where it was.
    Keep,
    /// It is used, or cannot go for now.
    Activate,
    /// It can never go while it is locked in memory.
    Unevictable,
}

/// `shrink_folio_list` for one page, which is off its list with one use of the caller's.
/// Whether it was freed.
fn shrink_page(page: &'static Page, sc: &mut ScanControl) -> bool {
    if !trylock_page(page) {
        putback(page);
        return false;
    }
    let verdict = judge(page, sc);
    let freed = verdict == Verdict::Free && remove_mapping(page);
    if !freed && page.is(pg::SWAPCACHE) && (verdict == Verdict::Unevictable || super::swapfile::vm_swap_full()) {
        try_to_free_swap(page);
    }
    unlock_page(page);
    match verdict {
        Verdict::Free if freed => {
            put_page(page);
            return true;
        }
        Verdict::Activate => {
            page.set(pg::ACTIVE);
            vmstat::count(Item::pgactivate);
        }
        Verdict::Unevictable => {
            mlock_page(page);
            vmstat::count(Item::unevictable_pgs_culled);
        }
        Verdict::Free | Verdict::Keep => {}
    }
    putback(page);
    false
}

/// Takes a page that nobody uses any more out of its cache.
fn remove_mapping(page: &'static Page) -> bool {
    if page.is(pg::SWAPCACHE) {
        return swap_state::remove_unused(page);
    }
    match page.file_mapping() {
        Some(mapping) => mapping.remove_unused(page),
        // It was cut off its file, or unmapped: the caller's use is the last, or nearly.
        None => page.count() == 1 && page.mapcount() == 0,
    }
}

/// Unmaps and writes a locked page as far as that is allowed, and says what is to become of
/// it.
fn judge(page: &'static Page, sc: &mut ScanControl) -> Verdict {
    if page.is(pg::WRITEBACK) {
        page.set(pg::RECLAIM);
        vmstat::count(Item::nr_vmscan_immediate_reclaim);
        return Verdict::Activate;
    }
    let is_file = !page.is(pg::SWAPBACKED);
    let referenced = page_referenced(page);
    if referenced.vm_flags & vm::LOCKED != 0 {
        return Verdict::Unevictable;
    }
    if referenced.ptes > 0 {
        let again = page.test_set(pg::REFERENCED);
        let is_code = is_file && referenced.vm_flags & vm::EXEC != 0;
        return if again || referenced.ptes > 1 || is_code { Verdict::Activate } else { Verdict::Keep };
    }
    let used_by_calls = page.test_clear(pg::REFERENCED) && is_file;
    if page.is_anon() && !page.is(pg::SWAPCACHE) {
        if page.mapcount() == 0 {
            return Verdict::Free;
        }
        if !sc.may_swap || !add_to_swap(page) {
            return Verdict::Activate;
        }
    }
    if page.mapcount() > 0 {
        match try_to_unmap(page) {
            Unmapped::All => {}
            Unmapped::Locked => return Verdict::Unevictable,
            Unmapped::Failed => return Verdict::Activate,
        }
    }
    if page.is(pg::SWAPCACHE) {
        return if page.is(pg::DIRTY) { swap_out(page, sc) } else { Verdict::Free };
    }
    let Some(mapping) = page.file_mapping() else { return Verdict::Free };
    if page.is(pg::SWAPBACKED) {
        // Shared memory leaves its file for swap.
        if !sc.may_swap || !shmem::shmem_writepage(&mapping, page) {
            return Verdict::Activate;
        }
        return swap_out(page, sc);
    }
    if page.is(pg::DIRTY) {
        if !sc.may_write_files || used_by_calls {
            page.set(pg::RECLAIM);
            sc.nr_unqueued_dirty += 1;
            vmstat::count(Item::nr_vmscan_immediate_reclaim);
            return Verdict::Activate;
        }
        vmstat::count(Item::nr_vmscan_write);
        note_cost(true, 1);
        if write_one_page(&mapping, page).is_err() {
            return Verdict::Activate;
        }
    }
    Verdict::Free
}

/// `pageout` of a page of the swap cache that no table maps.
fn swap_out(page: &'static Page, sc: &ScanControl) -> Verdict {
    if !sc.may_swap {
        return Verdict::Keep;
    }
    // Somebody else looks at it: it would not go anyway.
    if page.count() != 2 || page.mapcount() != 0 {
        return Verdict::Keep;
    }
    page.clear(pg::DIRTY);
    page.set(pg::WRITEBACK);
    vmstat::count(Item::nr_writeback);
    vmstat::count(Item::nr_vmscan_write);
    note_cost(false, 1);
    let result = swap_writepage(entry_of(page), page);
    vmstat::add(Item::nr_writeback, -1);
    if let Err(error) = result {
        // The only copy is the one in memory.
        pr_info!("Write-error on swap-device: {error}");
        page.set(pg::DIRTY | pg::ERROR);
    }
    end_page_writeback(page);
    if result.is_ok() { Verdict::Free } else { Verdict::Activate }
}

/// `MADV_PAGEOUT`: takes one page out of memory now, if nothing stands against it.
pub fn reclaim_page(page: &'static Page) {
    let Some(_memalloc) = MemAlloc::enter() else { return };
    if page.is(pg::UNEVICTABLE) || !super::swap::lru_del(page) {
        return;
    }
    page.clear(pg::ACTIVE | pg::REFERENCED);
    page_referenced(page);
    let mut sc = ScanControl {
        highest_zone: ZONE_HIGHMEM,
        may_write_files: true,
        may_swap: true,
        is_kswapd: false,
        priority: 0,
        nr_to_reclaim: 1,
        nr_scanned: 0,
        nr_reclaimed: 0,
        nr_unqueued_dirty: 0,
    };
    super::page::get_page(page);
    shrink_page(page, &mut sc);
}

/// `MADV_COLD`: the page is looked at before others.
pub fn deactivate_page(page: &'static Page) {
    if page.is(pg::UNEVICTABLE) || !super::swap::lru_del(page) {
        return;
    }
    page_referenced(page);
    page.clear(pg::ACTIVE | pg::REFERENCED);
    vmstat::count(Item::pgdeactivate);
    lru_add(page, End::Tail);
}

/// Before a return to ring 3, when the kernel's own structures have eaten into the reserve:
/// makes room, or kills somebody.
pub fn refill_reserve() {
    let is_short = || {
        with_zones(|zones| {
            zones[..=ZONE_NORMAL].iter().all(|zone| zone.managed_pages == 0 || zone.free_pages < zone.watermark_min)
        })
    };
    for _ in 0..MAX_RECLAIM_RETRIES {
        if !is_short() {
            return;
        }
        if try_to_free_pages(gfp::GFP_KERNEL, ZONE_NORMAL) == 0 {
            break;
        }
    }
    if is_short() {
        oom::out_of_memory();
    }
}
