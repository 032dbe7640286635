//! A process's own view of its memory, from `/proc`.

use std::{fs, io, ops::Range};

/// A line of `/proc/PID/maps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The addresses.
    pub range: Range<usize>,
    /// The line as the kernel wrote it.
    pub line: String,
}

impl Mapping {
    /// What is mapped: a path, `[heap]`, `[stack]` or nothing.
    pub fn name(&self) -> &str {
        self.line.splitn(6, ' ').nth(5).unwrap_or_default().trim_start()
    }

    /// Permissions, as `rw-p`.
    pub fn permissions(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// All mappings of a process (`self` or a number), in order of address.
pub fn read(pid: &str) -> io::Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// This process's mappings that overlap `range`.
pub fn overlapping(range: Range<usize>) -> io::Result<Vec<Mapping>> {
    let mut mappings = read("self")?;
    mappings.retain(|m| m.range.start < range.end && range.start < m.range.end);
    Ok(mappings)
}

/// Page faults of this process so far that needed no disk (`minflt` of `/proc/self/stat`).
pub fn minor_faults() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold spaces; `minflt` is the eighth field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let minflt = fields.split_whitespace().nth(7).and_then(|field| field.parse().ok());
    minflt.ok_or_else(|| io::Error::other("/proc/self/stat: unexpected contents"))
}

fn parse(line: &str) -> Option<Mapping> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(Mapping { range: address(start)?..address(end)?, line: line.to_string() })
}
