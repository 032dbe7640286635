//! What is said when a command line can't be read: one line, with what to type instead.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::definition;
use crate::{cli::LATER_COMMANDS, error::Error};

/// The one line for an error of clap's.
pub fn words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line).to_owned();
    match hint(error) {
        Some(hint) => format!("{line}; {hint}"),
        None => line,
    }
}

fn hint(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
    let near = kinds.iter().find_map(|&kind| match error.get(kind)? {
        ContextValue::String(near) => Some(near.clone()),
        ContextValue::Strings(all) => all.first().cloned(),
        _ => None,
    });
    if let Some(near) = near {
        return Some(format!("did you mean `{near}`?"));
    }
    if !matches!(
        error.kind(),
        ErrorKind::MissingRequiredArgument | ErrorKind::UnknownArgument | ErrorKind::WrongNumberOfValues
    ) {
        return None;
    }
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let usage = usage.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("write `{}`", usage.strip_prefix("Usage: ").unwrap_or(&usage)))
}

/// A word that is no command.
pub fn unknown_command(name: &str) -> Error {
    if LATER_COMMANDS.contains(&name) {
        return Error::Later(format!("`{name}`"));
    }
    if Path::new(name).is_file() {
        return Error::Usage(format!("there is no command `{name}`; to run that file write `pagewalk run {name}`"));
    }
    let whole = definition();
    let names = whole.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name());
    let hint = match inspect::nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`pagewalk help` lists them".to_owned(),
    };
    Error::Usage(format!("there is no command `{name}`; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        words(&definition().try_get_matches_from(line.split_whitespace()).unwrap_err())
    }

    #[test]
    fn an_error_says_what_to_type_instead() {
        assert!(said("pagewalk run --memroy 3M x").ends_with("; did you mean `--memory`?"));
        let missing = said("pagewalk maps");
        assert!(missing.contains("<PID>; write `pagewalk maps "), "{missing}");
        assert!(said("pagewalk run --cpu-model core3 x").ends_with("; did you mean `core2`?"));
        assert!(said("pagewalk run --memory x y").contains("write a number with K, M or G, such as 256M"));
        assert!(said("pagewalk ps 3").contains("; write `pagewalk ps"), "{}", said("pagewalk ps 3"));
    }

    #[test]
    fn a_command_that_there_is_not_is_guessed() {
        let said = |name: &str| unknown_command(name).to_string();
        assert_eq!(said("maqs"), "there is no command `maqs`; did you mean `maps`?");
        assert_eq!(said("replay"), "`replay` is not in this version");
        assert_eq!(said("frobnicate"), "there is no command `frobnicate`; `pagewalk help` lists them");
        assert_eq!(
            said("Cargo.toml"),
            "there is no command `Cargo.toml`; to run that file write `pagewalk run Cargo.toml`"
        );
    }
}
