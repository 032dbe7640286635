//! Loads an ELF program, and the interpreter that it names.

use alloc::{sync::Arc, vec::Vec};

use abi::{
    elf::{self, EHDR_SIZE, Ehdr, Kind, PHDR_SIZE, Phdr, pf, pt},
    errno::{EINVAL, ELIBBAD, ENOEXEC, ENOMEM, Result},
};

use super::{Binprm, ExeFile, args, begin_new_exec, fail_after_point_of_no_return, read_whole};
use crate::{
    arch::{
        PtRegs, TASK_SIZE,
        cpu::{self, feature},
    },
    drivers::random,
    fs::{
        File,
        namei::{self, Last, PATH_MAX},
    },
    mm::{
        FileRef, MmRef, PAGE_SIZE,
        mmap::{do_mmap, map, prot},
        munmap::do_munmap,
        uaccess::{UserPtr, clear_user, copy_to_user},
    },
    task::current,
};

/// Where a program that can lie anywhere is put, if it has an interpreter.
const ELF_ET_DYN_BASE: u32 = 0x0040_0000;
/// The stack's area is made so much longer than what is on it.
const STACK_EXPAND: u32 = 128 << 10;
/// Top of the stack: addresses are not randomised, so that a run can be repeated.
const STACK_TOP: u32 = TASK_SIZE;

/// A file with its headers.
struct Image {
    file: Arc<File>,
    ehdr: Ehdr,
    phdrs: Vec<Phdr>,
}

impl Image {
    fn read(file: &Arc<File>, head: &[u8]) -> Result<Image> {
        let ehdr = Ehdr::parse(head)?;
        let mut bytes = alloc::vec![0; ehdr.phnum * PHDR_SIZE];
        read_whole(file, ehdr.phoff.into(), &mut bytes)?;
        let phdrs = bytes.chunks_exact(PHDR_SIZE).map(Phdr::parse).collect();
        Ok(Image { file: file.clone(), ehdr, phdrs })
    }

    fn loads(&self) -> impl Iterator<Item = &Phdr> {
        self.phdrs.iter().filter(|p| p.kind == pt::LOAD)
    }
}

/// Loads the program; on success `regs` are those of its start.
pub(super) fn load(bprm: &mut Binprm, regs: &mut PtRegs) -> Result<()> {
    let image = Image::read(bprm.exe.file(), &bprm.buf)?;
    let interp = open_interpreter(&image)?;
    args::check_size(&bprm.argv, &bprm.envp)?;
    let mm = MmRef::new()?;
    begin_new_exec(bprm, &mm)?;
    let loaded = load_into(bprm, &image, interp.as_ref(), &mm, regs);
    if loaded.is_err() {
        fail_after_point_of_no_return();
    }
    loaded
}

/// The interpreter of `PT_INTERP`, opened and checked.
fn open_interpreter(image: &Image) -> Result<Option<Image>> {
    let Some(phdr) = image.phdrs.iter().find(|p| p.kind == pt::INTERP) else { return Ok(None) };
    if !(2..=PATH_MAX as u32).contains(&phdr.filesz) {
        return Err(ENOEXEC);
    }
    let mut path = alloc::vec![0; phdr.filesz as usize];
    read_whole(&image.file, phdr.offset.into(), &mut path)?;
    if path.pop() != Some(0) {
        return Err(ENOEXEC);
    }
    let end = path.iter().position(|&b| b == 0).unwrap_or(path.len());
    let exe = ExeFile::open(namei::lookup(&path[..end], Last::Follow)?)?;
    let mut head = [0; EHDR_SIZE];
    read_whole(exe.file(), 0, &mut head).map_err(|_| ELIBBAD)?;
    Image::read(exe.file(), &head).map(Some).map_err(|_| ELIBBAD)
}

