//! Debian's i386 programs, dynamically linked and unmodified, from `--root`: they print what
//! they print natively, share the frames that can be shared, and find their `/proc` in ours.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, boot::Boot, debian_root, image::swap_area, pagewalk, program, trial};

pub fn trials() -> Vec<Trial> {
    let debian = [Need::Debian("dynamic")];
    let native = [Need::Debian("dynamic"), Need::NativeI386];
    let qemu = [Need::Debian("dynamic"), Need::NativeI386, Need::Program("qemu-system-i386"), Need::Program("timeout")];
    let terminal = [Need::Debian("dynamic"), Need::Program("script")];
    vec![
        trial("dynamic::programs_print_what_they_print_natively", &native, same_as_native),
        trial("dynamic::they_do_so_on_the_same_kernel_in_qemu", &qemu, same_in_qemu),
        trial("dynamic::bash_at_a_terminal_controls_its_jobs", &terminal, at_a_terminal),
        trial("dynamic::two_copies_of_a_program_share_its_text_and_own_their_data", &debian, shared_frames),
        trial("dynamic::two_copies_are_seen_from_outside_on_the_same_frames", &debian, seen_from_outside),
        trial("dynamic::qemu_shows_the_same_of_frames_and_proc", &qemu, frames_and_procps_in_qemu),
        trial("dynamic::procps_shows_what_proc_says", &debian, procps),
    ]
}

/// What a command prints in the guest, from the tree of Debian's programs; its standard error
/// must be empty.
fn in_guest(options: &[&str], files: &[(PathBuf, String)], args: &[&str]) -> String {
    let mut command = pagewalk();
    command.args(["run", "--timeout", "300", "--memory", "256M", "--env", "LC_ALL=C", "--env", "TZ=UTC0"]);
    command.args(options).arg("--root").arg(debian_root());
    for (host, guest) in files {
        command.arg("--file").arg(format!("{}={guest}", host.display()));
    }
    command.arg(debian_root().join("bin").join(args[0])).args(&args[1..]);
    let output = command.stdin(Stdio::null()).output().expect("run pagewalk");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "{:?}: {err}\n{out}", output.status);
    out.into_owned()
}

/// A case of the data file: what it is about, the program that reads it, and its text.
struct Case {
    about: &'static str,
    program: &'static str,
    text: String,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("dynamic/cases.txt").lines() {
        if let Some((program, about)) = line.strip_prefix("== ").and_then(|head| head.split_once(": ")) {
            cases.push(Case { about, program, text: String::new() });
        } else if let Some(case) = cases.last_mut() {
            case.text += line;
            case.text.push('\n');
        }
    }
    cases
}

/// Writes cases and their driver into a folder; each file with its path in the guest.
fn write_cases(folder: &TempDir, cases: &[Case]) -> Vec<(PathBuf, String)> {
    let driver = folder.path().join("driver.sh");
    fs::write(&driver, include_str!("dynamic/driver.sh")).expect("write the driver");
    fs::create_dir(folder.path().join("cases")).expect("a folder");
    let mut files = vec![(driver, "/dynamic/driver.sh".to_owned())];
    for (number, case) in cases.iter().enumerate() {
        let name = format!("cases/{number:02}.{}", case.program);
        fs::write(folder.path().join(&name), &case.text).expect("write a case");
        files.push((folder.path().join(&name), format!("/dynamic/{name}")));
    }
    files
}

fn same_as_native() {
    let cases = cases();
    assert!(cases.len() > 20, "only {} cases", cases.len());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = write_cases(&folder, &cases);
    let got = in_guest(&[], &files, &["dash", "/dynamic/driver.sh", "/dynamic"]);
    compare(&cases, &natively(&folder), &got);
}

