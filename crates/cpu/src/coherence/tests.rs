use memory::{FrameKind, PhysMem};
use x86::{Cr0, PhysAddr, SegReg};

use super::{Closed, Finding, Flush};
use crate::{Cpu, CpuModel, CpuState, Engine, EngineConfig, Exit, Gpr, RunRequest, mmu::AccessKind};

const DIRECTORY: u64 = 0x1000;
const TABLE: u64 = 0x2000;
const CODE: u32 = 0x5000;
/// The page that the tests change: linear 0x9000.
const PTE: u64 = TABLE + 9 * 4;

/// CPUs in ring 0 with paging on one memory, whose first 4 MiB are mapped to themselves, writable.
struct Lab {
    engine: Engine,
    cpus: Vec<Cpu>,
    mem: PhysMem,
    now: u64,
}

impl Lab {
    fn new(checked: bool) -> Self {
        let mut mem = PhysMem::new().unwrap();
        mem.map(PhysAddr(0), 4 << 20, FrameKind::Ram).unwrap();
        mem.write_u32(PhysAddr(DIRECTORY), TABLE as u32 | 7);
        (0..1024).for_each(|page| mem.write_u32(PhysAddr(TABLE + page * 4), (page as u32) << 12 | 0x67));
        mem.write_u32(PhysAddr(0x9000), 0x1111);
        mem.write_u32(PhysAddr(0xa000), 0x2222);
        let mut state = CpuState::multiboot(CpuModel::Max, CODE, 0);
        state.cr3 = DIRECTORY as u32;
        state.cr0 |= (Cr0::PG | Cr0::WP).bits();
        state.set_gpr(Gpr::Esp, 0x8000);
        let mut engine = Engine::new(EngineConfig::default());
        if checked {
            engine.check_coherence().keep_findings();
        }
        Lab { engine, cpus: vec![Cpu::new(state.clone()), Cpu::new(state)], mem, now: 0 }
    }

    /// The CPU is in ring 3 while others run.
    fn goes_to_ring_3(&mut self, number: usize) {
        let cpu = &mut self.cpus[number];
        cpu.state.cpl = 3;
        cpu.state.activity = crate::Activity::Running;
        let request = RunRequest { budget: 0, now: self.now, cpu: number, ..RunRequest::default() };
        assert_eq!(self.engine.run(cpu, &mut self.mem, &mut (), request), Exit::Budget);
    }

    /// Runs the bytes on a CPU up to their HLT.
    fn run(&mut self, cpu: usize, code: &[u8]) {
        let at = CODE + 0x100 * cpu as u32;
        let mut code = code.to_vec();
        code.push(0xf4);
        self.mem.write(PhysAddr(at.into()), &code);
        self.engine.invalidate();
        let number = cpu;
        let cpu = &mut self.cpus[number];
        cpu.state.eip = at;
        cpu.state.activity = crate::Activity::Running;
        let before = cpu.state.retired;
        loop {
            let request = RunRequest {
                budget: 1000,
                now: self.now + cpu.state.retired - before,
                cpu: number,
                ..RunRequest::default()
            };
            match self.engine.run(cpu, &mut self.mem, &mut (), request) {
                Exit::Bus => {}
                exit => {
                    assert_eq!(exit, Exit::Halted);
                    break;
                }
            }
        }
        self.now += cpu.state.retired - before;
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.engine.coherence().map(|it| it.take_findings()).unwrap_or_default()
    }

    fn eax(&self) -> u32 {
        self.cpus[0].state.gpr(Gpr::Eax)
    }
}

/// `mov eax, [addr]`
fn load(addr: u32) -> Vec<u8> {
    [&[0xa1][..], &addr.to_le_bytes()].concat()
}

/// `mov dword [addr], value`
fn store(addr: u32, value: u32) -> Vec<u8> {
    [&[0xc7, 0x05][..], &addr.to_le_bytes(), &value.to_le_bytes()].concat()
}

/// `invlpg [addr]`
fn invlpg(addr: u32) -> Vec<u8> {
    [&[0x0f, 0x01, 0x3d][..], &addr.to_le_bytes()].concat()
}

/// `mov eax, cr3; mov cr3, eax`
const RELOAD: &[u8] = &[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];

#[test]
fn a_load_through_an_entry_whose_page_has_moved_is_found_with_who_moved_it() {
    let mut lab = Lab::new(true);
    let code = [load(0x9000), store(PTE as u32, 0xa067), load(0x9000)].concat();
    lab.run(0, &code);
    assert_eq!(lab.eax(), 0x1111, "the stale translation is really used");
    let [finding] = lab.findings()[..] else { panic!("one finding") };
    assert_eq!((finding.cpu, finding.addr.0, finding.kind), (0, 0x9000, AccessKind::Read));
    assert_eq!((finding.pc, finding.change.pc), (CODE + 15, CODE + 5));
    assert_eq!((finding.change.entry.0, finding.change.old, finding.change.new), (PTE, 0x9067, 0xa067));
    assert_eq!((finding.held.frame, finding.closed, finding.own_flush), (9, Closed::ByItself, None));
}

