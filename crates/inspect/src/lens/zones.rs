//! Free memory by zone, and the slab caches.

use abi::books::ZoneRecord;
use abi::out::render;
use abi::proc::{slabinfo as proc_slabinfo, zones};
use serde_json::json;

use super::Answer;
use crate::{Books, Result, Target};

/// `/proc/buddyinfo`.
pub fn buddyinfo(target: &Target<'_>) -> Result<Answer> {
    let mut rows = Books::of(target)?.zones()?;
    rows.retain(|zone| zone.present_pages != 0);
    let text = render(|out| rows.iter().for_each(|zone| zones::buddyinfo_line(out, zone)));
    let json = rows.iter().map(|zone| json!({"node": 0, "zone": zones::name(zone), "free_blocks": zone.nr_free}));
    Ok(Answer::new(text, json.collect::<Vec<_>>()))
}

/// `/proc/pagetypeinfo`.
pub fn pagetypeinfo(target: &Target<'_>) -> Result<Answer> {
    let rows = Books::of(target)?.zones()?;
    let text = render(|out| zones::pagetypeinfo(out, &rows));
    let by_type = |zone: &ZoneRecord| {
        let lists = zones::MIGRATE_TYPES.iter().zip(&zone.free_lists).zip(zone.blocks);
        let lists =
            lists.map(|((name, free), blocks)| json!({"type": name, "free_blocks": free, "pageblocks": blocks}));
        json!({"node": 0, "zone": zones::name(zone), "types": lists.collect::<Vec<_>>()})
    };
    Ok(Answer::new(text, rows.iter().filter(|zone| zone.present_pages != 0).map(by_type).collect::<Vec<_>>()))
}

/// `/proc/slabinfo`.
pub fn slabinfo(target: &Target<'_>) -> Result<Answer> {
    let caches = Books::of(target)?.caches()?;
    let text = render(|out| {
        proc_slabinfo::head(out);
        caches.iter().for_each(|(name, cache)| proc_slabinfo::line(out, name, cache));
    });
    let json = caches.iter().map(|(name, cache)| {
        json!({
            "name": super::lossy(name), "active_objs": cache.active_objs, "num_objs": cache.num_objs,
            "objsize": cache.objsize, "objperslab": cache.objperslab, "pagesperslab": cache.pagesperslab,
            "limit": cache.limit, "batchcount": cache.batchcount, "sharedfactor": cache.shared,
            "active_slabs": cache.active_slabs, "num_slabs": cache.num_slabs, "sharedavail": cache.sharedavail,
        })
    });
    Ok(Answer::new(text, json.collect::<Vec<_>>()))
}
