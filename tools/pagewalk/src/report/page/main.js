// The page: its pictures, their tabs, and the keys.

const machines = JSON.parse(document.getElementById('machines').textContent).map(({ label, picture }, number, all) => new Machine(picture, number, all.length > 1 ? `${'AB'[number]}: ${label}` : label));

const VIEWS = [['overview', 'Overview', overview], ['spaces', 'Address space', spacesView], ['memory', 'Physical memory', memoryView], ['tables', 'Page tables', tablesView], ['tlb', 'TLBs', tlbView], ['shootdowns', 'Shootdowns', shootdownsView], ['counters', 'Counters', countersView], ['kernel', 'Kernel', kernelView]];
if (machines.length > 1) VIEWS.splice(1, 0, ['changes', 'Changes', null]);

function heading(machine, title, lead) {
  return [el('h2', {}, machines.length > 1 ? el('span', { class: 'which' }, 'AB'[machine.number] + ': ') : null, title), lead ? el('p', { class: 'lead' }, lead) : null];
}

function overview(machine) {
  const frames = machine.frames, kinds = {};
  frames.owners.forEach((owner, n) => { kinds[owner.kind] = (kinds[owner.kind] || 0) + frames.counts[n]; });
  const rows = Object.keys(KIND_WORDS).filter((kind) => kinds[kind]), total = Math.max(1, frames.count);
  const colours = ownerColours(machine), base = (kind) => css(colours[frames.owners.reduce((best, owner, n) => owner.kind === kind && (best < 0 || frames.counts[n] > frames.counts[best]) ? n : best, -1)]);
  let x = 0;
  const bar = sv('svg', { viewBox: '0 0 1000 46', width: 1000, role: 'img', 'aria-label': 'Physical memory by owner' });
  for (const kind of rows) { const wide = kinds[kind] / total * 1000; bar.append(sv('a', { href: address({ view: 'memory', m: machine.number }) }, sv('rect', { x, y: 4, width: Math.max(0.5, wide), height: 38, fill: base(kind) }, sv('title', {}, `${KIND_WORDS[kind]}: ${size(kinds[kind] * 4096)}`)))); x += wide; }
  const cpu = (one) => [link({ view: 'tlb', m: machine.number, cpu: one.number }, `CPU ${one.number}`), one.registers.mode + ', ring ' + one.registers.cpl, one.registers.activity, one.pid && machine.byPid.has(one.pid) ? link({ view: 'spaces', m: machine.number, pid: one.pid }, runs(machine, one)) : runs(machine, one), [el('code', {}, hex(one.registers.eip ?? 0)), ' ', symbolWords(one.registers.symbol || '')], el('code', {}, hex(one.registers.cr3 ?? 0)), count(machine.tlbs[one.number].length), count(machine.tlbs[one.number].filter((row) => row.stale).length), count(one.registers.retired ?? 0)];
  return [heading(machine, machines.length > 1 ? machine.label.slice(3) : 'The machine'), el('h3', {}, `Physical memory: ${size(frames.count * 4096)}`), bar, el('div', { class: 'legend' }, rows.map((kind) => el('span', {}, swatch(base(kind)), `${KIND_WORDS[kind]} ${size(kinds[kind] * 4096)}`))),
    el('h3', {}, 'CPUs'), table(['', 'mode', 'is', 'runs', 'at', 'CR3', '#TLB', '#stale', '#retired'], machine.cpus.map(cpu)), el('h3', {}, machine.books ? `Processes: ${machine.processes.length}` : 'Address spaces'), machine.books ? processTable(machine) : spaceTable(machine)];
}

function processTable(machine) {
  const rows = machine.processes.map((one) => [one.space === null ? String(one.pid) : link({ view: 'spaces', m: machine.number, pid: one.pid }, String(one.pid)), el('b', {}, one.comm), one.args.slice(0, 60), String(one.ppid), one.state, String(one.threads), ...(one.space === null ? ['—', '—', '—', '—'] : [count(one.areas.length), count(one.resident[0]), count(one.resident[1] + one.resident[2]), count(one.resident[3])]), `${count(one.faults[0])} / ${count(one.faults[1])}`]);
  return table(['#pid', 'name', 'command', '#parent', 'state', '#threads', '#areas', '#anonymous', '#file, shared', '#swap', '#faults minor / major'], rows, { id: 'processes' });
}
function spaceTable(machine) { return machine.spaces.length ? table(['CR3', '#directory entries', '#pages'], machine.spaces.map((space) => [link({ view: 'spaces', m: machine.number }, hex(space.cr3)), count(space.upper.length), count(space.page.length)])) : empty('Paging is off.'); }

