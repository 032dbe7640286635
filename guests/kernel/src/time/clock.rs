//! Nanoseconds since boot: the TSC where the CPU has one, else the tick and the PIT's count.

use core::sync::atomic::{AtomicU32, Ordering};

use abi::{
    Ptr32,
    books::{SystemPlaces, TSC_SHIFT, tsc_ns},
    errno::Result,
};

use super::{HZ, TICK_NSEC, jiffies, timer_interrupt};
use crate::{
    arch::cpu::{self, feature, rdtsc},
    drivers::{irq, pit, rtc},
    pr_hw,
    sync::{SpinLock, Word64},
};

/// How long the TSC is compared with the PIT, from one attempt to the next.
const CALIBRATION_NS: [u64; 3] = [200_000, 1_000_000, 2_000_000];
/// Within so many cycles the PIT counts, unless it stands still.
const EDGE_CYCLES: u64 = 1_000_000;
const SHIFT: u32 = TSC_SHIFT;

/// The TSC as the clock: nothing in it changes once it is, so reading it takes no lock. All CPUs' count alike.
struct Tsc {
    /// ns = cycles * mult >> SHIFT; 0 while it is not the clock.
    mult: AtomicU32,
    /// The count at 0 ns, low half first.
    base: Word64,
}

static TSC: Tsc = Tsc { mult: AtomicU32::new(0), base: Word64::new(0) };

impl Tsc {
    /// It is the clock from now on, which shows 0 ns.
    fn start(&self, mult: u32) {
        self.base.set(rdtsc());
        self.mult.store(mult, Ordering::Release);
    }

    /// Cycles since the start, and the multiplier; `None` if it is not the clock.
    #[inline]
    #[allow(unsafe_code)]
    fn cycles(&self) -> Option<(u64, u32)> {
        let mult = self.mult.load(Ordering::Acquire);
        if mult == 0 {
            return None;
        }
        // SAFETY: with a multiplier, the CPU has one.
        Some((unsafe { cpu::read_tsc() }.wrapping_sub(self.base.get()), mult))
    }

    /// Nanoseconds since the start; `None` if it is not the clock.
    #[inline]
    fn now(&self) -> Option<u64> {
        self.cycles().map(|(cycles, mult)| tsc_ns(cycles, mult))
    }
}

struct Clock {
    running: bool,
    /// Never go back, whatever the PIT's count says.
    last_ns: u64,
    /// Realtime minus monotonic, in nanoseconds.
    realtime_offset_ns: u64,
}

static CLOCK: SpinLock<Clock> = SpinLock::new(Clock { running: false, last_ns: 0, realtime_offset_ns: 0 });

impl Clock {
    fn now(&mut self) -> u64 {
        if !self.running {
            return 0;
        }
        if let Some(ns) = TSC.now() {
            return ns;
        }
        let elapsed = pit::reload(HZ).saturating_sub(pit::read_count());
        let ns = u64::from(jiffies()) * TICK_NSEC + u64::from(elapsed) * 1_000_000_000 / u64::from(pit::PIT_TICK_RATE);
        self.last_ns = self.last_ns.max(ns);
        self.last_ns
    }
}

/// Nanoseconds since the clock was started, never going back.
#[inline]
pub fn ktime_get_ns() -> u64 {
    TSC.now().unwrap_or_else(without_tsc)
}

/// A moment, to tell later how long it is ago without working out what time it was.
pub struct Moment(Word64);

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let moment = Moment(Word64::new(0));
        moment.restart();
        moment
    }

    /// Becomes this moment. Returns the nanoseconds that it was ago.
    #[inline]
    pub fn restart(&self) -> u64 {
        let old = self.0.get();
        match TSC.cycles() {
            Some((cycles, mult)) => {
                self.0.set(cycles);
                let passed = cycles.saturating_sub(old);
                match u32::try_from(passed) {
                    Ok(passed) => (u64::from(passed) * u64::from(mult)) >> SHIFT,
                    Err(_) => tsc_ns(passed, mult),
                }
            }
            None => {
                let now = without_tsc();
                self.0.set(now);
                now.saturating_sub(old)
            }
        }
    }
}

#[cold]
fn without_tsc() -> u64 {
    CLOCK.lock_irqsave().now()
}

