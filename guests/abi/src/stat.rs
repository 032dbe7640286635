//! File types and what `stat` and its kin return.

use crate::wire::{Writer, record};

/// Bits of `st_mode`.
pub mod mode {
    #![allow(missing_docs, reason = "Linux's names")]
    pub const S_IFMT: u32 = 0o170_000;
    pub const S_IFSOCK: u32 = 0o140_000;
    pub const S_IFLNK: u32 = 0o120_000;
    pub const S_IFREG: u32 = 0o100_000;
    pub const S_IFBLK: u32 = 0o060_000;
    pub const S_IFDIR: u32 = 0o040_000;
    pub const S_IFCHR: u32 = 0o020_000;
    pub const S_IFIFO: u32 = 0o010_000;
    pub const S_ISUID: u32 = 0o4000;
    pub const S_ISGID: u32 = 0o2000;
    pub const S_ISVTX: u32 = 0o1000;
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Timespec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nsec: u32,
}

/// Everything that the calls of the `stat` family know of a file.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Kstat {
    pub dev: (u32, u32),
    pub ino: u64,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: (u32, u32),
    pub size: u64,
    pub blksize: u32,
    /// Of 512 bytes.
    pub blocks: u64,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
}

/// Linux's `new_encode_dev`.
pub const fn encode_dev((major, minor): (u32, u32)) -> u32 {
    minor & 0xff | major << 8 | (minor & !0xff) << 12
}

/// The inverse of [`encode_dev`].
pub const fn decode_dev(dev: u32) -> (u32, u32) {
    (dev >> 8 & 0xfff, dev & 0xff | dev >> 12 & 0xf_ff00)
}

impl Kstat {
    /// `struct stat64`.
    pub fn stat64(&self) -> [u8; 96] {
        record(|w| {
            w.u64(encode_dev(self.dev).into()).skip(4).u32(self.ino as u32);
            w.u32(self.mode).u32(self.nlink).u32(self.uid).u32(self.gid);
            w.u64(encode_dev(self.rdev).into()).skip(4).u64(self.size).u32(self.blksize).u64(self.blocks);
            self.times_32(w);
            w.u64(self.ino);
        })
    }

    /// `struct stat` of the calls 106 to 108.
    pub fn stat(&self) -> [u8; 64] {
        record(|w| {
            w.u32(encode_dev(self.dev)).u32(self.ino as u32);
            w.u16(self.mode as u16).u16(self.nlink as u16).u16(self.uid as u16).u16(self.gid as u16);
            w.u32(encode_dev(self.rdev)).u32(self.size as u32).u32(self.blksize).u32(self.blocks as u32);
            self.times_32(w);
        })
    }

    /// `struct statx`, with the basic fields.
    pub fn statx(&self) -> [u8; 256] {
        const STATX_BASIC_STATS: u32 = 0x7ff;
        record(|w| {
            w.u32(STATX_BASIC_STATS).u32(self.blksize).u64(0);
            w.u32(self.nlink).u32(self.uid).u32(self.gid).u16(self.mode as u16).skip(2);
            w.u64(self.ino).u64(self.size).u64(self.blocks).u64(0);
            // The time of birth, which nobody keeps, lies behind the first.
            for (time, behind) in [(self.atime, 16), (self.ctime, 0), (self.mtime, 0)] {
                w.u64(time.sec as u64).u32(time.nsec).skip(4 + behind);
            }
            w.u32(self.rdev.0).u32(self.rdev.1).u32(self.dev.0).u32(self.dev.1);
        })
    }

    /// The times as both older records have them.
    fn times_32<const N: usize>(&self, w: &mut Writer<N>) {
        for time in [self.atime, self.mtime, self.ctime] {
            w.u32(time.sec as u32).u32(time.nsec);
        }
    }
}

/// `struct statfs64`.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "Linux's names")]
pub struct Kstatfs {
    pub magic: u32,
    pub bsize: u32,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
}

impl Kstatfs {
    /// The record of `statfs64`.
    pub fn statfs64(&self) -> [u8; 84] {
        record(|w| {
            w.u32(self.magic).u32(self.bsize).u64(self.blocks).u64(self.bfree).u64(self.bavail);
            w.u64(self.files).u64(self.ffree).skip(8).u32(255).u32(self.bsize);
        })
    }

    /// The record of `statfs`.
    pub fn statfs(&self) -> [u8; 64] {
        record(|w| {
            w.u32(self.magic).u32(self.bsize).u32(self.blocks as u32).u32(self.bfree as u32);
            w.u32(self.bavail as u32).u32(self.files as u32).u32(self.ffree as u32);
            w.skip(8).u32(255).u32(self.bsize);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{u16_at, u32_at, u64_at};

    #[test]
    fn fields_lie_where_i386_linux_has_them() {
        let stat = Kstat {
            dev: (0, 2),
            ino: 7,
            mode: 0o100_755,
            nlink: 1,
            uid: 5,
            gid: 6,
            rdev: (4, 64),
            size: 0x1_2345_6789,
            blksize: 4096,
            blocks: 8,
            atime: Timespec { sec: 1, nsec: 2 },
            mtime: Timespec { sec: 3, nsec: 4 },
            ctime: Timespec { sec: 5, nsec: 6 },
        };
        let s = stat.stat64();
        assert_eq!((u64_at(&s, 0), u32_at(&s, 12), u32_at(&s, 16), u32_at(&s, 20)), (2, 7, 0o100_755, 1));
        assert_eq!((u32_at(&s, 24), u64_at(&s, 32), u64_at(&s, 44), u32_at(&s, 52)), (5, 0x440, 0x1_2345_6789, 4096));
        assert_eq!((u64_at(&s, 56), u32_at(&s, 64), u32_at(&s, 72), u32_at(&s, 84), u64_at(&s, 88)), (8, 1, 3, 6, 7));
        let x = stat.statx();
        assert_eq!((u32_at(&x, 0), u32_at(&x, 16), u16_at(&x, 28), u64_at(&x, 32)), (0x7ff, 1, 0o100_755, 7));
        assert_eq!((u64_at(&x, 40), u64_at(&x, 48), u64_at(&x, 64), u64_at(&x, 96)), (0x1_2345_6789, 8, 1, 5));
        assert_eq!((u64_at(&x, 112), u32_at(&x, 128), u32_at(&x, 132), u32_at(&x, 140)), (3, 4, 64, 2));
        let o = stat.stat();
        assert_eq!((u16_at(&o, 8), u32_at(&o, 16), u32_at(&o, 20), u32_at(&o, 40)), (0o100_755, 0x440, 0x2345_6789, 3));
    }

    #[test]
    fn device_numbers_survive_encoding() {
        for dev in [(0, 0), (4, 64), (259, 5), (5, 300), (0xfff, 0xf_ffff)] {
            assert_eq!(decode_dev(encode_dev(dev)), dev);
        }
    }
}
