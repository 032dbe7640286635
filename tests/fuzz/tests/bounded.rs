//! The bodies of the fuzz targets on fixed seeds, for some seconds.

use std::env;

use pagewalk_fuzz_bodies::{Random, areas, code, images, modules, tables};

fn instructions() -> u64 {
    env::var("PAGEWALK_FUZZ_INSTRUCTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000_000)
}

/// How many damaged files are tried.
fn seeds() -> u64 {
    env::var("PAGEWALK_FUZZ_FILES").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// Bytes of this process that are in memory, where the host tells.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

#[test]
fn random_code_in_every_mode_ends_with_its_budget_and_within_memory() {
    let seed = env::var("PAGEWALK_FUZZ_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0_u64);
    let mut worlds = code::ways().map(code::Worlds::new);
    let mut retired = 0;
    let mut runs = 0_u64;
    while retired < instructions() {
        let random = &mut Random::new(seed.wrapping_mul(1 << 32).wrapping_add(runs));
        let len = 64 << random.below(9);
        let bytes = code::likely(random, len);
        let mode = code::MODES[runs as usize % 5];
        let engine = if runs.is_multiple_of(16) { 2 } else { runs as usize / 5 % 2 };
        // A world that shuts down at once costs nothing and counts for nothing.
        retired += worlds[engine].run(mode, runs, &bytes, 50_000) + 100;
        runs += 1;
    }
    const MOST: u64 = 1 << 30;
    assert!(resident_bytes() < MOST, "{} bytes after {runs} runs", resident_bytes());
}

#[test]
fn blocks_and_slow_functions_agree_on_random_code_in_random_worlds() {
    let mut worlds = code::ways().map(code::Worlds::new);
    for seed in 0..200 {
        let random = &mut Random::new(seed);
        let bytes = code::likely(random, 0x1_0000);
        let mode = code::MODES[seed as usize % 5];
        let [ordinary, eager, slow] = worlds.each_mut().map(|worlds| worlds.outcome(mode, seed, &bytes, 1000));
        for (name, blocks) in [("blocks", ordinary), ("blocks that are all kept", eager)] {
            if blocks != slow {
                let differs = blocks.lines().zip(slow.lines()).find(|(a, b)| a != b);
                panic!("seed {seed}: {name} and slow functions differ: {differs:?}");
            }
        }
    }
}

#[test]
fn walks_of_random_tables_end() {
    let mut tables = tables::Tables::new();
    for seed in 0..300 {
        let random = &mut Random::new(seed);
        let mut bytes = random.bytes(16 * 4096);
        // Mostly present, and mostly inside of memory.
        for entry in bytes.chunks_exact_mut(4).skip(45).filter(|_| !random.one_in(4)) {
            entry[0] |= 1;
            entry[2] = 0;
            entry[3] = 0;
        }
        tables.body(&bytes);
    }
}

#[test]
fn damaged_kernels_boot_or_are_refused() {
    let elf = images::good_kernel();
    images::kernel(&elf);
    for seed in 0..seeds() {
        let random = &mut Random::new(seed);
        let mut damaged = elf.clone();
        for _ in 0..1 + random.below(8) {
            let at = random.pick(&[84, 84, 52, 0x210, 0x2000]);
            damaged[random.below(at) as usize] = random.word() as u8;
        }
        let keep = if random.one_in(3) { random.below(0x2000) as usize } else { damaged.len() };
        images::kernel(&damaged[..keep]);
    }
}

#[test]
fn damaged_snapshots_are_refused_or_run() {
    let good = images::good_snapshot();
    images::snapshot(&good);
    for seed in 0..seeds() {
        let random = &mut Random::new(seed);
        let mut damaged = good.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(damaged.len() as u32) as usize;
            damaged[at] = random.word() as u8;
        }
        let keep = if random.one_in(3) { random.below(damaged.len() as u32) as usize } else { damaged.len() };
        images::snapshot(&damaged[..keep]);
    }
}

#[test]
fn changed_snapshots_with_right_checksums_are_refused_or_run() {
    images::changed_snapshot(&[]);
    for seed in 0..seeds() {
        let random = &mut Random::new(seed);
        let count = 5 * (1 + random.below(3) as usize);
        images::changed_snapshot(&random.bytes(count));
    }
}

#[test]
fn bytes_behind_the_header_of_a_module_load_or_are_refused() {
    for seed in 0..2000 {
        let random = &mut Random::new(seed);
        // Words that are small more often than not, as offsets and indexes are.
        let mut file: Vec<u8> = (0..200)
            .flat_map(|_| if random.one_in(3) { random.word() } else { random.below(64) * 4 }.to_le_bytes())
            .collect();
        file[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
        for (at, half) in [(16, 1u16), (18, 3), (32, 52), (34, 0), (46, 40), (48, 8), (50, 1 + random.below(7) as u16)]
        {
            file[at..at + 2].copy_from_slice(&half.to_le_bytes());
        }
        file[52..92].fill(0);
        modules::body(&file);
    }
}

#[test]
fn areas_and_a_list_of_pages_agree() {
    for seed in 0..300 {
        areas::body(&Random::new(seed).bytes(1000));
    }
}

#[cfg(unix)]
#[test]
fn what_is_said_to_the_gdb_stub_never_harms_it() {
    use pagewalk_fuzz_bodies::packets;
    const SAYINGS: [&[u8]; 16] = [
        b"qSupported:multiprocess+",
        b"?",
        b"g",
        b"m1000,40",
        b"M1000,2:00ff",
        b"p8",
        b"P0=00000000",
        b"s",
        b"vCont?",
        b"vCont;s",
        b"Z0,fff0,1",
        b"z0,fff0,1",
        b"qRcmd,68656c70",
        b"qXfer:features:read:target.xml:0,1000",
        b"Hg1",
        b"D",
    ];
    let mut machine = images::machine();
    for seed in 0..24 {
        let random = &mut Random::new(seed);
        let mut said = b"+".to_vec();
        for _ in 0..random.below(12) {
            let mut text = random.pick(&SAYINGS).to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(text.len() as u32 + 1) as usize;
                text.insert(at, random.pick(b"0fF,;:#$}*-\xff1"));
            }
            said.extend(if random.one_in(8) { text } else { packets::packet(&text) });
        }
        packets::body(&mut machine, &said);
    }
}

#[cfg(unix)]
#[test]
fn changed_commands_to_the_monitor_and_changed_stops_end_in_an_answer() {
    use pagewalk_fuzz_bodies::packets;
    const SAYINGS: [&str; 40] = [
        "!break",
        "!break fff0",
        "!break fff0 pid=1 ring=0 cpu=0",
        "!break ffff0000 cr3=0",
        "!break syscall",
        "!break syscall write 7 pid=2",
        "!break fork",
        "!break exec",
        "!break exit",
        "!break fault",
        "!break fault 1000 4096",
        "!break pte 1000",
        "!break pte 1000 pid=1",
        "!break port 60",
        "!break port 0-ffff in",
        "!break vector 0x80",
        "!break cr3",
        "!watch 0 4",
        "!watch 0 0x100000000 rw",
        "!watch 1000 4096 r phys",
        "!watch 1000 4 alias",
        "!unbreak 1",
        "!unbreak all",
        "!stop-on int3",
        "!stop-on int3 off",
        "Z2,1000,4",
        "z2,1000,4",
        "Z3,0,ffffffff",
        "Z4,ffffffff,2",
        "Z1,fff0,1",
        "QCatchSyscalls:1",
        "QCatchSyscalls:1;4;b",
        "QCatchSyscalls:0",
        "vCont;s:1",
        "vCont;r0,fffff:1",
        "vCont;c",
        "s",
        "P8=f0ff0000",
        "M1000,1:cc",
        "g",
    ];
    let mut machine = images::machine();
    for seed in 0..seeds() / 3 {
        let random = &mut Random::new(seed + 1000);
        let mut text = b"?\nqSupported:multiprocess+".to_vec();
        for _ in 0..random.below(14) {
            let mut line = random.pick(&SAYINGS).as_bytes().to_vec();
            for _ in 0..random.below(3) {
                let at = random.below(line.len() as u32) as usize;
                match random.below(3) {
                    0 => _ = line.remove(at),
                    1 => line[at] = random.pick(b"0fF,;:=- x8"),
                    _ => line.insert(at, random.pick(b"0fF,;:=- x8")),
                }
                if line.is_empty() {
                    break;
                }
            }
            text.push(b'\n');
            text.extend(line);
        }
        packets::body(&mut machine, &packets::lines(&text));
    }
}
