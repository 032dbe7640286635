//! The shared libraries of the process that gdb sees, as its dynamic linker lists them.

use gdbstub::target::TargetResult;
use gdbstub::target::ext::libraries::LibrariesSvr4;

use super::memory::ProcessMemory;
use super::{Stub, slice_into};

/// Entries of a dynamic section, program headers and libraries that are looked at: more is damage.
const MAX_ROWS: u32 = 1024;
/// Bytes of a library's name.
const MAX_NAME: usize = 4096;

/// A library: the record of the dynamic linker, what its addresses were moved by, its dynamic section, its path.
struct Library {
    link_map: u32,
    moved_by: u32,
    dynamic: u32,
    path: Vec<u8>,
}

impl LibrariesSvr4 for Stub<'_> {
    fn get_libraries_svr4(&self, offset: u64, length: usize, buf: &mut [u8]) -> TargetResult<usize, Self> {
        let libraries = self.libraries().unwrap_or_default();
        Ok(slice_into(library_list(&libraries).as_bytes(), offset, length, buf))
    }
}

impl Stub<'_> {
    /// The program itself and its libraries; nothing before the linker has made the list, and of a static program.
    fn libraries(&self) -> Option<Vec<Library>> {
        let pid = self.viewed_process()?;
        let target = self.target();
        let auxv = inspect::process_file(&target, pid, "auxv").ok()??;
        let memory = ProcessMemory::of(&target, pid)?;
        link_maps(&memory, debug_record(&memory, &auxv)?)
    }
}

/// `r_debug`, the linker's word to debuggers, by the program's headers and its dynamic section.
fn debug_record(memory: &ProcessMemory<'_, '_>, auxv: &[u8]) -> Option<u32> {
    const AT_PHDR: u32 = 3;
    const AT_PHNUM: u32 = 5;
    const PT_DYNAMIC: u32 = 2;
    const PT_PHDR: u32 = 6;
    const DT_NULL: u32 = 0;
    const DT_DEBUG: u32 = 21;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let value = |kind: u32| auxv.chunks_exact(8).find(|pair| word(pair) == kind).map(|pair| word(&pair[4..]));
    let (headers, count) = (value(AT_PHDR)?, value(AT_PHNUM)?.min(MAX_ROWS));
    // Where a program header of a kind says that its segment is linked at.
    let linked_at = |kind: u32| {
        let header = (0..count).map(|n| headers.wrapping_add(n * 32)).find(|&at| memory.u32(at) == Some(kind))?;
        memory.u32(header.wrapping_add(8))
    };
    let moved_by = linked_at(PT_PHDR).map_or(0, |linked| headers.wrapping_sub(linked));
    let dynamic = linked_at(PT_DYNAMIC)?.wrapping_add(moved_by);
    let entries = (0..MAX_ROWS).map(|n| dynamic.wrapping_add(n * 8));
    let mut rows = entries.map_while(|at| Some((memory.u32(at)?, memory.u32(at.wrapping_add(4))?)));
    rows.find(|&(tag, _)| tag == DT_NULL || tag == DT_DEBUG)
        .filter(|&(tag, at)| tag == DT_DEBUG && at != 0)
        .map(|row| row.1)
}

/// The list that `r_debug` leads to.
fn link_maps(memory: &ProcessMemory<'_, '_>, debug: u32) -> Option<Vec<Library>> {
    let mut rows = Vec::new();
    let mut at = memory.u32(debug.wrapping_add(4))?;
    while at != 0 && rows.len() < MAX_ROWS as usize {
        let field = |n: u32| memory.u32(at.wrapping_add(n * 4));
        let (moved_by, name, dynamic, next) = (field(0)?, field(1)?, field(2)?, field(3)?);
        let mut path = vec![0; MAX_NAME];
        let read = memory.read(name, &mut path);
        path.truncate(read);
        path.truncate(path.iter().position(|&byte| byte == 0)?);
        rows.push(Library { link_map: at, moved_by, dynamic, path });
        at = next;
    }
    Some(rows)
}

/// As gdb wants it (GDB manual, "Library List Format for SVR4 Targets"): the first row is the program.
fn library_list(libraries: &[Library]) -> String {
    let Some((program, libraries)) = libraries.split_first() else {
        return "<library-list-svr4 version=\"1.0\"/>".to_owned();
    };
    let mut xml = format!("<library-list-svr4 version=\"1.0\" main-lm=\"{:#x}\">", program.link_map);
    for Library { link_map, moved_by, dynamic, path } in libraries.iter().filter(|library| !library.path.is_empty()) {
        let path = escape(&String::from_utf8_lossy(path));
        xml += &format!(
            "<library name=\"{path}\" lm=\"{link_map:#x}\" l_addr=\"{moved_by:#x}\" l_ld=\"{dynamic:#x}\" lmid=\"0x0\"/>"
        );
    }
    xml + "</library-list-svr4>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_libraries_but_not_the_program() {
        let library = |path: &str| Library { link_map: 0x10, moved_by: 0x2000, dynamic: 0x30, path: path.into() };
        assert_eq!(library_list(&[]), "<library-list-svr4 version=\"1.0\"/>");
        let list = library_list(&[library(""), library(""), library("/lib/a&\"b.so")]);
        let row = "<library name=\"/lib/a&amp;&quot;b.so\" lm=\"0x10\" l_addr=\"0x2000\" l_ld=\"0x30\" lmid=\"0x0\"/>";
        assert_eq!(list, format!("<library-list-svr4 version=\"1.0\" main-lm=\"0x10\">{row}</library-list-svr4>"));
    }
}
