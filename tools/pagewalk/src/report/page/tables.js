// The tree of page tables: from CR3 over the directory and a table to a frame, for one address.

function tablesView(machine) {
  const pid = pidOf(machine), space = machine.spaceOf(pid) || machine.spaces[0] || machine.kernel;
  if (!space) return [heading(machine, 'Page tables'), empty('No tables are in use: ', machine.notes.join('; '))];
  const page = tablePage(machine, space, pid);
  const tables = machine.tablesFor(pid, page), walk = space.walk(page, tables);
  const words = machine.books ? `Page tables of ${processWords(machine, pid)}` : `Page tables at CR3 ${hex(space.cr3)}`;
  return [heading(machine, words, 'Choose an entry of the directory, then one of the table: the path of that address is drawn. Arrow keys move within a table.'), processChips(machine, 'tables'),
    addressParts(space, page), tree(machine, space, tables, page, walk, pid), legendOfEntries(), costOf(machine, space)];
}

/** The page whose path is shown: the one that is chosen, else the first that is mapped. */
function tablePage(machine, space, pid) {
  if (chosen.m === machine.number && chosen.page !== undefined) return chosen.page;
  let first = null;
  if (machine.books && machine.byPid.has(pid)) {
    const area = machine.areasOf(pid).find((area) => lowerBound(space.page, area.start / 4096) < space.page.length);
    if (area) first = space.page[lowerBound(space.page, area.start / 4096)];
  }
  if (first === null || first === undefined) space.eachMapped((page) => { if (first === null || first === undefined || page < first) first = page; });
  return first ?? 0;
}

/** A linear address cut into the numbers that a walk uses. */
function addressParts(space, page) {
  const addr = page * 4096, binary = addr.toString(2).padStart(32, '0');
  const cuts = space.pae ? [[0, 2, 'pointer'], [2, 11, 'directory'], [11, 20, 'table'], [20, 32, 'offset']] : [[0, 10, 'directory'], [10, 20, 'table'], [20, 32, 'offset']];
  return el('div', { class: 'bits' }, el('span', {}, el('small', {}, 'linear address'), hex(addr)),
    cuts.map(([from, to, what]) => el('span', {}, el('small', {}, what === 'offset' ? 'offset in the page' : `number in the ${what}`), binary.slice(from, to), what === 'offset' ? '' : ` = ${parseInt(binary.slice(from, to), 2)}`)));
}

const ENTRY_KINDS = [['nothing', 'page-absent'], ['table', 'table'], ['large page', 'page-huge'], ['page, read-only', 'page-private'], ['page, writable', 'page-private-dirty'], ['not present: swap or other', 'page-swap'], ['kernel', 'page-kernel']];
function legendOfEntries() { return el('div', { class: 'legend' }, ENTRY_KINDS.map(([words, color]) => el('span', {}, swatch(`var(--${color})`), words))); }

