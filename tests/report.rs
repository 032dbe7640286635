//! `pagewalk report`: what the page says is what the text dumps say; it opens whatever the machine is like.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use inspect::{Books, KernelImage, Picture, Request, Target, look};
use libtest_mimic::Trial;
use machine::{DiskPurpose, EngineConfig, Machine};
use serde_json::Value;
use x86::PhysAddr;

use crate::{
    lenses::target,
    support::{Need, pagewalk, root, trial, with_input},
};

pub fn trials() -> Vec<Trial> {
    let browser = Need::Program("chromium");
    vec![
        trial("report::every_process_frame_and_translation_is_drawn_as_the_dumps_have_it", &[], as_the_dumps),
        trial("report::the_file_is_small_and_whole", &[], whole),
        trial("report::damaged_books_still_give_a_page_that_says_what_is_missing", &[], damaged),
        trial("report::a_kernel_that_is_not_ours_is_drawn_from_its_tables", &[], foreign),
        trial("report::firmware_alone_is_drawn_without_tables", &[], firmware),
        trial("report::machines_of_any_size_and_crowd_are_drawn", &[], sizes),
        trial("report::what_cannot_be_read_or_written_is_one_line", &[], refused),
        trial("report::in_a_browser_every_picture_opens_and_links_lead_there_and_back", &[browser], browsed),
        trial("report::in_a_browser_a_narrow_window_has_all_of_every_picture", &[browser], narrow),
        trial("report::in_a_browser_a_kernel_that_is_not_ours_is_not_said_to_share_or_swap", &[browser], strange),
        trial("report::in_a_browser_two_machines_stand_side_by_side", &[browser], compared),
    ]
}

/// A machine of 2 GiB with twenty processes and more, saved when its shell has ended.
struct Crowd {
    machine: Machine,
    kernel: KernelImage,
}

/// Where the saved machine and its page are: made once for all tests.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
        fs::create_dir_all(&folder).expect("a folder");
        save(&folder.join("crowd.pw"), &["--memory", "2G", "--cpus", "2"], &crowd(12));
        report(&[folder.join("crowd.pw").to_str().expect("a path")], &folder.join("crowd.html"));
        folder
    })
}

impl Crowd {
    fn get() -> Crowd {
        Crowd { machine: restore(&folder().join("crowd.pw")), kernel: KernelImage::parse(images::KERNEL) }
    }

    fn file(&self) -> PathBuf {
        folder().join("crowd.pw")
    }

    /// The page of `report`.
    fn page(&self) -> PathBuf {
        folder().join("crowd.html")
    }

    fn json(&self, request: &Request) -> Value {
        look(&target(&self.machine, &self.kernel), request).unwrap_or_else(|why| panic!("{request:?}: {why}")).json
    }
}

/// A script that leaves so many processes asleep, each below a shell that waits for it.
fn crowd(processes: u32) -> String {
    format!("{}ls /bin >/tmp/list; ps\n", "sleep 1000 & ".repeat(processes as usize))
}

