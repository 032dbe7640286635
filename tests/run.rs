//! `pagewalk run`: what programs print under it, how it refuses bad input, and that it repeats.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;

use crate::support::{Need, debian_root, pagewalk, trial, with_input};

pub fn trials() -> Vec<Trial> {
    let busybox = [Need::Debian("busybox-static")];
    let native = [Need::Debian("busybox-static"), Need::NativeI386];
    vec![
        trial("run::busybox_prints_and_exits_as_it_does_natively", &native, same_as_native),
        trial("run::the_tree_given_as_root_is_the_guests", &busybox, root_tree),
        trial("run::uname_names_this_system", &busybox, uname),
        trial("run::standard_streams_stay_apart_and_bytes_whole", &busybox, streams),
        trial("run::a_fatal_signal_is_128_and_its_number_and_is_named", &busybox, fatal_signal),
        trial("run::the_same_input_gives_the_same_run_wherever_it_starts", &busybox, repeats),
        trial("run::output_that_cannot_be_written_is_one_clear_line", &busybox, full_disk),
        trial("run::loglevel_keeps_the_boot_log_off_the_console", &busybox, loglevel),
        trial("run::an_engine_limit_ends_with_124", &busybox, limits),
        trial("run::a_bad_guest_is_one_clear_line_with_its_status", &[], bad_guests),
        trial("run::a_bad_option_is_one_clear_line_with_its_status", &[], bad_options),
        trial("run::a_rom_begins_at_the_reset_state_and_tells_its_post_codes", &[], rom),
        trial("run::a_bad_rom_is_one_clear_line_with_its_status", &[], bad_roms),
        trial("run::a_damaged_snapshot_is_one_clear_line", &[], bad_snapshots),
        trial("run::without_a_command_the_tour_shows_maps_and_powers_off", &[], tour),
        trial("run::the_shell_reads_its_script_from_standard_input", &[], shell_script),
    ]
}

fn busybox() -> PathBuf {
    debian_root().join("bin/busybox")
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the command runs")
}

