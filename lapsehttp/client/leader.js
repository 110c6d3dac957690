// One window of the browser is the leader: it sends the keep-alives and holds
// the event stream for all.
//
// Where there are Web Locks, the leader is who holds the lock: the browser hands
// it on when a window goes away. Elsewhere (plain http) the windows elect one by
// messages; `elect` is that election, without clock or channel.

/** How often the leader says that it is there, in an election. */
const BEAT = 1000;

/** After how long a silence another window leads. */
const SILENCE = 1800;

/** How long a window that has just come waits for a leader to answer. */
const HELLO = 300;

/** A window's part in an election; `id` differs from window to window. */
export function candidate(id, now) {
  return { id, leads: false, until: now + HELLO };
}

/**
 * One step of the election: changes `me` and returns the message to post, if any.
 * `event` is 'tick', or a message's kind: 'who' (is there a leader?),
 * 'lead' (I am; `from` says who and whether it is visible) or 'bye' (no longer).
 */
export function elect(me, event, now, visible, from) {
  const claim = { t: 'lead', id: me.id, visible };
  switch (event) {
    case 'tick':
      if (now >= me.until) me.leads = true;
      return me.leads ? claim : null;
    case 'who':
      return me.leads ? claim : null;
    case 'bye':
      if (!me.leads) me.until = now;
      return null;
    case 'lead':
      // Of two leaders the visible one stays, for its timers run on time; of two
      // alike, the one with the lower id.
      if (me.leads && (visible === from.visible ? me.id < from.id : visible)) return claim;
      me.leads = false;
      me.until = now + SILENCE;
  }
  return null;
}

/**
 * Takes part in finding a leader until `close`. `now()` is the local clock;
 * `changed(leads)` is called when this window becomes the leader, or no longer is.
 */
export function runForLeader(env, name, bus, now, changed) {
  let leads = false;
  let closed = false;
  let leave; // gives up what this window holds

  const set = (on) => {
    if (on === leads) return;
    leads = on;
    if (!closed) changed(on);
  };

  async function queue(steal) {
    const abort = new AbortController();
    let done;
    const held = new Promise((resolve) => { done = resolve; });
    let got = false;
    let left = false;
    leave = () => {
      left = true;
      done();
      abort.abort();
    };
    try {
      await env.navigator.locks.request(name, steal ? { steal } : { signal: abort.signal }, () => {
        got = true;
        if (!left) set(true);
        return held;
      });
    } catch {
      // Refused, given up, or stolen.
    }
    if (left) return;
    set(false);
    // A lock that was held has been stolen: queue up again. One that was never
    // held is not to be had here at all.
    if (got) queue();
    else vote();
  }

  let me;
  function step(event, from) {
    const message = elect(me, event, now(), env.document.visibilityState !== 'hidden', from);
    if (message) bus?.post(message);
    set(me.leads);
  }

  function vote() {
    me = candidate(Math.random(), now());
    let timer;
    const beat = (wait) => {
      timer = env.setTimeout(() => {
        step('tick');
        // Nobody hears it who is alone.
        if (bus) beat(BEAT);
      }, wait);
    };
    leave = () => {
      env.clearTimeout(timer);
      if (me.leads) bus?.post({ t: 'bye' });
    };
    bus?.post({ t: 'who' });
    beat(HELLO);
  }

  if (env.navigator.locks) queue();
  else vote();

  return {
    get leads() { return leads; },
    /** What another window posted; it may concern the election. */
    hear(kind, from) {
      if (me && !closed && /^(who|lead|bye)$/.test(kind)) step(kind, from);
    },
    /** Takes the lock away from who holds it. An election needs no such thing: it hears that nobody leads. */
    seize() {
      if (closed || leads || me) return;
      leave();
      queue(true);
    },
    close() {
      closed = true;
      leave();
      leads = false;
    },
  };
}
