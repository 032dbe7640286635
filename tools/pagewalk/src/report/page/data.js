// The machines of this page: columns are unpacked when they are first asked for.

/** Unpacks a column (crates/inspect/src/picture/column.rs says how it is packed). */
function unpack(column) {
  const out = new Uint32Array(column ? column.len : 0);
  if (!out.length) return out;
  const text = atob(column.data);
  let at = 0, to = 0, value = 0;
  const varint = () => {
    let number = 0, shift = 0, byte;
    do { byte = text.charCodeAt(at++); number |= (byte & 127) << shift; shift += 7; } while (byte & 128);
    return number >>> 0;
  };
  const difference = () => { const n = varint(); return (n >>> 1) ^ -(n & 1); };
  while (at < text.length && to < out.length) {
    const head = varint();
    const count = head >>> 1;
    if (head & 1) {
      for (let i = 0; i < count; i++) out[to++] = value = (value + difference()) >>> 0;
    } else {
      value = (value + difference()) >>> 0;
      const step = difference();
      if (step === 0) { out.fill(value, to, to + count); to += count; }
      else { out[to++] = value; for (let i = 1; i < count; i++) out[to++] = value = (value + step) >>> 0; }
    }
  }
  return out;
}

/** The first place in a sorted array whose value is not below `value`. */
function lowerBound(array, value) {
  let low = 0, high = array.length;
  while (low < high) { const mid = (low + high) >>> 1; if (array[mid] < value) low = mid + 1; else high = mid; }
  return low;
}

function once(object, name, make) {
  Object.defineProperty(object, name, { configurable: true, get() {
    const value = make();
    Object.defineProperty(object, name, { value });
    return value;
  } });
}

const P = 1, RW = 2, US = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100, SPECIAL = 0x200, XD = 0x1000;
const VM = { READ: 1, WRITE: 2, EXEC: 4, SHARED: 8, MAYSHARE: 0x80, GROWSDOWN: 0x100, PFNMAP: 0x400, LOCKED: 0x2000, HUGETLB: 0x400000 };
const PG = { RESERVED: 1 << 10, DIRTY: 1 << 3, HUGETLB: 1 << 23, SLAB: 1 << 7, HEAD: 1 << 13, BUDDY: 1 << 20, TABLE: 1 << 21, SWAPCACHE: 1 << 14 };
const FLAG_NAMES = ['locked', 'referenced', 'uptodate', 'dirty', 'lru', 'active', 'workingset', 'slab', 'error', 'writeback', 'reserved', 'reclaim', 'unevictable', 'head', 'swapcache', 'mlocked', 'swapbacked', null, null, null, 'buddy', 'table', 'anon_exclusive', 'hugetlb'];
const TYPES = ['Unmovable', 'Movable', 'Reclaimable', 'HighAtomic', 'Isolate'];

