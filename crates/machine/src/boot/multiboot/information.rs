use crate::firmware::{MemoryRegion, RegionKind};

const HEADER_BYTES: usize = 116;
const SECTION_HEADER_BYTES: usize = 40;
const MEMORY_MAP_ENTRY_BYTES: u32 = 20;
const LOADER_NAME: &str = "pagewalk";

// Flags: which fields hold something.
const MEMORY: u32 = 1 << 0;
const COMMAND_LINE: u32 = 1 << 2;
const MODULES: u32 = 1 << 3;
const SECTIONS: u32 = 1 << 5;
const MEMORY_MAP: u32 = 1 << 6;
const LOADER: u32 = 1 << 9;

/// Type codes of the memory map.
const AVAILABLE: u32 = 1;
const RESERVED: u32 = 2;

/// What the loader tells the kernel (Multiboot Specification, "Boot information format").
pub(super) struct Information<'a> {
    pub memory_map: &'a [MemoryRegion],
    pub command_line: &'a str,
    /// First address, the one behind the last, and the string of each module.
    pub modules: Vec<(u32, u32, &'a str)>,
    pub section_headers: &'a [u8],
    pub section_names: u32,
}

impl Information<'_> {
    /// The structure with all that hangs on it, as it lies at address `base`.
    pub fn block(&self, base: u32) -> Vec<u8> {
        let mut block = Block { base, bytes: vec![0; HEADER_BYTES] };
        let command_line = block.string(self.command_line);
        let loader = block.string(LOADER_NAME);
        let mut modules = Vec::new();
        for &(start, end, string) in &self.modules {
            let string = block.string(string);
            modules.extend([start, end, string, 0].map(u32::to_le_bytes).concat());
        }
        let modules = block.append(&modules);
        let map = self.memory_map();
        let map_address = block.append(&map);
        let sections = block.append(self.section_headers);
        let section_count = self.section_headers.len() / SECTION_HEADER_BYTES;
        let if_sections = |value: u32| if section_count > 0 { value } else { 0 };
        let flags = MEMORY | COMMAND_LINE | MODULES | MEMORY_MAP | LOADER | if_sections(SECTIONS);
        for (offset, value) in [
            (0, flags),
            (4, self.ram_kib_from(0)),
            (8, self.ram_kib_from(1 << 20)),
            (16, command_line),
            (20, self.modules.len() as u32),
            (24, modules),
            (28, section_count as u32),
            (32, if_sections(SECTION_HEADER_BYTES as u32)),
            (36, if_sections(sections)),
            (40, self.section_names),
            (44, map.len() as u32),
            (48, map_address),
            (64, loader),
        ] {
            block.bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }
        block.bytes
    }

    fn memory_map(&self) -> Vec<u8> {
        let mut map = Vec::new();
        for region in self.memory_map {
            let kind = if region.kind == RegionKind::Ram { AVAILABLE } else { RESERVED };
            map.extend(MEMORY_MAP_ENTRY_BYTES.to_le_bytes());
            map.extend(region.start.to_le_bytes());
            map.extend(region.len.to_le_bytes());
            map.extend(kind.to_le_bytes());
        }
        map
    }

    fn ram_kib_from(&self, start: u64) -> u32 {
        let region = self.memory_map.iter().find(|region| region.kind == RegionKind::Ram && region.start == start);
        region.map_or(0, |region| (region.len / 1024) as u32)
    }
}

/// Bytes that grow behind the structure, with their addresses.
struct Block {
    base: u32,
    bytes: Vec<u8>,
}

impl Block {
    /// Adds `bytes` at a multiple of 4; gives their address.
    fn append(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let address = self.base + self.bytes.len() as u32;
        self.bytes.extend(bytes);
        address
    }

    fn string(&mut self, string: &str) -> u32 {
        let address = self.append(string.as_bytes());
        self.bytes.push(0);
        address
    }
}
