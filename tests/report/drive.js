// Goes through the page as a person would, and leaves what it saw in #seen.
const errors = [];
addEventListener('error', (event) => errors.push(event.message));
const wait = (ms = 60) => new Promise((done) => setTimeout(done, ms));
const find = (selector) => { const node = document.querySelector(selector); if (!node) errors.push('nothing is ' + selector); return node; };
const text = (selector) => find(selector)?.textContent;
async function click(selector) { find(selector)?.click(); await wait(); }
const report = (seen) => { document.getElementById('seen').textContent = JSON.stringify({ errors, ...seen }); };

async function look(words) {
  const input = find('#search');
  input.focus();
  input.value = words;
  input.dispatchEvent(new Event('input'));
  await wait();
  input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true }));
  await wait();
}

/** What keys alone do: a picture, two steps in it, the search, the help. */
async function keys() {
  const press = async (key, node = document.body) => { node.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })); await wait(); };
  const seen = [];
  document.activeElement.blur();
  await press('3');
  seen.push(text('#views a[aria-current=page]'));
  const canvas = find('section.shown canvas.map');
  canvas.focus();
  await press('ArrowRight', canvas);
  await press('ArrowDown', document.activeElement);
  seen.push(text('#detail h2'));
  await press('/');
  seen.push(document.activeElement.id);
  document.activeElement.blur();
  await press('?');
  seen.push(find('#keys').open ? 'help' : 'no help');
  find('#keys').close();
  return seen;
}

async function tour(pid, start) {
  const seen = { views: {} };
  for (const tab of document.querySelectorAll('#views a')) {
    tab.click();
    await wait();
    const section = document.querySelector('section.shown');
    seen.views[tab.dataset.view] = section.textContent.length + section.querySelectorAll('canvas, svg *').length;
    if (section.textContent.includes('cannot be drawn')) errors.push(tab.dataset.view + ': ' + section.textContent.slice(0, 300));
    if (tab.dataset.view === 'overview') seen.processes = section.querySelectorAll('#processes tbody tr').length;
  }
  // A process, its area, the area's first page, the page's frame, and back to the page by who maps the frame.
  await look('pid ' + pid);
  await click(`.area[data-start="${start}"] a`);
  seen.maps = text('#maps-line');
  await click('#detail table a[href*="page="]');
  seen.physical = text('#physical');
  await click('#to-frame');
  seen.frame = text('#detail h2');
  seen.users = text('#users');
  seen.entries = text('#mapcount');
  seen.mappers = document.querySelectorAll('#detail .mapper').length;
  const mine = [...document.querySelectorAll('#detail .mapper')].find((node) => new URLSearchParams(node.hash.slice(1)).get('pid') === String(pid));
  if (!mine) errors.push('the frame does not name the process');
  mine?.click();
  await wait();
  seen.back = text('#detail h2');
  history.back();
  await wait(200);
  seen.history = text('#detail h2');
  await look(start);
  seen.searched = text('#physical');
  await look('c0100000');
  seen.symbol = text('#detail h2');
  await click('#views a[data-view=memory]');
  const canvas = find('section.shown canvas.map'), box = canvas.getBoundingClientRect();
  canvas.dispatchEvent(new MouseEvent('click', { clientX: box.left + 3, clientY: box.top + 3, bubbles: true }));
  await wait();
  seen.clicked = text('#detail h2');
  go({ frame: null, owner: null });
  await wait();
  seen.keys = await keys();
  seen.themes = [];
  for (let i = 0; i < 2; i++) { await click('#theme'); seen.themes.push(getComputedStyle(document.documentElement).backgroundColor); }
  report(seen);
}

async function compare() {
  const seen = {};
  await click('#views a[data-view=changes]');
  const section = find('section.shown');
  seen.gone = section.querySelectorAll('a.gone').length;
  seen.changed = Number(/another owner: ([\d ]+)/.exec(section.textContent)?.[1].replace(/ /g, ''));
  await click('#views a[data-view=memory]');
  seen.columns = document.querySelectorAll('section.shown .pair > .machine').length;
  report(seen);
}

/** In each picture of a narrow window: what sticks out at the right. */
async function narrow(pid) {
  const seen = { width: innerWidth, out: [], views: 0 };
  for (const tab of [...document.querySelectorAll('#views a')].map((tab) => tab.dataset.view)) {
    location.hash = `view=${tab}&pid=${pid}`;
    await wait();
    seen.views++;
    const edge = find('#pictures').getBoundingClientRect().right;
    if (document.documentElement.scrollWidth > innerWidth) seen.out.push(tab + ': the page');
    for (const node of document.querySelectorAll('section.shown :is(canvas, .chips, .legend, h2, p), section.shown > * > svg')) if (node.getBoundingClientRect().right > edge + 1) seen.out.push(`${tab}: ${node.tagName} ${node.getAttribute('aria-label') || node.textContent.slice(0, 40)}`);
    const chip = document.querySelector('section.shown .chips [aria-current=true]');
    if (chip && tab === 'spaces') seen.chip = chip.getBoundingClientRect().bottom <= chip.parentElement.getBoundingClientRect().bottom + 1 ? chip.textContent : 'out of sight';
  }
  report(seen);
}

/** Of a kernel that is not ours: each picture, and what the page says that it cannot know. */
async function strange() {
  const seen = { views: {}, notes: text('#notes') };
  for (const tab of [...document.querySelectorAll('#views a')].map((tab) => tab.dataset.view)) {
    location.hash = 'view=' + tab;
    await wait();
    seen.views[tab] = find('section.shown').textContent;
  }
  report(seen);
}