/** An address space: its entries, and where they lie. */
class Space {
  constructor(packed, name) {
    Object.assign(this, { packed, name, cr3: packed.cr3, pae: packed.pae, start: packed.start, end: packed.end });
    for (const column of ['upper', 'upper_frame', 'upper_bits', 'page', 'frame', 'bits']) once(this, column, () => unpack(packed[column]));
    this.perTable = this.pae ? 512 : 1024;
    this.shift = this.pae ? 21 : 22;
  }
  isThere(bits) { return (bits & P) !== 0 || (this.packed.prot_none && (bits & G) !== 0); }
  isLarge(bits) { return this.packed.pse && (bits & PS) !== 0; }
  /** The number in `upper` of the entry for a directory index, or -1. */
  upperAt(index) { const at = lowerBound(this.upper, index); return this.upper[at] === index ? at : -1; }
  /** The number in `page` of the entry for a page, or -1. */
  entryAt(page) { const at = lowerBound(this.page, page); return this.page[at] === page ? at : -1; }
  upperOf(page) { return Math.floor(page / this.perTable); }
  /** What the tables say of a page: its directory's and its table's entry, and where it leads. The kernel's tables are in `tables`. */
  walk(page, tables = this) {
    const index = this.upperOf(page), step = {};
    const wide = this.pae ? 8 : 4;
    const table = this.pae ? pointer(this.packed.pdpte[index >> 9]) : this.cr3 & ~0xfff;
    step.index = this.pae ? index & 511 : index;
    step.top = this.pae ? index >> 9 : null;
    step.pdeAddr = table === null ? null : (table >>> 0) + step.index * wide;
    const at = this.upperAt(index);
    if (at < 0) return { ...step, end: 'nothing' };
    step.pde = { frame: this.upper_frame[at], bits: this.upper_bits[at] };
    if (this.isLarge(step.pde.bits) && this.isThere(step.pde.bits)) {
      const first = step.pde.frame - step.pde.frame % this.perTable;
      return { ...step, end: 'large', frame: first + page % this.perTable, bits: step.pde.bits };
    }
    if (!(step.pde.bits & P)) return { ...step, end: 'nothing' };
    step.tableIndex = page % this.perTable;
    step.pteAddr = step.pde.frame * 4096 + step.tableIndex * wide;
    const entry = tables.entryAt(page);
    if (entry < 0) return { ...step, end: 'nothing', pte: { frame: 0, bits: 0 } };
    step.pte = { frame: tables.frame[entry], bits: tables.bits[entry] };
    if (this.isThere(step.pte.bits)) return { ...step, end: 'page', frame: step.pte.frame, bits: step.pte.bits };
    return { ...step, end: 'absent' };
  }
  /** Calls `visit(page, frame, pages, bits)` for all that is mapped. */
  eachMapped(visit) {
    for (let i = 0; i < this.upper.length; i++) {
      if (this.isMine(this.upper[i]) && this.isLarge(this.upper_bits[i]) && this.isThere(this.upper_bits[i]))
        visit(this.upper[i] * this.perTable, this.upper_frame[i] - this.upper_frame[i] % this.perTable, this.perTable, this.upper_bits[i]);
    }
    for (let i = 0; i < this.page.length; i++) if (this.isThere(this.bits[i])) visit(this.page[i], this.frame[i], 1, this.bits[i]);
  }
  /** Whether ring 3 may touch a page whose last entry has these bits: every level has to allow it. */
  isUser(page, bits) { const at = this.upperAt(this.upperOf(page)); return (bits & US) !== 0 && at >= 0 && (this.upper_bits[at] & US) !== 0; }
  /** How many tables the second level has. */
  tables() { let n = 0; for (let i = 0; i < this.upper.length; i++) if (this.isMine(this.upper[i]) && (this.upper_bits[i] & P) && !this.isLarge(this.upper_bits[i])) n++; return n; }
  /** Whether an entry of a directory is about the addresses of this space. */
  isMine(index) { const addr = index * this.perTable * 4096; return this.start <= addr && addr < this.end; }
}

function pointer(hex) { const value = BigInt('0x' + (hex || '0')); return value & 1n ? Number(value & 0xfffffff000n) : null; }

