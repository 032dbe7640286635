// Small helpers that draw, and the one place where what is chosen is kept: the address of the page.

const SVG = 'http://www.w3.org/2000/svg';
function put(parent, children) {
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) parent.append(child);
  return parent;
}
function make(namespace, tag, attributes, children) {
  const node = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value); else node.setAttribute(name, value === true ? '' : value);
  }
  return put(node, children);
}
/** An element of HTML: `el('p', {class: 'x'}, 'text', child …)`. */
function el(tag, attributes, ...children) { return make(null, tag, attributes, children); }
/** An element of SVG. */
function sv(tag, attributes, ...children) { return make(SVG, tag, attributes, children); }

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim() || '#888'; }
function rgb(name) {
  const text = name.startsWith('#') ? name : colour(name);
  const value = parseInt(text.slice(1), 16);
  return [value >> 16 & 255, value >> 8 & 255, value & 255];
}
function mix(a, b, part) { return a.map((value, i) => Math.round(value + (b[i] - value) * part)); }
function css([r, g, b]) { return `rgb(${r},${g},${b})`; }
function swatch(color) { return el('span', { class: 'swatch', style: 'background:' + color, 'aria-hidden': 'true' }); }

/** The colour of a class of frames: its kind gives the hue; among many of a kind neighbours differ in lightness. */
function ownerColour(owner, nth) {
  if (owner.kind === 'free') return mix(rgb('free-0'), rgb('free-10'), (owner.order || 0) / 10);
  const base = rgb(owner.kind);
  if (!['slab', 'cache', 'anon', 'vmalloc', 'module'].includes(owner.kind)) return base;
  const step = [0, 0.28, -0.22, 0.45, -0.1][nth % 5];
  return step >= 0 ? mix(base, [255, 255, 255], step) : mix(base, [0, 0, 0], -step);
}
function ownerColours(machine) {
  const nth = {};
  return machine.frames.owners.map((owner) => { nth[owner.kind] = (nth[owner.kind] ?? -1) + 1; return ownerColour(owner, nth[owner.kind]); });
}

const STATES = [
  ['absent', 'absent', 'page-absent'], ['private', 'present', 'page-private'], ['private-dirty', 'present, dirty', 'page-private-dirty'],
  ['shared', 'shared', 'page-shared'], ['shared-dirty', 'shared, dirty', 'page-shared-dirty'], ['swap', 'swapped out', 'page-swap'],
  ['huge', 'in a large page', 'page-huge'], ['zero', 'reserved frame: zero page, device', 'page-zero'], ['none', 'there, nobody may touch it', 'page-none'],
];
function stateWords(state) { return (STATES.find(([name]) => name === state) || ['', state])[1]; }

// What is chosen.

const chosen = { view: 'overview', m: 0 };
const NUMBERS = ['m', 'pid', 'page', 'frame', 'cpu', 'shoot', 'owner', 'pde', 'area', 'cache', 'region'];
function readHash() {
  const words = new URLSearchParams(location.hash.slice(1));
  const next = { view: words.get('view') || 'overview', m: 0 };
  for (const name of NUMBERS) if (words.has(name)) next[name] = Number(words.get(name));
  for (const name of Object.keys(chosen)) delete chosen[name];
  Object.assign(chosen, next);
  if (!(chosen.m >= 0 && chosen.m < machines.length)) chosen.m = 0;
}
/** The address of what `what` names; machine and process stay as they are unless it says otherwise. */
function address(what) {
  const kept = { view: chosen.view, m: chosen.m };
  if (chosen.pid !== undefined) kept.pid = chosen.pid;
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...kept, ...what })) {
    if (value === null || value === undefined) continue;
    words.set(name, NUMBERS.slice(2).includes(name) && name !== 'pid' && value > 9 ? hex(value, 1) : value);
  }
  return '#' + words;
}
function go(what) { location.hash = address(what); }
function replace(what) { history.replaceState(null, '', address(what)); render(); }
/** A link to what `what` names. */
function link(what, ...text) { return el('a', { href: address(what) }, ...text); }
function current() { return machines[chosen.m]; }

/** A link to a frame, with who owns it. */
function frameLink(machine, pfn, text) {
  if (pfn >= machine.frames.count) return el('span', {}, text || hex(pfn, 5), ' (no memory)');
  return link({ view: 'memory', m: machine.number, frame: pfn, page: null }, text || hex(pfn, 5));
}
/** A link to a page of a process. */
function pageLink(machine, pid, page, text) { return link({ view: 'spaces', m: machine.number, pid, page }, text || hex(page * 4096)); }
function processWords(machine, pid) { const process = machine.byPid.get(pid); return process ? `${pid} (${process.comm})` : pid ? String(pid) : machine.title; }

const tip = document.getElementById('tip');
function showTip(event, text) {
  if (!text) { tip.hidden = true; return; }
  tip.textContent = text;
  tip.hidden = false;
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + 'px';
  tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + 'px';
}
function hideTip() { tip.hidden = true; }

/** Points from left to right that a picture has. */
function roomFor() { const wide = (document.getElementById('pictures').clientWidth || 1100) - 40; return machines.length > 1 ? (wide - 24) / 2 : wide; }

function table(heads, rows, attributes = {}) {
  const numeric = heads.map((head) => head.startsWith('#'));
  const cell = (tag, value, i, scope) => el(tag, { class: numeric[i] ? 'n' : null, scope }, value);
  return el('table', { class: 'data', ...attributes }, el('thead', {}, el('tr', {}, heads.map((head, i) => cell('th', head.replace('#', ''), i, 'col')))),
    el('tbody', {}, rows.map((row) => el('tr', row.attributes || {}, (row.cells || row).map((value, i) => cell('td', value, i))))));
}
function pairs(rows) { return el('dl', {}, rows.filter(Boolean).map(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])); }
function empty(...text) { return el('p', { class: 'empty' }, ...text); }

/** A symbol that may be broken into lines between its parts. */
function symbolWords(name) { return name.split('::').flatMap((part, n) => n ? [el('wbr'), '::' + part] : [part]); }
function pagesWords(pages) { return pages === 1 ? '1 page' : count(pages) + ' pages'; }

/** Buttons to choose a process by. */
function processChips(machine, view) {
  const rows = machine.books ? machine.processes.filter((process) => process.space !== null) : machine.spaces.map((space, n) => ({ pid: -n, comm: hex(space.cr3) }));
  if (!machine.books) return null;
  return el('div', { class: 'chips', role: 'group', 'aria-label': 'Processes' },
    rows.map((process) => el('a', { href: address({ view, m: machine.number, pid: process.pid, page: null, pde: null }), 'aria-current': process.pid === pidOf(machine) ? 'true' : null, title: process.args || null }, `${process.pid} ${process.comm}`)));
}
/** The process to show: the one that is chosen, else the last one that has an address space. */
function pidOf(machine) {
  if (!machine.books) return 0;
  const has = (pid) => machine.byPid.has(pid) && machine.byPid.get(pid).space !== null;
  if (has(chosen.pid)) return chosen.pid;
  const running = machine.cpus.map((cpu) => cpu.pid).find(has);
  if (running !== undefined && running !== 1) return running;
  const all = machine.processes.filter((process) => process.space !== null);
  return all.length ? all[all.length - 1].pid : 0;
}
