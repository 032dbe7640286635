//! Loadable modules: the samples, what shows them, what refuses them, and that nothing of
//! them stays behind.

use abi::errno::{ENOENT, ENOEXEC, ENOMEM};
use libtest_mimic::Trial;
use mm::module::{Image, Layout, Object, link};

use crate::support::{
    boot::{Boot, Ended, QEMU},
    guest::guest,
    pagewalk, pagewalk_run, trial, with_input,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("mm::modules::each_sample_loads_shows_itself_and_leaves_no_trace", &[], samples),
        trial("mm::modules::the_serial_ports_are_refused_and_free_ones_are_claimed", &[], claims),
        trial("mm::modules::a_program_maps_the_pages_of_a_device_and_sees_the_kernels_bytes", &[], mapped_device),
        trial("mm::modules::a_module_in_use_stays", &[], in_use),
        trial("mm::modules::what_is_refused_says_why_as_kmod_and_linux_do", &[], refused),
        trial("mm::modules::the_calls_give_the_errors_of_linux", &[], errors),
        trial("mm::modules::a_damaged_module_is_refused_and_leaves_nothing_behind", &[], damaged),
        trial("mm::modules::the_loader_survives_every_changed_byte_of_the_samples", &[], changed_bytes),
        trial("mm::modules::an_oops_in_a_module_names_it", &[], oops),
        trial("mm::modules::the_host_shows_the_modules_of_a_saved_machine", &[], saved_machine),
        trial("mm::modules::the_same_holds_in_qemu", &QEMU, same_in_qemu),
    ]
}

/// What a script prints, with the modules' folder as its own; it must end well.
fn script(text: &str) -> String {
    guest(&["--memory", "64M"], &format!("cd /lib/modules/6.1.0-pagewalk\nexec 2>&1\n{text}"))
}

/// Loads all samples, shows what shows them, and takes them out again.
const SAMPLES: &str = "
    state() { cat /proc/modules /proc/ioports /proc/iomem /proc/devices; grep -v unpurged /proc/vmallocinfo
        grep -c . /proc/slabinfo; ls /dev; }
    state >/tmp/before
    for m in kmalloc vmalloc chardev ioports user; do insmod sample_$m.ko || exit 1; done
    lsmod; echo ==; cat /proc/modules; echo ==; grep sample /proc/slabinfo; echo ==; grep load_module /proc/vmallocinfo
    echo ==; grep sample /proc/vmallocinfo; echo ==; grep sample /proc/devices; ls /dev | grep sample
    echo ==; grep sample /proc/ioports; grep sample /proc/iomem; echo ==
    for m in user ioports chardev vmalloc kmalloc; do rmmod sample_$m || exit 1; done
    state >/tmp/after; cmp_files() { test \"$(cat $1)\" = \"$(cat $2)\"; }
    cmp_files /tmp/before /tmp/after && echo restored
    echo 1 >/proc/sys/vm/verify && echo verified";

fn samples() {
    let printed = script(SAMPLES);
    let parts: Vec<&str> = printed.split("==\n").collect();
    let [lsmod, modules, slabs, images, areas, devices, claims, end] = parts[..] else { panic!("{printed}") };
    let names: Vec<&str> = modules.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["sample_user", "sample_ioports", "sample_chardev", "sample_vmalloc", "sample_kmalloc"]);
    for line in modules.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, size, users, holders, "Live", address] = words[..] else { panic!("{line}") };
        let size: u32 = size.parse().expect("a size");
        assert!(size > 0 && size.is_multiple_of(4096) && address.starts_with("0xf8"), "{line}");
        let used = line.starts_with("sample_kmalloc ");
        assert_eq!((users, holders), if used { ("1", "sample_user,") } else { ("0", "-") }, "{line}");
        // The area has a guard page more.
        let row =
            images.lines().find(|row| row.starts_with(&format!("{address}-"))).unwrap_or_else(|| panic!("{images}"));
        let wanted = format!(" {:7} load_module+0x", size + 4096);
        assert!(row.contains(&wanted) && row.ends_with(&format!(" pages={} vmalloc", size / 4096)), "{row}");
    }
    assert!(lsmod.starts_with("Module                  Size  Used by\nsample_user         "), "{lsmod}");
    assert!(
        lsmod.lines().any(|line| line.starts_with("sample_kmalloc ") && line.ends_with("  1 sample_user")),
        "{lsmod}"
    );
    let slab: Vec<&str> = slabs.split_whitespace().collect();
    assert_eq!(slab[..2], ["sample_kmalloc", "10"], "{slabs}");
    assert!(
        areas.lines().any(|row| row.contains(" init_module+0x") && row.ends_with(" [sample_vmalloc] pages=16 vmalloc")),
        "{areas}"
    );
    assert_eq!(devices, "254 sample_chardev\nsample_chardev\n");
    assert_eq!(claims, "0300-030f : sample_ioports\nd0000000-d000ffff : sample_ioports\n");
    assert_eq!(end, "restored\nverified\n");
}

