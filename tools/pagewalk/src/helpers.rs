//! gdb's Python helpers, and what they must know of the kernel that runs.

use std::{
    fmt::Write,
    fs,
    mem::{offset_of, size_of},
    path::{Path, PathBuf},
};

use abi::books::{
    CpuStateRecord, DentryRecord, FileRecord, KernelBooks, KmemCacheRecord, MmRecord, ModuleRecord, ModuleSymbolRecord,
    ResourceRecord, TaskRecord, VERSION, VmStructRecord, VmaRecord,
};
use inspect::KernelImage;

use crate::error::Error;

/// The helpers themselves.
const HELPERS: &str = include_str!("../../gdb/pagewalk.py");

/// A record: its name, its bytes, and of each field name, offset and bytes.
struct Layout {
    name: &'static str,
    size: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

/// Bytes of what a function gives.
const fn size_given<R, F>(_: fn(&R) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layout {
    ($record:ident { $($field:ident)* }) => {
        Layout {
            name: stringify!($record),
            size: size_of::<$record>(),
            fields: vec![$((
                stringify!($field),
                offset_of!($record, $field),
                size_given(|record: &$record| &record.$field),
            )),*],
        }
    };
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(KernelBooks {
            version tasks cpu_states nr_cpus iomem ioports zones nr_zones caches mem_map max_pfn swapper_pg_dir seq
            vmap_areas modules
        }),
        layout!(CpuStateRecord { current idle apic_id nr_ready user_ns system_ns idle_ns }),
        layout!(TaskRecord {
            next pid tgid ppid pgrp session state cpu mm comm tty_nr exit_code min_flt maj_flt utime_ns stime_ns
            start_time_ns nr_threads stack uid gid cpus_allowed
        }),
        layout!(MmRecord {
            pgd mmap map_count mm_users start_code end_code start_data end_data start_brk brk start_stack arg_start
            arg_end env_start env_end total_vm rss_anon rss_file rss_shmem exe
        }),
        layout!(VmaRecord { next start end flags pgoff file mm }),
        layout!(FileRecord { dentry inode }),
        layout!(DentryRecord { parent name name_len flags }),
        layout!(ResourceRecord { start end name name_len parent sibling child flags }),
        layout!(ModuleRecord {
            next name state base size text_size ro_size refcnt init exit symbols nr_symbols uses nr_uses
        }),
        layout!(ModuleSymbolRecord { addr size name name_len }),
        layout!(KmemCacheRecord {
            next name name_len active_objs num_objs objsize objperslab pagesperslab active_slabs num_slabs
        }),
        layout!(VmStructRecord {
            next addr size flags nr_pages phys_addr caller caller_name caller_name_len
        }),
    ]
}

/// The layouts as a Python module; `books` is where the root record lies.
fn records(books: u32) -> String {
    let mut text = format!("BOOKS = {books:#x}\nVERSION = {VERSION}\nRECORDS = {{\n");
    for Layout { name, size, fields } in layouts() {
        let rows: String = fields.iter().fold(String::new(), |mut rows, (name, at, size)| {
            let _ = write!(rows, "(\"{name}\", {at}, {size}), ");
            rows
        });
        let _ = writeln!(text, "    \"{name}\": ({size}, [{}]),", rows.trim_end_matches(", "));
    }
    text + "}\n"
}

/// Writes the helpers for `kernel` into `folder`; the file that gdb is to load.
pub fn write(folder: &Path, kernel: &[u8]) -> Result<PathBuf, Error> {
    let books = KernelImage::parse(kernel).note().map_or(0, |note| note.books.0);
    let file = folder.join("pagewalk.py");
    for (path, text) in [(folder.join("records.py"), records(books)), (file.clone(), HELPERS.to_owned())] {
        fs::write(&path, text).map_err(Error::file(&path))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_places_that_the_records_give_them() {
        let text = records(0xc010_0000);
        assert!(text.starts_with(&format!("BOOKS = 0xc0100000\nVERSION = {VERSION}\n")), "{text}");
        assert!(text.contains("\"TaskRecord\": (116, [(\"next\", 0, 4), (\"pid\", 4, 4), "), "{text}");
        assert!(text.contains("(\"comm\", 36, 16)") && text.contains("\"VmaRecord\": (28, "), "{text}");
    }
}
