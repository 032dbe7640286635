//! What the documents show is what the command prints: the newcomer's page of README and the
//! keys in docs/lenses.md. `PAGEWALK_BLESS=1 cargo test -p pagewalk --test integration -- docs::`
//! makes both anew.

use std::{collections::BTreeSet, env, fs, path::Path, process::Stdio};

use inspect::{KernelImage, Request, look};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    corrupt,
    lenses::target,
    support::{
        lenses::{OF_ALL, of_books},
        pagewalk, root, trial, with_input,
    },
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("docs::the_newcomers_page_shows_what_the_commands_print", &[], newcomer),
        trial("docs::the_keys_of_the_lenses_json_are_those_in_the_document", &[], keys),
    ]
}

/// The part of a document between two marks; made anew if that is asked for.
fn check(file: &str, mark: &str, made: &str, alike: impl Fn(&str, &str) -> bool) {
    let path = root().join(file);
    let text = fs::read_to_string(&path).expect("the document");
    let (begin, end) = (format!("<!-- {mark}: made by PAGEWALK_BLESS=1 -->\n"), format!("<!-- /{mark} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the mark where it begins");
    let (shown, after) = rest.split_once(&end).expect("the mark where it ends");
    if env::var_os("PAGEWALK_BLESS").is_some() {
        fs::write(&path, [before, &begin, made, &end, after].concat()).expect("write the document");
        return;
    }
    assert!(
        alike(shown, made),
        "{file} has gone stale: PAGEWALK_BLESS=1 cargo test -p pagewalk --test integration -- docs::\n{made}"
    );
}

/// What the machine's program reads.
const INPUT: &str = "echo hello from the guest\n";
/// The commands after the first, each with what it is for.
const COMMANDS: [(&str, &str); 5] = [
    ("ps", "its processes, asked of the saved machine, not of the guest:"),
    ("maps 1", "the areas of one, as its own `/proc/1/maps` has them:"),
    ("walk 0xc0100000", "one translation, step by step:"),
    ("buddyinfo", "the free blocks of physical memory:"),
    ("pagetable --cost", "what two levels of page tables save:"),
];

fn newcomer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |words: &str, input: &str| {
        let mut command = pagewalk();
        command.current_dir(folder.path()).args(words.split(' '));
        let output = match input {
            "" => command.stdin(Stdio::null()).output().expect("run pagewalk"),
            input => with_input(&mut command, input),
        };
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let first = run("run --save m.pw", INPUT);
    let mut page = format!(
        "Run something and keep the machine as it was at the end:\n\n```\n$ echo '{}' | pagewalk run --save m.pw\n{first}```\n",
        INPUT.trim_end()
    );
    for (command, what) in COMMANDS {
        let command = format!("{command} --snapshot m.pw");
        page += &format!("\nThen {what}\n\n```\n$ pagewalk {command}\n{}```\n", run(&command, ""));
    }
    assert!(Path::new(&folder.path().join("m.pw")).exists());
    check("README.md", "newcomer", &page, |shown, made| masked(shown) == masked(made));
}

/// The text without its numbers, and with single blanks: a change of the guest kernel moves
/// frames and counts, but not what is shown of them.
fn masked(text: &str) -> Vec<String> {
    let is_number = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let mask = |word: &str| if is_number(word) { "#".to_owned() } else { word.to_owned() };
    let words = |line: &str| line.split_whitespace().map(mask).collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect()
}

/// The lenses, with arguments, whose keys are listed.
fn listed() -> impl Iterator<Item = &'static str> {
    of_books().chain(OF_ALL).chain(["sym start_kernel", "proc"])
}

/// Lenses whose keys are the names of rows of a file.
const BY_ROW: [&str; 4] = ["status 1", "meminfo", "vmstat", "stats"];

/// What `top` shows as other lenses do, and what has no rows in this machine.
const TOP_PARTS: [&str; 7] = ["processes", "meminfo", "zones", "stats", "shootdowns", "ipis", "faults"];

/// Every path to a value: `.key` into an object, `[]` into a list.
fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| paths(value, &format!("{at}.{key}"), found)),
        Value::Array(rows) if rows.iter().any(|row| row.is_object() || row.is_array()) => {
            rows.iter().for_each(|row| paths(row, &format!("{at}[]"), found));
        }
        Value::Array(_) => {
            found.insert(format!("{at}[]"));
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

fn keys() {
    let kernel = KernelImage::parse(images::KERNEL);
    let machine = corrupt::base(&kernel);
    let mut made = "```\n".to_owned();
    for lens in listed() {
        let words: Vec<&str> = lens.split(' ').collect();
        let answer = look(&target(&machine, &kernel), &Request::from_words(&words).expect("a lens"));
        let json = answer.unwrap_or_else(|why| panic!("{lens}: {why}")).json;
        let mut found = BTreeSet::new();
        paths(&json, "", &mut found);
        let name = if lens.contains("--cost") { lens } else { words[0] };
        let all = match BY_ROW.contains(&lens) {
            true => "an object: the names of the rows, with their values".to_owned(),
            false => found.into_iter().collect::<Vec<_>>().join(" "),
        };
        made += &format!("{name}: {all}\n");
    }
    let mut json = look(&target(&machine, &kernel), &Request::Top { since_ns: 0 }).expect("a look").json;
    TOP_PARTS.iter().for_each(|part| json[part] = Value::Null);
    let mut found = BTreeSet::new();
    paths(&json, "", &mut found);
    made += &format!("top: {}\n", found.into_iter().collect::<Vec<_>>().join(" "));
    made += "```\n";
    check("docs/lenses.md", "keys", &made, |shown, made| shown == made);
}