/// What the module that claims has told of it.
const CLAIMS: &str = " sample_ioports: ports 03f8-03ff are taken (err -16)\n \
    sample_ioports: claimed ports 0300 and memory d0000000\n \
    sample_ioports: gave everything back\n";

fn claims() {
    let printed =
        script("insmod sample_ioports.ko; rmmod sample_ioports; dmesg | grep sample_ioports | cut -d ']' -f 2");
    assert_eq!(printed, CLAIMS);
}

/// What `workload module-map` prints of the sample device.
const MAPPED: &str = "mapped: the kernel's bytes, page 0
mapped: the kernel's bytes, page 1
read: written through the mapping
mapped: written to the device
opened: 1
mapped: written by the child
three pages: Invalid argument
not a byte is there: No such device
Size:                  8 kB
";

fn mapped_device() {
    let printed = script(
        "for how in 0 1; do insmod sample_chardev.ko pfn=$how; head -c 26 /dev/sample_chardev; echo
        rmmod sample_chardev; insmod sample_chardev.ko pfn=$how
        workload module-map /dev/sample_chardev; rmmod sample_chardev || exit 1
        echo 1 >/proc/sys/vm/verify && echo verified; done; ls /dev | grep -c sample; true",
    );
    let head = "the kernel's bytes, page 0\n";
    let ends = [
        "Rss:                   8 kB\nVmFlags: rd wr sh mr mw me ms mm\nverified\n",
        "Rss:                   0 kB\nVmFlags: rd wr sh mr mw me ms pf io de\nverified\n0\n",
    ];
    assert_eq!(printed, ends.map(|end| format!("{head}{MAPPED}{end}")).concat());
}

fn in_use() {
    let printed = script(
        "insmod sample_chardev.ko; exec 3</dev/sample_chardev
        cut -d ' ' -f 1,3 /proc/modules; rmmod sample_chardev; echo $?; exec 3<&-; rmmod sample_chardev; echo $?
        insmod sample_kmalloc.ko; insmod sample_user.ko; rmmod sample_kmalloc; rmmod sample_user sample_kmalloc; lsmod",
    );
    assert_eq!(
        printed,
        "sample_chardev 1\nrmmod: ERROR: Module sample_chardev is in use\n1\n0\n\
         rmmod: ERROR: Module sample_kmalloc is in use by: sample_user\nModule                  Size  Used by\n"
    );
}

fn refused() {
    let printed = script(
        "echo no module >/tmp/x.ko; insmod /tmp/x.ko; head -c 2000 sample_kmalloc.ko >/tmp/y.ko; insmod /tmp/y.ko
        insmod /tmp/none.ko; insmod sample_user.ko; insmod sample_kmalloc.ko objects=ten; insmod sample_kmalloc.ko objects=0
        insmod sample_kmalloc.ko speed=1 objects=3; insmod sample_kmalloc.ko; grep -c sample_kmalloc /proc/slabinfo
        rmmod sample_kmalloc; rmmod sample_kmalloc; cat /proc/modules; echo ==; dmesg | tail -n 8 | cut -d ']' -f 2",
    );
    let (printed, log) = printed.split_once("==\n").expect("both");
    assert_eq!(
        printed,
        "insmod: ERROR: could not insert module /tmp/x.ko: Invalid module format
insmod: ERROR: could not insert module /tmp/y.ko: Invalid module format
insmod: ERROR: could not load module /tmp/none.ko: No such file or directory
insmod: ERROR: could not insert module sample_user.ko: Unknown symbol in module
insmod: ERROR: could not insert module sample_kmalloc.ko: Invalid parameters
insmod: ERROR: could not insert module sample_kmalloc.ko: Invalid parameters
insmod: ERROR: could not insert module sample_kmalloc.ko: File exists
1
rmmod: ERROR: Module sample_kmalloc is not currently loaded
"
    );
    assert_eq!(
        log,
        " Invalid ELF header len 10
 Invalid ELF section header overflow
 sample_user: Unknown symbol sample_kmalloc_bytes (err -2)
 sample_kmalloc: `ten' invalid for parameter `objects'
 sample_kmalloc: objects is 1 to 256
 sample_kmalloc: unknown parameter 'speed' ignored
 sample_kmalloc: 4 blocks and 3 objects, 9592 bytes
 sample_kmalloc: gave everything back
"
    );
}

fn errors() {
    let printed = script("workload module-errors sample_vmalloc.ko");
    let expected = "init_module: 10 bytes: Exec format error
init_module: 64 bytes: Exec format error
init_module: bytes of the kernel: Bad address
init_module: bytes that are not there: Bad address
init_module: parameters of the kernel: Bad address
init_module: no parameters: Bad address
finit_module: no file: Bad file descriptor
finit_module: a file for writing: Bad file descriptor
finit_module: a file that is written: Text file busy
finit_module: an empty file that is written: Text file busy
finit_module: a folder: Invalid argument
finit_module: an empty file: Invalid argument
finit_module: unknown flags: Invalid argument
finit_module: compressed: Not supported
delete_module: a name of the kernel: Bad address
delete_module: no such module: No such file or directory
delete_module: a long name: No such file or directory
as a user: Operation not permitted
as a user: Operation not permitted
as a user: Operation not permitted
";
    assert_eq!(printed, expected);
}

