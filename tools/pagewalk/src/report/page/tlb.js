// What the CPUs hold in their TLBs, against what the tables say now.

function tlbView(machine) {
  const body = [heading(machine, 'TLBs against the tables', 'A line leads from a linear page to the frame that a CPU holds for it. Where the tables say otherwise by now the entry is stale: its line is dashed, and a thin line leads to where the tables point.')];
  const cpu = machine.cpus[Math.min(chosen.cpu ?? busiest(machine), machine.cpus.length - 1)];
  if (!cpu) return [...body, empty('There is no CPU.')];
  body.push(el('div', { class: 'chips', role: 'group', 'aria-label': 'CPUs' }, machine.cpus.map((one) => {
    const stale = machine.tlbs[one.number].filter((row) => row.stale).length;
    return el('a', { href: address({ view: 'tlb', m: machine.number, cpu: one.number }), 'aria-current': one === cpu ? 'true' : null }, `CPU ${one.number}: ${machine.tlbs[one.number].length} entries${stale ? `, ${stale} stale` : ''}`);
  })));
  const rows = machine.tlbs[cpu.number], [fills, evictions, flushes, invlpgs, faults] = cpu.counts;
  body.push(el('p', {}, `CPU ${cpu.number} runs ${runs(machine, cpu)}, with CR3 ${hex(cpu.registers.cr3 ?? 0)}. So far: ${count(fills)} misses filled, ${count(evictions)} evicted, ${count(flushes)} flushes, ${count(invlpgs)} INVLPG, ${count(faults)} page faults.`));
  if (!rows.length) return [...body, empty('It holds nothing.')];
  body.push(tlbPicture(machine, cpu, rows), tlbTable(machine, cpu, rows));
  return body;
}
function busiest(machine) { let best = 0; machine.tlbs.forEach((rows, n) => { const score = (rows) => rows.filter((row) => row.stale).length * 1e6 + Math.min(rows.length, 200); if (score(rows) > score(machine.tlbs[best])) best = n; }); return best; }

/** At the left the pages that are held, in order; at the right physical memory to scale. */
function tlbPicture(machine, cpu, rows) {
  const groups = heldTogether(rows), shown = groups.slice(0, 300), step = 13, tall = Math.max(300, shown.length * step), top = 26, left = 240, right = 680;
  const frames = Math.max(machine.frames.count, 1), y = (n) => top + (n + 0.5) * tall / shown.length, yFrame = (pfn) => top + Math.min(pfn, frames) / frames * tall;
  const picture = sv('svg', { viewBox: `0 0 860 ${tall + 44}`, width: 860, role: 'img', 'aria-label': `What the TLB of CPU ${cpu.number} holds` });
  picture.append(sv('text', { x: left - 8, y: 14, 'text-anchor': 'end', class: 'faint' }, 'linear page'), sv('text', { x: right, y: 14, class: 'faint' }, 'physical memory to scale'));
  const colours = ownerColours(machine);
  picture.append(sv('rect', { x: right, y: top, width: 22, height: tall, fill: 'var(--panel)', stroke: 'var(--line)' }));
  let below = 0;
  for (const zone of machine.zones) {
    below = Math.max(yFrame(zone.start) + 12, below + 14);
    picture.append(sv('line', { x1: right, x2: right + 30, y1: yFrame(zone.start), y2: yFrame(zone.start), class: 'grid' }), sv('text', { x: right + 34, y: below, class: 'faint' }, zone.name));
  }
  let group = null;
  shown.forEach((row, n) => {
    const pid = cpu.pid ?? 0, color = row.stale ? 'var(--stale)' : row.pages > 1 ? 'var(--page-huge)' : row.frame < machine.frames.count && machine.frames.owner.length ? css(colours[machine.frames.owner[row.frame]]) : 'var(--faint)';
    const line = (pfn, attributes) => sv('path', { d: `M${left},${y(n)} C${left + 150},${y(n)} ${right - 150},${yFrame(pfn)} ${right},${yFrame(pfn)}`, fill: 'none', ...attributes });
    const words = `${hex(row.page * 4096)} → ${hex(row.frame * 4096)} ${rightsWords(row.rights)}${row.stale ? '\nSTALE: ' + row.stale : ''}`;
    if (row.stale && row.now) picture.append(line(row.now - 1, { stroke: 'var(--faint)', 'stroke-width': 1 }));
    picture.append(sv('a', { href: address({ view: 'spaces', m: machine.number, pid: pid || null, page: row.page }) }, line(row.frame, { stroke: color, 'stroke-width': row.stale ? 2.5 : row.together > 1 ? 3 : 1.4, 'stroke-dasharray': row.stale ? '6 4' : null }), sv('title', {}, words)));
    const spans = row.pages * row.together;
    if (spans > 1) picture.append(sv('rect', { x: right + 2, y: yFrame(row.frame), width: 18, height: Math.max(1, yFrame(row.frame + spans) - yFrame(row.frame)), fill: color, opacity: 0.7 }));
    if (row.stale) picture.append(sv('text', { x: left - 4, y: y(n) + 4, 'text-anchor': 'end', style: 'fill:var(--stale);font-weight:700' }, '✕'));
    const part = row.page * 4096 >= machine.kernelStart ? 'kernel' : 'user';
    picture.append(sv('text', { x: left - 20, y: y(n) + 4, 'text-anchor': 'end', class: 'mono' }, hex(row.page * 4096) + (row.together > 1 ? ` … ${row.together} pages` : '')));
    if (part !== group) { group = part; picture.append(sv('text', { x: 4, y: y(n) + 4 }, machine.books ? part : 'held')); }
  });
  if (groups.length > shown.length) picture.append(sv('text', { x: left, y: tall + 40, class: 'faint' }, `the first ${shown.length} of ${groups.length} lines; the table below has all entries`));
  return picture;
}

