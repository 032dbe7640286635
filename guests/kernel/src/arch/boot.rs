//! From the Multiboot entry, with paging off, to `start_kernel` in the higher half.
#![allow(unsafe_code)]

use core::arch::global_asm;

/// What a Multiboot 1 loader leaves in EAX.
pub const MULTIBOOT_BOOTLOADER_MAGIC: u32 = 0x2BAD_B002;

// The boot tables map the first 16 MiB with 4 KiB pages twice: at 0, for the instruction
// after CR0.PG is set, and at PAGE_OFFSET. No CPUID feature is needed for that.
// `paging::init` then builds the real direct map.
global_asm!(
    r#"
    .section .multiboot, "a"
    .balign 4
    .long 0x1BADB002            /* magic */
    .long 0x00000003            /* flags: modules on page boundaries, memory map */
    .long -(0x1BADB002 + 3)     /* checksum */

    .section .boot.text, "ax"
    .code32
    .globl _start
_start:
    cli
    cld
    mov esi, eax                /* magic */
    mov edi, ebx                /* physical address of the Multiboot information */

    /* four page tables, entry n maps frame n */
    mov ecx, 4096
    mov eax, 0x003              /* P | RW */
    mov edx, offset boot_page_tables - 0xC0000000
2:  mov [edx], eax
    add eax, 0x1000
    add edx, 4
    dec ecx
    jnz 2b

    mov ecx, 4
    mov eax, offset boot_page_tables - 0xC0000000 + 3
    mov edx, offset swapper_pg_dir - 0xC0000000
3:  mov [edx], eax
    mov [edx + 768 * 4], eax
    add eax, 0x1000
    add edx, 4
    dec ecx
    jnz 3b

    mov eax, offset swapper_pg_dir - 0xC0000000
    mov cr3, eax
    mov eax, cr0
    and eax, 0x9ffaffff         /* caches on, no alignment checks */
    or eax, 0x80010023          /* PG | WP | NE | MP | PE */
    and eax, 0xfffffff3         /* EM and TS clear */
    mov cr0, eax
    mov eax, offset startup_high
    jmp eax                     /* absolute: into the higher half */

    .section .text.startup, "ax"
    .globl startup_high
startup_high:
    mov esp, offset init_stack + 8192
    xor ebp, ebp                /* ends the chain of frames */
    push 0
    popfd
    sub esp, 8                  /* 16-byte alignment at the call */
    push edi
    push esi
    call start_kernel
4:  hlt
    jmp 4b

    .section .bss
    .balign 8192
    .globl init_stack
init_stack: .skip 8192
    .balign 4096
    .globl swapper_pg_dir
swapper_pg_dir: .skip 4096
boot_page_tables: .skip 16384
    .text
"#
);

/// Addresses that the linker script and this file define.
pub mod sections {
    macro_rules! addresses {
        ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {
            $($(#[$doc])*
            pub fn $name() -> u32 {
                unsafe extern "C" {
                    static $symbol: u8;
                }
                (&raw const $symbol) as u32
            })*
        };
    }
    addresses! {
        /// First address of the kernel's code.
        text = _text;
        /// End of the kernel's code.
        etext = _etext;
        /// First address of read-only data.
        srodata = _srodata;
        /// End of read-only data.
        erodata = _erodata;
        /// First address of initialised data.
        sdata = _sdata;
        /// End of initialised data.
        edata = _edata;
        /// First address of zeroed data.
        bss_start = __bss_start;
        /// End of zeroed data.
        bss_stop = __bss_stop;
        /// End of the image.
        end = _end;
        /// The first page directory.
        swapper_pg_dir = swapper_pg_dir;
        /// Lowest address of the boot stack, which becomes that of the idle task.
        init_stack = init_stack;
    }
}
