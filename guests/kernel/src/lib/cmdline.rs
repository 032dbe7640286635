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
