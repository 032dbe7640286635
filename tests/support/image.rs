//! Images of disks.

use std::{fs, path::Path, process::Command};

/// Makes an ext2 image of so many blocks with the contents of a folder.
pub fn ext2(image: &Path, block_size: u32, blocks: u32, tree: Option<&Path>) {
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext2", "-b", &block_size.to_string()]);
    if let Some(tree) = tree {
        command.arg("-d").arg(tree);
    }
    let made = command.arg(image).arg(blocks.to_string()).output().expect("run mke2fs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The same of so many MiB, in blocks of 4 KiB.
pub fn ext2_of(image: &Path, mib: u32, tree: Option<&Path>) {
    ext2(image, 4096, mib * 256, tree);
}

/// Makes an image with the header that `mkswap` writes.
pub fn swap_area(image: &Path, mib: u32) {
    let mut header = vec![0; 4096];
    header[1024..1028].copy_from_slice(&1u32.to_le_bytes());
    header[1028..1032].copy_from_slice(&(mib * 256 - 1).to_le_bytes());
    header[4086..].copy_from_slice(b"SWAPSPACE2");
    fs::write(image, header).expect("write the header");
    fs::File::options().write(true).open(image).and_then(|file| file.set_len(u64::from(mib) << 20)).expect("its size");
}
