//! Bytes as page tables.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::tables;

thread_local! {
    static TABLES: RefCell<tables::Tables> = RefCell::new(tables::Tables::new());
}

fuzz_target!(|bytes: &[u8]| TABLES.with(|tables| tables.borrow_mut().body(bytes)));
