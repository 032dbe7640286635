use cpu::{Cpu, CpuState, mmu::Tlb};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Chipset, Machine,
    board::{BoardView, Signals},
    schedule::Schedule,
};

/// What the hash of a machine's state covers beside memory.
#[derive(Serialize)]
struct Hashed<'a> {
    cpus: Vec<CpuState>,
    chipset: &'a Chipset,
    schedule: &'a Schedule,
    now_ns: u64,
}

impl Machine {
    /// A fingerprint of all CPUs' registers and turns, chips, time, memory and what was written to disks. Two runs that agree in it are in the
    /// same state; the TLB, which has an order of its own, is left out.
    pub fn state_hash(&self) -> u64 {
        let without_tlb = |cpu: &Cpu| CpuState { tlb: Tlb::default(), ..cpu.state.clone() };
        // Chips are brought up to now first: how lately that was done is no part of the state.
        let mut chipset = self.chipset.clone();
        chipset.wake(&mut BoardView { now_ns: self.now_ns, signals: &mut Signals::default() });
        let cpus = self.cpus.iter().map(without_tlb).collect();
        let hashed = Hashed { cpus, chipset: &chipset, schedule: &self.schedule, now_ns: self.now_ns };
        let bytes = postcard::to_stdvec(&hashed).expect("plain data can be serialised");
        xxh3_64(&bytes).wrapping_add(self.mem.hash()).wrapping_add(self.disks.hash())
    }
}
