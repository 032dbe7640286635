//! Bytes as a kernel's file and as a ROM, or as changes to a good kernel's file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::images;

fuzz_target!(|bytes: &[u8]| match bytes {
    [0, changes @ ..] => images::changed_kernel(changes),
    _ => images::kernel(bytes),
});