function tree(machine, space, tables, page, walk, pid) {
  const columns = 32, cell = 11, per = space.perTable, rows = per / columns, grid = columns * cell;
  const left = 96, gap = 74, top = 46, second = left + grid + gap, third = second + grid + gap;
  const tall = top + rows * cell + 60;
  const picture = sv('svg', { viewBox: `0 0 ${third + 190} ${tall}`, width: third + 190, role: 'img', 'aria-label': `Path of ${hex(page * 4096)} through the tables`, id: `tree-${machine.number}`, tabindex: 0 });
  const kernelSpace = machine.kernel, index = space.upperOf(page);
  const firstIndex = space.pae ? index - index % per : 0;
  const upperAt = (n) => { const at = space.upperAt(n); return at < 0 ? null : { space: space.isMine(n) || !kernelSpace ? space : kernelSpace, bits: space.upper_bits[at], frame: space.upper_frame[at] }; };
  const at = (base, n) => [base + n % columns * cell, top + Math.floor(n / columns) * cell];
  picture.append(sv('text', { x: 0, y: top + 20 }, 'CR3'), sv('text', { x: 0, y: top + 36, class: 'mono' }, hex(space.cr3)));
  picture.append(sv('text', { x: left, y: 18 }, space.pae ? `page directory ${index >> 9} of 4` : 'page directory'), sv('text', { x: left, y: 34, class: 'mono faint' }, walk.pdeAddr === null ? 'not present' : `frame ${hex(Math.floor(walk.pdeAddr / 4096), 5)}, ${per} entries of ${space.pae ? 8 : 4} bytes`));
  for (let n = 0; n < per; n++) {
    const entry = upperAt(firstIndex + n), [x, y] = at(left, n), target = (firstIndex + n) * per;
    const color = !entry ? 'page-absent' : entry.space.isLarge(entry.bits) && entry.space.isThere(entry.bits) ? 'page-huge' : !(entry.bits & P) ? 'page-swap' : entry.space === kernelSpace ? 'page-kernel' : 'table';
    const first = entry ? firstIn(entry.space, target, per) : target;
    picture.append(treeCell(x, y, cell, color, { view: 'tables', m: machine.number, pid, page: first }, `entry ${n}: ${hex(target * 4096)}–${hex((target + per) * 4096 - 1)}\n${entry ? hex(entry.frame * 4096 + (entry.bits & 0xfff)) + ' ' + bitWords(entry.bits, true) : 'not present'}`));
  }
  if (machine.kernel && !space.pae) { const [, y] = at(left, Math.floor(machine.kernelStart / 4096 / per)); picture.append(sv('line', { x1: left - 6, x2: left + grid, y1: y, y2: y, stroke: colour('text'), 'stroke-width': 1.5 }), sv('text', { x: left - 8, y: y + 4, 'text-anchor': 'end' }, '3 GiB')); }
  const [px, py] = at(left, index - firstIndex);
  arrow(picture, [80, top + 16], [left - 2, top + 16]);
  mark(picture, px, py, cell);
  const down = top + rows * cell + 20;
  picture.append(sv('text', { x: left, y: down, class: 'mono' }, walk.pdeAddr === null ? '' : `${hex(walk.pdeAddr)}: ${walk.pde ? hex(walk.pde.frame * 4096 + (walk.pde.bits & 0xfff)) : 'not present'}`), sv('text', { x: left, y: down + 16, class: 'faint' }, walk.pde ? bitWords(walk.pde.bits, true) : ''));
  if (walk.pteAddr !== undefined) {
    picture.append(sv('text', { x: second, y: 18 }, 'page table'), sv('text', { x: second, y: 34, class: 'mono faint' }, `frame ${hex(walk.pde.frame, 5)}`));
    const base = index * per;
    let entry = lowerBound(tables.page, base);
    for (let n = 0; n < per; n++) {
      const has = tables.page[entry] === base + n, [x, y] = at(second, n);
      const bits = has ? tables.bits[entry] : 0, frame = has ? tables.frame[entry] : 0;
      const color = !has ? 'page-absent' : !tables.isThere(bits) ? 'page-swap' : bits & RW ? 'page-private-dirty' : 'page-private';
      picture.append(treeCell(x, y, cell, color, { view: 'tables', m: machine.number, pid, page: base + n }, `entry ${n}: ${hex((base + n) * 4096)}\n${has ? hex(frame * 4096 + (bits & 0xfff)) + ' ' + bitWords(bits) : 'not present'}`));
      if (has) entry++;
    }
    const [tx, ty] = at(second, page % per);
    arrow(picture, [px + cell, py + cell / 2], [second - 2, top + 4]);
    mark(picture, tx, ty, cell);
    picture.append(sv('text', { x: second, y: down, class: 'mono' }, `${hex(walk.pteAddr)}: ${hex(walk.pte.frame * 4096 + (walk.pte.bits & 0xfff))}`), sv('text', { x: second, y: down + 16, class: 'faint' }, bitWords(walk.pte.bits)));
    if (walk.frame !== undefined) frameBox(machine, picture, third, top + 6, walk, [tx + cell, ty + cell / 2]);
  } else if (walk.frame !== undefined) frameBox(machine, picture, second, top + 6, walk, [px + cell, py + cell / 2]);
  picture.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!step) return;
    event.preventDefault();
    replace({ view: 'tables', m: machine.number, pid, page: Math.max(0, Math.min(0xfffff, page + step)) });
    document.getElementById(`tree-${machine.number}`)?.focus();
  });
  return picture;
}

