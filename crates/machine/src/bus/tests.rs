use super::*;
use crate::{DiskConfig, InputEvent, SerialInput, firmware};

/// A small generator of pseudo-random numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A chipset with everything that its bus needs, and a clock.
struct Bench {
    config: MachineConfig,
    chipset: Chipset,
    disks: DiskBank,
    signals: Signals,
    ports: PortMap,
    stats: MachineStats,
    timeline: Timeline,
    now_ns: u64,
}

impl Bench {
    fn new() -> Self {
        let swap = DiskConfig::swap(1 << 20).unwrap();
        let config =
            MachineConfig { serial: [Some(SerialInput::Live); 4], disks: vec![swap; 3], ..MachineConfig::default() };
        let mut chipset = Chipset::new(&config);
        let mut signals = Signals::default();
        firmware::set_up_chips(&mut chipset, &mut BoardView { now_ns: 0, signals: &mut signals });
        Bench {
            chipset,
            disks: DiskBank::open(&config).unwrap(),
            signals,
            ports: PortMap::new(&config),
            stats: MachineStats::new(config.cpus),
            timeline: Timeline::default(),
            now_ns: 0,
            config,
        }
    }

    fn bus(&mut self) -> MachineBus<'_> {
        MachineBus {
            cpu: 0,
            intr: self.chipset.apics.intr(0),
            scheduled_ns: self.chipset.deadline_ns().unwrap_or(u64::MAX),
            stirred: false,
            chipset: &mut self.chipset,
            disks: &mut self.disks,
            signals: &mut self.signals,
            ports: &self.ports,
            config: &self.config,
            stats: &mut self.stats,
            timeline: &mut self.timeline,
        }
    }

    fn write(&mut self, port: u16, size: IoSize, value: u32) -> IoEffect {
        let now_ns = self.now_ns;
        self.bus().port_out(now_ns, port, size, value)
    }

    /// A write with what the run loop does after it.
    fn put(&mut self, port: u16, size: IoSize, value: u32) {
        let effect = self.write(port, size, value);
        self.attend(effect);
    }

    /// What the run loop does after an access.
    fn attend(&mut self, effect: IoEffect) {
        if effect == IoEffect::Recompute {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.chipset.wake(&mut BoardView { now_ns: self.now_ns, signals: &mut self.signals });
    }

    /// Lets time pass as the run loop does: from deadline to deadline.
    fn pass_ns(&mut self, ns: u64) {
        let until = self.now_ns + ns;
        while let Some(deadline) = self.chipset.deadline_ns().filter(|&deadline| deadline <= until) {
            assert!(deadline > self.now_ns, "a deadline at {deadline} that is not to come at {}", self.now_ns);
            self.now_ns = deadline;
            self.wake();
        }
        self.now_ns = until;
    }
}

const SIZES: [IoSize; 3] = [IoSize::Byte, IoSize::Word, IoSize::Dword];

#[test]
fn no_sequence_of_accesses_panics_and_how_often_chips_are_woken_changes_nothing() {
    let ports: Vec<u16> = PortMap::new(&Bench::new().config)
        .resources()
        .iter()
        .flat_map(|range| range.start as u16..=range.end as u16)
        .collect();
    for seed in 1..=200 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let mut lazy = Bench::new();
        let mut eager = Bench::new();
        for _ in 0..400 {
            let port = ports[random.below(ports.len() as u64) as usize];
            let size = SIZES[random.below(3) as usize];
            let value = random.next() as u32;
            let choice = random.below(10);
            let input = InputEvent::Serial { port: random.below(4) as u8, bytes: vec![value as u8; 3] };
            // Mostly short, sometimes over seconds; the timer's fastest rates make long ones slow.
            let ns = 1 << random.below(if choice == 9 { 24 } else { 14 });
            for bench in [&mut lazy, &mut eager] {
                match choice {
                    0..=3 => {
                        let now_ns = bench.now_ns;
                        let read = bench.bus().port_in(now_ns, port, size);
                        bench.attend(read.effect);
                    }
                    4..=7 => {
                        let effect = bench.write(port, size, value);
                        bench.attend(effect);
                    }
                    8 => {
                        let mut board = BoardView { now_ns: bench.now_ns, signals: &mut bench.signals };
                        bench.chipset.deliver(input.clone(), &mut board);
                    }
                    _ => {}
                }
                if bench.chipset.pic.intr() && value & 1 == 0 {
                    bench.bus().acknowledge(0);
                }
            }
            lazy.pass_ns(ns);
            for part in [ns / 3, ns - ns / 3] {
                eager.pass_ns(part);
                eager.wake();
            }
            assert_eq!(lazy.chipset.pic, eager.chipset.pic, "seed {seed}");
        }
        lazy.wake();
        eager.wake();
        assert_eq!(lazy.chipset, eager.chipset, "seed {seed}");
        assert_eq!(lazy.signals.output, eager.signals.output);
    }
}

