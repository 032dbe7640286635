// The panel at the right: what is chosen in full, with links to all that it concerns.

function detail() {
  const panel = document.getElementById('detail'), machine = current();
  panel.replaceChildren();
  const pid = chosen.pid ?? pidOf(machine);
  if (chosen.frame !== undefined && chosen.view === 'memory') return put(panel, [frameDetail(machine, chosen.frame)]);
  if (chosen.page !== undefined) return put(panel, [pageDetail(machine, pid, chosen.page)]);
  if (chosen.region !== undefined) return put(panel, [regionDetail(machine, chosen.region)]);
  if (chosen.area !== undefined) return put(panel, [areaDetail(machine, pid, chosen.area)]);
  if (chosen.cache !== undefined) return put(panel, [cacheDetail(machine, chosen.cache)]);
  if (['spaces', 'tables'].includes(chosen.view) && machine.byPid.has(pidOf(machine))) return put(panel, [processDetail(machine, pidOf(machine))]);
  put(panel, [machineDetail(machine)]);
}

function machineDetail(machine) {
  const stats = machine.stats || {}, free = machine.zones.reduce((sum, zone) => sum + zone.free, 0);
  return [el('h2', {}, machine.label), pairs([
    ['kernel', machine.books ? 'ours: its books are read' : 'another: tables, TLBs and RAM only'],
    ['memory', size(machine.frames.count * 4096)], machine.zones.length ? ['free', size(free * 4096)] : null,
    ['CPUs', machine.cpus.map((cpu) => [link({ view: 'tlb', m: machine.number, cpu: cpu.number }, `${cpu.number}`), ' '])],
    machine.books ? ['processes', String(machine.processes.length)] : null,
    stats.instructions !== undefined ? ['instructions', count(stats.instructions)] : null, stats.virtual_ns !== undefined ? ['virtual time', `${(stats.virtual_ns / 1e9).toFixed(3)} s`] : null,
    machine.shootdowns.length ? ['shootdowns', link({ view: 'shootdowns', m: machine.number }, `the last ${machine.shootdowns.length}`)] : null,
  ]), el('p', { class: 'lead' }, 'Click into a picture, or search: an address, a symbol, a process, a frame.')];
}

function processDetail(machine, pid) {
  const process = machine.byPid.get(pid), [anon, file, shmem, swap, huge] = process.resident;
  const space = machine.spaceOf(pid);
  const owner = machine.frames.owners.findIndex((one) => one.pid === pid);
  return [el('h2', {}, `Process ${pid}: ${process.comm}`), pairs([
    ['command', process.args || '—'], ['state', process.state], ['parent', machine.byPid.has(process.ppid) ? link({ view: 'spaces', m: machine.number, pid: process.ppid, page: null }, processWords(machine, process.ppid)) : String(process.ppid)],
    ['threads', String(process.threads)], ['CPU', link({ view: 'tlb', m: machine.number, cpu: process.cpu }, String(process.cpu))],
    space ? ['CR3', frameLink(machine, space.cr3 >>> 12, hex(space.cr3))] : null,
    ['anonymous', pagesWords(anon)], ['file', pagesWords(file)], ['shared memory', pagesWords(shmem)], ['in swap', pagesWords(swap)], huge ? ['huge', pagesWords(huge)] : null,
    ['faults', `${count(process.faults[0])} minor, ${count(process.faults[1])} major`], ['page tables', space ? `${space.tables()} and a directory` : '—'],
  ]), el('p', {}, link({ view: 'tables', m: machine.number, pid, page: null }, 'its page tables'), ' · ', owner >= 0 ? el('a', { href: address({ view: 'memory', m: machine.number, owner }) }, 'its frames in memory') : null)];
}

function areaDetail(machine, pid, number) {
  const area = machine.areasOf(pid).find((one) => one.number === number), space = machine.spaceOf(pid);
  if (!area) return [el('h2', {}, 'No such area')];
  return [el('h2', {}, area.name ? area.name.name : area.kind === 'vma' ? 'Anonymous area' : 'Mapped range'), el('p', {}, link({ view: 'spaces', m: machine.number, pid, area: null, page: null }, `process ${processWords(machine, pid)}`)),
    area.kind === 'vma' ? el('pre', { id: 'maps-line' }, mapsLine(area)) : null,
    pairs([['from', el('code', {}, hex(area.start))], ['to', el('code', {}, hex(area.end))], ['size', size(area.end - area.start)], area.kind === 'vma' ? ['rights', perms(area.flags)] : null]),
    space ? usageTable(machine.usage(area, space)) : null, framesOf(machine, space, area, pid)];
}

function usageTable(usage) {
  const rows = STATES.filter(([state]) => usage[state]).map(([state, words, color]) => [[swatch(`var(--${color})`), words], count(usage[state]), `${usage[state] * 4} kB`]);
  return rows.length ? table(['pages', '#count', '#size'], rows) : el('p', { class: 'lead' }, 'None of its pages is there.');
}

