//! `monitor break` and `monitor watch`, with a small program whose every address is known.

use libtest_mimic::Trial;

use super::packets::Wire;
use super::waiting::{Waiting, contains};
use crate::support::{Need, trial};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    let mut trials = vec![
        trial("gdb::stops_at_each_kind_of_event_and_says_what_it_was", &gdb, events),
        trial("gdb::stops_on_the_guests_own_int3_only_when_asked_to", &gdb, int3),
        trial("gdb::leaves_the_guests_own_trap_flag_alone", &gdb, trap_flag),
        trial("gdb::refuses_what_cannot_be_waited_for", &gdb, refusals),
        trial("gdb::steps_over_a_breakpoint_with_the_scheduler_locked_on_4_cpus", &gdb, locked),
        trial("gdb::steps_through_a_range_with_a_system_call_in_it", &[], range),
    ];
    for cpus in ["1", "4"] {
        trials.extend([
            trial(
                &format!(
                    "gdb::hits_in_a_kernel_and_a_program_that_are_yet_to_come_and_in_the_right_process_{cpus}_cpus"
                ),
                &gdb,
                move || before_they_exist(cpus),
            ),
            trial(&format!("gdb::sees_both_processes_write_to_a_frame_that_they_share_{cpus}_cpus"), &gdb, move || {
                shared_frame(cpus)
            }),
            trial(&format!("gdb::steps_over_fork_and_over_exec_{cpus}_cpus"), &gdb, move || fork_and_exec(cpus)),
        ]);
    }
    trials
}

/// Address of the first instruction of a program of [`elf`].
const START: u32 = 0x0804_8054;
/// In [`PAIR`]: the store that touches the shared page first, the one behind it, fork, and what both processes call.
const TOUCH: u32 = START + 0x1f;
const READY: u32 = START + 0x25;
const FORK: u32 = START + 0x2a;
const COMMON: u32 = START + 0x5f;

/// Two processes that share a page: both call a function and write to the page, and end.
#[rustfmt::skip]
const PAIR: &[u8] = &[
    0xb8, 0xc0, 0, 0, 0,                // mov eax, 192 (mmap2)
    0x31, 0xdb,                         // xor ebx, ebx
    0xb9, 0, 0x10, 0, 0,                // mov ecx, 4096
    0xba, 3, 0, 0, 0,                   // mov edx, PROT_READ | PROT_WRITE
    0xbe, 0x21, 0, 0, 0,                // mov esi, MAP_SHARED | MAP_ANONYMOUS
    0x83, 0xcf, 0xff,                   // or edi, -1
    0x31, 0xed,                         // xor ebp, ebp
    0xcd, 0x80,                         // int 0x80
    0x89, 0xc6,                         // mov esi, eax
    0xc7, 0x06, 0, 0, 0, 0,             // mov dword ptr [esi], 0
    0xb8, 2, 0, 0, 0,                   // mov eax, 2 (fork)
    0xcd, 0x80,                         // int 0x80
    0x85, 0xc0,                         // test eax, eax
    0x74, 0x1b,                         // je child
    0xe8, 0x2a, 0, 0, 0,                // call common
    0xc7, 0x06, 0x11, 0x11, 0, 0,       // mov dword ptr [esi], 0x1111
    0xb8, 7, 0, 0, 0,                   // mov eax, 7 (waitpid)
    0x83, 0xcb, 0xff,                   // or ebx, -1
    0x31, 0xc9,                         // xor ecx, ecx
    0x31, 0xd2,                         // xor edx, edx
    0xcd, 0x80,                         // int 0x80
    0xeb, 0x0b,                         // jmp done
    0xe8, 0x0f, 0, 0, 0,                // child: call common
    0xc7, 0x06, 0x22, 0x22, 0, 0,       // mov dword ptr [esi], 0x2222
    0xb8, 1, 0, 0, 0,                   // done: mov eax, 1 (exit)
    0x31, 0xdb,                         // xor ebx, ebx
    0xcd, 0x80,                         // int 0x80
    0x90,                               // common: nop
    0xc3,                               // ret
];

/// A static program with `code` at [`START`].
fn elf(code: &[u8]) -> Vec<u8> {
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |elf: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|w| elf.extend_from_slice(&w.to_le_bytes()));
    half(&mut elf, &[2, 3]);
    word(&mut elf, &[1, START, 52, 0, 0]);
    half(&mut elf, &[52, 32, 1, 0, 0, 0]);
    let size = 84 + code.len() as u32;
    word(&mut elf, &[1, 0, START - 84, START - 84, size, size, 5, 0x1000]);
    elf.extend_from_slice(code);
    elf
}

