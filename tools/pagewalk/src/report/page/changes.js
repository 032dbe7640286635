// Two machines: what has changed from the first to the second.

let onlyChanges = true;

/** Marks in both machines the frames whose owner is another one in the other. */
function compareFrames([a, b]) {
  const n = Math.max(a.frames.count, b.frames.count), changed = new Uint8Array(n), moves = new Map();
  const name = (machine, pfn) => pfn < machine.frames.owner.length ? machine.ownerOf(pfn) : { kind: 'hole', name: 'no memory' };
  const words = (owner) => owner.kind === 'free' ? 'free' : owner.name;
  const keys = [a, b].map((machine) => machine.frames.owners.map(words));
  for (let pfn = 0; pfn < n; pfn++) {
    const from = pfn < a.frames.owner.length ? keys[0][a.frames.owner[pfn]] : words(name(a, pfn)), to = pfn < b.frames.owner.length ? keys[1][b.frames.owner[pfn]] : words(name(b, pfn));
    if (from === to) continue;
    changed[pfn] = 1;
    const key = from + '\u0000' + to;
    moves.set(key, (moves.get(key) || 0) + 1);
  }
  a.changedFrames = b.changedFrames = changed;
  return [...moves.entries()].map(([key, frames]) => [...key.split('\u0000'), frames]).sort((x, y) => y[2] - x[2]);
}

function signed(number) { return el('span', { class: number > 0 ? 'plus' : number < 0 ? 'minus' : '' }, (number > 0 ? '+' : number < 0 ? '−' : '') + count(Math.abs(number))); }

function changesView() {
  const [a, b] = machines, body = [el('h2', {}, 'What has changed from A to B'), el('p', { class: 'lead' }, `${a.label}, after ${count(a.stats.instructions ?? 0)} instructions. ${b.label}, after ${count(b.stats.instructions ?? 0)}.`)];
  body.push(el('h3', {}, 'Processes and mappings'), mappingChanges(a, b));
  const moves = machines.moves;
  body.push(el('h3', {}, `Frames with another owner: ${count(moves.reduce((sum, row) => sum + row[2], 0))}`), moves.length ? table(['in A', 'in B', '#frames', '#size'], moves.slice(0, 60).map(([from, to, frames]) => [from, to, count(frames), size(frames * 4096)])) : el('p', {}, 'None.'));
  body.push(el('h3', {}, 'Free blocks by order'), freeChanges(a, b));
  const numbers = (title, x, y) => {
    const names = [...new Set([...Object.keys(x || {}), ...Object.keys(y || {})])].filter((name) => typeof (x?.[name] ?? y?.[name]) === 'number' && (x?.[name] ?? 0) !== (y?.[name] ?? 0));
    return [el('h3', {}, title), names.length ? table(['', '#A', '#B', '#change'], names.map((name) => [name, count(x?.[name] ?? 0), count(y?.[name] ?? 0), signed((y?.[name] ?? 0) - (x?.[name] ?? 0))])) : el('p', {}, 'Equal.')];
  };
  const caches = (machine) => Object.fromEntries(machine.caches.map((cache) => [cache.name, cache.active_objs]));
  body.push(el('div', { class: 'cards' }, el('div', { class: 'card' }, numbers('Slab objects in use', caches(a), caches(b))), el('div', { class: 'card' }, numbers('Counters of the run', a.stats, b.stats)), el('div', { class: 'card' }, numbers('meminfo, kB', a.packed.meminfo, b.packed.meminfo)), el('div', { class: 'card' }, numbers('vmstat', a.packed.vmstat, b.packed.vmstat))));
  return body;
}

function mappingChanges(a, b) {
  const rows = [], pids = [...new Set([...a.byPid.keys(), ...b.byPid.keys()])].sort((x, y) => x - y);
  const only = (machine, other, name) => {
    const found = machine.processes.filter((one) => !other.byPid.has(one.pid)).map((one) => [el('a', { class: name, href: address({ view: 'spaces', m: machine.number, pid: one.pid, page: null }) }, processWords(machine, one.pid)), ' ']);
    return found.length ? found : 'none';
  };
  const crowd = pairs([[el('b', { class: 'minus' }, '− gone'), only(a, b, 'gone')], [el('b', { class: 'plus' }, '+ new'), only(b, a, 'new')]]);
  for (const pid of pids) {
    const one = a.byPid.get(pid), two = b.byPid.get(pid);
    if (!one || !two) continue;
    const lines = (machine) => new Set(machine.areasOf(pid).filter((area) => area.kind === 'vma').map(mapsLine));
    const was = lines(a), is = lines(b);
    const label = one.comm === two.comm ? processWords(b, pid) : `${pid} (${one.comm} → ${two.comm})`;
    for (const line of was) if (!is.has(line)) rows.push([el('span', { class: 'minus' }, '−'), label, el('code', {}, line), link({ view: 'spaces', m: 0, pid, page: null }, 'look')]);
    for (const line of is) if (!was.has(line)) rows.push([el('span', { class: 'plus' }, '+'), label, el('code', {}, line), link({ view: 'spaces', m: 1, pid, page: null }, 'look')]);
    const there = (process) => process.resident.slice(0, 3).reduce((sum, pages) => sum + pages, 0);
    if (there(one) !== there(two)) rows.push(['pages', label, [count(there(one)), ' → ', count(there(two)), ' resident (', signed(there(two) - there(one)), ')'], '']);
  }
  return [el('div', { class: 'crowd' }, crowd), rows.length ? table(['', 'process', 'what', ''], rows.slice(0, 400)) : el('p', {}, a.books && b.books ? 'Those that both have are mapped alike.' : 'Not known: a kernel keeps no books that we can read.')];
}

function freeChanges(a, b) {
  const rows = b.zones.map((zone) => {
    const before = a.zones.find((other) => other.name === zone.name);
    return [zone.name, ...zone.blocks.map((blocks, order) => [count(blocks), ' ', signed(blocks - (before ? before.blocks[order] : 0))]), [count(zone.free), ' ', signed(zone.free - (before ? before.free : 0))]];
  });
  return rows.length ? table(['zone', ...[...Array(11).keys()].map((order) => '#' + order), '#pages'], rows) : el('p', {}, 'Not known.');
}
