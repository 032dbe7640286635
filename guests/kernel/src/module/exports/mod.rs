//! What the kernel lets modules use (`EXPORT_SYMBOL`): C functions by name.
//!
//! Names, arguments and results are Linux's. Where Linux has a macro or a pointer that only C
//! can make something of, the difference stands at the function.

mod device;
mod memory;
mod text;

/// A row of the table.
struct KernelSymbol {
    name: &'static str,
    value: *const (),
}

#[allow(unsafe_code)]
// SAFETY: a row is never changed, and its address never read through.
unsafe impl Sync for KernelSymbol {}

/// The table of a list of functions, each under its own name.
macro_rules! export_symbols {
    ($($module:ident: $($name:ident)*;)*) => {
        static KSYMTAB: &[KernelSymbol] =
            &[$($(KernelSymbol { name: stringify!($name), value: $module::$name as *const () },)*)*];
    };
}

export_symbols! {
    text: printk panic memcpy memmove memset memcmp bcmp strlen copy_to_user copy_from_user ktime_get_ns;
    memory: kmalloc kzalloc krealloc kfree ksize;
    memory: kmem_cache_create kmem_cache_alloc kmem_cache_free kmem_cache_destroy;
    memory: vmalloc vzalloc vfree ioremap iounmap;
    memory: virt_to_page vmalloc_to_page virt_to_phys vm_insert_page remap_pfn_range;
    device: request_region release_region request_mem_region release_mem_region;
    device: register_chrdev unregister_chrdev device_create device_destroy;
}

/// The address of an exported symbol.
pub fn find(name: &[u8]) -> Option<u32> {
    KSYMTAB.iter().find(|symbol| symbol.name.as_bytes() == name).map(|symbol| symbol.value as u32)
}
