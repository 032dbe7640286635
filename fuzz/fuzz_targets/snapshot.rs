//! Bytes as a snapshot's file, or as changes to a good one's contents.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::images;

fuzz_target!(|bytes: &[u8]| match bytes {
    [0, changes @ ..] => images::changed_snapshot(changes),
    _ => images::snapshot(bytes),
});
