"""gdb helpers for Pagewalk's guest kernel.

`pagewalk gdb` loads this file by itself. The kernel carries line numbers but no types, so what
lies where comes from its books: the records of guests/abi/src/books.rs, whose offsets the command
writes beside this file (records.py). They work on any target that reads the kernel's memory.
"""

import os
import struct
import sys
import tempfile

import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import records  # noqa: E402

MOST = 1 << 16
"""Rows of a list, from which on it counts as a circle."""


def read(addr, size):
    """Bytes of memory; a gdb.MemoryError where there is none."""
    return bytes(gdb.selected_inferior().read_memory(addr, size))


def word(addr):
    """A doubleword."""
    return struct.unpack("<I", read(addr, 4))[0]


def text(raw):
    """A zero-padded name."""
    return raw.split(b"\0")[0].decode("utf-8", "replace")


class Record:
    """One record of the kernel's; its fields are attributes."""

    def __init__(self, kind, addr):
        size, fields = records.RECORDS[kind]
        self.kind, self.addr, self.fields = kind, addr, [name for name, _, _ in fields]
        raw = read(addr, size)
        for name, at, length in fields:
            part = raw[at : at + length]
            setattr(self, name, int.from_bytes(part, "little") if length in (4, 8) else part)


def follow(kind, first):
    """A list of the kernel's, from its first record to the null pointer."""
    addr, seen = first, 0
    while addr:
        if seen == MOST:
            raise gdb.GdbError("the kernel's list of %s does not end" % kind)
        record = Record(kind, addr)
        yield record
        addr, seen = record.next, seen + 1


def books():
    """The root of everything."""
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("no machine runs")
    root = Record("KernelBooks", records.BOOKS)
    if root.version == 0:
        raise gdb.GdbError("the kernel has not filled its books yet")
    if root.version != records.VERSION:
        raise gdb.GdbError("the kernel's books have version %d, these helpers know %d" % (root.version, records.VERSION))
    return root


def tasks():
    """All threads, by number."""
    return follow("TaskRecord", books().tasks)


def task_of(pid):
    """The thread with a number."""
    for task in tasks():
        if task.pid == pid:
            return task
    raise gdb.GdbError("no process %d" % pid)


def name_at(addr, length):
    """A name with its length beside it."""
    return read(addr, min(length, 4096)).decode("utf-8", "replace") if addr else ""


def path_of(file_addr):
    """The path of an open file."""
    if not file_addr:
        return ""
    names, addr = [], Record("FileRecord", file_addr).dentry
    for _ in range(256):
        if not addr:
            break
        dentry = Record("DentryRecord", addr)
        names.append(name_at(dentry.name, dentry.name_len) if dentry.parent or dentry.flags & 2 else "")
        addr = 0 if dentry.flags & 2 else dentry.parent
    return "/".join(reversed(names)) or "/"


def row_of(record):
    """What a row of `lx-list` shows of a record."""
    kind = record.kind
    if kind == "TaskRecord":
        return "%5d %s %s" % (record.pid, chr(record.state), text(record.comm))
    if kind == "VmaRecord":
        letters = "".join(letter if record.flags & 1 << bit else "-" for bit, letter in enumerate("rwx"))
        share = "s" if record.flags & 8 else "p"
        return "%08x-%08x %s%s %08x %s" % (
            record.start, record.end, letters, share, (record.pgoff << 12) & 0xFFFFFFFF, path_of(record.file))
    if kind == "ModuleRecord":
        return "%08x %6d %s" % (record.base, record.size, text(record.name))
    if kind == "KmemCacheRecord":
        return "%6d of %6d objects of %5d bytes  %s" % (
            record.active_objs, record.num_objs, record.objsize, name_at(record.name, record.name_len))
    if kind == "VmStructRecord":
        return "%08x %7d %s" % (record.addr, record.size, name_at(record.caller_name, record.caller_name_len))
    return "%08x-%08x %s" % (record.start, record.end, name_at(record.name, record.name_len))


def resources(first, depth):
    """A tree of resources, each with its depth."""
    addr, seen = first, 0
    while addr and seen < MOST and depth < 64:
        record = Record("ResourceRecord", addr)
        yield depth, record
        yield from resources(record.child, depth + 1)
        addr, seen = record.sibling, seen + 1


