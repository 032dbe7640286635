//! `/proc/PID/limits`.

use crate::books::RLIM_NLIMITS;
use crate::{Out, out};

/// No limit.
pub const RLIM_INFINITY: u32 = u32::MAX;

/// Numbers of the limits.
pub mod resource {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const CPU: usize = 0;
    pub const FSIZE: usize = 1;
    pub const DATA: usize = 2;
    pub const STACK: usize = 3;
    pub const CORE: usize = 4;
    pub const RSS: usize = 5;
    pub const NPROC: usize = 6;
    pub const NOFILE: usize = 7;
    pub const MEMLOCK: usize = 8;
    pub const AS: usize = 9;
    pub const LOCKS: usize = 10;
    pub const SIGPENDING: usize = 11;
    pub const MSGQUEUE: usize = 12;
    pub const NICE: usize = 13;
    pub const RTPRIO: usize = 14;
    pub const RTTIME: usize = 15;
}

/// Name and unit of each limit, by its number.
const ROWS: [(&str, &str); RLIM_NLIMITS] = [
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
];

/// Writes the file: soft and hard limits, by their numbers.
pub fn write(out: &mut dyn Out, limits: impl IntoIterator<Item = [u32; 2]>) {
    out!(out, "{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for ((name, unit), limit) in ROWS.iter().zip(limits) {
        out!(out, "{name:<25} ");
        for value in limit {
            match value {
                RLIM_INFINITY => out!(out, "{:<20} ", "unlimited"),
                number => out!(out, "{number:<20} "),
            }
        }
        out!(out, "{unit:<10}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;
    use alloc::string::String;

    #[test]
    fn rows_equal_those_of_a_real_kernel() {
        let mut limits = [[RLIM_INFINITY; 2]; RLIM_NLIMITS];
        (limits[3], limits[13]) = ([8 << 20, RLIM_INFINITY], [0, 0]);
        let text = String::from_utf8(render(|out| write(out, limits))).unwrap();
        for want in [
            "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time ",
            "\nMax stack size            8388608              unlimited            bytes     \n",
            "\nMax nice priority         0                    0                              \n",
        ] {
            assert!(text.contains(want), "{text}");
        }
        assert_eq!(text.lines().count(), 1 + RLIM_NLIMITS);
    }
}
