//! The 16550A serial port (National Semiconductor PC16550D data sheet).
//!
//! A byte written leaves at once, whatever the divisor says: the transmitter is empty again
//! when the write is over. Received bytes come in bursts, when the receiver is empty.
mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{Board, Outlet};
use line::Line;

const FIFO_BYTES: usize = 16;
/// How long a character takes: a constant of the machine, since software counts time-outs in loops.
const CHARACTER_NS: u64 = 1_000;
/// A FIFO that is below its trigger level is announced after this many silent characters.
const TIMEOUT_CHARACTERS: u64 = 4;

const RBR_THR: u16 = 0;
const IER: u16 = 1;
const IIR_FCR: u16 = 2;
const LCR: u16 = 3;
const MCR: u16 = 4;
const LSR: u16 = 5;
const MSR: u16 = 6;

const IER_RECEIVED: u8 = 1 << 0;
const IER_TRANSMITTER_EMPTY: u8 = 1 << 1;
const IER_LINE_STATUS: u8 = 1 << 2;
const IER_MODEM_STATUS: u8 = 1 << 3;
const IER_ALL: u8 = 0x0f;

const IIR_NONE: u8 = 0x01;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_TRANSMITTER_EMPTY: u8 = 0x02;
const IIR_RECEIVED: u8 = 0x04;
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0c;
const IIR_FIFOS: u8 = 0xc0;

const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RECEIVER: u8 = 1 << 1;

const LCR_DLAB: u8 = 1 << 7;

const MCR_DTR: u8 = 1 << 0;
const MCR_RTS: u8 = 1 << 1;
const MCR_LOOPBACK: u8 = 1 << 4;
const MCR_ALL: u8 = 0x1f;

const LSR_DATA_READY: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
const LSR_TRANSMITTER_EMPTY: u8 = 1 << 5 | 1 << 6;

const MSR_DELTAS: u8 = 0x0f;
const MSR_TRAILING_EDGE_RING: u8 = 1 << 2;
const MSR_CTS: u8 = 1 << 4;
const MSR_DSR: u8 = 1 << 5;
const MSR_RING: u8 = 1 << 6;
const MSR_DCD: u8 = 1 << 7;

/// Divisor of 9600 baud.
const RESET_DIVISOR: u16 = 12;

/// One serial port and the line to its right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uart16550 {
    number: u8,
    ier: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: u16,
    /// Bytes in the FIFO that announce themselves.
    trigger: u8,
    fifos: bool,
    received: VecDeque<u8>,
    overrun: bool,
    /// The transmitter became empty and nobody was told yet.
    announce_empty: bool,
    /// The interrupt output went low and high again within one access.
    dipped: bool,
    /// Modem inputs as last seen, bits 7:4, and their changes, bits 3:0.
    msr: u8,
    /// When a character arrived or was read last, for the FIFO's time-out.
    last_traffic_ns: u64,
    timed_out: bool,
    line: Line,
}

impl Uart16550 {
    /// Port `number` (COM1 is 0), connected to a line whose far end is there.
    pub fn new(number: u8) -> Self {
        Uart16550 {
            number,
            ier: 0,
            lcr: 0,
            mcr: 0,
            scratch: 0,
            divisor: RESET_DIVISOR,
            trigger: 1,
            fifos: false,
            received: VecDeque::new(),
            overrun: false,
            announce_empty: false,
            dipped: false,
            msr: MSR_CTS | MSR_DSR | MSR_DCD,
            last_traffic_ns: 0,
            timed_out: false,
            line: Line::default(),
        }
    }

    /// Bytes from the host wait on the line until the receiver takes them.
    pub fn push_input(&mut self, bytes: &[u8], board: &mut impl Board) {
        self.line.push(bytes, board.now_ns());
        self.wake(board);
    }

    /// The host's input has ended: DCD falls once the waiting bytes are received.
    pub fn end_input(&mut self, board: &mut impl Board) {
        self.line.end();
        self.wake(board);
    }

    /// Whether the guest raised RTS and has taken all that the host gave: it asks for more.
    pub fn wants_input(&self) -> bool {
        self.rts() && self.has_taken_all()
    }

    /// Whether more input would be received, and has not been given: the host's has not ended, and the guest has
    /// taken all there was.
    pub fn has_taken_all(&self) -> bool {
        self.line.is_open() && self.line.is_empty() && self.received.is_empty()
    }

