// Physical memory: each frame a cell. A pageblock of 4 MiB is a tile; in it frames lie in Z-order, so that a buddy
// block of any order is a square or two squares side by side.

const TILE = 32;
function zOrder(x, y) { let n = 0; for (let bit = 0; bit < 5; bit++) n |= (x >> bit & 1) << (2 * bit) | (y >> bit & 1) << (2 * bit + 1); return n; }
const Z_X = new Uint8Array(1024), Z_Y = new Uint8Array(1024);
for (let y = 0; y < TILE; y++) for (let x = 0; x < TILE; x++) { Z_X[zOrder(x, y)] = x; Z_Y[zOrder(x, y)] = y; }

let cellSize = null; // chosen by hand; else by the amount of memory
let lit = null; // the class of frames that is lit: [machine, owner]

function memoryView(machine) {
  const frames = machine.frames;
  if (!frames.owner.length) return [heading(machine, 'Physical memory'), empty('The frames of this machine are not in this file: ', machine.notes.find((note) => note.includes('owners')) || 'there are none')];
  const parts = machine.zones.length ? machine.zones.map((zone) => [zone, zone.start, zone.start + zone.spanned]) : [[null, 0, frames.count]];
  const fits = Math.max(2, Math.min(8, Math.floor((roomFor() / 4 - 1) / TILE)));
  const cell = cellSize || (frames.count <= 8192 ? fits : frames.count <= 16384 ? Math.min(6, fits) : frames.count <= 65536 ? 3 : frames.count <= 140000 ? 2 : 1);
  const body = [heading(machine, 'Physical memory', `${count(frames.count)} frames of 4 KiB. A tile is ${machine.books ? 'a pageblock of ' : ''}4 MiB, in which frames lie in Z-order${machine.books ? ': a free block of the buddy allocator is a square, or two side by side' : ''}.`), memoryTools(machine, cell), legendOf(machine)];
  for (const [zone, first, end] of parts) body.push(zoneMap(machine, zone, first, Math.min(end, frames.count), cell));
  if (machine.zones.length) body.push(el('h3', {}, 'Free blocks by order'), freeBlocks(machine));
  return body;
}

function memoryTools(machine, cell) {
  const set = (size) => () => { cellSize = Math.max(1, Math.min(16, size)); render(); };
  return el('div', { class: 'tools' }, el('button', { onclick: set(cell - (cell > 4 ? 2 : 1)), title: 'Smaller (key −)' }, '−'), el('button', { onclick: set(cell + (cell >= 4 ? 2 : 1)), title: 'Larger (key +)' }, '+'),
    `${cell} × ${cell} points a frame`, lit ? el('button', { onclick: () => { lit = null; render(); } }, 'Show all owners') : null);
}

const KIND_WORDS = { free: 'free', cpulist: 'free, in CPU lists', image: 'kernel image', reserved: 'reserved', mem_map: 'descriptors', directory: 'page directories', table: 'page tables', stack: 'kernel stacks', slab: 'slab', cache: 'page cache', anon: 'anonymous', swapcache: 'swap cache', huge: 'huge pages', module: 'modules', vmalloc: 'vmalloc', kernel: 'kernel', rom: 'ROM', hole: 'no memory', mapped: 'mapped for ring 3', touched: 'written, for the kernel', untouched: 'never written' };

/** The classes of frames, by kind; pressing one lights its frames. */
function legendOf(machine) {
  const colours = ownerColours(machine), counts = machine.frames.counts, kinds = {};
  machine.frames.owners.forEach((owner, n) => (kinds[owner.kind] ||= []).push(n));
  const button = (n) => {
    const owner = machine.frames.owners[n], pressed = lit && lit[0] === machine && lit[1].includes(n) && lit[1].length === 1;
    return el('button', { 'aria-pressed': pressed ? 'true' : 'false', onclick: () => { lit = pressed ? null : [machine, [n]]; render(); }, title: `${count(counts[n])} frames, ${size(counts[n] * 4096)}` }, swatch(css(colours[n])), owner.name, el('small', {}, ' ' + count(counts[n])));
  };
  const rows = Object.keys(KIND_WORDS).filter((kind) => kinds[kind]).map((kind) => {
    const all = kinds[kind].sort((a, b) => kind === 'free' ? machine.frames.owners[a].order - machine.frames.owners[b].order : counts[b] - counts[a]);
    const sum = all.reduce((sum, n) => sum + counts[n], 0);
    const pressed = lit && lit[0] === machine && lit[1].length === all.length && lit[1].every((n) => all.includes(n));
    const head = el('button', { 'aria-pressed': pressed ? 'true' : 'false', onclick: () => { lit = pressed ? null : [machine, all]; render(); } }, all.length > 1 ? [1, 2, 0].map((n) => all[n] === undefined ? null : swatch(css(colours[all[n]]))) : swatch(css(colours[all[0]])), el('b', {}, KIND_WORDS[kind]), el('small', {}, ` ${count(sum)} · ${size(sum * 4096)}`));
    return { kind, head, all };
  });
  const several = rows.filter((row) => row.all.length > 1);
  return el('div', {}, el('div', { class: 'legend', role: 'group', 'aria-label': 'Owners of frames' }, rows.map((row) => row.head)),
    several.length ? el('details', { open: lit && lit[0] === machine && lit[1].length === 1 ? true : null }, el('summary', {}, 'Each by itself: caches, files, processes, orders'), several.map((row) => el('div', { class: 'legend' }, el('b', {}, KIND_WORDS[row.kind]), row.all.slice(0, 80).map(button), row.all.length > 80 ? `and ${row.all.length - 80} more` : null))) : null);
}

