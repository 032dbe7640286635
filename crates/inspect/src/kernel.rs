//! The ELF image of the booted kernel.

use abi::books::{KernelNote, NOTE_NAME, NOTE_TYPE};
use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;

use crate::record::Record;
use crate::symbol::Symbols;

/// What we know of a kernel from its ELF file.
#[derive(Clone, Debug, Default)]
pub struct KernelImage {
    note: Option<KernelNote>,
    symbols: Symbols,
    segments: Vec<(u32, u32)>,
}

impl KernelImage {
    /// Reads the image; what is missing or damaged in it is left out.
    pub fn parse(bytes: &[u8]) -> KernelImage {
        let Ok(elf) = Elf::parse(bytes) else {
            return KernelImage::default();
        };
        let segments = elf.program_headers.iter().filter(|ph| ph.p_type == PT_LOAD);
        KernelImage {
            note: find_note(&elf, bytes),
            symbols: Symbols::of_elf(&elf),
            segments: segments.map(|ph| (ph.p_vaddr as u32, ph.p_memsz as u32)).collect(),
        }
    }

    /// An image of which only the note is known.
    #[cfg(test)]
    pub(crate) fn with_note(note: KernelNote) -> KernelImage {
        KernelImage { note: Some(note), ..KernelImage::default() }
    }

    /// The note that announces the books.
    pub fn note(&self) -> Option<KernelNote> {
        self.note
    }

    /// The kernel's symbols.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// Whether a linear address lies in the image.
    pub fn holds(&self, addr: u32) -> bool {
        self.segments.iter().any(|&(start, len)| addr.wrapping_sub(start) < len)
    }
}

/// Notes are found by program header or, in an image without one for them, by section.
fn find_note(elf: &Elf<'_>, bytes: &[u8]) -> Option<KernelNote> {
    let by_header = elf.iter_note_headers(bytes).into_iter().flatten();
    let by_section = elf.iter_note_sections(bytes, None).into_iter().flatten();
    by_header
        .chain(by_section)
        .filter_map(Result::ok)
        .find(|note| note.n_type == NOTE_TYPE && note.name.trim_end_matches('\0') == NOTE_NAME)
        .and_then(|note| KernelNote::decode(note.desc))
}
