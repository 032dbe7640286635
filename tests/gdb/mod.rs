//! Real gdb on a machine, and packets by hand: a subject a file.

mod command;
mod packets;
mod rom;
mod scenarios;
mod session;
mod stops;
mod stops_bad_input;
mod stops_events;
mod waiting;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    [
        session::trials(),
        command::trials(),
        scenarios::trials(),
        stops::trials(),
        stops_events::trials(),
        stops_bad_input::trials(),
        packets::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
