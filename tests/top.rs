//! `pagewalk top`: its figures are those of the dumps, its keys do what they say, and whatever ends it, the terminal
//! is as before.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    control::Place,
    support::{Need, pagewalk, trial, with_input},
};

pub fn trials() -> Vec<Trial> {
    let tmux = Need::Program("tmux");
    vec![
        trial("top::without_a_terminal_its_text_and_json_are_of_the_dumps", &[], printed),
        trial("top::of_a_kernel_that_is_not_ours_it_shows_what_hardware_tells", &[], foreign),
        trial("top::what_cannot_be_shown_is_one_line", &[], refused),
        trial("top::in_a_terminal_its_figures_are_of_the_dumps_and_keys_drive_the_machine", &[tmux], driven),
        trial("top::whatever_ends_it_the_terminal_is_as_before", &[tmux], ended),
    ]
}

/// A terminal of its own with a shell in it.
struct Pane {
    folder: TempDir,
}

impl Pane {
    /// So many columns and rows; machines are those of `place`.
    fn new(place: &Place, columns: u32, rows: u32) -> Self {
        let pane = Pane { folder: tempfile::tempdir().expect("a folder") };
        let size = [columns.to_string(), rows.to_string()];
        let shell = "env PS1=ready: ENV= sh -i";
        let mut command = pane.tmux();
        command.env("XDG_RUNTIME_DIR", place.file("")).current_dir(place.file(""));
        command.args(["-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", &size[0], "-y", &size[1], shell]);
        assert!(command.status().expect("tmux runs").success());
        pane.wait("the shell", |screen| screen.contains("ready:"));
        pane
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.env_remove("TMUX").env("TERM", "xterm-256color").arg("-S").arg(self.folder.path().join("socket"));
        command
    }

