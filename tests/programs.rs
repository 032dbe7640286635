//! The guest's programs, run on the host: they are static i386 Linux programs, and Linux
//! is what they are for.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::support::{Need, pagewalk, program, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let needs = [Need::NativeI386];
    vec![
        trial("programs::the_shell_runs_scripts_as_posix_says", &needs, || {
            run_cases(include_str!("programs/shell.txt"))
        }),
        trial("programs::the_commands_print_what_they_should", &needs, || {
            run_cases(include_str!("programs/commands.txt"))
        }),
        trial("programs::the_toolbox_has_exactly_the_commands_that_get_links", &needs, every_applet_is_listed),
        trial("programs::the_tour_shows_what_each_call_did_to_its_own_maps", &needs, tour),
        trial("programs::mmprobe_finds_linux_memory_management", &needs, mmprobe),
        trial("programs::workloads_have_the_checksums_that_are_known", &needs, workload),
        trial("programs::all_cases_hold_on_our_kernel_and_processor", &[], cases_in_the_guest),
        trial("programs::init_refuses_to_run_as_an_ordinary_process", &needs, init_refuses),
        trial("programs::poweroff_leaves_a_foreign_kernel_alone", &needs, poweroff_refuses),
        trial("programs::pmap_and_ps_read_proc", &needs, pmap_and_ps),
        trial("programs::a_shell_at_a_prompt_goes_on_after_errors", &needs, prompt),
        trial("programs::are_static_and_away_from_the_usual_address", &[], link_addresses),
    ]
}

/// The embedded programs as files, with a link for every command of the toolbox.
struct Userland(TempDir);

impl Userland {
    fn unpack() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, bytes) in images::programs() {
            let path = dir.path().join(name);
            program::write(&path, bytes);
        }
        for applet in images::APPLETS {
            symlink("toolbox", dir.path().join(applet)).expect("link a command");
        }
        Userland(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path().join(name));
        command.env_clear().env("PATH", self.path()).env("HOME", "/home/x").stdin(Stdio::null());
        command
    }
}

/// A case of the data files.
#[derive(Default)]
struct Case {
    script: String,
    status: i32,
    stdout: String,
}

fn parse_cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut in_script = false;
    for line in text.lines() {
        if let Some(script) = line.strip_prefix("$ ") {
            cases.push(Case { script: format!("{script}\n"), ..Case::default() });
            in_script = true;
        } else if let Some(status) = line.strip_prefix("=> ").filter(|_| in_script) {
            cases.last_mut().expect("a case").status = status.parse().expect("a status");
            in_script = false;
        } else if let Some(case) = cases.last_mut() {
            let text = if in_script { &mut case.script } else { &mut case.stdout };
            *text += &format!("{line}\n");
        }
    }
    cases
}

