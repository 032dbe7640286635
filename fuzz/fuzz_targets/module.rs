//! Bytes as a kernel module.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::modules;

fuzz_target!(|bytes: &[u8]| modules::body(bytes));