fn running(code: &[u8], cpus: &str) -> Waiting {
    Waiting::running("small", &elf(code), "127.0.0.1:0", &["--cpus", cpus])
}

fn before_they_exist(cpus: &str) {
    let machine = running(PAIR, cpus);
    let script = format!(
        "break start_kernel\nmonitor break {COMMON:x} pid=3\ncontinue\ncontinue\n\
         printf \"child: eax %d at %x\\n\", $eax, $pc\n\
         monitor break exit pid=2\ncontinue\nmonitor break\nmonitor unbreak all\ncontinue\n"
    );
    let text = machine.gdb(&machine.kernel(), &script);
    contains(
        &text,
        &[
            "Breakpoint 1, ",
            &format!("[at {COMMON:#010x}, CPU "),
            ", process 3]",
            &format!("child: eax 0 at {COMMON:x}"),
            "do_exit",
            &format!("1   break {COMMON:x} pid=3: 1 hits, 1 passed over"),
            "exited normally",
        ],
    );
    assert_eq!(machine.end().0, Some(0));
}

fn shared_frame(cpus: &str) {
    let machine = running(PAIR, cpus);
    let script = format!(
        "monitor break {READY:x} pid=2\ncontinue\nmonitor unbreak 1\nmonitor watch $esi 4 alias\n\
         continue\ncontinue\nmonitor unbreak all\ncontinue\n"
    );
    let text = machine.gdb(&machine.kernel(), &script);
    contains(
        &text,
        &["-> 0x00001111 (4 bytes)", "-> 0x00002222 (4 bytes)", "[wrote 0x00000000 -> 0x0000", "exited normally"],
    );
    let by = |value: &str| text.lines().find(|line| line.contains(value)).unwrap_or_default();
    assert!(by("-> 0x00001111").ends_with("process 2]"), "{text}");
    assert!(by("-> 0x00002222").ends_with("process 3]"), "{text}");
    assert_eq!(machine.end().0, Some(0));
}

fn fork_and_exec(cpus: &str) {
    let machine = running(PAIR, cpus);
    // The first step is over the system call by which init becomes the program.
    let script = format!(
        "monitor break exec pid=2\ncontinue\nmonitor unbreak all\nstepi\nprintf \"after exec %x ring %d\\n\", $pc, $cpl\n\
         monitor break {FORK:x} pid=2\ncontinue\nmonitor unbreak all\n\
         stepi\nprintf \"after fork %x eax %d\\n\", $pc, $eax\nstepi\nstepi\nprintf \"then %x\\n\", $pc\ncontinue\n"
    );
    let text = machine.gdb(&machine.program, &script);
    contains(
        &text,
        &[
            "[system call 11 execve(",
            &format!("after exec {START:x} ring 3"),
            &format!("after fork {:x} eax 3", FORK + 2),
            &format!("then {:x}", FORK + 6),
            "exited normally",
        ],
    );
    assert_eq!(machine.end().0, Some(0));
}

fn events() {
    let machine = running(PAIR, "1");
    // Each waits for one thing and is taken away when it has come.
    let mut script = String::new();
    let mut number = 0;
    let mut once = |what: &str| {
        number += 1;
        script += &format!("monitor {what}\ncontinue\nmonitor unbreak {number}\n");
    };
    once("break port 3f8-3ff out");
    once("break cr3");
    once("break exec pid=2");
    once("break syscall mmap2 pid=2");
    once(&format!("break {TOUCH:x} pid=2"));
    once("break fault $esi 4 pid=2");
    once("break pte $esi");
    once(&format!("break {TOUCH:x} pid=2"));
    once("watch $esi 4 rw pid=2");
    once("break fork ring=3");
    once("break vector 0x80 pid=3");
    once("break exit");
    script += "monitor break\ncontinue\n";
    let text = machine.gdb(&machine.kernel(), &script);
    contains(
        &text,
        &[
            "[CR3 0x",
            " at port 0x03f",
            "[system call 11 execve(",
            "[system call 192 mmap2(0x0, 0x1000, 0x3, 0x21, 0xffffffff, 0x0); at 0x0804806f, CPU 0, process 2]",
            "page fault at 0x",
            "(write by user, not present), not yet delivered; at 0x08048073, CPU 0, process 2]",
            "[wrote 0x00000000 -> 0x00000000 (4 bytes) at linear 0x",
            "[system call 2 fork(",
            "  2: break cr3\n",
            "do_exit",
            "nothing; `monitor help`",
            "exited normally",
        ],
    );
    assert_eq!(machine.end().0, Some(0));
}

