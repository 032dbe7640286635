//! Bytes as code, in every mode.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pagewalk_fuzz_bodies::code::{Worlds, body, ways};

thread_local! {
    static WORLDS: RefCell<[Worlds; 3]> = RefCell::new(ways().map(Worlds::new));
}

fuzz_target!(|bytes: &[u8]| WORLDS.with_borrow_mut(|worlds| {
    for worlds in worlds {
        body(worlds, bytes);
    }
}));
