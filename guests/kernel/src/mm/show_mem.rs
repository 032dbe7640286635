//! What memory is used for, as the kernel's log tells it when there is none left.

use abi::books::{NR_MIGRATE_TYPES, ZoneRecord};

use super::{
    PAGE_SIZE,
    hugetlb::HPAGE_SIZE,
    page::{max_pfn, mem_map, pg},
    page_alloc::{MAX_NR_ZONES, ZONE_HIGHMEM, with_zones},
    slab,
    swap::{Lru, NR_LRU_LISTS},
    vmscan,
    vmstat::{self, Item},
};
use crate::{arch::percpu::cpu_number, pr_info, printk};

const PAGE_KB: u32 = PAGE_SIZE / 1024;
/// The migrate types, by letter.
const MIGRATE_LETTERS: [char; NR_MIGRATE_TYPES] = ['U', 'M', 'E', 'H', 'I'];

/// `show_mem`.
#[cold]
#[inline(never)]
pub fn show_mem() {
    let n = vmstat::read;
    let kb = |item| vmstat::read(item) * PAGE_KB;
    let sum = |part: fn(&ZoneRecord) -> u32| with_zones(|zones| zones.iter().map(part).sum::<u32>());
    let free = sum(|zone| zone.free_pages);
    let free_pcp = sum(ZoneRecord::pcp_pages);
    pr_info!("Mem-Info:");
    pr_info!(
        "active_anon:{} inactive_anon:{} isolated_anon:{}",
        n(Item::nr_active_anon),
        n(Item::nr_inactive_anon),
        n(Item::nr_isolated_anon)
    );
    pr_info!(
        " active_file:{} inactive_file:{} isolated_file:{}",
        n(Item::nr_active_file),
        n(Item::nr_inactive_file),
        n(Item::nr_isolated_file)
    );
    pr_info!(
        " unevictable:{} dirty:{} writeback:{}",
        n(Item::nr_unevictable),
        n(Item::nr_dirty),
        n(Item::nr_writeback)
    );
    pr_info!(" slab_reclaimable:0 slab_unreclaimable:{}", slab::slab_pages());
    pr_info!(" mapped:{} shmem:{} pagetables:{}", n(Item::nr_mapped), n(Item::nr_shmem), n(Item::nr_page_table_pages));
    pr_info!(" sec_pagetables:0 bounce:0");
    pr_info!(" kernel_misc_reclaimable:0");
    pr_info!(" free:{free} free_pcp:{free_pcp} free_cma:0");
    pr_info!(
        "Node 0 active_anon:{}kB inactive_anon:{}kB active_file:{}kB inactive_file:{}kB unevictable:{}kB \
         isolated(anon):{}kB isolated(file):{}kB mapped:{}kB dirty:{}kB writeback:{}kB shmem:{}kB shmem_thp: 0kB \
         shmem_pmdmapped: 0kB anon_thp: 0kB writeback_tmp:0kB kernel_stack:{}kB pagetables:{}kB sec_pagetables:0kB \
         all_unreclaimable? {}",
        kb(Item::nr_active_anon),
        kb(Item::nr_inactive_anon),
        kb(Item::nr_active_file),
        kb(Item::nr_inactive_file),
        kb(Item::nr_unevictable),
        kb(Item::nr_isolated_anon),
        kb(Item::nr_isolated_file),
        kb(Item::nr_mapped),
        kb(Item::nr_dirty),
        kb(Item::nr_writeback),
        kb(Item::nr_shmem),
        crate::task::pid::counts().0 * 8,
        kb(Item::nr_page_table_pages),
        if vmscan::all_unreclaimable() { "yes" } else { "no" }
    );
    show_zones();
    pr_info!(
        "Node 0 hugepages_total={} hugepages_free={} hugepages_surp={} hugepages_size={}kB",
        n(Item::hugetlb_total),
        n(Item::hugetlb_free),
        n(Item::hugetlb_surp),
        HPAGE_SIZE / 1024
    );
    pr_info!("{} total pagecache pages", n(Item::nr_file_pages));
    pr_info!("{} pages in swap cache", n(Item::nr_swapcached));
    pr_info!("Free swap  = {}kB", kb(Item::nr_swap_free));
    pr_info!("Total swap = {}kB", kb(Item::nr_swap_total));
    pr_info!("{} pages RAM", sum(|zone| zone.present_pages));
    pr_info!("{} pages HighMem/MovableOnly", with_zones(|zones| zones[ZONE_HIGHMEM].managed_pages));
    let reserved = mem_map().iter().take(max_pfn() as usize).filter(|page| page.is(pg::RESERVED)).count();
    pr_info!("{reserved} pages reserved");
    pr_info!("0 pages hwpoisoned");
}

