//! `/proc/meminfo`.

use super::counts::{Counts, Item};
use super::kb;
use crate::layout::{VMALLOC_END, VMALLOC_START};
use crate::{Out, out};

/// The numbers of `/proc/meminfo` that this kernel can have other than 0, in pages unless
/// the name says otherwise.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "fields bear the names of the file's rows")]
pub struct MemInfo {
    pub total: u32,
    pub free: u32,
    pub available: u32,
    pub buffers: u32,
    pub cached: u32,
    pub swap_cached: u32,
    pub active_anon: u32,
    pub inactive_anon: u32,
    pub active_file: u32,
    pub inactive_file: u32,
    pub unevictable: u32,
    pub mlocked: u32,
    pub high_total: u32,
    pub high_free: u32,
    pub swap_total: u32,
    pub swap_free: u32,
    pub dirty: u32,
    pub writeback: u32,
    pub anon_pages: u32,
    pub mapped: u32,
    pub shmem: u32,
    pub slab_reclaimable: u32,
    pub slab_unreclaimable: u32,
    pub kernel_stack_kb: u32,
    pub page_tables: u32,
    pub commit_limit: u32,
    pub committed: u32,
    pub vmalloc_total_kb: u32,
    pub vmalloc_used_kb: u32,
    pub percpu_kb: u32,
    pub huge_pages_total: u32,
    pub huge_pages_free: u32,
    pub huge_pages_rsvd: u32,
    pub huge_pages_surp: u32,
    pub direct_map_4k_kb: u32,
    pub direct_map_4m_kb: u32,
}

impl MemInfo {
    /// The numbers as the kernel counts them.
    pub fn of(counts: &Counts<'_>) -> MemInfo {
        let (total, free) = (counts.sum(|zone| zone.managed_pages), counts.free());
        let high = counts.zones.get(2).copied().unwrap_or_default();
        let (anon, shmem) = (counts.item(Item::nr_anon_pages), counts.item(Item::nr_shmem));
        MemInfo {
            total,
            free,
            available: available(counts),
            buffers: counts.item(Item::nr_buffers),
            cached: (counts.item(Item::nr_file_pages))
                .saturating_sub(counts.item(Item::nr_swapcached))
                .saturating_sub(counts.item(Item::nr_buffers)),
            swap_cached: counts.item(Item::nr_swapcached),
            active_anon: counts.item(Item::nr_active_anon),
            inactive_anon: counts.item(Item::nr_inactive_anon),
            active_file: counts.item(Item::nr_active_file),
            inactive_file: counts.item(Item::nr_inactive_file),
            unevictable: counts.item(Item::nr_unevictable),
            mlocked: counts.item(Item::nr_mlock),
            swap_total: counts.item(Item::nr_swap_total),
            swap_free: counts.item(Item::nr_swap_free),
            writeback: counts.item(Item::nr_writeback),
            high_total: high.managed_pages,
            high_free: high.free_pages,
            dirty: counts.item(Item::nr_dirty),
            anon_pages: anon,
            mapped: counts.item(Item::nr_mapped),
            shmem,
            slab_unreclaimable: counts.slab_pages,
            kernel_stack_kb: counts.kernel_stack_kb(),
            page_tables: counts.item(Item::nr_page_table_pages),
            commit_limit: (total / 2).saturating_add(counts.item(Item::nr_swap_total)),
            committed: anon.saturating_add(shmem),
            vmalloc_total_kb: VMALLOC_KB,
            vmalloc_used_kb: counts.item(Item::nr_vmalloc_pages).saturating_mul(4),
            huge_pages_total: counts.item(Item::hugetlb_total),
            huge_pages_free: counts.item(Item::hugetlb_free),
            huge_pages_rsvd: counts.item(Item::hugetlb_rsvd),
            huge_pages_surp: counts.item(Item::hugetlb_surp),
            ..MemInfo::default()
        }
    }
}

/// `MemAvailable`: what is free above the low marks, and the file pages that could be dropped
/// without thrashing (`si_mem_available`).
fn available(counts: &Counts<'_>) -> u32 {
    let low = counts.sum(|zone| zone.watermark_low);
    let pagecache = counts.item(Item::nr_active_file).saturating_add(counts.item(Item::nr_inactive_file));
    let kept = (pagecache / 2).min(low);
    counts.free().saturating_add(pagecache - kept).saturating_sub(low)
}

/// `VmallocTotal`.
const VMALLOC_KB: u32 = (VMALLOC_END - VMALLOC_START) / 1024;

