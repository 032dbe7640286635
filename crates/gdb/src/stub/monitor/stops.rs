//! What stops the machine: breakpoints, watchpoints and events with conditions that the emulator evaluates.

use super::{Group, Outcome, usage};
use crate::stub::{Stub, stops};

pub const GROUP: Group = Group {
    rows: &[
        ("break", "what stops the machine: numbers, hits, and how often a condition did not hold"),
        ("break ADDR [COND…]", "stops before the instruction; a function called fork, exec …: NAME+0"),
        ("break syscall [NAME|N…] [COND…]", "before a system call, of these or of any"),
        ("break fork|exec|exit [COND…]", "before a process forks, before it executes a program, at its end"),
        (
            "break fault [ADDR [LEN]] [COND…]",
            "at a page fault in LEN bytes from ADDR, or in its page, before the delivery",
        ),
        ("break pte ADDR [pid=N]", "after a write to the entries that translate ADDR, by a CPU or its page walker"),
        ("break port HEX[-HEX] [in|out] [COND…]", "after an access to a port"),
        ("break vector N [COND…]", "at an interrupt, exception or INT N"),
        ("break cr3 [COND…]", "after a load of CR3"),
        (
            "watch ADDR [LEN] [r|w|rw] [phys|alias] [COND…]",
            "after an access to LEN bytes (4); phys: ADDR is physical; alias: the memory behind ADDR, however it is reached",
        ),
        ("unbreak N|all", "takes one or all of them away; COND: pid=N, cr3=HEX, ring=N, cpu=N"),
        ("stop-on int3 [on|off]", "the guest's own INT3 stops the machine, before it is delivered to the guest"),
    ],
    run,
};

fn run(stub: &mut Stub<'_>, words: &[&str]) -> Option<Outcome> {
    match words {
        ["break"] => Some(Ok(stub.list_stops().into_bytes())),
        ["break", words @ ..] => Some(set(stub, words, false)),
        ["watch", words @ ..] => Some(set(stub, words, true)),
        ["unbreak", "all"] => {
            stub.remove_stops();
            Some(Ok(Vec::new()))
        }
        ["unbreak", number] => Some(unset(stub, number)),
        ["stop-on", "int3"] | ["stop-on", "int3", "on"] => {
            stub.stop_on_int3(true);
            Some(Ok(Vec::new()))
        }
        ["stop-on", "int3", "off"] => {
            stub.stop_on_int3(false);
            Some(Ok(Vec::new()))
        }
        _ => None,
    }
}

fn set(stub: &mut Stub<'_>, words: &[&str], watch: bool) -> Outcome {
    let (what, condition) = stub.parse_stop(words, watch)?;
    let name = if watch { "watch" } else { "break" };
    let text = format!("{name} {}", words.join(" "));
    let number = stub.add_stop(text.clone(), what, condition).ok_or_else(|| usage(stops::TOO_MANY))?;
    Ok(format!("{number}: {text}\n").into_bytes())
}

fn unset(stub: &mut Stub<'_>, number: &str) -> Outcome {
    let is_gone = number.parse().is_ok_and(|number| stub.remove_stop(number));
    match is_gone {
        true => Ok(Vec::new()),
        false => Err(usage(&format!("unbreak: there is no number `{number}`; `monitor break` lists them"))),
    }
}
