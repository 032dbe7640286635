//! A running machine as an object that one controls: its socket, and who may ask what of it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::{
        fs::{PermissionsExt, chown},
        net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    thread,
};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{pagewalk, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("control::a_machine_is_paused_stepped_saved_restored_and_ended", &[], whole_course),
        trial("control::clients_that_misbehave_disturb_nobody", &[], bad_clients),
        trial("control::sockets_that_are_no_machines_are_told_apart", &[], bad_sockets),
        trial("control::a_save_that_fails_leaves_the_older_file_and_the_machine", &[], no_room),
        trial("control::a_watched_machine_is_seen_until_it_ends", &[], watched),
        trial("control::a_machine_under_gdb_is_gdbs", &[], under_gdb),
    ]
}

/// A folder for sockets and files.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Place { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = pagewalk();
        command.env("XDG_RUNTIME_DIR", self.folder.path()).current_dir(self.folder.path()).args(args);
        command
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.file(&format!("pagewalk/{name}.sock"))
    }

    /// Runs a command to its end.
    fn output(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("run pagewalk")
    }

    /// What a command prints that ends well.
    pub fn text(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[args, &["--json"]].concat())).expect("JSON")
    }

    /// The one line that a command says that fails.
    fn error(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success() && output.stdout.is_empty(), "{args:?} succeeds");
        assert_eq!(said.lines().count(), 1, "{said}");
        said.strip_prefix("pagewalk: ").unwrap_or_else(|| panic!("{said}")).trim_end().to_owned()
    }

    /// A machine of this name whose shell waits for its next line.
    pub fn start(&self, name: &str, options: &[&str]) -> Running {
        Running::start(self.command(&["run", "--name", name, "--timeout", "600"]).args(options))
    }
}

/// A machine with a shell, ended when dropped.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub printed: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start pagewalk");
        let stdin = child.stdin.take();
        let printed = BufReader::new(child.stdout.take().expect("its output"));
        let mut running = Running { child, stdin, printed };
        running.type_line("echo started");
        assert_eq!(running.line(), "started\n");
        running
    }

    pub fn type_line(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("its input"), "{line}").expect("type");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.printed.read_line(&mut line).expect("it prints");
        line
    }

    /// Its exit status, and what it said on standard error.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.stdin.take());
        let mut said = String::new();
        self.child.stderr.take().expect("its messages").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("its end").code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says lines on a connection, and gives what is answered once all was said.
