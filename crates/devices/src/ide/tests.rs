use super::*;
use crate::{DiskFault, SECTOR_BYTES, test_board::TestBoard};

/// Disks in memory; sectors named in `bad` fail.
struct MemoryDisks {
    disks: Vec<Vec<u8>>,
    bad: Vec<u64>,
    flushes: u32,
}

impl MemoryDisks {
    fn place(&mut self, disk: u8, sector: u64) -> Result<&mut [u8], DiskFault> {
        let at = sector as usize * SECTOR_BYTES;
        if self.bad.contains(&sector) {
            Err(DiskFault)
        } else {
            Ok(&mut self.disks[usize::from(disk)][at..at + SECTOR_BYTES])
        }
    }
}

impl Disks for MemoryDisks {
    fn read(&mut self, disk: u8, sector: u64, data: &mut [u8]) -> Result<(), DiskFault> {
        data.copy_from_slice(self.place(disk, sector)?);
        Ok(())
    }
    fn write(&mut self, disk: u8, sector: u64, data: &[u8]) -> Result<(), DiskFault> {
        self.place(disk, sector)?.copy_from_slice(data);
        Ok(())
    }
    fn flush(&mut self, _: u8) -> Result<(), DiskFault> {
        self.flushes += 1;
        Ok(())
    }
}

/// A channel with what it needs around it. Time goes on by itself where the guest would wait.
struct Bench {
    channel: IdeChannel,
    board: TestBoard,
    disks: MemoryDisks,
}

const SECTORS: u64 = 4096;

impl Bench {
    /// A drive at device 0 whose sectors each begin with their own number.
    fn new() -> Self {
        Self::with([Some(SECTORS), None])
    }

    fn with(sectors: [Option<u64>; 2]) -> Self {
        let disks = sectors.iter().map(|sectors| {
            (0..sectors.unwrap_or(0)).flat_map(|n| {
                let mut data = vec![n as u8; SECTOR_BYTES];
                data[..8].copy_from_slice(&n.to_le_bytes());
                data
            })
        });
        let disks = MemoryDisks { disks: disks.map(Iterator::collect).collect(), bad: Vec::new(), flushes: 0 };
        Bench { channel: IdeChannel::new(0, sectors), board: TestBoard::default(), disks }
    }

    fn get(&mut self, offset: u16) -> u8 {
        self.channel.read(offset, &mut self.board)
    }

    fn put(&mut self, offset: u16, value: u8) {
        self.channel.write(offset, value, &mut self.board, &mut self.disks);
    }

    /// Writes count, LBA and device for a 28-bit command, then its code.
    fn command28(&mut self, opcode: u8, lba: u32, count: u8) {
        let [low, mid, high, top] = lba.to_le_bytes();
        for (offset, value) in [(2, count), (3, low), (4, mid), (5, high), (6, 0xe0 | top), (7, opcode)] {
            self.put(offset, value);
        }
    }

    fn command48(&mut self, opcode: u8, lba: u64, count: u16) {
        let b = lba.to_le_bytes();
        let [count_low, count_high] = count.to_le_bytes();
        for (offset, value) in [(2, count_high), (3, b[3]), (4, b[4]), (5, b[5])] {
            self.put(offset, value);
        }
        for (offset, value) in [(2, count_low), (3, b[0]), (4, b[1]), (5, b[2]), (6, 0xe0), (7, opcode)] {
            self.put(offset, value);
        }
    }

    /// Lets time pass until the drive has done what it does; whether it interrupted.
    fn wait(&mut self) -> bool {
        if let Some(deadline) = self.channel.deadline_ns() {
            self.board.now_ns = deadline;
        }
        self.channel.wake(&mut self.board);
        self.channel.irq()
    }

    fn take_sector(&mut self) -> Vec<u8> {
        (0..256).flat_map(|_| self.channel.read_data(&mut self.board, &mut self.disks).to_le_bytes()).collect()
    }

    fn give_sector(&mut self, byte: u8) {
        for _ in 0..256 {
            self.channel.write_data(u16::from(byte) << 8 | u16::from(byte), &mut self.board, &mut self.disks);
        }
    }

