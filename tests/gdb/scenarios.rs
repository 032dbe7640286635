//! Real gdb through the scenarios of `scenarios.txt`, whose head says how they are written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;
use tempfile::TempDir;

use super::rom;
use crate::support::{Need, debian_root, pagewalk, program, root, trial};

/// Seconds after which a session has failed.
const TIME_LIMIT: &str = "100";

pub fn trials() -> Vec<Trial> {
    let text = fs::read_to_string(root().join("tests/gdb/scenarios.txt")).expect("the scenarios");
    let sessions = parse(text.leak());
    let scenarios: usize = sessions.iter().map(|session| session.scenarios.len()).sum();
    assert!(scenarios >= 60, "only {scenarios} scenarios");
    sessions.into_iter().map(Session::trial).collect()
}

/// A machine, gdb on it, and what is to be seen of it.
struct Session {
    title: &'static str,
    /// `gdb` and its options: `pagewalk gdb`. `run` and its options: `pagewalk run --gdb`, and gdb beside it.
    words: Vec<&'static str>,
    scenarios: Vec<Scenario>,
}

#[derive(Default)]
struct Scenario {
    title: &'static str,
    commands: Vec<&'static str>,
    /// Patterns, and whether each must be there.
    wanted: Vec<(bool, &'static str)>,
}

fn parse(text: &'static str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let bad = format!("scenarios.txt:{}: `{line}` is no line of a scenario", number + 1);
        let (mark, rest) = line.split_at_checked(2).expect(&bad);
        if mark == "@ " {
            let (title, words) = rest.split_once(": ").expect(&bad);
            sessions.push(Session { title, words: words.split_whitespace().collect(), scenarios: Vec::new() });
            continue;
        }
        let scenarios = &mut sessions.last_mut().expect(&bad).scenarios;
        if mark == "= " {
            scenarios.push(Scenario { title: rest, ..Scenario::default() });
            continue;
        }
        let scenario = scenarios.last_mut().expect(&bad);
        match mark {
            "> " => scenario.commands.push(rest),
            "| " => scenario.wanted.push((true, rest)),
            "! " => scenario.wanted.push((false, rest)),
            _ => panic!("{bad}"),
        }
    }
    sessions
}

impl Session {
    fn trial(self) -> Trial {
        let name = format!("gdb::{}", self.title.replace(' ', "_"));
        let mut needs = vec![Need::Program("gdb"), Need::Program("timeout")];
        if self.words.contains(&"ROOT") {
            needs.push(Need::Debian("dynamic"));
        }
        trial(&name, &needs, move || self.check())
    }

    fn check(&self) {
        let files = Files::new();
        let output = match self.words[0] {
            "gdb" => self.own_gdb(&files),
            "run" => self.gdb_beside(&files),
            other => panic!("{other} starts no session"),
        };
        let text = String::from_utf8_lossy(&output.stdout).replace("(gdb) ", "");
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut failed = Vec::new();
        for (number, scenario) in self.scenarios.iter().enumerate() {
            let part = text.split(&mark(number)).nth(1).unwrap_or_default();
            let part = part.split("\n@@").next().unwrap_or_default();
            for (there, pattern) in &scenario.wanted {
                if part.lines().any(|line| matches(pattern, line)) != *there {
                    let what = if *there { "lacks" } else { "has" };
                    failed.push(format!("{}: {what} `{pattern}`:\n{part}", scenario.title));
                }
            }
        }
        assert!(failed.is_empty(), "{} failed:\n{}\nstandard error:\n{errors}", failed.len(), failed.join("\n"));
    }

    /// gdb's commands, with a mark before those of each scenario.
    fn script(&self) -> String {
        let mut script = "set confirm off\nset pagination off\nset width 0\nset language c\n".to_owned();
        for (number, scenario) in self.scenarios.iter().enumerate() {
            script += &format!("echo {}\n", mark(number).replace('\n', "\\n"));
            script += &(scenario.commands.join("\n") + "\n");
        }
        script + "echo \\n@@ end\\n\nkill\n"
    }

    /// `pagewalk gdb`, its commands on standard input; standard error in its place among the output.
    fn own_gdb(&self, files: &Files) -> Output {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", TIME_LIMIT]).arg(pagewalk().get_program());
        command.args(["gdb", "--gdb-arg=-nx"]).args(self.words[1..].iter().map(|word| files.fill(word)));
        with_script(&mut command, &self.script(), files)
    }

    /// `pagewalk run --gdb`, and gdb with the file after `symbols=`.
    fn gdb_beside(&self, files: &Files) -> Output {
        let (symbols, words): (Vec<_>, Vec<_>) = self.words[1..].iter().partition(|word| word.starts_with("symbols="));
        let socket = files.path("gdb.sock");
        let mut machine = pagewalk()
            .args(["run", "--gdb", &format!("unix:{}", socket.display())])
            .args(words.into_iter().map(|word| files.fill(word)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start pagewalk");
        for _ in 0..1000 {
            if socket.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let mut command = Command::new("timeout");
        command.args(["-k", "5", TIME_LIMIT, "gdb", "-q", "-nx"]);
        command.args(symbols.into_iter().map(|word| files.fill(&word["symbols=".len()..])));
        let script = format!("target remote {}\n{}", socket.display(), self.script());
        let output = with_script(&mut command, &script, files);
        // Whatever came of it, the machine is ours to end.
        let _ = machine.kill();
        let _ = machine.wait();
        output
    }
}

/// Runs gdb with a script as its input.
fn with_script(command: &mut Command, script: &str, files: &Files) -> Output {
    let input = files.path("script");
    let script = script.replace("FOLDER", &files.folder.path().display().to_string());
    fs::write(&input, script.replace("ENTRY", &files.entry())).expect("write the script");
    let both = format!("exec {} 2>&1", shell_words(command));
    let mut shell = Command::new("sh");
    shell.args(["-c", &both]).stdin(fs::File::open(&input).expect("the script"));
    shell.output().expect("run gdb")
}

fn shell_words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}' ", word.to_string_lossy().replace('\'', "'\\''"))).collect()
}

fn mark(number: usize) -> String {
    format!("\n@@ {number}.\n")
}

/// Whether a line holds a pattern, whose `*` stand for whatever is between.
fn matches(pattern: &str, line: &str) -> bool {
    let mut rest = line;
    pattern.split('*').all(|piece| match rest.find(piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// What a session's words name.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().expect("a temporary folder") };
        files.write("vmlinux", images::KERNEL);
        files.write("rom", &rom::image());
        for (name, bytes) in images::programs() {
            files.write(name, bytes);
            if *name == "toolbox" {
                files.write("sh", bytes);
            }
        }
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        program::write(&self.path(name), bytes);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the tour begins.
    fn entry(&self) -> String {
        let tour = fs::read(self.path("tour")).expect("the tour");
        format!("{:#x}", goblin::elf::Elf::parse(&tour).expect("an ELF file").entry)
    }

    /// A word of a session: FOLDER and ROOT stand for folders, `+` for a blank.
    fn fill(&self, word: &str) -> String {
        let folder = |path: &Path| path.display().to_string();
        word.replace("FOLDER", &folder(self.folder.path())).replace("ROOT", &folder(&debian_root())).replace('+', " ")
    }
}
