//! What tests of the kernel's modules need a program for: `workload module-damage FILE`,
//! `module-errors FILE`, `module-map DEVICE`. They are no part of `all`.
#![allow(unsafe_code)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    process::ExitCode,
    ptr,
};

use pagewalk_programs::sys;

const PAGE_BYTES: usize = 4096;
/// Bytes of an ELF header, of a section header, and the types of sections that hold bytes of
/// the module itself.
const EHDR_BYTES: usize = 52;
const SHDR_BYTES: usize = 40;
const SHT_PROGBITS: u32 = 1;
const SHT_NOBITS: u32 = 8;

/// Runs one of these commands; `None` for another name.
pub fn command(name: &str, args: &mut dyn Iterator<Item = String>) -> Option<ExitCode> {
    let run: fn(&str) -> io::Result<()> = match name {
        "module-damage" => damage,
        "module-errors" => errors,
        "module-map" => map,
        _ => return None,
    };
    let file = args.next()?;
    Some(match run(&file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: {name} {file}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// Loads a module cut off at every 64 bytes, and with each byte changed that is not of its
/// code or data; nothing of that may stay in the kernel. The first and the last function get
/// other names, so that none of its code ever runs.
fn damage(path: &str) -> io::Result<()> {
    let module = inert(fs::read(path)?)?;
    load(&module)?;
    unload_newest()?;
    // What the first time leaves behind is room that the kernel keeps for later.
    storm(&module)?;
    let before = State::now()?;
    let results = storm(&module)?;
    let after = State::now()?;
    let shown: Vec<String> = results.iter().map(|(result, count)| format!("{result} {count}")).collect();
    println!("{} damaged files: {}", results.values().sum::<u32>(), shown.join(", "));
    if before != after {
        return Err(io::Error::other(format!("left behind:\n{before:?}\n{after:?}")));
    }
    println!("nothing is left behind");
    Ok(())
}

fn inert(mut file: Vec<u8>) -> io::Result<Vec<u8>> {
    for name in [&b"\0init_module\0"[..], b"\0cleanup_module\0"] {
        let at = file.windows(name.len()).position(|window| window == name);
        let at = at.ok_or_else(|| io::Error::other("no module of ours"))?;
        file[at + 1] = b'x';
    }
    Ok(file)
}

fn load(module: &[u8]) -> io::Result<()> {
    sys::init_module(module, OsStr::new(""))
}

fn unload_newest() -> io::Result<()> {
    let all = fs::read_to_string("/proc/modules")?;
    let name = all.split(' ').next().unwrap_or_default();
    sys::delete_module(name)
}

/// How often each result came.
fn storm(module: &[u8]) -> io::Result<BTreeMap<String, u32>> {
    let mut results = BTreeMap::new();
    let mut attempt = |bytes: &[u8]| -> io::Result<()> {
        let result = match load(bytes) {
            Ok(()) => {
                unload_newest()?;
                "loaded".into()
            }
            Err(error) => sys::reason(&error),
        };
        *results.entry(result).or_insert(0) += 1;
        Ok(())
    };
    for len in (0..module.len()).step_by(64) {
        attempt(&module[..len])?;
    }
    let mut changed = module.to_vec();
    for (n, at) in (0..).zip(bytes_about_the_module(module)) {
        let mask = [0x01, 0x80, 0xff, 0x10][n % 4];
        changed[at] ^= mask;
        attempt(&changed)?;
        changed[at] ^= mask;
    }
    Ok(results)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

/// The bytes of headers, symbols, relocations and names.
fn bytes_about_the_module(module: &[u8]) -> Vec<usize> {
    let table = word(module, 32) as usize;
    let headers = table..module.len().min(table + SHDR_BYTES * (word(module, 48) & 0xffff) as usize);
    let mut all: Vec<usize> = (0..EHDR_BYTES).chain(headers.clone()).collect();
    for at in headers.step_by(SHDR_BYTES) {
        let (kind, offset, size) =
            (word(module, at + 4), word(module, at + 16) as usize, word(module, at + 20) as usize);
        if kind != SHT_PROGBITS && kind != SHT_NOBITS {
            all.extend(offset..(offset + size).min(module.len()));
        }
    }
    all
}

/// What a module could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct State {
    /// Areas of vmalloc's space.
    areas: Vec<String>,
    /// Objects in use, of all caches, but for one for each area that is freed and not flushed.
    objects: u32,
    /// Pages of the kernel's own, but for slabs and page tables.
    other_pages: i64,
}

impl State {
    fn now() -> io::Result<State> {
        let areas = fs::read_to_string("/proc/vmallocinfo")?;
        let slabs = fs::read_to_string("/proc/slabinfo")?;
        let in_use = slabs.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
        let (freed, areas): (Vec<&str>, Vec<&str>) = areas.lines().partition(|line| line.contains("unpurged"));
        Ok(State {
            areas: areas.into_iter().map(str::to_owned).collect(),
            objects: in_use.sum::<u32>() - freed.len() as u32,
            other_pages: other_pages(&fs::read_to_string("/proc/zoneinfo")?),
        })
    }
}

/// Pages in use that are none of slabs, of programs, of files or page tables. All is taken from one look: the
/// next one finds other pages on the CPUs' own lists, which hold hundreds of free ones or none.
fn other_pages(zoneinfo: &str) -> i64 {
    let sum = |name: &str| -> i64 {
        let number = |line: &str| line.trim().strip_prefix(name)?.trim().parse::<i64>().ok();
        zoneinfo.lines().filter_map(number).sum()
    };
    let known = [
        "pages free ",
        "count: ",
        "nr_slab_reclaimable ",
        "nr_slab_unreclaimable ",
        "nr_anon_pages ",
        "nr_file_pages ",
        "nr_page_table_pages ",
    ];
    sum("managed ") - known.into_iter().map(sum).sum::<i64>()
}

/// Maps the two pages of the sample device and looks at them from both sides.
fn map(path: &str) -> io::Result<()> {
    let device = OpenOptions::new().read(true).write(true).open(path)?;
    let pages = Mapping::new(&device, 2, libc::MAP_SHARED)?;
    for page in 0..2 {
        print!("mapped: {}", pages.line(page));
    }
    // What the program writes, the driver has; what it gives the driver, the program sees.
    pages.store(PAGE_BYTES, b"written through the mapping\n");
    let mut bytes = [0; 28];
    device.read_exact_at(&mut bytes, PAGE_BYTES as u64)?;
    print!("read: {}", String::from_utf8_lossy(&bytes));
    device.write_all_at(b"written to the device\n", 0)?;
    print!("mapped: {}", pages.line(0));
    // SAFETY: no argument is a pointer.
    println!("opened: {}", unsafe { libc::ioctl(device.as_raw_fd(), 0x7001, 0) });
    // A child has the same pages, not copies.
    match sys::fork()? {
        sys::Fork::Child => {
            pages.store(0, b"written by the child\n");
            sys::exit_now(0);
        }
        sys::Fork::Parent(child) => sys::wait(child)?,
    };
    print!("mapped: {}", pages.line(0));
    for (what, result) in [
        ("three pages", Mapping::new(&device, 3, libc::MAP_SHARED).map(drop)),
        ("not a byte is there", Mapping::new(&File::open("/dev/null")?, 1, libc::MAP_PRIVATE).map(drop)),
    ] {
        println!("{what}: {}", result.map_or_else(|error| sys::reason(&error), |()| "mapped".into()));
    }
    let smaps = fs::read_to_string("/proc/self/smaps")?;
    let ours = smaps.lines().skip_while(|line| !line.ends_with(path));
    for row in ["Size:", "Rss:", "VmFlags:"] {
        println!("{}", ours.clone().find(|line| line.starts_with(row)).unwrap_or("?").trim_end());
    }
    Ok(())
}

/// The errors of the three calls, by their causes.
fn errors(path: &str) -> io::Result<()> {
    let module = fs::read(path)?;
    let file = File::open(path)?;
    let copy = "/tmp/module-errors";
    fs::write(copy, &module)?;
    let (reader, empty) = (File::open(copy)?, "/tmp/module-errors-empty");
    fs::write(empty, "")?;
    let writer = OpenOptions::new().write(true).open(copy)?;
    let empty_and_written = OpenOptions::new().read(true).write(true).open(empty)?;
    let bad = 0xc000_0000_usize;
    let args = c"".as_ptr() as usize;
    let image = module.as_ptr() as usize;
    let long = [b'x'; 100].map(char::from).iter().collect::<String>() + "\0";
    let init = |image: usize, len: usize, args: usize| call(libc::SYS_init_module, [image, len, args]);
    let finit = |fd: i32, args: usize, flags: usize| call(libc::SYS_finit_module, [fd as usize, args, flags]);
    let delete = |name: usize| call(libc::SYS_delete_module, [name, libc::O_NONBLOCK as usize, 0]);
    println!("init_module: {} bytes: {}", 10, init(image, 10, args));
    println!("init_module: 64 bytes: {}", init(image, 64, args));
    println!("init_module: bytes of the kernel: {}", init(bad, 4096, args));
    println!("init_module: bytes that are not there: {}", init(4096, 4096, args));
    println!("init_module: parameters of the kernel: {}", init(image, module.len(), bad));
    println!("init_module: no parameters: {}", init(image, module.len(), 0));
    println!("finit_module: no file: {}", finit(99, args, 0));
    println!("finit_module: a file for writing: {}", finit(writer.as_raw_fd(), args, 0));
    println!("finit_module: a file that is written: {}", finit(reader.as_raw_fd(), args, 0));
    println!("finit_module: an empty file that is written: {}", finit(empty_and_written.as_raw_fd(), args, 0));
    drop(empty_and_written);
    let (folder, empty) = (File::open("/tmp")?, File::open(empty)?);
    println!("finit_module: a folder: {}", finit(folder.as_raw_fd(), args, 0));
    println!("finit_module: an empty file: {}", finit(empty.as_raw_fd(), args, 0));
    println!("finit_module: unknown flags: {}", finit(file.as_raw_fd(), args, 8));
    println!("finit_module: compressed: {}", finit(file.as_raw_fd(), args, 4));
    println!("delete_module: a name of the kernel: {}", delete(bad));
    println!("delete_module: no such module: {}", delete(c"nobody".as_ptr() as usize));
    println!("delete_module: a long name: {}", delete(long.as_ptr() as usize));
    match sys::fork()? {
        sys::Fork::Child => {
            // SAFETY: takes a number.
            unsafe { libc::setuid(1000) };
            println!("as a user: {}", init(image, module.len(), args));
            println!("as a user: {}", finit(file.as_raw_fd(), args, 0));
            println!("as a user: {}", delete(c"nobody".as_ptr() as usize));
            sys::exit_now(0);
        }
        sys::Fork::Parent(child) => sys::wait(child)?,
    };
    Ok(())
}

/// What a call says, in words.
fn call(number: libc::c_long, [a, b, c]: [usize; 3]) -> String {
    // SAFETY: the calls look at each address before they use it.
    match unsafe { libc::syscall(number, a, b, c) } {
        -1 => sys::reason(&io::Error::last_os_error()),
        value => value.to_string(),
    }
}

/// A mapping of a device.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(device: &File, pages: usize, flags: i32) -> io::Result<Mapping> {
        let (len, rights) = (pages * PAGE_BYTES, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, rights, flags, device.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Mapping { at: at.cast(), len }) }
    }

    /// The first line of a page.
    fn line(&self, page: usize) -> String {
        let mut line = String::new();
        for at in page * PAGE_BYTES..self.len {
            // SAFETY: inside the mapping.
            let byte = unsafe { self.at.add(at).read_volatile() };
            line.push(char::from(byte));
            if byte == b'\n' || line.len() == 80 {
                break;
            }
        }
        line
    }

    fn store(&self, at: usize, bytes: &[u8]) {
        for (at, &byte) in (at..self.len).zip(bytes) {
            // SAFETY: inside the mapping.
            unsafe { self.at.add(at).write_volatile(byte) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and used no more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}