/// Runs a script and saves the machine when it has ended.
fn save(file: &Path, options: &[&str], script: &str) {
    let output = with_input(pagewalk().arg("run").args(options).arg("--save").arg(file), script);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn restore(file: &Path) -> Machine {
    let mut machine = Machine::restore(file, EngineConfig::default()).expect("a saved machine");
    machine.attach_disks(DiskPurpose::Look).expect("its disks");
    machine
}

/// Writes a report.
fn report(words: &[&str], page: &Path) {
    let output = pagewalk().arg("report").args(words).arg("-o").arg(page).output().expect("the command runs");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The machines in a page.
fn machines(page: &Path) -> Vec<Picture> {
    let text = fs::read_to_string(page).expect("the page");
    let json = text.split_once("id=\"machines\">").expect("the machines").1;
    let json = json.split_once("</script>").expect("their end").0;
    let rows: Vec<Value> = serde_json::from_str(json).expect("JSON");
    rows.into_iter().map(|row| serde_json::from_value(row["picture"].clone()).expect("a picture")).collect()
}

fn values(column: &inspect::picture::Column) -> Vec<u32> {
    column.values().expect("a column")
}

fn as_the_dumps() {
    let crowd = Crowd::get();
    let picture = machines(&crowd.page()).pop().expect("a machine");
    assert!(picture.books && picture.notes.is_empty(), "{:?}", picture.notes);
    assert!(picture.processes.len() >= 20, "{}", picture.processes.len());
    processes(&crowd, &picture);
    frames(&crowd, &picture);
    for cpu in &picture.cpus {
        let dump = crowd.json(&Request::Tlb { cpu: Some(cpu.number as usize) });
        let entries = dump[0]["entries"].as_array().expect("entries");
        let said: Vec<u64> = entries.iter().map(|entry| entry["linear"].as_u64().expect("an address") >> 12).collect();
        let drawn: Vec<u64> = values(&cpu.tlb.page).into_iter().map(u64::from).collect();
        assert_eq!(drawn, said, "CPU {}", cpu.number);
        let stale = values(&cpu.tlb.stale).iter().filter(|&&reason| reason != 0).count();
        assert_eq!(Some(stale as u64), dump[0]["stale"].as_u64());
    }
    assert_eq!(picture.meminfo, crowd.json(&Request::Meminfo));
    assert_eq!(picture.caches, crowd.json(&Request::Slabinfo));
}

/// Each process is one of `ps`, and its areas and pages those of `maps` and `pagetable`.
fn processes(crowd: &Crowd, picture: &Picture) {
    let ps = crowd.json(&Request::Ps);
    let ps = ps.as_array().expect("processes");
    assert_eq!(ps.len(), picture.processes.len());
    for (process, row) in picture.processes.iter().zip(ps) {
        assert_eq!(
            (Some(process.pid.into()), Some(process.comm.as_str())),
            (row["pid"].as_u64(), row["comm"].as_str())
        );
        let Some(space) = process.space else { continue };
        let maps = crowd.json(&Request::Maps { pid: process.pid });
        let drawn = process.areas.iter().map(|area| {
            let name = usize::try_from(area.4).ok().map(|name| picture.names[name].name.as_str());
            (Some(area.0.into()), Some(area.1.into()), name)
        });
        let said = maps.as_array().expect("areas").iter();
        let said = said.map(|row| (row["start"].as_u64(), row["end"].as_u64(), row["name"].as_str()));
        assert!(drawn.eq(said), "process {}: {:?}", process.pid, process.areas);
        let space = &picture.spaces[space as usize];
        let (pages, bits) = (values(&space.page), values(&space.bits));
        let present = bits.iter().filter(|&&bits| bits & 1 != 0).count();
        let ranges = crowd.json(&Request::Pagetable { cpu: 0, pid: Some(process.pid) });
        let user = ranges["ranges"]
            .as_array()
            .expect("ranges")
            .iter()
            .filter(|range| range["start"].as_u64() < Some(space.end));
        assert_eq!(user.map(|range| range["pages"].as_u64().expect("a number")).sum::<u64>(), present as u64);
        assert_eq!(pages.len(), values(&space.frame).len());
    }
}

/// Each kind of frame is what `page` says of it, and free blocks are those of `buddyinfo`.
fn frames(crowd: &Crowd, picture: &Picture) {
    let owner = values(&picture.frames.owner);
    let columns = [&picture.frames.flags, &picture.frames.refcount, &picture.frames.mapcount].map(values);
    let mut mapped = vec![0u64; owner.len()];
    let spaces: std::collections::BTreeSet<u32> =
        picture.processes.iter().filter_map(|process| process.space).collect();
    for space in spaces {
        let space = &picture.spaces[space as usize];
        for (frame, bits) in values(&space.frame).into_iter().zip(values(&space.bits)) {
            if bits & 1 != 0 {
                mapped[frame as usize] += 1;
            }
        }
    }
    let mut seen = 0;
    for (number, class) in picture.frames.owners.iter().enumerate() {
        let all: Vec<usize> = (0..owner.len()).filter(|&pfn| owner[pfn] as usize == number).collect();
        for &pfn in all.iter().step_by(all.len().div_ceil(8)) {
            seen += 1;
            let dump = crowd.json(&Request::Page { pfn: pfn as u32 });
            assert_eq!(dump["flags"], columns[0][pfn], "frame {pfn:#x}");
            assert_eq!(dump["refcount"], columns[1][pfn], "frame {pfn:#x}");
            assert_eq!(dump["mapped"].as_array().map(|all| all.len() as u64), Some(mapped[pfn]), "frame {pfn:#x}");
            let said = dump["owner"].as_str().expect("an owner");
            let words: &[&str] = match class.kind.as_str() {
                "free" | "cpulist" => &["none: "],
                "slab" => &["slab cache "],
                "cache" => &["page cache of the file"],
                "anon" => &["anonymous memory", "the kernel"],
                "table" | "directory" => &["page tables"],
                "image" | "reserved" | "rom" | "hole" => &["the kernel itself, or firmware"],
                // The rest of a block in use is whose its first frame is.
                "mem_map" | "stack" | "module" | "vmalloc" | "kernel" => {
                    &["the kernel", "none: free, or the rest of a block"]
                }
                other => panic!("{other}"),
            };
            assert!(
                words.iter().any(|word| said.starts_with(word)),
                "frame {pfn:#x} is drawn as {class:?}, and is {said}"
            );
            assert_eq!(class.kind == "free", dump["block"]["free"] == true, "frame {pfn:#x}");
            if class.kind == "slab" {
                assert_eq!(said.strip_prefix("slab cache "), Some(class.name.as_str()));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    let buddyinfo = crowd.json(&Request::Buddyinfo);
    for (zone, row) in picture.zones.iter().zip(buddyinfo.as_array().expect("zones")) {
        let in_zone = &owner[zone.start as usize..(zone.start + zone.spanned).min(owner.len() as u32) as usize];
        for order in 0..11u32 {
            let is_free = |&&class: &&u32| picture.frames.owners[class as usize].order == Some(order);
            let blocks = in_zone.iter().filter(is_free).count() >> order;
            assert_eq!(row["free_blocks"][order as usize], blocks, "zone {}, order {order}", zone.name);
        }
    }
}

fn whole() {
    let page = Crowd::get().page();
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.len() < 10_000_000, "{} bytes", text.len());
    for word in ["<!doctype html>", "<canvas", "id=\"search\"", "</html>"] {
        assert!(text.contains(word), "{word}");
    }
    assert!(!text.contains("src=") && !text.contains("href=\"http"), "it loads something");
}

/// Damages a restored machine by turns: the page opens, says what, and shows the rest.
fn damaged() {
    let crowd = Crowd::get();
    let books = *Books::of(&target(&crowd.machine, &crowd.kernel)).expect("books").root();
    let direct = |linear: u32| PhysAddr(u64::from(linear - 0xc000_0000));
    let word = |linear: u32| crowd.machine.memory().read_u32(direct(linear));
    let first_mm = {
        let target = target(&crowd.machine, &crowd.kernel);
        let books = Books::of(&target).expect("books");
        books.tasks().expect("tasks").iter().find(|task| task.pid == 1).expect("init").mm.0
    };
    let areas = word(first_mm + 4);
    let root = KernelImage::parse(images::KERNEL).note().expect("a note").books.0;
    let field = |offset: u32| root + offset;
    let cases: [(&str, u32, u32, &str); 7] = [
        ("the first task leads to itself", books.tasks.0, books.tasks.0, "the list of tasks does not end"),
        ("the first task leads to nowhere", books.tasks.0, 0xf700_0001, "the list of tasks"),
        ("an area leads to itself", areas, areas, "process 1: its areas"),
        ("far too many zones", field(28), 1 << 20, "zones: "),
        ("descriptors out of memory", field(36), 0xffff_0000, "frames: the books speak of"),
        ("far too many frames", field(40), !0, "frames: the books speak of"),
        ("a directory out of memory", first_mm, 0xf000_0000, "process 1: the page directory"),
    ];
    for (what, at, value, note) in cases {
        let mut machine = restore(&crowd.file());
        machine.change_memory(direct(at), &value.to_le_bytes());
        let answer = look(&target(&machine, &crowd.kernel), &Request::Picture { limit: 8_000_000 }).expect("a picture");
        let picture: Picture = serde_json::from_value(answer.json).expect("a picture");
        assert!(picture.notes.iter().any(|line| line.starts_with(note)), "{what}: {:?}", picture.notes);
        assert!(!picture.cpus.is_empty(), "{what}");
        let is_about_tasks = note.contains("tasks");
        assert!(is_about_tasks || picture.processes.len() >= 20, "{what}: {}", picture.processes.len());
    }
}

/// The page of a machine with our kernel, without the note by which it is known.
fn foreign_page(folder: &Path) -> PathBuf {
    let path = |name: &str| folder.join(name);
    let mut kernel = images::KERNEL.to_vec();
    let note = kernel.windows(8).position(|bytes| bytes == b"PAGEWALK").expect("the note's name");
    kernel[note] = b'X';
    fs::write(path("kernel"), kernel).expect("a file");
    let options = ["--kernel", path("kernel").to_str().expect("a path"), "--memory", "32M"].map(str::to_owned);
    save(&path("m"), &options.each_ref().map(String::as_str), "ls /\n");
    report(&[path("m").to_str().expect("a path")], &path("m.html"));
    path("m.html")
}

fn foreign() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = machines(&foreign_page(folder.path())).pop().expect("a machine");
    assert!(!picture.books && picture.processes.is_empty());
    assert!(picture.notes.iter().any(|note| note.contains("keeps no books")), "{:?}", picture.notes);
    let kinds: Vec<&str> = picture.frames.owners.iter().map(|owner| owner.kind.as_str()).collect();
    assert!(["directory", "table", "mapped", "untouched"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    assert!(!values(&picture.spaces[0].upper).is_empty() && !values(&picture.cpus[0].tlb.page).is_empty());
}

/// A ROM that turns off the interrupts and halts, in real mode.
fn firmware() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut rom = vec![0xf4; 0x1000]; // hlt
    rom[0xff0] = 0xfa; // cli, at the reset vector
    fs::write(path("rom"), rom).expect("a file");
    let mut run = pagewalk();
    run.args(["run", "--memory", "16M", "--save-at", "1", "--bios"]).arg(path("rom")).arg("--save").arg(path("m"));
    let output = with_input(&mut run, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    report(&[path("m").to_str().expect("a path")], &path("m.html"));
    let picture = machines(&path("m.html")).pop().expect("a machine");
    assert!(!picture.books && picture.spaces.is_empty());
    assert!(picture.notes.iter().any(|note| note.contains("paging is off")), "{:?}", picture.notes);
    assert!(picture.frames.count >= 0xf00 && picture.cpus.len() == 1, "{}", picture.frames.count);
    assert_eq!(picture.cpus[0].registers["mode"], "real mode");
}

/// The least and the most memory, one process and five hundred.
fn sizes() {
    let folder = tempfile::tempdir().expect("a folder");
    for (memory, sleepers, processes, most) in [("16M", 0, 1, 2_000_000), ("3584M", 250, 500, 10_000_000)] {
        let (file, page) = (folder.path().join("m"), folder.path().join("m.html"));
        save(&file, &["--memory", memory], &crowd(sleepers));
        report(&[file.to_str().expect("a path")], &page);
        assert!(fs::metadata(&page).expect("a page").len() < most, "{memory}");
        let picture = machines(&page).pop().expect("a machine");
        assert!(picture.notes.is_empty(), "{:?}", picture.notes);
        assert!(picture.processes.len() >= processes, "{}", picture.processes.len());
        let frames = picture.frames.count as usize;
        assert_eq!(values(&picture.frames.owner).len(), frames);
        assert!(frames.abs_diff(memory.trim_end_matches('M').parse::<usize>().expect("a number") << 8) < 256);
    }
    let crowd = Crowd::get();
    let target = Target::new(Vec::new(), crowd.machine.memory());
    assert!(Picture::of(&target, 1 << 20).frames.count > 0, "no CPU is known");
}

fn refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let crowd = Crowd::get().file();
    let file = crowd.to_str().expect("a path");
    let empty = folder.path().join("empty");
    fs::write(&empty, "").expect("a file");
    let cases: [(&[&str], &str); 5] = [
        (&["report", file], "--output"),
        (&["report", empty.to_str().expect("a path"), "-o", "/dev/null"], "empty"),
        (&["report", "/no/such", "-o", "/dev/null"], "/no/such"),
        (&["report", file, "-o", "/no/such/folder/x.html"], "/no/such/folder/x.html"),
        (&["report", file, "--snapshot", file, "-o", "/dev/null"], "--snapshot"),
    ];
    for (words, names) in cases {
        let output = pagewalk().args(words).output().expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.lines().count() == 1 && said.contains(names), "{words:?}: {said}");
    }
}

/// Opens a page in a window of ordinary size with a script of ours at its end, and gives what the script has found.
fn browse(page: &Path, folder: &Path, script: &str) -> Value {
    browse_in("1500,1000", page, folder, script)
}

/// The same in a window of another size.
fn browse_in(size: &str, page: &Path, folder: &Path, script: &str) -> Value {
    let driven = folder.join("driven.html");
    let text = fs::read_to_string(page).expect("the page");
    let driver = fs::read_to_string(root().join("tests/report/drive.js")).expect("the driver");
    let last = format!("<pre id=\"seen\"></pre><script>{driver}\n{script}</script></body>");
    let (before, after) = text.rsplit_once("</body>").expect("its end");
    fs::write(&driven, [before, &last, after].concat()).expect("a file");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]);
    command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    command.args(["--virtual-time-budget=60000", &format!("--window-size={size}"), "--dump-dom"]);
    let output = command.arg(format!("file://{}", driven.display())).output().expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.rsplit_once("<pre id=\"seen\">").expect("a result").1.split_once("</pre>").expect("its end").0;
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let seen: Value = serde_json::from_str(&seen).unwrap_or_else(|why| panic!("{why}: {seen:?}"));
    assert_eq!(seen["errors"], serde_json::json!([]), "{seen}");
    seen
}

fn browsed() {
    let crowd = Crowd::get();
    let ps = crowd.json(&Request::Ps);
    let pid = ps.as_array().expect("processes").iter().rfind(|row| row["comm"] == "sleep").expect("a sleeper")["pid"]
        .as_u64()
        .expect("a number") as u32;
    // Its first area that has a page.
    let (maps, walk) = {
        let answer = look(&target(&crowd.machine, &crowd.kernel), &Request::Maps { pid }).expect("areas");
        let walk = |row: &Value| {
            let addr = format!("{:x}", row["start"].as_u64().expect("an address"));
            crowd.json(&Request::Walk { addr, cpu: 0, pid: Some(pid) })
        };
        let rows = answer.json.as_array().expect("areas").clone();
        let at = rows.iter().position(|row| walk(row)["physical"].is_u64()).expect("a page");
        let text = String::from_utf8_lossy(&answer.text).into_owned();
        (text.lines().nth(at).expect("a line").to_owned(), walk(&rows[at]))
    };
    let start = &maps[..8];
    let physical = walk["physical"].as_u64().expect("mapped");
    let frame = crowd.json(&Request::Page { pfn: (physical >> 12) as u32 });
    let folder = tempfile::tempdir().expect("a folder");
    let seen = browse(&crowd.page(), folder.path(), &format!("tour({pid}, '0x{start}');"));

    for view in ["overview", "spaces", "memory", "tables", "tlb", "shootdowns", "counters", "kernel"] {
        assert!(seen["views"][view].as_u64() > Some(100), "{view}: {}", seen["views"]);
    }
    assert_eq!(seen["processes"].as_u64(), Some(ps.as_array().expect("processes").len() as u64));
    assert_eq!(seen["maps"], maps.as_str());
    assert_eq!(seen["physical"], format!("{physical:#010x}"));
    assert_eq!(seen["users"], frame["refcount"].to_string());
    assert_eq!(seen["entries"], frame["mapcount"].to_string());
    assert_eq!(seen["mappers"], frame["mapped"].as_array().expect("mappers").len());
    assert_eq!(seen["back"], format!("Page 0x{start}"), "from the frame to who maps it");
    assert_eq!(seen["history"], seen["frame"], "back in history");
    assert_eq!(seen["searched"], format!("{physical:#010x}"), "the search for the address");
    assert_eq!(seen["symbol"], "Page 0xc0100000", "the search for the kernel's first symbol");
    assert!(seen["clicked"].as_str().is_some_and(|title| title.starts_with("Frame 0x")), "{}", seen["clicked"]);
    assert_eq!(seen["keys"], serde_json::json!(["Physical memory", "Frame 0x3", "search", "help"]));
    assert_ne!(seen["themes"][0], seen["themes"][1]);
}

fn narrow() {
    let crowd = Crowd::get();
    let ps = crowd.json(&Request::Ps);
    let last =
        ps.as_array().expect("processes").iter().rfind(|row| row["comm"] == "sleep").expect("a sleeper")["pid"].clone();
    let folder = tempfile::tempdir().expect("a folder");
    let seen = browse_in("520,700", &crowd.page(), folder.path(), &format!("narrow({last});"));
    assert_eq!((&seen["out"], &seen["views"]), (&serde_json::json!([]), &8.into()));
    assert!(seen["width"].as_u64() <= Some(520), "{}", seen["width"]);
    assert_eq!(seen["chip"], format!("{last} sleep"), "the chosen process is seen among the others");
}

fn strange() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = foreign_page(folder.path());
    let seen = browse(&page, folder.path(), "strange();");
    assert!(seen["notes"].as_str().is_some_and(|notes| notes.contains("keeps no books")), "{}", seen["notes"]);
    let view = |name: &str| seen["views"][name].as_str().unwrap_or_else(|| panic!("no {name}: {seen}")).to_owned();
    let spaces = view("spaces");
    assert!(spaces.contains("mapped for ring 3") && spaces.contains("mapped for the kernel"), "{spaces}");
    assert!(!spaces.contains("shared") && !spaces.contains("swapped out"), "{spaces}");
    assert!(!view("memory").contains("buddy") && view("memory").contains("never written"));
    assert!(view("kernel").contains("keeps no books"));
    for name in ["overview", "tables", "tlb", "shootdowns", "counters"] {
        assert!(!view(name).contains("cannot be drawn"), "{name}: {}", view(name));
    }
}

