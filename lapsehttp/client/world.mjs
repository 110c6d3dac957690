// A world for the tests: one server, one browser with any number of windows,
// and a time that moves only when a test says so. Nothing here waits for real.

import { setMaxListeners } from 'node:events';
import { watch } from './client.js';

/** An EventTarget whose events are plain objects, so that isTrusted can be told. */
class Target {
  listeners = new Map();
  addEventListener(type, f, { signal } = {}) {
    if (!this.listeners.has(type)) this.listeners.set(type, new Set());
    this.listeners.get(type).add(f);
    if (!signal) return;
    setMaxListeners(0, signal);
    signal.addEventListener('abort', () => this.removeEventListener(type, f));
  }
  removeEventListener(type, f) {
    this.listeners.get(type)?.delete(f);
  }
  fire(type, event = {}) {
    for (const f of [...(this.listeners.get(type) ?? [])]) f({ type, isTrusted: true, ...event });
  }
}

/** Lets everything run that waits for a promise and not for the time. */
async function settle() {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * The server of one session, by its own clock: `ahead` is what that is ahead of
 * the true time. Idle, lifetime and cap as in the engine; 0 is none.
 */
class Server {
  constructor(world, { idle = 900_000, lifetime = 0, warn = 0, ahead = 1_700_000_000_000, latency = 0 } = {}) {
    Object.assign(this, { world, idle, lifetime, warn, ahead, latency });
    this.lag = {}; // by path: how long after its cookies a response is there
    this.requests = [];
    this.elsewhere = []; // those that other sites got
    this.cookies = {};
    this.streams = new Set();
    this.reachable = true;
    this.routes = {};
    this.login = '/login';
    this.session = null;
  }
  now() { return this.world.time + this.ahead; }
  start() {
    this.session = { started: this.world.time, seen: this.world.time };
    this.setCookies();
    this.streamed = undefined;
  }
  end(reason) {
    if (!this.session) return;
    this.ended = { reason, endedAt: this.now(), login: this.login };
    this.session = null;
    for (const stream of [...this.streams]) stream.push('ended', this.ended);
  }
  /** The true time of the end, and its reason. */
  limit() {
    const s = this.session;
    const limits = [];
    if (this.lifetime) limits.push([s.started + this.lifetime, 'lifetime']);
    if (this.idle) limits.push([s.seen + this.idle, 'idle']);
    limits.sort((a, b) => a[0] - b[0]);
    return limits[0] ?? [Infinity, ''];
  }
  reap() {
    if (!this.session) return;
    const [at, reason] = this.limit();
    if (this.world.time >= at) this.end(reason);
  }
  touch() {
    this.session.seen = this.world.time;
    this.setCookies();
    const status = JSON.stringify(this.status());
    for (const stream of this.streams) stream.push('extended', status);
  }
  /** Cookies as of now. They reach the browser with the response that is made, else at once. */
  setCookies() {
    const jar = { ...this.cookies };
    jar.serverTime = String(this.now());
    if (!this.session) {
      jar.sessionExpiry = jar.serverTime;
    } else if (this.limit()[0] === Infinity) {
      delete jar.sessionExpiry;
    } else {
      jar.sessionExpiry = String(this.limit()[0] + this.ahead);
    }
    this.cookies = jar;
    if (!this.answering) this.deliver(jar);
  }
  deliver(jar) {
    this.world.jar = { ...jar };
    for (const w of this.world.windows) if (!w.gone) w.env.cookieStore?.fire('change');
  }
  status() {
    this.reap();
    const base = { serverTime: this.now(), warnMs: this.warn, idleMs: this.idle };
    if (!this.session) return this.ended ? { ...base, state: 'ended', ...this.ended } : { ...base, state: 'none', login: this.login };
    const [at, limit] = this.limit();
    if (at === Infinity) return { ...base, state: 'live' };
    return { ...base, state: 'live', expiresAt: at + this.ahead, remainingMs: at - this.world.time, limit };
  }
  refuse() {
    const headers = { 'Content-Type': 'application/json' };
    let body = { success: false, error: 'NOT_LOGGED_IN', login: this.login };
    if (this.ended) {
      // Only who came with an id hears of its end.
      this.setCookies();
      headers['X-Session-Expires-In'] = '0';
      body = { success: false, error: 'SESSION_TIMEOUT', ...this.ended };
    }
    return new Response(JSON.stringify(body), { status: 401, headers });
  }
  live(body, init) {
    this.setCookies();
    const rest = this.limit()[0] - this.world.time;
    return new Response(body, { ...init, headers: rest === Infinity ? {} : { 'X-Session-Expires-In': String(rest) } });
  }
  async answer(window, resource, init = {}) {
    const { origin, pathname: path } = new URL(resource.url ?? resource, window.env.document.baseURI);
    const headers = new Headers(init.headers ?? resource.headers);
    const request = { path, at: this.world.time, window: window.name, activity: headers.get('X-Session-Activity'), method: init.method ?? resource.method ?? 'GET' };
    if (origin !== window.env.location.origin) {
      this.elsewhere.push(request);
      return new Response('no', { status: 404 });
    }
    this.requests.push(request);
    if (!this.reachable) {
      await this.world.sleep(this.latency);
      throw new TypeError('Failed to fetch');
    }
    await this.world.sleep(this.latency / 2);
    this.reap();
    this.answering = true;
    const before = this.cookies;
    const response = this.respond(path, request);
    this.answering = false;
    const after = this.cookies;
    await this.world.sleep(this.latency / 2);
    if (after !== before) this.deliver(after);
    await this.world.sleep(this.lag[path] ?? 0);
    return response;
  }
  respond(path, request) {
    if (this.routes[path]) return this.routes[path](request);
    if (path === '/session/status') {
      const status = this.status();
      if (this.session) this.setCookies();
      return new Response(JSON.stringify(status));
    }
    if (path === '/session/logout') {
      this.end('expired');
      this.setCookies();
      return new Response(null, { status: 204 });
    }
    if (!this.session) return this.refuse();
    if (path === '/session/keepalive') {
      this.touch();
      return this.live(null, { status: 204 });
    }
    if (!request.activity) this.touch();
    else if (request.activity === 'poll') this.touch();
    return this.live('{}');
  }
  count(path) { return this.requests.filter((r) => r.path === path).length; }
}

/** One browser and the server it talks to. */
export class World {
  time = 0;
  jar = {};
  store = new Map();
  windows = [];
  channels = new Set();
  queue = [];
  lock = { holder: null, waiting: [] };
  serial = 0;

  constructor(options = {}) {
    this.options = { channel: true, locks: true, storage: true, cookieStore: false, ...options };
    this.server = new Server(this, options.server);
  }

  at(time, f, window) {
    const item = { time, f, window, serial: this.serial++ };
    this.queue.push(item);
    return item;
  }
  sleep(ms) {
    return ms <= 0 ? Promise.resolve() : new Promise((resolve) => this.at(this.time + ms, resolve));
  }

  /** Lets `ms` pass, running whatever falls due, in order. */
  async run(ms) {
    const until = this.time + ms;
    await settle();
    for (;;) {
      const runnable = this.queue.filter((i) => i.time <= until && !i.window?.asleep);
      if (!runnable.length) break;
      runnable.sort((a, b) => a.time - b.time || a.serial - b.serial);
      const next = runnable[0];
      this.queue.splice(this.queue.indexOf(next), 1);
      this.time = Math.max(this.time, next.time);
      next.f();
      await settle();
    }
    this.time = until;
  }

  /** Time passes and nothing runs: the machine sleeps. `counts` says whether its monotonic clock goes on. */
  sleepMachine(ms, counts = true) {
    this.time += ms;
    if (!counts) for (const w of this.windows) w.lost += ms;
  }

  open(name, options, { start = true, ...rest } = {}) {
    const w = new Window(this, name, rest);
    this.windows.push(w);
    if (start) w.start(options);
    return w;
  }
}

/** One window, and what happened in it. */
class Window {
  events = [];
  lost = 0; // what its monotonic clock missed
  set = 0; // how far somebody has moved the clock of the device
  asleep = false;
  throttle = 1; // timers fire at whole multiples of this only
  assigned = [];

  constructor(world, name, { path = '/page', clock = 0, forms = [], fromNetwork = true } = {}) {
    Object.assign(this, { world, name });
    const w = this;
    const server = world.server;
    const document = Object.assign(new Target(), {
      visibilityState: 'visible',
      baseURI: 'https://site.test' + path,
      querySelectorAll: () => forms.filter((form) => form.draft != null),
    });
    Object.defineProperty(document, 'cookie', {
      get: () => Object.entries(world.jar).map(([k, v]) => `${k}=${v}`).join('; '),
    });
    const shared = world.store;
    const own = new Map();
    const storage = (map, tell) => ({
      getItem: (key) => map.get(key) ?? null,
      setItem: (key, value) => {
        map.set(key, value);
        if (tell) world.tellStorage(w, key, value);
      },
      removeItem: (key) => map.delete(key),
    });
    this.session = null;
    this.own = own;
    /** What the client takes for the window. */
    this.env = Object.assign(new Target(), {
      // The page was opened when the device's clock said so.
      performance: {
        timeOrigin: 1_500_000_000_000 + clock,
        now: () => world.time - w.lost,
        getEntriesByType: () => [{ type: 'navigate', transferSize: fromNetwork ? 1000 : 0 }],
      },
      Date: { now: () => world.time + 1_500_000_000_000 + clock + w.set },
      setTimeout: (f, ms) => {
        const at = Math.ceil((world.time + Math.max(0, ms)) / w.throttle) * w.throttle;
        return world.at(at, f, w);
      },
      clearTimeout: (item) => {
        const i = world.queue.indexOf(item);
        if (i >= 0) world.queue.splice(i, 1);
      },
      fetch: (resource, init) => server.answer(w, resource, init),
      Request: class extends Request {
        constructor(resource, init) {
          super(resource.url ? resource : new URL(resource, document.baseURI), init);
        }
      },
      document,
      location: { href: 'https://site.test' + path, origin: 'https://site.test', pathname: path, assign: (to) => w.assigned.push(to) },
      navigator: { locks: world.options.locks ? locks(world, w) : undefined },
      localStorage: world.options.storage ? storage(shared, true) : undefined,
      sessionStorage: storage(own),
      BroadcastChannel: world.options.channel ? channel(world, w) : undefined,
      EventSource: eventSource(world, w),
      cookieStore: world.options.cookieStore ? Object.assign(new Target(), { get: async () => null }) : undefined,
    });
  }
  start(options = {}) {
    this.session = watch(options, this.env);
    for (const type of ['warning', 'extended', 'ended', 'error']) {
      this.session.addEventListener(type, (e) => this.events.push({ type, at: this.world.time, ...e.detail }));
    }
    return this;
  }
  of(type) { return this.events.filter((e) => e.type === type); }
  types() { return this.events.map((e) => e.type).filter((t) => t !== 'error').join(' '); }
  input(type = 'keydown', event) { this.env.fire(type, event); }
  show(visible = true) {
    this.env.document.visibilityState = visible ? 'visible' : 'hidden';
    this.env.document.fire('visibilitychange');
    return this;
  }
  /** The tab is closed, or crashes. */
  close(crash) {
    if (!crash) this.env.fire('pagehide', { persisted: false });
    this.asleep = true;
    this.gone = true;
    for (const c of [...this.world.channels]) if (c.window === this) this.world.channels.delete(c);
    if (this.world.lock.holder?.window === this) this.world.lock.holder.release();
  }
}

World.prototype.tellStorage = function tellStorage(from, key, newValue) {
  for (const w of this.windows) {
    if (w !== from && !w.gone) this.at(this.time, () => w.env.fire('storage', { key, newValue }));
  }
};

function channel(world, window) {
  return class {
    constructor(name) {
      Object.assign(this, { name, window });
      world.channels.add(this);
    }
    postMessage(data) {
      if (!world.channels.has(this)) throw new Error('InvalidStateError: the channel is closed');
      const copy = structuredClone(data);
      for (const c of world.channels) {
        if (c !== this && c.name === this.name) {
          // A window that sleeps gets its messages when it wakes.
          world.at(world.time, () => world.channels.has(c) && c.onmessage?.({ data: copy }), c.window);
        }
      }
    }
    close() { world.channels.delete(this); }
  };
}

function locks(world, window) {
  const lock = world.lock;
  const grant = () => {
    if (lock.holder || !lock.waiting.length) return;
    lock.holder = lock.waiting.shift();
    lock.holder.begin();
  };
  return {
    request: (name, options, f) =>
      new Promise((resolve, reject) => {
        const entry = {
          window,
          begin: () => {
            Promise.resolve(f({ name })).then((value) => {
              if (lock.holder === entry) entry.release();
              resolve(value);
            });
          },
          release: () => {
            lock.holder = null;
            world.at(world.time, grant);
          },
          steal: () => {
            lock.holder = null;
            reject(new DOMException('stolen', 'AbortError'));
          },
        };
        options.signal?.addEventListener('abort', () => {
          const i = lock.waiting.indexOf(entry);
          if (i < 0) return;
          lock.waiting.splice(i, 1);
          reject(new DOMException('aborted', 'AbortError'));
        });
        if (options.steal) {
          lock.holder?.steal();
          lock.waiting.unshift(entry);
        } else {
          lock.waiting.push(entry);
        }
        world.at(world.time, grant);
      }),
  };
}

function eventSource(world, window) {
  return class extends Target {
    readyState = 0;
    constructor(url) {
      super();
      const server = world.server;
      server.requests.push({ path: new URL(url).pathname, at: world.time, window: window.name });
      this.window = window;
      world.at(world.time, () => {
        if (this.readyState === 2) return;
        if (!server.reachable || !server.session || server.noStream) {
          this.readyState = 2;
          this.fire('error');
          return;
        }
        this.readyState = 1;
        server.streams.add(this);
        this.fire('open');
        this.push('extended', server.status());
      });
    }
    push(type, data) {
      const text = typeof data === 'string' ? data : JSON.stringify(data);
      world.at(world.time, () => this.readyState === 1 && this.fire(type, { data: text }));
    }
    close() {
      this.readyState = 2;
      world.server.streams.delete(this);
    }
  };
}
