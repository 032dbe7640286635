use super::*;
use crate::test_board::TestBoard;

struct Bench {
    uart: Uart16550,
    board: TestBoard,
}

impl Bench {
    fn new() -> Self {
        Bench { uart: Uart16550::new(0), board: TestBoard::default() }
    }

    /// FIFOs on, trigger level 14, receive interrupts.
    fn with_fifos() -> Self {
        let mut bench = Bench::new();
        bench.put(IIR_FCR, 0xc1);
        bench.put(IER, IER_RECEIVED);
        bench.pass_ns(CHARACTER_NS);
        bench
    }

    fn get(&mut self, offset: u16) -> u8 {
        self.uart.read(offset, &mut self.board)
    }

    fn put(&mut self, offset: u16, value: u8) {
        self.uart.write(offset, value, &mut self.board);
    }

    fn input(&mut self, bytes: &[u8]) {
        self.uart.push_input(bytes, &mut self.board);
    }

    fn pass_ns(&mut self, ns: u64) {
        self.board.now_ns += ns;
        self.uart.wake(&mut self.board);
    }

    fn output(&self) -> Vec<u8> {
        self.board.emitted.iter().map(|&(_, byte)| byte).collect()
    }
}

#[test]
fn bytes_written_leave_at_once_and_the_transmitter_is_empty_again() {
    let mut bench = Bench::new();
    for &byte in b"hello" {
        assert_eq!(bench.get(LSR) & LSR_TRANSMITTER_EMPTY, LSR_TRANSMITTER_EMPTY);
        bench.put(RBR_THR, byte);
    }
    assert_eq!(bench.output(), b"hello");
    assert_eq!(bench.board.emitted[0].0, Outlet::Serial(0));
}

#[test]
fn the_divisor_latch_hides_data_and_interrupt_enable() {
    let mut bench = Bench::new();
    bench.put(IER, 0x05);
    bench.put(LCR, 0x83);
    bench.put(0, 0x34);
    bench.put(1, 0x12);
    assert_eq!((bench.get(0), bench.get(1)), (0x34, 0x12));
    bench.put(LCR, 0x03);
    assert_eq!((bench.get(IER), bench.output()), (0x05, vec![]));
}

#[test]
fn registers_keep_only_the_bits_that_exist() {
    let mut bench = Bench::new();
    for offset in [IER, LCR, MCR, 7] {
        bench.put(offset, if offset == LCR { 0x7f } else { 0xff });
    }
    assert_eq!([IER, LCR, MCR, 7].map(|offset| bench.get(offset)), [0x0f, 0x7f, 0x1f, 0xff]);
    bench.put(MSR, 0xff);
    bench.put(LSR, 0);
    assert_eq!(bench.get(LSR) & LSR_TRANSMITTER_EMPTY, LSR_TRANSMITTER_EMPTY);
}

#[test]
fn fifos_show_in_the_identification_register() {
    let mut bench = Bench::new();
    assert_eq!(bench.get(IIR_FCR), IIR_NONE);
    bench.put(IIR_FCR, 0x01);
    assert_eq!(bench.get(IIR_FCR), IIR_NONE | IIR_FIFOS);
    bench.put(IIR_FCR, 0x00);
    assert_eq!(bench.get(IIR_FCR), IIR_NONE);
}

#[test]
fn without_fifos_one_byte_is_received_at_a_time() {
    let mut bench = Bench::new();
    bench.put(IER, IER_RECEIVED);
    bench.input(b"ab");
    assert_eq!(bench.get(IIR_FCR), IIR_RECEIVED);
    assert_eq!(bench.get(RBR_THR), b'a');
    assert!(!bench.uart.irq(), "the output falls between two characters");
    assert_eq!(bench.get(LSR) & LSR_DATA_READY, 0);
    let deadline = bench.uart.deadline_ns().expect("another byte waits");
    bench.pass_ns(deadline - bench.board.now_ns);
    assert!(bench.uart.irq());
    assert_eq!(bench.get(RBR_THR), b'b');
    assert_eq!(bench.uart.deadline_ns(), None);
}