/// Writes the file.
pub fn write(out: &mut dyn Out, m: &MemInfo) {
    let huge_kb = u64::from(m.huge_pages_total) * 4096;
    // One by one: a table of them would take a kilobyte of a kernel stack.
    row(out, "MemTotal", kb(m.total));
    row(out, "MemFree", kb(m.free));
    row(out, "MemAvailable", kb(m.available));
    row(out, "Buffers", kb(m.buffers));
    row(out, "Cached", kb(m.cached));
    row(out, "SwapCached", kb(m.swap_cached));
    row(out, "Active", kb(m.active_anon.saturating_add(m.active_file)));
    row(out, "Inactive", kb(m.inactive_anon.saturating_add(m.inactive_file)));
    row(out, "Active(anon)", kb(m.active_anon));
    row(out, "Inactive(anon)", kb(m.inactive_anon));
    row(out, "Active(file)", kb(m.active_file));
    row(out, "Inactive(file)", kb(m.inactive_file));
    row(out, "Unevictable", kb(m.unevictable));
    row(out, "Mlocked", kb(m.mlocked));
    row(out, "HighTotal", kb(m.high_total));
    row(out, "HighFree", kb(m.high_free));
    row(out, "LowTotal", kb(m.total.saturating_sub(m.high_total)));
    row(out, "LowFree", kb(m.free.saturating_sub(m.high_free)));
    row(out, "SwapTotal", kb(m.swap_total));
    row(out, "SwapFree", kb(m.swap_free));
    row(out, "Zswap", 0);
    row(out, "Zswapped", 0);
    row(out, "Dirty", kb(m.dirty));
    row(out, "Writeback", kb(m.writeback));
    row(out, "AnonPages", kb(m.anon_pages));
    row(out, "Mapped", kb(m.mapped));
    row(out, "Shmem", kb(m.shmem));
    row(out, "KReclaimable", kb(m.slab_reclaimable));
    row(out, "Slab", kb(m.slab_reclaimable.saturating_add(m.slab_unreclaimable)));
    row(out, "SReclaimable", kb(m.slab_reclaimable));
    row(out, "SUnreclaim", kb(m.slab_unreclaimable));
    row(out, "KernelStack", m.kernel_stack_kb.into());
    row(out, "PageTables", kb(m.page_tables));
    row(out, "SecPageTables", 0);
    row(out, "NFS_Unstable", 0);
    row(out, "Bounce", 0);
    row(out, "WritebackTmp", 0);
    row(out, "CommitLimit", kb(m.commit_limit));
    row(out, "Committed_AS", kb(m.committed));
    row(out, "VmallocTotal", m.vmalloc_total_kb.into());
    row(out, "VmallocUsed", m.vmalloc_used_kb.into());
    row(out, "VmallocChunk", 0);
    row(out, "Percpu", m.percpu_kb.into());
    row(out, "HardwareCorrupted", 0);
    row(out, "AnonHugePages", 0);
    row(out, "ShmemHugePages", 0);
    row(out, "ShmemPmdMapped", 0);
    row(out, "FileHugePages", 0);
    row(out, "FilePmdMapped", 0);
    let counts = [
        ("Total", m.huge_pages_total),
        ("Free", m.huge_pages_free),
        ("Rsvd", m.huge_pages_rsvd),
        ("Surp", m.huge_pages_surp),
    ];
    for (name, value) in counts {
        let width = 12 - name.len();
        out!(out, "HugePages_{name}:{value:width$}\n", width = width + 1);
    }
    row(out, "Hugepagesize", 4096);
    row(out, "Hugetlb", huge_kb);
    row(out, "DirectMap4k", m.direct_map_4k_kb.into());
    row(out, "DirectMap4M", m.direct_map_4m_kb.into());
}

/// `Name:` and the number, which ends at column 24 where the name leaves room.
fn row(out: &mut dyn Out, name: &str, value: u64) {
    let width = 23usize.saturating_sub(name.len());
    out!(out, "{name}:{value:width$} kB\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    #[test]
    fn rows_equal_those_of_a_real_kernel() {
        let info = MemInfo {
            total: 515_002,
            high_total: 300_002,
            kernel_stack_kb: 528,
            direct_map_4m_kb: 884_736,
            ..MemInfo::default()
        };
        let text = String::from_utf8(render(|out| write(out, &info))).unwrap();
        for want in [
            "MemTotal:        2060008 kB\nMemFree:               0 kB\n",
            "HighTotal:       1200008 kB\n",
            "LowTotal:         860000 kB\n",
            "KernelStack:         528 kB\n",
            "HardwareCorrupted:     0 kB\n",
            "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n",
            "Hugepagesize:       4096 kB\nHugetlb:               0 kB\n",
            "DirectMap4M:      884736 kB\n",
        ] {
            assert!(text.contains(want), "{want} in {text}");
        }
        assert_eq!(text.lines().count(), 57);
    }
}