    /// Whether the host's input has ended, as far as the host said.
    pub fn input_ended(&self) -> bool {
        !self.line.is_open()
    }

    /// Whether a byte that arrives would raise the interrupt output.
    pub fn announces_input(&self) -> bool {
        self.ier & IER_RECEIVED != 0
    }

    /// Bytes from the host that the receiver has not taken yet.
    pub fn input_waiting(&self) -> usize {
        self.line.len()
    }

    /// The RTS output.
    pub fn rts(&self) -> bool {
        self.mcr & (MCR_RTS | MCR_LOOPBACK) == MCR_RTS
    }

    /// The DTR output.
    pub fn dtr(&self) -> bool {
        self.mcr & (MCR_DTR | MCR_LOOPBACK) == MCR_DTR
    }

    /// Level of the interrupt output. DEVIATION: a PC's board lets it through only while OUT2
    /// is set; most machines in use do not, and small kernels rely on that.
    pub fn irq(&self) -> bool {
        self.cause() != IIR_NONE
    }

    /// Whether the interrupt output was low for a moment since the last call.
    pub fn take_dip(&mut self) -> bool {
        std::mem::take(&mut self.dipped)
    }

    /// When the port changes next by itself.
    pub fn deadline_ns(&self) -> Option<u64> {
        let burst = self.line.deadline_ns().filter(|_| self.can_receive());
        let timeout = (self.fifos && !self.timed_out && !self.received.is_empty())
            .then_some(self.last_traffic_ns + TIMEOUT_CHARACTERS * CHARACTER_NS);
        burst.into_iter().chain(timeout).min()
    }

    /// Takes what arrived and notices silence.
    pub fn wake(&mut self, board: &mut impl Board) {
        let now_ns = board.now_ns();
        if self.can_receive() {
            let room = if self.fifos { FIFO_BYTES } else { 1 };
            let burst = self.line.take_burst(room, now_ns);
            if burst.len() > 0 {
                self.received.extend(burst);
                self.last_traffic_ns = now_ns;
                self.timed_out = false;
            }
        }
        if self.fifos && !self.received.is_empty() && now_ns >= self.last_traffic_ns + TIMEOUT_CHARACTERS * CHARACTER_NS
        {
            self.timed_out = true;
        }
        self.sample_modem_inputs();
    }

    /// Reads register `offset`.
    pub fn read(&mut self, offset: u16, board: &mut impl Board) -> u8 {
        self.wake(board);
        match offset & 7 {
            RBR_THR if self.dlab() => self.divisor.to_le_bytes()[0],
            IER if self.dlab() => self.divisor.to_le_bytes()[1],
            RBR_THR => self.receive(board.now_ns()),
            IER => self.ier,
            IIR_FCR => {
                let cause = self.cause();
                if cause == IIR_TRANSMITTER_EMPTY {
                    self.announce_empty = false;
                }
                cause | if self.fifos { IIR_FIFOS } else { 0 }
            }
            LCR => self.lcr,
            MCR => self.mcr,
            LSR => {
                let value = LSR_TRANSMITTER_EMPTY
                    | if self.received.is_empty() { 0 } else { LSR_DATA_READY }
                    | if self.overrun { LSR_OVERRUN } else { 0 };
                self.overrun = false;
                value
            }
            MSR => {
                let value = self.msr;
                self.msr &= !MSR_DELTAS;
                value
            }
            _ => self.scratch,
        }
    }

    /// Writes register `offset`.
    pub fn write(&mut self, offset: u16, value: u8, board: &mut impl Board) {
        self.wake(board);
        match offset & 7 {
            RBR_THR if self.dlab() => self.divisor = self.divisor & 0xff00 | u16::from(value),
            IER if self.dlab() => self.divisor = self.divisor & 0x00ff | u16::from(value) << 8,
            RBR_THR => self.transmit(value, board),
            IER => {
                // Enabling the interrupt of an empty transmitter announces it once more.
                if value & !self.ier & IER_TRANSMITTER_EMPTY != 0 {
                    self.announce_empty = true;
                }
                self.ier = value & IER_ALL;
            }
            IIR_FCR => self.write_fcr(value, board),
            LCR => self.lcr = value,
            MCR => {
                self.mcr = value & MCR_ALL;
                self.sample_modem_inputs();
            }
            LSR | MSR => {}
            _ => self.scratch = value,
        }
    }