#[test]
fn a_full_trigger_level_interrupts_until_the_fifo_is_below_it() {
    let mut bench = Bench::with_fifos();
    bench.input(&[7; 20]);
    assert_eq!(bench.get(IIR_FCR) & 0x0f, IIR_RECEIVED);
    for _ in 0..2 {
        bench.get(RBR_THR);
        assert!(bench.uart.irq());
    }
    bench.get(RBR_THR);
    assert!(!bench.uart.irq(), "13 bytes are left");
}

#[test]
fn a_few_bytes_in_the_fifo_are_announced_by_the_time_out() {
    let mut bench = Bench::with_fifos();
    bench.input(b"abc");
    assert!(!bench.uart.irq());
    assert_eq!(bench.uart.deadline_ns(), Some(CHARACTER_NS + 4_000));
    bench.pass_ns(4_000);
    assert_eq!(bench.get(IIR_FCR), IIR_TIMEOUT | IIR_FIFOS);
    assert_eq!(bench.get(RBR_THR), b'a');
    assert!(!bench.uart.irq(), "reading restarts the time-out");
    bench.pass_ns(4_000);
    assert_eq!((bench.get(RBR_THR), bench.get(RBR_THR)), (b'b', b'c'));
    assert_eq!((bench.uart.irq(), bench.uart.deadline_ns()), (false, None));
}

#[test]
fn long_input_arrives_in_bursts_and_in_order() {
    let mut bench = Bench::with_fifos();
    let sent: Vec<u8> = (0..=255).cycle().take(1000).collect();
    bench.input(&sent);
    let mut got = Vec::new();
    while got.len() < sent.len() {
        while bench.get(LSR) & LSR_DATA_READY != 0 {
            got.push(bench.get(RBR_THR));
        }
        bench.pass_ns(CHARACTER_NS);
    }
    assert_eq!(got, sent);
}

#[test]
fn the_empty_transmitter_is_announced_once_until_the_next_byte() {
    let mut bench = Bench::new();
    assert!(!bench.uart.irq());
    bench.put(IER, IER_TRANSMITTER_EMPTY);
    assert!(bench.uart.irq(), "enabling announces it");
    assert_eq!(bench.get(IIR_FCR), IIR_TRANSMITTER_EMPTY);
    assert!(!bench.uart.irq(), "reading the cause acknowledges it");
    bench.put(RBR_THR, b'x');
    assert!(bench.uart.irq());
    assert!(!bench.uart.take_dip(), "it was low before: an edge of its own");
    bench.put(RBR_THR, b'y');
    assert!(bench.uart.irq() && bench.uart.take_dip(), "it fell and rose within the write");
}

#[test]
fn causes_are_told_by_priority() {
    let mut bench = Bench::new();
    bench.put(MCR, MCR_LOOPBACK);
    bench.put(IER, IER_ALL);
    bench.put(RBR_THR, 1);
    bench.put(RBR_THR, 2);
    assert_eq!(bench.get(IIR_FCR), IIR_LINE_STATUS);
    assert_eq!(bench.get(LSR) & (LSR_OVERRUN | LSR_DATA_READY), LSR_OVERRUN | LSR_DATA_READY);
    assert_eq!(bench.get(IIR_FCR), IIR_RECEIVED);
    assert_eq!(bench.get(RBR_THR), 2, "the new character took the old one's place");
    assert_eq!(bench.get(IIR_FCR), IIR_TRANSMITTER_EMPTY);
    assert_eq!(bench.get(IIR_FCR), IIR_MODEM_STATUS);
    assert_eq!(bench.get(MSR) & MSR_DELTAS, 0b1011, "CTS, DSR and DCD fell when the loop was closed");
    assert_eq!(bench.get(IIR_FCR), IIR_NONE);
}

#[test]
fn loopback_turns_the_modem_outputs_round() {
    for (mcr, inputs) in [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (1 << 2, MSR_RING), (1 << 3, MSR_DCD), (0x0f, 0xf0)] {
        let mut bench = Bench::new();
        bench.put(MCR, MCR_LOOPBACK | mcr);
        assert_eq!(bench.get(MSR) & 0xf0, inputs);
        assert!(!bench.uart.rts() && !bench.uart.dtr(), "the pins are inactive");
    }
}

