//! The text of `/proc` files against that of Linux: `proc_formats.txt` has the form of each.

use std::{collections::BTreeMap, fs, io::Write};

use libtest_mimic::Trial;

use crate::support::{pagewalk, root, trial, with_input};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("proc_formats::files_have_the_rows_order_and_columns_of_linux", &[], files),
        trial("proc_formats::rows_and_files_that_differ_are_listed_as_deviations", &[], deviations),
        trial("proc_formats::a_row_that_is_missing_moved_or_wider_is_found", &[], the_comparison_itself),
    ]
}

/// A row of a file.
#[derive(Debug)]
enum Item {
    /// A row of one of some forms; it may come again, and it may be the guest kernel's own.
    Row { forms: Vec<String>, again: bool, own: bool },
    /// Rows that come together, once or more.
    Group(Vec<Item>),
    /// A row that Linux has and the guest kernel has not.
    Absent(String),
}

/// The forms of all files by name, and the names of the files that are absent.
fn shapes() -> (BTreeMap<String, Vec<Item>>, Vec<String>) {
    let (mut files, mut absent) = (BTreeMap::new(), Vec::new());
    let text = include_str!("proc_formats.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut lines = text.peekable();
    while let Some(head) = lines.next() {
        let name = head.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).expect("a section begins");
        if name == "absent" {
            absent = lines.by_ref().map(str::to_owned).collect();
        } else {
            files.insert(name.to_owned(), items(&mut lines));
        }
    }
    (files, absent)
}

fn items<'a>(lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.starts_with('[') && *line != ")") {
        let row = || line.get(2..).unwrap_or("").replace("\\t", "\t").replace("\\_", " ");
        match (line.as_bytes()[0], items.last_mut()) {
            (mark @ (b'=' | b'+' | b'>'), _) => {
                items.push(Item::Row { forms: vec![row()], again: mark == b'+', own: mark == b'>' });
            }
            (b'|', Some(Item::Row { forms, .. })) => forms.push(row()),
            (b'-', _) => items.push(Item::Absent(row())),
            (b'(', _) => {
                items.push(Item::Group(self::items(lines)));
                assert_eq!(lines.next(), Some(")"));
            }
            _ => panic!("{line}"),
        }
    }
    items
}

/// Whether a line has a form.
fn has_form(form: &str, line: &str) -> bool {
    let (mut form, mut rest) = (form, line);
    while let Some(at) = form.find('{') {
        let (literal, field) = form.split_at(at);
        let Some(after) = rest.strip_prefix(literal) else { return false };
        let (kind, next) = field[1..].split_once('}').expect("a field ends");
        let Some(len) = field_len(kind, after, line.len() - after.len(), next.chars().next()) else { return false };
        (form, rest) = (next, &after[len..]);
    }
    form == rest
}

