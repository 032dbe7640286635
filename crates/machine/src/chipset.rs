use devices::{
    AcpiPm, Board, DebugExit, DebugPort, FpuPort, FwCfg, I8042, IdeChannel, PageLatches, PicPair, Pit8254, Port61,
    Port92, ResetControl, Rtc, RtcConfig, TestDevice, Uart16550, Vga,
};
use serde::{Deserialize, Serialize};

use crate::{
    InputEvent, SerialInput,
    board::{BoardView, Signals},
    config::MachineConfig,
    interrupts::InterruptBus,
};

const IRQ_TIMER: u8 = 0;
const IRQ_KEYBOARD: u8 = 1;
const IRQ_RTC: u8 = 8;
const IRQ_ACPI: u8 = 9;
/// Lines that no chip drives but the test device.
const IRQS_FREE: [u8; 5] = [5, 6, 7, 10, 11];
const IRQ_MOUSE: u8 = 12;
const IRQ_FPU: u8 = 13;
const IRQ_IDE: [u8; 2] = [14, 15];
/// COM1 and COM3 share a line, and so do COM2 and COM4.
const IRQ_SERIAL: [u8; 4] = [4, 3, 4, 3];

/// Every chip of the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are the chips'")]
pub struct Chipset {
    pub pic: PicPair,
    pub apics: InterruptBus,
    pub pit: Pit8254,
    pub rtc: Rtc,
    pub i8042: I8042,
    pub port61: Port61,
    pub port92: Port92,
    pub reset_control: ResetControl,
    pub debug_exit: DebugExit,
    pub debug_port: DebugPort,
    pub fpu_port: FpuPort,
    pub page_latches: PageLatches,
    pub acpi_pm: AcpiPm,
    pub fw_cfg: FwCfg,
    pub vga: Vga,
    pub test_device: Option<TestDevice>,
    /// COM1 to COM4, where there is one.
    pub serial: [Option<Uart16550>; 4],
    /// The IDE channels that have drives.
    pub ide: [Option<IdeChannel>; 2],
}

/// An interrupt that a CPU takes.
pub(crate) struct Taken {
    pub vector: u8,
    /// From its local APIC, which has it in service until EOI; else from the 8259A pair.
    pub is_local: bool,
}

impl Chipset {
    /// The chips at power-on.
    pub(crate) fn new(config: &MachineConfig) -> Self {
        let mut signals = Signals::default();
        let mut board = BoardView { now_ns: 0, signals: &mut signals };
        let serial = std::array::from_fn(|number| {
            let input = config.serial[number]?;
            let mut uart = Uart16550::new(number as u8);
            if input == SerialInput::None {
                uart.end_input(&mut board);
                uart.reset();
            }
            Some(uart)
        });
        Chipset {
            pic: PicPair::default(),
            apics: InterruptBus::new(config.cpus),
            pit: Pit8254::new(),
            rtc: Rtc::new(&RtcConfig { start_unix_s: config.start_unix_s, memory_bytes: config.memory_bytes }),
            i8042: I8042::default(),
            port61: Port61::default(),
            port92: Port92::default(),
            reset_control: ResetControl::default(),
            debug_exit: DebugExit,
            debug_port: DebugPort,
            fpu_port: FpuPort::default(),
            page_latches: PageLatches::default(),
            acpi_pm: AcpiPm::default(),
            fw_cfg: FwCfg::new(config.memory_bytes, config.cpus.into()),
            vga: Vga::default(),
            test_device: config.test_device.then(TestDevice::default),
            serial,
            ide: std::array::from_fn(|number| {
                let sectors = |place: usize| Some(config.disks.get(2 * number + place)?.sectors);
                sectors(0).map(|_| IdeChannel::new(number as u8, [sectors(0), sectors(1)]))
            }),
        }
    }

    /// Everything that the reset line reaches. Timer and clock go on.
    pub(crate) fn reset(&mut self, board: &mut BoardView<'_>) {
        self.pic.reset();
        self.apics.reset();
        self.rtc.reset();
        self.i8042.reset();
        self.port61.reset(&mut self.pit, board);
        self.port92.reset();
        self.reset_control.reset();
        self.fpu_port.reset();
        self.page_latches.reset();
        self.acpi_pm.reset();
        self.fw_cfg.reset();
        self.vga.reset();
        self.test_device.iter_mut().for_each(TestDevice::reset);
        self.serial.iter_mut().flatten().for_each(Uart16550::reset);
        self.ide.iter_mut().flatten().for_each(|channel| channel.reset(board));
        self.drive_irqs();
    }