#[test]
fn the_ring_delta_is_its_trailing_edge() {
    let mut bench = Bench::new();
    bench.put(MCR, MCR_LOOPBACK | 1 << 2);
    bench.get(MSR);
    bench.put(MCR, MCR_LOOPBACK);
    assert_eq!(bench.get(MSR), MSR_TRAILING_EDGE_RING);
}

#[test]
fn loopback_sends_nothing_out_and_lets_nothing_in() {
    let mut bench = Bench::new();
    bench.put(MCR, MCR_LOOPBACK);
    bench.put(RBR_THR, 0xae);
    bench.input(b"z");
    assert_eq!((bench.get(RBR_THR), bench.output()), (0xae, vec![]));
    bench.pass_ns(CHARACTER_NS);
    assert_eq!(bench.get(LSR) & LSR_DATA_READY, 0);
    bench.put(MCR, 0);
    assert_eq!(bench.get(LSR) & LSR_DATA_READY, LSR_DATA_READY);
    assert_eq!(bench.get(RBR_THR), b'z');
}

#[test]
fn a_full_fifo_in_loopback_keeps_its_bytes_and_tells_of_the_overrun() {
    let mut bench = Bench::new();
    bench.put(IIR_FCR, 0x01);
    bench.put(MCR, MCR_LOOPBACK);
    for byte in 0..17 {
        bench.put(RBR_THR, byte);
    }
    assert_eq!(bench.get(LSR) & LSR_OVERRUN, LSR_OVERRUN);
    assert_eq!(bench.get(LSR) & LSR_OVERRUN, 0, "cleared by the read");
    assert_eq!((0..16).map(|_| bench.get(RBR_THR)).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
}

#[test]
fn the_fifo_control_register_clears_the_receiver() {
    let mut bench = Bench::with_fifos();
    bench.input(b"abc");
    bench.put(IIR_FCR, 0xc1 | FCR_CLEAR_RECEIVER);
    assert_eq!(bench.get(LSR) & LSR_DATA_READY, 0);
    bench.input(b"d");
    bench.pass_ns(CHARACTER_NS);
    bench.put(IIR_FCR, 0x00);
    assert_eq!(bench.get(LSR) & LSR_DATA_READY, 0, "switching the FIFOs off clears them too");
}

#[test]
fn carrier_falls_when_the_last_byte_of_ended_input_was_read() {
    let mut bench = Bench::with_fifos();
    bench.put(IER, IER_MODEM_STATUS);
    bench.input(b"a");
    bench.uart.end_input(&mut bench.board);
    assert_eq!(bench.get(MSR) & MSR_DCD, MSR_DCD);
    assert_eq!(bench.get(RBR_THR), b'a');
    assert!(bench.uart.irq());
    assert_eq!(bench.get(MSR), MSR_CTS | MSR_DSR | MSR_DCD >> 4);
    assert!(!bench.uart.irq());
}

#[test]
fn input_is_wanted_only_while_rts_is_up_and_nothing_is_left() {
    let mut bench = Bench::with_fifos();
    assert!(!bench.uart.wants_input());
    bench.put(MCR, MCR_RTS);
    assert!(bench.uart.wants_input());
    bench.input(b"ab");
    assert!(!bench.uart.wants_input());
    bench.get(RBR_THR);
    bench.get(RBR_THR);
    assert!(bench.uart.wants_input());
    bench.put(MCR, MCR_RTS | MCR_LOOPBACK);
    assert!(!bench.uart.wants_input());
    bench.put(MCR, MCR_RTS);
    bench.uart.end_input(&mut bench.board);
    assert!(!bench.uart.wants_input());
}

#[test]
fn reset_keeps_what_waits_on_the_line() {
    let mut bench = Bench::new();
    bench.input(b"ab");
    bench.put(7, 0x5a);
    bench.put(IER, 0x0f);
    bench.uart.reset();
    assert_eq!((bench.get(IER), bench.get(7), bench.uart.input_waiting()), (0, 0x5a, 0));
    assert_eq!(bench.get(RBR_THR), b'b');
}
