// The operator's page: it looks again and again, and draws what it got.

import { calm, open, span } from './session.js';
import { keep, perSecond } from './sums.js';
import { wheels } from './wheels.js';

const $ = (id) => document.getElementById(id);
const { user, refreshMs } = document.documentElement.dataset;
const picture = wheels($('wheels'));
const number = new Intl.NumberFormat('en-US');
const show = (n) => number.format(n).replaceAll(',', '\u202f');

/** Sets the text of an element, if it differs. */
function put(id, text) {
  const element = typeof id === 'string' ? $(id) : id;
  if (element.textContent !== String(text)) element.textContent = text;
}

const make = (name, text = '', attributes = {}) => {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

// ---- What is drawn.

const past = []; // snapshots of the last seconds, for what happens in a second

function draw(shot) {
  const live = Object.values(shot.live).reduce((a, b) => a + b, 0);
  put('live', show(live));
  const { visitor } = shot.live;
  put('live-by', `${show(visitor)} ${visitor === 1 ? 'person' : 'people'}, ${show(live - visitor)} synthetic`);
  const ended = shot.ended.reduce((sum, { n }) => sum + n, 0);
  keep(past, { now: shot.now, ended, wakeups: shot.wakeups });
  put('rate', show(Math.round(perSecond(past, 'ended'))));
  put('ended-all', `${show(ended)} in all`);
  put('queue', show(shot.queue));
  put('hooks', `${show(shot.hooks)} hooks run${shot.panics ? `, ${show(shot.panics)} panics` : ''}`);
  put('overdue', show(shot.overdue));
  const wakeups = perSecond(past, 'wakeups');
  put('wakeups', wakeups < 10 ? wakeups.toFixed(1) : show(Math.round(wakeups)));
  put('wakeups-all', `${show(shot.wakeups)} in all`);
  picture.draw(shot.levels);
  levels(shot);
  people(shot);
  reasons(shot.ended, ended);
  lateness(shot.late);
  policies(shot.policies);
}

function levels({ levels, tick }) {
  const body = $('levels');
  levels.forEach((slots, level) => {
    const row = body.rows[level] ?? body.insertRow();
    if (!row.cells.length) {
      const slot = tick * 8 ** level;
      row.append(make('td', level), make('td', span(slot)), make('td', span(slot * slots.length)), make('td', '', { class: 'num' }));
    }
    const n = slots.reduce((a, b) => a + b, 0);
    row.className = n ? 'busy' : 'empty';
    put(row.cells[3], n ? show(n) : '–');
  });
}

/** The rows stay where they are, so that a button does not go away under a finger. */
function people({ people: list, live }) {
  const body = $('people').tBodies[0];
  const rows = new Map([...body.rows].map((row) => [row.dataset.mark, row]));
  for (const [mark, row] of rows) if (!list.some((p) => p.mark === mark)) row.remove();
  list.forEach((p, i) => {
    let row = rows.get(p.mark);
    if (!row) {
      row = make('tr', '', { 'data-mark': p.mark });
      const buttons = make('div', '', { class: 'row' });
      const end = make('button', 'End', { class: 'quiet', 'aria-label': `End ${p.name}'s session ${p.mark}` });
      const everywhere = make('button', 'Everywhere', { class: 'quiet', 'aria-label': `Log ${p.name} out everywhere` });
      end.addEventListener('click', () => send('/operator/expire', { mark: p.mark }, $('people-said')));
      everywhere.addEventListener('click', () => send('/operator/everywhere', { name: p.name }, $('people-said')));
      buttons.append(end, everywhere);
      const session = make('td');
      session.append(make('code', p.mark));
      const actions = make('td');
      actions.append(buttons);
      row.append(make('td', p.name, { title: p.name }), session, make('td', '', { class: 'num' }), make('td'), make('td', '', { class: 'num' }), actions);
    }
    if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null);
    put(row.cells[2], `${Math.round(p.age / 1000)} s`);
    put(row.cells[3], p.left < 0 ? 'no end' : `${Math.ceil(p.left / 1000)} s, ${p.limit}`);
    put(row.cells[4], p.polls);
  });
  $('people').hidden = !list.length;
  $('everybody').hidden = !list.length;
  $('nobody').hidden = !!list.length;
  $('everybody').textContent = live.visitor > list.length ? `Log all ${show(live.visitor)} out` : 'Log everybody out';
}

function reasons(list, all) {
  const body = $('ends').tBodies[0];
  const most = Math.max(1, ...list.map(({ n }) => n));
  list.forEach(({ reason, n }, i) => {
    const row = body.rows[i] ?? body.insertRow();
    if (!row.cells.length) {
      const track = make('div', '', { class: 'track' });
      track.append(make('i'));
      const bar = make('td');
      bar.append(track);
      row.append(make('td', reason), bar, make('td'));
    }
    // By the square root, so that one user beside a crowd can be seen.
    row.cells[1].firstChild.firstChild.style.transform = `scaleX(${Math.sqrt(n / most)})`;
    row.className = n ? '' : 'none';
    put(row.cells[2], n ? `${show(n)}${all > n ? ` (${percent(n / all)})` : ''}` : '–');
  });
}

