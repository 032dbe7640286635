//! The memory of a module: bytes at an address.

use core::ops::Range;

/// Memory that begins at `base`.
#[derive(Debug)]
pub struct Image<'a> {
    /// Address of the first byte.
    pub base: u32,
    /// All bytes.
    pub bytes: &'a mut [u8],
}

/// A table of rows in the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Table {
    /// Where it begins in the image.
    pub offset: u32,
    /// Its bytes.
    pub len: u32,
}

impl Table {
    /// The offsets of its rows of `size` bytes.
    pub fn rows(self, size: u32) -> impl Iterator<Item = u32> {
        (0..self.len / size).map(move |n| self.offset + n * size)
    }
}

impl Image<'_> {
    /// The bytes of a range of offsets; `None` if it reaches beyond the image.
    pub fn range(&mut self, offset: u32, len: u32) -> Option<&mut [u8]> {
        self.bytes.get_mut(range(offset, len)?)
    }

    /// The word at an offset.
    pub fn word(&self, offset: u32) -> Option<u32> {
        let bytes = self.bytes.get(range(offset, 4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Writes the word at an offset. `None` if it is beyond the image.
    pub fn set_word(&mut self, offset: u32, value: u32) -> Option<()> {
        self.range(offset, 4)?.copy_from_slice(&value.to_le_bytes());
        Some(())
    }

    /// The offset of an address.
    pub fn offset_of(&self, addr: u32) -> Option<u32> {
        let offset = addr.wrapping_sub(self.base);
        ((offset as usize) < self.bytes.len()).then_some(offset)
    }

    /// The string at an address, without the zero that ends it.
    pub fn string(&self, addr: u32) -> Option<&[u8]> {
        let rest = &self.bytes[self.offset_of(addr)? as usize..];
        Some(&rest[..rest.iter().position(|&byte| byte == 0)?])
    }
}

fn range(offset: u32, len: u32) -> Option<Range<usize>> {
    let start = offset as usize;
    Some(start..start.checked_add(len as usize)?)
}
