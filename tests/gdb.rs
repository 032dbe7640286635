//! Real gdb on a machine: from the first instruction, before paging, to a program's end.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, pagewalk, trial};

pub fn trials() -> Vec<Trial> {
    let gdb = [Need::Program("gdb")];
    vec![
        trial("gdb::stops_before_and_after_paging_at_a_fault_and_at_main_and_follows_to_the_end", &gdb, whole_way),
        trial("gdb::sees_the_process_as_linux_would_show_it", &gdb, process_view),
        trial("gdb::steps_over_system_calls_and_faults_of_a_program", &gdb, steps),
        trial("gdb::sees_each_cpu_as_a_thread_and_steps_the_one_chosen", &gdb, threads),
        trial("gdb::watches_memory", &gdb, watchpoint),
        trial("gdb::kills_and_lets_go", &gdb, kill_and_detach),
        trial("gdb::works_over_a_unix_socket", &gdb, unix_socket),
        trial("gdb::garbled_packets_are_asked_for_again_and_nonsense_is_answered", &[], garbled_packets),
        trial("gdb::a_connection_that_says_nothing_does_not_start_the_machine", &[], silent_connection),
        trial("gdb::a_port_in_use_is_one_clear_line", &[], port_in_use),
    ]
}

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine that waits for gdb.
struct Waiting {
    folder: TempDir,
    child: Child,
    /// What gdb is told to connect to.
    address: String,
    program: PathBuf,
}

impl Waiting {
    /// Runs the tour, which faults, makes system calls and ends by itself.
    fn start() -> Waiting {
        Waiting::listening_on("127.0.0.1:0")
    }

    fn listening_on(address: &str) -> Waiting {
        Waiting::with(address, &[])
    }

    fn with(address: &str, options: &[&str]) -> Waiting {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_, bytes) = images::programs().iter().find(|(name, _)| *name == "tour").expect("the tour is embedded");
        let program = folder.path().join("tour");
        fs::write(&program, bytes).expect("write the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it executable");
        fs::write(folder.path().join("vmlinux"), images::KERNEL).expect("write the kernel");
        let address = address.replace("FOLDER", folder.path().to_str().expect("a folder with a plain name"));
        let mut child = pagewalk()
            .args(["run", "--gdb", &address])
            .args(options)
            .arg(&program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start pagewalk");
        // With port 0 only the machine knows where it listens.
        let mut line = String::new();
        let stderr = child.stderr.take().expect("its standard error");
        let mut stderr = BufReader::new(stderr);
        stderr.read_line(&mut line).expect("a line on standard error");
        thread::spawn(move || drop(stderr.read_to_string(&mut String::new())));
        let address = line.trim().strip_prefix("pagewalk: waiting for gdb on ").unwrap_or_else(|| panic!("{line}"));
        let address = address.strip_prefix("unix:").unwrap_or(address).to_owned();
        Waiting { folder, child, address, program }
    }

    fn kernel(&self) -> PathBuf {
        self.folder.path().join("vmlinux")
    }

    /// Runs gdb's commands, one a line, on the machine; gives all that it printed.
    fn gdb(&self, symbols: &Path, script: &str) -> String {
        let file = self.folder.path().join("script");
        let head = format!("set confirm off\nset pagination off\nset width 0\ntarget remote {}\n", self.address);
        fs::write(&file, head + script).expect("write the script");
        let output = Command::new("timeout")
            .args(["-k", "5", "100", "gdb", "-q", "-nx", "-batch", "-x"])
            .args([&file, symbols])
            .stdin(Stdio::null())
            .output()
            .expect("run gdb");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Waits for the machine's end; its exit status and what the guest printed.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stdout = self.child.stdout.take().expect("its standard output");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for pagewalk") {
                return (status.code(), reader.join().expect("its output"));
            }
            assert!(began.elapsed() < PATIENCE, "the machine does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn contains(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in:\n{text}");
    }
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
            "process 1 (chosen)",
            "r-xp   /.pagewalk/init",
            "`nonsense` is not a lens of this version",
        ],
    );
    assert_eq!(machine.end().0, Some(0), "after the detach the program runs to its end");
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

/// A client of a few packets.
struct Wire(std::net::TcpStream);

impl Wire {
    fn connect(machine: &Waiting) -> Wire {
        let stream = std::net::TcpStream::connect(&machine.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        Wire(stream)
    }

    fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).expect("send");
    }

    fn packet(&mut self, body: &str) {
        let sum = body.bytes().fold(0u8, u8::wrapping_add);
        self.send(&format!("${body}#{sum:02x}"));
    }

    /// Everything up to the end of the next packet.
    fn answer(&mut self) -> String {
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
