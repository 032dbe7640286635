//! Object files for the loader of kernel modules.

use abi::errno::{ENOENT, ENOEXEC, ENOMEM};
use mm::module::{Image, Layout, Object, link, parse_args};

/// Larger images are laid out and not filled.
const LARGEST: u32 = 1 << 20;

/// Loads the bytes as a module and sets a parameter.
///
/// # Panics
/// When the loader's error is none of those that it may give.
pub fn body(bytes: &[u8]) {
    match load(bytes) {
        Ok(()) | Err(ENOEXEC | ENOENT | ENOMEM) => {}
        Err(other) => panic!("{other}"),
    }
}

fn load(file: &[u8]) -> abi::errno::Result<()> {
    let log = &mut |_: std::fmt::Arguments<'_>| {};
    let object = Object::parse(file, log)?;
    let layout = Layout::new(&object, log)?;
    if layout.size > LARGEST {
        return Ok(());
    }
    let mut memory = vec![0; layout.size as usize];
    let mut image = Image { base: 0xf880_0000, bytes: &mut memory };
    let mut resolve = |name: &[u8]| (name.len() < 12).then_some(0xc010_0000);
    let linked = link(&object, &layout, &mut image, &mut resolve, log)?;
    // A parameter of any module may be wrong.
    let _ = parse_args(object.name(), b"n=1 x=\"a b\"", linked.params, layout.ro_size, &mut image, log);
    Ok(())
}