fn load_into(bprm: &Binprm, image: &Image, interp: Option<&Image>, mm: &MmRef, regs: &mut PtRegs) -> Result<()> {
    let strings = StackStrings::place(bprm)?;
    map_stack(mm, &strings)?;
    let program = map_image(mm, image, program_bias(image, interp.is_some()))?;
    let program_end = program.end;
    mm.lock().set_exe(Some(FileRef(bprm.exe.file().clone())));
    mm.with_record(|r| {
        (r.start_code, r.end_code) = (program.start_code, program.end_code);
        (r.start_data, r.end_data) = (program.start_data, program.end_data);
        (r.start_brk, r.brk) = (program_end, program_end);
    });
    let (entry, base) = match interp {
        Some(interp) => {
            let mapped = map_image(mm, interp, Bias::Anywhere)?;
            (interp.ehdr.entry.wrapping_add(mapped.bias), mapped.bias)
        }
        None => (image.ehdr.entry.wrapping_add(program.bias), 0),
    };
    let sp = create_elf_tables(bprm, image, &program, base, mm, &strings)?;
    regs.start_thread(entry, sp);
    Ok(())
}

/// Where an image goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bias {
    /// Its addresses are moved by this.
    Fixed(u32),
    /// Where there is room.
    Anywhere,
}

fn program_bias(image: &Image, has_interp: bool) -> Bias {
    match image.ehdr.kind {
        Kind::Executable => Bias::Fixed(0),
        Kind::Shared if has_interp => {
            let align = elf::maximum_alignment(&image.phdrs).max(PAGE_SIZE);
            let first = image.loads().next().map_or(0, Phdr::page_start);
            Bias::Fixed((ELF_ET_DYN_BASE & !(align - 1)).wrapping_sub(first))
        }
        Kind::Shared => Bias::Anywhere,
    }
}

/// Where the parts of an image lie.
#[derive(Clone, Copy, Debug, Default)]
struct Mapped {
    bias: u32,
    start_code: u32,
    end_code: u32,
    start_data: u32,
    end_data: u32,
    /// First page after the image, where the heap begins.
    end: u32,
    /// Address of the program headers, if they are loaded.
    phdr: u32,
}

