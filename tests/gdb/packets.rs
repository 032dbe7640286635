//! Packets by hand: nonsense, silence, a port in use.

use std::{
    io::{Read, Write},
    process::Stdio,
    thread,
    time::Duration,
};

use libtest_mimic::Trial;

use super::waiting::Waiting;
use crate::support::{pagewalk, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("gdb::garbled_packets_are_asked_for_again_and_nonsense_is_answered", &[], garbled_packets),
        trial("gdb::a_connection_that_says_nothing_does_not_start_the_machine", &[], silent_connection),
        trial("gdb::lldb_is_told_of_machine_and_registers", &[], lldb),
        trial("gdb::a_port_in_use_is_one_clear_line", &[], port_in_use),
    ]
}

/// A client of a few packets.
pub struct Wire(std::net::TcpStream);

impl Wire {
    pub fn connect(machine: &Waiting) -> Wire {
        let stream = std::net::TcpStream::connect(&machine.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        Wire(stream)
    }

    pub fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).expect("send");
    }

    pub fn packet(&mut self, body: &str) {
        let sum = body.bytes().fold(0u8, u8::wrapping_add);
        self.send(&format!("${body}#{sum:02x}"));
    }

    /// Everything up to the end of the next packet.
    pub fn answer(&mut self) -> String {
        let mut text = Vec::new();
        let ends = |text: &[u8]| text.len() > 3 && text[text.len() - 3] == b'#';
        while !ends(&text) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("an answer");
            text.push(byte[0]);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn garbled_packets() {
    let machine = Waiting::start();
    let mut wire = Wire::connect(&machine);
    wire.packet("qSupported:multiprocess+;swbreak+");
    assert!(wire.answer().contains("PacketSize="));
    wire.send("$g#00");
    wire.packet("?");
    assert_eq!(wire.answer(), "-+$T05thread:p01.01;#06");
    for nonsense in ["Hg-1", "vCont;zzz", "mzzzz", "Z9,0,1", "P999=00", "G00", "vFile:pread:9,9,9", "vCont;s"] {
        wire.packet(nonsense);
        let answer = wire.answer();
        assert!(answer.starts_with("+$E") || answer.starts_with("+$F-1") || answer == "+$#00", "{nonsense}: {answer}");
    }
    wire.packet("mffffffff,10");
    assert!(wire.answer().starts_with('+'));
    wire.packet("?");
    assert_eq!(wire.answer(), "+$T05thread:p01.01;#06", "the session goes on as it was");
    wire.packet("D;1");
    assert_eq!(wire.answer(), "+$OK#9a");
    assert_eq!(machine.end().0, Some(0));
}

/// What lldb asks first.
fn lldb() {
    let machine = Waiting::start();
    let mut wire = Wire::connect(&machine);
    let mut ask = |packet: &str| {
        wire.packet(packet);
        wire.answer()
    };
    // "i386-unknown-linux-gnu" as lldb writes it: in hex.
    let triple = "triple:693338362d756e6b6e6f776e2d6c696e75782d676e75;endian:little;";
    let (host, process) = (ask("qHostInfo"), ask("qProcessInfo"));
    assert!(host.contains(triple) && host.contains(";ptrsize:4;"), "{host}");
    assert!(process.contains(&format!("pid:1;{triple}")), "{process}");
    let eip = ask("qRegisterInfo8");
    assert!(
        eip.contains("name:eip;bitsize:32;offset:32;encoding:uint;format:hex;") && eip.contains("generic:pc;"),
        "{eip}"
    );
    assert!(ask("qRegisterInfo34").contains("$E"), "behind the last one");
}

fn silent_connection() {
    let machine = Waiting::start();
    drop(Wire::connect(&machine));
    Wire::connect(&machine).send("GET / HTTP/1.0\r\n\r\n");
    thread::sleep(Duration::from_millis(200));
    let mut wire = Wire::connect(&machine);
    wire.packet("?");
    assert_eq!(wire.answer(), "+$T05thread:01;#07");
    wire.packet("p8");
    // EIP at the first instruction: the kernel's entry point, little end first.
    let entry = goblin::elf::Elf::parse(images::KERNEL).expect("the kernel is an ELF file").entry as u32;
    let digits: String = entry.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = wire.answer().replace("0*", "000");
    assert!(answer.contains(&digits), "{answer} is not {digits}");
}

fn port_in_use() {
    let machine = Waiting::start();
    let output = pagewalk().args(["run", "--gdb", &machine.address]).stdin(Stdio::null()).output().expect("run");
    assert_eq!(output.status.code(), Some(125));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let want = format!("pagewalk: cannot wait for gdb on {}: ", machine.address);
    assert!(stderr.starts_with(&want) && stderr.lines().count() == 1, "{stderr}");
}