    fn ask(&self, words: &[&str]) -> String {
        let output = self.tmux().args(words).output().expect("tmux runs");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn keys(&self, keys: &[&str]) {
        self.ask(&[&["send-keys", "-t", "t"], keys].concat());
    }

    fn line(&self, line: &str) {
        self.keys(&[line, "Enter"]);
    }

    fn resize(&self, columns: u32, rows: u32) {
        self.ask(&["resize-window", "-t", "t", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p", "-t", "t"])
    }

    /// Waits until the screen shows what is wanted, and gives it.
    fn wait(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what} does not come:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts `top` from the shell, which says its status after it.
    fn top(&self, options: &str) {
        self.line(&format!("clear; stty -a >{}", self.modes("before").display()));
        let command = env!("CARGO_BIN_EXE_pagewalk");
        self.line(&format!("{command} top -d 0.1 {options}; echo status-$?"));
        self.wait("the view", |screen| screen.contains("Processes") && screen.contains("? help"));
    }

    /// The view comes to show what the dumps say of the machine, which stands still.
    fn compare(&self, place: &Place, at: &[&str]) {
        let dumps = Dumps::of(place, at);
        self.wait("what the dumps say", |screen| dumps.missing(screen).is_empty());
    }

    fn modes(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The view has ended with this status, and the terminal is as before.
    fn sane(&self, status: u32) -> String {
        let end = format!("status-{status}\n");
        let screen = self.wait(&end, |screen| screen.contains(&end));
        self.as_before();
        screen
    }

    /// The modes are as before, the screen is the ordinary one, the cursor is seen.
    fn as_before(&self) {
        self.line(&format!("stty -a >{}; echo modes-are-known", self.modes("after").display()));
        self.wait("the modes", |screen| screen.contains("\nmodes-are-known"));
        let modes = |name| fs::read_to_string(self.modes(name)).expect("what stty says");
        assert_eq!(modes("after"), modes("before"));
        assert_eq!(self.ask(&["display", "-p", "-t", "t", "#{alternate_on} #{cursor_flag}"]), "0 1\n");
    }

    /// The host's number of the process that the shell runs.
    fn process(&self) -> String {
        let shell = self.ask(&["display", "-p", "-t", "t", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).expect("its children");
        children.split_whitespace().last().expect("a child").to_owned()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process()]).status().expect("kill runs");
        assert!(status.success());
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").stderr(Stdio::null()).status();
    }
}

fn grouped(number: &Value) -> String {
    let digits = number.as_u64().expect("a number").to_string();
    let groups: Vec<String> =
        digits.as_bytes().rchunks(3).rev().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
    groups.join(",")
}

/// What the dumps say of a machine that stands still.
struct Dumps {
    stats: Value,
    ps: Value,
    regs: Value,
    meminfo: Value,
    zoneinfo: Value,
}

impl Dumps {
    fn of(place: &Place, at: &[&str]) -> Self {
        let json = |lens: &str| place.json(&[&[lens], at].concat());
        let [stats, ps, regs, meminfo, zoneinfo] = ["stats", "ps", "regs", "meminfo", "zoneinfo"].map(json);
        Dumps { stats, ps, regs, meminfo, zoneinfo }
    }

    /// What of it a screen does not show.
    fn missing(&self, screen: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let lines: Vec<Vec<&str>> = screen.lines().map(words).collect();
        let mut need = |what: String, shown: bool| {
            if !shown {
                missing.push(what)
            }
        };
        let figure = |counter: &str| grouped(&self.stats[counter]);
        let instructions = format!("{} instructions", figure("instructions"));
        for part in [
            instructions,
            format!("TLB misses {}", figure("tlb_misses")),
            format!("page faults {}", figure("page_faults")),
        ] {
            let shown = screen.contains(&part);
            need(part, shown);
        }
        for row in self.ps.as_array().expect("processes") {
            let kb = |pages: &Value| pages.as_u64().map_or("-".into(), |pages| (pages * 4).to_string());
            let (pid, name) = (row["pid"].to_string(), row["comm"].as_str().expect("a name"));
            let state = row["state"].as_str().expect("a state");
            let sizes = [kb(&row["rss_pages"]), kb(&row["vsize_pages"])];
            let faults = [row["min_flt"].to_string(), row["maj_flt"].to_string()];
            let is_row = |words: &Vec<&str>| {
                words.len() > 10
                    && (words[0], words[1]) == (pid.as_str(), state)
                    && (words[4..6] == sizes[..] && words[6..8] == faults[..])
                    && words[10].starts_with(name)
            };
            need(format!("process {pid} ({name}) {state} {sizes:?} {faults:?}"), lines.iter().any(is_row));
        }
        for row in self.regs.as_array().expect("CPUs") {
            let number = |key: &str| format!("{:08x}", row[key].as_u64().expect("a number"));
            let (cr3, eip) = (number("cr3"), number("eip"));
            let shown = screen.lines().any(|line| line.contains(&cr3) && line.contains(&eip));
            need(format!("CR3 {cr3}, EIP {eip}"), shown);
        }
        for (owner, row) in [
            ("free  ", "MemFree"),
            ("anonymous  ", "AnonPages"),
            ("slab caches  ", "Slab"),
            ("page tables  ", "PageTables"),
        ] {
            let figure = format!(" {} kB", grouped(&self.meminfo[row]));
            let shown = screen.lines().any(|line| line.contains(owner) && line.contains(&figure));
            need(format!("{owner}{figure}"), shown);
        }
        for zone in self.zoneinfo.as_array().expect("zones").iter().filter(|zone| zone["managed"] != 0) {
            let kb = |key: &str| grouped(&(zone[key].as_u64().expect("a number") * 4).into());
            let (free, managed) = (kb("free"), kb("managed"));
            let shown = lines.iter().any(|words| words.windows(3).any(|part| part == [&free[..], "of", &managed[..]]));
            need(format!("zone {}: {free} of {managed}", zone["zone"]), shown);
        }
        missing
    }
}

/// The words of a line, without the frames around panes.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|word| word.trim_matches('│')).filter(|word| !word.is_empty()).collect()
}

/// What is printed is what the dumps say of the machine, which stands still.
fn compare(place: &Place, at: &[&str], text: &str) {
    let missing = Dumps::of(place, at).missing(text);
    assert!(missing.is_empty(), "{missing:?}\n{text}");
}

fn printed() {
    let place = Place::new();
    let mut vm = place.start("vm", &["--memory", "32M", "--cpus", "2", "--swap", "16M"]);
    vm.type_line("while :; do :; done");
    place.text(&["step", "200000"]);
    compare(&place, &["--vm", "vm"], &place.text(&["top"]));
    assert!(Dumps::of(&place, &[]).missing("nothing").len() > 10, "each figure is looked for");
    let json = place.json(&["top"]);
    for (key, lens) in [("processes", "ps"), ("meminfo", "meminfo"), ("zones", "zoneinfo"), ("stats", "stats")] {
        assert_eq!(json[key], place.json(&[lens]), "{key}");
    }
    assert_eq!(json["notes"], serde_json::json!([]));
    let faults = json["faults"].as_array().expect("faults").len() as u64;
    assert!(faults > 5 && faults <= json["stats"]["page_faults"].as_u64().expect("a number"), "{faults}");
    // Its second look has the first one's speed to compare with; a machine that stands still does nothing.
    let two = place.text(&["top", "-b", "-n", "2", "-d", "0.05", "--sort", "rss"]);
    let (first, second) = two.split_once("\n\nvm: ").expect("two looks");
    assert!(
        !first.contains("MIPS\n") && second.lines().next().is_some_and(|line| line.ends_with(", 0.0 MIPS")),
        "{two}"
    );
    let lines = place.text(&["top", "-n", "2", "-d", "0.05", "--json"]);
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 2);
    place.text(&["save", "m.pw"]);
    let saved = place.text(&["top", "--snapshot", "m.pw", "-b"]);
    compare(&place, &["--snapshot", "m.pw"], &saved);
    assert!(saved.starts_with("m.pw: saved, "), "{saved}");
}

/// Our kernel without the note by which it is known.
fn foreign() {
    let place = Place::new();
    let mut kernel = images::KERNEL.to_vec();
    let note = kernel.windows(8).position(|bytes| bytes == b"PAGEWALK").expect("the note's name");
    kernel[note] = b'X';
    fs::write(place.file("kernel"), kernel).expect("a file");
    let mut command = place.command(&["run", "--kernel", "kernel", "--memory", "32M", "--save", "m.pw"]);
    assert!(with_input(&mut command, "ls /\n").status.success());
    let text = place.text(&["top", "--snapshot", "m.pw"]);
    assert!(text.contains("\nnote: the machine's kernel keeps no books that this program can read"), "{text}");
    assert!(text.contains("whose it is: not known") && text.contains("ever written"), "{text}");
    let regs = place.json(&["regs", "--snapshot", "m.pw"]);
    let cr3 = format!("{:08x}", regs[0]["cr3"].as_u64().expect("CR3"));
    let words = words(text.lines().find(|line| line.contains(&cr3)).unwrap_or_else(|| panic!("no {cr3}: {text}")));
    assert_eq!(words[..5], ["0", "kernel", words[2], "?", "?"], "{text}");
    assert!(!text.contains("COMMAND"), "{text}");
    let json = place.json(&["top", "--snapshot", "m.pw"]);
    assert_eq!((&json["books"], &json["processes"]), (&false.into(), &Value::Null));
}

fn refused() {
    let place = Place::new();
    fs::write(place.file("empty"), "").expect("a file");
    let one_line = |args: &[&str]| {
        let output: Output = place.command(args).stdin(Stdio::null()).output().expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty() && said.lines().count() == 1, "{args:?}: {said}");
        said
    };
    assert!(one_line(&["top"]).contains("no machine runs; start one with"));
    assert!(one_line(&["top", "--vm", "x"]).contains("no machine named `x` runs"));
    assert!(one_line(&["top", "--snapshot", "empty"]).contains("empty"));
    assert!(one_line(&["top", "--vm", "x", "--snapshot", "empty"]).contains("--snapshot"));
    assert!(one_line(&["top", "-d", "0"]).contains("seconds, such as 2 or 0.5"));
    assert!(one_line(&["top", "-n", "0"]).contains("0"));
    assert!(one_line(&["top", "--sort", "size"]).contains("`size` is no column to sort by: pid, cpu, rss"));
    assert!(pagewalk().args(["top", "--help"]).output().expect("help").status.success());
}

