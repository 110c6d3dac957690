// What all pages of somebody who is logged in have: the client, its dialog in
// the words of this site, and the countdown in the head of the page.

import { dialog, watch } from '/session/dialog.js';

export { fetch } from '/session/dialog.js';

const texts = {
  warning: 'You will be logged out in {left}, for nothing has happened for a while. To stay, this dialog sends a keep-alive, which is a poll.',
  final:
    'You will be logged out in {left}, and a keep-alive cannot change that. ' +
    'If it is the polling cap, a touch still can: close this and press a button, or open a page. A lifetime has its end.',
  endedTitle: 'You have been logged out',
  ended: 'Log in again to go on. Until then this page stays as it is.',
  idle: 'Neither a touch nor a poll has come for a while.',
  lifetime: 'A session lasts only so long, however active it is.',
  'poll cap': 'For too long there have been polls and no touch: a page that is left open is not a user.',
  'poll max': 'There have been too many polls and no touch: a page that is left open is not a user.',
  expired: 'Somebody ended the session: you in another window, or an operator.',
  shutdown: 'The server was shut down.',
  stay: 'Stay logged in',
  signIn: 'Log in again',
};

/** Watches the session. The options are those of watch; `silent` leaves the dialog out. */
export function open({ silent = false, ...options } = {}) {
  // After the log-in the browser comes back to where it was.
  const login = '/login?' + new URLSearchParams({ next: location.pathname + location.search });
  const session = watch({ stream: true, user: document.documentElement.dataset.user, login, ...options });
  if (!silent) dialog(session, { texts });
  chip(session);
  return session;
}

/** The small countdown in the head of the page. */
function chip(session) {
  const chip = document.getElementById('chip');
  const left = document.getElementById('chip-left');
  if (!chip) return;
  const draw = () => {
    const { state, remaining } = session;
    const text = state === 'ended' ? 'ended' : Number.isFinite(remaining) ? time(remaining) : '';
    if (left.textContent !== text) left.textContent = text;
    chip.hidden = !text;
    chip.classList.toggle('warning', state === 'warning');
    chip.classList.toggle('ended', state === 'ended');
    chip.firstElementChild.hidden = state === 'ended';
  };
  for (const type of ['warning', 'extended', 'ended']) session.addEventListener(type, draw);
  setInterval(draw, 250);
  draw();
}

/** Minutes and seconds, such as 0:17. */
function time(ms) {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Seconds with one digit behind the point, such as 12.3. */
export const seconds = (ms) => (ms / 1000).toFixed(1);

/** A time in words, such as 20 seconds. */
export function words(ms) {
  const [unit, n] = ms >= 60_000 && ms % 60_000 === 0 ? ['minute', ms / 60_000] : ['second', ms / 1000];
  return `${n} ${unit}${n === 1 ? '' : 's'}`;
}

/** A time in short, such as 640 ms or 5.1 s. */
export function span(ms) {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 100_000) return `${+(ms / 1000).toFixed(1)} s`;
  if (ms < 6_000_000) return `${+(ms / 60_000).toFixed(1)} min`;
  if (ms < 172_800_000) return `${+(ms / 3_600_000).toFixed(1)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** How often to draw: whoever wants less motion gets steps of a second. */
export const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;

/** A list of what happened, the latest first. */
export function journal(most = 12) {
  const list = document.getElementById('log');
  const nothing = document.getElementById('nothing');
  return (text, kind = '', at = Date.now()) => {
    const item = document.createElement('li');
    const when = document.createElement('time');
    const what = document.createElement('span');
    when.textContent = new Date(at).toLocaleTimeString('en-GB');
    what.textContent = text;
    item.className = kind;
    item.append(when, what);
    list.prepend(item);
    while (list.children.length > most) list.lastChild.remove();
    nothing.hidden = true;
  };
}
