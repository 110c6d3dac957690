// The score page: it polls by itself until the server refuses.

import { fetch, journal, open } from './session.js';
import { follow } from './look.js';
import { reasonOf } from './sums.js';

const $ = (id) => document.getElementById(id);
const every = Number(document.documentElement.dataset.pollMs);

// A page that polls needs no keep-alives.
const session = open({ keepAlive: false });
const note = journal(8);
const follower = follow(session, (look) => {
  if (look.pollMax) $('cap-hint').textContent = `${look.polls} of at most ${look.pollMax} polls.`;
});

let timer = null;

async function poll() {
  let response;
  try {
    response = await fetch('/score/live', { cache: 'no-store' });
  } catch {
    return say('The server does not answer.');
  }
  if (response.critical) {
    const reason = reasonOf(await response.json(), session.ended);
    polling(false);
    note(`refused with status ${response.status}: ${reason}`, 'end');
    return say(`The server has refused the poll, and ended the session: ${reason}.`, true);
  }
  if (!response.ok) return say(`The server answered with status ${response.status}.`);
  const { minute, wheels, heaps } = await response.json();
  $('minute').textContent = `minute ${minute}`;
  $('wheels').textContent = wheels;
  $('heaps').textContent = heaps;
  const look = await follower.ask('/look');
  if (!look || look.status) return;
  note(`poll ${look.polls} since the last touch`);
  say(look.limit === 'poll cap' ? 'The next polls extend nothing any more: only a touch can.' : 'Each poll starts the idle time anew.');
}

function say(text, bad = false) {
  if ($('verdict').textContent !== text) $('verdict').textContent = text;
  $('verdict').classList.toggle('bad', bad);
}

function polling(on) {
  clearInterval(timer);
  timer = on ? setInterval(poll, every) : null;
  $('polling').setAttribute('aria-pressed', on);
  $('polling').textContent = on ? 'Polling: on' : 'Polling: off';
  if (on) poll();
}

$('polling').addEventListener('click', () => {
  polling(timer === null);
  if (timer === null) say('The page is quiet now: the session ends by idle.');
});
$('here').addEventListener('click', async () => {
  const look = await follower.ask('/touch', { method: 'POST' });
  if (look && !look.status) note('touch: the run of polls is over');
});
session.addEventListener('warning', (e) => note(`warning: ${e.detail.limit || 'the end is near'}`, 'warning'));
session.addEventListener('ended', (e) => {
  polling(false);
  note(`the session ended: ${reasonOf(e.detail)}`, 'end');
  if (!$('verdict').classList.contains('bad')) say(`The session has ended: ${reasonOf(e.detail)}.`, true);
});
session.addEventListener('extended', (e) => {
  if (e.detail.again) polling(true); // logged in again, in another window
});
polling(true);
