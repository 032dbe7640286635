// What the run recorded over time: counters by --sample, and the shootdowns.

/** The samples as differences between neighbours, with the middle of each step. */
function steps(machine, key) {
  return machine.samples.slice(1).map((sample, n) => ({ at: sample.retired, value: Math.max(0, sample[key] - machine.samples[n][key]) }));
}
function levels(machine, key) { return machine.samples.map((sample) => ({ at: sample.retired, value: sample[key] })); }

function countersView(machine) {
  const body = [heading(machine, 'Counters over time', 'What the run recorded; the axis is instructions retired by all CPUs.')];
  if (machine.samples.length < 2) {
    body.push(empty('This run recorded nothing. ', el('code', {}, 'pagewalk run --sample 1000000 …'), ' records the counters every million instructions.'));
  } else {
    body.push(chart('Page faults in each step', [['minor', 'cache', steps(machine, 'minor_faults')], ['major', 'table', steps(machine, 'major_faults')]]));
    body.push(chart('TLB misses in each step', [['misses', 'anon', steps(machine, 'tlb_misses')]]));
    body.push(chart('TLB flushes, INVLPG and shootdowns in each step', [['flushes', 'slab', steps(machine, 'tlb_flushes')], ['INVLPG', 'module', steps(machine, 'invlpg')], ['shootdowns', 'table', steps(machine, 'shootdowns')]]));
    body.push(freeByOrder(machine));
    body.push(chart('Memory in pages', [['anonymous', 'anon', levels(machine, 'anonymous')], ['page cache', 'cache', levels(machine, 'page_cache')], ['swap in use', 'slab', levels(machine, 'swap_used')], ['free', 'free-0', levels(machine, 'free_pages')]]));
  }
  body.push(el('h3', {}, 'Now'), statsTables(machine));
  return body;
}

function statsTables(machine) {
  const rows = (object) => Object.entries(object || {}).map(([name, value]) => [name, typeof value === 'number' ? count(value) : String(value)]);
  return el('div', { class: 'cards' }, el('div', { class: 'card' }, el('h3', {}, 'The run'), table(['counter', '#value'], rows(machine.stats))),
    machine.packed.meminfo ? el('div', { class: 'card' }, el('h3', {}, 'Memory, kB'), table(['meminfo', '#kB'], rows(machine.packed.meminfo))) : null,
    machine.packed.vmstat ? el('div', { class: 'card' }, el('h3', {}, 'vmstat'), el('details', {}, el('summary', {}, 'all counters'), table(['counter', '#value'], rows(machine.packed.vmstat)))) : null);
}