function kernelView(machine) {
  const body = [heading(machine, 'Kernel memory', 'Slab caches with their objects; areas of vmalloc; modules; swap.')];
  if (!machine.books) return [...body, empty('This kernel keeps no books that we can read: ', machine.notes[0] || '')];
  const most = Math.max(1, ...machine.caches.map((cache) => cache.num_slabs * cache.pagesperslab));
  const bar = (cache) => { const wide = cache.num_slabs * cache.pagesperslab / most * 220, used = cache.num_objs ? cache.active_objs / cache.num_objs : 0; return sv('svg', { width: 230, height: 14, viewBox: '0 0 230 14', role: 'img', 'aria-label': `${Math.round(used * 100)} % in use` }, sv('rect', { x: 0, y: 2, width: Math.max(1, wide), height: 10, fill: 'var(--free-10)', stroke: 'var(--line)' }), sv('rect', { x: 0, y: 2, width: wide * used, height: 10, fill: 'var(--slab)' })); };
  const order = machine.caches.map((cache, n) => [cache, n]).sort((a, b) => b[0].num_slabs * b[0].pagesperslab - a[0].num_slabs * a[0].pagesperslab);
  body.push(el('h3', {}, 'Slab caches'), table(['cache', 'memory, and how much of it is in use', '#pages', '#in use', '#objects', '#bytes each', '#slabs'], order.map(([cache, n]) => [link({ view: 'kernel', m: machine.number, cache: n }, cache.name), bar(cache), count(cache.num_slabs * cache.pagesperslab), count(cache.active_objs), count(cache.num_objs), count(cache.objsize), count(cache.num_slabs)])));
  const vmalloc = Array.isArray(machine.packed.vmalloc) ? machine.packed.vmalloc : [], modules = Array.isArray(machine.packed.modules) ? machine.packed.modules : [], swaps = Array.isArray(machine.packed.swaps) ? machine.packed.swaps : [];
  if (vmalloc.length) body.push(el('h3', {}, 'vmalloc'), table(['from', '#size', 'kind', 'asked for by'], vmalloc.slice(0, 300).map((area) => [pageLink(machine, undefined, area.start >>> 12, hex(area.start)), size(area.size), area.kind || '', String(area.caller ?? '')])));
  if (modules.length) body.push(el('h3', {}, 'Modules'), table(['module', '#size', 'at', 'used by', 'state'], modules.map((one) => [one.name, size(one.size), pageLink(machine, undefined, one.base >>> 12, hex(one.base)), (one.used_by || []).join(', '), one.state])));
  if (swaps.length) body.push(el('h3', {}, 'Swap'), table(['area', 'kind', '#kB', '#used', '#priority'], swaps.map((one) => [one.filename, one.type, count(one.size_kb), count(one.used_kb), String(one.priority)])));
  return body;
}

/** Draws a picture into its place: for each machine, side by side. */
function draw(name) {
  const section = document.getElementById('view-' + name), [, title, picture] = VIEWS.find((view) => view[0] === name);
  section.replaceChildren();
  if (name === 'changes') return put(section, [changesView()]);
  const column = (machine) => { try { return el('div', { class: 'machine' }, picture(machine)); } catch (why) { return el('div', { class: 'machine' }, el('h2', {}, title), empty('This picture cannot be drawn: ', String(why))); } };
  put(section, [machines.length > 1 ? [name === 'memory' ? el('label', {}, el('input', { type: 'checkbox', checked: onlyChanges || null, onchange: (event) => { onlyChanges = event.target.checked; render(); } }), ' only what has changed in full colour') : null, el('div', { class: 'pair' }, machines.map(column))] : column(machines[0])]);
}

/** `#find=WORDS` chooses what the search finds first; with `view=` in that picture, with `theme=dark` or `light` so. */
function followFind() {
  const words = new URLSearchParams(location.hash.slice(1)), found = words.has('find') ? search(words.get('find'))[0] : null;
  if (['light', 'dark'].includes(words.get('theme'))) showTheme(ownTheme = words.get('theme'));
  if (!words.has('find')) return;
  readHash();
  const view = words.get('view');
  history.replaceState(null, '', address({ ...(found ? found.target : {}), ...(view ? { view } : {}) }));
}

