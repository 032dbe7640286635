//! Silicon as the oracle: instructions run one by one on the host's processor, in 32-bit and 16-bit code
//! segments in ring 3, and on ours, from the same random state; everything must be equal.
//!
//! `cargo run --release -p pagewalk-oracle` prints the table of `docs/fidelity.md`.

pub mod aim;
pub mod catalogue;
pub mod compare;
pub mod forms;
pub mod generate;
pub mod line;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod native;
pub mod ours;
pub mod random;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod run;
pub mod segments;
pub mod state;
pub mod table;

use iced_x86::{FastFormatter, Instruction};

/// An instruction as Intel writes it.
pub fn text(instruction: &Instruction) -> String {
    let mut text = String::new();
    FastFormatter::new().format(instruction, &mut text);
    text
}