#[test]
fn a_flush_in_time_leaves_nothing_to_find() {
    for flush in [invlpg(0x9000), RELOAD.to_vec()] {
        let mut lab = Lab::new(true);
        lab.run(0, &[load(0x9000), store(PTE as u32, 0xa067), flush, load(0x9000)].concat());
        assert_eq!(lab.eax(), 0x2222);
        assert_eq!(lab.findings(), []);
    }
}

#[test]
fn each_page_is_told_of_once() {
    let mut lab = Lab::new(true);
    let code = [load(0x9000), store(PTE as u32, 0xa067), load(0x9000), load(0x9004), load(0x9008)].concat();
    lab.run(0, &code);
    assert_eq!(lab.findings().len(), 1);
    lab.run(0, &load(0x9000));
    assert_eq!(lab.findings(), []);
}

#[test]
fn what_does_not_matter_for_the_access_is_no_use() {
    // R/W is taken: loads go on as they may, a store does not.
    let mut lab = Lab::new(true);
    lab.run(0, &[store(0x9000, 1), store(PTE as u32, 0x9065), load(0x9000)].concat());
    assert_eq!(lab.findings(), []);
    lab.run(0, &store(0x9000, 2));
    let kinds: Vec<_> = lab.findings().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [AccessKind::Write]);
}

#[test]
fn rights_that_are_raised_or_given_back_are_no_finding() {
    let mut lab = Lab::new(true);
    lab.mem.write_u32(PhysAddr(PTE), 0x9065);
    lab.run(0, &[load(0x9000), store(PTE as u32, 0x9067), load(0x9000)].concat());
    assert_eq!(lab.findings(), []);
    let taken_and_given = [load(0xb000), store(TABLE as u32 + 44, 0), store(TABLE as u32 + 44, 0xb067), load(0xb000)];
    lab.run(0, &taken_and_given.concat());
    assert_eq!(lab.findings(), []);
}

#[test]
fn a_cleared_dirty_bit_is_found_by_the_next_store() {
    let mut lab = Lab::new(true);
    lab.run(0, &[store(0x9000, 1), store(PTE as u32, 0x9027), load(0x9000)].concat());
    assert_eq!(lab.findings(), []);
    lab.run(0, &store(0x9000, 2));
    assert_eq!(lab.findings().len(), 1, "the store sets no D");
}

#[test]
fn a_directory_entry_takes_all_its_pages_along() {
    let mut lab = Lab::new(true);
    lab.mem.write_u32(PhysAddr(DIRECTORY + 4), TABLE as u32 | 7);
    lab.run(0, &[load(0x40_9000), load(0x40_a000), store(DIRECTORY as u32 + 4, 0), load(0x40_a000)].concat());
    let pages: Vec<_> = lab.findings().iter().map(|finding| finding.held.page).collect();
    assert_eq!(pages, [0x40a]);
}

#[test]
fn code_that_runs_on_in_a_page_that_is_gone_is_found_as_a_fetch() {
    let mut lab = Lab::new(true);
    // The code is mapped a second time, at 0x405000, from where it takes its own page away.
    lab.mem.write_u32(PhysAddr(DIRECTORY + 4), 0x3007);
    lab.mem.write_u32(PhysAddr(0x3000 + 5 * 4), CODE | 0x67);
    let jump = [&[0xe9][..], &(0x40_0000u32).to_le_bytes()].concat();
    lab.run(0, &[jump, store(0x3000 + 5 * 4, 0), vec![0x90, 0xeb, 0x00, 0x90]].concat());
    let kinds: Vec<_> = lab.findings().iter().map(|finding| (finding.kind, finding.held.page)).collect();
    assert_eq!(kinds, [(AccessKind::Fetch, 0x405)]);
}

#[test]
fn a_table_that_is_filled_by_a_string_instruction_is_watched_too() {
    let mut lab = Lab::new(true);
    // mov edi, PTE; xor eax, eax; mov ecx, 4; rep stosd
    let clear = [&[0xbf][..], &(PTE as u32).to_le_bytes(), &[0x31, 0xc0, 0xb9, 4, 0, 0, 0, 0xf3, 0xab]].concat();
    lab.run(0, &[load(0x9000), load(0xa000), clear, load(0xa000)].concat());
    let pages: Vec<_> = lab.findings().iter().map(|finding| finding.held.page).collect();
    assert_eq!(pages, [0xa]);
}