/// Copies of the records, one at a time: nothing is printed under the zones' lock, and whoever is out of
/// memory may not have much of its stack left either.
#[inline(never)]
fn show_zones() {
    let copy = |n: usize| with_zones(|zones| zones[n]);
    let present = || (0..MAX_NR_ZONES).filter(|&n| with_zones(|zones| zones[n].managed_pages > 0));
    let uses = zone_uses();
    present().for_each(|n| show_zone(&copy(n), &uses[n]));
    present().for_each(|n| show_free_blocks(&copy(n)));
}

fn name(zone: &ZoneRecord) -> &str {
    abi::proc::zones::name(zone)
}

/// What the frames of a zone are used for, in pages.
#[derive(Clone, Copy, Default)]
struct ZoneUse {
    lists: [u32; NR_LRU_LISTS],
    write_pending: u32,
    mlocked: u32,
}

/// The lists are those of the whole node: which zone a page is of, its frame says.
fn zone_uses() -> [ZoneUse; MAX_NR_ZONES] {
    let mut uses = [ZoneUse::default(); MAX_NR_ZONES];
    for page in mem_map().iter().filter(|page| page.is(pg::LRU)) {
        let zone = &mut uses[page.zone()];
        zone.lists[Lru::of(page) as usize] += 1;
        zone.mlocked += u32::from(page.is(pg::MLOCKED));
        let is_dirty = page.is(pg::DIRTY) && page.file_mapping().is_some_and(|mapping| mapping.ops().is_some());
        zone.write_pending += u32::from(is_dirty || page.is(pg::WRITEBACK));
    }
    uses
}

fn show_zone(zone: &ZoneRecord, uses: &ZoneUse) {
    let kb = |pages: u32| pages * PAGE_KB;
    let list = |lru: Lru| kb(uses.lists[lru as usize]);
    pr_info!(
        "{} free:{}kB boost:0kB min:{}kB low:{}kB high:{}kB reserved_highatomic:{}KB active_anon:{}kB \
         inactive_anon:{}kB active_file:{}kB inactive_file:{}kB unevictable:{}kB writepending:{}kB present:{}kB \
         managed:{}kB mlocked:{}kB bounce:0kB free_pcp:{}kB local_pcp:{}kB free_cma:0kB",
        name(zone),
        kb(zone.free_pages),
        kb(zone.watermark_min),
        kb(zone.watermark_low),
        kb(zone.watermark_high),
        kb(zone.nr_reserved_highatomic),
        list(Lru::ActiveAnon),
        list(Lru::InactiveAnon),
        list(Lru::ActiveFile),
        list(Lru::InactiveFile),
        list(Lru::Unevictable),
        kb(uses.write_pending),
        kb(zone.present_pages),
        kb(zone.managed_pages),
        kb(uses.mlocked),
        kb(zone.pcp_pages()),
        kb(zone.pcp_count[cpu_number() as usize])
    );
    let [a, b, c, d] = zone.lowmem_reserve;
    pr_info!("lowmem_reserve[]: {a} {b} {c} {d}");
}

fn show_free_blocks(zone: &ZoneRecord) {
    printk!("{}:", name(zone));
    let mut total = 0;
    for (order, blocks) in zone.nr_free.iter().enumerate() {
        total += (blocks * PAGE_KB) << order;
        printk!(" {blocks}*{}kB", PAGE_KB << order);
        if *blocks > 0 {
            printk!(" (");
            let types = MIGRATE_LETTERS.iter().zip(&zone.free_lists).filter(|(_, list)| list[order] > 0);
            types.for_each(|(letter, _)| printk!("{letter}"));
            printk!(")");
        }
    }
    printk!(" = {total}kB\n");
}
