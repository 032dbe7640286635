//! procps on a folder that `pagewalk proc -o` made: natively, in a mount namespace of its own in
//! which the folder lies on /proc, it prints what it printed in the guest.

use std::{fs, path::Path, process::Stdio};

use libtest_mimic::Trial;

use crate::support::{Need, debian_root, pagewalk, private_mounts, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "procfolder::procps_prints_natively_what_it_prints_in_the_guest",
            &[Need::Debian("dynamic"), Need::NativeI386, Need::PrivateMounts],
            procps,
        ),
        trial("procfolder::a_folder_has_the_files_of_proc_and_is_written_once", &[], folder_itself),
    ]
}

/// What is the same at the program's end: of `init`, which sleeps, and what nothing changes.
const COMMANDS: [&str; 5] = [
    "pmap 1",
    "pmap -x 1",
    "ps -p 1 -o pid,ppid,pgid,sid,tty,nlwp,comm,args",
    "ps -p 1 -o vsz,rss,maj_flt",
    "slabtop -o -s n",
];
/// Lines of `slabtop` that hold for any instant: its head.
const SLABTOP: &str = "OBJS ACTIVE";

fn procps() {
    let root = debian_root();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (saved, proc) = (folder.path().join("saved"), folder.path().join("proc"));
    let script = COMMANDS.map(|command| format!("{command}; echo ==")).join("; ");
    let mut run = pagewalk();
    run.args(["run", "--env", "TERM=dumb", "--save"]).arg(&saved).arg("--root").arg(&root);
    run.arg(root.join("bin/dash")).args(["-c", &script]);
    let output = run.stdin(Stdio::null()).output().expect("run pagewalk");
    let guest = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{guest}{}", String::from_utf8_lossy(&output.stderr));
    write_folder(&saved, &proc);
    // The same programs, by their own loader and libraries. Each is process 1 of a PID namespace,
    // for `ps` looks for itself in /proc, and process 1 is there.
    let libraries = ["lib", "usr/lib"].map(|lib| root.join(lib).join("i386-linux-gnu").display().to_string()).join(":");
    let mut native = String::new();
    for command in COMMANDS {
        let (name, args) = command.split_once(' ').expect("arguments");
        let program = ["bin", "usr/bin"].map(|bin| root.join(bin).join(name)).into_iter().find(|path| path.exists());
        let (loader, program) = (root.join("lib/ld-linux.so.2"), program.expect("a program of procps"));
        let script = format!(
            "mount --bind {} /proc && exec {} --library-path {libraries} {} {args}",
            proc.display(),
            loader.display(),
            program.display()
        );
        let mut unshare = private_mounts().expect("was there before");
        unshare.args(["sh", "-c", &script]).env("TERM", "dumb").stdin(Stdio::null());
        let output = unshare.output().expect("run unshare");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        native += &String::from_utf8(output.stdout).expect("text");
        native += "==\n";
    }
    let parts = |text: &str| text.split("==\n").map(str::to_owned).collect::<Vec<_>>();
    let (guest, native) = (parts(&guest), parts(&native));
    assert_eq!((guest.len(), native.len()), (COMMANDS.len() + 1, COMMANDS.len() + 1), "{native:?}");
    for (command, (guest, native)) in COMMANDS.iter().zip(guest.iter().zip(&native)) {
        if command.starts_with("slabtop") {
            let head = |text: &str| text.lines().find(|line| line.contains(SLABTOP)).map(str::to_owned);
            assert!(head(guest).is_some() && head(guest) == head(native), "{command}: {native}");
            let names = |text: &str| text.lines().filter(|line| line.trim_end().ends_with("kmalloc-32")).count();
            assert_eq!((names(guest), names(native)), (1, 1), "{native}");
        } else {
            assert_eq!(native, guest, "{command}");
        }
    }
}

fn write_folder(saved: &Path, proc: &Path) {
    let output = pagewalk().args(["proc", "-o"]).arg(proc).arg("--snapshot").arg(saved).output().expect("run pagewalk");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn folder_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (saved, proc) = (folder.path().join("saved"), folder.path().join("proc"));
    let output = with_input(pagewalk().args(["run", "--save"]).arg(&saved), "true\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    write_folder(&saved, &proc);
    let read = |name: &str| fs::read(proc.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
    for lens in ["meminfo", "vmstat", "slabinfo", "iomem", "zoneinfo", "maps 1", "status 1", "smaps 1"] {
        let words: Vec<&str> = lens.split(' ').collect();
        let name = words.iter().rev().copied().collect::<Vec<_>>().join("/");
        let output = pagewalk().args(&words).arg("--snapshot").arg(&saved).output().expect("run pagewalk");
        assert_eq!(read(&name), output.stdout, "{name}");
    }
    assert_eq!(read("1/comm"), b"init\n");
    assert_eq!(read("self/comm"), b"init\n");
    assert!(!read("1/task/1/stat").is_empty());
    assert_eq!(read("1/pagemap").len(), 768 * 1024 * 8);
    assert!(read("stat").starts_with(b"cpu  ") && read("uptime").contains(&b'.'));
    assert_eq!(read("kpageflags").len() % 8, 0);
    let again =
        pagewalk().args(["proc", "-o"]).arg(&proc).arg("--snapshot").arg(&saved).output().expect("run pagewalk");
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && stderr.contains("not empty: give a new folder"), "{stderr}");
}