/// A machine with the tree of Debian's programs and more files, which runs one of the programs on
/// a device.
fn with_tree(files: &[(PathBuf, String)], device: &str, args: &[&str]) -> Boot {
    let mut initramfs = images::Initramfs::new();
    initramfs.add_root(&debian_root()).expect("Debian's tree");
    for (host, guest) in files {
        initramfs.add_host_file(host, guest).expect("a file");
    }
    let path = format!("/bin/{}", args[0]);
    let run = abi::runfile::RunFile {
        args: std::iter::once(&path[..]).chain(args[1..].iter().copied()).map(Into::into).collect(),
        env: ["PATH=/bin:/usr/bin", "HOME=/", "LC_ALL=C", "TZ=UTC0", "TERM=dumb"].map(Into::into).to_vec(),
        stdin: device.into(),
        stdout: device.into(),
        stderr: device.into(),
        ..abi::runfile::RunFile::new(&path[..])
    };
    initramfs.set_run_file(&run).expect("a run file");
    Boot::new(&initramfs)
}

/// The cases that don't sleep: a busy host would disturb QEMU's clock.
fn same_in_qemu() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| !case.text.contains("sleep")).collect();
    assert!(cases.len() > 12, "only {} cases", cases.len());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = write_cases(&folder, &cases);
    let log = with_tree(&files, "/dev/ttyS0", &["dash", "/dynamic/driver.sh", "/dynamic"]).in_qemu(256).log;
    let (_, printed) = log.split_once(" as init process\n").unwrap_or_else(|| panic!("no init: {log}"));
    compare(&cases, &natively(&folder), printed);
}

fn compare(cases: &[Case], want: &str, got: &str) {
    let (want, got) = (parts(want), parts(got));
    assert_eq!(want.len(), cases.len(), "the driver runs them all");
    let mut different = Vec::new();
    for (n, case) in cases.iter().enumerate().filter(|&(n, _)| Some(&want[n]) != got.get(n)) {
        let (want, got) = (&want[n], got.get(n).map_or("", String::as_str));
        let lines = want.lines().zip(got.lines()).find(|(want, got)| want != got);
        different.push(format!("{}: {}: {lines:?} in\n{want}\nbut was\n{got}", case.program, case.about));
    }
    assert!(different.is_empty(), "{} of {} differ: {}", different.len(), cases.len(), different.join("\n"));
}

/// What each case printed, with the line that tells its status.
fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((printed, after)) = rest.split_once("\n@@ ") {
        let (mark, after) = after.split_once('\n').unwrap_or((after, ""));
        parts.push(format!("{printed}\n@@ {mark}"));
        rest = after;
    }
    parts
}

