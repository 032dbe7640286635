// Address spaces: to scale at the left, and beside it each area page by page.

/** Cells in a row. In a narrow window (style.css) they stand below the area's name, not beside it. */
function cellsInRow() { return Math.max(16, Math.min(64, Math.floor((roomFor() - (innerWidth > 640 ? 410 : 125)) / 10 / 8) * 8)); }
const MOST_ROWS = 10;

function spacesView(machine) {
  if (!machine.spaces.length && !machine.kernel) return [heading(machine, 'Address space'), empty('No tables are in use: ', machine.notes.join('; '))];
  const pid = pidOf(machine), space = machine.spaceOf(pid) || machine.spaces[0];
  const areas = machine.areasOf(pid), parts = machine.kernelAreas();
  const process = machine.byPid.get(pid);
  const title = process ? `Address space of ${process.comm} (${pid})` : machine.books ? 'Address space' : `Address space at CR3 ${hex(space ? space.cr3 : 0)}`;
  const lead = process ? `${process.args || process.comm}: ${areas.length} areas. At the left the 4 GiB to scale; at the right each area, a cell a page.` : 'The tables as the CPU has them; at the left the 4 GiB to scale.';
  const shown = areas.slice(0, 400);
  const rows = [];
  let last = 0;
  const gap = (from, to) => { if (to - from >= 4096) rows.push(el('div', { class: 'gap' }, `nothing for ${size(to - from)}`)); };
  for (const area of shown) { gap(last, area.start); rows.push(areaRow(machine, space, area, pid)); last = area.end; }
  if (areas.length > shown.length) rows.push(empty(`… and ${areas.length - shown.length} more areas: search finds them`));
  if (machine.kernel) {
    gap(last, machine.kernelStart);
    rows.push(el('div', { class: 'border3g' }, `${hex(machine.kernelStart)} — below: this process. From here on: the kernel, the same in every process`));
    for (const area of parts) rows.push(areaRow(machine, machine.kernel, area, 0));
  }
  return [heading(machine, title, lead), processChips(machine, 'spaces'), stateLegend(machine), el('div', { class: 'space' }, scaleBar(machine, space, areas, parts, pid), el('div', {}, rows))];
}

/** Without books nobody knows who shares a frame, or what is in swap. */
function stateLegend(machine) {
  const known = STATES.filter(([state]) => machine.books || ['absent', 'private', 'private-dirty', 'swap', 'huge'].includes(state));
  const say = (state, words) => state === 'swap' && !machine.books ? 'not present, but not empty' : words;
  return el('div', { class: 'legend' }, known.map(([state, words, color]) => el('span', {}, swatch(`var(--${color})`), say(state, words))));
}

/** 4 GiB from bottom to top, to scale. */
function scaleBar(machine, space, areas, parts, pid) {
  const tall = 640, top = 12, y = (addr) => top + tall - addr / 2 ** 32 * tall;
  const picture = sv('svg', { width: 130, height: tall + 30, viewBox: `0 0 130 ${tall + 30}`, role: 'img', 'aria-label': 'The 4 GiB of linear addresses to scale' });
  picture.append(sv('rect', { x: 62, y: top, width: 50, height: tall, fill: colour('panel'), stroke: colour('line') }));
  for (let gib = 0; gib <= 4; gib++) picture.append(sv('line', { x1: 56, x2: 62, y1: y(gib * 2 ** 30), y2: y(gib * 2 ** 30), class: 'grid' }), sv('text', { x: 52, y: y(gib * 2 ** 30) + 4, 'text-anchor': 'end', class: 'faint' }, gib + ' GiB'));
  const bar = (area, color, target) => {
    const high = Math.max(1.5, (area.end - area.start) / 2 ** 32 * tall);
    const node = sv('a', { href: address(target) }, sv('rect', { x: 62, width: 50, y: y(area.start) - high, height: high, fill: color }), sv('title', {}, `${hex(area.start)}–${hex(area.end)} ${area.name ? area.name.name : ''}`));
    picture.append(node);
  };
  for (const area of parts) bar(area, colour('page-kernel'), { view: 'spaces', m: machine.number, pid, region: area.number });
  for (const area of areas) bar(area, colour(area.flags & VM.EXEC ? 'page-shared-dirty' : area.flags & VM.WRITE ? 'page-private-dirty' : 'page-private'), { view: 'spaces', m: machine.number, pid, area: area.number });
  if (machine.kernel) picture.append(sv('line', { x1: 58, x2: 124, y1: y(machine.kernelStart), y2: y(machine.kernelStart), stroke: colour('text'), 'stroke-width': 2 }), sv('text', { x: 52, y: y(machine.kernelStart) - 14, 'text-anchor': 'end' }, 'kernel'), sv('text', { x: 52, y: y(machine.kernelStart) + 22, 'text-anchor': 'end' }, 'user'));
  return picture;
}

function areaRow(machine, space, area, pid) {
  const isRegion = area.kind === 'region';
  const usage = space ? machine.usage(area, space) : {};
  const there = Object.entries(usage).filter(([state]) => state !== 'swap' && state !== 'absent').reduce((sum, [, n]) => sum + n, 0);
  const target = isRegion ? { view: 'spaces', m: machine.number, pid: pidOf(machine), region: area.number } : { view: 'spaces', m: machine.number, pid, area: area.number };
  const isChosen = chosen.m === machine.number && (isRegion ? chosen.region === area.number : chosen.area === area.number && pid === pidOf(machine));
  const name = area.name ? area.name.name : area.kind === 'stray' ? 'mapped, in no area' : area.kind === 'range' ? `mapped for ${area.isUser ? 'ring 3' : 'the kernel'}` : 'anonymous';
  return el('div', { class: 'area' + (isChosen ? ' chosen' : ''), 'data-start': hex(area.start) },
    el('div', { class: 'who' }, link(target, el('code', {}, `${hex(area.start)}–${hex(area.end)}`)), ' ', area.kind === 'vma' ? el('code', {}, perms(area.flags)) : null, el('br'), el('b', {}, name.split('/').pop() || name), el('small', {}, ` ${size(area.end - area.start)}, ${pagesWords(there)} there`)),
    space ? pageStrip(machine, space, area, pid) : null);
}

