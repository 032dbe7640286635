//! Who has which I/O ports and which physical memory: `/proc/ioports` and `/proc/iomem`.
#![allow(unsafe_code)]

use alloc::boxed::Box;

use abi::{
    Ptr32,
    books::ResourceRecord,
    errno::{EBUSY, Result},
};
use mm::resource::{self, BUSY, Node, Nodes};

use crate::{arch::PAGE_OFFSET, arch::boot::sections, sync::SpinLock};

/// Nodes are records on the heap.
struct Heap;

impl Nodes for Heap {
    fn get(&self, node: Node) -> ResourceRecord {
        // SAFETY: every node of a tree lives until it is taken out; the lock is held.
        unsafe { *(node.0 as *const ResourceRecord) }
    }
    fn set_links(&mut self, node: Node, [parent, sibling, child]: [Node; 3]) {
        // SAFETY: as above.
        let record = unsafe { &mut *(node.0 as *mut ResourceRecord) };
        (record.parent, record.sibling, record.child) = (parent, sibling, child);
    }
}

/// Both trees.
struct Roots {
    ioports: Node,
    iomem: Node,
}

static ROOTS: SpinLock<Roots> = SpinLock::new(Roots { ioports: Ptr32::NULL, iomem: Ptr32::NULL });

/// Which tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// I/O ports.
    Io,
    /// Physical memory.
    Memory,
}

fn new_node(start: u32, end: u32, name: &'static str, flags: u32) -> Node {
    let (name, name_len) = (Ptr32::new(name.as_ptr() as u32), name.len() as u32);
    let record = Box::new(ResourceRecord { start, end, name, name_len, flags, ..ResourceRecord::default() });
    Node::new(Box::into_raw(record) as u32)
}

fn free_node(node: Node) {
    // SAFETY: made by `new_node`, and in no tree.
    drop(unsafe { Box::from_raw(node.0 as *mut ResourceRecord) });
}

impl Roots {
    fn root(&self, space: Space) -> Node {
        match space {
            Space::Io => self.ioports,
            Space::Memory => self.iomem,
        }
    }
}

/// Claims `len` ports or bytes from `start` for a driver: EBUSY if somebody has a part.
pub fn request(space: Space, start: u32, len: u32, name: &'static str) -> Result<()> {
    let node = new_node(start, start + (len - 1), name, BUSY);
    let roots = ROOTS.lock_irqsave();
    let taken = resource::request_region(&mut Heap, roots.root(space), node).is_err();
    drop(roots);
    if taken {
        free_node(node);
        return Err(EBUSY);
    }
    Ok(())
}

/// Gives back exactly what was claimed.
pub fn release(space: Space, start: u32, len: u32) {
    let roots = ROOTS.lock_irqsave();
    let node = resource::release_region(&mut Heap, roots.root(space), start, start + (len - 1));
    drop(roots);
    match node {
        Some(node) => free_node(node),
        None => crate::pr_info!("Trying to free nonexistent resource <{:016x}-{:016x}>", start, start + (len - 1)),
    }
}

/// `request_region`.
pub fn request_region(start: u16, len: u32, name: &'static str) -> Result<()> {
    request(Space::Io, start.into(), len, name)
}

/// `release_region`.
pub fn release_region(start: u16, len: u32) {
    release(Space::Io, start.into(), len);
}

/// `request_mem_region`.
pub fn request_mem_region(start: u32, len: u32, name: &'static str) -> Result<()> {
    request(Space::Memory, start, len, name)
}

/// `release_mem_region`.
pub fn release_mem_region(start: u32, len: u32) {
    release(Space::Memory, start, len);
}

/// Names a range of physical memory, which `end` is in, as the platform's.
pub fn insert_memory(start: u32, end: u32, name: &'static str) {
    insert(Space::Memory, start, end, name);
}

/// Puts a range where it belongs in the tree, adopting what lies inside it. What overlaps
/// in part is left out.
fn insert(space: Space, start: u32, end: u32, name: &'static str) {
    let node = new_node(start, end, name, 0);
    let roots = ROOTS.lock_irqsave();
    if resource::insert(&mut Heap, roots.root(space), node).is_err() {
        drop(roots);
        free_node(node);
    }
}