/** One machine. */
class Machine {
  constructor(packed, number, label) {
    Object.assign(this, { packed, number, label });
    for (const key of ['books', 'processes', 'regions', 'zones', 'names', 'cpus', 'notes', 'stats']) this[key] = packed[key];
    this.caches = packed.caches || [];
    this.shootdowns = (packed.shootdowns && packed.shootdowns.shootdowns) || [];
    this.samples = packed.samples || [];
    const kernelStart = packed.page_offset === null ? 2 ** 32 : packed.page_offset;
    this.kernelStart = kernelStart;
    this.spaces = packed.spaces.map((space) => new Space(space, 'tables at ' + hex(space.cr3)));
    this.kernel = packed.kernel_space ? new Space(packed.kernel_space, 'the kernel') : null;
    this.byPid = new Map(this.processes.map((process) => [process.pid, process]));
    this.areas = new Map();
    const frames = packed.frames;
    this.frames = { count: frames.count, owners: frames.owners };
    for (const column of ['owner', 'flags', 'refcount', 'mapcount', 'mapping', 'index', 'private', 'pageblock']) once(this.frames, column, () => unpack(frames[column]));
    once(this.frames, 'counts', () => { const counts = new Uint32Array(frames.owners.length); for (const owner of this.frames.owner) counts[owner]++; return counts; });
    once(this, 'mappers', () => this.findMappers());
    once(this, 'symbols', () => packed.symbols.map((table) => ({ owner: table.owner, addr: unpack(table.addr), size: unpack(table.size), names: table.names.split('\n') })));
    once(this, 'tlbs', () => this.cpus.map((cpu) => this.unpackTlb(cpu)));
  }
  get title() { return this.books ? 'the guest kernel' : 'another kernel'; }
  /** The spaces one can look at: of processes, or as the CPUs have loaded them. */
  spaceOf(pid) {
    const process = this.byPid.get(pid);
    if (process && process.space !== null) return this.spaces[process.space];
    return pid === 0 && !this.books ? this.spaces[0] : undefined;
  }
  /** The tables for a linear page, as `pid` sees it. */
  tablesFor(pid, page) {
    if (page * 4096 >= this.kernelStart && this.kernel) return this.kernel;
    return this.spaceOf(pid) || this.kernel || this.spaces[0];
  }
  /** The areas of a process, or the kernel's parts; what is mapped outside all of them comes as an area without a name. */
  areasOf(pid) {
    if (this.areas.has(pid)) return this.areas.get(pid);
    const process = this.byPid.get(pid);
    let areas = [];
    if (process) areas = process.areas.map(([start, end, flags, offset, name], number) => ({ number, pid, start, end, flags, offset, name: name < 0 ? null : this.names[name], kind: 'vma' }));
    const space = this.spaceOf(pid);
    if (space) for (const [start, end, isUser] of this.outside(space, areas)) areas.push({ number: areas.length, pid, start, end, flags: 0, offset: 0, name: null, kind: this.books ? 'stray' : 'range', isUser });
    areas.sort((a, b) => a.start - b.start);
    this.areas.set(pid, areas);
    return areas;
  }
  /** Ranges that the tables map and no area covers: `[start, end, whether ring 3 may touch it]`. */
  outside(space, areas) {
    const all = [], found = [], sorted = [...areas].sort((a, b) => a.start - b.start);
    space.eachMapped((page, frame, pages, bits) => all.push([page * 4096, (page + pages) * 4096, space.isUser(page, bits)]));
    all.sort((a, b) => a[0] - b[0]);
    let at = 0;
    for (const [start, end, isUser] of all) {
      while (at < sorted.length && sorted[at].end <= start) at++;
      if (at < sorted.length && sorted[at].start < end) continue;
      const last = found[found.length - 1];
      if (last && last[1] === start && last[2] === isUser) last[1] = end; else if (found.length < 20000) found.push([start, end, isUser]);
    }
    return found;
  }
  areaAt(pid, addr) { return this.areasOf(pid).find((area) => area.start <= addr && addr < area.end); }
  kernelAreas() {
    const rows = [];
    for (const region of this.regions) rows.push({ ...region, kind: 'region', number: rows.length, flags: 0, name: { name: region.name }, pid: 0 });
    return rows;
  }
  zoneOf(pfn) { return this.zones.find((zone) => zone.start <= pfn && pfn < zone.start + zone.spanned); }
  ownerOf(pfn) { return this.frames.owners[this.frames.owner[pfn]]; }
  /** What a page is whose walk ends so: one of STATES. */
  pageState(end, bits, frame, pte) {
    if (end === 'large') return 'huge';
    if (end === 'absent' && pte && pte.bits & P) return 'absent';
    if (end === 'absent') return 'swap';
    if (end !== 'page') return 'absent';
    if (!(bits & P)) return 'none';
    const flags = this.frames.flags[frame];
    if (flags !== undefined && (flags & PG.RESERVED || bits & SPECIAL)) return 'zero';
    const dirty = bits & D || (flags & PG.DIRTY);
    const shared = this.frames.mapcount.length && ((this.frames.mapcount[frame] + 1) >>> 0) > 1;
    return (shared ? 'shared' : 'private') + (dirty ? '-dirty' : '');
  }
  /** The pages of an area by their state, as /proc/PID/smaps counts them. */
  usage(area, space) {
    const counts = {};
    const first = area.start / 4096, end = area.end / 4096;
    let at = lowerBound(space.page, first);
    for (; at < space.page.length && space.page[at] < end; at++) {
      const there = space.isThere(space.bits[at]);
      const state = this.pageState(there ? 'page' : 'absent', space.bits[at], space.frame[at], { bits: space.bits[at] });
      counts[state] = (counts[state] || 0) + 1;
    }
    for (let i = 0; i < space.upper.length; i++) {
      const page = space.upper[i] * space.perTable;
      if (page >= end || page + space.perTable <= first || !space.isMine(space.upper[i]) || !space.isLarge(space.upper_bits[i]) || !space.isThere(space.upper_bits[i])) continue;
      counts.huge = (counts.huge || 0) + Math.min(end, page + space.perTable) - Math.max(first, page);
    }
    return counts;
  }
  /** For each frame the list of who maps it: chains through arrays, for there may be a million. */
  findMappers() {
    const rows = this.processes.filter((process) => process.space !== null).map((process) => [process.pid, this.spaces[process.space]]);
    if (!this.books) this.spaces.forEach((space) => rows.push([0, space]));
    let total = 0;
    const seen = new Set();
    for (const [, space] of rows) if (!seen.has(space)) { seen.add(space); total += space.page.length; }
    const head = new Int32Array(this.frames.count).fill(-1), next = new Int32Array(total), page = new Uint32Array(total), who = new Uint32Array(total);
    const large = [];
    let n = 0;
    seen.clear();
    for (const [pid, space] of rows) {
      if (seen.has(space)) continue;
      seen.add(space);
      space.eachMapped((linear, frame, pages, bits) => {
        if (pages > 1) { large.push({ pid, page: linear, frame, pages, bits }); return; }
        if (frame >= head.length) return;
        page[n] = linear; who[n] = pid; next[n] = head[frame]; head[frame] = n++;
      });
    }
    return (pfn) => {
      const found = [];
      for (let at = head[pfn]; at >= 0 && at !== undefined; at = next[at]) found.push({ pid: who[at], page: page[at] });
      for (const row of large) if (row.frame <= pfn && pfn < row.frame + row.pages) found.push({ pid: row.pid, page: row.page + pfn - row.frame, large: true });
      return found.sort((a, b) => a.pid - b.pid || a.page - b.page);
    };
  }
  /** The block that a frame is in: its first frame, its order, whether it is free. */
  block(pfn) {
    const frames = this.frames;
    for (let order = 0; order <= 10; order++) {
      const first = pfn - pfn % 2 ** order;
      const flags = frames.flags[first], says = frames.private[first];
      if (flags === undefined || says < order || says > 10) continue;
      if (flags & PG.BUDDY) return { first, order: says, free: true, list: TYPES[frames.index[first]] || '?' };
      if ((flags & (PG.HEAD | PG.SLAB)) === PG.HEAD) return { first, order: says, free: false };
    }
    return { first: pfn, order: 0, free: false };
  }
  flagNames(flags) { return FLAG_NAMES.filter((name, bit) => name && flags & (1 << bit)); }
  unpackTlb(cpu) {
    const tlb = cpu.tlb, columns = {};
    for (const key of ['page', 'frame', 'pages', 'rights', 'now', 'now_rights', 'filled_by', 'stale']) columns[key] = unpack(tlb[key]);
    const low = unpack(tlb.filled_at[0]), high = unpack(tlb.filled_at[1]);
    return Array.from(columns.page, (page, i) => ({
      cpu: cpu.number, page, frame: columns.frame[i], pages: columns.pages[i], rights: columns.rights[i], now: columns.now[i], nowRights: columns.now_rights[i],
      by: columns.filled_by[i], at: high[i] * 2 ** 32 + low[i], stale: columns.stale[i] ? tlb.reasons[columns.stale[i] - 1] : null,
    }));
  }
  held(page) { return this.tlbs.flatMap((rows) => rows.filter((row) => row.page <= page && page < row.page + row.pages)); }
  /** The symbol that holds an address. */
  symbolAt(addr, pid) {
    for (const table of this.symbols) {
      const isKernel = addr >= this.kernelStart;
      if (isKernel === table.owner.startsWith('/')) continue;
      if (!isKernel) {
        const process = this.byPid.get(pid);
        if (process && !process.areas.some(([start, end, , , name]) => name >= 0 && this.names[name].name === table.owner)) continue;
      }
      let at = lowerBound(table.addr, addr + 1) - 1;
      for (let back = 0; at >= 0 && back < 16; at--, back++) {
        const offset = addr - table.addr[at], size = table.size[at];
        if (size === 0 ? back === 0 && offset < 0x10000 : offset < size) return table.names[at] + (offset ? '+0x' + offset.toString(16) : '');
      }
    }
    return null;
  }
}