#[test]
fn a_dword_at_the_pci_configuration_address_is_no_reset() {
    let mut bench = Bench::new();
    let _ = bench.write(0xcf8, IoSize::Dword, 0xffff_ffff);
    let _ = bench.write(0xcf9, IoSize::Word, 0xffff);
    assert_eq!(bench.signals.reset, None);
    let _ = bench.write(0xcf9, IoSize::Byte, 0x06);
    assert!(bench.signals.reset.is_some());
}

#[test]
fn only_accesses_that_matter_leave_the_block() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(0x80, IoSize::Byte, 1), IoEffect::None);
    assert_eq!(bench.write(0x3f8, IoSize::Byte, u32::from(b'x')), IoEffect::None, "output alone does not");
    assert_eq!(bench.write(0x43, IoSize::Byte, 0x34), IoEffect::None);
    assert_eq!(bench.write(0x40, IoSize::Byte, 0), IoEffect::None);
    assert_eq!(bench.write(0x40, IoSize::Byte, 1), IoEffect::Recompute, "a deadline came to be");
    assert_eq!(bench.write(0xf4, IoSize::Byte, 1), IoEffect::Recompute, "the end");
}

#[test]
fn an_unmasked_request_is_seen_at_once_and_acknowledged_with_its_vector() {
    let mut bench = Bench::new();
    for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0xff), (0x3f9, 2)] {
        assert_eq!(bench.write(port, IoSize::Byte, value), IoEffect::None);
    }
    assert!(!bench.bus().intr());
    assert_eq!(bench.write(0x21, IoSize::Byte, 0xef), IoEffect::Recompute);
    assert!(bench.bus().intr());
    assert_eq!(bench.bus().acknowledge(0), 0x34);
    assert_eq!(bench.stats.interrupts_by_vector[0x34], 1);
}

#[test]
fn memory_that_is_not_there_reads_all_ones() {
    let mut bench = Bench::new();
    for (size, value) in SIZES.into_iter().zip([0xff, 0xffff, 0xffff_ffff]) {
        assert_eq!(bench.bus().mmio_read(0, PhysAddr(0xfed0_0000), size).value, value);
    }
    assert_eq!(bench.bus().mmio_write(0, PhysAddr(0xfed0_0000), IoSize::Dword, 1), IoEffect::None);
}

#[test]
fn a_word_selects_an_item_of_the_firmware_configuration_and_bytes_read_it() {
    let mut bench = Bench::new();
    bench.put(0x510, IoSize::Word, 0x0005);
    let read = |bench: &mut Bench| bench.bus().port_in(0, 0x511, IoSize::Byte).value;
    assert_eq!([read(&mut bench), read(&mut bench)], [1, 0], "CPUs");
    bench.put(0x510, IoSize::Byte, 0x00);
    assert_eq!(read(&mut bench), 0, "a byte selects nothing: the item goes on");
    bench.put(0x510, IoSize::Word, 0x0000);
    assert_eq!(read(&mut bench), b'Q'.into());
}

#[test]
fn the_sleep_type_of_the_dsdt_powers_off() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(0x604, IoSize::Word, 0x2000), IoEffect::Recompute);
    assert_eq!(bench.signals.power_off, Some(0));
}