/// Calls `visit` with (depth, record, name) for all nodes, parents before children, while
/// nothing changes.
pub fn for_each(space: Space, mut visit: impl FnMut(u32, &ResourceRecord, &'static str)) {
    let roots = ROOTS.lock_irqsave();
    let root = roots.root(space);
    let (mut at, mut depth) = (Heap.get(root).child, 0);
    while !at.is_null() {
        let record = Heap.get(at);
        // SAFETY: made from a `&'static str` in `new_node`.
        let name = unsafe {
            let bytes = core::slice::from_raw_parts(record.name.0 as *const u8, record.name_len as usize);
            core::str::from_utf8_unchecked(bytes)
        };
        visit(depth, &record, name);
        at = record.child;
        depth += 1;
        let mut up = record;
        while at.is_null() && depth > 0 {
            at = up.sibling;
            if at.is_null() && up.parent == root {
                return;
            }
            if at.is_null() {
                up = Heap.get(up.parent);
            }
            depth -= 1;
        }
    }
}

/// The roots of ports and memory and the lock of both, for the books.
pub fn roots() -> (Node, Node, Ptr32<u8>) {
    let roots = ROOTS.lock_irqsave();
    (roots.ioports, roots.iomem, ROOTS.flag())
}

/// Makes both trees: RAM and the kernel's image, the ports that every PC has.
pub fn init() {
    {
        let mut roots = ROOTS.lock_irqsave();
        roots.ioports = new_node(0, 0xffff, "PCI IO", 0);
        roots.iomem = new_node(0, !0, "PCI mem", 0);
    }
    // Before the loader's map, whose equal ranges adopt them.
    insert(Space::Memory, 0xa0000, 0xbffff, "Video RAM area");
    insert(Space::Memory, 0xf0000, 0xfffff, "System ROM");
    crate::with_boot_info(|boot| {
        for range in boot.ranges().iter().filter(|r| r.start >> 32 == 0) {
            let end = (range.start + range.len - 1).min(u64::from(u32::MAX)) as u32;
            let name = match range.kind {
                1 => "System RAM",
                3 => "ACPI Tables",
                4 => "ACPI Non-volatile Storage",
                5 => "Unusable memory",
                _ => "Reserved",
            };
            insert_ram(range.start as u32, end, name);
        }
    });
    let phys = |addr: u32| addr - PAGE_OFFSET;
    insert(Space::Memory, phys(sections::text()), phys(sections::etext()) - 1, "Kernel code");
    insert(Space::Memory, phys(sections::srodata()), phys(sections::erodata()) - 1, "Kernel rodata");
    insert(Space::Memory, phys(sections::sdata()), phys(sections::edata()) - 1, "Kernel data");
    insert(Space::Memory, phys(sections::bss_start()), phys(sections::bss_stop()) - 1, "Kernel bss");
    for (start, len, name) in [
        (0x00, 0x20, "dma1"),
        (0x20, 2, "pic1"),
        (0x40, 4, "timer0"),
        (0x50, 4, "timer1"),
        (0x60, 1, "keyboard"),
        (0x64, 1, "keyboard"),
        (0x70, 8, "rtc0"),
        (0x80, 0x10, "dma page reg"),
        (0xa0, 2, "pic2"),
        (0xc0, 0x20, "dma2"),
        (0xf0, 0x10, "fpu"),
    ] {
        if request_region(start, len, name).is_err() {
            crate::pr_info!("resource: {} finds its ports taken", name);
        }
    }
}

/// The first page is the BIOS's: Linux shows it as reserved.
fn insert_ram(start: u32, end: u32, name: &'static str) {
    if start == 0 && end > 0xfff && name == "System RAM" {
        insert(Space::Memory, 0, 0xfff, "Reserved");
        insert(Space::Memory, 0x1000, end, name);
    } else {
        insert(Space::Memory, start, end, name);
    }
}
