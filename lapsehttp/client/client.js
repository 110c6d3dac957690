// The browser's side of lapsehttp: it knows when the session of this browser
// ends, tells the page before and at the end, and keeps the session alive while
// somebody works.
//
//	import { watch, fetch as sessionFetch } from '/session/client.js';
//	const session = watch();
//	session.addEventListener('warning', (e) => banner(e.detail.remaining));
//	session.addEventListener('ended', (e) => showLogin(e.detail.login));
//
// How the end is known. Each response carries the server's time and the end in
// two cookies. The client keeps the offset to the server's clock, takes it only
// from answers whose moment it knows, never from a cookie found at load, and
// counts on by a clock that nobody can set. Whenever it is in doubt (no cookie,
// a pair that does not fit, a clock that was moved, a page out of the cache, a
// warning or an end that is due) it asks the status endpoint, which extends
// nothing.
//
// Who says that it has ended. The server, whenever it can be reached: when the
// end comes the client asks, and the grace that follows is the time for the
// answer. If there is none until the grace is over (no network), the client
// says so by itself; so it does at once when the page wakes up after all that,
// and asks then. Such an `ended` has `confirmed: false`, no page is left for it,
// and should the server find the session alive after all, `extended` follows.
// Word of an end that may be older than the last proof of life, or that the
// cookies contradict, is no end: it is a doubt like the others.

import { checkStatus, critical, loginAddress, ok, refusal } from './answers.js';
import { openBus } from './bus.js';
import { fromNetwork, readCookies } from './cookies.js';
import { openDrafts } from './drafts.js';
import { INPUT, inputFilter } from './input.js';
import { runForLeader } from './leader.js';
import { settings } from './settings.js';
import { openStream } from './stream.js';
import { ANSWER, DRIFT, HEARING, LONGEST_RETRY, MOMENT, SLACK } from './time.js';
import { keepAliveDue, leadOf, leftOf, nextCheck, offsetOf, reconcile, verdict } from './time.js';

export { critical };

/** How much the server is to be asked: unless a good answer comes by itself, or in any case. */
const DOUBT = 1;
const MUST = 2;

/** The watches of this window, the latest last. */
const watches = new Set();

/**
 * Watches the session of this browser. See client.d.ts for the options and for
 * what it returns. The second parameter is the window, for tests.
 */
