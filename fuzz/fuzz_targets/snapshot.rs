//! Bytes as a snapshot's file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::images;

fuzz_target!(|bytes: &[u8]| images::snapshot(bytes));
