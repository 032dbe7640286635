//! Bytes as calls of mmap, munmap, mprotect.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::areas;

fuzz_target!(|bytes: &[u8]| areas::body(bytes));
