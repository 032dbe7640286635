//! The guest kernel's records, decoded from bytes.

use abi::books::{
    ChildUsageRecord, CpuRecord, CpuStateRecord, CpuTimeRecord, CredRecord, DentryRecord, FileRecord, InodeRecord,
    IrqRecord, KernelBooks, KernelNote, KmemCacheRecord, MmRecord, ModuleRecord, ModuleSymbolRecord, PageRecord,
    PendingRecord, ResourceRecord, SigActionRecord, SwapRecord, SystemPlaces, TaskPlacesRecord, TaskRecord,
    VmStatRecord, VmStructRecord, VmaRecord, ZoneRecord,
};
use abi::{Ptr32, U64};

/// A value with a fixed place in a record.
trait Field: Sized {
    /// Takes it from the front of `bytes`.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

impl Field for u32 {
    fn take(bytes: &mut &[u8]) -> Option<u32> {
        let (head, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(u32::from_le_bytes(*head))
    }
}

impl<T> Field for Ptr32<T> {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        u32::take(bytes).map(Ptr32::new)
    }
}

impl Field for U64 {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some(U64([u32::take(bytes)?, u32::take(bytes)?]))
    }
}

impl Field for SystemPlaces {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(SystemPlaces::SIZE)?;
        *bytes = rest;
        SystemPlaces::decode(head)
    }
}

impl<const N: usize> Field for [u8; N] {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*head)
    }
}

impl<const N: usize> Field for [u32; N] {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut words = [0; N];
        for word in &mut words {
            *word = u32::take(bytes)?;
        }
        Some(words)
    }
}

impl<const N: usize, const M: usize> Field for [[u32; N]; M] {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut rows = [[0; N]; M];
        for row in &mut rows {
            *row = Field::take(bytes)?;
        }
        Some(rows)
    }
}

