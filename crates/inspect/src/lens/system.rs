//! The kernel's books about memory, interrupts and processors: `meminfo`, `vmstat`,
//! `zoneinfo`, `interrupts`, `cpuinfo`, `swaps`.

use abi::books::{NR_CPUS, ZoneRecord};
use abi::out::render;
use abi::proc::counts::Counts;
use abi::proc::{cpuinfo as proc_cpuinfo, interrupts as proc_interrupts, meminfo as proc_meminfo, vmstat as rows};
use abi::proc::{system, zones as proc_zones};
use serde_json::{Map, Value, json};

use super::{Answer, lossy};
use crate::{Books, Result, Target};

/// Calls `show` with what the kernel counts.
fn with_counts(target: &Target<'_>, show: impl FnOnce(&Counts<'_>) -> Answer) -> Result<Answer> {
    let books = Books::of(target)?;
    let zones = books.zones()?;
    let caches = books.caches()?;
    let pages = caches.iter().map(|(_, cache)| cache.num_slabs.saturating_mul(cache.pagesperslab));
    let pages = pages.fold(0, u32::saturating_add);
    let nr_tasks = books.tasks()?.len() as u32;
    let nr_cpus = books.nr_cpus();
    Ok(show(&Counts { vmstat: &books.vmstat()?, zones: &zones, slab_pages: pages, nr_tasks, nr_cpus }))
}

/// `/proc/meminfo`; in JSON the numbers by the names of the rows.
pub fn meminfo(target: &Target<'_>) -> Result<Answer> {
    with_counts(target, |counts| {
        let text = render(|out| proc_meminfo::write(out, &proc_meminfo::MemInfo::of(counts)));
        let json = numbers(&text, |line| line.split_once(':'));
        Answer::new(text, json)
    })
}

/// `/proc/vmstat`; in JSON the numbers by the names of the rows.
pub fn vmstat(target: &Target<'_>) -> Result<Answer> {
    with_counts(target, |counts| {
        let text = render(|out| rows::write(out, |name| counts.by_name(name)));
        let json = numbers(&text, |line| line.split_once(' '));
        Answer::new(text, json)
    })
}

/// The rows of a text as an object.
fn numbers(text: &[u8], split: impl Fn(&str) -> Option<(&str, &str)>) -> Map<String, Value> {
    let text = lossy(text);
    let number = |value: &str| value.trim().trim_end_matches(" kB").parse::<u64>().ok();
    let rows = text.lines().filter_map(split);
    rows.filter_map(|(name, value)| Some((name.to_owned(), number(value)?.into()))).collect()
}

/// `/proc/zoneinfo`.
pub fn zoneinfo(target: &Target<'_>) -> Result<Answer> {
    with_counts(target, |counts| {
        let text = render(|out| proc_zones::zoneinfo(out, counts));
        let zone = |zone: &ZoneRecord| {
            json!({
                "node": 0, "zone": proc_zones::name(zone), "free": zone.free_pages, "min": zone.watermark_min,
                "low": zone.watermark_low, "high": zone.watermark_high, "spanned": zone.spanned_pages,
                "present": zone.present_pages, "managed": zone.managed_pages, "protection": zone.lowmem_reserve,
                "start_pfn": zone.start_pfn, "cpu_lists": &zone.pcp_count[..NR_CPUS.min(counts.nr_cpus as usize)],
            })
        };
        Answer::new(text, counts.zones.iter().map(zone).collect::<Vec<_>>())
    })
}

/// `/proc/interrupts`.
pub fn interrupts(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let lines = books.irqs()?;
    let cpus = (0..books.nr_cpus()).map(|cpu| Ok(books.cpu_state(cpu)?.vectors)).collect::<Result<Vec<_>>>()?;
    let text = render(|out| {
        let used = lines.iter().map(|(irq, name, record)| proc_interrupts::Line { irq: *irq, record, name });
        proc_interrupts::write(out, used, &cpus);
    });
    let json = lines
        .iter()
        .map(|(irq, name, record)| json!({"irq": irq, "counts": &record.counts[..cpus.len()], "action": lossy(name)}));
    let vectors = proc_interrupts::VECTORS.iter().enumerate().map(|(at, (name, words))| {
        let counts: Vec<u32> = cpus.iter().map(|vectors| vectors[at]).collect();
        json!({"vector": name, "counts": counts, "action": words})
    });
    Ok(Answer::new(text, json.chain(vectors).collect::<Vec<_>>()))
}

/// `/proc/cpuinfo`.
pub fn cpuinfo(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let nr_cpus = books.nr_cpus();
    let cpus = (0..nr_cpus)
        .map(|processor| {
            let apic_id = books.cpu_state(processor)?.apic_id;
            Ok((proc_cpuinfo::Place { processor, apic_id, nr_cpus }, books.cpu(processor)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let json = cpus.iter().map(|(place, cpu)| {
        json!({
            "processor": place.processor, "apic_id": place.apic_id,
            "vendor_id": lossy(proc_cpuinfo::unpadded(&cpu.vendor)), "cpu_family": cpu.family,
            "model": cpu.model, "model_name": lossy(proc_cpuinfo::unpadded(&cpu.model_name)), "stepping": cpu.stepping,
            "khz": cpu.khz, "cpuid_level": cpu.cpuid_level, "cpuid_1_edx": cpu.features[0],
            "cpuid_1_ecx": cpu.features[1], "physical_bits": cpu.physical_bits,
        })
    });
    let text = render(|out| cpus.iter().for_each(|(place, cpu)| proc_cpuinfo::block(out, *place, cpu)));
    Ok(Answer::new(text, json.collect::<Vec<_>>()))
}

/// `/proc/swaps`.
pub fn swaps(target: &Target<'_>) -> Result<Answer> {
    let books = Books::of(target)?;
    let mut areas = Vec::new();
    for area in books.swaps()? {
        areas.push((books.file(area.file)?.path, area));
    }
    let text = render(|out| {
        system::swaps_head(out);
        areas.iter().for_each(|(path, area)| system::swaps_line(out, area, path));
    });
    let json = areas.iter().map(|(path, area)| {
        let kind = if area.is_block != 0 { "partition" } else { "file" };
        json!({
            "filename": lossy(path), "type": kind, "size_kb": u64::from(area.pages) * 4,
            "used_kb": u64::from(area.in_use) * 4, "priority": area.prio as i32,
        })
    });
    Ok(Answer::new(text, json.collect::<Vec<_>>()))
}
