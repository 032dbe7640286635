//! Bytes from gdb.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::{images, packets};

fuzz_target!(|bytes: &[u8]| packets::body(&mut images::machine(), bytes));
