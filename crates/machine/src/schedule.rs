//! Whose turn it is. One host thread runs all CPUs; which one, and for how long, is a part of
//! the machine's state, so that a run with several CPUs is as repeatable as one with one.
//!
//! A turn ends on HLT, on the last PAUSE that it allows, when its instructions are used up, and
//! when the CPU is made to wait by another one's INIT. A stop by the host ends none: what is
//! left of the turn is state too.

use serde::{Deserialize, Serialize};

use crate::config::MachineConfig;

/// Instructions of a turn in round robin.
const QUANTUM: u64 = 20_000;
/// PAUSEs of a turn in round robin: who waits for another CPU in a loop soon lets it run.
const PAUSES: u64 = 4;
/// Stands for a turn without end: that of a machine's only CPU.
const ENDLESS: u64 = u64::MAX;

/// Turns that are drawn have less than two to the power of this many instructions, and at most so many PAUSEs.
const LARGEST_BITS: u64 = 16;
const MOST_PAUSES: u64 = 8;

/// The turns of a machine's CPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    current: u8,
    /// What the turn has left; it is over when either is 0.
    instructions: u64,
    pauses: u64,
    /// State of the generator, if order and turns are drawn.
    random: Option<u64>,
    alone: bool,
}

impl Schedule {
    /// CPU 0 begins.
    pub fn new(config: &MachineConfig) -> Self {
        let random = config.schedule_seed;
        let mut schedule = Schedule { current: 0, instructions: 0, pauses: 0, random, alone: config.cpus == 1 };
        schedule.begin(0);
        schedule
    }

    /// The CPU whose turn it is, or was.
    pub fn current(&self) -> usize {
        self.current.into()
    }

    /// Whether the turn is over and no other has begun.
    pub fn is_over(&self) -> bool {
        self.instructions == 0 || self.pauses == 0
    }

    /// Instructions that the turn has left.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// PAUSEs that the turn has left; the last one ends it.
    pub fn pauses(&self) -> u64 {
        self.pauses
    }

    /// The CPU ran for so many instructions, and has these PAUSEs left.
    pub fn ran(&mut self, instructions: u64, pauses_left: u64) {
        if !self.alone {
            self.instructions -= instructions;
            self.pauses = pauses_left;
        }
    }

    /// The turn is over.
    pub fn end(&mut self) {
        self.instructions = 0;
    }

    /// Further turns are drawn from `seed`.
    pub fn draw_from(&mut self, seed: u64) {
        self.random = Some(seed);
    }

    /// Gives the turn to one of the CPUs for which `is_awake`, of `cpus`, if there is one.
    pub fn next(&mut self, cpus: usize, is_awake: impl Fn(usize) -> bool) {
        let behind = (1..=cpus).map(|step| (self.current() + step) % cpus);
        let mut awake = behind.filter(|&cpu| is_awake(cpu));
        let chosen = match self.random {
            None => awake.next(),
            Some(_) => {
                let awake: Vec<usize> = awake.collect();
                match awake.len() {
                    0 => None,
                    count => Some(awake[self.draw(count as u64) as usize]),
                }
            }
        };
        if let Some(cpu) = chosen {
            self.begin(cpu);
        }
    }

    fn begin(&mut self, cpu: usize) {
        self.current = cpu as u8;
        (self.instructions, self.pauses) = match self.random {
            _ if self.alone => (ENDLESS, ENDLESS),
            None => (QUANTUM, PAUSES),
            Some(_) => {
                // As many short turns as long ones: races hide in both.
                let least = 1 << self.draw(LARGEST_BITS);
                (least + self.draw(least), 1 + self.draw(MOST_PAUSES))
            }
        };
    }

    /// A number below `bound`; `SplitMix64`, whose numbers are good enough from any seed.
    fn draw(&mut self, bound: u64) -> u64 {
        let state = self.random.get_or_insert(0);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    /// Whether a machine of `cpus` could have come here.
    pub fn fits(&self, cpus: usize) -> bool {
        self.current() < cpus && self.alone == (cpus == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cpus: u8, schedule_seed: Option<u64>) -> Schedule {
        Schedule::new(&MachineConfig { cpus, schedule_seed, ..MachineConfig::default() })
    }

    #[test]
    fn turns_go_round_and_leave_out_who_rests() {
        let mut schedule = schedule(4, None);
        let order: Vec<usize> = (0..6)
            .map(|_| {
                schedule.end();
                schedule.next(4, |cpu| cpu != 2);
                schedule.current()
            })
            .collect();
        assert_eq!(order, [1, 3, 0, 1, 3, 0]);
    }

    #[test]
    fn a_turn_is_over_when_its_instructions_or_its_pauses_are_used_up() {
        let mut turn = schedule(2, None);
        turn.ran(QUANTUM - 1, PAUSES);
        assert!(!turn.is_over());
        let mut other = turn.clone();
        turn.ran(1, PAUSES);
        other.ran(0, 0);
        assert!(turn.is_over() && other.is_over());
        turn.next(2, |_| false);
        assert!(turn.is_over(), "nobody is awake");
    }

    #[test]
    fn a_single_cpu_has_no_turns() {
        let mut schedule = schedule(1, Some(7));
        let before = schedule.clone();
        schedule.ran(1 << 40, 3);
        assert_eq!(schedule, before);
    }

    #[test]
    fn a_seed_draws_the_same_turns_again_and_another_one_others() {
        let turns = |seed| {
            let mut schedule = schedule(3, Some(seed));
            let turn = |schedule: &mut Schedule| {
                schedule.next(3, |_| true);
                (schedule.current(), schedule.instructions(), schedule.pauses())
            };
            (0..200).map(|_| turn(&mut schedule)).collect::<Vec<_>>()
        };
        assert_eq!(turns(1), turns(1));
        assert_ne!(turns(1), turns(2));
        let drawn = turns(3);
        assert!((0..3).all(|cpu| drawn.iter().any(|turn| turn.0 == cpu)));
        assert!(
            drawn.iter().all(|turn| (1..1 << LARGEST_BITS).contains(&turn.1) && (1..=MOST_PAUSES).contains(&turn.2))
        );
        assert!(drawn.iter().any(|turn| turn.1 < 64) && drawn.iter().any(|turn| turn.1 > 4096));
    }
}
