//! Whose turn it is. One host thread runs all CPUs; which one, and for how long, is a part of
//! the machine's state, so that a run with several CPUs is as repeatable as one with one.
//!
//! A turn ends on HLT, on the last PAUSE that it allows, when its instructions are used up, when the CPU has switched
//! to another address space, and when it is made to wait by another one's INIT. A stop by the host ends none: what is
//! left of the turn is state too.
//!
//! Who switches to another address space is about to run somebody else, often one whom a CPU has just woken whose turn
//! then ended. On silicon that CPU is many instructions on before the other has come so far. So it has its turn first, a
//! short one: the others may have nothing to do but to look for work. The switch itself, during which no interrupts are
//! taken, is not disturbed: whoever would look for work then would wait for a lock.
//!
//! Who gave its turn up by PAUSE waits for something that another CPU does, most often soon: for
//! the answer to a message, for a lock. So in round robin the turns of the others are short until
//! it has looked again; each time that it looks in vain they are twice as long.
//!
//! Who is in ring 3 at the end of a turn computes, as a rule: only kernels wait for other CPUs in loops without
//! PAUSE. It goes on for some time, since each change of CPUs costs the host what it has in its caches.

use cpu::Switch;
use serde::{Deserialize, Serialize};

use crate::config::{MAX_CPUS, MachineConfig};

/// Instructions of a turn in round robin.
const QUANTUM: u64 = 50_000;
/// Of one whose CPU is in ring 3 after [`QUANTUM`] of them.
const USER_QUANTUM: u64 = 4 * QUANTUM;
/// PAUSEs of a turn in round robin: who waits for another CPU in a loop soon lets it run.
const PAUSES: u64 = 4;
/// Instructions of a turn while another CPU waits that has not yet looked in vain: a message
/// arrives, and its handler answers.
const SHORT: u64 = 256;
/// Counts as so many waits: that a CPU has switched to another address space. Whoever was cut off just behind a wake-up
/// has left the place where it matters after four times [`SHORT`].
const SWITCH: u8 = 3;
/// Who gives its turn up by PAUSE after at most so many instructions has looked in vain.
const LOOK: u64 = 64;
/// Stands for a turn without end: that of a machine's only CPU.
const ENDLESS: u64 = u64::MAX;
/// Waits that are counted: after them no turn gets longer.
const MOST_WAITS: u8 = 9;

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
    /// Instructions that the turn has had.
    ran: u64,
    /// By CPU: how many of its last turns in a row it gave up by PAUSE, all but the first after a look in vain.
    waits: [u8; MAX_CPUS as usize],
    /// The CPU has switched to another address space in this turn.
    has_switched: bool,
    /// State of the generator, if order and turns are drawn.
    random: Option<u64>,
    alone: bool,
}