/// `CLOCK_REALTIME`: nanoseconds since 1970.
pub fn getnstimeofday() -> u64 {
    let mut clock = CLOCK.lock_irqsave();
    clock.now() + clock.realtime_offset_ns
}

/// When the clock was started, in nanoseconds since 1970 (`getboottime64`).
pub fn boot_time_ns() -> u64 {
    CLOCK.lock_irqsave().realtime_offset_ns
}

/// Sets `CLOCK_REALTIME`.
pub fn set_realtime(ns: u64) {
    let mut clock = CLOCK.lock_irqsave();
    clock.realtime_offset_ns = ns.saturating_sub(clock.now());
}

/// Frequency of the TSC; 0 if there is none that can be used.
pub fn tsc_khz() -> u32 {
    match TSC.mult.load(Ordering::Acquire) {
        0 => 0,
        mult => khz(mult),
    }
}

fn khz(mult: u32) -> u32 {
    ((1_000_000u64 << SHIFT) / u64::from(mult.max(1))) as u32
}

/// Tells the host where the clock's words lie.
#[allow(unsafe_code)]
pub fn note_places(places: &mut SystemPlaces) {
    places.tsc_mult = Ptr32::new(TSC.mult.as_ptr() as u32);
    places.tsc_base = Ptr32::new(TSC.base.as_ptr() as u32);
    // SAFETY: only an address is taken.
    places.realtime_offset_ns = Ptr32::new(unsafe { &raw const (*CLOCK.data_ptr()).realtime_offset_ns } as u32);
}

/// Starts the tick, measures the TSC and reads the CMOS clock.
pub fn init() -> Result<()> {
    pit::init(HZ);
    let mult = if cpu::has(feature::TSC) { calibrate() } else { None };
    {
        let mut clock = CLOCK.lock_irqsave();
        if let Some(mult) = mult {
            TSC.start(mult);
        }
        clock.running = true;
        clock.realtime_offset_ns = rtc::read_time() * 1_000_000_000;
    }
    match mult {
        Some(mult) => {
            let khz = khz(mult);
            pr_hw!("tsc: Detected {}.{:03} MHz processor", khz / 1000, khz % 1000);
        }
        None => pr_hw!("clocksource: pit, no usable TSC"),
    }
    irq::request_irq(0, "timer", timer_interrupt, 0)
}

/// The multiplier from cycles to nanoseconds, by the PIT's channel 0.
///
/// Two measurements that agree to 1 in 2000 are believed. They do at once where a look at
/// the PIT takes no time. A virtual machine, in which it takes microseconds, needs longer
/// ones; it may also stand still between two looks and miss a whole period of the PIT, which
/// makes the TSC seem too fast: of measurements that never agree the slowest is right.
fn calibrate() -> Option<u32> {
    let mut last = (None, None);
    for ns in CALIBRATION_NS {
        last = (measure(ns), measure(ns));
        if let (Some(first), Some(second)) = last
            && first.abs_diff(second) <= first / 2000
        {
            return Some(first.max(second));
        }
    }
    last.0.max(last.1)
}

fn measure(wanted_ns: u64) -> Option<u32> {
    let period = pit::reload(HZ);
    let wanted = (wanted_ns * u64::from(pit::PIT_TICK_RATE) / 1_000_000_000) as u32;
    let (mut last, mut start) = (pit::read_count(), rdtsc());
    // It begins, and so ends, where the count has just changed.
    let before = last;
    while last == before && rdtsc().wrapping_sub(start) < EDGE_CYCLES {
        last = pit::read_count();
    }
    start = rdtsc();
    let (mut elapsed, mut end) = (0, start);
    for _ in 0..10_000_000 {
        if elapsed >= wanted {
            break;
        }
        let count = pit::read_count();
        end = rdtsc();
        elapsed += if count <= last { last - count } else { last + period - count };
        last = count;
    }
    let (ns, cycles) = (u64::from(elapsed) * 1_000_000_000 / u64::from(pit::PIT_TICK_RATE), end.wrapping_sub(start));
    if elapsed < wanted || cycles < 1000 {
        return None;
    }
    u32::try_from((ns << SHIFT) / cycles).ok()
}
