use cpu::CpuState;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Chipset, Machine,
    board::{BoardView, Signals},
};

/// What the hash of a machine's state covers beside memory.
#[derive(Serialize)]
struct Hashed<'a> {
    cpu: &'a CpuState,
    chipset: &'a Chipset,
    now_ns: u64,
}

impl Machine {
    /// A fingerprint of registers, chips, time, memory and what was written to disks. Two runs that agree in it are in the
    /// same state; the TLB, which has an order of its own, is left out.
    pub fn state_hash(&self) -> u64 {
        let cpu = CpuState { tlb: cpu::mmu::Tlb::default(), ..self.cpu.state.clone() };
        // Chips are brought up to now first: how lately that was done is no part of the state.
        let mut chipset = self.chipset.clone();
        chipset.wake(&mut BoardView { now_ns: self.now_ns, signals: &mut Signals::default() });
        let hashed = Hashed { cpu: &cpu, chipset: &chipset, now_ns: self.now_ns };
        let bytes = postcard::to_stdvec(&hashed).expect("plain data can be serialised");
        xxh3_64(&bytes).wrapping_add(self.mem.hash()).wrapping_add(self.disks.hash())
    }
}
