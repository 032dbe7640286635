//! One session with gdb: packets in, stops out.

use std::time::Duration;

use gdbstub::common::Signal;
use gdbstub::stub::state_machine::GdbStubStateMachine;
use gdbstub::stub::{DisconnectReason, GdbStub, MultiThreadStopReason};
use inspect::KernelImage;
use machine::Machine;

use crate::link::{Link, MAX_PACKET, Received, Wire};
use crate::server::{Ending, Keeper, Setup, Verdict};
use crate::stub::{Event, Stub};

/// How long a stopped machine waits for a packet before its keeper is asked.
const NAP: Duration = Duration::from_millis(20);
/// How long somebody who has connected may keep a machine from running without a packet.
const FIRST_WORD: Duration = Duration::from_secs(5);

type Protocol<'m> = GdbStubStateMachine<'static, Stub<'m>, Wire>;

/// Serves gdb, and turns others away by `turn_away`, until it lets go, kills, or goes away, or until the machine ends. `None` if the
/// other side never sent a packet.
pub fn serve(
    link: Link,
    machine: &mut Machine,
    keeper: &mut dyn Keeper,
    setup: &Setup,
    kernel: &KernelImage,
    turn_away: &dyn Fn(),
) -> Option<Ending> {
    let mut session = Session { link, handshake: Vec::new(), heard: false };
    let mut stub = Stub::new(machine, keeper, setup, kernel);
    let ending = session.run(&mut stub, turn_away);
    stub.release();
    ending
}

struct Session {
    link: Link,
    /// Packets that set up the protocol, to be played again after it had to be made anew.
    handshake: Vec<Vec<u8>>,
    heard: bool,
}

impl Session {
    fn run(&mut self, stub: &mut Stub<'_>, turn_away: &dyn Fn()) -> Option<Ending> {
        let mut protocol = self.fresh(stub);
        let mut waited = Duration::ZERO;
        loop {
            // Who has said nothing yet keeps nobody out.
            if self.heard {
                turn_away();
            }
            let running = matches!(protocol, GdbStubStateMachine::Running(_));
            match self.link.receive(if running { Duration::ZERO } else { NAP }) {
                Some(Received::End) => return self.heard.then_some(Ending::Detached),
                Some(Received::Interrupt) => protocol = self.feed(protocol, stub, &[crate::link::INTERRUPT]),
                // gdb waits for the stop and sends none now: whatever it is, it is not understood.
                Some(Received::Packet(_)) if running => {
                    self.link.answer("E01");
                    self.link.send();
                }
                Some(Received::Packet(packet)) => {
                    self.heard = true;
                    protocol = self.feed(protocol, stub, &packet);
                }
                None if running => match stub.run_slice() {
                    Event::None => {}
                    Event::Stopped(reason) => protocol = self.report(protocol, stub, reason),
                    Event::Ended(status) => {
                        self.report(protocol, stub, MultiThreadStopReason::Exited(status));
                        return Some(Ending::Ended(status));
                    }
                },
                None => {
                    waited += NAP;
                    if !self.heard && waited > FIRST_WORD {
                        return None;
                    }
                    if let Verdict::End(status) = stub.rest() {
                        return Some(Ending::Ended(status));
                    }
                }
            }
            if let GdbStubStateMachine::Disconnected(end) = &protocol {
                return Some(match end.get_reason() {
                    DisconnectReason::Kill => {
                        self.link.answer("OK");
                        self.link.send();
                        Ending::Killed
                    }
                    DisconnectReason::TargetExited(status) => Ending::Ended(status),
                    DisconnectReason::TargetTerminated(signal) => Ending::Ended(128 + signal.0),
                    DisconnectReason::Disconnect => Ending::Detached,
                });
            }
        }
    }

    /// A protocol state at its beginning.
    fn fresh<'m>(&self, stub: &mut Stub<'m>) -> Protocol<'m> {
        let built = GdbStub::builder(self.link.wire()).packet_buffer_size(MAX_PACKET + 1024).build();
        let built = built.unwrap_or_else(|error| unreachable!("the buffer is gdbstub's own: {error}"));
        let machine = built.run_state_machine(stub);
        machine.unwrap_or_else(|error| unreachable!("breakpoints are supported and the wire cannot fail: {error}"))
    }

    /// Gives gdbstub a whole packet, or the interrupt character. What it takes for the end of
    /// the session although the connection is sound gets an error as its answer, and the
    /// protocol begins anew where it was.
    fn feed<'m>(&mut self, protocol: Protocol<'m>, stub: &mut Stub<'m>, packet: &[u8]) -> Protocol<'m> {
        let next = match pump(protocol, stub, packet) {
            Ok(protocol) => {
                self.remember(packet);
                protocol
            }
            Err(error) => {
                log::debug!("gdb: {error} ({})", String::from_utf8_lossy(packet));
                self.link.mute(true);
                let mut protocol = self.fresh(stub);
                for packet in self.handshake.clone() {
                    protocol = pump(protocol, stub, &packet).unwrap_or_else(|_| self.fresh(stub));
                }
                self.link.mute(false);
                self.link.answer("E01");
                protocol
            }
        };
        self.link.send();
        if packet.starts_with(b"$QStartNoAckMode#") {
            self.link.stop_acknowledging();
        }
        next
    }

    fn remember(&mut self, packet: &[u8]) {
        const KINDS: [&[u8]; 4] = [b"$qSupported", b"$QStartNoAckMode", b"$Hg", b"$Hc"];
        if let Some(kind) = KINDS.iter().find(|kind| packet.starts_with(kind)) {
            self.handshake.retain(|old| !old.starts_with(kind));
            self.handshake.push(packet.to_vec());
        }
    }

    fn report<'m>(
        &mut self,
        protocol: Protocol<'m>,
        stub: &mut Stub<'m>,
        reason: MultiThreadStopReason<u32>,
    ) -> Protocol<'m> {
        let GdbStubStateMachine::Running(running) = protocol else { return protocol };
        self.link.say(&stub.take_text());
        let next = running.report_stop(stub, reason).unwrap_or_else(|error| {
            log::debug!("gdb: {error}");
            self.fresh(stub)
        });
        self.link.send();
        next
    }
}

/// An error of gdbstub; ours and the wire's cannot happen.
type ProtocolError = gdbstub::stub::GdbStubError<std::convert::Infallible, std::io::Error>;

fn pump<'m>(protocol: Protocol<'m>, stub: &mut Stub<'m>, bytes: &[u8]) -> Result<Protocol<'m>, ProtocolError> {
    bytes.iter().try_fold(protocol, |protocol, &byte| match protocol {
        GdbStubStateMachine::Idle(idle) => settle(idle.incoming_data(stub, byte)?, stub),
        GdbStubStateMachine::Running(running) => settle(running.incoming_data(stub, byte)?, stub),
        other => settle(other, stub),
    })
}

/// Ctrl-C stops the machine at once.
fn settle<'m>(protocol: Protocol<'m>, stub: &mut Stub<'m>) -> Result<Protocol<'m>, ProtocolError> {
    match protocol {
        GdbStubStateMachine::CtrlCInterrupt(interrupt) => {
            let reason = MultiThreadStopReason::SignalWithThread { tid: stub.current_tid(), signal: Signal::SIGINT };
            interrupt.interrupt_handled(stub, Some(reason))
        }
        other => Ok(other),
    }
}