impl Schedule {
    /// CPU 0 begins.
    pub fn new(config: &MachineConfig) -> Self {
        let mut schedule = Schedule {
            current: 0,
            instructions: 0,
            pauses: 0,
            ran: 0,
            waits: [0; MAX_CPUS as usize],
            has_switched: false,
            random: config.schedule_seed,
            alone: config.cpus == 1,
        };
        schedule.begin(0, QUANTUM);
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

    /// What comes of a switch to another address space. A turn that is drawn goes on: races hide behind turns that end
    /// anywhere.
    pub fn switch(&self) -> Switch {
        match self.has_switched {
            _ if self.alone || self.random.is_some() => Switch::GoesOn,
            true => Switch::Made,
            false => Switch::Ends,
        }
    }

    /// PAUSEs that the turn has left; the last one ends it.
    pub fn pauses(&self) -> u64 {
        self.pauses
    }

    /// The CPU ran for so many instructions, and has these PAUSEs left.
    pub fn ran(&mut self, instructions: u64, pauses_left: u64) {
        if !self.alone {
            self.instructions -= instructions;
            self.ran += instructions;
            self.pauses = pauses_left;
        }
    }

    /// The CPU is in ring 3: a turn that has run out goes on, unless it had more already, the CPU has switched to another
    /// address space or somebody waits.
    pub fn goes_on_in_user_mode(&mut self) {
        let others_wait = (0..).zip(&self.waits).any(|(cpu, &waits)| cpu != self.current && waits > 0);
        let has_run_out = self.instructions == 0 && self.pauses > 0 && self.ran == QUANTUM;
        if has_run_out && !others_wait && !self.has_switched && self.random.is_none() {
            self.instructions = USER_QUANTUM - QUANTUM;
        }
    }

    /// The turn is over, whatever it has left.
    pub fn end(&mut self) {
        self.instructions = 0;
    }

    /// The CPU has switched to another address space; once it takes interrupts, the turn is over.
    pub fn switched(&mut self, takes_interrupts: bool) {
        self.has_switched = true;
        if takes_interrupts {
            self.end();
        }
    }

    /// Further turns are drawn from `seed`.
    pub fn draw_from(&mut self, seed: u64) {
        self.random = Some(seed);
    }

    /// Gives the turn to one of the CPUs for which `is_awake`, of `cpus`, if there is one.
    pub fn next(&mut self, cpus: usize, is_awake: impl Fn(usize) -> bool) {
        let current = self.current();
        let mut awake = (1..=cpus).map(|step| (current + step) % cpus).filter(|&cpu| is_awake(cpu));
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
        let Some(chosen) = chosen else { return };
        self.note_end();
        let others = (0..cpus).filter(|&cpu| cpu != chosen && self.waits[cpu] > 0 && is_awake(cpu));
        let patience = others.map(|cpu| SHORT << (self.waits[cpu] - 1)).min();
        self.begin(chosen, patience.map_or(QUANTUM, |patience| patience.min(QUANTUM)));
    }

    /// Notes how the turn ended.
    fn note_end(&mut self) {
        let gave_up = self.pauses == 0 && self.instructions != 0;
        let has_switched = std::mem::take(&mut self.has_switched);
        let waits = &mut self.waits[usize::from(self.current)];
        *waits = match gave_up {
            _ if has_switched => SWITCH,
            false => 0,
            true if self.ran <= LOOK => (*waits + 1).min(MOST_WAITS),
            true => 1,
        };
    }

    /// A turn of `quantum` instructions begins, or one that is drawn.
    fn begin(&mut self, cpu: usize, quantum: u64) {
        self.current = cpu as u8;
        self.ran = 0;
        (self.instructions, self.pauses) = match self.random {
            _ if self.alone => (ENDLESS, ENDLESS),
            None => (quantum, PAUSES),
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
        self.current() < cpus && self.alone == (cpus == 1) && self.waits.iter().all(|&waits| waits <= MOST_WAITS)
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

    /// The lengths of the turns of CPU 1 while CPU 0 gives each of its own up after so many instructions.
    fn turns_beside_a_waiter(ran: &[u64]) -> Vec<u64> {
        let mut schedule = schedule(2, None);
        let turn = |&ran: &u64| {
            schedule.ran(ran, 0);
            schedule.next(2, |_| true);
            let length = schedule.instructions();
            schedule.ran(length, PAUSES);
            schedule.next(2, |_| true);
            assert_eq!((schedule.current(), schedule.instructions()), (0, QUANTUM), "CPU 1 does not wait");
            length
        };
        ran.iter().map(turn).collect()
    }

    #[test]
    fn who_waits_is_asked_again_soon_and_each_time_that_it_waits_in_vain_later() {
        let in_vain = [5000, LOOK, LOOK, LOOK, LOOK, LOOK, LOOK, 1, 1, 1];
        let lengths = [256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, QUANTUM, QUANTUM];
        assert_eq!(turns_beside_a_waiter(&in_vain), lengths);
        assert_eq!(turns_beside_a_waiter(&[10, 10, LOOK + 1, 10]), [256, 512, 256, 512], "it went on in between");
    }

    #[test]
    fn of_several_that_wait_the_one_that_waits_the_shortest_counts_and_who_rests_does_not() {
        let mut schedule = schedule(4, None);
        let mut give_up = |ran: u64, is_awake: [bool; 4]| {
            schedule.ran(ran, 0);
            schedule.next(4, |cpu| is_awake[cpu]);
            (schedule.current(), schedule.instructions())
        };
        let all = [true; 4];
        assert_eq!(give_up(10, all), (1, 256));
        assert_eq!(give_up(10, all), (2, 256));
        assert_eq!(give_up(10, all), (3, 256));
        assert_eq!(give_up(10, all), (0, 256), "the others wait too");
        assert_eq!(give_up(10, all), (1, 256), "CPU 0 has looked in vain, 2 and 3 have not");
        assert_eq!(give_up(10, [true, true, false, false]), (0, 512), "2 and 3 rest");
    }

    #[test]
    fn a_turn_that_ends_with_its_instructions_is_no_wait() {
        let mut schedule = schedule(2, None);
        schedule.ran(QUANTUM, 0);
        schedule.next(2, |_| true);
        assert_eq!((schedule.current(), schedule.instructions()), (1, QUANTUM));
        schedule.ran(30, 0);
        schedule.end();
        schedule.next(2, |_| true);
        assert_eq!((schedule.current(), schedule.instructions()), (0, QUANTUM));
    }

    #[test]
    fn a_turn_in_user_mode_goes_on_unless_somebody_waits() {
        let mut schedule = schedule(2, None);
        let mut turn = |in_user_mode: &[bool]| {
            let lengths = in_user_mode.iter().map(|&is_user| {
                let length = schedule.instructions();
                schedule.ran(length, PAUSES);
                if is_user {
                    schedule.goes_on_in_user_mode();
                }
                length
            });
            let all = lengths.sum::<u64>();
            let is_over = schedule.is_over();
            schedule.end();
            schedule.next(2, |_| true);
            (all, is_over)
        };
        assert_eq!(turn(&[true]), (QUANTUM, false));
        assert_eq!(turn(&[false]), (QUANTUM, true), "it is in the kernel");
        assert_eq!(turn(&[true; 2]), (USER_QUANTUM, true));
        // CPU 1 gives up by PAUSE: until it has looked again, turns are short whoever has them.
        assert_eq!(schedule.current(), 1);
        schedule.ran(10, 0);
        schedule.next(2, |_| true);
        schedule.ran(SHORT, PAUSES);
        schedule.goes_on_in_user_mode();
        assert!(schedule.is_over());
    }

    #[test]
    fn a_turn_in_user_mode_that_was_drawn_or_ends_with_a_switch_does_not_go_on() {
        for (seed, has_switched) in [(Some(3), false), (None, true)] {
            let mut schedule = schedule(2, seed);
            schedule.ran(schedule.instructions(), PAUSES);
            if has_switched {
                schedule.switched(true);
            }
            schedule.goes_on_in_user_mode();
            assert!(schedule.is_over(), "{seed:?}");
        }
    }

    #[test]
    fn who_switches_to_another_address_space_lets_each_of_the_others_have_a_short_turn() {
        let mut schedule = schedule(3, None);
        schedule.ran(700, PAUSES);
        schedule.switched(false);
        assert!(!schedule.is_over(), "it holds locks");
        schedule.switched(true);
        let turns = (0..4).map(|_| {
            schedule.next(3, |_| true);
            let turn = (schedule.current(), schedule.instructions());
            schedule.end();
            turn
        });
        assert_eq!(turns.collect::<Vec<_>>(), [(1, 1024), (2, 1024), (0, QUANTUM), (1, QUANTUM)]);
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