/** The first pages of an area with their frames. */
function framesOf(machine, space, area, pid) {
  if (!space) return null;
  const rows = [], first = area.start / 4096, end = area.end / 4096;
  for (let i = lowerBound(space.page, first); i < space.page.length && space.page[i] < end && rows.length < 64; i++) {
    const there = space.isThere(space.bits[i]);
    rows.push([pageLink(machine, pid, space.page[i]), there ? frameLink(machine, space.frame[i]) : 'swap', there ? bitWords(space.bits[i]) : '']);
  }
  for (let i = 0; i < space.upper.length && rows.length < 64; i++) {
    const page = space.upper[i] * space.perTable;
    if (page + space.perTable > first && page < end && space.isMine(space.upper[i]) && space.isLarge(space.upper_bits[i]) && space.isThere(space.upper_bits[i])) rows.push([pageLink(machine, pid, Math.max(page, first)), frameLink(machine, space.upper_frame[i]), 'large page']);
  }
  return rows.length ? [el('h3', {}, rows.length === 64 ? 'Its first 64 entries' : 'Its entries'), table(['page', 'frame', 'bits'], rows)] : null;
}

function regionDetail(machine, number) {
  const region = machine.kernelAreas()[number];
  if (!region) return [el('h2', {}, 'No such part')];
  const inside = region.name.name === 'vmalloc' && Array.isArray(machine.packed.vmalloc) ? machine.packed.vmalloc : [];
  return [el('h2', {}, `Kernel: ${region.name.name}`), pairs([['from', el('code', {}, hex(region.start))], ['to', el('code', {}, hex(region.end - 1))], ['size', size(region.end - region.start)]]), usageTable(machine.usage(region, machine.kernel)),
    inside.length ? [el('h3', {}, 'Areas of vmalloc'), table(['from', '#size', 'kind', 'asked for by'], inside.slice(0, 200).map((area) => [pageLink(machine, undefined, area.start >>> 12, hex(area.start)), size(area.size), area.kind || '', String(area.caller ?? '')]))] : null, framesOf(machine, machine.kernel, region, undefined)];
}

function pageDetail(machine, pid, page) {
  const space = machine.tablesFor(pid, page), addr = page * 4096;
  if (!space) return [el('h2', {}, hex(addr)), el('p', {}, 'No tables are in use.')];
  const isKernel = space === machine.kernel, walk = space.walk(page), area = isKernel ? null : machine.areaAt(pid, addr);
  const region = isKernel ? machine.kernelAreas().find((one) => one.start <= addr && addr < one.end) : null;
  const symbol = machine.symbolAt(addr, pid), entry = (at, one, upper) => [el('code', {}, `${hex(at)}: ${hex(one.frame * 4096 + (one.bits & 0xfff))}`), el('br'), bitWords(one.bits, upper)];
  const held = machine.held(page).filter((row) => isKernel || !machine.books || machine.cpus[row.cpu].registers.cr3 === space.cr3);
  const state = machine.pageState(walk.end, walk.bits, walk.frame, walk.pte);
  return [el('h2', {}, `Page ${hex(addr)}`), el('p', {}, isKernel ? `the kernel's` : link({ view: 'spaces', m: machine.number, pid, page: null, area: area ? area.number : null }, `process ${processWords(machine, pid)}`)),
    pairs([
      area ? ['area', el('a', { href: address({ view: 'spaces', m: machine.number, pid, page: null, area: area.number }), id: 'to-area' }, area.name ? area.name.name : hex(area.start))] : region ? ['part', region.name.name] : ['area', 'none'],
      symbol ? ['symbol', el('code', {}, symbol)] : null, ['state', el('span', { id: 'page-state' }, isKernel && walk.frame !== undefined ? 'mapped' : stateWords(state))],
      ['directory', walk.pde ? entry(walk.pdeAddr, walk.pde, true) : walk.pdeAddr === null ? 'pointer not present' : [el('code', {}, hex(walk.pdeAddr)), ': not present']],
      walk.pte ? ['table', entry(walk.pteAddr, walk.pte)] : null,
      walk.frame !== undefined ? ['frame', el('a', { href: address({ view: 'memory', m: machine.number, frame: walk.frame, page: null, pid: pid || null }), id: 'to-frame' }, hex(walk.frame, 1))] : null,
      walk.frame !== undefined ? ['physical', el('code', { id: 'physical' }, hex(walk.frame * 4096))] : null,
      state === 'swap' && walk.pte ? ['swap', `area ${walk.pte.bits >> 1 & 31}, slot ${walk.pte.frame * 8 + (walk.pte.bits >> 9)}`] : null,
      ['TLBs', held.length ? held.map((row) => el('div', {}, link({ view: 'tlb', m: machine.number, cpu: row.cpu, page: null }, `CPU ${row.cpu}`), ` ${hex(row.frame * 4096)} ${rightsWords(row.rights)}`, row.stale ? el('b', {}, ' ✕ stale: ' + row.stale) : '')) : 'no CPU holds it'],
    ]), el('p', {}, link({ view: 'tables', m: machine.number, pid, page }, 'follow it through the tables'), ' · ', link({ view: 'spaces', m: machine.number, pid, page }, 'in its address space'))];
}