fn run_cases(text: &str) {
    let userland = Userland::unpack();
    let cases = parse_cases(text);
    assert!(cases.len() > 20, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for case in &cases {
        let mut check = |how: &str, output: Output| {
            let stdout = String::from_utf8_lossy(&output.stdout);
            // A blank line ends each case in the file; output without a newline at its end is shown with one.
            let same = stdout.trim_end_matches('\n') == case.stdout.trim_end_matches('\n');
            if !same || status(&output) != case.status {
                let stderr = String::from_utf8_lossy(&output.stderr);
                let script = &case.script;
                failures.push(format!("{how}: {script}status {}, printed:\n{stdout}{stderr}", status(&output)));
            }
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut sh = userland.command("sh");
        check("sh -c", sh.current_dir(&dir).args(["-c", &case.script]).output().expect("run sh"));
        let dir = tempfile::tempdir().expect("a temporary folder");
        check("sh <", with_input(userland.command("sh").current_dir(&dir), &case.script));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// All cases in one run of the machine, by a script that marks the end of each with its status.
fn cases_in_the_guest() {
    let root = tempfile::tempdir().expect("a temporary folder");
    symlink("/.pagewalk/bin", root.path().join("bin")).expect("link the commands");
    fs::create_dir(root.path().join("cases")).expect("a folder");
    let texts = [include_str!("programs/shell.txt"), include_str!("programs/commands.txt")];
    let cases: Vec<Case> = texts.into_iter().flat_map(parse_cases).collect();
    for (index, case) in cases.iter().enumerate() {
        fs::write(root.path().join(format!("cases/{index:03}")), &case.script).expect("write a script");
    }
    let driver = "for script in /cases/*; do
        mkdir /tmp/work; cd /tmp/work
        HOME=/home/x sh -c \"$(cat $script)\" </dev/null 2>/dev/null
        printf '\\n@@ %d\\n' $?
        cd /; rm -rf /tmp/work
    done";
    let output = with_input(pagewalk().args(["run", "--timeout", "300", "--root"]).arg(root.path()), driver);
    let (printed, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}{stderr}");

    // What each case printed, up to its mark, and the status that the mark tells.
    let mut rest: &str = &printed;
    let mut failures = Vec::new();
    for case in &cases {
        let (stdout, after) = rest.split_once("\n@@ ").unwrap_or_else(|| panic!("no end of {}{stderr}", case.script));
        let (status, after) = after.split_once('\n').expect("a whole line");
        rest = after;
        let same = stdout.trim_end_matches('\n') == case.stdout.trim_end_matches('\n');
        if !same || status != case.status.to_string() {
            failures.push(format!("{}status {status}, printed:\n{stdout}", case.script));
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// The exit status as a shell counts it.
fn status(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0))
}

fn every_applet_is_listed() {
    let output = Userland::unpack().command("toolbox").arg("--list").output().expect("run toolbox");
    let listed = String::from_utf8(output.stdout).expect("text");
    assert_eq!(listed.lines().collect::<Vec<_>>(), images::APPLETS);
}

fn tour() {
    let output = Userland::unpack().command("tour").output().expect("run tour");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // The map lines after each heading, as (first address, permissions).
    let stop = |heading: &str| -> Vec<(u32, String)> {
        let after = text.split_once(&format!("\n{heading}: ")).unwrap_or_else(|| panic!("no {heading} in {text}")).1;
        let lines = after.lines().skip(2).take_while(|line| !line.starts_with("---"));
        lines
            .filter_map(|line| {
                let (start, rest) = line.split_once('-')?;
                Some((u32::from_str_radix(start, 16).ok()?, rest.split(' ').nth(1)?.to_string()))
            })
            .collect()
    };
    let permissions = |lines: &[(u32, String)]| lines.iter().map(|(_, p)| p.clone()).collect::<Vec<_>>();
    assert_eq!(permissions(&stop("brk")), ["rw-p"]);
    let mapped = stop("mmap");
    assert_eq!(permissions(&mapped), ["rw-p"]);
    let split = stop("mprotect");
    assert_eq!(permissions(&split), ["rw-p", "r--p", "rw-p"]);
    assert_eq!(split[1].0, mapped[0].0 + 0x2000, "pages 2 and 3");
    let holed = stop("munmap");
    assert_eq!(permissions(&holed), ["rw-p", "r--p", "rw-p", "rw-p"]);
    assert_eq!(holed[3].0, mapped[0].0 + 0x6000, "page 6 follows the hole");
    assert_eq!(stop("fork"), holed, "the child has the same mappings");
    let caught = stop("SIGSEGV");
    assert_eq!(permissions(&caught), ["r--p", "rw-p", "---p"]);
    // How many faults each step takes is checked on our kernel (`run::…the_tour…`): a busy host
    // may take a page away in between.
    assert!(text.contains("page 0 still holds 1."), "{text}");
}

fn mmprobe() {
    let output = Userland::unpack().command("mmprobe").output().expect("run mmprobe");
    let printed = String::from_utf8(output.stdout).expect("text");
    // The file is what i386 prints. A 64-bit kernel lends its 32-bit programs the kernel's
    // addresses, and its pages have a bit against execution.
    let expected = include_str!("programs/mmprobe.txt").lines().map(|line| match line.split_once(": ") {
        Some(("read the kernel", _)) => "read the kernel: signal 11 code 1, trap 14 error 0x4, at the address",
        Some(("execute data", _)) => "execute data: signal 11 code 2, trap 14 error 0x15, at the address",
        _ => line,
    });
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(output.status.success());
}

fn workload() {
    let output = Userland::unpack().command("workload").output().expect("run workload");
    assert_eq!(String::from_utf8_lossy(&output.stdout), include_str!("programs/workload.txt"));
    assert!(output.status.success());
}

fn init_refuses() {
    let output = Userland::unpack().command("init").output().expect("run init");
    assert_eq!(status(&output), 1);
    assert_eq!(output.stderr, b"init: this is the first process of a guest, started by its kernel\n");
}

fn poweroff_refuses() {
    let output = Userland::unpack().command("poweroff").output().expect("run poweroff");
    assert_eq!(status(&output), 1);
    assert_eq!(output.stderr, b"poweroff: cannot power off: Operation not permitted\n");
}

fn pmap_and_ps() {
    let userland = Userland::unpack();
    let mut sleeper = userland.command("sleep").arg("60").spawn().expect("run sleep");
    let pid = sleeper.id().to_string();
    let run = |name: &str, args: &[&str]| {
        let output = userland.command(name).args(args).output().expect(name);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    // The program's own file is mapped only once `exec` is through.
    let started = std::time::Instant::now();
    let plain = loop {
        let plain = run("pmap", &[&pid]);
        if plain.contains("toolbox") || started.elapsed().as_secs() > 10 {
            break plain;
        }
    };
    let extended = run("pmap", &["-x", &pid]);
    let processes = run("ps", &[]);
    sleeper.kill().expect("end sleep");
    sleeper.wait().expect("bury sleep");
    assert!(plain.lines().any(|line| line.starts_with("10000000 ") && line.ends_with("toolbox")), "{plain}");
    assert!(plain.lines().last().is_some_and(|line| line.starts_with(" total ") && line.ends_with('K')), "{plain}");
    assert!(extended.lines().nth(1) == Some("Address   Kbytes     RSS   Dirty Mode  Mapping"), "{extended}");
    assert!(extended.lines().last().is_some_and(|line| line.starts_with("total kB ")), "{extended}");
    let row = processes.lines().find(|line| line.trim_start().starts_with(&format!("{pid} ")));
    assert!(row.is_some_and(|row| row.ends_with("sleep 60")), "{processes}");
}

fn prompt() {
    let userland = Userland::unpack();
    let script = "echo one\n)\necho $((1/0))\nif true\nthen echo two\nfi\ncd /\nexit 3\n";
    let output = with_input(userland.command("sh").arg("-i").current_dir("/tmp"), script);
    assert_eq!(status(&output), 3);
    assert_eq!(output.stdout, b"one\ntwo\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("/tmp # "), "{stderr}");
    assert!(stderr.contains("> "), "no continuation prompt in {stderr}");
    assert!(stderr.ends_with("/ # "), "{stderr}");
    assert!(stderr.contains("syntax error: `)` unexpected"), "{stderr}");
    assert!(stderr.contains("division by zero"), "{stderr}");
}

fn link_addresses() {
    for (name, bytes) in images::programs() {
        let elf = goblin::elf::Elf::parse(bytes).expect(name);
        assert!(!elf.is_64 && elf.header.e_machine == goblin::elf::header::EM_386, "{name}");
        assert!(elf.interpreter.is_none() && elf.libraries.is_empty(), "{name} is not static");
        let lowest = elf.program_headers.iter().filter(|h| h.p_type == goblin::elf::program_header::PT_LOAD);
        assert_eq!(lowest.map(|header| header.p_vaddr).min(), Some(0x1000_0000), "{name}");
    }
    let debuggable: Vec<PathBuf> = images::programs()
        .iter()
        .filter(|(_, bytes)| !goblin::elf::Elf::parse(bytes).expect("checked above").syms.is_empty())
        .map(|(name, _)| name.into())
        .collect();
    assert_eq!(debuggable, [PathBuf::from("tour")], "programs with symbols");
}