function firstIn(space, page, per) { const at = lowerBound(space.page, page); return at < space.page.length && space.page[at] < page + per ? space.page[at] : page; }
function treeCell(x, y, cell, color, target, words) { return sv('a', { href: address(target), tabindex: -1 }, sv('rect', { x: x + 0.5, y: y + 0.5, width: cell - 1, height: cell - 1, fill: `var(--${color})` }, sv('title', {}, words))); }
function mark(picture, x, y, cell) { picture.append(sv('rect', { x: x - 0.5, y: y - 0.5, width: cell + 1, height: cell + 1, fill: 'none', stroke: 'var(--mark)', 'stroke-width': 2.5, 'pointer-events': 'none' })); }
function arrow(picture, [x1, y1], [x2, y2]) {
  const bend = Math.max(18, (x2 - x1) / 2);
  picture.append(sv('path', { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`, fill: 'none', stroke: 'var(--mark)', 'stroke-width': 2, 'pointer-events': 'none' }), sv('path', { d: `M${x2},${y2} l-8,-4.5 v9 z`, fill: 'var(--mark)', 'pointer-events': 'none' }));
}
function frameBox(machine, picture, x, y, walk, from) {
  const owner = walk.frame < machine.frames.count && machine.frames.owner.length ? machine.ownerOf(walk.frame) : null;
  arrow(picture, from, [x - 2, y + 34]);
  picture.append(sv('a', { href: address({ view: 'memory', m: machine.number, frame: walk.frame, page: null }) },
    sv('rect', { x, y, width: 176, height: 68, rx: 6, fill: 'var(--panel)', stroke: 'var(--mark)', 'stroke-width': 2 }), sv('text', { x: x + 10, y: y + 22 }, `frame ${hex(walk.frame, 5)}`)),
    sv('text', { x: x + 10, y: y + 40, class: 'mono' }, hex(walk.frame * 4096)), sv('text', { x: x + 10, y: y + 57, class: 'faint' }, owner ? owner.name.slice(0, 26) : 'no memory: a device'));
}

/** The bits of an entry by their names. */
function bitWords(bits, isUpper) {
  if (!(bits & P)) return bits ? 'P=0' : 'P=0, empty';
  const words = [bits & RW ? 'R/W=1' : 'R/W=0', bits & US ? 'U/S=1' : 'U/S=0', bits & 8 ? 'PWT' : '', bits & 0x10 ? 'PCD' : '', bits & A ? 'A' : ''];
  if (isUpper) words.push(bits & PS ? 'PS' : ''); else words.push(bits & D ? 'D' : '', bits & 0x80 ? 'PAT' : '');
  if (isUpper && bits & PS) words.push(bits & D ? 'D' : '');
  if (!isUpper || bits & PS) words.push(bits & G ? 'G' : '');
  words.push(bits & XD ? 'XD' : '');
  return 'P ' + words.filter(Boolean).join(' ');
}

/** What two levels cost against one table for all addresses. */
function costOf(machine, space) {
  const levels = space.pae ? 5 : 1, tables = space.tables(), two = (levels + tables) * 4096, one = 2 ** 20 * (space.pae ? 8 : 4);
  const wide = 520, part = Math.max(2, two / one * wide);
  const all = machine.books ? machine.processes.filter((process) => process.space !== null) : [];
  const spaces = new Set(all.map((process) => process.space));
  const sum = [...spaces].reduce((sum, n) => sum + (machine.spaces[n].tables() + 1) * 4096, 0);
  return el('div', {}, el('h3', {}, 'What two levels save'),
    sv('svg', { viewBox: '0 0 760 62', width: 760, role: 'img', 'aria-label': 'Cost of two levels against one' },
      sv('rect', { x: 0, y: 4, width: part, height: 18, fill: 'var(--table)' }), sv('text', { x: part + 8, y: 18 }, `${size(two)}: ${levels === 1 ? 'one directory' : 'pointers and directories'} and ${tables} tables of ${space.perTable} entries`),
      sv('rect', { x: 0, y: 32, width: wide, height: 18, fill: 'var(--free-0)' }), sv('text', { x: wide + 8, y: 46 }, `${size(one)}: one table for 4 GiB`)),
    spaces.size > 1 ? el('p', {}, `All ${spaces.size} address spaces together: ${size(sum)} of tables for their own part; one flat table each would be ${size(spaces.size * one)}.`) : null);
}