fn driven() {
    let place = Place::new();
    let mut vm = place.start("vm", &["--memory", "32M", "--cpus", "2"]);
    vm.type_line("while :; do :; done");
    let at = ["--vm", "vm"];
    place.text(&["pause"]);
    let pane = Pane::new(&place, 170, 50);
    pane.top("");
    pane.wait("paused", |screen| screen.contains("vm: paused"));
    pane.compare(&place, &at);

    pane.keys(&["p"]);
    pane.wait("it runs", |screen| screen.contains("vm: running") && !screen.contains(" 0.0 MIPS"));
    assert_eq!(place.json(&["status"])["state"], "running");
    pane.keys(&["p"]);
    pane.wait("it stands still", |screen| screen.contains("vm: paused"));
    let count = |status: Value| status["instructions"].as_u64().expect("a number");
    let before = count(place.json(&["status"]));
    pane.keys(&["s"]);
    pane.wait("the question", |screen| screen.contains("step how many instructions?"));
    pane.line("12345");
    let after = grouped(&(before + 12345).into());
    pane.wait("the step", |screen| screen.contains(&after) && screen.contains("vm: paused"));
    assert_eq!(count(place.json(&["status"])), before + 12345);
    pane.compare(&place, &at);

    pane.keys(&["w"]);
    pane.wait("the question", |screen| screen.contains("walk which address of process 1?"));
    pane.line("c0100000");
    let walk = place.text(&["walk", "c0100000", "--pid", "1"]);
    pane.wait("the walk", |screen| walk.lines().all(|line| screen.contains(line)));
    pane.keys(&["q"]);
    pane.keys(&["Down", "Enter"]);
    let maps = place.text(&["maps", "2"]);
    pane.wait("the maps", |screen| maps.lines().all(|line| screen.contains(line.trim_end())));
    pane.keys(&["Enter"]);
    pane.keys(&["w"]);
    pane.line("no_such_symbol");
    pane.wait("why not", |screen| screen.contains("`no_such_symbol`"));
    pane.keys(&["?"]);
    pane.wait("the help", |screen| screen.contains("Hits are not"));
    pane.keys(&["q"]);

    for (columns, rows) in [(20, 5), (1, 1), (60, 14), (80, 24)] {
        pane.resize(columns, rows);
        pane.keys(&["Tab"]);
        let first: String = "vm: paused, ".chars().take(columns as usize).collect();
        pane.wait("the narrow view", |screen| screen.starts_with(first.trim_end()));
    }
    pane.resize(170, 50);
    pane.wait("all panes", |screen| screen.contains("Memory") && screen.contains("Events"));
    pane.compare(&place, &at);
    pane.keys(&["q"]);
    pane.sane(0);
}