function render() {
  followFind();
  readHash();
  if (!VIEWS.some(([name]) => name === chosen.view)) chosen.view = 'overview';
  if (chosen.owner !== undefined && chosen.view === 'memory') lit = [current(), [chosen.owner]];
  for (const [name] of VIEWS) document.getElementById('view-' + name).classList.toggle('shown', name === chosen.view);
  for (const tab of document.querySelectorAll('#views a')) { if (tab.dataset.view === chosen.view) tab.setAttribute('aria-current', 'page'); else tab.removeAttribute('aria-current'); tab.href = '#' + new URLSearchParams({ view: tab.dataset.view, m: chosen.m, ...(chosen.pid !== undefined ? { pid: chosen.pid } : {}) }); }
  draw(chosen.view);
  try { detail(); } catch (why) { document.getElementById('detail').replaceChildren(empty(String(why))); }
  hideTip();
  for (const chip of document.querySelectorAll('section.shown .chips [aria-current=true]')) chip.parentElement.scrollTop = chip.offsetTop - chip.parentElement.offsetTop - chip.offsetHeight;
  const mine = document.querySelector('section.shown .area.chosen');
  if (mine && mine.getBoundingClientRect().bottom > innerHeight) mine.scrollIntoView({ block: 'center' });
}

// Light or dark: as the system has it, until the user chooses; on paper light.

const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
let ownTheme = null;
function showTheme(theme) { document.documentElement.dataset.theme = theme; }
function theme() { return ownTheme || (systemIsDark.matches ? 'dark' : 'light'); }
function otherTheme() { ownTheme = theme() === 'dark' ? 'light' : 'dark'; showTheme(ownTheme); render(); }

function nextProcess(step) {
  const machine = current(), all = machine.processes.filter((one) => one.space !== null).map((one) => one.pid), at = all.indexOf(pidOf(machine));
  if (all.length) go({ view: ['spaces', 'tables'].includes(chosen.view) ? chosen.view : 'spaces', pid: all[(at + step + all.length) % all.length] });
}

function keys(event) {
  if (event.target.matches('input, dialog *') || event.ctrlKey || event.metaKey || event.altKey) return;
  const nth = Number(event.key);
  if (nth >= 1 && nth <= VIEWS.length) go({ view: VIEWS[nth - 1][0] });
  else if (event.key === '/') { event.preventDefault(); document.getElementById('search').focus(); document.getElementById('search').select(); }
  else if (event.key === 't') otherTheme();
  else if (event.key === '?') document.getElementById('keys').showModal();
  else if (event.key === '[') nextProcess(-1);
  else if (event.key === ']') nextProcess(1);
  else if (event.key === '+' || event.key === '=') document.querySelector('section.shown .tools button[title^=Larger]')?.click();
  else if (event.key === '-') document.querySelector('section.shown .tools button[title^=Smaller]')?.click();
  else if (event.key === 'Backspace') history.back();
  else if (event.key === 'Enter' && event.target.matches('canvas, svg')) document.querySelector('#to-frame, .mapper')?.click();
}

function start() {
  const pictures = document.getElementById('pictures'), nav = document.getElementById('views');
  pictures.replaceChildren();
  VIEWS.forEach(([name, title], n) => { pictures.append(el('section', { class: 'view', id: 'view-' + name, 'aria-label': title })); nav.append(el('a', { href: '#view=' + name, 'data-view': name, title: `key ${n + 1}` }, title)); });
  const notes = machines.flatMap((machine) => machine.notes.map((note) => (machines.length > 1 ? 'AB'[machine.number] + ': ' : '') + note));
  if (notes.length) { const box = document.getElementById('notes'); box.hidden = false; put(box, [notes.length === 1 ? [el('b', {}, 'To know: '), notes[0]] : el('details', {}, el('summary', {}, el('b', {}, `To know of ${machines.length > 1 ? 'these machines' : 'this machine'}: ${notes.length} things. `), notes[0], ' …'), el('ul', {}, notes.slice(0, 200).map((note) => el('li', {}, note))))]); }
  if (machines.length > 1) machines.moves = compareFrames(machines);
  startSearch();
  document.getElementById('theme').addEventListener('click', otherTheme);
  document.getElementById('help').addEventListener('click', () => document.getElementById('keys').showModal());
  addEventListener('hashchange', render);
  addEventListener('keydown', keys);
  systemIsDark.addEventListener('change', () => { showTheme(theme()); render(); });
  addEventListener('beforeprint', () => { showTheme('light'); VIEWS.forEach(([name]) => draw(name)); });
  addEventListener('afterprint', () => { showTheme(theme()); render(); });
  showTheme(theme());
  render();
  document.documentElement.dataset.ready = 'yes';
}
start();