fn compared() {
    let crowd = Crowd::get();
    let folder = tempfile::tempdir().expect("a folder");
    let (other, page) = (folder.path().join("other.pw"), folder.path().join("two.html"));
    save(&other, &["--memory", "2G", "--cpus", "2"], "sleep 1000 & cat /proc/self/maps\n");
    report(&[crowd.file().to_str().expect("a path"), other.to_str().expect("a path")], &page);
    assert!(fs::metadata(&page).expect("a page").len() < 10_000_000);
    let both = machines(&page);
    let names: Vec<_> =
        both.iter().map(|picture| picture.processes.iter().map(|one| one.pid).collect::<Vec<_>>()).collect();
    let gone = names[0].iter().filter(|pid| !names[1].contains(pid)).count();
    let (a, b) = (values(&both[0].frames.owner), values(&both[1].frames.owner));
    let words = |picture: &Picture, class: u32| {
        let class = &picture.frames.owners[class as usize];
        if class.kind == "free" { "free".to_owned() } else { class.name.clone() }
    };
    let changed = a.iter().zip(&b).filter(|(a, b)| words(&both[0], **a) != words(&both[1], **b)).count();
    let seen = browse(&page, folder.path(), "compare();");
    assert_eq!(seen["gone"], gone);
    assert_eq!(seen["changed"], changed);
    assert_eq!(seen["columns"], 2);
}