/// What the driver prints on the host. Each program stands behind a script of its name that has
/// Debian's loader run it with Debian's libraries.
fn natively(folder: &TempDir) -> String {
    let (root, bin) = (debian_root(), folder.path().join("bin"));
    fs::create_dir(&bin).expect("a folder");
    let libraries = format!("{0}/lib/i386-linux-gnu:{0}/usr/lib/i386-linux-gnu", root.display());
    for directory in ["bin", "usr/bin"] {
        for entry in fs::read_dir(root.join(directory)).expect("Debian's programs") {
            let path = entry.expect("an entry").path();
            // Where a link leads nowhere, its program is of another package.
            let is_elf = fs::read(&path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if is_elf {
                let (loader, path) = (root.join("lib/ld-linux.so.2"), path.display());
                let loader = format!("{} --library-path {libraries} --argv0 {name}", loader.display());
                let script = format!("#!/bin/sh\nexec {loader} {path} \"$@\"\n");
                program::write(&bin.join(&name), script.as_bytes());
            }
        }
    }
    let mut command = Command::new(bin.join("dash"));
    command.arg("driver.sh").arg(folder.path()).current_dir(folder.path()).stdin(Stdio::null());
    command.env_clear().env("PATH", &bin);
    command.envs([("HOME", "/"), ("LC_ALL", "C"), ("TZ", "UTC0"), ("TERM", "dumb")]);
    let output = command.output().expect("run the driver");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A program that talks: what it prints is waited for before it is told more.
struct Talk {
    child: Child,
    heard: mpsc::Receiver<Vec<u8>>,
    /// What was printed since the last answer.
    text: String,
}

impl Talk {
    /// Tells it something, then waits until it has printed `answer`.
    fn say(&mut self, line: &str, answer: &str) {
        self.child.stdin.as_mut().expect("a pipe").write_all(line.as_bytes()).expect("it listens");
        loop {
            if let Some((_, rest)) = self.text.split_once(answer) {
                self.text = rest.to_owned();
                return;
            }
            match self.heard.recv_timeout(Duration::from_secs(120)) {
                Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                Err(_) => panic!("{line:?} is not answered by {answer:?} but by {:?}", self.text),
            }
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It has ended already unless the test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `script` gives the command a terminal.
fn at_a_terminal() {
    let bash = format!(
        "{} run --timeout 300 --env PS1='$? > ' --root {root} {root}/bin/bash --norc --noediting -i",
        env!("CARGO_BIN_EXE_pagewalk"),
        root = debian_root().display()
    );
    let mut command = Command::new("script");
    command.args(["-qec", &bash, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("run script");
    let mut stdout = child.stdout.take().expect("a pipe");
    let (sender, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stdout.read(&mut buffer) {
            if sender.send(buffer[..len].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut bash = Talk { child, heard, text: String::new() };
    bash.say("", "0 > ");
    bash.say("tty; echo $((6*7))\n", "/dev/ttyS0\r\n42\r\n0 > ");
    // What a job prints itself shows that it has the terminal by then.
    let job = "trap \"echo continued\" CONT; echo begins; while :; do sleep 0.1; done";
    bash.say(&format!("echo '{job}' >job\n"), "0 > ");
    bash.say("dash job\n", "\nbegins\r\n");
    bash.say("\x1a", "Stopped                 dash job\r\n");
    bash.say("jobs\n", "\n[1]+  Stopped                 dash job\r\n");
    bash.say("fg\n", "\ncontinued\r\n");
    bash.say("\x1a", "Stopped                 dash job\r\n");
    bash.say("bg\n", "\n[1]+ dash job &\r\n");
    bash.say("jobs\n", "\n[1]+  Running                 dash job &\r\n");
    bash.say("kill %1; wait\n", "Terminated              dash job\r\n");
    bash.say("dash job\n", "\nbegins\r\n");
    bash.say("\x03", "130 > ");
    bash.say("cat | tr a-z A-Z\n", "A-Z\r\n");
    bash.say("shout\n\x04", "\nSHOUT\r\n");
    bash.say("exit 7\n", "exit\r\n");
    assert_eq!(bash.child.wait().expect("its end").code(), Some(7));
}

/// The parts of an output that lines of `== NAME` begin.
fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(head) => name = head,
            None => sections.entry(name).or_default().push(line),
        }
    }
    sections
}

/// Two dashes wait; what they map, and the words of their `pagemap`, page by page.
const TWO_DASHES: &str = r"mkfifo /tmp/hold; exec 9<>/tmp/hold
dash -c 'read x' <&9 & a=$!
dash -c 'read x' <&9 & b=$!
sleep 0.2
for pid in $a $b; do
  [ $pid = $a ] && name=first || name=second
  echo == $name maps; cat /proc/$pid/maps
  echo == $name pages
  while read range rest; do
    start=$((0x${range%-*} / 4096)) end=$((0x${range#*-} / 4096))
    dd if=/proc/$pid/pagemap bs=8 skip=$start count=$((end - start)) status=none | od -An -v -tx8 -w8
  done </proc/$pid/maps
done
kill $a $b
";

const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;

fn shared_frames() {
    text_is_shared(&in_guest(&[], &[], &["dash", "-c", TWO_DASHES]));
}

/// What [`TWO_DASHES`] has printed.
fn text_is_shared(text: &str) {
    let sections = sections(text);
    let maps = &sections["first maps"];
    assert_eq!(maps, &sections["second maps"], "equal addresses");
    let words = |name: &str| -> Vec<u64> {
        sections[name].iter().map(|word| u64::from_str_radix(word.trim(), 16).expect("a word")).collect()
    };
    let (first, second) = (words("first pages"), words("second pages"));
    let (mut libc_text, mut own, mut at) = (0, 0, 0);
    for line in maps {
        let (start, end) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let number = |text| usize::from_str_radix(text, 16).expect("an address");
        let pages = (number(end) - number(start)) / 4096;
        for (a, b) in first[at..at + pages].iter().zip(&second[at..at + pages]) {
            if a & b & PRESENT == 0 {
                continue;
            }
            let of_a_file = a & OF_A_FILE != 0;
            assert_eq!(of_a_file, b & OF_A_FILE != 0, "{line}");
            let frame = |word: u64| word & ((1 << 55) - 1);
            assert_eq!(frame(*a) == frame(*b), of_a_file, "a file's page has one frame, its own ones differ: {line}");
            libc_text += usize::from(of_a_file && line.contains(" r-xp ") && line.ends_with("/libc.so.6"));
            own += usize::from(!of_a_file && line.contains(" rw-p "));
        }
        at += pages;
    }
    assert_eq!(at, first.len(), "a word for every page");
    assert!(libc_text >= 32 && own >= 8, "{libc_text} pages of libc's text, {own} of their own: {text}");
    assert!(maps.iter().any(|line| line.ends_with("[heap]")) && maps.iter().any(|line| line.ends_with("[stack]")));
}

/// The machine is saved when the first of three dashes ends; the others still wait.
fn seen_from_outside() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    let script =
        "trap '' HUP; mkfifo /tmp/hold; exec 9<>/tmp/hold; dash -c 'read x' <&9 & dash -c 'read x' <&9 & sleep 0.2";
    let option = file.to_str().expect("a path of ASCII");
    assert_eq!(in_guest(&["--save", option], &[], &["dash", "-c", script]), "");
    let look = |words: &[&str]| {
        let output = pagewalk().args(words).arg("--snapshot").arg(&file).output().expect("run pagewalk");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let ps = look(&["ps"]);
    let pids: Vec<&str> =
        ps.lines().filter(|line| line.ends_with(" dash")).filter_map(|line| line.split_whitespace().next()).collect();
    let [first, second] = pids[..] else { panic!("not two dashes: {ps}") };
    let maps = look(&["maps", first]);
    assert_eq!(maps, look(&["maps", second]), "equal addresses");
    // In libc's text many pages are common; what each has written to is its own.
    let area = |rights: &str, name: &str| {
        let line = maps.lines().find(|line| line.contains(rights) && line.ends_with(name));
        let range = line.and_then(|line| line.split(' ').next()?.split_once('-')).unwrap_or_else(|| panic!("{maps}"));
        let number = |text| u32::from_str_radix(text, 16).expect("an address");
        (number(range.0)..number(range.1)).step_by(4096)
    };
    let frame = |pid: &str, addr: u32| -> Option<u64> {
        let walk = look(&["walk", &format!("{addr:x}"), "--pid", pid, "--json"]);
        let walk: serde_json::Value = serde_json::from_str(&walk).expect("JSON");
        Some(walk["physical"].as_u64()? >> 12)
    };
    let mapped_by =
        |page: &str, pid: &str, addr: u32| page.contains(&format!("process {pid} (dash) at {addr:#010x}  "));
    let mut common = 0;
    for addr in area(" r-xp ", "/libc.so.6") {
        let (Some(a), Some(b)) = (frame(first, addr), frame(second, addr)) else { continue };
        assert_eq!(a, b, "{addr:08x}");
        let page = look(&["page", &format!("{a:#x}")]);
        assert!(mapped_by(&page, first, addr) && mapped_by(&page, second, addr), "{page}");
        common += 1;
        if common == 3 {
            break;
        }
    }
    assert_eq!(common, 3, "pages of libc's text in both");
    let stack = area(" rw-p ", "[stack]").next_back().expect("a page");
    let [a, b] = [first, second].map(|pid| frame(pid, stack).expect("the stack is there"));
    assert_ne!(a, b, "the stacks");
    let page = look(&["page", &format!("{a:#x}")]);
    assert!(mapped_by(&page, first, stack) && !mapped_by(&page, second, stack), "{page}");
}

/// The script of the two dashes, and that of procps, without a terminal.
fn frames_and_procps_in_qemu() {
    let run = |script: &str| with_tree(&[], "/dev/rawS0", &["dash", "-c", script]);
    text_is_shared(&run(TWO_DASHES).in_qemu(256).printed());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("swap");
    swap_area(&image, 16);
    proc_is_shown(&run(PROCPS).append("swap=/dev/sda").disk(&image).in_qemu(256).printed());
}

/// Runs each of procps' programs, and prints what they read, too.
const PROCPS: &str = r#"sleep 60 & other=$!
run() { echo "== $*"; "$@" 2>/tmp/err; echo "status $?"; cat /tmp/err; }
sleep 0.1
run pmap -x $other; echo == maps; cat /proc/$other/maps; echo == status; cat /proc/$other/status
run free; run free -h; run free -w -t
run vmstat; run vmstat -s; run vmstat -m; run vmstat -d; run vmstat 1 2
run ps aux; run ps -ef; run ps -o pid,ppid,stat,rss,vsz,nlwp,comm,args -p $other; run ps -e --forest; run ps -eLo pid,lwp,wchan
run slabtop -o; run top -b -n 1; run top -b -n 1 -H; run uptime; run uptime -p; run w -h
run pgrep -x sleep; run pwdx $other
echo == pids; echo $other $$; echo == meminfo; cat /proc/meminfo; echo == slabinfo; cat /proc/slabinfo
run pkill -x sleep; wait $other; code=$?; echo == end; echo $code
"#;

/// Columns of a line.
fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The number of kB in a row of `/proc/meminfo` or `/proc/PID/status`.
fn kb(rows: &[&str], name: &str) -> u64 {
    let row = rows.iter().find_map(|row| row.strip_prefix(name)?.strip_prefix(':'));
    let number = row.and_then(|row| columns(row).first()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {rows:?}"))
}

/// What procps' programs printed, by command line.
struct Printed<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl Printed<'_> {
    /// The lines of a program that succeeded without a word of complaint.
    fn of(&self, command: &str) -> &[&str] {
        let lines = self.0.get(command).unwrap_or_else(|| panic!("no {command} in {:?}", self.0.keys()));
        assert_eq!(lines.last(), Some(&"status 0"), "{command}: {lines:#?}");
        &lines[..lines.len() - 1]
    }

    fn file(&self, name: &str) -> &[&str] {
        &self.0[name]
    }
}

fn procps() {
    proc_is_shown(&in_guest(&["--swap", "16M"], &[], &["dash", "-c", PROCPS]));
}

/// What [`PROCPS`] has printed.
fn proc_is_shown(text: &str) {
    let printed = Printed(sections(text));
    let pids = columns(printed.file("pids")[0]);
    let (other, shell) = (pids[0], pids[1]);
    memory_map(&printed, other);
    totals(&printed);
    processes(&printed, other, shell);
    caches(&printed);
    assert_eq!(printed.of("pgrep -x sleep"), [other]);
    assert_eq!(printed.of(&format!("pwdx {other}")), [format!("{other}: /")]);
    assert!(printed.of("uptime")[0].contains(" up 0 min,  0 user,  load average: "), "{text}");
    assert_eq!(printed.of("uptime -p"), ["up 0 minutes"]);
    assert!(printed.of("w -h").is_empty() && printed.of("pkill -x sleep").is_empty());
    assert_eq!(printed.file("end"), ["143"], "SIGTERM has reached it");
}

/// `pmap -x` against `/proc/PID/maps` and `status`.
fn memory_map(printed: &Printed<'_>, pid: &str) {
    let lines = printed.of_pmap(pid);
    assert_eq!(lines[..2], [&format!("{pid}:   sleep 60")[..], "Address   Kbytes     RSS   Dirty Mode  Mapping"]);
    let areas: Vec<Vec<&str>> = lines[2..lines.len() - 2].iter().map(|line| columns(line)).collect();
    let maps = printed.file("maps");
    assert_eq!(areas.len(), maps.len(), "{lines:#?}");
    for (area, map) in areas.iter().zip(maps) {
        let (start, end) = map.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let address = |text| u64::from_str_radix(text, 16).expect("an address");
        assert_eq!(
            (address(area[0]), area[1]),
            (address(start), &*((address(end) - address(start)) / 1024).to_string())
        );
        assert_eq!(&area[4][..3], &map.split(' ').nth(1).expect("rights")[..3], "{map}");
        let name = map.rsplit('/').next().filter(|_| map.contains('/')).unwrap_or("[");
        assert!(area[5].starts_with(name), "{area:?}: {map}");
    }
    let total = columns(lines[lines.len() - 1]);
    assert_eq!(total[..2], ["total", "kB"]);
    let [size, resident] = [2, 3].map(|column| total[column].parse::<u64>().expect("a number"));
    let status = printed.file("status");
    assert_eq!((size, resident), (kb(status, "VmSize"), kb(status, "VmRSS")), "{lines:#?}");
}

impl Printed<'_> {
    fn of_pmap(&self, pid: &str) -> &[&str] {
        self.of(&format!("pmap -x {pid}"))
    }
}

/// `free` and `vmstat` against `/proc/meminfo`.
fn totals(printed: &Printed<'_>) {
    let meminfo = printed.file("meminfo");
    let (memory, swap) = (kb(meminfo, "MemTotal"), kb(meminfo, "SwapTotal"));
    let free = printed.of("free");
    assert_eq!(columns(free[0]), ["total", "used", "free", "shared", "buff/cache", "available"]);
    let (mem, swp) = (columns(free[1]), columns(free[2]));
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{text} in {free:?}"));
    assert_eq!((mem[0], mem.len(), swp[0], swp.len()), ("Mem:", 7, "Swap:", 4));
    assert_eq!((number(mem[1]), number(swp[1]), number(swp[2])), (memory, swap, 0));
    let about = |a: u64, b: u64| a.abs_diff(b) < 4096;
    assert!(about(number(mem[3]), kb(meminfo, "MemFree")), "{free:?}");
    assert!(about(number(mem[6]), kb(meminfo, "MemAvailable")), "{free:?}");
    assert!(printed.of("free -h")[1].contains("Mi"));
    assert_eq!(printed.of("free -w -t").len(), 4);

    let vmstat = printed.of("vmstat");
    assert_eq!(columns(vmstat[1]).join(" "), "r b swpd free buff cache si so bi bo in cs us sy id wa st");
    let now: Vec<u64> = columns(vmstat[2]).iter().map(|text| number(text)).collect();
    assert_eq!((vmstat.len(), now.len(), now[2]), (3, 17, 0), "{vmstat:?}");
    assert!(about(now[3], kb(meminfo, "MemFree")) && (99..=101).contains(&now[12..].iter().sum::<u64>()), "{vmstat:?}");
    assert_eq!(printed.of("vmstat 1 2").len(), 4);
    let sums = printed.of("vmstat -s");
    for (row, want) in [("K total memory", memory), ("K total swap", swap)] {
        let line = sums.iter().find_map(|line| line.strip_suffix(row)).unwrap_or_else(|| panic!("{row}: {sums:?}"));
        assert_eq!(number(line.trim()), want, "{row}");
    }
    assert!(sums.iter().any(|line| line.ends_with(" forks")) && sums.iter().any(|line| line.ends_with(" boot time")));
    assert!(printed.of("vmstat -d").iter().any(|line| columns(line)[0] == "sda"));
}

/// `ps` and `top`: every process in its line, with the numbers of its `/proc/PID/status`.
fn processes(printed: &Printed<'_>, other: &str, shell: &str) {
    let aux = printed.of("ps aux");
    assert_eq!(columns(aux[0]).join(" "), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
    let line = |lines: &[&str], pid: &str, column: usize| {
        let found = lines.iter().map(|line| columns(line)).find(|columns| columns[column] == pid);
        found.unwrap_or_else(|| panic!("no process {pid} in {lines:#?}")).join(" ")
    };
    let status = printed.file("status");
    let (size, resident) = (kb(status, "VmSize"), kb(status, "VmRSS"));
    let sleeping = line(aux, other, 1);
    assert!(
        sleeping.starts_with(&format!("0 {other} ")) || sleeping.starts_with(&format!("root {other} ")),
        "{sleeping}"
    );
    assert!(
        sleeping.contains(&format!(" {size} {resident} ? S ")) && sleeping.ends_with(" 0:00 sleep 60"),
        "{sleeping}"
    );
    assert!(line(aux, "1", 1).ends_with("init") && line(aux, shell, 1).contains("/bin/dash -c sleep 60"), "{aux:#?}");
    assert!(aux.iter().any(|line| line.ends_with(" [kswapd0]")), "{aux:#?}");

    let all = printed.of("ps -ef");
    assert_eq!(columns(all[0]).join(" "), "UID PID PPID C STIME TTY TIME CMD");
    assert_eq!(columns(&line(all, other, 1))[2], shell, "its parent");
    assert_eq!(all.len(), aux.len());
    let own = printed.of(&format!("ps -o pid,ppid,stat,rss,vsz,nlwp,comm,args -p {other}"));
    assert_eq!(columns(own[1]).join(" "), format!("{other} {shell} S {resident} {size} 1 sleep sleep 60"));
    assert!(printed.of("ps -e --forest").iter().any(|line| line.ends_with(" \\_ sleep")));

    for top in [printed.of("top -b -n 1"), printed.of("top -b -n 1 -H")] {
        assert!(top[0].starts_with("top - ") && top[0].contains("load average: "), "{top:#?}");
        assert!(top[1].starts_with("Tasks: ") || top[1].starts_with("Threads: "), "{top:#?}");
        assert!(top[2].starts_with("%Cpu(s):") && top[3].starts_with("MiB Mem :"), "{top:#?}");
        assert_eq!(columns(top[6]).join(" "), "PID USER PR NI VIRT RES SHR S %CPU %MEM TIME+ COMMAND");
        let sleeping =
            columns(top.iter().find(|line| columns(line).first() == Some(&other)).expect("the sleeper")).join(" ");
        assert!(sleeping.contains(&format!(" 20 0 {size} {resident} ")) && sleeping.ends_with(" sleep"), "{sleeping}");
    }
}

/// `slabtop` and `vmstat -m` against `/proc/slabinfo`: the same caches with the same sizes.
fn caches(printed: &Printed<'_>) {
    let info: Vec<Vec<&str>> = printed.file("slabinfo")[2..].iter().map(|line| columns(line)).collect();
    let slabtop = printed.of("slabtop -o");
    assert!(slabtop[0].starts_with(" Active / Total Objects (% used)    : "), "{slabtop:#?}");
    assert_eq!(columns(slabtop[6]).join(" "), "OBJS ACTIVE USE OBJ SIZE SLABS OBJ/SLAB CACHE SIZE NAME");
    let shown: Vec<Vec<&str>> = slabtop[7..].iter().map(|line| columns(line)).collect();
    assert!(shown.len() >= 10, "{slabtop:#?}");
    for line in &shown {
        let cache = info.iter().find(|cache| cache[0] == line[7]).unwrap_or_else(|| panic!("no cache {line:?}"));
        assert_eq!(line[5], cache[4], "objects of a slab: {line:?}");
        let size = cache[3].parse::<f64>().expect("a size") / 1024.0;
        assert_eq!(line[3], format!("{size:.2}K"), "{line:?}");
    }
    let vmstat = printed.of("vmstat -m");
    assert_eq!(columns(vmstat[0]).join(" "), "Cache Num Total Size Pages");
    for line in vmstat[1..].iter().map(|line| columns(line)).filter(|line| line[0] != "Cache") {
        let cache = info.iter().find(|cache| cache[0] == line[0]).unwrap_or_else(|| panic!("no cache {line:?}"));
        assert_eq!(line[3], cache[3], "{line:?}");
    }
}
