//! Real gdb on a machine, and packets by hand: a subject a file.

mod packets;
mod session;
mod stops;
mod waiting;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    [session::trials(), stops::trials(), packets::trials()].into_iter().flatten().collect()
}
