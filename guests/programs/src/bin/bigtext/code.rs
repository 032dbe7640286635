//! 8 MiB of code: a function at the beginning of each page.
#![allow(unsafe_code)]

/// Functions, and pages.
pub const PAGES: usize = 2048;
/// Bytes of a page.
pub const PAGE: usize = 4096;

// `mov eax, [esp + 4]; imul eax, eax, 31; add eax, NUMBER; ret`, with the number of the page.
std::arch::global_asm!(
    ".pushsection .text.big_text, \"ax\", @progbits",
    ".p2align 12",
    ".globl big_text",
    "big_text:",
    ".set number, 0",
    ".rept 2048",
    ".byte 0x8b, 0x44, 0x24, 0x04, 0x6b, 0xc0, 0x1f, 0x05",
    ".long number",
    ".byte 0xc3",
    ".p2align 12, 0xcc",
    ".set number, number + 1",
    ".endr",
    ".popsection",
);

unsafe extern "C" {
    safe static big_text: [u8; PAGES * PAGE];
}

/// The addresses of the code.
pub fn range() -> std::ops::Range<usize> {
    let start = (&raw const big_text).addr();
    start..start + PAGES * PAGE
}

/// Calls every function with what the one before has given; the first gets `value`.
pub fn call_all(value: u32) -> u32 {
    let start = range().start;
    (0..PAGES).fold(value, |value, page| {
        // SAFETY: the function that begins there keeps C's convention and touches no memory but
        // its argument.
        let function: extern "C" fn(u32) -> u32 = unsafe { std::mem::transmute(start + page * PAGE) };
        function(value)
    })
}

/// What `call_all` must give.
pub fn answer(value: u32) -> u32 {
    (0..PAGES as u32).fold(value, |value, page| value.wrapping_mul(31).wrapping_add(page))
}