fn run(args: &[&str]) -> Output {
    output(pagewalk().arg("run").arg(busybox()).args(args))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn same_as_native() {
    let commands: [&[&str]; 14] = [
        &["echo", "hi"],
        &["true"],
        &["false"],
        &["printf", "%d %x\\n", "42", "255"],
        &["expr", "6", "*", "7"],
        &["test", "1", "-eq", "2"],
        &["sh", "-c", "exit 37"],
        &["sh", "-c", "echo a | tr a b; x=$((6*7)); echo $x; echo err >&2"],
        &["sh", "-c", "(exit 3) | true; echo $?; kill -9 $$"],
        &["sh", "-c", "for i in 3 1 2; do echo $i; done | sort | tr '\\n' ' '"],
        &["md5sum", "/dev/null"],
        &["sha512sum", "/dev/null"],
        &["awk", "BEGIN{for(i=0;i<5;i++)s+=i*i;print s, 1/3}"],
        &["seq", "1", "0.5", "3"],
    ];
    for args in commands {
        let want = output(Command::new(busybox()).args(args));
        let got = run(args);
        assert_eq!(text(&got.stdout), text(&want.stdout), "standard output of {args:?}");
        let want_status = want.status.code().unwrap_or_else(|| {
            use std::os::unix::process::ExitStatusExt;
            128 + want.status.signal().expect("ended by a signal")
        });
        assert_eq!(got.status.code(), Some(want_status), "exit status of {args:?}: {}", text(&got.stderr));
        if want.status.code().is_some() {
            assert_eq!(text(&got.stderr), text(&want.stderr), "standard error of {args:?}");
        }
    }
    let maps = text(&run(&["cat", "/proc/self/maps"]).stdout);
    assert!(maps.lines().any(|line| line.contains(" r-xp ") && line.ends_with(" /bin/busybox")), "{maps}");
    assert!(maps.lines().any(|line| line.find("[stack]") == Some(49)), "names start at column 49: {maps}");
}

fn root_tree() {
    let tree = tempfile::tempdir().expect("a folder");
    fs::create_dir(tree.path().join("own")).expect("a folder in it");
    fs::write(tree.path().join("note"), "hello\n").expect("a file in it");
    let root = tree.path().to_str().expect("a plain path");
    let with_root = |args: &[&str]| output(pagewalk().args(["run", "--root", root]).arg(busybox()).args(args));
    assert_eq!(text(&with_root(&["ls", "/"]).stdout), "bin\ndev\nnote\nown\nproc\nsys\ntmp\n");
    assert_eq!(text(&with_root(&["cat", "/note"]).stdout), "hello\n");
    let inside = with_root(&["sh", "-c", "echo changed >/note; cat /note"]);
    assert_eq!(text(&inside.stdout), "changed\n");
    assert_eq!(fs::read_to_string(tree.path().join("note")).expect("still there"), "hello\n", "the host's file stays");
}

fn uname() {
    assert_eq!(text(&run(&["uname", "-srm"]).stdout), "Linux 6.1.0-pagewalk i686\n");
}

fn streams() {
    let mut child = pagewalk()
        .arg("run")
        .arg(busybox())
        .args(["sh", "-c", "cat; echo done >&2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let bytes: Vec<u8> = (0..=255u8).cycle().take(20_000).collect();
    let mut stdin = child.stdin.take().expect("a pipe");
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().expect("an end");
    writer.join().expect("no panic").expect("all is read");
    assert!(output.stdout == bytes, "{} bytes of {} came back", output.stdout.len(), bytes.len());
    assert_eq!(text(&output.stderr), "done\n");
}

fn fatal_signal() {
    let output = run(&["sh", "-c", "kill -SEGV $$"]);
    assert_eq!(output.status.code(), Some(139));
    assert!(text(&output.stderr).contains("killed by SIGSEGV"), "{}", text(&output.stderr));
}

fn repeats() {
    let stats = |dir: &Path, home: &str| {
        let script = "i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; echo $i";
        let mut command = pagewalk();
        command.args(["run", "--stats"]).arg(busybox()).args(["sh", "-c", script]);
        let output = output(command.current_dir(dir).env("HOME", home).env("EXTRA", home));
        assert_eq!(text(&output.stdout), "500\n");
        let all = text(&output.stderr);
        let row = |name: &str| all.lines().find(|line| line.starts_with(name)).map(str::to_owned).expect(name);
        (row("instructions: "), row("state_hash: "))
    };
    let first = stats(Path::new("/"), "/");
    assert_eq!(first, stats(Path::new("/"), "/"));
    assert_eq!(first, stats(&std::env::temp_dir(), "/somewhere/else"));
}

fn full_disk() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let mut command = pagewalk();
    command.arg("run").arg(busybox()).args(["echo", "hi"]);
    let child = command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).spawn().expect("the command runs");
    let output = child.wait_with_output().expect("an end");
    assert_eq!(output.status.code(), Some(125));
    one_line(&output, "standard output: No space left on device");
}

fn loglevel() {
    let console = |options: &[&str]| {
        let output = output(pagewalk().args(["run", "-v"]).args(options).arg(busybox()).args(["echo", "hi"]));
        assert_eq!(text(&output.stdout), "hi\n");
        text(&output.stderr)
    };
    assert!(console(&[]).contains("Linux version 6.1.0-pagewalk"));
    assert_eq!(console(&["--append", "loglevel=1"]), "");
    assert_eq!(console(&["--append", "quiet"]), "");
}

fn limits() {
    let endless = ["sh", "-c", "while :; do :; done"];
    let output = output(pagewalk().args(["run", "--max-instructions", "30000000"]).arg(busybox()).args(endless));
    assert_eq!(output.status.code(), Some(124));
    one_line(&output, "limit of 30000000 instructions");
    let output = self::output(pagewalk().args(["run", "--timeout", "1.5"]).arg(busybox()).args(endless));
    assert_eq!(output.status.code(), Some(124));
    one_line(&output, "time limit");
}

fn one_line(output: &Output, part: &str) {
    let all = text(&output.stderr);
    assert_eq!(all.lines().count(), 1, "{all}");
    assert!(all.starts_with("pagewalk: ") && all.contains(part), "`{part}` is not in: {all}");
}

/// A static i386 program with one segment: `mov eax, 1; xor ebx, ebx; int 0x80`.
fn small_program() -> Vec<u8> {
    let mut file = vec![0; 0x100];
    file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    let half = |file: &mut Vec<u8>, at: usize, value: u16| file[at..at + 2].copy_from_slice(&value.to_le_bytes());
    let word = |file: &mut Vec<u8>, at: usize, value: u32| file[at..at + 4].copy_from_slice(&value.to_le_bytes());
    for (at, value) in [(16, 2), (18, 3), (40, 52), (42, 32), (44, 1), (46, 40)] {
        half(&mut file, at, value);
    }
    for (at, value) in [(20, 1), (24, 0x0804_8080), (28, 52)] {
        word(&mut file, at, value);
    }
    for (n, value) in [1, 0, 0x0804_8000, 0x0804_8000, 0x100, 0x100, 5, 0x1000].into_iter().enumerate() {
        word(&mut file, 52 + n * 4, value);
    }
    file[0x80..0x89].copy_from_slice(&[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80]);
    file
}

fn bad_guests() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = |bytes: &[u8]| {
        let path = folder.path().join("guest");
        fs::write(&path, bytes).expect("a file");
        output(pagewalk().arg("run").arg(&path))
    };
    assert_eq!(guest(&small_program()).status.code(), Some(0), "the program itself is good");
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = small_program();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases: [(&str, Vec<u8>, i32, &str); 9] = [
        ("empty", Vec::new(), 126, "empty"),
        ("text", b"hello".to_vec(), 126, "not an ELF file"),
        ("cut in the header", small_program()[..40].to_vec(), 126, "cut short"),
        ("64-bit", patched(4, &[2]), 126, "64-bit"),
        ("ARM", patched(18, &[40]), 126, "ARM"),
        ("segment past the end", patched(52 + 4, &[0, 0, 0, 0x7f]), 126, "cut short"),
        ("segment in the kernel's space", patched(52 + 8, &[0, 0, 0, 0xc0]), 126, "no process can hold"),
        ("segment of 4 GiB", patched(52 + 20, &[0, 0xf0, 0xff, 0xff]), 126, "no process can hold"),
        ("too many program headers", patched(44, &[0xff, 0xff]), 126, "outside the file"),
    ];
    for (what, bytes, status, part) in cases {
        let output = guest(&bytes);
        assert_eq!(output.status.code(), Some(status), "{what}");
        one_line(&output, part);
    }
    let entry = guest(&patched(24, &[0xef, 0xbe, 0xad, 0xde]));
    assert_eq!(entry.status.code(), Some(139), "an entry outside all segments");
    let missing = output(pagewalk().arg("run").arg(folder.path().join("none")));
    assert_eq!(missing.status.code(), Some(127));
    one_line(&missing, "no such file");
    let directory = output(pagewalk().arg("run").arg(folder.path()));
    assert_eq!(directory.status.code(), Some(126));
    one_line(&directory, "is a directory");
}

