//! What a kernel that goes back to real mode finds of a BIOS.

use super::*;

/// Where the guests' real-mode code lies.
const CODE: u16 = 0x1000;
const TICKS: u64 = 0x46c;
const DAYS: u64 = 0x470;
const TICKS_OF_A_DAY: u32 = 0x18_00b0;
/// A period of the timer, of 65,536 ticks of its clock.
const PERIOD_NS: u64 = 65_536 * 1_000_000_000 / 1_193_182;

/// A machine at the first byte of `code` in real mode, with a stack and nothing else set up.
fn in_real_mode(config: MachineConfig, code: &[u8]) -> Machine {
    let mut machine = machine_with(config, |code| code.hlt());
    machine.change_memory(PhysAddr(CODE.into()), code);
    let model = machine.config().cpu_model;
    machine.change_cpu(0, |state| {
        let mut fresh = CpuState::reset(model);
        // A start-up IPI puts CS and EIP where it says.
        fresh.activity = Activity::WaitForSipi;
        fresh.start_up((CODE >> 12) as u8);
        fresh.gpr[4] = 0xf000;
        (fresh.apic_id, fresh.cpu_count) = (state.apic_id, state.cpu_count);
        *state = fresh;
    });
    machine
}

fn word(machine: &Machine, addr: u64) -> u32 {
    machine.memory().read_u32(PhysAddr(addr))
}

/// out 0xf4, ax.
const EXIT_WITH_AX: [u8; 2] = [0xe7, 0xf4];

#[test]
fn the_timer_wakes_real_mode_code_that_has_set_up_nothing_and_counts_the_time_of_day() {
    // sti; hlt; hlt; cli; out 0xf4, ax
    let code = [&[0xfb, 0xf4, 0xf4, 0xfa][..], &EXIT_WITH_AX].concat();
    let mut machine = in_real_mode(MachineConfig::default(), &code);
    assert_eq!(word(&machine, TICKS), 0, "midnight");
    assert!(matches!(finish(&mut machine, &mut Detached), Stop::PowerOff { .. }));
    assert_eq!(word(&machine, TICKS), 2);
    let periods = 2 * PERIOD_NS;
    assert!((periods - 5000..periods + 5000).contains(&machine.now_ns()), "{}", machine.now_ns());
    assert_eq!(machine.chipset().pic.isr(), 0, "each was ended");
}

#[test]
fn the_time_of_day_begins_as_the_clock_and_starts_again_at_midnight() {
    let noon = MachineConfig { start_unix_s: 1_735_689_600 + 43_200, ..MachineConfig::default() };
    assert_eq!(word(&in_real_mode(noon, &[0xf4]), TICKS), 786_521);
    let code = [&[0xfb, 0xf4, 0xfa][..], &EXIT_WITH_AX].concat();
    let mut machine = in_real_mode(MachineConfig::default(), &code);
    machine.change_memory(PhysAddr(TICKS), &(TICKS_OF_A_DAY - 1).to_le_bytes());
    assert!(matches!(finish(&mut machine, &mut Detached), Stop::PowerOff { .. }));
    assert_eq!((word(&machine, TICKS), word(&machine, DAYS) & 0xff), (0, 1));
}

#[test]
fn whoever_takes_the_users_vector_of_the_timer_is_called_at_each_tick() {
    // mov word [0x1c*4], handler; mov word [0x1c*4+2], 0; sti; hlt; cli; out 0xf4, ax
    let mut code = vec![0xc7, 0x06, 0x70, 0x00, 0x40, 0x10, 0xc7, 0x06, 0x72, 0x00, 0, 0, 0xfb, 0xf4, 0xfa];
    code.extend(EXIT_WITH_AX);
    code.resize(0x40, 0x90);
    code.extend([0xb8, 0x34, 0x12, 0x2e, 0xa3, 0x80, 0x10, 0xcf]); // mov ax, 0x1234; mov cs:[0x1080], ax; iret
    let mut machine = in_real_mode(MachineConfig::default(), &code);
    assert!(matches!(finish(&mut machine, &mut Detached), Stop::PowerOff { .. }));
    assert_eq!(word(&machine, 0x1080) & 0xffff, 0x1234);
}

#[test]
fn the_bios_tells_the_equipment_and_the_size_of_memory_and_refuses_disks() {
    // int N; out 0xf4, ax, or with CF in AX
    for (vector, answer) in [(0x11, 0x822), (0x12, 639)] {
        let code = [&[0xcd, vector][..], &EXIT_WITH_AX].concat();
        let mut machine = in_real_mode(MachineConfig::default(), &code);
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: answer }, "{vector:#x}");
    }
    for vector in [0x13, 0x15] {
        // clc; int N; sbb al, al; out 0xf4, ax: AH tells, AL is all ones with CF
        let code = [&[0xf8, 0xcd, vector, 0x18, 0xc0][..], &EXIT_WITH_AX].concat();
        let mut machine = in_real_mode(MachineConfig::default(), &code);
        assert_eq!(finish(&mut machine, &mut Detached), Stop::PowerOff { status: 0x86ff }, "{vector:#x}");
    }
}

#[test]
fn a_hardware_interrupt_without_a_driver_is_ended() {
    // All lines but the cascade and the RTC's are masked; the RTC is to interrupt at each second.
    let code = [
        &[0xb0, 0xfb, 0xe6, 0x21, 0xb0, 0xfe, 0xe6, 0xa1][..],
        &[0xb0, 0x0b, 0xe6, 0x70, 0xb0, 0x12, 0xe6, 0x71, 0xfb, 0xf4, 0xfa],
        &EXIT_WITH_AX,
    ]
    .concat();
    let mut machine = in_real_mode(MachineConfig::default(), &code);
    assert!(matches!(finish(&mut machine, &mut Detached), Stop::PowerOff { .. }));
    assert_eq!((machine.chipset().pic.isr(), machine.stats().interrupts_by_vector[0x70]), (0, 1));
}

#[test]
fn a_jump_to_the_reset_vector_resets_the_machine() {
    let mut machine = in_real_mode(MachineConfig::default(), &[0xea, 0x00, 0x00, 0xff, 0xff]);
    assert_eq!(finish(&mut machine, &mut Detached), Stop::Reset { cause: ResetCause::KeyboardController });
}

#[test]
fn an_image_that_lies_over_firmwares_memory_stays_whole() {
    let flags = 1 << 16;
    let checksum = 0u32.wrapping_sub(0x1bad_b002 + flags);
    let header = [0x1bad_b002, flags, checksum, 0x100, 0x100, 0, 0, 0x120];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.resize(0x400, 0xab);
    let kernel = Image { name: "low".into(), bytes };
    let boot = Boot::Multiboot { kernel, command_line: String::new(), modules: Vec::new() };
    let mut machine = Machine::new(MachineConfig::default(), boot, EngineConfig::default()).unwrap();
    for _ in 0..2 {
        assert_eq!(word(&machine, 0x20), 0xf000_fea5, "firmware's vector 8");
        assert_eq!([0x120, 0x400, 0x4fc].map(|addr| word(&machine, addr)), [0xabab_abab; 3], "the kernel");
        machine.reboot().unwrap();
    }
}