fn ended() {
    let place = Place::new();
    let vm = place.start("vm", &["--memory", "32M"]);
    let pane = Pane::new(&place, 100, 30);
    for (signal, status) in [("-TERM", 143), ("-HUP", 129), ("-INT", 130)] {
        pane.top("");
        pane.signal(signal);
        pane.sane(status);
    }
    // Stopped by the keyboard, and by others; continued.
    pane.top("--vm vm");
    pane.keys(&["C-z"]);
    pane.wait("the shell", |screen| screen.contains("Stopped"));
    pane.as_before();
    pane.line("clear; fg; echo status-$?");
    pane.wait("the view", |screen| screen.contains("Processes"));
    pane.signal("-TSTP");
    pane.wait("the shell", |screen| screen.contains("Stopped"));
    pane.as_before();
    pane.line("clear; fg; echo status-$?");
    pane.wait("the view", |screen| screen.contains("Processes"));

    // Seen from another terminal, which goes and comes again with another size.
    let outside = Pane::new(&place, 120, 40);
    let attach = format!("TMUX= tmux -S {} attach", pane.modes("socket").display());
    for (columns, rows) in [(120, 40), (90, 33)] {
        outside.resize(columns, rows);
        outside.line(&format!("clear; {attach}"));
        outside.wait("the view", |screen| screen.contains("vm: running") && screen.contains("Processes"));
        pane.ask(&["detach-client", "-s", "t"]);
        outside.wait("the shell", |screen| screen.contains("[detached"));
    }
    pane.resize(100, 30);
    pane.wait("the view", |screen| screen.contains("vm: running"));

    place.text(&["quit"]);
    let screen = pane.sane(0);
    assert!(screen.contains("pagewalk: the machine `vm` has ended"), "{screen}");
    assert_eq!(vm.end().0, Some(130));
}