export function watch(options = {}, env = globalThis) {
  const o = settings(options);
  const { document, location } = env;
  if (!document) throw new Error('lapse: watch needs a window with a document');
  const drafts = openDrafts(env, o.user);

  // The local clock counts on from when the page was opened, whatever is done to
  // the clock of the device, which is read only to see that.
  const local = () => env.performance.timeOrigin + env.performance.now();
  const gap = () => env.Date.now() - local();

  let phase = 'unknown'; // or 'live', 'warning', 'ended', 'none'
  let end = null; // the detail of `ended`, as long as that is the phase
  let proved = -Infinity; // when the server said last that it lives, or has ended
  let announced = 0; // the end that the page knows of, in local time

  // What is known of the end, and how well.
  let offset = NaN; // unknown, and so is what follows from it
  let expiry = NaN; // server time; NaN: unknown, Infinity: no limit
  let newest = 0; // the server time at which it was so
  let status = {}; // the last one; without its limit once the end has moved
  let pair; // the cookies as they were seen last
  let looked = local(); // and when that was
  let drift = gap();

  // Asking the server.
  let need = MUST; // or 0, or DOUBT
  let inFlight = false;
  let failures = 0;
  let retryAt = 0;
  let asked = 0; // for what: 1, which limit comes; 2, whether the end has come

  // Keep-alives, of all windows.
  let input = -Infinity;
  let pinged = -Infinity;
  let pinging = false;
  let owed = 0; // since when the leader owes this window one

  let open = false; // not so while the page is in the back-forward cache
  let disposed = false;
  let bus, leader, stream, timer;
  let streamAt = 0;
  let streamWanted = o.stream;

  const alive = () => phase === 'live' || phase === 'warning';
  const hidden = () => document.visibilityState === 'hidden';
  const left = () => leftOf(local(), offset, expiry);
  const lead = () => leadOf(o.warn ?? status.warnMs ?? 0, status.idleMs ?? 0);
  const extendable = () => !status.limit || status.limit === 'idle';
  const due = () => {
    const idle = status.idleMs ?? 0;
    // A deadline that was moved shows when the session was seen.
    const seen = Math.max(pinged, expiry + offset - idle);
    // Where nothing can be extended, one poll more may be one too many.
    return alive() && extendable() ? keepAliveDue(seen, idle, lead(), input, o.whileOpen) : Infinity;
  };
  // Not the document's base, which may be of another site.
  const endpoint = (name) => new URL(o.prefix + name, location.href);
  const post = (message) => open && bus?.post(message);
  const emit = (type, detail) => disposed || session.dispatchEvent(new CustomEvent(type, { detail }));

  // ---- What is learned, and from whom.

  /** An answer whose moment is known: the offset is taken from it. */
  function learn(answer, sent) {
    const now = local();
    const behind = newest - answer.serverTime;
    // Answers may overtake one another; but a server's clock may be set back, and
    // an answer's body be a moment older than its cookies.
    if (behind > MOMENT && behind < SLACK) return;
    offset = offsetOf(now, answer.serverTime);
    adopt(answer);
    if (need === DOUBT) need = 0;
    // The server wrote it anywhere in between, and that is too long to be exact.
    if (now - sent > SLACK) need = MUST;
    post({ t: 'sync', answer });
  }

  /** Times that were written at an unknown moment since `since`; whether they are news that can be believed. */
  function hearsay(answer, since) {
    const fit = reconcile(offset, answer.serverTime, since, local());
    // After an end, a session that lives is another one: the server shall say so.
    const odd = fit == null || (end?.confirmed && answer.expiresAt > answer.serverTime);
    if (odd) need ||= DOUBT;
    if (odd || answer.serverTime < newest) return false;
    offset = fit;
    adopt(answer);
    return true;
  }

  function adopt(answer) {
    const end = answer.expiresAt ?? Infinity;
    if (!(Math.abs(end - expiry) <= MOMENT)) status = { ...status, limit: '' };
    newest = answer.serverTime;
    expiry = end;
    if (expiry > newest) proved = newest + offset;
    if (answer.state) status = answer;
  }

  /** Looks at the cookies, which the requests of all windows write. */
  function look() {
    const found = readCookies(document.cookie);
    const key = JSON.stringify(found);
    if (key !== pair) {
      pair = key;
      if (!found) need ||= DOUBT;
      else if (hearsay(found, looked) && !env.cookieStore) post({ t: 'sync', answer: found });
    }
    looked = local();
    return found;
  }

  /**
   * Somebody says that it has ended, and was told so after `since`: believes it,
   * or asks. What may be older than the last proof of life may be about another
   * session, and a refusal of who came without an id proves nothing as long as the
   * cookies say that there is one.
   */
  function believe(detail, since, first) {
    const found = readCookies(document.cookie);
    const lives = found ? found.expiresAt > found.serverTime : expiry === Infinity;
    if (lives) look();
    const sure = (alive() || end) && since >= proved && !(lives && detail.error === 'NOT_LOGGED_IN');
    if (sure || end?.confirmed) finish(detail, true, first && since);
    else need = MUST;
  }

  /** What another window posts. */
  function hear({ t, answer, ago, detail, at, ...rest }) {
    leader.hear(t, rest);
    if (t === 'sync') {
      look();
      hearsay(answer, local());
    } else if (t === 'ago') {
      owed = 0;
      pinged = Math.max(pinged, local() - (ago ?? Infinity));
    } else if (t === 'feed' && leader.leads) {
      input = local();
      if (input < due() && !pinging) post({ t: 'ago', ago: input - pinged });
    } else if (t === 'ended') {
      believe(detail, at + offset);
    } else if (t === 'stream') {
      streamWanted = true;
    } else if (t === 'leader' && o.stream) {
      post({ t: 'stream' });
    }
    check();
  }

  /** What the response to a request of this page says; whether it is a refusal. */
  async function read(response, sent) {
    const rest = parseFloat(response.headers.get('X-Session-Expires-In'));
    const found = readCookies(document.cookie);
    if (end?.confirmed && rest > 0) {
      // On its way since before the end, or of a new session.
      need = MUST;
    } else if (found && Math.abs(found.expiresAt - found.serverTime - rest) <= 1) {
      // The cookies are this response's own, so their moment is known.
      learn(found, sent);
    } else if (!found && rest >= 0) {
      const serverTime = local() - offset;
      hearsay({ serverTime, expiresAt: serverTime + rest }, local());
    }
    const body = await refusal(response);
    if (body) believe(body, sent, true);
    check();
    return !!body;
  }

  /** Asks the status endpoint if there is a need. */
  async function ask() {
    const sent = local();
    if (!need || inFlight || sent < retryAt) return;
    inFlight = true;
    need = 0;
    try {
      const response = await env.fetch(endpoint('status'), {
        headers: { 'X-Session-Activity': 'peek' },
        cache: 'no-store',
        signal: AbortSignal.timeout(SLACK),
      });
      const answer = checkStatus(await ok(response).json());
      failures = 0;
      const live = answer.state === 'live';
      // The server does not know why, for the browser has dropped its id; but the
      // window to which it did that has been told.
      if (answer.state === 'none' && alive()) await new Promise((done) => env.setTimeout(done, HEARING));
      if (live ? end?.confirmed && proved >= sent : alive() && proved > sent) {
        // The contrary was heard while it was on its way.
        need = MUST;
      } else if (live) {
        learn(answer, sent);
      } else if (alive() || end || (phase === 'unknown' && answer.state === 'ended')) {
        finish(answer, true, sent);
      } else {
        phase = 'none';
        expiry = NaN;
      }
    } catch (error) {
      need = MUST;
      retryAt = local() + Math.min(SLACK * 2 ** failures++, LONGEST_RETRY);
      // There is no status to be had: cookies that came with this page will do.
      const found = isNaN(offset) && fromNetwork(env) && look();
      if (found) {
        offset = offsetOf(local(), found.serverTime);
        adopt(found);
      }
      emit('error', { during: 'status', error });
    }
    inFlight = false;
    check();
  }

  // ---- What follows from it.

  /** Looks, judges, does what is due, and sets the timer for the next time. */
  function check() {
    if (disposed || !open) return;
    const now = local();
    // The device's clock was set, or the device slept and ours stood still.
    if (Math.abs(gap() - drift) > DRIFT) need = MUST;
    drift = gap();
    look();
    judge();
    if (disposed) return;
    ask();
    feed();
    listen();
    env.clearTimeout(timer);
    timer = env.setTimeout(
      check,
      nextCheck(left(), lead(), o.grace, o.every, due() - now, need ? retryAt - now : 0, owed ? owed + ANSWER - now : 0),
    );
  }

  function judge() {
    const now = local();
    const rest = left();
    const standing = verdict(rest, lead(), o.grace);
    const over = standing === 'grace' || standing === 'expired';
    const near = standing === 'near' || standing === 'warning';
    const question = over && alive() ? 2 : +(near && !status.limit);
    if (question > asked) need = MUST;
    asked = question;

    if (standing === 'expired' && alive()) finish({}, false);
    if (over || !standing) return;
    const news = end || now + rest > announced + 1000 || (phase === 'warning' && standing !== 'warning');
    if (!alive() && !end) {
      phase = 'live';
      announced = now + rest;
      drafts.restore();
    } else if (news) {
      const again = !!end?.confirmed;
      phase = 'live';
      announced = now + rest;
      end = null;
      // What was typed is still on this page, and may be sent from here.
      drafts.forget();
      emit('extended', { remaining: rest, limit: status.limit, again });
    }
    // If the server is being asked whether it is so, its answer comes first, and
    // so does a keep-alive that is due.
    if (standing === 'warning' && phase === 'live' && !inFlight && !(need && now >= retryAt) && now < due()) {
      phase = 'warning';
      emit('warning', { remaining: rest, extendable: extendable(), limit: status.limit });
    }
  }

  /**
   * The session has ended. The server says so if `confirmed`; then the other
   * windows are told that it did after `since`, unless they told this one. The
   * page is told once.
   */
  function finish(detail, confirmed, since) {
    // A log-out is meant to leave nothing behind.
    if (detail.reason === 'expired') drafts.forget(true);
    if (disposed || (end && (end.confirmed || !confirmed))) return;
    const told = !!end;
    phase = 'ended';
    end = {
      reason: detail.reason ?? end?.reason ?? ((left() <= 0 && status.limit) || ''),
      error: detail.error,
      endedAt: detail.endedAt,
      login: loginAddress(o.login, detail.login, location.href),
      confirmed,
    };
    drafts.save();
    if (confirmed) {
      proved = local();
      // Only what is written from now on can say otherwise.
      expiry = NaN;
      if (since) post({ t: 'ended', detail, at: since - offset });
    }
    if (!told) emit('ended', end);
    if (confirmed && o.redirect && !disposed) location.assign(end.login);
  }

  // ---- Keep-alives.

  /** Sends a keep-alive that is due, or has the leader send it. */
  function feed() {
    const now = local();
    if (now < due()) {
      owed = 0;
    } else if (leader.leads) {
      ping();
    } else if (!owed) {
      owed = now;
      post({ t: 'feed' });
    } else if (now - owed >= ANSWER) {
      // There is a leader that does not act: a window that is frozen or suspended
      // may hold the lock, and even hear.
      leader.seize();
      ping();
    }
  }

  /** Sends a keep-alive; whether the session lives longer for it. */
  async function ping() {
    const before = expiry;
    const sent = (pinged = local());
    owed = 0;
    pinging = true;
    try {
      const response = await env.fetch(endpoint('keepalive'), { method: 'POST', cache: 'no-store', signal: AbortSignal.timeout(2 * SLACK) });
      if (!(await read(response, sent))) ok(response);
    } catch (error) {
      emit('error', { during: 'keepalive', error });
    }
    pinging = false;
    post({ t: 'ago', ago: local() - sent });
    return alive() && expiry > before;
  }

  const isInput = inputFilter();
  function onInput(event) {
    const now = local();
    // The first input after a sleep: the page shall know the end before it.
    if (now - looked > 2 * o.every) check();
    if (!o.keepAlive || session.asking || hidden() || !isInput(event, now)) return;
    const before = due();
    input = now;
    if (due() < before || (now >= before && !owed)) check();
  }

  // ---- The event stream, which the leader holds for all.

  function listen() {
    if (!open || !leader.leads || !streamWanted || !alive() || !env.EventSource) {
      stream?.close();
      stream = null;
      return;
    }
    if (stream || local() < streamAt) return;
    const news = (answer) => {
      if (hearsay(answer, local())) post({ t: 'sync', answer });
      check();
    };
    const ended = (detail) => {
      // Of two times in the same millisecond either may be the earlier one.
      believe(detail, detail.endedAt - 1 + offset, true);
      check();
    };
    const closed = (worked) => {
      stream = null;
      streamAt = o.stream === 'auto' && !worked ? Infinity : local() + 3 * o.every;
      need = MUST;
      check();
    };
    stream = openStream(env, endpoint('events'), news, ended, closed);
  }

  // ---- The window comes and goes.

  function resume() {
    if (open) return;
    open = true;
    const name = 'lapse:' + o.prefix;
    bus = openBus(env, name, hear);
    leader = runForLeader(env, name, bus, local, (leads) => {
      if (leads) post({ t: 'leader' });
      check();
    });
    if (o.stream) post({ t: 'stream' });
  }

  function suspend() {
    if (!open) return;
    open = false;
    env.clearTimeout(timer);
    listen();
    leader.close();
    bus?.close();
  }

  function onWake(event) {
    failures = retryAt = 0;
    // Out of the back-forward cache. Nothing else resumes: a page becomes hidden
    // after its pagehide, and what it held then would keep it out of that cache.
    if (event.persisted) need = MUST;
    if (event.type === 'pageshow') resume();
    check();
  }

  const off = new AbortController(); // dispose
  const on = (target, types, f, how) => {
    for (const type of types) target?.addEventListener(type, f, { ...how, signal: off.signal });
  };

  // ---- What the page sees.

  const session = new (class extends EventTarget {
    asking = false;

    get state() { return phase; }
    get remaining() { return alive() ? Math.max(0, left()) : end ? 0 : NaN; }
    get expiresAt() { return alive() ? expiry : NaN; }
    get limit() { return status.limit ?? ''; }
    get extendable() { return alive() && extendable(); }
    get offset() { return offset + gap(); }
    get leads() { return open && leader.leads; }
    get ended() { return end; }

    check() {
      retryAt = 0;
      check();
    }

    async extend() { return open && alive() && extendable() && ping(); }

    async fetch(resource, init) {
      if (new URL(resource.url ?? resource, document.baseURI).origin !== location.origin) return env.fetch(resource, init);
      if (hidden()) {
        // Not by way of init, which would take the referrer from a Request.
        resource = new env.Request(resource, init);
        init = undefined;
        if (!resource.headers.has('X-Session-Activity')) resource.headers.set('X-Session-Activity', 'poll');
      }
      const sent = local();
      const response = await env.fetch(resource, init);
      response.critical = await read(response, sent);
      return response;
    }

    async logout() {
      ok(await env.fetch(endpoint('logout'), { method: 'POST', cache: 'no-store' }));
      finish({ reason: 'expired' }, true, local());
    }

    dispose() {
      suspend();
      disposed = true;
      watches.delete(session);
      off.abort();
    }
  })();

  if (o.signal?.aborted) {
    session.dispose();
    return session;
  }
  watches.add(session);
  on(o.signal, ['abort'], session.dispose);
  on(env, ['focus', 'pageshow', 'online'], onWake);
  on(document, ['visibilitychange', 'resume'], onWake);
  on(env, ['pagehide'], () => {
    if (end) drafts.save();
    suspend();
  });
  on(env.cookieStore, ['change'], () => {
    check();
    // document.cookie may lag behind the event, but not behind this.
    env.cookieStore.get('serverTime').then(check, check);
  });
  on(env, INPUT, onInput, { capture: true, passive: true });
  resume();
  check();
  return session;
}

/**
 * fetch, for the requests of a page with a session. The response is the caller's
 * as ever, with one property more: `critical` is true if it says that nobody is
 * signed in any more; then `ended` has told the page so, once.
 */
export function fetch(resource, init) {
  const session = [...watches].pop();
  return session ? session.fetch(resource, init) : globalThis.fetch(resource, init);
}