fn damaged() {
    for sample in ["sample_kmalloc", "sample_chardev"] {
        let printed = script(&format!(
            "workload module-damage {sample}.ko; cat /proc/modules; echo 1 >/proc/sys/vm/verify && echo verified"
        ));
        let lines: Vec<&str> = printed.lines().collect();
        let [counts, "nothing is left behind", "verified"] = lines[..] else { panic!("{printed}") };
        for result in ["Exec format error ", "No such file or directory ", "loaded "] {
            assert!(counts.contains(result), "{counts}");
        }
        let files: u32 = counts.split(' ').next().and_then(|count| count.parse().ok()).expect("a count");
        assert!(files > 1000, "{counts}");
    }
}

fn changed_bytes() {
    for (name, file) in images::modules() {
        for at in 0..file.len() {
            let mut changed = file.to_vec();
            changed[at] ^= [0xff, 0x01, 0x80, 0x10][at % 4];
            if let Err(error) = load(&changed) {
                assert!([ENOEXEC, ENOENT, ENOMEM].contains(&error), "{name}, byte {at:#x}: {error}");
            }
        }
        for len in (0..file.len()).step_by(64) {
            assert_eq!(load(&file[..len]), Err(ENOEXEC), "{name} cut off at {len}");
        }
        assert_eq!(load(file), Ok(()), "{name}");
    }
}

/// Puts a module together in memory of the host, with every symbol at one address.
fn load(file: &[u8]) -> abi::errno::Result<()> {
    let log = &mut |_: std::fmt::Arguments<'_>| {};
    let object = Object::parse(file, log)?;
    let layout = Layout::new(&object, log)?;
    let mut bytes = vec![0; layout.size as usize];
    let mut image = Image { base: 0xf880_0000, bytes: &mut bytes };
    let known = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_').then_some(0xc010_0000);
    link(&object, &layout, &mut image, &mut { known }, log).map(drop)
}

fn oops() {
    let text = "cd /lib/modules/6.1.0-pagewalk\ninsmod sample_ioports.ko; insmod sample_oops.ko\n";
    let Ended { log, status } = Boot::of_script(text).in_pagewalk(64);
    assert_eq!(status, Some(134), "{log}");
    assert!(log.contains("] BUG: kernel NULL pointer dereference, address: 00000000\n"), "{log}");
    assert!(log.contains("] EIP: init_module+0x") && log.contains(" [sample_oops]\n"), "{log}");
    assert!(log.contains("] Modules linked in: sample_oops sample_ioports\n"), "{log}");
    assert!(log.contains("load_module+0x"), "{log}");
}

fn saved_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("saved");
    let text = "cd /lib/modules/6.1.0-pagewalk; insmod sample_kmalloc.ko; insmod sample_user.ko; cat /proc/modules\n";
    let output = with_input(pagewalk_run(&["--save"]).arg(&file), text);
    let printed = String::from_utf8(output.stdout).expect("text");
    let look = |words: &[&str]| {
        let output = with_input(pagewalk().args(words).arg("--snapshot").arg(&file), "");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(look(&["modules"]), printed);
    let json: serde_json::Value = serde_json::from_str(&look(&["modules", "--json"])).expect("JSON");
    assert_eq!((&json[0]["name"], &json[1]["used_by"][0]), (&"sample_user".into(), &"sample_user".into()));
    let symbol = look(&["sym", "sample_kmalloc_bytes"]);
    assert!(symbol.ends_with("sample_kmalloc_bytes  (sample_kmalloc)\n"), "{symbol}");
    let address = symbol.split(' ').next().expect("an address");
    let walk = look(&["walk", address]);
    assert!(walk.contains("sample_kmalloc_bytes [sample_kmalloc]"), "{walk}");
    let code = look(&["disas", "sample_kmalloc_bytes", "2"]);
    assert!(code.contains("sample_kmalloc_bytes"), "{code}");
}

fn same_in_qemu() {
    let text = format!(
        "cd /lib/modules/6.1.0-pagewalk; exec 2>&1\n{SAMPLES}
        for how in 0 1; do insmod sample_chardev.ko pfn=$how; workload module-map /dev/sample_chardev; rmmod sample_chardev
        done; insmod sample_user.ko; insmod sample_kmalloc.ko objects=x; workload module-errors sample_vmalloc.ko
        dmesg | grep sample_ioports | cut -d ']' -f 2"
    );
    let boot = Boot::of_script(&text);
    let printed = |ended: Ended| {
        assert_eq!(ended.status, Some(0), "{}", ended.log);
        ended.printed()
    };
    let (theirs, ours) = (printed(boot.in_qemu(64)), printed(boot.in_pagewalk(64)));
    assert!(theirs.contains("restored\nverified\n") && theirs.contains(MAPPED), "{theirs}");
    assert!(theirs.ends_with(CLAIMS), "{theirs}");
    assert_eq!(theirs, ours);
}