/// How many bytes of `text`, which begins in `column`, a field takes. `next` follows it.
fn field_len(kind: &str, text: &str, column: usize, next: Option<char>) -> Option<usize> {
    let run = |text: &str, is: fn(&u8) -> bool| text.bytes().take_while(is).count();
    let some = |len: usize| (len > 0).then_some(len);
    let blank = |byte: &u8| *byte == b' ';
    match kind.split_at_checked(1) {
        None => some(run(text, u8::is_ascii_digit)),
        Some(("i", "")) => {
            let sign = usize::from(text.starts_with('-'));
            Some(sign + some(run(&text[sign..], u8::is_ascii_digit))?)
        }
        Some(("w", "")) => some(text.chars().take_while(|&c| c.is_ascii_graphic() && Some(c) != next).count()),
        Some(("*", "")) => (!text.starts_with(' ')).then_some(text.len()),
        Some(("@", wanted)) => {
            let missing = wanted.parse::<usize>().expect("a column").saturating_sub(column);
            (run(text, blank) >= missing).then_some(missing)
        }
        Some(("x", digits)) => {
            let len = run(text, |byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
            (len >= digits.parse().expect("a number of digits")).then_some(len)
        }
        Some(_) => {
            let width: usize = kind.parse().unwrap_or_else(|_| panic!("{{{kind}}}"));
            let blanks = run(text, blank);
            let len = blanks + some(run(&text[blanks..], u8::is_ascii_digit))?;
            (len == width || len > width && blanks == 0).then_some(len)
        }
    }
}

/// How many of `lines` the rows take; else the number of the first line that fits nowhere,
/// and the row that was wanted.
fn fit(items: &[Item], lines: &[&str]) -> Result<usize, (usize, String)> {
    let mut at = 0;
    for item in items {
        match item {
            Item::Absent(_) => {}
            Item::Row { forms, again, .. } => {
                let fits = |line: &&str| forms.iter().any(|form| has_form(form, line));
                if !lines.get(at).is_some_and(fits) {
                    return Err((at, forms.join("` or `")));
                }
                at += 1;
                while *again && lines.get(at).is_some_and(fits) {
                    at += 1;
                }
            }
            Item::Group(items) => {
                at += fit(items, &lines[at..]).map_err(|(line, wanted)| (at + line, wanted))?;
                while at < lines.len() {
                    match fit(items, &lines[at..]) {
                        Ok(len) => at += len,
                        // The group has come to its end, unless it had begun again.
                        Err((0, _)) => break,
                        Err((line, wanted)) => return Err((at + line, wanted)),
                    }
                }
            }
        }
    }
    Ok(at)
}

/// What is wrong with a file, in one line.
fn check(items: &[Item], text: &str) -> Result<(), String> {
    let lines: Vec<&str> = text.split_terminator('\n').collect();
    let (at, wanted) = match fit(items, &lines) {
        Ok(len) if len == lines.len() => return Ok(()),
        Ok(len) => (len, "the end".to_owned()),
        Err((at, wanted)) => (at, wanted),
    };
    Err(format!("line {} is `{}`, wanted `{wanted}`", at + 1, lines.get(at).unwrap_or(&"the end")))
}

/// The guest's text of each file, and the names in its `/proc`.
fn read_in_guest(files: impl Iterator<Item = String>) -> (BTreeMap<String, String>, Vec<String>) {
    const MARK: &str = "====> ";
    // A module for `modules` to show.
    let mut script = "insmod /.pagewalk/lib/modules/sample_vmalloc.ko\nls /proc\n".to_owned();
    for name in files {
        script += &format!("echo '{MARK}{name}'; cat /proc/{}\n", name.replace("PID", "self"));
    }
    let mut disk = tempfile::NamedTempFile::new().expect("a disk");
    disk.write_all(&[0; 1 << 20]).expect("a disk");
    let mut command = pagewalk();
    // The self-test leaves areas behind for vmallocinfo to show.
    command.args(["run", "--memory", "2048M", "--append", "selftest=vmalloc", "--disk"]).arg(disk.path());
    let output = with_input(&mut command, &script);
    assert!(output.status.success(), "{}", output.status);
    let printed = String::from_utf8(output.stdout).expect("text");
    let mut parts = printed.split(MARK);
    let names = parts.next().expect("the list").lines().map(str::to_owned).collect();
    let texts = parts.map(|part| part.split_once('\n').expect("a name"));
    (texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect(), names)
}

fn files() {
    let (shapes, absent) = shapes();
    let (texts, names) = read_in_guest(shapes.keys().cloned());
    let wrong: Vec<String> = shapes
        .iter()
        .filter_map(|(name, items)| check(items, &texts[name]).err().map(|why| format!("{name}: {why}")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for name in names.iter().filter(|name| !name.bytes().all(|byte| byte.is_ascii_digit())) {
        // Links, directories and files of words have no text.
        let others = ["irq", "kpagecount", "kpageflags", "mounts", "self", "sys", "thread-self", "tty"];
        let known = shapes.contains_key(name) || others.contains(&name.as_str());
        assert!(known, "/proc/{name} has no section in proc_formats.txt");
        assert!(!absent.contains(name), "/proc/{name} is there");
    }
}

/// The rows of the table in `docs/deviations.md`: which files, what is absent.
fn table() -> Vec<(String, String)> {
    let path = root().join("docs/deviations.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cells = |line: &str| line.trim_matches('|').split_once('|').map(|(a, b)| (a.to_owned(), b.replace('`', "")));
    text.lines().filter(|line| line.starts_with('|')).filter_map(cells).collect()
}

/// The rows that Linux or the guest kernel alone has, by their words.
fn differing_rows(items: &[Item]) -> Vec<&str> {
    fn of(item: &Item) -> Vec<&str> {
        match item {
            Item::Absent(name) => vec![name],
            Item::Group(items) => differing_rows(items),
            Item::Row { forms, own: true, .. } => {
                forms.iter().map(|form| form.rsplit("} ").next().unwrap_or(form)).collect()
            }
            Item::Row { .. } => Vec::new(),
        }
    }
    items.iter().flat_map(of).collect()
}

fn deviations() {
    let (shapes, absent) = shapes();
    let table = table();
    let listed = |file: &str, name: &str| {
        let named = |part: &str| part.trim().starts_with(name);
        let words = |text: &str| {
            text.split(", ").flat_map(|part| part.split("; ")).flat_map(|part| part.split(": ")).any(named)
        };
        table.iter().any(|(files, what)| files.contains(&format!("`{file}`")) && words(what))
    };
    let mut missing = Vec::new();
    for (file, items) in &shapes {
        for name in differing_rows(items).into_iter().filter(|name| !listed(file, name)) {
            missing.push(format!("{file}: {name}"));
        }
    }
    for name in &absent {
        let whole = |files: &str| files.contains(&format!("`{name}`"));
        let of_process = name.strip_prefix("PID/").is_some_and(|name| listed("PID/", name));
        if !of_process && !table.iter().any(|(files, _)| whole(files)) {
            missing.push(format!("the file {name}"));
        }
    }
    assert!(missing.is_empty(), "docs/deviations.md does not name {}", missing.join(", "));
}

fn the_comparison_itself() {
    let shape = "= head\n- gone\n(\n= name: {w}\n= size:{5} kB\n+ at {x4} {@8} {*}\n| at {x4}\\_\n)\n= end {} {i}";
    let items = items(&mut shape.lines().peekable());
    let good =
        "head\nname: a\nsize:   12 kB\nat 00ff  here\nname: b\nsize:123456 kB\nat 0000 \nat 123456  x\nend 1 -2\n";
    assert_eq!(check(&items, good), Ok(()));
    assert_eq!(differing_rows(&items), ["gone"]);
    for (from, to, line) in [
        ("head\n", "", 1),
        ("size:   12 kB", "size:  12 kB", 3),
        ("size:   12 kB\nat 00ff  here", "at 00ff  here\nsize:   12 kB", 3),
        ("name: a", "name: a b", 2),
        ("at 00ff  here", "at 00ff   here", 4),
        ("at 00ff", "at ff", 4),
        ("size:123456 kB", "size: 123456 kB", 6),
        ("at 0000 ", "at 0000", 7),
        ("end 1 -2\n", "end 1 -2\nmore\n", 10),
        ("end 1 -2\n", "", 9),
    ] {
        assert!(good.contains(from));
        let why = check(&items, &good.replacen(from, to, 1)).unwrap_err();
        assert!(why.starts_with(&format!("line {line} is ")), "{from} -> {to}: {why}");
    }
}
