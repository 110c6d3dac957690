// The clock of a page whose time the tests move: Date, performance and timers
// go by it and stand still in between. All else is the browser's own: requests,
// cookies, messages between windows, locks, input.
//
// The page's first script.

(() => {
  /** What the device's clocks show; the page has to know before anything else runs. */
  function read() {
    const now = new XMLHttpRequest();
    now.open('GET', '/test/now', false);
    now.send();
    return JSON.parse(now.response);
  }
  // When the page was opened, by the device's wall clock and by the one that
  // nobody can set.
  const { wall: origin, mono: opened } = read();
  let elapsed = 0; // since then
  let wall = origin;

  const realTimeout = (globalThis.realTimeout = globalThis.setTimeout);
  const timers = new Map();
  let ids = 0;
  let throttle = 1; // timers run at multiples of so many milliseconds only

  const arm = (f, ms, args, period) => {
    ms = Math.max(0, +ms || 0);
    timers.set(++ids, { id: ids, due: elapsed + ms, f: () => f(...args), period: period && Math.max(1, ms) });
    return ids;
  };
  globalThis.setTimeout = (f, ms, ...args) => arm(f, ms, args);
  globalThis.setInterval = (f, ms, ...args) => arm(f, ms, args, true);
  globalThis.clearTimeout = globalThis.clearInterval = (id) => void timers.delete(id);

  const when = (timer) => Math.ceil(timer.due / throttle) * throttle;
  const earliest = () => {
    let first;
    for (const timer of timers.values()) if (!first || when(timer) < when(first)) first = timer;
    return first;
  };
  function run(timer) {
    if (timer.period) timer.due = elapsed + timer.period;
    else timers.delete(timer.id);
    timer.f();
  }

  Object.defineProperty(performance, 'timeOrigin', { get: () => origin });
  performance.now = () => elapsed;
  const RealDate = Date;
  globalThis.Date = class Date extends RealDate {
    constructor(...args) {
      super(...(args.length ? args : [wall]));
    }
    static now() {
      return wall;
    }
  };
  AbortSignal.timeout = (ms) => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(new DOMException('timed out', 'TimeoutError')), ms);
    return abort.signal;
  };

  // Requests that are under way, their bodies included.
  const open = new Set();
  const realFetch = globalThis.fetch;
  globalThis.fetch = (...args) => {
    const gate = gates.get([...gates.keys()].find((part) => String(args[0]?.url ?? args[0]).includes(part)));
    const response = realFetch(...args);
    const whole = response.then((r) => r.clone().arrayBuffer()).catch(() => {});
    open.add(whole);
    whole.then(() => open.delete(whole));
    // Who asked gets it when all of it is here.
    return whole.then(() => gate).then(() => response);
  };
  const gates = new Map(); // what the answers to some requests wait for

  const rounds = new MessageChannel();
  const round = () => new Promise((done) => {
    rounds.port1.onmessage = done;
    rounds.port2.postMessage(0);
  });
  /** Until no request is under way and what followed from it has run. */
  async function settle() {
    for (let quiet = 0; quiet < 4; quiet++) {
      if (open.size) quiet = 0;
      await Promise.all(open);
      await round();
    }
  }

  // The windows of a device wait for each other, so that what one has told the
  // others has arrived.
  const Channel = globalThis.BroadcastChannel;
  let channel;
  let met = () => {};
  const self = Math.random();
  function join() {
    channel = new Channel('clock of the tests');
    channel.onmessage = ({ data: { ask, answer } }) => {
      if (ask) channel.postMessage({ answer: ask });
      if (answer === self) met();
    };
  }
  const meet = (others) => new Promise((done) => {
    if (!others) return done();
    // One of them may go to another page just now.
    realTimeout(done, 10_000);
    met = () => --others || done();
    channel.postMessage({ ask: self });
  });
  join();
  // An open channel would keep the page out of the back-forward cache.
  addEventListener('pagehide', () => channel.close());
  addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return;
    join();
    const now = read();
    wall = now.wall;
    elapsed = now.mono - opened;
  });

  globalThis.clock = {
    /**
     * Moves the clocks, and runs no timer. Not while an answer is on its way,
     * which would seem to have taken all that time; then it returns false.
     */
    shift(mono, walls) {
      if (open.size) return false;
      elapsed += mono;
      wall += walls;
      return true;
    },
    /**
     * Runs the timers that are due and what follows, together with as many other
     * windows. Returns how long it is until the next timer; -1 if there is none.
     */
    async run(others) {
      let most = 1000;
      do {
        await settle();
        for (let timer; (timer = earliest()) && when(timer) <= elapsed; await settle()) {
          if (!most--) throw new Error('timers start timers without end');
          run(timer);
        }
        await meet(others);
        await settle();
      } while (earliest() && when(earliest()) <= elapsed);
      return earliest() ? when(earliest()) - elapsed : -1;
    },
    /** From now on keeps the answers to such requests from the page. */
    hold(part) {
      let release;
      const gate = new Promise((done) => { release = done; });
      gate.release = release;
      gates.set(part, gate);
    },
    /** Gives the page what was kept from it. */
    release() {
      for (const gate of gates.values()) gate.release();
      gates.clear();
    },
    /** From now on timers run at multiples of so many milliseconds, as in a hidden window. */
    throttle(ms) {
      throttle = ms;
    },
  };
})();