fn talk(stream: &mut UnixStream, said: &[u8]) -> Vec<Value> {
    stream.write_all(said).and_then(|()| stream.shutdown(Shutdown::Write)).expect("say it");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

fn count(status: &Value) -> u64 {
    status["instructions"].as_u64().expect("a number")
}

fn whole_course() {
    let place = Place::new();
    let mut vm = place.start("vm", &["--stats"]);
    assert_eq!(fs::metadata(place.socket("vm")).expect("a socket").permissions().mode() & 0o777, 0o600);
    assert_eq!(place.json(&["status"])["state"], "running");
    let paused = place.json(&["pause"]);
    assert_eq!((&paused["state"], &paused["name"], &paused["cpus"]), (&"paused".into(), &"vm".into(), &1.into()));
    vm.type_line("i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo counted $i; read end; exit 3");
    assert_eq!(place.json(&["status"]), paused, "it stands still");
    let regs = place.text(&["regs"]);
    assert_eq!(place.text(&["regs", "--vm", "vm"]), regs);
    let stepped = place.json(&["step", "100000"]);
    assert_eq!((count(&stepped), &stepped["state"]), (count(&paused) + 100_000, &"paused".into()));
    assert_eq!(count(&place.json(&["step"])), count(&stepped) + 1);
    let said = place.text(&["save", "saved.pw"]);
    assert!(said.starts_with(&format!("vm is paused: after {} instructions, at 0x", count(&stepped) + 1)), "{said}");
    let regs = place.text(&["regs"]);
    assert_eq!(place.text(&["regs", "--snapshot", "saved.pw"]), regs);
    let further = place.json(&["step", "50000"]);
    assert_ne!(place.text(&["regs"]), regs);
    let back = place.json(&["restore", "saved.pw", "--vm", "vm"]);
    assert_eq!((count(&back), &back["state"]), (count(&stepped) + 1, &"paused".into()));
    assert_eq!(place.text(&["regs"]), regs);
    assert_eq!(place.json(&["step", "50000"]), further, "the same again");
    let error = place.error(&["restore", "regs.pw", "--vm", "vm"]);
    assert!(error.contains("regs.pw: No such file"), "{error}");
    assert_eq!(place.json(&["status"]), further, "nothing has changed by that");
    assert_eq!(place.json(&["resume"])["state"], "running");
    assert_eq!(vm.line(), "counted 300\n");
    vm.type_line("");
    let (status, said) = vm.end();
    assert_eq!(status, Some(3));
    // The same without anybody who controls it.
    let lines = "echo started\ni=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo counted $i; read end; exit 3\n\n";
    let mut alone = Running::start(&mut place.command(&["run", "--stats", "--timeout", "600"]));
    let (_, rest) = lines.split_once('\n').expect("lines");
    alone.stdin.as_mut().expect("its input").write_all(rest.as_bytes()).expect("type");
    let (status, undisturbed) = alone.end();
    assert_eq!(status, Some(3));
    let hash = |said: &str| said.lines().find(|line| line.starts_with("state_hash: ")).map(str::to_owned);
    assert!(hash(&said).is_some(), "{said}");
    assert_eq!(hash(&said), hash(&undisturbed));

    let vm = place.start("vm", &[]);
    place.text(&["quit"]);
    assert_eq!(vm.end().0, Some(130));
    assert!(!place.socket("vm").exists());
    assert!(place.error(&["pause"]).starts_with("no machine runs; start one with "));
}

fn bad_clients() {
    let place = Place::new();
    let mut vm = place.start("vm", &[]);
    let connect = || UnixStream::connect(place.socket("vm")).expect("connect");
    // Some say nothing, some go at once, one does not end its line, one does not read.
    let silent: Vec<UnixStream> = (0..20).map(|_| connect()).collect();
    (0..20).for_each(|_| drop(connect()));
    let mut unended = connect();
    unended.write_all(b"{\"ask\":").expect("say it");
    let mut deaf = connect();
    deaf.write_all(&b"{\"ask\":\"look\",\"request\":{\"lens\":\"slabinfo\"}}\n".repeat(200)).expect("say it");
    let answers = talk(&mut connect(), b"GET / HTTP/1.1\n{\"ask\":\"status\"}\n{\"ask\":\"step\",\"instructions\":0}\n{\"ask\":\"save\",\"file\":\"x\"}\n{\"ask\":\"look\",\"request\":{\"lens\":\"maps\",\"pid\":99}}\n{\"ask\":\"sta");
    assert_eq!(answers.len(), 7, "{answers:?}");
    assert_eq!((&answers[0]["reply"], &answers[0]["protocol"]), (&"hello".into(), &1.into()));
    assert_eq!(answers[2]["reply"], "status");
    for (answer, why) in [
        (&answers[1], "the request can't be read: "),
        (&answers[3], "a step has at least one instruction"),
        (&answers[4], "x: not an absolute path"),
        (&answers[5], "no process 99 in the guest"),
        (&answers[6], "the request ends without a line feed"),
    ] {
        assert_eq!(answer["reply"], "refused");
        assert!(answer["why"].as_str().expect("words").starts_with(why), "{answer}");
    }
    // Lenses at the same time.
    thread::scope(|scope| {
        let looks: Vec<_> = (0..8).map(|_| scope.spawn(|| place.text(&["maps", "2"]))).collect();
        let shown: Vec<String> = looks.into_iter().map(|look| look.join().expect("it ends")).collect();
        assert!(shown[0].contains("[stack]") && shown.iter().all(|text| *text == shown[0]), "{shown:?}");
    });
    // A step that takes for ever is ended by `pause`, and nobody else steps meanwhile.
    vm.type_line("while :; do :; done");
    thread::scope(|scope| {
        let long = scope.spawn(|| place.json(&["step", "1000000000000000"]));
        while place.json(&["status"])["state"] != "stepping" {}
        assert_eq!(place.error(&["step"]), "another client's step is under way; `pause` ends it");
        assert!(place.text(&["ps"]).contains(" sh\n"));
        assert_eq!(place.json(&["pause"])["state"], "paused");
        assert_eq!(long.join().expect("it ends")["state"], "paused");
    });
    // No more than so many at a time.
    let mut many: Vec<UnixStream> = Vec::new();
    // Those that were too slow go at any moment, and leave their places: only a refusal tells that all are taken.
    let refusal = loop {
        many.extend((0..64).map(|_| connect()));
        let output = place.output(&["status"]);
        if !output.status.success() {
            break String::from_utf8(output.stderr).expect("text");
        }
    };
    assert_eq!(refusal, "pagewalk: 64 clients look at this machine already\n");
    drop((silent, many));
    while !place.output(&["status"]).status.success() {}
    // The machine ends while somebody waits.
    thread::scope(|scope| {
        let long = scope.spawn(|| place.error(&["step", "1000000000000000"]));
        while place.json(&["status"])["state"] != "stepping" {}
        place.text(&["quit"]);
        assert_eq!(long.join().expect("it ends"), "the machine ended before the step was done");
    });
    assert_eq!(vm.end().0, Some(130));
}

fn bad_sockets() {
    let place = Place::new();
    let folder = place.file("pagewalk");
    assert!(place.error(&["ps"]).starts_with("no machine runs; "));
    assert!(place.error(&["ps", "--vm", "vm"]).starts_with("no machine named `vm` runs; start one with"));
    assert!(place.error(&["ps", "--vm", "../vm"]).contains("not `../vm`"));
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("its mode");
    assert!(place.error(&["run", "--name", "vm"]).contains("not a folder of this user's alone (mode 0700)"));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("its mode");
    // Left over from one that was killed.
    drop(UnixListener::bind(place.socket("vm")).expect("a socket"));
    let error = place.error(&["ps", "--vm", "vm"]);
    assert!(error.contains("is left over from one that was killed"), "{error}");
    assert!(place.error(&["ps"]).starts_with("no machine runs; "), "it does not count");
    let vm = place.start("vm", &[]);
    assert_eq!(place.json(&["status", "--vm", "vm"])["name"], "vm");
    let taken = place.error(&["run", "--name", "vm"]);
    assert!(taken.contains("a machine named `vm` runs already"), "{taken}");
    let other = place.start("other", &[]);
    assert!(place.error(&["status"]).starts_with("several machines run (other, vm); "));
    drop((vm, other));
    fs::remove_file(place.socket("vm"))
        .and_then(|()| fs::remove_file(place.socket("other")))
        .expect("killed ones stay");
    // Something else under that name.
    fs::write(place.socket("vm"), "text").expect("a file");
    assert!(place.error(&["ps", "--vm", "vm"]).ends_with("vm.sock: not a socket; remove it, or choose another name"));
    fs::remove_file(place.socket("vm")).expect("remove it");
    for (says, why) in [
        (&b"HTTP/1.1 400 Bad Request\n"[..], "the machine's answer can't be read: "),
        (b"", "the machine `vm` ended before it answered"),
        (b"{\"reply\":\"done\"}\n", "the machine's answer can't be read: it begins with Done"),
        (
            b"{\"reply\":\"hello\",\"protocol\":2,\"version\":\"9.9\",\"name\":\"vm\",\"pid\":1}\n",
            "the machine `vm` speaks control protocol 2 (pagewalk 9.9), this program 1: ",
        ),
        (b"{\"reply\":\"refused\",\"why\":\"busy\"}\n", "busy"),
    ] {
        let listener = UnixListener::bind(place.socket("vm")).expect("a socket");
        let server = thread::spawn(move || listener.accept().expect("a client").0.write_all(says).expect("say it"));
        let error = place.error(&["ps", "--vm", "vm"]);
        assert!(error.starts_with(why), "{error}");
        server.join().expect("it ends");
        fs::remove_file(place.socket("vm")).expect("remove it");
    }
    // Somebody else's; only root can make one.
    let listener = UnixListener::bind(place.socket("vm")).expect("a socket");
    if chown(place.socket("vm"), Some(1), Some(1)).is_ok() {
        assert!(place.error(&["ps", "--vm", "vm"]).contains("the socket of another user"));
        chown(&folder, Some(1), Some(1)).expect("as before");
        assert!(place.error(&["ps", "--vm", "vm"]).contains("not a folder of this user's alone"));
        assert!(place.error(&["run", "--name", "vm"]).contains("not a folder of this user's alone"));
    }
    drop(listener);
}

fn no_room() {
    let place = Place::new();
    // No file of it may have more than 200 blocks of 512 bytes, whatever would be on a full disk.
    let mut shell = Command::new("sh");
    let program = place.command(&[]).get_program().to_owned();
    shell.env("XDG_RUNTIME_DIR", place.file("")).args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" run --name vm"]);
    let mut vm = Running::start(shell.arg(program));
    fs::write(place.file("m.pw"), "older").expect("a file");
    let error = place.error(&["save", "m.pw"]);
    assert!(error.contains("m.pw: ") && error.contains("too large"), "{error}");
    assert_eq!(fs::read_to_string(place.file("m.pw")).expect("it is there"), "older");
    let error = place.error(&["save", "no/such/folder/m.pw"]);
    assert!(error.contains("no/such/folder/m.pw: No such file"), "{error}");
    assert!(place.error(&["save", "/dev/full"]).contains("/dev/full: not a regular file"));
    let left: Vec<_> =
        fs::read_dir(place.file("")).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "nothing but the socket's folder and the older file: {left:?}");
    vm.type_line("exit 5");
    assert_eq!(vm.end().0, Some(5), "the machine goes on");
}