#[test]
fn another_cpu_may_use_what_it_holds_until_the_changer_is_back_in_ring_3() {
    let mut lab = Lab::new(true);
    lab.run(1, &load(0x9000));
    lab.run(0, &store(PTE as u32, 0xa067));
    lab.run(1, &load(0x9000));
    assert_eq!(lab.findings(), [], "the shootdown is under way");
    lab.goes_to_ring_3(0);
    lab.run(1, &load(0x9000));
    let [finding] = lab.findings()[..] else { panic!("one finding") };
    assert_eq!((finding.cpu, finding.change.cpu, finding.closed), (1, 0, Closed::BackInRing3));
    assert_eq!(lab.cpus[1].state.gpr(Gpr::Eax), 0x1111);
}

#[test]
fn a_flush_on_the_other_cpu_ends_the_matter() {
    for (flush, found) in [(invlpg(0x9000), 0), (RELOAD.to_vec(), 0), (invlpg(0xa000), 1)] {
        let mut lab = Lab::new(true);
        lab.run(1, &load(0x9000));
        lab.run(0, &[store(PTE as u32, 0xa067), invlpg(0x9000)].concat());
        lab.run(1, &flush);
        lab.goes_to_ring_3(0);
        lab.run(1, &load(0x9000));
        let findings = lab.findings();
        assert_eq!(findings.len(), found);
        assert!(findings.iter().all(|finding| finding.own_flush.is_some()), "CPU 0 has flushed its own");
    }
}

#[test]
fn a_cpu_that_holds_nothing_of_the_page_is_left_alone() {
    let mut lab = Lab::new(true);
    lab.run(0, &[load(0x9000), store(PTE as u32, 0xa067), invlpg(0x9000)].concat());
    lab.goes_to_ring_3(0);
    lab.run(1, &load(0x9000));
    assert_eq!(lab.findings(), []);
    assert_eq!(lab.cpus[1].state.gpr(Gpr::Eax), 0x2222);
}

#[test]
fn checking_changes_nothing() {
    let code =
        [load(0x9000), store(0x9004, 5), store(PTE as u32, 0xa067), load(0x9000), store(0x9008, 7), RELOAD.to_vec()];
    let end = |checked| {
        let mut lab = Lab::new(checked);
        lab.run(0, &code.concat());
        lab.run(0, &[load(0x9000), store(PTE as u32, 0x9067), invlpg(0x9000), load(0x9000)].concat());
        let state = &lab.cpus[0].state;
        (state.gpr, state.retired, state.tlb.tlb_hash(), state.tlb.counts(), lab.mem.hash())
    };
    assert_eq!(end(false), end(true));
}

#[test]
fn flushes_are_told_to_the_bus() {
    #[derive(Default)]
    struct Seen(Vec<Flush>);
    impl crate::Bus for Seen {
        fn port_in(&mut self, now: u64, port: u16, size: crate::IoSize) -> crate::IoRead {
            ().port_in(now, port, size)
        }
        fn port_out(&mut self, _: u64, _: u16, _: crate::IoSize, _: u32) -> crate::IoEffect {
            crate::IoEffect::None
        }
        fn mmio_read(&mut self, now: u64, addr: PhysAddr, size: crate::IoSize) -> crate::IoRead {
            ().mmio_read(now, addr, size)
        }
        fn mmio_write(&mut self, _: u64, _: PhysAddr, _: crate::IoSize, _: u32) -> crate::IoEffect {
            crate::IoEffect::None
        }
        fn intr(&self) -> bool {
            false
        }
        fn acknowledge(&mut self, _: u64) -> u8 {
            0xff
        }
        fn flushed(&mut self, _: u64, flush: Flush) {
            self.0.push(flush);
        }
    }
    let mut lab = Lab::new(false);
    // mov eax, cr3; mov cr3, eax; invlpg [0x9000]; xor al, 8; mov cr3, eax; hlt
    let code = [RELOAD, &invlpg(0x9000), &[0x34, 8, 0x0f, 0x22, 0xd8, 0xf4]].concat();
    lab.mem.write(PhysAddr(CODE.into()), &code);
    let mut seen = Seen::default();
    let request = RunRequest { budget: 1000, ..RunRequest::default() };
    lab.engine.run(&mut lab.cpus[0], &mut lab.mem, &mut seen, request);
    assert_eq!(seen.0, [Flush::Reload, Flush::Page(9), Flush::Switch { cr3: DIRECTORY as u32 | 8 }]);
    assert_eq!(lab.cpus[0].state.selector(SegReg::Cs).0, 8);
}