fn page_align(addr: u32) -> u32 {
    addr.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

fn map_image(mm: &MmRef, image: &Image, bias: Bias) -> Result<Mapped> {
    let mut bias = match bias {
        Bias::Fixed(bias) => Some(bias),
        Bias::Anywhere => None,
    };
    let total = elf::total_mapping_size(&image.phdrs)?;
    let mut out = Mapped { start_code: !0, ..Mapped::default() };
    // End of what came from the file, and end of the zeros after it.
    let (mut elf_bss, mut elf_brk, mut bss_prot) = (0u32, 0u32, 0);
    for phdr in image.loads() {
        if elf_brk > elf_bss {
            map_zeros(mm, elf_bss, elf_brk, bss_prot)?;
            zero_rest_of_page(elf_bss)?;
        }
        let moved = match bias {
            Some(moved) => moved,
            None => {
                let at = map_first_anywhere(mm, image, phdr, total)?;
                *bias.insert(at.wrapping_sub(phdr.page_start()))
            }
        };
        if !phdr.fits(moved, TASK_SIZE) {
            return Err(EINVAL);
        }
        map_segment(mm, &image.file, phdr, moved, out.start_code == !0)?;
        let start = phdr.vaddr + moved;
        if phdr.flags & pf::X != 0 {
            out.start_code = out.start_code.min(start);
            out.end_code = out.end_code.max(start + phdr.filesz);
        }
        // Linux takes the lowest segment for code, whatever its rights.
        out.start_code = out.start_code.min(start);
        out.start_data = out.start_data.max(start);
        out.end_data = out.end_data.max(start + phdr.filesz);
        if image.ehdr.phoff >= phdr.offset && image.ehdr.phoff - phdr.offset < phdr.filesz {
            out.phdr = start + (image.ehdr.phoff - phdr.offset);
        }
        elf_bss = elf_bss.max(start + phdr.filesz);
        if start + phdr.memsz > elf_brk {
            (elf_brk, bss_prot) = (start + phdr.memsz, to_prot(phdr.flags));
        }
    }
    out.bias = bias.unwrap_or(0);
    if elf_brk > elf_bss {
        map_zeros(mm, elf_bss, elf_brk, bss_prot)?;
        zero_rest_of_page(elf_bss)?;
    }
    out.end = page_align(elf_brk);
    Ok(out)
}

fn to_prot(flags: u32) -> u32 {
    let bit = |from: u32, to: u32| if flags & from != 0 { to } else { 0 };
    bit(pf::R, prot::READ) | bit(pf::W, prot::WRITE) | bit(pf::X, prot::EXEC)
}

/// Finds room for a whole image by mapping its first segment over all of it; returns the
/// address of its first page. `map_segment` then maps every segment over that.
fn map_first_anywhere(mm: &MmRef, image: &Image, phdr: &Phdr, total: u32) -> Result<u32> {
    let align = elf::maximum_alignment(&image.phdrs);
    let size = page_align(total).checked_add(align).ok_or(ENOMEM)?;
    let at = do_mmap(mm, 0, size, to_prot(phdr.flags), map::PRIVATE | map::ANONYMOUS, None, 0)?;
    do_munmap(mm, at, size)?;
    let first = if align == 0 { at } else { at.wrapping_add(align - 1) & !(align - 1) };
    Ok(first)
}

fn map_segment(mm: &MmRef, file: &Arc<File>, phdr: &Phdr, bias: u32, is_first: bool) -> Result<()> {
    let in_page = phdr.vaddr & (PAGE_SIZE - 1);
    let size = page_align(phdr.filesz + in_page);
    let offset = phdr.offset.wrapping_sub(in_page);
    if size == 0 {
        return Ok(());
    }
    if offset & (PAGE_SIZE - 1) != 0 {
        return Err(EINVAL);
    }
    let fixed = if is_first { map::FIXED_NOREPLACE } else { map::FIXED };
    let addr = phdr.page_start() + bias;
    let file = Some(file.clone() as Arc<_>);
    do_mmap(mm, addr, size, to_prot(phdr.flags), map::PRIVATE | fixed, file, offset / PAGE_SIZE).map(drop)
}

/// Maps the whole pages between the end of a file's data and the end of its zeros.
fn map_zeros(mm: &MmRef, bss: u32, brk: u32, rights: u32) -> Result<()> {
    let (start, end) = (page_align(bss), page_align(brk));
    if end <= start {
        return Ok(());
    }
    let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED;
    let rights = prot::READ | prot::WRITE | rights & prot::EXEC;
    do_mmap(mm, start, end - start, rights, flags, None, 0).map(drop)
}

/// Zeroes the rest of the page that the file's data ends in.
fn zero_rest_of_page(bss: u32) -> Result<()> {
    match bss & (PAGE_SIZE - 1) {
        0 => Ok(()),
        used => clear_user(UserPtr::new(bss), (PAGE_SIZE - used) as usize),
    }
}

/// The strings at the top of the stack: where each lies.
struct StackStrings {
    argv: Vec<u32>,
    envp: Vec<u32>,
    arg_start: u32,
    env_start: u32,
    env_end: u32,
    /// Address of the file's name.
    execfn: u32,
    /// Lowest address so far.
    sp: u32,
}

impl StackStrings {
    /// Arguments below environment below the file's name below a null word.
    fn place(bprm: &Binprm) -> Result<Self> {
        let execfn = STACK_TOP - 4 - (bprm.filename.len() as u32 + 1);
        let env_end = execfn;
        let env_start = env_end.checked_sub(bprm.envp.bytes() as u32).ok_or(ENOMEM)?;
        let arg_start = env_start.checked_sub(bprm.argv.bytes() as u32).ok_or(ENOMEM)?;
        let addresses = |start: u32, strings: &[Vec<u8>]| {
            let mut at = start;
            strings
                .iter()
                .map(|s| {
                    let here = at;
                    at += s.len() as u32 + 1;
                    here
                })
                .collect()
        };
        Ok(StackStrings {
            argv: addresses(arg_start, &bprm.argv.0),
            envp: addresses(env_start, &bprm.envp.0),
            arg_start,
            env_start,
            env_end,
            execfn,
            sp: arg_start,
        })
    }
}

/// Maps the stack with room below what is on it.
fn map_stack(mm: &MmRef, strings: &StackStrings) -> Result<()> {
    let start = (strings.sp & !(PAGE_SIZE - 1)) - STACK_EXPAND;
    let flags = map::PRIVATE | map::ANONYMOUS | map::FIXED | map::GROWSDOWN;
    do_mmap(mm, start, STACK_TOP - start, prot::READ | prot::WRITE, flags, None, 0)?;
    mm.with_record(|r| {
        r.start_stack = strings.sp;
        (r.arg_start, r.arg_end) = (strings.arg_start, strings.env_start);
        (r.env_start, r.env_end) = (strings.env_start, strings.env_end);
    });
    Ok(())
}

/// Types of the auxiliary vector.
mod at {
    pub const NULL: u32 = 0;
    pub const PHDR: u32 = 3;
    pub const PHENT: u32 = 4;
    pub const PHNUM: u32 = 5;
    pub const PAGESZ: u32 = 6;
    pub const BASE: u32 = 7;
    pub const FLAGS: u32 = 8;
    pub const ENTRY: u32 = 9;
    pub const UID: u32 = 11;
    pub const EUID: u32 = 12;
    pub const GID: u32 = 13;
    pub const EGID: u32 = 14;
    pub const PLATFORM: u32 = 15;
    pub const HWCAP: u32 = 16;
    pub const CLKTCK: u32 = 17;
    pub const SECURE: u32 = 23;
    pub const RANDOM: u32 = 25;
    pub const HWCAP2: u32 = 26;
    pub const EXECFN: u32 = 31;
    pub const MINSIGSTKSZ: u32 = 51;
}

/// What a signal frame takes at most.
const MINSIGSTKSZ: u32 = 1440;
const PLATFORM: &[u8] = b"i686\0";

/// Fills the stack: strings, random bytes, auxiliary vector, pointers, argc. Returns the
/// stack pointer.
fn create_elf_tables(
    bprm: &Binprm,
    image: &Image,
    program: &Mapped,
    interp_base: u32,
    mm: &MmRef,
    strings: &StackStrings,
) -> Result<u32> {
    let mut text: Vec<u8> = Vec::new();
    for string in bprm.argv.0.iter().chain(&bprm.envp.0).chain([&bprm.filename]) {
        text.extend_from_slice(string);
        text.push(0);
    }
    text.extend_from_slice(&[0; 4]);
    copy_to_user(UserPtr::new(strings.arg_start), &text)?;

    let mut sp = strings.sp & !15;
    sp -= PLATFORM.len() as u32;
    let platform = sp;
    copy_to_user(UserPtr::new(platform), PLATFORM)?;
    sp -= 16;
    let random = sp;
    let mut bytes = [0; 16];
    random::fill(&mut bytes);
    copy_to_user(UserPtr::new(random), &bytes)?;

    let cred = current().cred.lock().clone();
    let hwcap = if cpu::has_cpuid() { cpu::cpuid(1, 0).edx } else { 0 };
    let auxv = [
        (at::MINSIGSTKSZ, MINSIGSTKSZ),
        (at::HWCAP, if cpu::has(feature::FPU) { hwcap } else { hwcap & !feature::FPU }),
        (at::PAGESZ, PAGE_SIZE),
        (at::CLKTCK, 100),
        (at::PHDR, program.phdr),
        (at::PHENT, PHDR_SIZE as u32),
        (at::PHNUM, image.phdrs.len() as u32),
        (at::BASE, interp_base),
        (at::FLAGS, 0),
        (at::ENTRY, image.ehdr.entry.wrapping_add(program.bias)),
        (at::UID, cred.uid),
        (at::EUID, cred.euid),
        (at::GID, cred.gid),
        (at::EGID, cred.egid),
        (at::SECURE, 0),
        (at::RANDOM, random),
        (at::HWCAP2, 0),
        (at::EXECFN, strings.execfn),
        (at::PLATFORM, platform),
        (at::NULL, 0),
    ];
    let mut words: Vec<u32> = alloc::vec![strings.argv.len() as u32];
    words.extend(strings.argv.iter().chain([&0]).chain(&strings.envp).chain([&0]));
    words.extend(auxv.iter().flat_map(|&(kind, value)| [kind, value]));
    *mm.auxv.lock() = auxv.iter().flat_map(|&(kind, value)| [kind, value]).flat_map(u32::to_le_bytes).collect();
    let sp = (sp - words.len() as u32 * 4) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    copy_to_user(UserPtr::new(sp), &bytes)?;
    mm.with_record(|r| r.start_stack = sp);
    Ok(sp)
}