/// A `#[repr(C)]` record of `abi::books`.
pub trait Record: Sized {
    /// Bytes in guest memory.
    const SIZE: usize = size_of::<Self>();
    /// Decodes it; `None` if there are too few bytes.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

macro_rules! records {
    ($($record:ident { $($field:ident),* $(,)? })*) => {$(
        impl Record for $record {
            fn decode(bytes: &[u8]) -> Option<Self> {
                let rest = &mut &*bytes;
                Some($record { $($field: Field::take(rest)?),* })
            }
        }
    )*};
}

records! {
    KernelNote { version, books, page_offset }
    KernelBooks {
        version, tasks, cpu_states, nr_cpus, iomem, ioports, zones, nr_zones, caches, mem_map, max_pfn, swapper_pg_dir,
        seq, resource_lock, zone_lock, slab_lock, vmstat, irqs, cpus, vmap_areas,
        vmap_unpurged, vmap_lock, pageblocks, swaps, modules, modules_lock, tty_pgrp, system,
    }
    SystemPlaces {
        switches, last_pid, total_forks, averages, tsc_mult, tsc_base, realtime_offset_ns,
    }
    TaskRecord {
        next, pid, tgid, ppid, pgrp, session, state, cpu, mm, comm, tty_nr, exit_code, min_flt, maj_flt, utime_ns,
        stime_ns, start_time_ns, nr_threads, stack, uid, gid, cpus_allowed, places,
    }
    TaskPlacesRecord {
        nr_fds, umask, cred, sigactions, blocked, pending, shared_pending, children, dead_threads, rlimits, exit_signal, nice, nvcsw,
        nivcsw,
    }
    CredRecord { uid, euid, suid, gid, egid, sgid }
    SigActionRecord { handler, flags, restorer, mask }
    PendingRecord { set, count }
    CpuTimeRecord { user_ns, system_ns }
    ChildUsageRecord { user_ns, system_ns, min_flt, maj_flt, maxrss }
    MmRecord {
        pgd, mmap, map_count, mm_users, start_code, end_code, start_data, end_data, start_brk, brk, start_stack,
        arg_start, arg_end, env_start, env_end, total_vm, rss_anon, rss_file, rss_shmem, hiwater_rss, hiwater_vm,
        pgtables_bytes, exe, mmap_lock, swapents, hugetlb_pages,
    }
    VmaRecord { next, start, end, flags, pgoff, file, mm }
    FileRecord { dentry, inode }
    DentryRecord { parent, name, name_len, flags }
    InodeRecord { ino, major, minor }
    ResourceRecord { start, end, name, name_len, parent, sibling, child, flags }
    ZoneRecord {
        name, start_pfn, spanned_pages, present_pages, managed_pages, watermark_min, watermark_low, watermark_high,
        free_pages, nr_free, lowmem_reserve, free_lists, blocks, nr_reserved_highatomic, pcp_count, pcp_high,
        pcp_batch,
    }
    VmStatRecord { counters }
    SwapRecord { file, is_block, pages, in_use, prio, map, slots }
    CpuStateRecord { current, idle, apic_id, nr_ready, vectors, user_ns, system_ns, idle_ns }
    IrqRecord { counts, chip, hwirq, name, name_len }
    CpuRecord {
        vendor, model_name, family, model, stepping, khz, cpuid_level, has_cpuid, features, physical_bits,
    }
    VmStructRecord {
        next, addr, size, flags, nr_pages, phys_addr, caller, caller_name, caller_name_len, caller_offset, caller_size,
        caller_module, caller_module_len,
    }
    ModuleRecord {
        next, name, state, base, size, text_size, ro_size, refcnt, init, exit, symbols, nr_symbols, uses, nr_uses,
    }
    ModuleSymbolRecord { addr, size, name, name_len }
    KmemCacheRecord {
        next, name, name_len, active_objs, num_objs, objsize, objperslab, pagesperslab, limit, batchcount, shared,
        active_slabs, num_slabs, sharedavail, avail,
    }
    PageRecord { flags, refcount, mapcount, mapping, index, lru, private }
}

/// Two neighbouring slots of a swap map.
pub struct SwapMapWord(pub u32);

impl Record for SwapMapWord {
    fn decode(bytes: &[u8]) -> Option<Self> {
        u32::take(&mut &*bytes).map(SwapMapWord)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Bytes that count up by words, so that a field's value tells its offset.
    fn words(size: usize) -> Vec<u8> {
        (0..size as u32 / 4).flat_map(|word| (word * 4).to_le_bytes()).collect()
    }

    #[test]
    fn fields_are_decoded_at_the_offsets_of_the_c_layout() {
        let task = TaskRecord::decode(&words(TaskRecord::SIZE)).unwrap();
        assert_eq!(task.mm.0 as usize, offset_of!(TaskRecord, mm));
        assert_eq!(task.gid as usize, offset_of!(TaskRecord, gid));
        assert_eq!(task.stime_ns.0[0] as usize, offset_of!(TaskRecord, stime_ns));
        let mm = MmRecord::decode(&words(MmRecord::SIZE)).unwrap();
        assert_eq!(mm.mmap_lock.0 as usize, offset_of!(MmRecord, mmap_lock));
        let zone = ZoneRecord::decode(&words(ZoneRecord::SIZE)).unwrap();
        assert_eq!(zone.nr_free[10] as usize, offset_of!(ZoneRecord, nr_free) + 40);
        assert_eq!(zone.free_lists[4][10] as usize, offset_of!(ZoneRecord, free_lists) + 54 * 4);
        let books = KernelBooks::decode(&words(KernelBooks::SIZE)).unwrap();
        assert_eq!(books.seq as usize, offset_of!(KernelBooks, seq));
        let cache = KmemCacheRecord::decode(&words(KmemCacheRecord::SIZE)).unwrap();
        assert_eq!(cache.avail[7] as usize, offset_of!(KmemCacheRecord, avail) + 28);
    }

    #[test]
    fn every_record_uses_all_its_bytes_and_no_fewer() {
        fn check<T: Record>() {
            assert!(T::decode(&words(T::SIZE)).is_some());
            assert!(T::decode(&words(T::SIZE - 4)).is_none());
        }
        check::<KernelNote>();
        check::<KernelBooks>();
        check::<TaskRecord>();
        check::<TaskPlacesRecord>();
        check::<CredRecord>();
        check::<SigActionRecord>();
        check::<PendingRecord>();
        check::<CpuTimeRecord>();
        check::<ChildUsageRecord>();
        check::<MmRecord>();
        check::<VmaRecord>();
        check::<FileRecord>();
        check::<DentryRecord>();
        check::<InodeRecord>();
        check::<ResourceRecord>();
        check::<ZoneRecord>();
        check::<VmStatRecord>();
        check::<SwapRecord>();
        check::<IrqRecord>();
        check::<CpuRecord>();
        check::<VmStructRecord>();
        check::<ModuleRecord>();
        check::<ModuleSymbolRecord>();
        check::<KmemCacheRecord>();
        check::<PageRecord>();
    }
}
