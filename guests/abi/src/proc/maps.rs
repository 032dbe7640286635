//! `/proc/PID/maps`.

use crate::books::{MmRecord, VmaRecord, vm};
use crate::{Out, out};

/// Column where a mapping's name starts, unless numbers are long.
const NAME_COLUMN: usize = 49;

/// One area, as far as its line shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// First address.
    pub start: u32,
    /// First address after.
    pub end: u32,
    /// `VM_*` bits.
    pub flags: u32,
    /// Offset in the file, in bytes; 0 for anonymous memory.
    pub offset: u64,
    /// Major number of the file's device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Inode number.
    pub ino: u32,
}

impl Row {
    /// The row of an area; `file` is the device (major, minor) and the inode number of its file.
    pub fn of(area: &VmaRecord, file: Option<(u32, u32, u32)>) -> Row {
        let row = Row { start: area.start, end: area.end, flags: area.flags, ..Row::default() };
        match file {
            Some((major, minor, ino)) => Row { offset: u64::from(area.pgoff) << 12, major, minor, ino, ..row },
            None => row,
        }
    }
}

/// The name of an area without a file, if it has one.
pub fn anonymous_name(mm: &MmRecord, area: &VmaRecord) -> Option<&'static [u8]> {
    if mm.start_brk != 0 && area.start <= mm.brk && area.end >= mm.start_brk {
        Some(b"[heap]")
    } else if area.start <= mm.start_stack && area.end >= mm.start_stack {
        Some(b"[stack]")
    } else {
        None
    }
}

/// Writes the name of an area.
pub type WriteName<'a> = &'a dyn Fn(&mut dyn Out);

/// Writes one line; `name` writes the path or the name in brackets, if there is one.
pub fn line(out: &mut dyn Out, row: &Row, name: Option<WriteName<'_>>) {
    let flag = |bit: u32, letter: char| if row.flags & bit != 0 { letter } else { '-' };
    let shared = if row.flags & vm::MAYSHARE != 0 { 's' } else { 'p' };
    out!(
        out,
        "{:08x}-{:08x} {}{}{}{shared} {:08x} {:02x}:{:02x} {} ",
        row.start,
        row.end,
        flag(vm::READ, 'r'),
        flag(vm::WRITE, 'w'),
        flag(vm::EXEC, 'x'),
        row.offset,
        row.major,
        row.minor,
        row.ino
    );
    if let Some(name) = name {
        // Padded, and then a blank in any case.
        for _ in head_len(row)..NAME_COLUMN - 1 {
            out.bytes(b" ");
        }
        out.bytes(b" ");
        name(out);
    }
    out.bytes(b"\n");
}

/// Writes a name with the escape that `maps` uses for a line feed.
pub fn escaped(out: &mut dyn Out, name: &[u8]) {
    for (i, part) in name.split(|&b| b == b'\n').enumerate() {
        if i > 0 {
            out.bytes(b"\\012");
        }
        out.bytes(part);
    }
}

/// Characters before the name: the fixed columns and the numbers that may be longer.
fn head_len(row: &Row) -> usize {
    let hex = |value: u64, least: usize| (value.checked_ilog(16).unwrap_or(0) as usize + 1).max(least);
    let decimal = row.ino.checked_ilog10().unwrap_or(0) as usize + 1;
    18 + 5 + hex(row.offset, 8) + 1 + hex(row.major.into(), 2) + 1 + hex(row.minor.into(), 2) + 1 + decimal + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    fn text(row: Row, name: Option<&str>) -> String {
        let show = |out: &mut dyn Out| match name {
            Some(name) => line(out, &row, Some(&|out: &mut dyn Out| escaped(out, name.as_bytes()))),
            None => line(out, &row, None),
        };
        String::from_utf8(render(show)).unwrap()
    }

    #[test]
    fn lines_equal_those_of_a_real_kernel() {
        let rx = vm::READ | vm::EXEC;
        let file = Row { start: 0x0804_8000, end: 0x0804_9000, flags: rx, minor: 2, ino: 7, ..Row::default() };
        assert_eq!(text(file, Some("/bin/hello")), "08048000-08049000 r-xp 00000000 00:02 7          /bin/hello\n");
        let rw = vm::READ | vm::WRITE;
        let anon = Row { start: 0x0824_0000, end: 0x0824_4000, flags: rw, ..Row::default() };
        assert_eq!(text(anon, None), "08240000-08244000 rw-p 00000000 00:00 0 \n");
        let stack = Row { start: 0xbf92_9000, end: 0xbf94_a000, flags: rw, ..Row::default() };
        assert_eq!(text(stack, Some("[stack]")), "bf929000-bf94a000 rw-p 00000000 00:00 0          [stack]\n");
    }

    #[test]
    fn wide_numbers_push_the_name_and_line_feeds_are_escaped() {
        let row = Row { end: 0x1000, offset: 0x1_2345_6000, major: 0x103, ino: 4_000_000_000, ..Row::default() };
        assert_eq!(text(row, Some("/a\nb")), "00000000-00001000 ---p 123456000 103:00 4000000000  /a\\012b\n");
    }
}