    /// Brings every chip up to now and their interrupt lines with them.
    ///
    /// Between two deadlines chips change by accesses alone, each of which brings its chip up to now first: so
    /// this may be left out there, until the machine rests.
    pub(crate) fn wake(&mut self, board: &mut BoardView<'_>) {
        self.pit.wake(board);
        self.rtc.wake(board);
        self.acpi_pm.wake(board);
        for uart in self.serial.iter_mut().flatten() {
            uart.wake(board);
        }
        for channel in self.ide.iter_mut().flatten() {
            channel.wake(board);
        }
        self.apics.wake(board);
        self.drive_irqs();
    }

    /// Brings the local APICs up to now, and messages between them: all that changes before
    /// [`Chipset::chips_deadline_ns`] without an access to another chip.
    pub(crate) fn wake_apics(&mut self, board: &mut BoardView<'_>) {
        self.apics.wake(board);
        self.apics.drive(self.pic.intr());
    }

    /// The one place where interrupt lines follow from the state of the chips.
    pub(crate) fn drive_irqs(&mut self) {
        self.set_irq(IRQ_TIMER, self.pit.irq());
        self.set_irq(IRQ_KEYBOARD, self.i8042.irq_keyboard());
        for irq in [IRQ_SERIAL[0], IRQ_SERIAL[1]] {
            let mut level = false;
            let mut dipped = false;
            for (number, uart) in self.serial.iter_mut().enumerate() {
                if let Some(uart) = uart.as_mut().filter(|_| IRQ_SERIAL[number] == irq) {
                    level |= uart.irq();
                    dipped |= uart.take_dip();
                }
            }
            if dipped {
                self.set_irq(irq, false);
            }
            self.set_irq(irq, level);
        }
        self.set_irq(IRQ_RTC, self.rtc.irq());
        self.set_irq(IRQ_MOUSE, self.i8042.irq_mouse());
        self.set_irq(IRQ_FPU, self.fpu_port.irq());
        self.set_irq(IRQ_ACPI, self.acpi_pm.irq());
        for (number, irq) in IRQ_IDE.into_iter().enumerate() {
            let level = self.ide[number].as_ref().is_some_and(IdeChannel::irq);
            self.set_irq(irq, level);
        }
        if self.test_device.is_some() {
            for irq in IRQS_FREE {
                self.set_irq(irq, false);
            }
        }
        self.apics.drive(self.pic.intr());
    }

    /// Drives a line: the test device can drive each too.
    fn set_irq(&mut self, irq: u8, level: bool) {
        let level = level || self.test_device.as_ref().is_some_and(|device| device.lines() >> irq & 1 != 0);
        self.pic.set_irq(irq, level);
        self.apics.set_line(irq, level);
    }

    /// A CPU's interrupt-acknowledge cycle: the vector.
    pub(crate) fn acknowledge(&mut self, cpu: usize) -> Taken {
        let taken = match self.apics.acknowledge(cpu) {
            Some(vector) => Taken { vector, is_local: true },
            None => Taken { vector: self.pic.acknowledge(), is_local: false },
        };
        self.apics.drive(self.pic.intr());
        taken
    }