/// INT3, then exit.
const INT3: &[u8] = &[0x90, 0xcc, 0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
/// How a program ends that SIGTRAP kills.
const KILLED_BY_TRAP: i32 = 128 + 5;

fn int3() {
    let machine = running(INT3, "1");
    let script = format!(
        "monitor stop-on int3\ncontinue\nprintf \"at %x\\n\", $pc\nmonitor stop-on int3 off\ncontinue\n# {START:x}\n"
    );
    let text = machine.gdb(&machine.program, &script);
    contains(&text, &["[the guest's own interrupt 3", &format!("at {:x}", START + 1), "exited with code 0205"]);
    assert_eq!(machine.end().0, Some(KILLED_BY_TRAP));
    let machine = running(INT3, "1");
    let text = machine.gdb(&machine.program, "continue\n");
    assert!(!text.contains("interrupt 3"), "{text}");
    assert_eq!(machine.end().0, Some(KILLED_BY_TRAP));
}

fn trap_flag() {
    // pushf; or dword ptr [esp], 0x100; popf; nop
    let code = [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90];
    let machine = running(&code, "1");
    let script = format!(
        "monitor break {START:x}\ncontinue\nstepi\nstepi\nstepi\nprintf \"flags %x at %x\\n\", $eflags, $pc\ncontinue\n"
    );
    let text = machine.gdb(&machine.program, &script);
    contains(&text, &[&format!("at {:x}", START + 9), "exited with code 0205"]);
    assert_eq!(machine.end().0, Some(KILLED_BY_TRAP));
}

fn refusals() {
    let machine = running(PAIR, "1");
    let script = "\
        monitor break pte 1000\n\
        monitor break syscall wirte\n\
        monitor break c0100000 ring=4\n\
        monitor break c0100000 cpu=1\n\
        monitor break nowhere_at_all\n\
        monitor watch 1000 0\n\
        monitor watch ffe 8 alias\n\
        monitor unbreak 7\n\
        monitor stop-on int4\n\
        monitor break\n\
        stepi\n\
        printf \"stepped\\n\"\n\
        break *0xfffffff0\n\
        continue\n";
    let text = machine.gdb(&machine.kernel(), script);
    contains(
        &text,
        &[
            "paging is off",
            "there is no `wirte`",
            "rings are 0 to 3",
            "the CPUs are 0 to 0",
            "no symbol `nowhere_at_all`",
            "or none at all",
            "one page",
            "there is no number `7`",
            "usage: stop-on int3",
            "nothing; `monitor help`",
            "stepped",
            "exited normally",
        ],
    );
    assert_eq!(machine.end().0, Some(0));
}

fn locked() {
    let machine = running(PAIR, "4");
    let script = format!(
        "break *{COMMON:#x}\nset scheduler-locking on\ncontinue\nstepi\nprintf \"locked %x\\n\", $pc\n\
         set scheduler-locking off\ncontinue\nprintf \"again %x\\n\", $pc\ncontinue\n"
    );
    let text = machine.gdb(&machine.program, &script);
    let [locked, again] = [format!("locked {:x}", COMMON + 1), format!("again {COMMON:x}")];
    contains(&text, &[&locked, &again, "exited normally"]);
    assert_eq!(machine.end().0, Some(0));
}

fn range() {
    let machine = running(PAIR, "1");
    let mut wire = Wire::connect(&machine);
    let command: String = format!("break {START:x} pid=2").bytes().map(|byte| format!("{byte:02x}")).collect();
    let range = format!("vCont;r{START:x},{TOUCH:x}:1");
    for (packet, end) in [(&format!("qRcmd,{command}")[..], "$OK#"), ("vCont;c", "$T05"), (&range, "$T05")] {
        wire.packet(packet);
        // Texts to print come first.
        while !wire.answer().contains(end) {}
    }
    wire.packet("p8");
    let digits: String = TOUCH.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let answer = wire.answer().replace("0*", "000");
    assert!(answer.contains(&digits), "{answer} is not {digits}");
    wire.packet("k");
}
