//! Bytes as a kernel's file and as a ROM.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::images;

fuzz_target!(|bytes: &[u8]| images::kernel(bytes));
