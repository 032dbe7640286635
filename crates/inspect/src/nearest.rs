//! What somebody may have meant who mistyped a word.

/// The candidate that `word` is most like, if it is like one at all: a third of its letters may differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Nobody mistypes more than this.
    const LONGEST: usize = 40;
    let most = word.chars().count().div_ceil(3);
    let near = |candidate: &&str| (1..=most).contains(&distance(word, candidate));
    let candidates = candidates.into_iter().filter(|candidate| candidate.len() <= LONGEST && word.len() <= LONGEST);
    candidates.filter(near).min_by_key(|candidate| distance(word, candidate))
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for (i, &of_a) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &of_b) in b.iter().enumerate() {
            let replaced = rows[i][j] + usize::from(of_a != of_b);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && of_a == b[j - 1] && a[i - 1] == of_b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_is_known_and_another_one_is_not() {
        let words = ["maps", "smaps", "pmap", "pagetable", "x"];
        for (word, near) in [
            ("masp", Some("maps")),
            ("map", Some("maps")),
            ("pagetabel", Some("pagetable")),
            ("pagetables", Some("pagetable")),
            ("maps", Some("smaps")),
            ("verify", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), near, "{word}");
        }
    }
}
