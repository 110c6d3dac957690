// How a page draws its session: it peeks once a second and counts on by itself
// in between.

import { calm, fetch, seconds, words } from './session.js';
import { timeline } from './timeline.js';

/**
 * Follows the session and draws dial, gauges and the line of time.
 * `changed(look, before)` is called with each answer of the server.
 */
export function follow(session, changed = () => {}) {
  const line = timeline(document.getElementById('timeline'));
  let look = null; // the last answer
  let at = 0; // when it came
  let number = 0; // of requests: only the answer to the latest counts
  let lost = false; // the server does not answer

  const since = () => performance.now() - at;
  const left = (value) => Math.max(0, value - since());

  /** Asks the server; returns its answer, or null. The path says whether that is a touch, a poll or a peek. */
  async function ask(path, options) {
    const mine = ++number;
    let response;
    try {
      response = await fetch(path, { cache: 'no-store', ...options, headers: { Accept: 'application/json', ...options?.headers } });
    } catch {
      lost = true;
      paint();
      return null;
    }
    lost = false;
    if (!response.ok) return { status: response.status, ...(await response.json().catch(() => ({}))) };
    const answer = await response.json();
    if (mine === number) {
      const before = look;
      look = answer;
      at = performance.now();
      note(before);
      changed(look, before);
      paint();
    }
    return answer;
  }

  /** Marks on the line what was done, here or in another window: it shows in when the session was seen. */
  function note(before) {
    if (before && look.polls !== before.polls) line.mark(look.polls > before.polls ? 'poll' : 'touch', look.seen);
    else if (!before || look.now - look.seen > before.now - before.seen + 50) line.mark(look.polls ? 'poll' : 'touch', look.seen);
  }

  function paint() {
    const live = look && session.state !== 'ended' && session.state !== 'none';
    dial(session, live && look.left >= 0 ? left(look.left) : NaN, live ? look : null, lost);
    for (const place of document.querySelectorAll('[data-of]')) {
      // An operator may have changed the rules since the page was made.
      const { of } = look?.[place.dataset.of] ?? {};
      if (of) set(place, words(of));
    }
    for (const name of ['idle', 'cap', 'life']) {
      const { left: rest, of } = look?.[name] ?? { left: 0, of: 0 };
      const runs = name !== 'cap' || look?.polls > 0;
      gauge(name, live ? (runs ? left(rest) : rest) : 0, of, live && look.limit === LIMITS[name], runs);
    }
    if (look) {
      const { idle, life, warn } = look;
      line.draw(performance.now(), live && look.left >= 0 ? left(look.left) : NaN, idle.of || life.of || 60_000, lead(warn, idle.of));
    }
  }

  const peek = () => document.visibilityState === 'hidden' || session.state === 'ended' || ask('/look');
  setInterval(peek, 1000);
  setInterval(() => document.visibilityState === 'hidden' || paint(), calm ? 1000 : 100);
  document.addEventListener('visibilitychange', peek);
  session.addEventListener('ended', paint);
  session.addEventListener('extended', peek);
  peek();

  return {
    ask,
    mark: (kind) => line.mark(kind, 0),
    /** The server's last answer; null before the first. */
    get look() { return look; },
  };
}

/** How long before the end the dialog comes: at least 20 seconds, unless the idle time is short. */
function lead(warn, idle) {
  const wanted = Math.max(warn || 60_000, 20_000);
  return idle ? Math.max(warn, Math.min(wanted, idle / 2)) : wanted;
}

const LIMITS = { idle: 'idle', cap: 'poll cap', life: 'lifetime' };

const FATES = {
  idle: 'It will end by idle, if nothing happens.',
  lifetime: 'It will end by its lifetime, whatever happens.',
  'poll cap': 'It will end by the polling cap, unless you touch it.',
};

const set = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** The big ring with the time that is left. */
function dial(session, left, look, lost) {
  const box = document.getElementById('dial');
  if (!box) return;
  const ended = session.state === 'ended';
  const known = Number.isFinite(left);
  // The idle time is the measure of the ring, whatever will end the session.
  const part = known ? Math.min(1, left / (look.idle.of || look.life.of || look.cap.of)) : 0;
  const rest = box.querySelector('.rest');
  rest.style.strokeDasharray = `${part * 100} 100`;
  rest.style.visibility = part > 0 ? 'visible' : 'hidden';
  box.classList.toggle('ended', ended);
  box.classList.toggle('warning', session.state === 'warning');
  set(document.getElementById('dial-left'), ended ? '0' : known ? (calm ? String(Math.ceil(left / 1000)) : seconds(left)) : '–');
  set(document.getElementById('dial-unit'), ended ? 'it has ended' : 'seconds left');
  const fate = lost ? 'The server does not answer.'
    : ended ? `It ended: ${session.ended?.reason || 'nobody knows why'}.`
    : !look ? 'Asking the server …'
    : FATES[look.limit] ?? 'It has no limit.';
  set(document.getElementById('fate'), fate);
}

/** One of the three bars. */
function gauge(name, left, of, ends, runs) {
  const box = document.querySelector(`[data-gauge=${name}]`);
  if (!box) return;
  const [label, track] = [box.querySelector('b'), box.querySelector('.track')];
  box.classList.toggle('ends', !!ends && of > 0);
  box.classList.toggle('off', !of || !runs);
  set(label, !of ? 'no limit' : !runs ? 'no run of polls' : `${calm ? Math.ceil(left / 1000) : seconds(left)} s`);
  track.firstElementChild.style.transform = `scaleX(${of ? Math.min(1, left / of) : 0})`;
  const now = Math.ceil(left / 1000);
  if (track.ariaValueNow !== String(now)) {
    track.ariaValueMax = String(Math.ceil(of / 1000));
    track.ariaValueNow = String(now);
    track.ariaValueText = of ? `${now} seconds` : 'no limit';
  }
}
