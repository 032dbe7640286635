//! How objects are laid out in slabs.

/// Alignment of every object, at least.
pub const MIN_ALIGN: u32 = 4;
/// Bytes of a cache line, for `SLAB_HWCACHE_ALIGN`.
pub const CACHE_LINE: u32 = 64;
/// Largest order of a slab that holds several objects.
const MAX_SHARED_ORDER: u8 = 3;
const PAGE_SIZE: u32 = 4096;

/// The geometry of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Bytes from one object to the next.
    pub size: u32,
    /// log2 of the pages of a slab.
    pub order: u8,
    /// Objects of a slab.
    pub objects: u32,
}

/// The geometry for objects of `size` bytes aligned to `align` (a power of two).
///
/// As in Linux's SLUB: a slab should hold several objects, more with more CPUs, and waste
/// at most a sixteenth, an eighth, a quarter of itself, in this order of preference.
pub fn layout(size: u32, align: u32, nr_cpus: u32) -> Layout {
    let align = align.max(MIN_ALIGN);
    let size = size.max(4).next_multiple_of(align);
    let min_objects = 4 * (32 - nr_cpus.max(1).leading_zeros() + 1);
    let max_objects = (PAGE_SIZE << MAX_SHARED_ORDER) / size;
    let mut wanted = min_objects.min(max_objects);
    while wanted > 1 {
        for fraction in [16, 8, 4] {
            let first = (0..=MAX_SHARED_ORDER).find(|&order| PAGE_SIZE << order >= wanted * size).unwrap_or(0);
            for order in first..=MAX_SHARED_ORDER {
                let bytes = PAGE_SIZE << order;
                if bytes % size <= bytes / fraction {
                    return Layout { size, order, objects: bytes / size };
                }
            }
        }
        wanted -= 1;
    }
    let order = (0u8..=10).find(|&order| PAGE_SIZE << order >= size).unwrap_or(10);
    Layout { size, order, objects: (PAGE_SIZE << order) / size }
}

/// The alignment that `SLAB_HWCACHE_ALIGN` gives: a cache line, or less for small objects.
pub fn hwcache_align(size: u32) -> u32 {
    let mut align = CACHE_LINE;
    while align > MIN_ALIGN && size <= align / 2 {
        align /= 2;
    }
    align
}

/// Sizes of the `kmalloc` caches, ascending.
pub const KMALLOC_SIZES: [u32; 22] = [
    8,
    16,
    32,
    64,
    96,
    128,
    192,
    256,
    512,
    1 << 10,
    2 << 10,
    4 << 10,
    8 << 10,
    16 << 10,
    32 << 10,
    64 << 10,
    128 << 10,
    256 << 10,
    512 << 10,
    1 << 20,
    2 << 20,
    4 << 20,
];

/// Names of the `kmalloc` caches.
pub const KMALLOC_NAMES: [&str; 22] = [
    "kmalloc-8",
    "kmalloc-16",
    "kmalloc-32",
    "kmalloc-64",
    "kmalloc-96",
    "kmalloc-128",
    "kmalloc-192",
    "kmalloc-256",
    "kmalloc-512",
    "kmalloc-1k",
    "kmalloc-2k",
    "kmalloc-4k",
    "kmalloc-8k",
    "kmalloc-16k",
    "kmalloc-32k",
    "kmalloc-64k",
    "kmalloc-128k",
    "kmalloc-256k",
    "kmalloc-512k",
    "kmalloc-1M",
    "kmalloc-2M",
    "kmalloc-4M",
];

/// What is put around and into objects to find wrong uses: bits of `slab_debug`.
pub mod debug {
    /// F: checks at every allocation and free.
    pub const CONSISTENCY_CHECKS: u32 = 0x100;
    /// Z: zones around objects that nobody may write.
    pub const RED_ZONE: u32 = 0x400;
    /// P: free objects are filled with a pattern.
    pub const POISON: u32 = 0x800;
    /// U: who allocated and freed each object.
    pub const STORE_USER: u32 = 0x1_0000;
    /// What `slab_debug` without letters means.
    pub const ALL: u32 = CONSISTENCY_CHECKS | RED_ZONE | POISON | STORE_USER;

    /// The bits of `slab_debug=LETTERS[,CACHE…]` for one cache; 0 if it is not meant.
    pub fn of_option(option: &str, cache: &str) -> u32 {
        let (letters, caches) = option.split_once(',').unwrap_or((option, ""));
        if !caches.is_empty() && !caches.split(',').any(|name| is_meant(name, cache)) {
            return 0;
        }
        if letters.is_empty() {
            return ALL;
        }
        letters.bytes().fold(0, |bits, letter| {
            bits | match letter.to_ascii_uppercase() {
                b'F' => CONSISTENCY_CHECKS,
                b'Z' => RED_ZONE,
                b'P' => POISON,
                b'U' => STORE_USER,
                _ => 0,
            }
        })
    }

    /// Whether a name of the option, which may end in `*`, is the cache's.
    fn is_meant(name: &str, cache: &str) -> bool {
        name.strip_suffix('*').map_or(name == cache, |start| cache.starts_with(start))
    }
}

/// Who allocated or freed an object: two words each, address and process.
pub const TRACK_BYTES: u32 = 2 * 8;

