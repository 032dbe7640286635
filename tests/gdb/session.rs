//! From the first instruction, before paging, to a program's end.

use std::fs;

use libtest_mimic::Trial;

use super::waiting::{Waiting, contains};
use crate::support::{Need, trial};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    vec![
        trial("gdb::stops_before_and_after_paging_at_a_fault_and_at_main_and_follows_to_the_end", &gdb, whole_way),
        trial("gdb::sees_the_process_as_linux_would_show_it", &gdb, process_view),
        trial("gdb::sees_each_cpu_as_a_thread_and_steps_the_one_chosen", &gdb, threads),
        trial("gdb::kills_and_lets_go", &gdb, kill_and_detach),
        trial("gdb::works_over_a_unix_socket", &gdb, unix_socket),
    ]
}

fn whole_way() {
    let machine = Waiting::start();
    let script = "\
        print $cr0.PG\n\
        monitor walk $eip\n\
        stepi\n\
        break do_page_fault\n\
        continue\n\
        print $cr0.PG\n\
        print $cpl\n\
        monitor walk $eip\n\
        backtrace 3\n\
        delete\n";
    let program = machine.program.display();
    let script = format!(
        "{script}file {program}\nadd-symbol-file {}\ntbreak main\ncontinue\n\
         print $cs & 3\ninfo registers eip cr3\nbacktrace 1\nstepi\nx/2i $pc\ninfo threads\nmonitor ps\ncontinue\n",
        machine.kernel().display()
    );
    let text = machine.gdb(&machine.kernel(), &script);
    contains(
        &text,
        &[
            "$1 = false",
            "paging off: linear is physical",
            "Breakpoint 1, ",
            "$2 = true",
            "$3 = 0",
            "PDE       [768] at ",
            "do_page_fault",
            "Temporary breakpoint 2",
            "$4 = 3",
            "CPU#0 ring3 pid 2 tour cr3=0x",
            "      2 ?        00:00:00 tour",
            "exited normally",
        ],
    );
    let (status, guest) = machine.end();
    assert_eq!(status, Some(0));
    assert!(guest.contains("From outside"), "{guest}");
}

fn process_view() {
    let machine = Waiting::start();
    let script = "\
        tbreak main\n\
        continue\n\
        info proc mappings\n\
        info proc\n\
        info auxv\n\
        info registers cr0\n\
        p $xmm0.uint128\n\
        p $st0\n\
        p/x $orig_eax\n\
        monitor help\n\
        monitor maps 2\n\
        monitor proc 1\n\
        info proc mappings\n\
        monitor nonsense\n\
        detach\n";
    let text = machine.gdb(&machine.program, script);
    // As `maps` has the program's text: from the page of its file that the linker put it in.
    let tour = fs::read(&machine.program).expect("the program");
    let headers = goblin::elf::Elf::parse(&tour).expect("an ELF file").program_headers;
    let executable = headers.iter().find(|header| header.is_executable() && header.p_memsz > 0).expect("text");
    let text_row = format!("r-xp {:08x} 00:02 ", executable.p_offset & !0xfff);
    contains(
        &text,
        &[
            "r-xp   /bin/tour",
            "[stack]",
            "exe = '/bin/tour'",
            "AT_ENTRY",
            "AT_PHDR",
            "PG: 0x1",
            "= 0xffffffff",
            "walk ADDR",
            &text_row,
            "process 1 init (chosen)",
            "r-xp   /.pagewalk/init",
            "`nonsense` is not a lens of this version",
        ],
    );
    assert_eq!(machine.end().0, Some(0), "after the detach the program runs to its end");
}

/// The second CPU waits to be started, or has been, so that a step of the first one leaves it alone or lets it
/// have its turns; a breakpoint stops whoever comes there.
fn threads() {
    let machine = Waiting::with("127.0.0.1:0", &["--cpus", "2"]);
    let script = "\
        info threads\n\
        thread 2\n\
        printf \"second at %x\\n\", $eip\n\
        thread 1\n\
        set $before = $eip\n\
        stepi\n\
        printf \"moved %d\\n\", $eip != $before\n\
        tbreak main\n\
        continue\n\
        info threads\n\
        continue\n";
    let text = machine.gdb(&machine.program, script);
    contains(&text, &["CPU#0", "CPU#1", "second at fff0", "moved 1", "exited normally"]);
    assert_eq!(machine.end().0, Some(0));
}

fn kill_and_detach() {
    let machine = Waiting::start();
    let text = machine.gdb(&machine.program, "tbreak main\ncontinue\nkill\n");
    contains(&text, &["killed"]);
    assert_eq!(machine.end().0, Some(137));
    let machine = Waiting::start();
    machine.gdb(&machine.program, "detach\n");
    assert_eq!(machine.end().0, Some(0));
}

fn unix_socket() {
    let machine = Waiting::listening_on("unix:FOLDER/gdb.sock");
    let text = machine.gdb(&machine.kernel(), "hbreak start_kernel\ncontinue\nprint $cr0.PG\ndelete\ncontinue\n");
    contains(&text, &["Breakpoint 1, ", "$1 = true", "exited normally"]);
    assert_eq!(machine.end().0, Some(0));
}
