//! What a kernel finds of a PC's BIOS in real mode: the vectors and the handlers that they lead
//! to, which keep the time of day, and the data area (IBM PC AT Technical Reference, "BIOS").
//!
//! There are no services: software that wants a disk or a screen drives it itself.
use devices::PIT_HZ;
use memory::PhysMem;
use x86::PhysAddr;

use super::{BIOS_START, BLANK, CONVENTIONAL_END, KIB, TEXT_COLUMNS, TEXT_ROWS, TEXT_START};
use crate::{config::MachineConfig, resource::SERIAL_PORTS};

const DATA_AREA: u64 = 0x400;
const SEGMENT: u16 = (BIOS_START >> 4) as u16;

// Offsets of the handlers in the BIOS area. Those that the first PC had at a known place are there.
const COLD_START: u16 = 0xe05b;
const MEMORY_SIZE: u16 = 0xf841;
const EQUIPMENT_LIST: u16 = 0xf84d;
const TICK: u16 = 0xfea5;
const END_OF_MASTER: u16 = 0xff00;
const END_OF_SLAVE: u16 = 0xff10;
const NO_SERVICE: u16 = 0xff20;
const RETURN: u16 = 0xff53;
const RESET: u16 = 0xfff0;
const MODEL: u16 = 0xfffe;

/// What stands at which offset.
const CODE: [(u16, &[u8]); 10] = [
    // mov al, 0xfe; out 0x64, al: the keyboard controller resets the machine; hlt; jmp to the hlt
    (COLD_START, &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd]),
    // push ds; push 0x40; pop ds; mov ax, [0x13]; pop ds; iret
    (MEMORY_SIZE, &[0x1e, 0x6a, 0x40, 0x1f, 0xa1, 0x13, 0x00, 0x1f, 0xcf]),
    // push ds; push 0x40; pop ds; mov ax, [0x10]; pop ds; iret
    (EQUIPMENT_LIST, &[0x1e, 0x6a, 0x40, 0x1f, 0xa1, 0x10, 0x00, 0x1f, 0xcf]),
    (
        TICK,
        &[
            0x50, 0x1e, // push ax; push ds
            0x6a, 0x40, 0x1f, // push 0x40; pop ds
            0x66, 0xff, 0x06, 0x6c, 0x00, // inc dword [0x6c], the ticks since midnight
            0x66, 0x81, 0x3e, 0x6c, 0x00, 0xb0, 0x00, 0x18, 0x00, // cmp dword [0x6c], 0x1800b0, those of a day
            0x72, 0x0d, // jb over the next two
            0x66, 0xc7, 0x06, 0x6c, 0x00, 0x00, 0x00, 0x00, 0x00, // mov dword [0x6c], 0
            0xfe, 0x06, 0x70, 0x00, // inc byte [0x70], the days
            0xcd, 0x1c, // int 0x1c, for whoever wants to know
            0xb0, 0x20, 0xe6, 0x20, // mov al, 0x20; out 0x20, al: end of interrupt
            0x1f, 0x58, 0xcf, // pop ds; pop ax; iret
        ],
    ),
    // push ax; mov al, 0x20; out 0x20, al; pop ax; iret
    (END_OF_MASTER, &[0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf]),
    // push ax; mov al, 0x20; out 0xa0, al; out 0x20, al; pop ax; iret
    (END_OF_SLAVE, &[0x50, 0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20, 0x58, 0xcf]),
    // push bp; mov bp, sp; or byte [bp + 6], 1, the caller's CF; pop bp; mov ah, 0x86; iret
    (NO_SERVICE, &[0x55, 0x89, 0xe5, 0x80, 0x4e, 0x06, 0x01, 0x5d, 0xb4, 0x86, 0xcf]),
    // iret
    (RETURN, &[0xcf]),
    // jmp far to the cold start; a date
    (RESET, b"\xea\x5b\xe0\x00\xf001/01/26"),
    // An AT or what came after it
    (MODEL, &[0xfc]),
];