function hex(number, digits = 8) { return '0x' + number.toString(16).padStart(digits, '0'); }
function perms(flags) { return (flags & VM.READ ? 'r' : '-') + (flags & VM.WRITE ? 'w' : '-') + (flags & VM.EXEC ? 'x' : '-') + (flags & VM.MAYSHARE ? 's' : 'p'); }
/** An area as /proc/PID/maps has it. */
function mapsLine(area) {
  const pad = (number, digits) => number.toString(16).padStart(digits, '0');
  const name = area.name || { name: '', major: 0, minor: 0, inode: 0 };
  const head = `${pad(area.start, 8)}-${pad(area.end, 8)} ${perms(area.flags)} ${pad(area.offset, 8)} ${pad(name.major, 2)}:${pad(name.minor, 2)} ${name.inode} `;
  return name.name ? head.padEnd(49) + name.name : head;
}
function size(bytes) {
  if (bytes >= 2 ** 30) return (bytes / 2 ** 30).toFixed(bytes % 2 ** 30 ? 2 : 0) + ' GiB';
  if (bytes >= 2 ** 20) return (bytes / 2 ** 20).toFixed(bytes % 2 ** 20 ? 1 : 0) + ' MiB';
  return Math.round(bytes / 1024) + ' KiB';
}
function count(number) { return Math.round(number).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ' '); }
