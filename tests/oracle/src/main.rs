//! The command that compares our processor with the host's and prints the table by family.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Runs random instructions on the host's processor and on ours and compares everything.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Cases in all.
    #[arg(long, default_value_t = 200_000)]
    cases: u64,
    /// Where the random numbers begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processes; each takes its part of the cases.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Only instruction forms whose name in iced's `Code` begins so.
    #[arg(long, default_value = "")]
    only: String,
    /// Print up to this many lines of a .ins file for each form and size of code, by family, instead of comparing.
    #[arg(long, default_value_t = 0)]
    lines: usize,
    /// Run the lines of this .ins file instead, each many times on the host, and print what differs from the line.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> ExitCode {
    match command::main(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("oracle: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() -> ExitCode {
    Options::parse();
    eprintln!("oracle: needs x86-64 Linux, whose processor it asks");
    ExitCode::FAILURE
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod command {
    use std::{
        collections::{BTreeMap, BTreeSet},
        env,
        error::Error,
        fs,
        path::Path,
        process::{Command, ExitCode, Stdio},
    };

    use iced_x86::{Code, Mnemonic};
    use pagewalk_oracle::{
        catalogue::{Verdict, family},
        forms,
        line::Line,
        run::Run,
        state::End,
        table::Table,
    };

    use super::Options;

    pub fn main(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
        let mut run = Run::new(options.seed).map_err(|needs| format!("needs {needs}"))?;
        if options.lines > 0 {
            print_lines(options, &mut run);
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(path) = &options.replay {
            return replay(path, &mut run);
        }
        let table = if options.jobs > 1 { spread(options)? } else { one(options, &mut run) };
        if options.json {
            println!("{}", serde_json::to_string(&table)?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("{}", table.print());
        print_missing(&mut run, &table);
        for (why, cases) in &table.excused {
            println!("excused, {cases} cases: {why}");
        }
        for (code, (count, what, line)) in &table.differences {
            println!("{code}: {count} cases differ\n    {what}\n    {line}");
        }
        Ok(if table.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Tells of the lines in which a processor, the host's or ours, leaves what the line does not say.
    fn replay(path: &Path, run: &mut Run) -> Result<ExitCode, Box<dyn Error>> {
        const TIMES: u32 = 100;
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (mut lines, mut different) = (0, 0);
        for (i, text) in text.lines().enumerate().filter(|(_, text)| !text.is_empty() && !text.starts_with('#')) {
            let place = format!("{}:{}", path.display(), i + 1);
            let line = Line::parse(text).map_err(|error| format!("{place}: {error}"))?;
            lines += 1;
            let told = run.replay(&line, TIMES);
            if !told.is_empty() {
                different += 1;
                println!("{place}: {text}");
                told.iter().for_each(|what| println!("    {what}"));
            }
        }
        println!("{different} of {lines} lines differ");
        Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The shortest lines of each form, an exception among them.
    fn print_lines(options: &Options, run: &mut Run) {
        let mut forms: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
        for (family, line) in run.lines(options.cases, &options.only.to_lowercase()) {
            let code = forms::decode(line.bits, &line.bytes, line.before.eip).code();
            let faults = !matches!(line.end, End::Retired);
            let lines = forms.entry((family, format!("{code:?} {faults} {}", line.bits))).or_default();
            lines.push(line.print());
        }
        for ((family, _), mut lines) in forms {
            lines.sort_by_key(String::len);
            // Not the very shortest, which have nothing in them.
            let from = lines.len() / 3;
            for line in lines.iter().skip(from).take(options.lines) {
                println!("{family}: {line}");
            }
        }
    }

    fn one(options: &Options, run: &mut Run) -> Table {
        let mut table = Table::default();
        run.generator().skip(options.seed.wrapping_mul(7919) as usize);
        run.go(options.cases, &options.only.to_lowercase(), &mut table);
        table
    }

    /// Runs this program several times, each with its own seed.
    fn spread(options: &Options) -> Result<Table, Box<dyn Error>> {
        let children = (0..options.jobs).map(|job| {
            let cases = options.cases / options.jobs + u64::from(job < options.cases % options.jobs);
            let seed = options.seed.wrapping_mul(1000).wrapping_add(job);
            Command::new(env::current_exe()?)
                .args(["--json", "--cases", &cases.to_string(), "--seed", &seed.to_string(), "--only", &options.only])
                .stdout(Stdio::piped())
                .spawn()
        });
        let mut table = Table::default();
        for child in children.collect::<Result<Vec<_>, _>>()? {
            let output = child.wait_with_output()?;
            if !output.status.success() {
                return Err(format!("a process ended with {}", output.status).into());
            }
            table.add(serde_json::from_slice(&output.stdout)?);
        }
        Ok(table)
    }

    /// Names the forms of the modelled processor that were not run, with the reason.
    fn print_missing(run: &mut Run, table: &Table) {
        let generator = run.generator();
        let ran: BTreeSet<&String> = table.rows.values().flat_map(|row| row.forms.keys()).collect();
        let modelled: Vec<Code> = Code::values().filter(|&code| generator.catalogue().is_modelled(code)).collect();
        let mut not_run: Vec<String> = Vec::new();
        let mut total = 0;
        for &code in &modelled {
            let op_code = code.op_code();
            for (bits, has) in [(16, op_code.mode16()), (32, op_code.mode32())] {
                if !has {
                    continue;
                }
                total += 1;
                if !ran.contains(&format!("{code:?}/{bits}")) {
                    let reason = match generator.catalogue().verdict(code) {
                        Verdict::LeaveOut(reason) => reason,
                        Verdict::Compare if op_code.fwait() => "an assembler's name for WAIT and another instruction",
                        Verdict::Compare if code.mnemonic() == Mnemonic::Ud0 => "another maker's length of UD0",
                        Verdict::Compare => "not met",
                    };
                    not_run.push(format!("{code:?}/{bits} ({}): {reason}", family(code)));
                }
            }
        }
        println!("{} of {total} forms of the modelled processor were run; not run:", total - not_run.len());
        for line in not_run {
            println!("  {line}");
        }
    }
}
