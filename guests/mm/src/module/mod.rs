//! Loadable modules: an object file (`ET_REL`) of i386 is checked, laid out and relocated.
//!
//! Nothing here trusts the file: each offset, size, index and pointer in it is looked at
//! before it is used, and what is written goes into the image and nowhere else. What is wrong
//! goes to the log in Linux's words, with Linux's error.

mod elf;
mod image;
mod layout;
mod params;
mod relocate;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

use abi::errno::{ENOMEM, Result};

pub use elf::Object;
pub use image::{Image, Table};
pub use layout::Layout;
pub use params::parse_args;
pub use relocate::{Linked, link};

/// Where a line for the log goes.
pub type Log<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>);

/// A vector with room for `len` values; ENOMEM instead of a panic, for `len` comes from a file.
fn vec_for<T>(len: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| ENOMEM)?;
    Ok(vec)
}

/// Bytes of a name for the log.
struct Text<'a>(&'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}