fn bad_options() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = folder.path().join("guest");
    fs::write(&guest, small_program()).expect("a file");
    let noise = folder.path().join("noise");
    fs::write(&noise, [0xa5; 4096]).expect("a file");
    let noise = noise.to_str().expect("a plain path");
    let cases: [(&[&str], i32, &str); 18] = [
        (&["--memory", "3"], 2, "16M to 3584M"),
        (&["--memory", "1T"], 2, "16M to 3584M"),
        (&["--memory", "lots"], 2, "not a size"),
        (&["--cpus", "0"], 2, "1 to 8 CPUs"),
        (&["--cpus", "900"], 2, "1 to 8 CPUs"),
        (&["--schedule-seed", "x"], 2, "--schedule-seed"),
        (&["--engine", "tcg"], 2, "[possible values: interp, jit]"),
        (&["--tlb", "63x5"], 2, "63x5"),
        (&["--root", "/no/such/folder"], 125, "/no/such/folder"),
        (&["--initrd", "/no/such/file"], 125, "/no/such/file"),
        (&["--kernel", noise], 125, "noise"),
        (&["--save", "/no/such/folder/x"], 125, "/no/such/folder/x"),
        (&["--save", "/dev/null"], 125, "/dev/null: not a regular file"),
        (&["--env", "novalue"], 2, "NAME=VALUE"),
        (&["--trace", "dreams"], 2, "there are exec, mem, mmu, int, io, syscall, sched, fault, ipi and tlb to trace"),
        (&["--trace", "int,"], 2, "--trace : there are exec"),
        (&["--trace-file", "/tmp/x"], 2, "--trace"),
        (&["--trace", "fault", "--trace-file", "/no/such/folder/x"], 125, "/no/such/folder/x"),
    ];
    for (options, status, part) in cases {
        let output = output(pagewalk().arg("run").args(options).arg(&guest));
        assert_eq!(output.status.code(), Some(status), "{options:?}: {}", text(&output.stderr));
        one_line(&output, part);
    }
    let unknown = output(pagewalk().arg("frobnicate"));
    assert_eq!(unknown.status.code(), Some(2));
    one_line(&unknown, "no command `frobnicate`");
    let later = output(pagewalk().arg("replay"));
    assert_eq!(later.status.code(), Some(2));
    one_line(&later, "not in this version");
}