    fn word(block: &[u8], n: usize) -> u16 {
        u16::from_le_bytes([block[2 * n], block[2 * n + 1]])
    }
}

const READY: u8 = status::DRDY | status::DSC;

#[test]
fn identify_tells_sizes_and_names_and_adds_up_to_zero() {
    let mut bench = Bench::new();
    bench.command28(0xec, 0, 0);
    assert_eq!(bench.get(7), status::BSY);
    assert!(bench.wait(), "IDENTIFY interrupts");
    assert_eq!(bench.get(7), READY | status::DRQ);
    let block = bench.take_sector();
    assert_eq!(bench.get(7), READY, "the block ends the command");
    assert_eq!(u32::from(Bench::word(&block, 60)) | u32::from(Bench::word(&block, 61)) << 16, SECTORS as u32);
    assert_eq!(Bench::word(&block, 100), SECTORS as u16);
    assert_eq!((Bench::word(&block, 1), Bench::word(&block, 3), Bench::word(&block, 6)), (4, 16, 63));
    assert_eq!(&block[54..70], b"APEGAWKLH RADDSI", "text has its bytes swapped in each word");
    assert_eq!(block.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
}

#[test]
fn read_gives_each_sector_with_an_interrupt_before_it() {
    for opcode in [0x20, 0x21, 0x24] {
        let mut bench = Bench::new();
        if opcode == 0x24 {
            bench.command48(opcode, 300, 3)
        } else {
            bench.command28(opcode, 300, 3)
        }
        for sector in 300u64..303 {
            assert!(!bench.channel.irq());
            assert!(bench.wait());
            assert_eq!(bench.get(7), READY | status::DRQ);
            assert_eq!(bench.take_sector()[..8], sector.to_le_bytes());
        }
        assert!(!bench.wait(), "no interrupt comes after the last sector");
        assert_eq!(bench.get(7), READY);
    }
}

#[test]
fn write_takes_the_first_sector_at_once_and_interrupts_after_each() {
    for opcode in [0x30, 0x31, 0x34] {
        let mut bench = Bench::new();
        if opcode == 0x34 {
            bench.command48(opcode, 10, 2)
        } else {
            bench.command28(opcode, 10, 2)
        }
        assert_eq!(bench.get(7), READY | status::DRQ);
        assert!(!bench.channel.irq(), "the first block is asked for without an interrupt");
        bench.give_sector(0xa5);
        assert_eq!(bench.get(7), status::BSY);
        assert!(bench.wait());
        assert_eq!(bench.get(7), READY | status::DRQ);
        bench.give_sector(0x5a);
        assert!(bench.wait());
        assert_eq!(bench.get(7), READY);
        assert_eq!(bench.disks.disks[0][10 * 512..11 * 512], [0xa5; 512]);
        assert_eq!(bench.disks.disks[0][11 * 512..12 * 512], [0x5a; 512]);
        assert_eq!(bench.disks.disks[0][12 * 512], 12, "the next sector is untouched");
    }
}

/// Whatever the length of the strings, and with an odd word before them: the last element of a block stays.
#[test]
fn strings_move_a_block_but_for_its_last_element() {
    for (size, lead, room, want) in
        [(2, 0, 4096, 255), (4, 0, 4096, 127), (2, 3, 4096, 252), (4, 1, 4096, 127), (2, 0, 64, 32), (4, 255, 64, 0)]
    {
        let mut bench = Bench::new();
        let mut bytes = vec![0xee; room];
        bench.command28(0x20, 9, 2);
        assert_eq!(bench.channel.read_data_string(size, &mut bytes), 0, "the drive is busy");
        bench.wait();
        let mut sector = Vec::new();
        for _ in 0..lead {
            sector.extend(bench.channel.read_data(&mut bench.board, &mut bench.disks).to_le_bytes());
        }
        assert_eq!(bench.channel.write_data_string(size, &bytes), 0, "the other way");
        assert_eq!(bench.channel.read_data_string(size, &mut bytes), want, "{size} {lead} {room}");
        assert_eq!(bench.get(7), READY | status::DRQ);
        sector.extend(&bytes[..want as usize * size]);
        assert!(bytes[want as usize * size..].iter().all(|&byte| byte == 0xee), "no byte beyond");
        while sector.len() < SECTOR_BYTES {
            sector.extend(bench.channel.read_data(&mut bench.board, &mut bench.disks).to_le_bytes());
        }
        assert_eq!(sector, bench.disks.disks[0][9 * SECTOR_BYTES..10 * SECTOR_BYTES]);
        assert!(bench.wait(), "the second sector follows");

        let mut bench = Bench::new();
        bench.command28(0x30, 20, 1);
        for _ in 0..lead {
            bench.channel.write_data(0x5a5a, &mut bench.board, &mut bench.disks);
        }
        bytes.fill(0x5a);
        assert_eq!(bench.channel.write_data_string(size, &bytes), want);
        for _ in 0..256 - lead - want as usize * size / 2 {
            assert_eq!(bench.get(7), READY | status::DRQ);
            bench.channel.write_data(0x5a5a, &mut bench.board, &mut bench.disks);
        }
        assert!(bench.wait());
        assert_eq!(bench.disks.disks[0][20 * SECTOR_BYTES..21 * SECTOR_BYTES], [0x5a; SECTOR_BYTES]);
    }
    let mut absent = Bench::with([None, Some(SECTORS)]);
    assert_eq!(absent.channel.read_data_string(2, &mut [0; 64]), 0);
}

#[test]
fn multiple_commands_move_whole_blocks_and_are_refused_until_set() {
    let mut bench = Bench::new();
    bench.command28(0xc4, 0, 1);
    assert!(bench.wait());
    assert_eq!((bench.get(7), bench.get(1)), (READY | status::ERR, error::ABRT));
    bench.command28(0xc6, 0, 4);
    bench.wait();
    assert_eq!(bench.get(7), READY);
    bench.command28(0xc4, 100, 6);
    let mut sector = 100u64;
    for block in [4, 2] {
        assert!(bench.wait());
        for _ in 0..block {
            assert_eq!(bench.get(7) & status::DRQ, status::DRQ);
            assert_eq!(bench.take_sector()[..8], sector.to_le_bytes());
            sector += 1;
        }
    }
    assert_eq!(bench.get(7), READY);
    bench.command28(0xc5, 200, 5);
    for block in [4, 1] {
        for _ in 0..block {
            assert_eq!(bench.get(7), READY | status::DRQ);
            bench.give_sector(7);
        }
        assert!(bench.wait());
    }
    assert_eq!(bench.get(7), READY);
    assert_eq!(bench.disks.disks[0][200 * 512..205 * 512], [7; 5 * 512]);
    for (count, good) in [(0, true), (3, false), (16, true), (32, false)] {
        bench.command28(0xc6, 0, count);
        bench.wait();
        assert_eq!(bench.get(7) & status::ERR == 0, good, "{count}");
    }
}

#[test]
fn a_count_of_zero_means_256_sectors_or_65536() {
    let mut bench = Bench::new();
    bench.command28(0x20, 0, 0);
    for _ in 0..256 {
        assert!(bench.wait());
        bench.take_sector();
    }
    assert_eq!(bench.get(7), READY);
    bench.command48(0x24, 0, 0);
    assert!(bench.wait());
    assert_eq!((bench.get(7), bench.get(1)), (READY | status::ERR, error::IDNF), "the disk is smaller than that");
}

#[test]
fn sectors_beyond_the_end_are_not_found() {
    let mut bench = Bench::new();
    for (lba, count, good) in [(4095, 1, true), (4095, 2, false), (4096, 1, false), (0x0fff_ffff, 1, false)] {
        bench.command28(0x40, lba, count);
        assert!(bench.wait());
        let (status, error) = (bench.get(7), bench.get(1));
        assert_eq!((status & status::ERR == 0, error), (good, if good { 0 } else { error::IDNF }), "{lba}+{count}");
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_named_in_the_registers() {
    let mut bench = Bench::new();
    bench.disks.bad.push(0x123);
    bench.command28(0x20, 0x122, 3);
    assert!(bench.wait());
    bench.take_sector();
    assert!(bench.wait());
    assert_eq!((bench.get(7), bench.get(1)), (READY | status::ERR, error::UNC));
    assert_eq!((bench.get(3), bench.get(4), bench.get(5)), (0x23, 0x01, 0));
    assert_eq!(bench.channel.read_data(&mut bench.board, &mut bench.disks), 0, "nothing is transferred");
    bench.command48(0x24, 0x123, 1);
    bench.wait();
    assert_eq!(bench.get(1), error::UNC);
    bench.command28(0x40, 0x120, 8);
    bench.wait();
    assert_eq!((bench.get(1), bench.get(3)), (error::UNC, 0x23), "verify finds it too");
}

#[test]
fn a_sector_that_cannot_be_written_is_a_device_fault() {
    let mut bench = Bench::new();
    bench.disks.bad.push(50);
    bench.command28(0x30, 49, 2);
    bench.give_sector(1);
    bench.wait();
    bench.give_sector(2);
    assert!(bench.wait());
    assert_eq!((bench.get(7), bench.get(1)), (READY | status::DF | status::ERR, error::ABRT));
    assert_eq!(bench.get(3), 50);
    bench.command28(0x20, 49, 1);
    bench.wait();
    assert_eq!(bench.take_sector(), [1; 512], "the sector before it is written, and the drive goes on");
}

#[test]
fn cylinder_head_and_sector_follow_the_translation_that_was_set() {
    let mut bench = Bench::new();
    let read = |bench: &mut Bench, cylinder: u8, head: u8, sector: u8| {
        for (offset, value) in [(2, 1), (3, sector), (4, cylinder), (5, 0), (6, 0xa0 | head), (7, 0x20)] {
            bench.put(offset, value);
        }
        bench.wait();
        if bench.get(7) & status::ERR != 0 {
            return Err(bench.get(1));
        }
        Ok(u64::from_le_bytes(bench.take_sector()[..8].try_into().unwrap()))
    };
    assert_eq!(read(&mut bench, 0, 0, 1), Ok(0));
    assert_eq!(read(&mut bench, 1, 2, 3), Ok(16 * 63 + 2 * 63 + 2));
    assert_eq!(read(&mut bench, 0, 0, 0), Err(error::IDNF));
    assert_eq!(read(&mut bench, 0, 0, 64), Err(error::IDNF));
    // Four heads of 17 sectors.
    for (offset, value) in [(2, 17), (6, 0xa3), (7, 0x91)] {
        bench.put(offset, value);
    }
    bench.wait();
    assert_eq!(read(&mut bench, 1, 2, 3), Ok(4 * 17 + 2 * 17 + 2));
    assert_eq!(read(&mut bench, 1, 4, 3), Err(error::IDNF));
}

#[test]
fn reading_the_status_acknowledges_and_the_alternate_status_does_not() {
    let mut bench = Bench::new();
    bench.command28(0xe7, 0, 0);
    assert!(bench.wait());
    assert_eq!(bench.disks.flushes, 1);
    assert_eq!(bench.channel.read_alternate_status(&mut bench.board), READY);
    assert!(bench.channel.irq());
    assert_eq!(bench.get(7), READY);
    assert!(!bench.channel.irq());
}

#[test]
fn nien_keeps_the_line_low_and_the_drive_remembers() {
    let mut bench = Bench::new();
    bench.channel.write_control(control::NIEN, &mut bench.board);
    bench.command28(0xe7, 0, 0);
    assert!(!bench.wait());
    bench.channel.write_control(0, &mut bench.board);
    assert!(bench.channel.irq());
}

#[test]
fn an_absent_drive_reads_zero_and_does_no_command() {
    let mut bench = Bench::new();
    bench.put(6, 0xb0);
    assert_eq!(bench.get(7), 0);
    bench.put(7, 0xec);
    assert!(!bench.wait());
    assert_eq!((bench.get(7), bench.channel.deadline_ns()), (0, None));
    bench.put(6, 0xa0);
    assert_eq!(bench.get(7), READY, "device 0 has not heard the command");
}

#[test]
fn two_drives_are_told_apart_by_the_device_register() {
    let mut bench = Bench::with([Some(64), Some(128)]);
    for (device, sectors) in [(0xa0, 64), (0xb0, 128)] {
        bench.put(6, device);
        bench.put(7, 0xec);
        assert!(bench.wait());
        let block = bench.take_sector();
        assert_eq!(Bench::word(&block, 60), sectors);
        assert_eq!(bench.get(6), device);
    }
}

#[test]
fn a_software_reset_ends_everything_and_leaves_the_signature() {
    let mut bench = Bench::with([Some(64), Some(64)]);
    bench.put(6, 0xf0);
    bench.put(2, 1);
    bench.put(7, 0x20);
    bench.channel.write_control(control::SRST, &mut bench.board);
    assert_eq!(bench.get(7), status::BSY);
    assert_eq!(bench.channel.deadline_ns(), None, "it lasts as long as the bit is set");
    bench.channel.write_control(0, &mut bench.board);
    assert_eq!(bench.get(7), status::BSY);
    assert!(!bench.wait(), "a reset does not interrupt");
    assert_eq!(bench.get(7), READY);
    let registers: Vec<u8> = (1..=6).map(|offset| bench.get(offset)).collect();
    assert_eq!(registers, [1, 1, 1, 0, 0, 0], "device 0 is selected, passed, and a disk");
}

#[test]
fn hob_shows_the_bytes_written_before_until_the_next_write() {
    let mut bench = Bench::new();
    bench.put(3, 0x11);
    bench.put(3, 0x22);
    assert_eq!(bench.get(3), 0x22);
    bench.channel.write_control(control::HOB, &mut bench.board);
    assert_eq!(bench.get(3), 0x11);
    bench.put(4, 0);
    assert_eq!(bench.get(3), 0x22);
}

#[test]
fn features_are_taken_or_refused() {
    for (feature, count, good) in [
        (0x02, 0, true),
        (0x82, 0, true),
        (0xaa, 0, true),
        (0x55, 0, true),
        (0x03, 0x0c, true),
        (0x03, 0x45, false),
        (0x99, 0, false),
    ] {
        let mut bench = Bench::new();
        bench.put(1, feature);
        bench.command28(0xef, 0, count);
        assert!(bench.wait());
        assert_eq!(bench.get(7) & status::ERR == 0, good, "{feature:#x}");
    }
}

#[test]
fn unknown_commands_are_aborted() {
    for opcode in [0x00, 0x08, 0xa1, 0xc8, 0xca, 0x25, 0x35, 0xff] {
        let mut bench = Bench::new();
        bench.command28(opcode, 0, 1);
        assert!(bench.wait());
        assert_eq!((bench.get(7), bench.get(1)), (READY | status::ERR, error::ABRT), "{opcode:#x}");
    }
}

#[test]
fn diagnostics_are_done_by_both_drives_with_one_interrupt() {
    let mut bench = Bench::with([Some(64), Some(64)]);
    bench.put(6, 0xb0);
    bench.put(7, 0x90);
    assert!(bench.wait());
    assert_eq!((bench.get(1), bench.get(7)), (1, READY));
    bench.put(6, 0xb0);
    assert!(!bench.channel.irq());
    assert_eq!(bench.get(1), 1);
}

#[test]
fn no_sequence_of_accesses_harms_the_channel() {
    let mut bench = Bench::with([Some(64), Some(32)]);
    bench.disks.bad.push(9);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    for _ in 0..200_000 {
        bench.board.now_ns += draw(5000);
        let value = draw(256) as u8;
        match draw(10) {
            0..3 => bench.put(1 + draw(7) as u16, if draw(2) == 0 { value } else { value & 0x3f }),
            3 => {
                bench.get(draw(8) as u16);
            }
            4 => drop(bench.take_sector()),
            5 => bench.give_sector(value),
            // A busy drive stays so, whatever the time.
            6 => _ = bench.channel.write_data_string(2 + 2 * draw(2) as usize, &[value; 100]),
            7 => _ = bench.channel.read_data_string(2 + 2 * draw(2) as usize, &mut [0; 100]),
            8 if draw(20) == 0 => bench.channel.write_control(value, &mut bench.board),
            _ => {
                bench.channel.read_alternate_status(&mut bench.board);
            }
        }
        bench.channel.wake(&mut bench.board);
        if let Some(deadline) = bench.channel.deadline_ns() {
            assert!(deadline > bench.board.now_ns);
        }
    }
}
