//! A report without what moves from one build of the kernel to the next.

/// Addresses of entries and frames, the kernel's addresses, counts and symbols are replaced; a program's own
/// addresses stay, and so do the flags of an entry. CPUs are counted in the order in which they are named.
pub fn shape(report: &str) -> String {
    let report = with_cpus_in_order(report);
    let lines = report.trim().lines().map(|line| {
        // How large the guest's own programs are, and how many files it has, is not what this is about.
        if let Some((_, path)) = line.split_once("/.pagewalk/bin/") {
            return format!("{}/.pagewalk/bin/{path}", &line[..11.min(line.len())]);
        }
        let is_area = ["VMA", "below", "above"].iter().any(|name| line.trim().starts_with(name));
        let physical = ["PDPTE", "PDE", "PTE", "TLB", "changed"].iter().any(|name| line.trim().starts_with(name));
        let line = match line.split_once("  stack    ") {
            // Who called in the kernel is the compiler's choice; the innermost frame is not.
            Some((_, frames)) if frames.contains("::") => {
                format!("  stack    {}", frames.split(" < ").next().unwrap_or_default())
            }
            Some(_) => line.to_owned(),
            None => without_symbol(line),
        };
        line.split(' ')
            .map(|text| if is_area && is_number(text) { "N".to_owned() } else { word(text, physical) })
            .collect::<Vec<_>>()
            .join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Which CPU a thread got is the scheduler's choice at that instant.
fn with_cpus_in_order(report: &str) -> String {
    let mut known = Vec::new();
    let mut parts = report.split("CPU ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text += "CPU ";
        let (number, rest) = part.split_at(part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len()));
        if number.is_empty() {
            text += part;
            continue;
        }
        let at = known.iter().position(|&cpu| cpu == number).unwrap_or_else(|| {
            known.push(number);
            known.len() - 1
        });
        text += &format!("{at}{rest}");
    }
    text
}

/// A symbol in brackets is a function of the kernel with its offset, and may have blanks.
fn without_symbol(line: &str) -> String {
    let begin = line.match_indices(" <").map(|(at, _)| at).find(|at| !line[at + 2..].starts_with('-'));
    match (begin, line.rfind('>')) {
        (Some(begin), Some(end)) if begin < end => format!("{} <symbol>{}", &line[..begin], &line[end + 1..]),
        _ => line.to_owned(),
    }
}

fn word(word: &str, physical: bool) -> String {
    let core = word.trim_matches([',', ':', '(', ')', '[', ']', '.', ';']);
    let core = core.rsplit([':', '=']).next().unwrap_or(core);
    let digits = core.strip_prefix("0x").unwrap_or_default();
    let shape = match u64::from_str_radix(digits, 16) {
        Ok(value) if digits.len() >= 8 => hex(value, physical),
        Err(_) if core.len() >= 3 && core.chars().all(|c| c.is_ascii_digit()) => "N".to_owned(),
        _ => return word.split_once("+0x").map_or(word.to_owned(), |(symbol, _)| format!("{symbol}+N")),
    };
    word.replace(core, &shape)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// Of what is physical the last three digits do not move; of what is the kernel's everything does.
fn hex(value: u64, physical: bool) -> String {
    match value {
        0xc000_0000.. if value >> 32 == 0 => "0x…".to_owned(),
        _ if physical && value & 0xffff_ffff < 0x1000_0000 => format!("0x…{:03x}", value & 0xfff),
        _ => format!("{value:#010x}"),
    }
}