    /// When a chip changes next by itself.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.chips_deadline_ns().into_iter().chain(self.apics.deadline_ns()).min()
    }

    /// When a chip other than the local APICs changes next by itself.
    pub(crate) fn chips_deadline_ns(&self) -> Option<u64> {
        self.deadlines().map(|(_, deadline)| deadline).min()
    }

    /// Whether any chip has something to come that would reach one of the CPUs for which `listens`.
    pub(crate) fn may_wake(&self, listens: impl Fn(usize) -> bool + Copy) -> bool {
        self.apics.timer_may_wake(listens) || self.deadlines().any(|(irq, _)| self.would_interrupt(irq, listens))
    }

    /// Whether an edge on an interrupt line would reach one of the CPUs for which `listens`.
    fn would_interrupt(&self, irq: u8, listens: impl Fn(usize) -> bool) -> bool {
        self.apics.would_interrupt(irq) || self.pic.would_interrupt(irq) && self.apics.passes_intr(listens)
    }

    /// Whether input from outside would reach one of the CPUs for which `listens`.
    pub(crate) fn input_may_wake(&self, config: &MachineConfig, listens: impl Fn(usize) -> bool + Copy) -> bool {
        let keyboard = config.keyboard && self.would_interrupt(IRQ_KEYBOARD, listens);
        keyboard
            || self.serial.iter().enumerate().any(|(number, uart)| {
                config.serial[number] == Some(SerialInput::Live)
                    && uart.as_ref().is_some_and(|uart| !uart.input_ended() && uart.announces_input())
                    && self.would_interrupt(IRQ_SERIAL[number], listens)
            })
    }

    /// The port whose far end is read on demand and asked for now.
    pub(crate) fn demanded_input(&self, config: &MachineConfig) -> Option<u8> {
        let wants = |number: usize| {
            let Some(uart) = self.serial[number].as_ref() else { return false };
            match config.serial[number] {
                Some(SerialInput::OnDemand) => uart.wants_input(),
                Some(SerialInput::OnInterest) => {
                    // Nothing but registers that `MachineBus::effect` looks after: when it is asked for must not
                    // depend on when the host stops the run.
                    let irq = IRQ_SERIAL[number];
                    let unmasked = !self.apics.holds_back(irq) || self.pic.imr() & 1 << irq == 0;
                    uart.wants_input() || uart.announces_input() && unmasked && uart.has_taken_all()
                }
                _ => false,
            }
        };
        (0..self.serial.len()).find(|&number| wants(number)).map(|number| number as u8)
    }

    /// Input from outside reaches its chip. What is meant for a port that is not there is lost.
    pub(crate) fn deliver(&mut self, event: InputEvent, board: &mut impl Board) {
        match event {
            InputEvent::Serial { port, bytes } => {
                if let Some(uart) = self.serial_port(port) {
                    uart.push_input(&bytes, board);
                }
            }
            InputEvent::SerialEnd { port } => {
                if let Some(uart) = self.serial_port(port) {
                    uart.end_input(board);
                }
            }
            InputEvent::Key { codes } => self.i8042.press(&codes),
        }
        self.drive_irqs();
    }

    /// Whether address line 20 is let through: either gate opens it.
    pub fn a20(&self) -> bool {
        self.i8042.a20() || self.port92.a20()
    }

    /// Whether these can be the chips of such a machine at `now_ns`, whatever a snapshot says.
    pub(crate) fn fits(&self, config: &MachineConfig, now_ns: u64) -> bool {
        let sectors = |disk: usize| config.disks.get(disk).map(|disk| disk.sectors);
        let serial_fits = (0..).zip(&self.serial).zip(&config.serial).all(|((number, uart), input)| {
            uart.is_some() == input.is_some() && uart.as_ref().is_none_or(|uart| uart.fits(number, now_ns))
        });
        let ide_fits = (0..).zip(&self.ide).all(|(number, channel)| {
            let drives = [0, 1].map(|place| sectors(2 * number + place));
            channel.is_some() == drives[0].is_some()
                && channel.as_ref().is_none_or(|channel| channel.fits(number as u8, drives))
        });
        self.apics.fits(config.cpus.into(), now_ns)
            && self.pic.fits()
            && self.pit.fits(now_ns)
            && self.rtc.fits(now_ns)
            && self.acpi_pm.fits(now_ns)
            && self.vga.fits()
            && self.test_device.is_some() == config.test_device
            && serial_fits
            && ide_fits
    }

    fn serial_port(&mut self, number: u8) -> Option<&mut Uart16550> {
        self.serial.get_mut(usize::from(number))?.as_mut()
    }

    /// Deadlines with the interrupt line that they may move.
    fn deadlines(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        let serial =
            self.serial.iter().zip(IRQ_SERIAL).filter_map(|(uart, irq)| Some((irq, uart.as_ref()?.deadline_ns()?)));
        let timer = self.pit.deadline_ns().map(|deadline| (IRQ_TIMER, deadline));
        let rtc = self.rtc.deadline_ns().map(|deadline| (IRQ_RTC, deadline));
        let acpi = self.acpi_pm.deadline_ns().map(|deadline| (IRQ_ACPI, deadline));
        let ide =
            self.ide.iter().zip(IRQ_IDE).filter_map(|(channel, irq)| Some((irq, channel.as_ref()?.deadline_ns()?)));
        timer.into_iter().chain(rtc).chain(acpi).chain(serial).chain(ide)
    }
}
