//! `pagewalk help`, completions and man pages: all from the command's own definition, with examples.

mod examples;
mod usage;

use std::{fs, path::Path};

use clap::{Args, Command as Clap, CommandFactory, Subcommand};
use clap_complete::Shell;

use crate::{
    cli::Cli,
    error::{Error, status},
    lens::write_out,
};
use examples::EXAMPLES;
pub use usage::{unknown_command, words};

/// What can be read about, and what it is.
const TOPICS: [(&str, &str, &str); 11] = [
    ("running", "programs, kernels, ROMs; how a run ends", include_str!("topics/running.txt")),
    ("looking", "where a machine comes from, and lenses on it", include_str!("topics/looking.txt")),
    ("addresses", "how an address is written", include_str!("topics/addresses.txt")),
    ("control", "pause, step, save and restore a running machine", include_str!("topics/control.txt")),
    ("snapshots", "saved machines", include_str!("topics/snapshots.txt")),
    ("debugging", "gdb on the machine", include_str!("topics/debugging.txt")),
    ("tracing", "following a run; counters over time", include_str!("topics/tracing.txt")),
    ("disks", "disk images and swap", include_str!("topics/disks.txt")),
    ("cpus", "several CPUs, and their schedules", include_str!("topics/cpus.txt")),
    ("exit", "exit statuses", include_str!("topics/exit.txt")),
    ("scripts", "completions, man pages, JSON", include_str!("topics/scripts.txt")),
];
/// The topic that is made from the lenses' own list.
const LENSES: &str = "lenses";

/// Commands about the command.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Help on a topic or a command, with examples. Without one: what there is.
    Help {
        /// A topic, or a command and one under it.
        #[arg(value_name = "TOPIC")]
        words: Vec<String>,
    },
    /// Print a script that completes this command's words in a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the man page, or write it and one for each command to a folder.
    Man(ManArgs),
}

/// Options of `pagewalk man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The folder, made if it is not there.
    #[arg(short, long, value_name = "DIR")]
    output: Option<std::path::PathBuf>,
}

impl Command {
    /// Prints or writes it.
    pub fn execute(&self) -> Result<u8, Error> {
        match self {
            Command::Help { words } => print(help(words)?.as_bytes()),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut definition(), "pagewalk", &mut script);
                print(&script)
            }
            Command::Man(ManArgs { output: Some(folder) }) => {
                fs::create_dir_all(folder).map_err(Error::file(folder))?;
                write_pages(folder)?;
                Ok(status::SUCCESS)
            }
            Command::Man(ManArgs { output: None }) => print(&page("pagewalk", definition())?),
        }
    }
}

/// The command's definition, with examples.
pub fn definition() -> Clap {
    EXAMPLES.iter().fold(Cli::command(), |cli, &(name, lines)| {
        // A command that is not in this version has no example either.
        if cli.find_subcommand(name).is_none() {
            return cli;
        }
        cli.mut_subcommand(name, |command| {
            let before = command.get_after_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
            let lines: String = lines.lines().map(|line| format!("\n  {line}")).collect();
            command.after_help(format!("{before}Examples:{lines}"))
        })
    })
}

/// The text for some words.
fn help(words: &[String]) -> Result<String, Error> {
    let Some(first) = words.first() else { return Ok(overview()) };
    if words.len() == 1 {
        if first == LENSES {
            return Ok(lenses());
        }
        if let Some((.., text)) = TOPICS.iter().find(|(name, ..)| name == first) {
            return Ok((*text).to_owned());
        }
    }
    let mut command = definition();
    // Names a command in full, as in its own --help.
    command.build();
    let mut found = &mut command;
    for word in words {
        let names: Vec<String> = found.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        let topics = TOPICS.iter().map(|(name, ..)| *name).chain([LENSES]);
        let known = names.iter().map(String::as_str).chain(topics);
        let hint = inspect::nearest(word, known).map(|near| format!(" (is it `{near}`?)")).unwrap_or_default();
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            Error::Usage(format!("there is no help on `{word}`{hint}; `pagewalk help` lists what there is"))
        })?;
    }
    Ok(found.render_long_help().to_string())
}

