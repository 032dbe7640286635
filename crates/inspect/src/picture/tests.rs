//! Pictures of machines made by hand: a kernel that is not ours, and books full of nonsense.

use abi::Ptr32;
use abi::books::{KernelNote, VERSION};
use cpu::{CpuModel, CpuState};
use memory::{FrameKind, PhysMem};
use x86::{Cr0, Cr4, PhysAddr};

use crate::{KernelImage, Picture, Target};

const LIMIT: usize = 1 << 20;

fn memory(bytes: u64) -> PhysMem {
    let mut mem = PhysMem::new().unwrap();
    mem.map(PhysAddr(0), bytes, FrameKind::Ram).unwrap();
    mem
}

fn cpu(cr3: u32, cr4: Cr4) -> CpuState {
    let mut cpu = CpuState::multiboot(CpuModel::default(), 0x10_0000, 0);
    cpu.cr0 = (Cr0::PE | Cr0::ET | Cr0::PG).bits();
    cpu.cr4 = cr4.bits();
    cpu.cr3 = cr3;
    cpu
}

fn owners(picture: &Picture) -> Vec<&str> {
    let numbers = picture.frames.owner.values().unwrap();
    numbers.iter().map(|&owner| picture.frames.owners[owner as usize].kind.as_str()).collect()
}

#[test]
fn of_another_kernel_its_tables_and_its_memory_are_drawn() {
    let mut mem = memory(0x40_0000);
    mem.write_u32(PhysAddr(0x1000), 0x2067);
    mem.write_u32(PhysAddr(0x1000 + 4 * 0x300), 0x0000_01e3);
    mem.write_u32(PhysAddr(0x2000 + 4 * 5), 0x7067);
    mem.write_u32(PhysAddr(0x9000), 1);
    let cpu = cpu(0x1000, Cr4::empty());
    let picture = Picture::of(&Target::new(vec![&cpu], &mem), LIMIT);
    assert!(!picture.books && picture.processes.is_empty());
    assert_eq!(picture.notes, ["the machine runs no kernel that this program knows"]);
    let [space] = &picture.spaces[..] else { panic!("{:?}", picture.spaces) };
    assert_eq!(space.page.values(), Some(vec![5]));
    assert_eq!(space.frame.values(), Some(vec![7]));
    assert_eq!(space.bits.values(), Some(vec![0x67]));
    // Without CR4.PSE the bit means nothing: frame 0 is a table, with nothing in it.
    assert_eq!((space.pse, space.upper.values()), (false, Some(vec![0, 0x300])));
    let owners = owners(&picture);
    assert_eq!(owners.len(), 0x400);
    assert_eq!(
        (owners[1], owners[2], owners[7], owners[9], owners[10]),
        ("directory", "table", "mapped", "touched", "untouched")
    );
}

#[test]
fn three_levels_are_read_through_the_pointer_registers() {
    let mut mem = memory(0x40_0000);
    let mut cpu = cpu(0x1000, Cr4::PAE);
    cpu.pdpte = [0x2001, 0, 0, 0x3001];
    mem.write(PhysAddr(0x2000 + 8), &0x4067u64.to_le_bytes());
    mem.write(PhysAddr(0x4000 + 16), &0x8000_0000_0000_5067u64.to_le_bytes());
    mem.write(PhysAddr(0x3000), &0x0020_00e3u64.to_le_bytes());
    let picture = Picture::of(&Target::new(vec![&cpu], &mem), LIMIT);
    let space = &picture.spaces[0];
    assert!(space.pae && space.pdpte == ["2001", "0", "0", "3001"]);
    assert_eq!(space.upper.values(), Some(vec![1, 3 * 512]));
    assert_eq!((space.page.values(), space.frame.values()), (Some(vec![512 + 2]), Some(vec![5])));
    assert_eq!(space.bits.values(), Some(vec![0x1067]), "XD");
    let owners = owners(&picture);
    assert_eq!((owners[2], owners[4], owners[5], owners[0x200]), ("directory", "table", "mapped", "untouched"));
}

#[test]
fn without_paging_there_is_a_picture_of_memory() {
    let mem = memory(0x10_0000);
    let mut cpu = cpu(0, Cr4::empty());
    cpu.cr0 = 0;
    let picture = Picture::of(&Target::new(vec![&cpu], &mem), LIMIT);
    assert!(picture.spaces.is_empty() && picture.frames.count == 0x100);
    assert!(picture.notes.iter().any(|note| note.contains("paging is off")), "{:?}", picture.notes);
}

#[test]
fn books_full_of_nonsense_give_a_picture_within_bounds() {
    const BOOKS: u32 = 0xc000_1000;
    for seed in 1..=24u32 {
        let mut mem = memory(0x80_0000);
        let mut number = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            number ^= number << 13;
            number ^= number >> 17;
            number ^= number << 5;
            number
        };
        // Half of the words point somewhere into the kernel's memory.
        let words: Vec<u8> = (0..0x20_0000)
            .flat_map(|_| {
                let word = next();
                if word & 1 == 0 { 0xc000_0000 | word & 0x7f_fffc } else { word }.to_le_bytes()
            })
            .collect();
        mem.write(PhysAddr(0), &words);
        mem.write_u32(PhysAddr(0x1000), VERSION);
        let note = KernelNote { version: VERSION, books: Ptr32::new(BOOKS), page_offset: 0xc000_0000 };
        let kernel = KernelImage::with_note(note);
        let cpu = cpu(0x3000, Cr4::PSE | Cr4::PGE);
        let target = Target { kernel: Some(&kernel), ..Target::new(vec![&cpu], &mem) };
        let picture = Picture::of(&target, LIMIT);
        assert!(picture.books && !picture.notes.is_empty(), "seed {seed}");
        let text = serde_json::to_string(&picture).unwrap();
        assert!(text.len() < 4 * LIMIT, "seed {seed}: {} bytes", text.len());
    }
}