#[test]
fn the_power_management_timer_interrupts_at_line_9() {
    let mut bench = Bench::new();
    for (port, size, value) in [
        (0xb2, IoSize::Byte, 0xf1),
        (0x602, IoSize::Word, 0x0001),
        (0xa1, IoSize::Byte, 0xfd),
        (0x21, IoSize::Byte, 0xfb),
    ] {
        bench.put(port, size, value);
    }
    assert!(!bench.chipset.pic.intr());
    // The highest of 24 bits changes after 2^23 ticks.
    bench.pass_ns(2_343_484_438);
    assert!(bench.chipset.pic.intr());
    assert_eq!(bench.bus().port_in(2_343_484_438, 0x608, IoSize::Dword).value, 0x80_0000);
}

#[test]
fn the_test_device_drives_lines_and_is_there_only_if_asked_for() {
    let mut bench = Bench::new();
    assert_eq!(bench.ports.find(0x2005), None);
    let config = MachineConfig { test_device: true, ..bench.config.clone() };
    bench = Bench { chipset: Chipset::new(&config), ports: PortMap::new(&config), config, ..bench };
    let mut signals = Signals::default();
    firmware::set_up_chips(&mut bench.chipset, &mut BoardView { now_ns: 0, signals: &mut signals });
    bench.put(0x21, IoSize::Byte, 0x00);
    for line in [5, 7] {
        bench.put(0x2000 + line, IoSize::Byte, 1);
        assert_eq!(bench.chipset.pic.irr() >> line & 1, 1, "line {line}");
        bench.put(0x2000 + line, IoSize::Byte, 0);
    }
    bench.put(0xe0, IoSize::Dword, 0x1234_5678);
    assert_eq!(bench.bus().port_in(0, 0xe1, IoSize::Word).value, 0x3456);
    bench.put(0xe8, IoSize::Byte, 0x9a);
    assert_eq!(bench.bus().port_in(0, 0xe8, IoSize::Byte).value, 0x9a);
}

/// Asks drive 0 for the sectors of its first page and waits for the first of them.
fn ask_for_a_page(bench: &mut Bench) {
    for (port, value) in [(0x1f2, 8), (0x1f3, 0), (0x1f4, 0), (0x1f5, 0), (0x1f6, 0xe0), (0x1f7, 0x20)] {
        let effect = bench.write(port, IoSize::Byte, value);
        bench.attend(effect);
    }
    bench.pass_ns(1_000_000);
}

#[test]
fn the_data_register_of_a_disk_is_read_in_words_whatever_the_width() {
    let read = |size: IoSize| {
        let mut bench = Bench::new();
        ask_for_a_page(&mut bench);
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < 4096 {
            if bytes.len().is_multiple_of(512) {
                bench.pass_ns(1_000_000);
            }
            let now_ns = bench.now_ns;
            let read = bench.bus().port_in(now_ns, 0x1f0, size);
            bytes.extend(&read.value.to_le_bytes()[..size as usize]);
        }
        bytes
    };
    let words = read(IoSize::Word);
    assert_eq!(&words[4086..], b"SWAPSPACE2");
    assert_eq!(words, read(IoSize::Dword));
}

#[test]
fn a_disk_interrupts_on_line_14_or_15_until_its_status_is_read() {
    for (ports, irq) in [(0x1f0u16, 14), (0x170, 15)] {
        let mut bench = Bench::new();
        for (port, value) in [(0xa1, 0x3f), (0x21, 0xfb)] {
            let _ = bench.write(port, IoSize::Byte, value);
        }
        let effect = bench.write(ports + 7, IoSize::Byte, 0xec);
        bench.attend(effect);
        assert!(!bench.chipset.pic.intr());
        bench.pass_ns(1_000_000);
        assert!(bench.chipset.pic.intr(), "line {irq}");
        let vector = bench.bus().acknowledge(0);
        assert_eq!(vector, 0x70 + irq - 8);
        let now_ns = bench.now_ns;
        let status = bench.bus().port_in(now_ns, ports + 7, IoSize::Byte);
        assert_eq!(status.value, 0x58);
    }
}