/// Where the parts of an object are, from its slot's first byte:
/// `[red zone] object [red zone] [link] [tracks] [padding]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ObjectLayout {
    /// Bytes of the red zone before the object.
    pub red_left: u32,
    /// Bytes of the object itself.
    pub object_size: u32,
    /// From the object's first byte to the end of the red zone behind it.
    pub inuse: u32,
    /// From the object's first byte to the link of the free list.
    pub link: u32,
    /// From the object's first byte to the tracks.
    pub track: u32,
    /// From the object's first byte to the padding.
    pub end: u32,
    /// From one object to the next, before the slab's geometry rounds it.
    pub size: u32,
}

/// The parts of objects of `size` bytes at `align`. With a constructor, or when the bytes of
/// free objects are watched, the link stands behind the object.
pub fn object_layout(size: u32, align: u32, flags: u32, has_ctor: bool) -> ObjectLayout {
    let align = align.max(MIN_ALIGN);
    let object_size = size.max(4);
    let mut inuse = object_size.next_multiple_of(4);
    let red = flags & debug::RED_ZONE != 0;
    if red && inuse == object_size {
        inuse += 4;
    }
    let apart = has_ctor || flags & (debug::POISON | debug::RED_ZONE) != 0;
    let (link, mut end) = if apart { (inuse, inuse + 4) } else { (0, inuse) };
    let track = end;
    if flags & debug::STORE_USER != 0 {
        end += TRACK_BYTES;
    }
    let red_left = if red { align } else { 0 };
    ObjectLayout { red_left, object_size, inuse, link, track, end, size: red_left + end }
}

/// Objects that a CPU keeps for a cache whose objects have `size` bytes; none of large ones.
pub fn cpu_array_limit(size: u32) -> u32 {
    match size {
        0..=256 => 120,
        257..=1024 => 54,
        1025..=4096 => 24,
        4097..=32768 => 8,
        _ => 0,
    }
}

/// The natural alignment of a `kmalloc` size: its largest power of two.
pub fn kmalloc_align(size: u32) -> u32 {
    1 << size.trailing_zeros()
}

/// The index of the smallest `kmalloc` cache for `size` bytes aligned to `align`.
pub fn kmalloc_index(size: u32, align: u32) -> Option<usize> {
    let from = KMALLOC_SIZES.partition_point(|&s| s < size);
    (from..KMALLOC_SIZES.len()).find(|&n| kmalloc_align(KMALLOC_SIZES[n]) >= align)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cpus_give_the_geometry_that_linux_prints() {
        for (size, objects, pages) in [
            (8, 512, 1),
            (16, 256, 1),
            (32, 128, 1),
            (96, 42, 1),
            (192, 21, 1),
            (256, 16, 1),
            (512, 16, 2),
            (1024, 16, 4),
            (2048, 16, 8),
            (4096, 8, 8),
            (8192, 4, 8),
        ] {
            let l = layout(size, kmalloc_align(size), 2);
            assert_eq!((l.objects, 1u32 << l.order), (objects, pages), "kmalloc-{size}");
        }
    }

    #[test]
    fn watched_objects_have_their_parts_side_by_side() {
        let plain = object_layout(64, 64, 0, false);
        assert_eq!((plain.red_left, plain.link, plain.inuse, plain.size), (0, 0, 64, 64));
        let constructed = object_layout(62, 4, 0, true);
        assert_eq!((constructed.link, constructed.size), (64, 68));
        let all = object_layout(64, 64, debug::ALL, false);
        assert_eq!((all.red_left, all.inuse, all.link, all.track, all.size), (64, 68, 68, 72, 152));
        let odd = object_layout(61, 4, debug::RED_ZONE, false);
        assert_eq!((odd.object_size, odd.inuse, odd.link), (61, 64, 64), "the bytes up to the word are the red zone");
    }

    #[test]
    fn the_option_says_which_caches_are_watched_and_how() {
        use debug::{ALL, POISON, RED_ZONE, of_option};
        for (option, cache, flags) in [
            ("", "anything", ALL),
            ("ZP", "anything", RED_ZONE | POISON),
            ("zp,kmalloc-64", "kmalloc-64", RED_ZONE | POISON),
            ("ZP,kmalloc-64", "kmalloc-32", 0),
            (",kmalloc-*,pid", "kmalloc-32", ALL),
            (",kmalloc-*,pid", "pid", ALL),
            ("-", "pid", 0),
        ] {
            assert_eq!(of_option(option, cache), flags, "{option} for {cache}");
        }
    }

    #[test]
    fn the_largest_sizes_are_alone_in_their_slab() {
        assert_eq!(layout(4 << 20, 4096, 1), Layout { size: 4 << 20, order: 10, objects: 1 });
        assert_eq!(layout(64 << 10, 4096, 1), Layout { size: 64 << 10, order: 4, objects: 1 });
    }

    #[test]
    fn every_request_up_to_4_mib_has_a_class_that_is_large_and_aligned_enough() {
        for size in (1..4 << 20).step_by(997) {
            for align in [1, 8, 64, 4096] {
                let n = kmalloc_index(size, align).unwrap();
                assert!(KMALLOC_SIZES[n] >= size && kmalloc_align(KMALLOC_SIZES[n]) >= align);
            }
        }
        assert_eq!(kmalloc_index((4 << 20) + 1, 1), None);
    }
}
