//! `/proc/slabinfo`.

use crate::books::KmemCacheRecord;
use crate::{Out, out};

/// The two lines above the caches.
pub fn head(out: &mut dyn Out) {
    out.bytes(b"slabinfo - version: 2.1\n");
    out.bytes(b"# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>");
    out.bytes(b" : tunables <limit> <batchcount> <sharedfactor>");
    out.bytes(b" : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
}

/// The line of one cache.
pub fn line(out: &mut dyn Out, name: &[u8], cache: &KmemCacheRecord) {
    out.bytes(name);
    for _ in name.len()..17 {
        out.bytes(b" ");
    }
    out!(
        out,
        " {:6} {:6} {:6} {:4} {:4}",
        cache.active_objs,
        cache.num_objs,
        cache.objsize,
        cache.objperslab,
        cache.pagesperslab
    );
    out!(out, " : tunables {:4} {:4} {:4}", cache.limit, cache.batchcount, cache.shared);
    out!(out, " : slabdata {:6} {:6} {:6}\n", cache.active_slabs, cache.num_slabs, cache.sharedavail);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    #[test]
    fn lines_equal_those_of_a_real_kernel() {
        let cache = KmemCacheRecord {
            active_objs: 128,
            num_objs: 128,
            objsize: 32,
            objperslab: 128,
            pagesperslab: 1,
            active_slabs: 1,
            num_slabs: 1,
            ..KmemCacheRecord::default()
        };
        let want = "kmalloc-cg-32        128    128     32  128    1 : tunables    0    0    0 : slabdata      1      1      0\n";
        assert_eq!(render(|out| line(out, b"kmalloc-cg-32", &cache)), want.as_bytes());
        assert!(render(head).starts_with(b"slabinfo - version: 2.1\n# name            <active_objs>"));
    }
}