function frameDetail(machine, pfn) {
  const frames = machine.frames;
  if (pfn >= frames.count || !frames.owner.length) return [el('h2', {}, `Frame ${hex(pfn, 1)}`), el('p', {}, 'There is no such frame in this machine: its address is a device or nothing.')];
  const owner = machine.ownerOf(pfn), zone = machine.zoneOf(pfn), flags = frames.flags[pfn], mappers = machine.mappers(pfn);
  const rows = [['physical', el('code', {}, hex(pfn * 4096))], zone ? ['zone', zone.name] : null, ['owner', el('a', { href: address({ view: 'memory', m: machine.number, frame: pfn, owner: frames.owner[pfn] }), id: 'owner' }, owner.name)]];
  if (frames.private.length && frames.flags.length) {
    const block = machine.block(pfn), type = TYPES[frames.pageblock[pfn >> 10]];
    const head = flags & PG.HUGETLB ? block.first : pfn, raw = frames.mapcount[head];
    const mapcount = flags & PG.BUDDY || raw === 0xffffffff ? 0 : (raw + 1) >>> 0;
    rows.push(['flags', [el('code', {}, hex(flags)), ' ', machine.flagNames(flags).join(' ')]], ['block', [`order ${block.order}, `, frameLink(machine, block.first, hex(block.first, 1)), `–${hex(block.first + 2 ** block.order - 1, 1)}, ${block.free ? 'free, ' + block.list : 'in use'}`]], ['pageblock', type || '?'],
      ['users', el('span', { id: 'users' }, String(frames.refcount[head]))], ['entries', el('span', { id: 'mapcount' }, String(mapcount))]);
    if (frames.index.length && !block.free && !(flags & PG.SLAB)) rows.push(['page of it', hex(frames.index[head], 1)]);
    const cache = machine.caches.findIndex((one) => owner.kind === 'slab' && one.name === owner.name);
    if (cache >= 0) rows.push(['cache', el('a', { href: address({ view: 'kernel', m: machine.number, cache }) }, owner.name)]);
  }
  const direct = machine.kernel && pfn * 4096 < (machine.regions[0]?.end - machine.regions[0]?.start) ? machine.kernelStart / 4096 + pfn : null;
  return [el('h2', {}, `Frame ${hex(pfn, 1)}`), pairs(rows), el('h3', {}, mappers.length ? `Mapped by ${mappers.length}` : 'Mapped by no process'),
    mappers.length ? table(['process', 'page'], mappers.slice(0, 200).map((row) => [machine.books ? link({ view: 'spaces', m: machine.number, pid: row.pid, page: null, frame: null }, processWords(machine, row.pid)) : 'tables in use', el('a', { href: address({ view: 'spaces', m: machine.number, pid: row.pid || null, page: row.page, frame: null }), class: 'mapper' }, hex(row.page * 4096))])) : null,
    direct !== null ? el('p', {}, 'The kernel sees it at ', pageLink(machine, undefined, direct, hex(direct * 4096)), '.') : el('p', { class: 'lead' }, machine.kernel ? 'High memory: the kernel maps it only for a moment.' : '')];
}

function cacheDetail(machine, number) {
  const cache = machine.caches[number];
  if (!cache) return [el('h2', {}, 'No such cache')];
  const owner = machine.frames.owners.findIndex((one) => one.kind === 'slab' && one.name === cache.name), found = [];
  for (let pfn = 0; owner >= 0 && pfn < machine.frames.count && found.length < 300; pfn++) if (machine.frames.owner[pfn] === owner && pfn % Math.max(1, cache.pagesperslab) === 0) found.push(pfn);
  return [el('h2', {}, `Slab cache ${cache.name}`), pairs([['objects', `${count(cache.active_objs)} in use of ${count(cache.num_objs)}`], ['object', `${cache.objsize} bytes`], ['slabs', `${count(cache.num_slabs)} of ${cache.pagesperslab} pages, ${cache.objperslab} objects each`], ['memory', size(cache.num_slabs * cache.pagesperslab * 4096)]]),
    owner >= 0 ? el('p', {}, el('a', { href: address({ view: 'memory', m: machine.number, owner, cache: null }) }, 'show them in memory')) : null,
    el('h3', {}, 'Its slabs'), el('p', {}, found.map((pfn) => [el('a', { href: address({ view: 'memory', m: machine.number, frame: pfn, cache: null }) }, hex(pfn, 1)), ' ']))];
}