/// A ROM of one page: from the reset vector to its begin, by a far jump to its place below 1 MiB, and
/// there a POST code, a letter and the end with status 5.
fn small_rom() -> Vec<u8> {
    let mut rom = vec![0; 0x1000];
    rom[0xff0..0xff3].copy_from_slice(&[0xe9, 0x0d, 0xf0]); // jmp 0xf000
    rom[..5].copy_from_slice(&[0xea, 0x10, 0xf0, 0x00, 0xf0]); // jmp 0xf000:0xf010
    let code = [
        &[0xb0, 0xee, 0xba, 0x90, 0x01, 0xee][..], // mov al, 0xee; mov dx, 0x190; out dx, al
        &[0x2e, 0xa0, 0x50, 0xf0, 0xe6, 0xe9],     // mov al, [cs:0xf050]; out 0xe9, al
        &[0xb0, 0x05, 0xe6, 0xf4, 0xf4],           // mov al, 5; out 0xf4, al; hlt
    ];
    rom[0x10..0x21].copy_from_slice(&code.concat());
    rom[0x50] = b'k';
    rom
}

fn rom() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rom");
    fs::write(&path, small_rom()).expect("a file");
    let with = |options: &[&str]| output(pagewalk().args(["run", "--bios"]).arg(&path).args(options));
    for (options, shown) in
        [(&["--post-port", "0x190"][..], &b"\xeek"[..]), (&["--post-port", "400"], b"\xeek"), (&[], b"k")]
    {
        let output = with(options);
        assert_eq!(output.status.code(), Some(5), "{options:?}: {}", text(&output.stderr));
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b""[..], shown), "{options:?}");
    }
}

fn bad_roms() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rom");
    let with = |path: &Path, options: &[&str]| output(pagewalk().args(["run", "--bios"]).arg(path).args(options));
    for bytes in [0, 100, 0x1001, (16 << 20) + 0x1000] {
        fs::File::create(&path).and_then(|file| file.set_len(bytes)).expect("a file");
        let output = with(&path, &[]);
        assert_eq!(output.status.code(), Some(125), "{bytes} bytes");
        one_line(&output, &format!("a ROM of {bytes} bytes"));
    }
    for (name, part) in [("none", "No such file"), ("", "directory")] {
        let output = with(&folder.path().join(name), &[]);
        assert_eq!(output.status.code(), Some(125));
        one_line(&output, part);
    }
    fs::write(&path, small_rom()).expect("a file");
    for (options, part) in [
        (&["--post-port", "0x10000"][..], "0 to 65535"),
        (&["--post-port", "post"], "0 to 65535"),
        (&["--kernel", "k"], "--kernel"),
        (&["guest"], "cannot be used with"),
    ] {
        let output = with(&path, options);
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        one_line(&output, part);
    }
}

fn bad_snapshots() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = folder.path().join("guest");
    fs::write(&guest, small_program()).expect("a file");
    let saved = folder.path().join("saved");
    let made = output(pagewalk().args(["run", "--save"]).args([&saved, &guest]));
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let regs = |path: &Path| output(pagewalk().args(["regs", "--snapshot"]).arg(path));
    assert_eq!(regs(&saved).status.code(), Some(0));
    let whole = fs::read(&saved).expect("the snapshot");
    let damaged = folder.path().join("damaged");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bytes in [&whole[..0], &whole[..10], &whole[..whole.len() / 2], &whole[..whole.len() - 1], &flipped[..]] {
        fs::write(&damaged, bytes).expect("a file");
        let output = regs(&damaged);
        assert_eq!(output.status.code(), Some(1), "{} bytes", bytes.len());
        one_line(&output, "damaged");
    }
    assert!(fs::read_dir(folder.path()).expect("the folder").count() == 3, "nothing half-written is left");
}

fn tour() {
    let output = output(&mut pagewalk());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in ["Linux version 6.1.0-pagewalk", "a tour of virtual memory", " r-xp ", "[stack]", "SIGSEGV"] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    for faults in ["took 4 page faults", "takes 8 faults:", "takes 8 faults more", "takes 1 fault,"] {
        assert!(shown.contains(faults), "`{faults}` is not in:\n{shown}");
    }
}

fn shell_script() {
    let output = with_input(pagewalk().arg("run"), "uname -s; x=5\necho $((x*2)) | cat\nexit 6\n");
    assert_eq!(text(&output.stdout), "Linux\n10\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(6));
}