/** The pages of an area as cells; of a large area a cell stands for several, coloured by what most of them are. */
function pageStrip(machine, space, area, pid) {
  const first = area.start / 4096, pages = Math.ceil((area.end - area.start) / 4096);
  const CELLS = cellsInRow(), per = Math.max(1, Math.ceil(pages / (CELLS * MOST_ROWS)));
  const cells = Math.ceil(pages / per), cell = 10, rows = Math.ceil(cells / CELLS);
  const canvas = el('canvas', { class: 'map', width: Math.min(cells, CELLS) * cell + 1, height: rows * cell + 1, tabindex: 0, role: 'img', 'data-pages': `${machine.number} ${hex(area.start)}`, 'aria-label': `${pages} pages from ${hex(area.start)}${per > 1 ? `, ${per} to a cell` : ''}; arrow keys move` });
  const context = canvas.getContext('2d');
  const states = cellStates(machine, space, first, pages, per, cells);
  const colours = Object.fromEntries(STATES.map(([state, , color]) => [state, colour(color)]));
  const box = (n) => [(n % CELLS) * cell, Math.floor(n / CELLS) * cell];
  for (let n = 0; n < cells; n++) {
    const [x, y] = box(n), mixed = states[n];
    context.fillStyle = colours.absent;
    context.fillRect(x + 1, y + 1, cell - 1, cell - 1);
    let top = 0;
    for (const [state, number] of mixed) {
      const tall = Math.max(1, Math.round((cell - 1) * number / per));
      context.fillStyle = colours[state];
      context.fillRect(x + 1, y + Math.max(1, cell - top - tall), cell - 1, tall);
      if (state.endsWith('dirty') && per === 1) { context.fillStyle = colour('ground'); context.fillRect(x + cell - 4, y + 1, 3, 3); }
      top += tall;
    }
  }
  const chosenPage = chosen.m === machine.number && chosen.page !== undefined && chosen.page >= first && chosen.page < first + pages ? chosen.page : null;
  if (chosenPage !== null) { const [x, y] = box(Math.floor((chosenPage - first) / per)); context.strokeStyle = colour('mark'); context.lineWidth = 2; context.strokeRect(x + 0.5, y + 0.5, cell, cell); }
  const at = (event) => { const r = canvas.getBoundingClientRect(), n = Math.floor((event.clientY - r.top) * canvas.height / r.height / cell) * CELLS + Math.floor((event.clientX - r.left) * canvas.width / r.width / cell); return n >= 0 && n < cells ? n : -1; };
  const target = (n) => ({ view: 'spaces', m: machine.number, pid: pid || pidOf(machine), page: first + n * per, area: area.kind === 'region' ? null : area.number, region: area.kind === 'region' ? area.number : null });
  canvas.addEventListener('click', (event) => { const n = at(event); if (n >= 0) go(target(n)); });
  canvas.addEventListener('mousemove', (event) => {
    const n = at(event);
    if (n < 0) return hideTip();
    const words = states[n].map(([state, number]) => per === 1 ? stateWords(state) : `${number} ${stateWords(state)}`).join(', ') || 'absent';
    showTip(event, `${hex((first + n * per) * 4096)}${per > 1 ? ` and ${per - 1} more pages` : ''}\n${words}`);
  });
  canvas.addEventListener('mouseleave', hideTip);
  canvas.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -CELLS, ArrowDown: CELLS }[event.key];
    if (!step) return;
    event.preventDefault();
    const n = Math.max(0, Math.min(cells - 1, (chosenPage === null ? 0 : Math.floor((chosenPage - first) / per) + step)));
    replace(target(n));
    document.querySelector(`canvas[data-pages="${canvas.dataset.pages}"]`)?.focus();
  });
  return el('div', {}, canvas, per > 1 ? el('small', {}, `a cell is ${per} pages`) : null);
}

/** For each cell how many pages are in which state, without the absent ones. */
function cellStates(machine, space, first, pages, per, cells) {
  const counts = Array.from({ length: cells }, () => new Map());
  const add = (page, state, number) => {
    for (let at = page; at < page + number;) {
      const n = Math.floor((at - first) / per), step = Math.min(page + number, first + (n + 1) * per) - at;
      counts[n].set(state, (counts[n].get(state) || 0) + step);
      at += step;
    }
  };
  for (let i = lowerBound(space.page, first); i < space.page.length && space.page[i] < first + pages; i++) {
    const bits = space.bits[i], there = space.isThere(bits);
    const state = machine.pageState(there ? 'page' : 'absent', bits, space.frame[i], { bits });
    if (state !== 'absent') add(space.page[i], state, 1);
  }
  for (let i = 0; i < space.upper.length; i++) {
    if (!space.isMine(space.upper[i]) || !space.isLarge(space.upper_bits[i]) || !space.isThere(space.upper_bits[i])) continue;
    const from = Math.max(first, space.upper[i] * space.perTable), to = Math.min(first + pages, (space.upper[i] + 1) * space.perTable);
    if (from < to) add(from, 'huge', to - from);
  }
  return counts.map((map) => [...map.entries()]);
}
