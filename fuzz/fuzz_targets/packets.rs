//! Bytes from gdb.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::{images, packets};

fuzz_target!(|bytes: &[u8]| {
    let mut machine = images::machine();
    match bytes.split_first() {
        Some((0, text)) => packets::body(&mut machine, &packets::lines(text)),
        _ => packets::body(&mut machine, bytes),
    }
});
