//! Clients that misbehave: the machine is unharmed, can still be stepped, and the answer is clear.

use std::{thread, time::Duration};

use libtest_mimic::Trial;

use super::packets::Wire;
use super::waiting::{Waiting, contains};
use crate::support::{Need, trial};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    vec![
        trial("gdb::a_client_that_vanishes_within_a_packet_lets_the_machine_go_on", &[], vanishing),
        trial("gdb::half_of_a_packet_waits_for_the_other_half", &[], half_sent),
        trial("gdb::packets_while_the_machine_runs_are_refused_and_it_can_be_interrupted", &[], out_of_order),
        trial("gdb::a_packet_without_end_is_dropped", &[], oversized),
        trial("gdb::a_second_gdb_is_told_that_there_is_one", &gdb, second_gdb),
        trial("gdb::tells_memory_and_registers_that_cannot_be_and_symbols_that_do_not_match", &gdb, refused_accesses),
    ]
}

/// Steps once by hand.
#[track_caller]
fn steps(wire: &mut Wire) {
    wire.packet("vCont;s:1");
    assert_eq!(wire.answer().trim_start_matches('+'), "$T05thread:01;#07");
}

fn vanishing() {
    let machine = Waiting::start();
    // Nobody has said anything whole yet: the machine waits on.
    Wire::connect(&machine).send("$m1000,");
    let mut wire = Wire::connect(&machine);
    wire.packet("?");
    assert_eq!(wire.answer(), "+$T05thread:01;#07");
    steps(&mut wire);
    wire.send("$vCont;s:1#");
    drop(wire);
    assert_eq!(machine.end().0, Some(0));
}

fn half_sent() {
    let machine = Waiting::start();
    let mut wire = Wire::connect(&machine);
    for piece in ["$", "qAtta", "ched", "#", "8"] {
        wire.send(piece);
        thread::sleep(Duration::from_millis(30));
    }
    wire.send("f");
    assert!(wire.answer().starts_with("+$"));
    steps(&mut wire);
}

fn out_of_order() {
    let machine = Waiting::start();
    let mut wire = Wire::connect(&machine);
    wire.packet("?");
    wire.answer();
    // A loop that never ends, in the place of the kernel's first instructions.
    wire.packet("p8");
    let eip: Vec<u8> = wire.answer().replace("0*", "000").bytes().filter(u8::is_ascii_hexdigit).collect();
    let digits = String::from_utf8_lossy(&eip[..8]).into_owned();
    let swapped: String = (0..4).rev().map(|at| &digits[2 * at..2 * at + 2]).collect();
    wire.packet(&format!("M{swapped},2:ebfe"));
    assert_eq!(wire.answer(), "+$OK#9a");
    wire.packet("vCont;c");
    wire.packet("g");
    assert_eq!(wire.answer(), "++$E01#a6");
    wire.send("\x03");
    assert!(wire.answer().contains("$T02"), "interrupted");
    steps(&mut wire);
    wire.packet("k");
}

fn oversized() {
    let machine = Waiting::start();
    let mut wire = Wire::connect(&machine);
    wire.send(&format!("$M1000,20000:{}", "00".repeat(0x2_0000)));
    wire.packet("?");
    assert!(wire.answer().ends_with("$T05thread:01;#07"));
    steps(&mut wire);
}

fn second_gdb() {
    let machine = Waiting::start();
    let mut first = Wire::connect(&machine);
    first.packet("?");
    first.answer();
    let text = machine.gdb(&machine.kernel(), "");
    contains(&text, &["another debugger has this machine"]);
    steps(&mut first);
}

fn refused_accesses() {
    let machine = Waiting::start();
    // A script ends at its first error; Python can go on.
    let script = format!(
        "python\n\
         def tries(command):\n\
         {0}try:\n\
         {0}{0}print(gdb.execute(command, to_string=True))\n\
         {0}except gdb.error as error:\n\
         {0}{0}print(error)\n\
         end\n\
         python tries('x/x 0xf0000000')\n\
         python tries('set $cpl = 2')\n\
         python tries('set *(int*)0xf0000000 = 1')\n\
         stepi\nprintf \"stepped\\n\"\n\
         hbreak start_kernel\ncontinue\n\
         python tries('compare-sections .text')\n\
         file {1}\n\
         python tries('compare-sections')\n\
         delete\ncontinue\n",
        "    ",
        machine.program.display()
    );
    let text = machine.gdb(&machine.kernel(), &format!("set language c\n{script}"));
    contains(
        &text,
        &[
            "Cannot access memory at address 0xf0000000",
            "Could not write register",
            "stepped",
            ": matched.",
            "exited normally",
        ],
    );
    let is_mismatch = text.contains("MIS-MATCHED!") || text.contains("target memory fault");
    assert!(is_mismatch, "{text}");
    assert_eq!(machine.end().0, Some(0));
}
