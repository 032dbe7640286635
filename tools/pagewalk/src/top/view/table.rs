//! Rows in columns, as text: what does not fit goes, the least important column first.

use ratatui::text::Span;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// Cells that it takes; that of the last one is its least, and it takes what is left.
    pub width: usize,
    /// Numbers stand at the right.
    pub right: bool,
    /// The higher, the earlier it goes when there is no room.
    pub rank: u8,
}

/// A column of numbers.
pub const fn number(head: &'static str, width: usize, rank: u8) -> Column {
    Column { head, width, right: true, rank }
}

/// A column of words.
pub const fn words(head: &'static str, width: usize, rank: u8) -> Column {
    Column { head, width, right: false, rank }
}

/// The columns that fit into so many cells, by their places; the last one always does.
pub fn fit(columns: &[Column], width: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needed = |shown: &[usize]| shown.iter().map(|&at| columns[at].width + 1).sum::<usize>();
    while shown.len() > 1 && needed(&shown) > width + 1 {
        let last = shown.len() - 1;
        let least = (0..last).max_by_key(|&at| columns[shown[at]].rank).unwrap_or(0);
        shown.remove(least);
    }
    shown
}

/// The heads of these columns.
pub fn head(columns: &[Column], shown: &[usize]) -> String {
    let heads: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    row(columns, shown, &heads)
}

/// A row in these columns.
pub fn row(columns: &[Column], shown: &[usize], cells: &[String]) -> String {
    let mut line = String::new();
    for (place, &at) in shown.iter().enumerate() {
        let is_last = place + 1 == shown.len();
        let text = cells.get(at).map_or("", String::as_str);
        let column = columns[at];
        match (column.right, is_last) {
            (false, true) => line += text,
            (right, _) => {
                let text = cut(text, column.width);
                let blank = " ".repeat(column.width.saturating_sub(cells_of(&text)));
                line += &if right { blank + &text } else { text + &blank };
            }
        }
        if !is_last {
            line.push(' ');
        }
    }
    line
}

/// All columns of all rows, below their heads.
pub fn per_column_text(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> String {
    let all: Vec<usize> = (0..columns.len()).collect();
    let rows = rows.map(|cells| row(columns, &all, &cells));
    std::iter::once(head(columns, &all)).chain(rows).map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Cells that a text takes on a terminal.
pub fn cells_of(text: &str) -> usize {
    Span::raw(text).width()
}

/// As much of a text as fits into so many cells; where some is missing a `+` says so, as `top` has it.
pub fn cut(text: &str, width: usize) -> String {
    if cells_of(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if cells_of(&kept) + 1 > width {
            kept.pop();
            break;
        }
    }
    kept.push('+');
    if width == 0 { String::new() } else { kept }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at != 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A figure that may be missing, with so many decimals.
pub fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".into(), |value| format!("{value:.decimals$}"))
}

/// A whole number that may be missing.
pub fn whole(value: Option<u64>) -> String {
    value.map_or("-".into(), |value| value.to_string())
}

/// So many cells, of which a share is filled.
pub fn bar(part: u64, whole: u64, width: usize) -> String {
    let filled = if whole == 0 { 0 } else { (part.min(whole) as f64 / whole as f64 * width as f64).round() as usize };
    "█".repeat(filled) + &"░".repeat(width - filled.min(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [number("PID", 5, 0), words("STATE", 6, 2), number("RSS", 6, 1), words("NAME", 8, 0)];

    #[test]
    fn columns_go_by_rank_when_there_is_no_room() {
        assert_eq!(fit(&COLUMNS, 80), [0, 1, 2, 3]);
        assert_eq!(fit(&COLUMNS, 28), [0, 1, 2, 3]);
        assert_eq!(fit(&COLUMNS, 27), [0, 2, 3]);
        assert_eq!(fit(&COLUMNS, 15), [0, 3]);
        assert_eq!(fit(&COLUMNS, 3), [3]);
        assert_eq!(head(&COLUMNS, &[0, 1, 3]), "  PID STATE  NAME");
    }

    #[test]
    fn cells_are_cut_and_padded_by_their_width_on_the_terminal() {
        let cells = ["123456789", "界界界界", "7", "a name of some length"].map(str::to_owned);
        assert_eq!(row(&COLUMNS, &[0, 1, 2, 3], &cells), "1234+ 界界+       7 a name of some length");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab+");
        assert_eq!((cut("abcd", 1), cut("abcd", 0)), ("+".into(), String::new()));
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 41236688].map(grouped), ["0", "999", "1,000", "41,236,688"]);
        assert_eq!((figure(Some(1.26), 1), figure(None, 1), whole(None)), ("1.3".into(), "-".into(), "-".into()));
        assert_eq!((bar(1, 2, 4), bar(0, 0, 2), bar(9, 3, 2)), ("██░░".into(), "░░".into(), "██".into()));
    }
}
