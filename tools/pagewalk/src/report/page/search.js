// The search: an address, a symbol, a process, a frame, a cache, an area.

function search(text) {
  const found = [], machine = current(), words = text.trim(), lower = words.toLowerCase();
  if (!words) return found;
  const add = (label, note, target) => { if (found.length < 40) found.push({ label, note, target }); };
  const asPid = /^pid\s*(\d+)$/.exec(lower), asFrame = /^(?:frame|pfn)\s*(0x[0-9a-f]+|\d+)$/.exec(lower), number = /^(?:0x)?[0-9a-f]{1,8}$/.exec(lower);
  const process = (one) => add(`process ${one.pid} ${one.comm}`, one.args, { view: 'spaces', pid: one.pid, page: null });
  if (asPid) machine.processes.filter((one) => one.pid === Number(asPid[1])).forEach(process);
  if (asFrame) add(`frame ${hex(Number(asFrame[1]), 1)}`, machine.frames.owner.length && Number(asFrame[1]) < machine.frames.count ? machine.ownerOf(Number(asFrame[1])).name : 'no memory', { view: 'memory', frame: Number(asFrame[1]) });
  if (!asPid && !asFrame) {
    if (/^\d+$/.test(words)) machine.processes.filter((one) => String(one.pid) === words).forEach(process);
    if (number) addresses(machine, parseInt(lower.replace(/^0x/, ''), 16), add);
    machine.processes.filter((one) => one.comm.toLowerCase().includes(lower) || one.args.toLowerCase().includes(lower)).slice(0, 12).forEach(process);
    symbols(machine, lower, add);
    machine.caches.forEach((cache, n) => { if (cache.name.toLowerCase().includes(lower)) add(`slab cache ${cache.name}`, `${cache.num_slabs} slabs`, { view: 'kernel', cache: n }); });
    if (lower.length > 1) namedAreas(machine, lower, add);
  }
  return found;
}

function addresses(machine, addr, add) {
  const page = addr >>> 12;
  const words = (pid) => { const space = machine.tablesFor(pid, page), walk = space && space.walk(page); return walk && walk.frame !== undefined ? `→ physical ${hex(walk.frame * 4096 + (addr & 0xfff))}` : 'not mapped'; };
  if (addr >= machine.kernelStart && machine.kernel) add(`${hex(addr)} in the kernel`, [machine.symbolAt(addr), words(0)].filter(Boolean).join(' '), { view: 'spaces', page });
  else if (!machine.books) add(`${hex(addr)} in the tables`, words(0), { view: 'spaces', page });
  else {
    const mine = pidOf(machine), rows = machine.processes.filter((one) => one.space !== null).sort((a, b) => (b.pid === mine) - (a.pid === mine));
    let shown = 0;
    for (const one of rows) {
      const area = one.areas.find(([start, end]) => start <= addr && addr < end);
      if (!area && one.pid !== mine || shown >= 12) continue;
      shown++;
      add(`${hex(addr)} in ${one.pid} ${one.comm}`, `${area ? (area[4] >= 0 ? machine.names[area[4]].name : 'anonymous') : 'in no area'} ${words(one.pid)}`, { view: 'spaces', pid: one.pid, page, area: null });
    }
  }
  if (page < machine.frames.count && machine.frames.owner.length) add(`physical ${hex(addr)}: frame ${hex(page, 1)}`, machine.ownerOf(page).name, { view: 'memory', frame: page });
  if (addr < machine.frames.count && addr > 0 && machine.frames.owner.length) add(`frame ${hex(addr, 1)}`, machine.ownerOf(addr).name, { view: 'memory', frame: addr });
}

function symbols(machine, lower, add) {
  const rows = [];
  for (const table of machine.symbols) for (let i = 0; i < table.names.length && rows.length < 400; i++) {
    const name = table.names[i].toLowerCase();
    if (name.includes(lower)) rows.push([name === lower || name.endsWith('::' + lower) ? 0 : name.length, table, i]);
  }
  for (const [, table, i] of rows.sort((a, b) => a[0] - b[0]).slice(0, 12)) {
    const addr = table.addr[i];
    const owner = machine.processes.find((one) => one.areas.some(([start, end, , , name]) => name >= 0 && machine.names[name].name === table.owner && start <= addr && addr < end));
    add(table.names[i], `${hex(addr)} ${table.owner}`, { view: 'spaces', page: addr >>> 12, pid: owner ? owner.pid : addr >= machine.kernelStart ? undefined : null });
  }
}

function namedAreas(machine, lower, add) {
  let shown = 0;
  for (const one of machine.processes) for (const area of machine.areasOf(one.pid)) {
    if (area.kind !== 'vma' || !area.name || !area.name.name.toLowerCase().includes(lower) || shown >= 12) continue;
    shown++;
    add(`${area.name.name} in ${one.pid} ${one.comm}`, `${hex(area.start)} ${perms(area.flags)}`, { view: 'spaces', pid: one.pid, area: area.number, page: null });
  }
}

function startSearch() {
  const input = document.getElementById('search'), list = document.getElementById('found');
  let results = [], at = 0;
  const show = () => {
    list.replaceChildren(...results.map((row, n) => el('li', { role: 'option', id: 'found-' + n, 'aria-selected': n === at ? 'true' : 'false', onmousedown: (event) => { event.preventDefault(); take(n); } }, row.label, el('small', {}, row.note || ''))));
    if (!results.length && input.value.trim()) list.replaceChildren(el('li', {}, 'nothing found'));
    list.hidden = !input.value.trim();
    input.setAttribute('aria-expanded', String(!list.hidden));
    input.setAttribute('aria-activedescendant', results.length ? 'found-' + at : '');
  };
  const close = () => { list.hidden = true; input.setAttribute('aria-expanded', 'false'); };
  const take = (n) => { if (!results[n]) return; close(); input.blur(); go(results[n].target); };
  input.addEventListener('input', () => { results = search(input.value); at = 0; show(); });
  input.addEventListener('focus', () => { if (input.value.trim()) show(); });
  input.addEventListener('blur', close);
  input.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') { event.preventDefault(); at = Math.max(0, Math.min(results.length - 1, at + (event.key === 'ArrowDown' ? 1 : -1))); show(); }
    else if (event.key === 'Enter') take(at);
    else if (event.key === 'Escape') { input.value = ''; close(); input.blur(); }
  });
}
