use serde::{Deserialize, Serialize};

use crate::config::MachineConfig;

/// Which device answers a range of ports. The bus holds these, never the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say all")]
pub enum DeviceId {
    Pic1,
    Pit,
    KeyboardData,
    Port61,
    KeyboardStatus,
    Rtc,
    PageRegisters,
    Port92,
    Pic2,
    DebugPort,
    Fpu,
    DebugExit,
    Serial(u8),
    EdgeLevel,
    ResetControl,
    Ide(u8),
    IdeControl(u8),
    AcpiPm,
    AcpiCommand,
    FwCfg,
    Vga,
    TestLatch,
    TestFlush,
    TestByte,
    TestLines,
}

/// A range and who answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// First port or address.
    pub start: u64,
    /// Last one.
    pub end: u64,
    /// Name as the machine's dumps show it.
    pub name: &'static str,
    /// Ranges within.
    pub children: Vec<Resource>,
}

impl Resource {
    pub(crate) fn new(start: u64, end: u64, name: &'static str) -> Self {
        Resource { start, end, name, children: Vec::new() }
    }
}

/// First ports of COM1 to COM4.
pub(crate) const SERIAL_PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];

/// First ports of the command blocks of both IDE channels, and the ports of their control blocks.
const IDE_PORTS: [(u16, u16); 2] = [(0x1f0, 0x3f6), (0x170, 0x376)];

/// A range of ports as wired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortRange {
    pub first: u16,
    pub last: u16,
    pub device: DeviceId,
}

/// Who answers which port: the ranges ascending, and an index for every port. It follows
/// from the configuration, so it is no state.
pub(crate) struct PortMap {
    ranges: Vec<PortRange>,
    /// One more than the index into `ranges`; 0 where nothing answers.
    by_port: Vec<u8>,
}

impl PortMap {
    pub fn new(config: &MachineConfig) -> Self {
        use DeviceId::*;
        let mut ranges = vec![
            (0x20, 0x21, Pic1),
            (0x40, 0x43, Pit),
            (0x60, 0x60, KeyboardData),
            (0x61, 0x61, Port61),
            (0x64, 0x64, KeyboardStatus),
            (0x70, 0x71, Rtc),
            (0x80, 0x8f, PageRegisters),
            (0x92, 0x92, Port92),
            (0xa0, 0xa1, Pic2),
            (0xe9, 0xe9, DebugPort),
            (0xf0, 0xf3, Fpu),
            (0xf4, 0xf7, DebugExit),
            (0xf8, 0xff, Fpu),
            (0xb2, 0xb3, AcpiCommand),
            (0x3c0, 0x3df, Vga),
            (0x4d0, 0x4d1, EdgeLevel),
            (0x510, 0x511, FwCfg),
            (0x600, 0x60b, AcpiPm),
            (0xcf9, 0xcf9, ResetControl),
        ];
        for (number, first) in (0..).zip(SERIAL_PORTS) {
            if config.serial[usize::from(number)].is_some() {
                ranges.push((first, first + 7, Serial(number)));
            }
        }
        for (number, (command, control)) in (0..).zip(IDE_PORTS) {
            // A channel without drives answers nobody.
            if config.disks.len() > 2 * usize::from(number) {
                ranges.push((command, command + 7, Ide(number)));
                ranges.push((control, control, IdeControl(number)));
            }
        }
        if config.test_device {
            // 0xe9 stays the debug port.
            ranges.extend([
                (0xe0, 0xe3, TestLatch),
                (0xe4, 0xe7, TestFlush),
                (0xe8, 0xe8, TestByte),
                (0xea, 0xeb, TestByte),
                (0x2000, 0x2017, TestLines),
            ]);
        }
        let mut ranges: Vec<PortRange> =
            ranges.into_iter().map(|(first, last, device)| PortRange { first, last, device }).collect();
        ranges.sort_by_key(|range| range.first);
        let mut by_port = vec![0; 1 << 16];
        for (index, range) in (1..).zip(&ranges) {
            by_port[usize::from(range.first)..=usize::from(range.last)].fill(index);
        }
        PortMap { ranges, by_port }
    }

    /// The device at `port` and the offset of the port in its range.
    pub fn find(&self, port: u16) -> Option<(DeviceId, u16)> {
        let index = usize::from(self.by_port[usize::from(port)]).checked_sub(1)?;
        let range = self.ranges[index];
        Some((range.device, port - range.first))
    }

    /// The ranges as dumps show them.
    pub fn resources(&self) -> Vec<Resource> {
        self.ranges
            .iter()
            .map(|range| Resource::new(range.first.into(), range.last.into(), name(range.device)))
            .collect()
    }
}

fn name(device: DeviceId) -> &'static str {
    match device {
        DeviceId::Pic1 => "pic1",
        DeviceId::Pit => "timer",
        DeviceId::KeyboardData | DeviceId::KeyboardStatus => "keyboard",
        DeviceId::Port61 => "port 61",
        DeviceId::Rtc => "rtc",
        DeviceId::PageRegisters => "dma page reg",
        DeviceId::Port92 => "port 92",
        DeviceId::Pic2 => "pic2",
        DeviceId::DebugPort => "debug port",
        DeviceId::Fpu => "fpu",
        DeviceId::DebugExit => "debug exit",
        DeviceId::Serial(_) => "serial",
        DeviceId::EdgeLevel => "pic edge/level",
        DeviceId::ResetControl => "reset control",
        DeviceId::Ide(_) | DeviceId::IdeControl(_) => "ide",
        DeviceId::AcpiPm => "acpi pm",
        DeviceId::AcpiCommand => "acpi command",
        DeviceId::FwCfg => "fw_cfg",
        DeviceId::Vga => "vga",
        DeviceId::TestLatch | DeviceId::TestFlush | DeviceId::TestByte | DeviceId::TestLines => "testdev",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_ascending_and_do_not_overlap() {
        let map = PortMap::new(&MachineConfig::default());
        for pair in map.ranges.windows(2) {
            assert!(pair[0].last < pair[1].first, "{pair:?}");
        }
    }

    #[test]
    fn a_port_finds_its_device_and_an_empty_one_nothing() {
        let mut config = MachineConfig::default();
        config.serial[3] = None;
        let map = PortMap::new(&config);
        assert_eq!(map.find(0x3fd), Some((DeviceId::Serial(0), 5)));
        assert_eq!(map.find(0xf4), Some((DeviceId::DebugExit, 0)));
        assert_eq!(map.find(0xcf8), None);
        assert_eq!(map.find(0x2e8), None);
        assert_eq!(map.find(0xffff), None);
    }
}