function chart(title, lines) {
  const wide = 900, tall = 150, left = 64, top = 24;
  const all = lines.flatMap(([, , points]) => points), first = Math.min(...all.map((p) => p.at)), last = Math.max(...all.map((p) => p.at)), most = Math.max(1, ...all.map((p) => p.value));
  const x = (at) => left + (at - first) / Math.max(1, last - first) * wide, y = (value) => top + tall - value / most * tall;
  const picture = sv('svg', { viewBox: `0 0 ${left + wide + 10} ${top + tall + 26}`, width: left + wide + 10, role: 'img', 'aria-label': title });
  axes(picture, left, top, wide, tall, most, first, last);
  const dashes = [null, '7 3', '2 3', '9 3 2 3'];
  lines.forEach(([name, color, points], n) => {
    picture.append(sv('path', { d: points.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)},${y(p.value).toFixed(1)}`).join(''), fill: 'none', stroke: `var(--${color})`, 'stroke-width': 1.8, 'stroke-dasharray': dashes[n] }, sv('title', {}, name)));
    picture.append(sv('line', { x1: left + n * 150, x2: left + 26 + n * 150, y1: 10, y2: 10, stroke: `var(--${color})`, 'stroke-width': 2.5, 'stroke-dasharray': dashes[n] }), sv('text', { x: left + 32 + n * 150, y: 14 }, name));
  });
  return [el('h3', {}, title), picture];
}

function axes(picture, left, top, wide, tall, most, first, last) {
  for (const part of [0, 0.5, 1]) picture.append(sv('line', { x1: left, x2: left + wide, y1: top + tall * (1 - part), y2: top + tall * (1 - part), class: 'grid' }), sv('text', { x: left - 6, y: top + tall * (1 - part) + 4, 'text-anchor': 'end', class: 'faint' }, count(most * part)));
  for (const part of [0, 0.25, 0.5, 0.75, 1]) picture.append(sv('text', { x: left + wide * part, y: top + tall + 16, 'text-anchor': part === 1 ? 'end' : part ? 'middle' : 'start', class: 'faint' }, count(first + (last - first) * part)));
}

/** Free memory by order, one on top of the other. */
function freeByOrder(machine) {
  const wide = 900, tall = 170, left = 64, top = 24, samples = machine.samples.filter((sample) => (sample.free || []).length);
  if (samples.length < 2) return null;
  const rows = samples.map((sample) => ({ at: sample.retired, orders: [...Array(11).keys()].map((order) => sample.free.reduce((sum, zone) => sum + zone[order] * 2 ** order, 0)) }));
  const most = Math.max(1, ...rows.map((row) => row.orders.reduce((sum, pages) => sum + pages, 0))), first = rows[0].at, last = rows[rows.length - 1].at;
  const x = (at) => left + (at - first) / Math.max(1, last - first) * wide, y = (value) => top + tall - value / most * tall;
  const picture = sv('svg', { viewBox: `0 0 ${left + wide + 10} ${top + tall + 26}`, width: left + wide + 10, role: 'img', 'aria-label': 'Free memory by order' });
  const below = rows.map(() => 0);
  for (let order = 10; order >= 0; order--) {
    const lower = rows.map((row, i) => `${x(row.at).toFixed(1)},${y(below[i]).toFixed(1)}`);
    rows.forEach((row, i) => { below[i] += row.orders[order]; });
    const upper = rows.map((row, i) => `${x(row.at).toFixed(1)},${y(below[i]).toFixed(1)}`);
    picture.append(sv('polygon', { points: [...lower, ...upper.reverse()].join(' '), fill: css(mix(rgb('table'), rgb('cache'), order / 10)), stroke: 'var(--ground)', 'stroke-width': 0.5 }, sv('title', {}, `order ${order}: blocks of ${size(4096 * 2 ** order)}`)));
    picture.append(sv('rect', { x: left + (10 - order) * 74, y: 3, width: 11, height: 11, fill: css(mix(rgb('table'), rgb('cache'), order / 10)) }), sv('text', { x: left + 15 + (10 - order) * 74, y: 13, class: 'faint' }, `order ${order}`));
  }
  axes(picture, left, top, wide, tall, most, first, last);
  return [el('h3', {}, 'Free memory by order, in pages'), picture];
}

// Shootdowns.

function shootdownsView(machine) {
  const rows = machine.shootdowns;
  const body = [heading(machine, 'TLB shootdowns', 'A row a CPU, time in instructions: who asked, when each target took the interrupt, flushed, and said so.')];
  if (!rows.length) return [...body, empty('None is remembered: they need several CPUs, and a thread that gives memory back while others run in its address space.')];
  const nth = Math.min(Math.max(0, chosen.m === machine.number ? chosen.shoot ?? rows.length - 1 : rows.length - 1), rows.length - 1);
  const to = (n) => ({ view: 'shootdowns', m: machine.number, shoot: n });
  body.push(shootOverview(machine, rows, nth));
  body.push(el('div', { class: 'tools' }, nth > 0 ? link(to(nth - 1), '← before') : '← before', el('b', {}, `${nth + 1} of ${rows.length}`), nth + 1 < rows.length ? link(to(nth + 1), 'next →') : 'next →'));
  body.push(shootOne(machine, rows[nth]), el('pre', {}, shootWords(rows[nth])));
  return body;
}

function shootOverview(machine, rows, nth) {
  const wide = 900, left = 64, cpus = machine.cpus.length, first = rows[0].sent, last = Math.max(...rows.map((row) => row.done ?? row.sent));
  const x = (at) => left + (at - first) / Math.max(1, last - first) * wide, y = (cpu) => 14 + cpu * 16;
  const picture = sv('svg', { viewBox: `0 0 ${left + wide + 10} ${cpus * 16 + 36}`, width: left + wide + 10, role: 'img', 'aria-label': `${rows.length} shootdowns over time` });
  machine.cpus.forEach((cpu) => picture.append(sv('line', { x1: left, x2: left + wide, y1: y(cpu.number), y2: y(cpu.number), class: 'grid' }), sv('text', { x: left - 8, y: y(cpu.number) + 4, 'text-anchor': 'end' }, `CPU ${cpu.number}`)));
  rows.forEach((row, n) => {
    const group = sv('a', { href: address({ view: 'shootdowns', m: machine.number, shoot: n }) });
    const color = n === nth ? 'var(--mark)' : 'var(--table)';
    group.append(sv('circle', { cx: x(row.sent), cy: y(row.initiator), r: n === nth ? 5 : 3, fill: color }));
    for (const target of row.targets) group.append(sv('line', { x1: x(row.sent), x2: x(target.received ?? row.sent), y1: y(row.initiator), y2: y(target.cpu), stroke: color, 'stroke-width': n === nth ? 2 : 0.8, opacity: n === nth ? 1 : 0.6 }));
    group.append(sv('title', {}, `at ${count(row.sent)}: CPU ${row.initiator} asks CPU ${row.targets.map((target) => target.cpu).join(', ')}`));
    picture.append(group);
  });
  picture.append(sv('text', { x: left, y: cpus * 16 + 30, class: 'faint' }, count(first)), sv('text', { x: left + wide, y: cpus * 16 + 30, 'text-anchor': 'end', class: 'faint' }, count(last)));
  return picture;
}

function shootOne(machine, row) {
  const wide = 780, left = 84, step = 46, cpus = machine.cpus.map((cpu) => cpu.number);
  const times = [row.sent, row.asked?.began, row.done, row.own.at, ...row.targets.flatMap((target) => [target.received, target.flushed.at, target.acknowledged])].filter((at) => at !== null && at !== undefined);
  const first = Math.min(...times), last = Math.max(...times, first + 1), x = (at) => left + (at - first) / (last - first) * wide, y = (cpu) => 30 + cpus.indexOf(cpu) * step;
  const picture = sv('svg', { viewBox: `0 0 ${left + wide + 90} ${cpus.length * step + 50}`, width: left + wide + 90, role: 'img', 'aria-label': `The shootdown at ${row.sent}` });
  cpus.forEach((cpu) => picture.append(sv('line', { x1: left, x2: left + wide, y1: y(cpu), y2: y(cpu), class: 'grid' }), sv('text', { x: left - 10, y: y(cpu) + 4, 'text-anchor': 'end' }, `CPU ${cpu}`)));
  const end = row.done ?? last;
  picture.append(sv('rect', { x: x(row.sent), width: Math.max(2, x(end) - x(row.sent)), y: y(row.initiator) - 7, height: 14, fill: 'var(--slab)', opacity: 0.55 }, sv('title', {}, 'the initiator waits')));
  for (const target of row.targets) {
    const received = target.received ?? last, done = target.acknowledged ?? last;
    picture.append(sv('path', { d: `M${x(row.sent)},${y(row.initiator)} L${x(received)},${y(target.cpu)}`, stroke: 'var(--table)', 'stroke-width': 1.6, fill: 'none' }));
    picture.append(sv('rect', { x: x(received), width: Math.max(2, x(done) - x(received)), y: y(target.cpu) - 7, height: 14, fill: 'var(--cache)' }, sv('title', {}, `CPU ${target.cpu}: ${received - row.sent} to ${done - row.sent} after the sending`)));
    if (target.flushed.at !== null) picture.append(sv('rect', { x: x(target.flushed.at) - 1.5, width: 3, y: y(target.cpu) - 10, height: 20, fill: 'var(--directory)' }, sv('title', {}, `flushed +${target.flushed.at - row.sent}`)));
    if (target.received === null) picture.append(sv('text', { x: left + wide + 4, y: y(target.cpu) + 4, class: 'faint' }, 'not yet'));
  }
  if (row.own.at !== null) picture.append(sv('rect', { x: x(row.own.at) - 1.5, width: 3, y: y(row.initiator) - 10, height: 20, fill: 'var(--directory)' }, sv('title', {}, `its own +${row.own.at - row.sent}`)));
  const legend = [['var(--slab)', 'the initiator waits'], ['var(--cache)', 'from the interrupt to the acknowledgement'], ['var(--directory)', 'flush']];
  legend.forEach(([color, words], n) => picture.append(sv('rect', { x: left + [0, 170, 490][n], y: cpus.length * step + 22, width: 12, height: 12, fill: color }), sv('text', { x: left + 18 + [0, 170, 490][n], y: cpus.length * step + 33 }, words)));
  picture.append(sv('text', { x: left, y: 12, class: 'faint' }, `sent at ${count(row.sent)}`), sv('text', { x: left + wide, y: 12, 'text-anchor': 'end', class: 'faint' }, row.done === null ? 'not done yet' : `done after ${count(row.done - row.sent)} instructions`));
  return picture;
}

function shootWords(row) {
  const what = (flushed) => flushed.everything ? 'everything that is not global' : flushed.pages.length ? `${flushed.pages.length} pages from ${hex(flushed.pages[0])}` : 'nothing';
  const since = (at) => at === null ? '—' : '+' + (at - row.sent);
  const lines = [`at ${row.sent}: CPU ${row.initiator} asks CPU ${row.targets.map((target) => target.cpu).join(', ')} by vector ${hex(row.vector, 2)}`];
  if (row.asked) lines.push(`wants ${hex(row.asked.start)}-${hex(row.asked.end)} gone: ${row.asked.reason ?? '?'}`);
  if (row.own.at !== null) lines.push(`CPU ${row.initiator}  flushed its own ${since(row.own.at)}: ${what(row.own)}`);
  for (const target of row.targets) lines.push(`CPU ${target.cpu}  received ${since(target.received)}, flushed ${since(target.flushed.at)}: ${what(target.flushed)}, acknowledged ${since(target.acknowledged)}`);
  lines.push(row.done === null ? 'not done yet' : `done after ${row.done - row.sent} instructions`);
  return lines.join('\n');
}
