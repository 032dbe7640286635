//! `diff A B`: two saved machines side by side.

use std::path::Path;

use super::{LensError, Shown, command::saved, print, view::Known};

/// Shows what changed from the machine in `a` to that in `b`.
pub fn show(a: &Path, b: &Path, json: bool) -> Result<(), LensError> {
    let (before, after) = (saved(a)?, saved(b)?);
    let (known_before, known_after) = (Known::of(&before), Known::of(&after));
    let answer = known_before.look(&before, |before| known_after.look(&after, |after| inspect::diff(before, after)))?;
    print(Shown::of(answer, json))
}
