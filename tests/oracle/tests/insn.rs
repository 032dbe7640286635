//! The instruction cases of `tests/insn/*.ins`, which need no silicon.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pagewalk_oracle::{
    catalogue::Catalogue,
    forms, line,
    line::Line,
    ours::{Ours, Pace},
    state::TF,
    text,
};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../insn");
    let entries = fs::read_dir(&folder).expect("tests/insn");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "ins"));
    files.sort();
    files
}

fn cases() -> impl Iterator<Item = (String, Line)> {
    files().into_iter().flat_map(|path| {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a readable file");
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let parse = |(i, text): (usize, &str)| {
            let place = format!("tests/insn/{name}:{}", i + 1);
            let line = Line::parse(text).unwrap_or_else(|error| panic!("{place}: {error}"));
            (place, line)
        };
        lines.map(parse).collect::<Vec<_>>()
    })
}

#[test]
fn every_case_ends_as_its_line_says() {
    for pace in [Pace::Slow, Pace::One, Pace::Block] {
        let mut ours = Ours::new(pace);
        let mut wrong = Vec::new();
        let mut count = 0;
        for (place, line) in cases() {
            count += 1;
            let found = ours.run(&line.bytes, &line.before, &line.data(), line.iterations());
            if let Some(difference) = line.difference(&found) {
                wrong.push(format!("{place}: {}\n    we: {difference}", line.print()));
            }
        }
        assert!(wrong.is_empty(), "{} of {count} cases differ by {pace:?}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count > 1000, "{count} cases are not all");
    }
}

#[test]
fn every_line_is_written_as_the_oracle_writes_it() {
    for (place, line) in cases() {
        let instruction = forms::decode(line.bits, &line.bytes, line.before.eip);
        assert_eq!(line.text, text(&instruction), "{place}");
        let again = Line::parse(&line.print()).expect("what is printed can be read");
        assert_eq!(again, line, "{place}");
        assert_eq!(line.before.bits(), line.bits, "{place}: CS is of another size");
    }
}

#[test]
fn a_line_reads_back_as_it_was_printed() {
    let text = "32 | 0f af 07 | imul eax,[edi] | eax=ffffffff edi=20000ffe [20000ffe]=01020304 \
                => #PF(4) cr2=20001000 eflags=10202 UNDEFINED";
    let line = Line::parse(text).unwrap();
    assert_eq!(line.print(), text);
    assert!(line.undefined && line.before.eflags & TF == 0);
    let mut data = vec![0; 0x3000];
    line::patch(&mut data, &[(0x1fff_fffe, vec![1, 2, 3])]);
    assert_eq!(data[..2], [3, 0], "what lies before the data is not written");
}

#[test]
fn bad_lines_are_refused_in_words() {
    for (text, error) in [
        ("32 | 90 | nop", "not four fields between |"),
        ("32 | 90 | nop | eax=1", "no =>"),
        ("32 | 9x | nop | =>", "9x is no hexadecimal number"),
        ("32 | 90 | nop | rax=1 =>", "rax is no register"),
        ("32 | 90 | nop | => #XX", "#XX is no exception"),
    ] {
        assert_eq!(Line::parse(text).unwrap_err(), error);
    }
}

#[test]
fn what_the_model_lacks_is_no_part_of_its_forms() {
    use iced_x86::Code;
    let catalogue = Catalogue::new(&mut Ours::new(Pace::Slow));
    assert!(catalogue.is_modelled(Code::Paddb_xmm_xmmm128) && catalogue.is_modelled(Code::Lar_r32_r32m16));
    assert!(!catalogue.is_modelled(Code::VEX_Vaddps_xmm_xmm_xmmm128));
    assert!(!catalogue.is_modelled(Code::Mov_r64_rm64) && !catalogue.is_modelled(Code::DeclareByte));
}