    /// Master reset: registers only; what waits on the line stays there.
    pub fn reset(&mut self) {
        let line = std::mem::take(&mut self.line);
        *self = Uart16550 { line, scratch: self.scratch, divisor: self.divisor, ..Uart16550::new(self.number) };
        self.sample_modem_inputs();
        self.msr &= !MSR_DELTAS;
    }

    /// Whether a snapshot of `now_ns` could hold this as port `number`, whatever a file says.
    pub fn fits(&self, number: u8, now_ns: u64) -> bool {
        self.number == number && self.last_traffic_ns <= now_ns && self.line.fits(now_ns)
    }

    fn dlab(&self) -> bool {
        self.lcr & LCR_DLAB != 0
    }

    fn loopback(&self) -> bool {
        self.mcr & MCR_LOOPBACK != 0
    }

    /// The line delivers only to an empty receiver, which loopback cuts off.
    fn can_receive(&self) -> bool {
        self.received.is_empty() && !self.loopback()
    }

    fn receive(&mut self, now_ns: u64) -> u8 {
        let byte = self.received.pop_front().unwrap_or(0);
        self.last_traffic_ns = now_ns;
        self.timed_out = false;
        if self.received.is_empty() {
            self.line.receiver_empty(now_ns);
            self.sample_modem_inputs();
        }
        byte
    }

    fn transmit(&mut self, byte: u8, board: &mut impl Board) {
        if self.loopback() {
            self.loop_back(byte, board.now_ns());
        } else {
            board.emit(Outlet::Serial(self.number), byte);
        }
        // Full for no time at all: where that was announced before, the output dips.
        self.dipped |= self.cause() == IIR_TRANSMITTER_EMPTY;
        self.announce_empty = true;
    }

    fn loop_back(&mut self, byte: u8, now_ns: u64) {
        let room = if self.fifos { FIFO_BYTES } else { 1 };
        if self.received.len() < room {
            self.received.push_back(byte);
        } else {
            self.overrun = true;
            // Without FIFOs the new character takes the place of the unread one; a full FIFO keeps its own.
            if !self.fifos {
                self.received[0] = byte;
            }
        }
        self.last_traffic_ns = now_ns;
        self.timed_out = false;
    }

    fn write_fcr(&mut self, value: u8, board: &mut impl Board) {
        let enable = value & FCR_ENABLE != 0;
        if enable != self.fifos || (enable && value & FCR_CLEAR_RECEIVER != 0) {
            self.received.clear();
            self.timed_out = false;
            self.line.receiver_empty(board.now_ns());
        }
        self.fifos = enable;
        if enable {
            self.trigger = [1, 4, 8, 14][usize::from(value >> 6)];
        }
        self.sample_modem_inputs();
    }

    /// The pending cause of highest priority, as IIR bits 3:0.
    fn cause(&self) -> u8 {
        let enabled = |bit: u8| self.ier & bit != 0;
        let level = if self.fifos { usize::from(self.trigger) } else { 1 };
        if enabled(IER_LINE_STATUS) && self.overrun {
            IIR_LINE_STATUS
        } else if enabled(IER_RECEIVED) && self.received.len() >= level {
            IIR_RECEIVED
        } else if enabled(IER_RECEIVED) && self.timed_out {
            IIR_TIMEOUT
        } else if enabled(IER_TRANSMITTER_EMPTY) && self.announce_empty {
            IIR_TRANSMITTER_EMPTY
        } else if enabled(IER_MODEM_STATUS) && self.msr & MSR_DELTAS != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    fn sample_modem_inputs(&mut self) {
        let inputs = if self.loopback() {
            // RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
            (self.mcr & MCR_RTS) << 3 | (self.mcr & MCR_DTR) << 5 | (self.mcr & 0b1100) << 4
        } else {
            let carrier = self.line.is_open() || !self.line.is_empty() || !self.received.is_empty();
            MSR_CTS | MSR_DSR | if carrier { MSR_DCD } else { 0 }
        };
        let changed = (self.msr ^ inputs) & !MSR_DELTAS;
        let fell = self.msr & !inputs;
        let mut deltas = (changed >> 4) & !MSR_TRAILING_EDGE_RING;
        if fell & MSR_RING != 0 {
            deltas |= MSR_TRAILING_EDGE_RING;
        }
        self.msr = inputs | self.msr & MSR_DELTAS | deltas;
    }
}