fn watched() {
    let place = Place::new();
    let mut vm = place.start("vm", &[]);
    let start = |args: &[&str]| {
        let mut command = place.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start pagewalk");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        (child, lines)
    };
    let (json, mut documents) = start(&["stats", "--watch", "0.05", "--json"]);
    let (text, mut lines) = start(&["ps", "--watch", "0.05"]);
    for _ in 0..3 {
        let document: Value = serde_json::from_str(&documents.next().expect("a look").expect("text")).expect("JSON");
        assert!(document["instructions"].as_u64().is_some_and(|count| count > 0), "{document}");
        let heads = lines.by_ref().map(|line| line.expect("text")).find(|line| line.contains("PID TTY"));
        assert!(heads.is_some());
    }
    // Whoever stops reading ends it.
    let (mut unread, lines_unread) = start(&["stats", "--watch", "0.05"]);
    drop(lines_unread);
    assert!(unread.wait().expect("its end").success());
    vm.type_line("exit");
    assert_eq!(vm.end().0, Some(0));
    for child in [json, text] {
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "pagewalk: the machine `vm` has ended\n");
    }
    assert!(place.error(&["ps", "--watch", "0"]).contains("`0` is no time between two looks"));
    assert_eq!(place.output(&["ps", "--watch", "1", "--snapshot", "x"]).status.code(), Some(2));
}

fn under_gdb() {
    let place = Place::new();
    let vm = place.start("vm", &["--gdb", "unix:gdb.sock", "--gdb-nowait"]);
    for args in [&["pause"][..], &["step", "5"], &["resume"], &["restore", "x.pw", "--vm", "vm"]] {
        assert_eq!(place.error(args), "gdb stops, steps and continues this machine (--gdb)", "{args:?}");
    }
    assert_eq!(place.json(&["status"])["state"], "debugged");
    place.text(&["quit"]);
    drop(vm);
}