/** Neighbours that lead to neighbours by the same rights are one line. */
function heldTogether(rows) {
  const groups = [];
  for (const row of rows) {
    const last = groups[groups.length - 1];
    const follows = last && !row.stale && !last.stale && row.pages === last.pages && row.rights === last.rights && row.page === last.page + last.together * last.pages && row.frame === last.frame + last.together * last.pages;
    if (follows) last.together++; else groups.push({ ...row, together: 1 });
  }
  return groups;
}
function runs(machine, cpu) {
  if (cpu.pid === null || cpu.pid === 0) return cpu.pid === null ? machine.title : 'its idle task';
  return processWords(machine, cpu.pid) + (cpu.thread !== cpu.pid ? `, thread ${cpu.thread}` : '');
}

function rightsWords(rights) { return (rights & 1 ? 'u' : 's') + 'r' + (rights & 2 ? 'w' : '-') + (rights & 4 ? 'x' : '-') + (rights & 8 ? 'D' : '-') + (rights & 16 ? 'G' : '-'); }

/** Every entry, stale ones first; and what the other CPUs hold for the same page. */
function tlbTable(machine, cpu, rows) {
  const others = machine.cpus.filter((one) => one !== cpu);
  const sorted = [...rows].sort((a, b) => (b.stale !== null) - (a.stale !== null) || a.page - b.page).slice(0, 1500);
  const byPage = others.map((one) => new Map(machine.tlbs[one.number].map((row) => [row.page, row])));
  const isSameSpace = (one, row) => row.page * 4096 >= machine.kernelStart || one.registers.cr3 === cpu.registers.cr3;
  return [el('h3', {}, `All ${rows.length} entries`), table(['linear', 'holds', 'the tables', 'size', 'rights', 'filled by', '#at', ...others.map((one) => `CPU ${one.number}`)], sorted.map((row) => ({
    attributes: row.stale ? { class: 'stale' } : {},
    cells: [pageLink(machine, cpu.pid ?? undefined, row.page, hex(row.page * 4096)), frameLink(machine, row.frame, hex(row.frame * 4096)),
      row.stale ? [el('b', {}, '✕ stale: '), row.stale, row.now ? [' (', frameLink(machine, row.now - 1, hex((row.now - 1) * 4096)), ')'] : ''] : 'the same',
      row.pages === 1 ? '4K' : row.pages === 512 ? '2M' : '4M', rightsWords(row.rights), symbolWords(machine.symbolAt(row.by, cpu.pid) || hex(row.by)), count(row.at),
      ...others.map((one, n) => { const other = isSameSpace(one, row) ? byPage[n].get(row.page) : null; return other ? (other.stale ? '✕ stale' : '■') : '·'; })],
  })), { class: 'data long' }), el('p', { class: 'on-paper' }, `On paper: the first ${Math.min(60, sorted.length)} of ${rows.length}, stale ones first.`)];
}