function zoneMap(machine, zone, first, end, cell) {
  const tiles = Math.ceil((end - first) / 1024), tile = TILE * cell + 1;
  const width = Math.max(1, Math.min(tiles, Math.floor(roomFor() / tile)));
  const rows = Math.ceil(tiles / width);
  const canvas = el('canvas', { class: 'map', width: width * tile + 1, height: rows * tile + 1, tabindex: 0, role: 'img', 'data-zone': `${machine.number} ${zone ? zone.name : 'RAM'}`, 'aria-label': `Frames ${hex(first, 1)} to ${hex(end - 1, 1)}${zone ? ', zone ' + zone.name : ''}; arrow keys move, Enter chooses` });
  const place = (pfn) => { const n = pfn - first, t = n >> 10, z = n & 1023; return [1 + (t % width) * tile + Z_X[z] * cell, 1 + Math.floor(t / width) * tile + Z_Y[z] * cell]; };
  const at = (x, y) => {
    const tx = Math.floor((x - 1) / tile), ty = Math.floor((y - 1) / tile), ix = Math.floor((x - 1 - tx * tile) / cell), iy = Math.floor((y - 1 - ty * tile) / cell);
    if (tx < 0 || ty < 0 || tx >= width || ix >= TILE || iy >= TILE || ix < 0 || iy < 0) return -1;
    const pfn = first + (ty * width + tx) * 1024 + zOrder(ix, iy);
    return pfn < end ? pfn : -1;
  };
  paintFrames(machine, canvas, first, end, width * rows * 1024, cell, place);
  const choose = (pfn) => { if (pfn >= 0) go({ view: 'memory', m: machine.number, frame: pfn, page: null, owner: null }); };
  const where = (event) => { const box = canvas.getBoundingClientRect(); return at((event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height); };
  canvas.addEventListener('click', (event) => choose(where(event)));
  canvas.addEventListener('mousemove', (event) => { const pfn = where(event); showTip(event, pfn < 0 ? '' : frameWords(machine, pfn)); });
  canvas.addEventListener('mouseleave', hideTip);
  canvas.addEventListener('keydown', (event) => {
    const [x, y] = place(Math.min(end - 1, Math.max(first, chosen.frame ?? first)));
    const moves = { ArrowLeft: [-cell, 0], ArrowRight: [cell, 0], ArrowUp: [0, -cell], ArrowDown: [0, cell] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    let pfn = at(x + move[0], y + move[1]);
    if (pfn < 0) pfn = at(x + move[0] + Math.sign(move[0]), y + move[1] + Math.sign(move[1]));
    if (pfn >= 0) { replace({ view: 'memory', m: machine.number, frame: pfn }); document.querySelector(`canvas[data-zone="${canvas.dataset.zone}"]`)?.focus(); }
  });
  const words = zone ? `${zone.name}: frames ${hex(first, 1)}–${hex(end - 1, 1)}, ${count(zone.free)} of ${count(zone.managed)} free; marks min ${count(zone.marks[0])}, low ${count(zone.marks[1])}, high ${count(zone.marks[2])}` : `RAM: frames 0x0–${hex(end - 1, 1)}`;
  return el('div', { class: 'zone' }, el('h3', {}, words), canvas);
}

function frameWords(machine, pfn) {
  const owner = machine.ownerOf(pfn);
  const block = machine.frames.private.length ? machine.block(pfn) : null;
  return `frame ${hex(pfn, 1)}, physical ${hex(pfn * 4096)}\n${owner.name}` + (block && block.order ? `\nblock of order ${block.order} from ${hex(block.first, 1)}` : '');
}

/** Paints the frames from `first` to `end` into a canvas with places for `all`. */
function paintFrames(machine, canvas, first, end, all, cell, place) {
  const context = canvas.getContext('2d');
  const image = context.createImageData(canvas.width, canvas.height);
  const words = new Uint32Array(image.data.buffer);
  const pack = ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  words.fill(pack(rgb('line')));
  const nothing = pack(rgb('ground'));
  const faded = rgb('ground');
  const isLit = lit && lit[0] === machine ? new Set(lit[1]) : null;
  const changed = machine.changedFrames;
  const colours = ownerColours(machine).map((value, n) => pack(isLit && !isLit.has(n) ? mix(value, faded, 0.86) : value));
  const owner = machine.frames.owner, width = canvas.width;
  const pale = changed ? ownerColours(machine).map((value) => pack(mix(value, faded, 0.8))) : null;
  const edge = cell >= 4 ? pack(rgb('ground')) : 0;
  for (let pfn = first; pfn < end; pfn++) {
    const [x, y] = place(pfn);
    const color = changed && !changed[pfn] && onlyChanges ? pale[owner[pfn]] : colours[owner[pfn]];
    for (let dy = 0; dy < cell; dy++) { const at = (y + dy) * width + x; for (let dx = 0; dx < cell; dx++) words[at + dx] = color; }
  }
  // Where memory ends within a row of tiles there is nothing.
  for (let pfn = end; pfn < first + all; pfn++) {
    const [x, y] = place(pfn);
    for (let dy = 0; dy < cell; dy++) words.fill(nothing, (y + dy) * width + x, (y + dy) * width + x + cell);
  }
  if (edge) borders(machine, words, width, first, end, cell, place, edge);
  context.putImageData(image, 0, 0);
  if (chosen.m === machine.number && chosen.frame >= first && chosen.frame < end && chosen.view === 'memory') {
    const [x, y] = place(chosen.frame), reach = Math.max(cell, 4);
    context.strokeStyle = colour('mark');
    context.lineWidth = 2;
    context.strokeRect(x - (reach - cell) / 2 - 1.5, y - (reach - cell) / 2 - 1.5, reach + 3, reach + 3);
  }
}

/** Lines between blocks: around each free block, and around each frame in use. */
function borders(machine, words, width, first, end, cell, place, edge) {
  const owners = machine.frames.owners, owner = machine.frames.owner;
  const draw = (pfn, w, h) => {
    const [x, y] = place(pfn);
    for (let dx = 0; dx < w * cell; dx++) words[(y + h * cell - 1) * width + x + dx] = edge;
    for (let dy = 0; dy < h * cell; dy++) words[(y + dy) * width + x + w * cell - 1] = edge;
  };
  for (let pfn = first; pfn < end;) {
    const order = owners[owner[pfn]].kind === 'free' ? owners[owner[pfn]].order : 0;
    const frames = 2 ** order;
    if (pfn % frames === 0 && pfn + frames <= end) { draw(pfn, 2 ** Math.ceil(order / 2), 2 ** Math.floor(order / 2)); pfn += frames; } else { draw(pfn, 1, 1); pfn++; }
  }
}

/** Bars: for each zone and order how much of its free memory is in blocks of that order. */
function freeBlocks(machine) {
  const orders = [...Array(11).keys()], wide = 74, high = 92;
  const picture = sv('svg', { viewBox: `0 0 ${90 + 11 * wide} ${machine.zones.length * (high + 26) + 24}`, width: 90 + 11 * wide, role: 'img', 'aria-label': 'Free blocks by zone and order' });
  orders.forEach((order) => picture.append(sv('text', { x: 90 + order * wide + wide / 2, y: 14, 'text-anchor': 'middle', class: 'faint' }, `${order} · ${size(4096 * 2 ** order)}`)));
  machine.zones.forEach((zone, row) => {
    const top = 24 + row * (high + 26), most = Math.max(1, ...zone.blocks.map((blocks, order) => blocks * 2 ** order));
    picture.append(sv('text', { x: 0, y: top + high / 2 }, zone.name), sv('text', { x: 0, y: top + high / 2 + 15, class: 'faint' }, size(zone.free * 4096)));
    picture.append(sv('line', { x1: 84, x2: 90 + 11 * wide, y1: top + high, y2: top + high, class: 'grid' }));
    zone.blocks.forEach((blocks, order) => {
      const tall = blocks ? Math.max(2, blocks * 2 ** order / most * (high - 16)) : 0;
      picture.append(sv('rect', { x: 90 + order * wide + 8, width: wide - 16, y: top + high - tall, height: tall, fill: css(mix(rgb('free-0'), rgb('cache'), order / 10)) }, sv('title', {}, `${zone.name}, order ${order}: ${blocks} blocks, ${size(blocks * 4096 * 2 ** order)}`)));
      picture.append(sv('text', { x: 90 + order * wide + wide / 2, y: top + high - tall - 4, 'text-anchor': 'middle', class: blocks ? '' : 'faint' }, blocks));
    });
  });
  return picture;
}