fn overview() -> String {
    let mut text = "`pagewalk help TOPIC` and `pagewalk help COMMAND` tell more, with examples.\n\nTopics\n".to_owned();
    for (name, what, _) in TOPICS.iter().chain([&(LENSES, "every lens and its words", "")]) {
        text += &format!("  {name:12} {what}\n");
    }
    text += "\nCommands\n";
    for command in definition().get_subcommands().filter(|command| !command.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        text += &format!("  {:12} {}\n", command.get_name(), about.lines().next().unwrap_or_default());
    }
    text
}

fn lenses() -> String {
    let width = inspect::HELP.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let rows: String = inspect::HELP.iter().map(|(usage, what)| format!("  {usage:width$}  {what}\n")).collect();
    format!(
        "Lenses, as commands, in the monitor (Ctrl-A c), in gdb (monitor …), through the control socket\n\n{rows}\n\
         As commands they take --vm NAME or --snapshot FILE, --json, --watch SECONDS.\n"
    )
}

/// One man page.
fn page(name: &str, command: Clap) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    let command = command.display_name(name).bin_name(name.replace('-', " "));
    clap_mangen::Man::new(command)
        .title(name)
        .render(&mut text)
        .map_err(|e| Error::CannotStart(format!("the man page: {e}")))?;
    Ok(text)
}

/// A page for the command and one for each under it, named as `git` names its own.
fn write_pages(folder: &Path) -> Result<(), Error> {
    let write = |name: &str, command: Clap| {
        let file = folder.join(format!("{name}.1"));
        fs::write(&file, page(name, command)?).map_err(Error::file(&file))
    };
    let whole = definition();
    for command in whole.get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = format!("pagewalk-{}", command.get_name());
        write(&name, command.clone())?;
    }
    write("pagewalk", whole)
}

fn print(bytes: &[u8]) -> Result<u8, Error> {
    write_out(bytes).map(|()| status::SUCCESS).map_err(|error| Error::CannotStart(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        help(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn every_command_has_help_and_an_example_that_it_understands() {
        let whole = definition();
        whole.clone().debug_assert();
        for command in whole.get_subcommands().filter(|command| !command.is_hide_set()) {
            let text = of(command.get_name()).unwrap();
            assert!(text.contains("Usage: pagewalk"), "{text}");
            let of_command = EXAMPLES.iter().find(|(name, _)| *name == command.get_name());
            assert!(of_command.is_some() && text.contains("Examples:"), "`{}` has no example", command.get_name());
        }
        for line in EXAMPLES.iter().flat_map(|(_, lines)| lines.lines()) {
            understood(line);
        }
    }

    #[test]
    fn every_command_in_a_topic_is_understood() {
        for (name, _, text) in TOPICS {
            let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    pagewalk ")).collect();
            for line in &lines {
                let command = line.split("   ").next().unwrap_or_default();
                understood(&format!("pagewalk {command}"));
            }
            assert!(!lines.is_empty() || name == "exit", "{name} has no example");
        }
    }

    /// The command parses, up to where a shell would take over.
    fn understood(line: &str) {
        let words = line
            .split_whitespace()
            .take_while(|word| !["&", "|", "2>stats.json"].contains(word) && !word.starts_with('>'));
        let words: Vec<String> = words.map(|word| word.replace(['\'', '"'], "")).collect();
        let parsed = definition().try_get_matches_from(&words);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        assert_eq!(words[0], "pagewalk", "{line}");
    }

    #[test]
    fn help_on_what_there_is_not_says_what_is_near() {
        assert!(of("").unwrap().contains("\nTopics\n"));
        assert!(of("lenses").unwrap().contains("walk ADDR [--cpu N] [--pid N]"));
        assert!(of("image kernel").unwrap().contains("Usage: pagewalk image kernel"));
        assert_eq!(
            of("adresses").unwrap_err(),
            "there is no help on `adresses` (is it `addresses`?); `pagewalk help` lists what there is"
        );
        assert_eq!(of("qqqqqq").unwrap_err(), "there is no help on `qqqqqq`; `pagewalk help` lists what there is");
    }

    #[test]
    fn man_pages_have_the_commands_words() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("pagewalk-walk.1")).unwrap();
        assert!(text.starts_with(".ie") && text.contains(".TH") && text.contains("pagewalk walk main"), "{text}");
        assert!(folder.path().join("pagewalk.1").is_file());
    }
}
