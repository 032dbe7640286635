//! A sample of the privileged cases in Bochs and here; the table of a full run is in `docs/fidelity.md`.

use std::env;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let has_bochs =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join("bochs").is_file()));
    if !has_bochs {
        eprintln!("privileged_cases_end_as_in_bochs: skipped: needs bochs");
    }
    let trials = vec![
        Trial::test("privileged_cases_end_as_in_bochs", || {
            pagewalk_privileged::agrees_with_bochs().map_err(Failed::from)
        })
        .with_ignored_flag(!has_bochs),
        Trial::test("both_engines_end_privileged_cases_alike", || {
            pagewalk_privileged::engines_agree().map_err(Failed::from)
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
