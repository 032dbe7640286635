//! The kernel's parameters.

use crate::sync::Once;

static LINE: Once<&'static str> = Once::new();

/// Keeps the line for all who ask later.
pub fn init(line: &'static str) {
    LINE.set(line);
}

/// The whole line, as `/proc/cmdline` shows it.
pub fn command_line() -> &'static str {
    LINE.try_get().copied().unwrap_or("")
}

/// The value of the last `key=value`; an empty string for a bare `key`.
pub fn value_of(key: &str) -> Option<&'static str> {
    command_line().split_ascii_whitespace().rev().find_map(|word| match word.strip_prefix(key)? {
        "" => Some(""),
        rest => rest.strip_prefix('='),
    })
}

/// Linux's level of ordinary lines.
const KERN_INFO: u32 = 6;
/// What `quiet` makes of the console's level.
const QUIET_LOGLEVEL: u32 = 4;

/// Whether `loglevel=`, `quiet` and `ignore_loglevel` let ordinary lines reach the console.
/// What a failing kernel says always does.
pub fn console_shows_info() -> bool {
    let level = value_of("loglevel").and_then(|text| text.parse().ok());
    let level = level.or_else(|| value_of("quiet").map(|_| QUIET_LOGLEVEL));
    value_of("ignore_loglevel").is_some() || level.is_none_or(|level: u32| level > KERN_INFO)
}

/// A number with Linux's suffixes K, M and G (`memparse`).
pub fn memparse(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}