class LxPs(gdb.Command):
    """The guest's threads, by the kernel's own list.

    lx-ps: the address of the record, number, CPU, state and name of each; > marks those that a CPU runs."""

    def __init__(self):
        super().__init__("lx-ps", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        root = books()
        size = records.RECORDS["CpuStateRecord"][0]
        states = [Record("CpuStateRecord", root.cpu_states + n * size) for n in range(min(root.nr_cpus, 8))]
        running = [state.current for state in states]
        gdb.write("      TASK       PID  TGID CPU S COMM\n")
        for task in tasks():
            mark = ">" if task.addr in running else " "
            row = (mark, task.addr, task.pid, task.tgid, task.cpu, chr(task.state), text(task.comm))
            gdb.write("%s 0x%08x %5d %5d %3d %s %s\n" % row)


class LxList(gdb.Command):
    """A list of the kernel's, row by row.

    lx-list tasks | modules | caches | vmalloc | iomem | ioports | vmas PID"""

    LISTS = {
        "tasks": ("TaskRecord", "tasks"),
        "modules": ("ModuleRecord", "modules"),
        "caches": ("KmemCacheRecord", "caches"),
        "vmalloc": ("VmStructRecord", "vmap_areas"),
    }

    def __init__(self):
        super().__init__("lx-list", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        words = gdb.string_to_argv(argument)
        if len(words) == 1 and words[0] in self.LISTS:
            kind, head = self.LISTS[words[0]]
            rows = [(0, record) for record in follow(kind, getattr(books(), head))]
        elif len(words) == 1 and words[0] in ("iomem", "ioports"):
            rows = list(resources(Record("ResourceRecord", getattr(books(), words[0])).child, 0))
        elif len(words) == 2 and words[0] == "vmas" and words[1].isdigit():
            mm = task_of(int(words[1])).mm
            rows = [(0, record) for record in follow("VmaRecord", Record("MmRecord", mm).mmap)] if mm else []
        else:
            raise gdb.GdbError("usage: lx-list tasks | modules | caches | vmalloc | iomem | ioports | vmas PID")
        for depth, record in rows:
            gdb.write("0x%08x  %s%s\n" % (record.addr, "  " * depth, row_of(record)))
        gdb.write("%d rows\n" % len(rows))

    def complete(self, line, last):
        names = [*self.LISTS, "iomem", "ioports", "vmas"]
        return [name for name in names if name.startswith(last)]


class LxRecord(gdb.Command):
    """A record of the kernel's, field by field.

    lx-record KIND ADDR, such as lx-record TaskRecord $lx_task(2)"""

    def __init__(self):
        super().__init__("lx-record", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        kind, _, addr = argument.strip().partition(" ")
        if kind not in records.RECORDS or not addr.strip():
            raise gdb.GdbError("usage: lx-record KIND ADDR; KIND is one of " + ", ".join(records.RECORDS))
        record = Record(kind, int(gdb.parse_and_eval(addr)) & 0xFFFFFFFF)
        for name in record.fields:
            value = getattr(record, name)
            shown = '"%s"' % text(value) if isinstance(value, bytes) and len(value) <= 64 else value
            gdb.write("%-16s %s\n" % (name, "%#x (%d)" % (value, value) if isinstance(value, int) else shown))


class LxSymbols(gdb.Command):
    """Loads the symbols of the kernel's modules, as the kernel has them.

    lx-symbols: again after a module was loaded; those of modules that are gone go."""

    def __init__(self):
        super().__init__("lx-symbols", gdb.COMMAND_FILES)
        self.loaded = {}
        self.folder = None

    def invoke(self, argument, from_tty):
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="pagewalk-symbols-")
        for name, (path, _) in self.loaded.items():
            if any(objfile.filename == path for objfile in gdb.objfiles()):
                gdb.execute("with confirm off -- remove-symbol-file " + path, to_string=True)
        self.loaded = {}
        for module in follow("ModuleRecord", books().modules):
            name = text(module.name)
            path = os.path.join(self.folder.name, name + ".sym")
            symbols = list(self.symbols(module))
            with open(path, "wb") as out:
                out.write(symbol_file(module.base, module.text_size, module.size, symbols))
            gdb.execute("with confirm off -- add-symbol-file " + path, to_string=True)
            self.loaded[name] = (path, len(symbols))
            gdb.write("%s at 0x%08x: %d symbols\n" % (name, module.base, len(symbols)))
        if not self.loaded:
            gdb.write("no module is loaded\n")

    @staticmethod
    def symbols(module):
        size = records.RECORDS["ModuleSymbolRecord"][0]
        for n in range(min(module.nr_symbols, MOST)):
            symbol = Record("ModuleSymbolRecord", module.symbols + n * size)
            yield symbol.addr, symbol.size, name_at(symbol.name, symbol.name_len)


def symbol_file(base, text_size, size, symbols):
    """An ELF file of nothing but symbols, those of code and of data apart."""
    names, rows = b"\0", struct.pack("<IIIBBH", 0, 0, 0, 0, 0, 0)
    for addr, length, name in symbols:
        is_code = addr - base < text_size
        rows += struct.pack("<IIIBBH", len(names), addr, length, 0x12 if is_code else 0x11, 0, 1 if is_code else 2)
        names += name.encode() + b"\0"
    titles = b"\0.text\0.data\0.symtab\0.strtab\0.shstrtab\0"
    at = [52, 52 + len(rows), 52 + len(rows) + len(names)]
    end = at[2] + len(titles)

    def section(title, kind, flags, addr, offset, length, link, info, align, entry):
        name = titles.index(b"\0" + title + b"\0") + 1 if title else 0
        return struct.pack("<10I", name, kind, flags, addr, offset, length, link, info, align, entry)

    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base, 0, end, 0, 52, 32, 0, 40, 6, 5)
    sections = section(b"", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    sections += section(b".text", 8, 6, base, end, text_size, 0, 0, 16, 0)
    sections += section(b".data", 8, 3, base + text_size, end, size - text_size, 0, 0, 16, 0)
    sections += section(b".symtab", 2, 0, 0, at[0], len(rows), 4, 1, 4, 16)
    sections += section(b".strtab", 3, 0, 0, at[1], len(names), 0, 0, 1, 0)
    sections += section(b".shstrtab", 3, 0, 0, at[2], len(titles), 0, 0, 1, 0)
    return head + rows + names + titles + sections


class LxTask(gdb.Function):
    """$lx_task(PID): the address of a thread's record; $lx_task() of the one that the selected CPU runs."""

    def __init__(self):
        super().__init__("lx_task")

    def invoke(self, pid=None):
        if pid is not None:
            return task_of(int(pid)).addr
        cpu = gdb.selected_thread().num - 1
        size = records.RECORDS["CpuStateRecord"][0]
        return Record("CpuStateRecord", books().cpu_states + cpu * size).current


for helper in (LxPs, LxList, LxRecord, LxSymbols, LxTask):
    helper()
