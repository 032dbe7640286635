//! What stops the machine for gdb: steps and watchpoints.

use libtest_mimic::Trial;

use super::waiting::{Waiting, contains};
use crate::support::{Need, trial};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    vec![
        trial("gdb::steps_over_system_calls_and_faults_of_a_program", &gdb, steps),
        trial("gdb::watches_memory", &gdb, watchpoint),
    ]
}

/// From `main` on, as many single steps as there are: none of them may end in the kernel.
fn steps() {
    let machine = Waiting::start();
    let script = "\
        tbreak main\n\
        continue\n\
        set $in_kernel = 0\n\
        set $n = 0\n\
        while $n < 1000\n\
        stepi\n\
        set $n = $n + 1\n\
        if $cpl != 3\n\
        set $in_kernel = $in_kernel + 1\n\
        end\n\
        end\n\
        printf \"steps %d in kernel %d\\n\", $n, $in_kernel\n\
        monitor step-kernel on\n\
        delete\n\
        continue\n";
    let text = machine.gdb(&machine.program, script);
    contains(&text, &["steps 1000 in kernel 0", "exited normally"]);
    assert_eq!(machine.end().0, Some(0));
}

fn watchpoint() {
    let machine = Waiting::start();
    let script = "\
        tbreak main\n\
        continue\n\
        set language c\n\
        watch -l *(int*)($sp - 4)\n\
        continue\n\
        info breakpoints\n\
        delete\n\
        continue\n";
    let text = machine.gdb(&machine.program, script);
    contains(&text, &["Hardware watchpoint 2", "breakpoint already hit 1 time", "exited normally"]);
    assert_eq!(machine.end().0, Some(0));
}
