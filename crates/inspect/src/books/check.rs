//! What the records say of themselves and of each other, checked where they are read.

use abi::Ptr32;
use abi::books::{
    KmemCacheRecord, MmRecord, ModuleRecord, NR_MIGRATE_TYPES, ResourceRecord, SwapRecord, TaskRecord, VmStructRecord,
    VmaRecord, ZoneRecord,
};

use super::{Books, MAX_MODULES, MAX_PAGES, comm};
use crate::{Error, record::Record};

/// The most that one module can have.
const MAX_MODULE_BYTES: u32 = 128 << 20;

impl Books<'_> {
    fn lie<T>(&self, what: &'static str, at: Ptr32<T>, why: impl Into<String>) {
        self.damage().note(Error::Lie { what, addr: at.0, why: why.into() });
    }

    /// Numbers ascend, and a name ends.
    pub(super) fn check_tasks(&self, rows: &[(Ptr32<TaskRecord>, TaskRecord)]) {
        for (at, task) in rows {
            if !task.comm.contains(&0)
                || comm(task).contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)
            {
                self.lie("task", *at, format!("the name of task {} is torn", task.pid));
            }
            let is_letter = char::from_u32(task.state).is_some_and(|letter| "RSDTtXZI".contains(letter));
            if !is_letter {
                self.lie("task", *at, format!("task {} is in no state that there is", task.pid));
            }
        }
        for pair in rows.windows(2) {
            let [(_, before), (at, task)] = pair else { continue };
            if task.pid <= before.pid {
                self.lie("task", *at, format!("task {} follows task {}", task.pid, before.pid));
            }
        }
    }

    /// Counts fit into 4 GiB, and the page directory is a frame of its own.
    pub(super) fn check_mm(&self, at: Ptr32<MmRecord>, mm: &MmRecord) {
        let counts = [
            ("total_vm", mm.total_vm),
            ("rss_anon", mm.rss_anon),
            ("rss_file", mm.rss_file),
            ("rss_shmem", mm.rss_shmem),
            ("hiwater_rss", mm.hiwater_rss),
            ("hiwater_vm", mm.hiwater_vm),
        ];
        for (name, pages) in counts {
            if pages > MAX_PAGES {
                self.lie("mm", at, format!("{name} of {pages} pages"));
            }
        }
        let max_pfn = self.root().max_pfn;
        if max_pfn != 0 && mm.pgd >> 12 >= max_pfn {
            self.lie("mm", at, format!("its page directory at {:#010x} is not in memory", mm.pgd));
        }
    }

    pub(super) fn check_map_count(&self, mm: &MmRecord, count: usize) {
        if mm.map_count as usize != count {
            self.lie("list of areas", mm.mmap, format!("map_count is {}, and {count} are there", mm.map_count));
        }
    }

    /// Whether the area lies behind the one that ended at `end`, which it then moves.
    pub(super) fn is_area(&self, at: Ptr32<VmaRecord>, vma: &VmaRecord, end: &mut u32) -> bool {
        let range = format!("{:08x}-{:08x}", vma.start, vma.end);
        if vma.start >= vma.end {
            self.lie("area", at, format!("{range} is no range"));
        } else if vma.start < *end {
            self.lie("area", at, format!("{range} begins before {end:08x}, where the one before ends"));
        } else {
            *end = vma.end;
            return true;
        }
        false
    }

    pub(super) fn check_name(&self, what: &'static str, at: Ptr32<u8>, name: &[u8]) {
        if name.contains(&0) {
            self.lie(what, at, "it has zeros in it");
        }
    }

    /// A range lies within its parent's.
    pub(super) fn check_resource(&self, at: Ptr32<ResourceRecord>, resource: &ResourceRecord, parent: (u32, u32)) {
        let ResourceRecord { start, end, .. } = *resource;
        if start > end {
            self.lie("resource", at, format!("{start:08x}-{end:08x} is no range"));
        } else if start < parent.0 || end > parent.1 {
            let (from, to) = parent;
            self.lie("resource", at, format!("{start:08x}-{end:08x} is not inside {from:08x}-{to:08x}"));
        }
    }

    /// Whether it is a zone at all; its counts must agree.
    pub(super) fn is_zone(&self, at: Ptr32<ZoneRecord>, zone: &ZoneRecord) -> bool {
        let len = zone.name.iter().position(|&byte| byte == 0).unwrap_or(0);
        if len == 0 || !zone.name[..len].iter().all(u8::is_ascii_alphanumeric) {
            self.lie("zone", at, "its name is torn");
            return false;
        }
        let blocks = (0u32..).zip(zone.nr_free);
        let sum = blocks.fold(0u64, |sum, (order, count)| sum + (u64::from(count) << order));
        if sum != u64::from(zone.free_pages) {
            self.lie("zone", at, format!("{} pages are free, and {sum} in its free blocks", zone.free_pages));
        }
        for (order, count) in zone.nr_free.into_iter().enumerate() {
            let by_type = (0..NR_MIGRATE_TYPES).fold(0u64, |sum, kind| sum + u64::from(zone.free_lists[kind][order]));
            if by_type != u64::from(count) {
                self.lie("zone", at, format!("{count} blocks of order {order} are free, and {by_type} on its lists"));
            }
        }
        if zone.free_pages > zone.managed_pages || zone.managed_pages > zone.present_pages {
            let (free, managed, present) = (zone.free_pages, zone.managed_pages, zone.present_pages);
            self.lie("zone", at, format!("{free} free pages of {managed} managed of {present} present"));
        }
        true
    }

    pub(super) fn check_cache(&self, at: Ptr32<KmemCacheRecord>, cache: &KmemCacheRecord) {
        if cache.active_objs > cache.num_objs {
            self.lie("cache", at, format!("{} of {} objects are in use", cache.active_objs, cache.num_objs));
        }
        if cache.active_slabs > cache.num_slabs {
            self.lie("cache", at, format!("{} of {} slabs are in use", cache.active_slabs, cache.num_slabs));
        }
        if u64::from(cache.num_slabs) * u64::from(cache.objperslab) != u64::from(cache.num_objs) {
            let (slabs, each, objects) = (cache.num_slabs, cache.objperslab, cache.num_objs);
            self.lie("cache", at, format!("{slabs} slabs of {each} objects have {objects}"));
        }
    }

    pub(super) fn check_swap(&self, kind: u32, area: &SwapRecord) {
        let at = Ptr32::<SwapRecord>::new(self.root().swaps.0.wrapping_add(kind * SwapRecord::SIZE as u32));
        if area.in_use > area.pages {
            self.lie("swap area", at, format!("{} of {} pages are in use", area.in_use, area.pages));
        }
    }

    /// Areas follow each other without overlap.
    pub(super) fn check_vmap_areas(&self, areas: &[(Ptr32<VmStructRecord>, VmStructRecord)]) {
        let mut end = 0;
        for (at, area) in areas {
            let after = area.addr.checked_add(area.size);
            match after {
                Some(after) if area.size > 0 && area.addr >= end => end = after,
                _ => self.lie("area of vmalloc", *at, format!("{} bytes at {:#010x}", area.size, area.addr)),
            }
        }
    }

    pub(super) fn check_module(&self, at: Ptr32<ModuleRecord>, module: &ModuleRecord) {
        let len = module.name.iter().position(|&byte| byte == 0).unwrap_or(0);
        if len == 0 || !module.name[..len].iter().all(u8::is_ascii_graphic) {
            self.lie("module", at, "its name is torn");
        }
        if module.size > MAX_MODULE_BYTES || module.text_size > module.ro_size || module.ro_size > module.size {
            let sizes = (module.text_size, module.ro_size, module.size);
            self.lie("module", at, format!("its sizes {sizes:?} can't be"));
        }
        if module.nr_uses > MAX_MODULES as u32 {
            self.lie("module", at, format!("it uses {} others", module.nr_uses));
        }
    }
}