const percent = (part) => (part > 0 && part < 0.001 ? '<0.1 %' : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`);

/** The name of a bound of 2^i microseconds. */
const bound = (i) => (i < 10 ? `${2 ** i} µs` : i < 20 ? `${2 ** (i - 10)} ms` : `${2 ** (i - 20)} s`);

const FIRST = 9; // what is less late than this has one bar

function lateness(late) {
  const box = $('late');
  const all = late.reduce((a, b) => a + b, 0);
  const last = Math.max(FIRST + 9, late.findLastIndex((n) => n > 0));
  const bars = [];
  for (let i = FIRST; i <= last; i++) bars.push(i === FIRST ? late.slice(0, i + 1).reduce((a, b) => a + b, 0) : late[i]);
  while (box.children.length > bars.length) box.lastChild.remove();
  const most = Math.max(1, ...bars);
  bars.forEach((n, k) => {
    const i = FIRST + k;
    let bar = box.children[k];
    if (!bar) {
      bar = make('div');
      bar.append(make('i'), make('span', (i - FIRST) % 3 ? '' : `<${bound(i)}`));
      box.append(bar);
    }
    bar.title = `${i === FIRST ? '' : `${bound(i - 1)} to `}${bound(i)}: ${show(n)}`;
    bar.className = i > 14 ? 'over' : '';
    bar.firstChild.style.transform = `scaleY(${Math.sqrt(n / most)})`;
  });
  if (!all) return;
  let sum = 0;
  const most999 = late.findIndex((n) => (sum += n) >= all * 0.999);
  put('late-sum', `${show(all)} sessions have ended by the clock, 99.9 % of them less than ${bound(most999)} after their limit. A tick is 10 ms. The bars grow with the square root.`);
}

// ---- The rules. The form shows those of its class until somebody types.

let known = [];
let typed = false;

function policies(list) {
  const news = JSON.stringify(list) !== JSON.stringify(known);
  known = list;
  if (news && !typed) fill();
}

function fill() {
  const form = $('policy');
  const policy = known.find((p) => p.class === form.elements.class.value);
  if (!policy) return;
  for (const name of ['idle', 'lifetime', 'cap', 'pollMax', 'warn']) {
    const { [name]: value } = policy;
    form.elements[name].value = value === '0s' ? '0' : value;
  }
  typed = false;
}

$('policy').addEventListener('input', (event) => {
  if (event.target.name === 'class') fill();
  else typed = true;
});

// ---- What is sent.

async function send(path, fields, said) {
  said.classList.remove('bad');
  said.textContent = 'Working …';
  let text;
  try {
    const response = await fetch(path, { method: 'POST', body: new URLSearchParams(fields) });
    const answer = await response.json().catch(() => ({}));
    said.classList.toggle('bad', !response.ok);
    text = response.ok ? answer.success : (answer.message ?? `status ${response.status}`);
    if (response.ok && path === '/operator/policy') typed = false;
  } catch {
    said.classList.add('bad');
    text = 'the server does not answer';
  }
  said.textContent = text[0].toUpperCase() + text.slice(1) + '.';
  look();
}

for (const form of document.querySelectorAll('form[data-post]')) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button.main');
    button.disabled = true;
    await send(form.dataset.post, new FormData(form), form.querySelector('.said'));
    button.disabled = false;
  });
}
for (const button of document.querySelectorAll('[data-send]')) {
  const said = button.closest('.card').querySelector('.said');
  button.addEventListener('click', () => send(button.dataset.send, {}, said));
}

// ---- The running log.

const log = $('log');

function journal(lines) {
  for (const { at, kind, text } of lines) {
    const item = make('li', '', { class: kind });
    item.append(make('time', new Date(at).toLocaleTimeString('en-GB')), make('span', text));
    log.prepend(item);
  }
  while (log.children.length > 200) log.lastChild.remove();
  $('nothing').hidden = log.children.length > 0;
}

// ---- The loop.

let last = 0; // line of the journal
let timer;
let asking = false;

async function look() {
  if (asking || document.visibilityState === 'hidden') return;
  asking = true;
  clearTimeout(timer);
  try {
    const response = await fetch(`/operator/state?since=${last}`, { cache: 'no-store' });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const shot = await response.json();
    if (shot.last < last) {
      // Another server: its journal begins anew.
      last = 0;
      past.length = 0;
    } else {
      journal(shot.log);
      last = shot.last;
    }
    draw(shot);
    put('pulse', '');
  } catch {
    put('pulse', 'The server does not answer.');
  }
  asking = false;
  timer = setTimeout(look, calm ? Math.max(2000, +refreshMs) : +refreshMs);
}

document.addEventListener('visibilitychange', look);
look();

// Whoever is logged in sees the countdown in the head of this page, too; the
// dialogs are for the other windows.
if (user) open({ keepAlive: false, silent: true });
