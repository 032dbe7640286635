//! Counters of a machine at one instant, for its samples.

use abi::proc::{counts::Item, interrupts::vector};
use machine::Sample;

use crate::{Books, Result, Target};

/// What is counted now. It follows no list, so that it may be asked for in the midst of a change of the
/// kernel's books, and costs little.
pub fn sample(target: &Target<'_>) -> Sample {
    let counts = || target.cpus.iter().map(|cpu| cpu.tlb.counts());
    let hardware = Sample {
        retired: target.cpus.iter().map(|cpu| cpu.retired).sum(),
        minor_faults: counts().map(|counts| counts.page_faults).sum(),
        tlb_misses: counts().map(|counts| counts.fills).sum(),
        tlb_flushes: counts().map(|counts| counts.flushes).sum(),
        invlpg: counts().map(|counts| counts.invlpgs).sum(),
        ..Sample::default()
    };
    of_books(target, &hardware).unwrap_or(hardware)
}

/// The same with what the kernel counts.
fn of_books(target: &Target<'_>, hardware: &Sample) -> Result<Sample> {
    let books = Books::of(target)?;
    let vmstat = books.vmstat()?;
    let item = |item: Item| vmstat.counters[item as usize];
    let major = item(Item::pgmajfault);
    let zones = books.zones()?;
    let mut shootdowns = 0;
    for cpu in 0..books.nr_cpus() {
        shootdowns += u64::from(books.cpu_state(cpu)?.vectors[vector::TLB]);
    }
    Ok(Sample {
        minor_faults: item(Item::pgfault).saturating_sub(major).into(),
        major_faults: major.into(),
        shootdowns,
        free: zones.iter().map(|zone| zone.nr_free).collect(),
        free_pages: zones.iter().map(|zone| zone.free_pages).fold(0, u32::saturating_add),
        swap_used: item(Item::nr_swap_total).saturating_sub(item(Item::nr_swap_free)),
        page_cache: item(Item::nr_file_pages),
        anonymous: item(Item::nr_anon_pages),
        ..hardware.clone()
    })
}