/// The timer's channel 0 divides by this: a day has 1,573,040 ticks.
const TICK_PERIODS: u64 = 65_536;
const DAY_S: u64 = 86_400;
const NS_PER_S: u64 = 1_000_000_000;

/// Writes handlers, vectors and data area, `now_ns` after power-on.
pub(super) fn write_bios(mem: &mut PhysMem, config: &MachineConfig, now_ns: u64) {
    for (offset, bytes) in CODE {
        // ROM to the guest: it is loaded, not written.
        mem.load(PhysAddr(BIOS_START + u64::from(offset)), bytes);
    }
    let vectors: Vec<u8> = (0..=0xff).flat_map(vector).collect();
    mem.load(PhysAddr(0), &vectors);
    write_data_area(mem, config, now_ns);
}

/// Offset and segment of the handler of vector `number`.
fn vector(number: u8) -> [u8; 4] {
    let handler = match number {
        0x08 => TICK,
        0x09..=0x0f => END_OF_MASTER,
        0x70..=0x77 => END_OF_SLAVE,
        0x11 => EQUIPMENT_LIST,
        0x12 => MEMORY_SIZE,
        // Disks and the system's services.
        0x13 | 0x15 => NO_SERVICE,
        0x19 => COLD_START,
        // Pointers to tables that there are not, and the user's own.
        0x1d..=0x1f | 0x41 | 0x43 | 0x46 | 0x60..=0x67 | 0x78.. => return [0; 4],
        _ => RETURN,
    };
    let [offset, segment] = [handler, SEGMENT].map(u16::to_le_bytes);
    [offset[0], offset[1], segment[0], segment[1]]
}

/// The parts of the data area that tell of the machine.
fn write_data_area(mem: &mut PhysMem, config: &MachineConfig, now_ns: u64) {
    let ports: Vec<u16> =
        SERIAL_PORTS.iter().zip(&config.serial).filter(|(_, input)| input.is_some()).map(|(port, _)| *port).collect();
    // An x87, a screen of 80 columns in colour, and so many serial ports.
    let equipment = 1 << 1 | 2 << 4 | (ports.len() as u16) << 9;
    let time_of_day_s = (config.start_unix_s + now_ns / NS_PER_S) % DAY_S;
    let ticks = (time_of_day_s * PIT_HZ / TICK_PERIODS) as u32;
    let mut put = |offset: u64, bytes: &[u8]| mem.load(PhysAddr(DATA_AREA + offset), bytes);
    put(0x00, &[0; 0x100]);
    for (offset, port) in (0..).step_by(2).zip(ports) {
        put(offset, &port.to_le_bytes());
    }
    // The segment of the extended data area, the equipment, the size of conventional memory.
    put(0x0e, &((CONVENTIONAL_END / 16) as u16).to_le_bytes());
    put(0x10, &equipment.to_le_bytes());
    put(0x13, &((CONVENTIONAL_END / KIB) as u16).to_le_bytes());
    // The keyboard's buffer: where it is read and written, which is to say that it is empty; its ends.
    put(0x1a, &[0x1e, 0, 0x1e, 0]);
    put(0x80, &[0x1e, 0, 0x3e, 0]);
    // The screen: mode 3, its columns, the bytes of a page; the cursor's lines; the CRTC's port;
    // the last row, and the lines of a character.
    put(0x49, &[3, TEXT_COLUMNS, 0, 0x00, 0x10]);
    put(0x60, &[0x0e, 0x0d]);
    put(0x63, &0x3d4_u16.to_le_bytes());
    put(0x84, &[TEXT_ROWS - 1, 16]);
    put(0x6c, &ticks.to_le_bytes());
    put(0x75, &[config.disks.len() as u8]);
    // A keyboard with 101 keys.
    put(0x96, &[0x10]);
    let screen = BLANK.repeat(usize::from(TEXT_COLUMNS) * usize::from(TEXT_ROWS));
    mem.load(PhysAddr(TEXT_START), &screen);
}
