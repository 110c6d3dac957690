// The client as a whole: windows, a server and a clock of the test's own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fetch as sessionFetch, watch } from './client.js';
import { World } from './world.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A world with a live session and one window that has got its first status. */
async function begin(options, worldOptions, windowOptions) {
  const world = new World(worldOptions);
  world.server.start();
  const a = world.open('a', options, windowOptions);
  await world.run(0);
  return { world, server: world.server, a };
}

/** Posts to a window what another one might. */
function tell(w, message) {
  new w.env.BroadcastChannel('lapse:/session/').postMessage(message);
}

test('case=103 the offset is the local clock minus the server\'s', async () => {
  // The device and the server begin at different times; what is between them is the offset.
  for (const clock of [5000, -5000, 0]) {
    const { server, a } = await begin({}, { server: { ahead: 1_500_000_000_000 } }, { clock });
    assert.equal(a.session.offset, clock);
    assert.equal(a.env.Date.now() - a.session.offset, server.now());
  }
});

test('case=104 expired after the grace, not at it', async () => {
  const { world, server, a } = await begin({ keepAlive: false });
  server.reachable = false;
  await world.run(900_000 + 15_000);
  assert.equal(a.of('ended').length, 0, 'at equality');
  await world.run(1);
  assert.equal(a.of('ended').length, 1);
  assert.equal(a.of('ended')[0].confirmed, false);
});

test('case=105 the end is noticed within 25 s, and at once if the server can be asked', async () => {
  const off = await begin();
  off.server.reachable = false;
  await off.world.run(900_000 + 25_000);
  assert.equal(off.a.of('ended').length, 1);

  const up = await begin();
  await up.world.run(900_001);
  assert.deepEqual(up.a.of('ended').map((e) => [e.reason, e.confirmed]), [['idle', true]]);
});

test('case=105 it looks at the cookies every 10 s', async () => {
  const { world, server, a } = await begin();
  await world.run(25_000);
  const before = a.session.expiresAt;
  server.touch(); // some request of the page's own
  await world.run(10_000);
  assert.equal(a.session.expiresAt, before + 25_000);
});

for (const [name, clock] of [
  ['case=106 an hour behind', -HOUR],
  ['case=106 an hour ahead', HOUR],
  ['case=107 a year behind', -365 * 24 * HOUR],
  ['case=107 a year ahead', 365 * 24 * HOUR],
]) {
  test(`${name}: warned and ended on time`, async () => {
    for (const reachable of [true, false]) {
      const { world, server, a } = await begin({}, { server: { ahead: 1_500_000_000_000 } }, { clock });
      server.reachable = reachable;
      await world.run(839_999);
      assert.equal(a.types(), '');
      await world.run(1);
      assert.equal(a.types(), 'warning');
      await world.run(60_000 + 25_000);
      assert.equal(a.types(), 'warning ended');
    }
  });
}

test('case=108 the warning comes a minute before the end, once, and never after it', async () => {
  const { world, a } = await begin();
  await world.run(HOUR);
  assert.deepEqual(a.of('warning').map((e) => [e.at, e.remaining, e.extendable, e.limit]), [[840_000, 60_000, true, 'idle']]);
  assert.equal(a.types(), 'warning ended');
});

test('case=108 no warning if the page hears of the end after it', async () => {
  const { world, server, a } = await begin();
  server.reachable = false;
  a.asleep = true;
  await world.run(905_000);
  a.asleep = false;
  a.show();
  await world.run(HOUR);
  assert.equal(a.types(), 'ended');
});

test('case=108 the server says how long before', async () => {
  const { world, a } = await begin({}, { server: { warn: 120_000 } });
  await world.run(HOUR);
  assert.equal(a.of('warning')[0].at, 780_000);
});

test('case=109 a request in one window ends the warning in another', async () => {
  for (const channel of [true, false]) {
    const { world, a } = await begin({}, { channel, storage: channel });
    const b = world.open('b');
    await world.run(850_000);
    assert.equal(a.types(), 'warning');
    await b.session.fetch('/data');
    // With a channel at once, without one at the next check.
    await world.run(channel ? 0 : 10_000);
    assert.equal(a.types(), 'warning extended');
    assert.equal(a.session.state, 'live');
    assert.ok(a.of('extended')[0].remaining >= 890_000);
  }
});

test('case=109 changes of the cookies are seen at once where the browser tells of them', async () => {
  const { world, server, a } = await begin({}, { cookieStore: true, channel: false, storage: false });
  await world.run(850_000);
  assert.equal(a.types(), 'warning');
  server.touch();
  await world.run(0);
  assert.equal(a.types(), 'warning extended');
  server.end('expired');
  server.setCookies();
  await world.run(0);
  assert.equal(a.types(), 'warning extended ended');
});

test('case=113 a browser that tells of a change before it shows it', async () => {
  const { world, server, a } = await begin({}, { cookieStore: true });
  const asked = server.count('/session/status');
  a.env.cookieStore.fire('change');
  delete world.jar.sessionExpiry;
  await world.run(1000);
  assert.equal(server.count('/session/status'), asked + 1);
});

test('a status whose cookies are a moment younger than its body counts', async () => {
  const { world, server, a } = await begin({}, { cookieStore: true });
  const status = server.status;
  server.status = () => {
    const { serverTime, ...rest } = status.call(server);
    return { ...rest, serverTime: serverTime - 3 };
  };
  await world.run(1000);
  server.warn = 300_000;
  a.env.fire('pageshow', { persisted: true });
  await world.run(599_010);
  assert.equal(a.types(), 'warning');
});

test('case=110 a log-out in one window reaches the others', async () => {
  for (const [channel, within] of [[true, 0], [false, 25_000]]) {
    const { world, server, a } = await begin({}, { channel, storage: false });
    const b = world.open('b');
    await world.run(60_000);
    await a.session.logout();
    await world.run(within);
    assert.equal(server.session, null);
    for (const w of [a, b]) {
      assert.deepEqual(w.of('ended').map((e) => [e.reason, e.confirmed]), [['expired', true]], w.name);
    }
  }
});

test('case=110 a log-out without the client is seen in the cookies', async () => {
  const { world, server, a } = await begin();
  await world.run(61_000);
  server.end('expired');
  server.setCookies();
  await world.run(10_000);
  assert.equal(a.types(), 'ended');
});

test('case=112 a stale cookie at load gives no offset', async () => {
  const world = new World();
  world.server.start();
  world.server.latency = 100;
  // The page comes out of a cache: its cookies are two hours old.
  world.jar.serverTime = String(world.server.now() - 2 * HOUR);
  world.jar.sessionExpiry = String(world.server.now() - 2 * HOUR + 900_000);
  const a = world.open('a', {}, { fromNetwork: false });
  assert.ok(Number.isNaN(a.session.offset));
  await world.run(200);
  assert.equal(a.session.state, 'live');
  const error = a.env.Date.now() - a.session.offset - world.server.now();
  assert.ok(Math.abs(error) <= 100, `off by ${error}`);
  await world.run(800_000);
  assert.equal(a.types(), '');
});

test('case=112 out of the back-forward cache the server is asked', async () => {
  const { world, server, a } = await begin();
  a.env.fire('pagehide', { persisted: true });
  a.show(false); // as browsers do then
  a.show();
  await world.run(0);
  assert.equal(world.channels.size, 0, 'or it could not be kept in the cache');
  assert.equal(world.lock.holder, null);
  const asked = server.count('/session/status');
  await world.run(HOUR);
  assert.equal(server.count('/session/status'), asked, 'a page in the cache is still');
  server.start();
  a.env.fire('pageshow', { persisted: true });
  await world.run(0);
  assert.equal(server.count('/session/status'), asked + 1);
  assert.equal(a.session.state, 'live');
  assert.equal(a.env.Date.now() - a.session.offset, server.now());
});

test('case=112 without a status endpoint, cookies that came with the page will do', async () => {
  const make = async (fromNetwork) => {
    const world = new World();
    world.server.start();
    world.server.routes['/session/status'] = () => new Response('no', { status: 404 });
    await world.run(1000);
    const a = world.open('a', {}, { fromNetwork });
    await world.run(900_000 + 25_000);
    return a;
  };
  assert.equal((await make(true)).types(), 'warning ended');
  assert.equal((await make(false)).types(), '', 'but not those of a page out of a cache');
});

test('case=113 a cookie that is missing or no number means one question and no end', async () => {
  for (const bad of [undefined, 'abc', '', '-1', '1e99', 'null', '12.5']) {
    const { world, server, a } = await begin();
    const asked = server.count('/session/status');
    // A server that says nothing more in cookies.
    server.setCookies = () => {};
    if (bad === undefined) delete world.jar.sessionExpiry;
    else world.jar.sessionExpiry = bad;
    await world.run(MINUTE);
    assert.equal(server.count('/session/status'), asked + 1, String(bad));
    assert.equal(server.requests.at(-1).activity, 'peek');
    assert.equal(a.types(), '');
    assert.equal(a.session.state, 'live');
  }
});

test('case=113 one question at load, also where the browser tells of each cookie', async () => {
  for (const latency of [0, 40]) {
    const world = new World({ cookieStore: true, server: { latency } });
    world.server.start();
    world.open('a');
    await world.run(60_000);
    assert.equal(world.server.count('/session/status'), 1);
  }
});

test('case=113 missing from the start', async () => {
  const world = new World();
  world.server.start();
  world.server.setCookies = () => {};
  world.jar = {};
  const a = world.open('a');
  assert.equal(a.session.state, 'unknown');
  await world.run(MINUTE);
  assert.equal(a.session.state, 'live');
  assert.equal(world.server.count('/session/status'), 1);
});

test('a session without any limit stays live', async () => {
  const { world, a, server } = await begin({}, { server: { idle: 0 } });
  await world.run(40 * 24 * HOUR);
  assert.equal(a.session.state, 'live');
  assert.equal(a.session.remaining, Infinity);
  assert.equal(server.requests.length, 1);
  assert.equal(a.types(), '');
});

for (const event of ['visibilitychange', 'focus', 'pageshow', 'online', 'timer', 'input']) {
  test(`case=117 after a sleep over the end, ${event} shows it`, async () => {
    const { world, server, a } = await begin({ keepAlive: false });
    await world.run(MINUTE);
    server.reachable = false; // and the network is not back yet
    world.sleepMachine(2 * HOUR);
    assert.equal(a.types(), '');
    if (event === 'timer') await world.run(0);
    else if (event === 'visibilitychange') a.show();
    else if (event === 'input') a.input();
    else a.env.fire(event);
    // Before anything else runs.
    assert.equal(a.types(), 'ended');
    assert.equal(a.of('ended')[0].confirmed, false);
    await world.run(0);
    server.reachable = true;
    a.env.fire('online');
    await world.run(0);
    assert.equal(a.types(), 'ended', 'told once');
    assert.equal(a.session.ended.confirmed, true);
  });
}

test('case=117 a sleep that the monotonic clock did not count', async () => {
  const { world, a } = await begin();
  world.sleepMachine(2 * HOUR, false);
  a.show();
  await world.run(0);
  assert.equal(a.types(), 'ended');
  assert.equal(a.of('ended')[0].confirmed, true);
});

test('an end that the server does not know of is taken back', async () => {
  const { world, server, a } = await begin();
  server.idle = 4 * HOUR; // somebody gave the session more time
  server.reachable = false;
  await world.run(900_000 + 15_001);
  assert.equal(a.types(), 'warning ended');
  server.reachable = true;
  a.env.fire('online');
  await world.run(0);
  assert.equal(a.types(), 'warning ended extended');
  assert.equal(a.of('extended')[0].again, false);
  assert.equal(a.session.state, 'live');
});

test('the server is asked before the page says that it has ended', async () => {
  const { world, server, a } = await begin();
  server.idle = HOUR; // behind the page's back
  await world.run(HOUR - 1);
  assert.equal(a.of('ended').length, 0);
  await world.run(1);
  assert.equal(a.of('ended').length, 1);
});

test('case=118 a hidden window with one timer a minute', async () => {
  const { world, server, a } = await begin();
  a.show(false);
  a.throttle = MINUTE;
  await world.run(10 * MINUTE);
  server.touch();
  await world.run(30 * MINUTE - 10 * MINUTE);
  // 30 minutes on, the session ends at 25: known by the next timer at the latest.
  assert.equal(a.types(), 'extended warning ended');
  assert.ok(a.of('ended')[0].at <= 26 * MINUTE);
});

test('case=118 no drift of the countdown', async () => {
  const { world, server, a } = await begin({}, { server: { idle: HOUR } });
  a.show(false);
  a.throttle = MINUTE;
  await world.run(30 * MINUTE + 12_345);
  a.show();
  assert.equal(a.session.remaining, HOUR - 30 * MINUTE - 12_345);
  assert.equal(server.session.seen, 0);
});

test('case=119 waking inside the warning shows what is left', async () => {
  for (const reachable of [true, false]) {
    const { world, server, a } = await begin();
    world.sleepMachine(875_000);
    server.reachable = reachable;
    a.show();
    await world.run(0);
    assert.deepEqual(a.of('warning').map((e) => e.remaining), [25_000]);
  }
});

test('case=120 a clock that is moved does no harm', async () => {
  for (const by of [HOUR, -HOUR]) {
    for (const reachable of [true, false]) {
      const { world, server, a } = await begin();
      await world.run(MINUTE);
      server.reachable = reachable;
      a.set = by;
      await world.run(0);
      a.env.fire('focus');
      await world.run(5 * MINUTE);
      assert.equal(a.types(), '');
      assert.equal(a.session.remaining, 540_000);
      if (reachable) assert.equal(server.count('/session/status'), 2, 'it asked once');
      // The offset says it as the device has it now.
      assert.equal(a.env.Date.now() - a.session.offset, server.now());
    }
  }
});

test('case=120 the server\'s clock is moved', async () => {
  for (const by of [HOUR, -HOUR]) {
    const { world, server, a } = await begin();
    await world.run(MINUTE);
    server.ahead += by;
    await a.session.fetch('/data');
    await world.run(10_000);
    assert.equal(a.types(), 'extended');
    assert.equal(a.session.remaining, 890_000);
    // And by cookies alone, of requests that nobody told of.
    server.ahead -= by;
    server.touch();
    await world.run(10_000);
    assert.equal(a.session.state, 'live');
    assert.equal(a.session.remaining, 890_000);
  }
});

for (const [name, options] of [
  ['locks', {}],
  ['an election by channel', { locks: false }],
  ['an election by storage', { locks: false, channel: false }],
]) {
  test(`case=121 one keep-alive a quarter for five busy windows, by ${name}`, async () => {
    const world = new World(options);
    world.server.start();
    const windows = ['a', 'b', 'c', 'd', 'e'].map((n) => world.open(n));
    await world.run(3000);
    let x = 0;
    // 500 events a second would be as many as 2000 in four seconds: a burst each.
    for (let s = 0; s < 900; s += 4) {
      for (const w of windows) for (let i = 0; i < 20; i++) w.input('pointermove', { screenX: ++x, screenY: 0 });
      await world.run(4000);
    }
    const pings = world.server.requests.filter((r) => r.path === '/session/keepalive');
    assert.ok(pings.length >= 3 && pings.length <= 4, `${pings.length} in 15 minutes`);
    for (let i = 1; i < pings.length; i++) assert.ok(pings[i].at - pings[i - 1].at >= 225_000);
    for (const w of windows) assert.equal(w.of('warning').length, 0);
    assert.equal(windows.filter((w) => w.session.leads).length, 1, 'one leader');
  });

  test(`case=122 the leader's window closes, by ${name}`, async () => {
    for (const crash of [false, true]) {
      const world = new World(options);
      world.server.start();
      const windows = ['a', 'b', 'c'].map((n) => world.open(n));
      await world.run(5000);
      const leader = windows.find((w) => w.session.leads);
      const rest = windows.filter((w) => w !== leader);
      leader.close(crash);
      await world.run(3000);
      assert.equal(rest.filter((w) => w.session.leads).length, 1);
      await world.run(300_000);
      rest[0].input();
      rest[1].input();
      await world.run(3000);
      assert.equal(world.server.count('/session/keepalive'), 1);
      assert.ok(rest.every((w) => w.session.remaining > 890_000));
    }
  });
}

test('case=121 also where a lifetime keeps the end from moving', async () => {
  for (const locks of [true, false]) {
    const world = new World({ locks, server: { lifetime: 1_000_000 } });
    world.server.start();
    const windows = ['a', 'b', 'c'].map((n) => world.open(n));
    await world.run(150_000);
    await windows[0].session.fetch('/data');
    world.server.latency = 500;
    // The two that do not lead are busy.
    for (let s = 0; s < 800; s += 4) {
      for (const w of windows.slice(1)) w.input();
      await world.run(4000);
    }
    const pings = world.server.requests.filter((r) => r.path === '/session/keepalive');
    assert.ok(pings.length >= 3, `${pings.length}`);
    for (let i = 1; i < pings.length; i++) assert.ok(pings[i].at - pings[i - 1].at >= 225_000);
    // A window that has come since does not know of the last one.
    const d = world.open('d');
    await world.run(3000);
    const before = world.server.count('/session/keepalive');
    for (let s = 0; s < 6; s++) {
      d.input();
      await world.run(1000);
    }
    assert.equal(world.server.count('/session/keepalive'), before);
  }
});

test('case=121 a slow server is no leader that sleeps', async () => {
  const world = new World();
  world.server.start();
  const a = world.open('a');
  await world.run(1000);
  const b = world.open('b');
  await world.run(300_000);
  world.server.latency = 3000;
  for (let s = 0; s < 10; s++) {
    b.input();
    await world.run(1000);
  }
  assert.equal(world.server.count('/session/keepalive'), 1);
  assert.ok(a.session.leads);
});

test('a leader that sleeps is replaced when it is needed', async () => {
  for (const locks of [true, false]) {
    const world = new World({ locks });
    world.server.start();
    const a = world.open('a');
    await world.run(3000);
    assert.ok(a.session.leads);
    const b = world.open('b');
    await world.run(3000);
    a.show(false);
    a.asleep = true; // and its lock is still held
    await world.run(300_000);
    b.input();
    await world.run(5000);
    assert.equal(world.server.count('/session/keepalive'), 1);
    assert.ok(b.session.leads);
    assert.ok(b.session.remaining > 890_000);
    a.asleep = false;
    a.show();
    await world.run(3000);
    assert.equal([a, b].filter((w) => w.session.leads).length, 1);
  }
});

test('a leader that hears and whose requests do not leave is replaced, too', async () => {
  for (const locks of [true, false]) {
    const world = new World({ locks, server: { lifetime: 3_600_000 } });
    world.server.start();
    const a = world.open('a');
    await world.run(3000);
    const b = world.open('b');
    await world.run(300_000);
    assert.ok(a.session.leads);
    // Frozen: its messages come, its timers and requests stand still.
    a.env.document.visibilityState = 'hidden';
    a.env.fetch = () => new Promise(() => {});
    a.throttle = HOUR;
    const c = world.open('c');
    await world.run(1000);
    for (let s = 0; s < 6; s++) {
      b.input();
      if (s === 2) c.input();
      await world.run(1000);
    }
    assert.equal(world.server.count('/session/keepalive'), 1);
    assert.equal(world.server.requests.at(-1).window, 'b');
    await world.run(100_000);
    b.input();
    await world.run(1000);
    assert.equal(world.server.count('/session/keepalive'), 1);
  }
});

test('a status of before a log-in is no end of the new session', async () => {
  const { world, server, a } = await begin();
  const b = world.open('b');
  await world.run(1000);
  server.end('expired');
  server.latency = 4000;
  a.env.fire('pageshow', { persisted: true }); // answered at 3 s, heard at 5 s
  await world.run(2500);
  server.latency = 0;
  server.start();
  b.env.fire('pageshow', { persisted: true });
  await world.run(MINUTE);
  for (const w of [a, b]) assert.deepEqual([w.session.state, w.of('ended').length], ['live', 0], w.name);
});

test('keep-alives only after real input in a visible window', async () => {
  const { world, server, a } = await begin();
  await world.run(400_000);
  a.input('keydown', { isTrusted: false });
  a.input('scroll');
  a.input('pointermove', { screenX: 5, screenY: 5 });
  a.input('pointermove', { screenX: 5, screenY: 5 });
  a.show(false);
  a.input('keydown');
  a.show();
  a.session.asking = true;
  a.input('keydown');
  a.session.asking = false;
  await world.run(20_000);
  assert.equal(server.count('/session/keepalive'), 0);
  a.input('pointermove', { screenX: 6, screenY: 5 });
  await world.run(0);
  assert.equal(server.count('/session/keepalive'), 1);
  await world.run(400_000);
  a.input('wheel');
  await world.run(0);
  assert.equal(server.count('/session/keepalive'), 2);
  const quiet = await begin({ keepAlive: false });
  await quiet.world.run(400_000);
  quiet.a.input();
  await quiet.world.run(20_000);
  assert.equal(quiet.server.count('/session/keepalive'), 0);
});

test('input soon after the session was seen is sent when a quarter has passed', async () => {
  const { world, server, a } = await begin();
  await world.run(10_000);
  a.input();
  await world.run(214_999);
  assert.equal(server.count('/session/keepalive'), 0);
  await world.run(1);
  assert.equal(server.count('/session/keepalive'), 1);
  await world.run(800_000);
  assert.equal(server.count('/session/keepalive'), 1, 'and no more without input');
});

test('whileOpen keeps a session alive twice a time-out, hidden or not', async () => {
  const { world, server, a } = await begin({ whileOpen: true }, { server: { idle: 300_000 } });
  a.show(false);
  a.throttle = MINUTE;
  await world.run(HOUR);
  assert.equal(a.types().includes('warning'), false);
  assert.ok(server.session);
  const n = server.count('/session/keepalive');
  assert.ok(n >= 20 && n <= 24, `${n} in an hour`);
});

test('whileOpen never warns', async () => {
  for (const [idle, warn] of [[20_000, 10_000], [20_000, 0], [8000, 0], [60_000, 40_000], [900_000, 0]]) {
    for (const latency of [0, 50]) {
      const { world, server, a } = await begin({ whileOpen: true }, { server: { idle, warn, latency }, cookieStore: true });
      const b = world.open('b', { whileOpen: true });
      await world.run(10 * idle);
      assert.ok(server.session);
      for (const w of [a, b]) assert.equal(w.of('warning').length, 0, `${idle} ${warn}`);
      assert.ok(server.count('/session/keepalive') <= 40);
    }
  }
});

test('whileOpen works in a window that is not the leader', async () => {
  const { world, server, a } = await begin({}, { server: { idle: 300_000 } });
  world.open('b', { whileOpen: true, keepAlive: false });
  await world.run(HOUR);
  assert.ok(a.session.leads);
  assert.ok(server.session);
  assert.ok(server.count('/session/keepalive') <= 24);
});

test('case=123 a warning can be answered again and again', async () => {
  const { world, a } = await begin();
  for (let i = 0; i < 12; i++) {
    await world.run(850_000);
    assert.equal(a.session.state, 'warning');
    assert.equal(await a.session.extend(), true);
    assert.equal(a.session.state, 'live');
  }
  assert.equal(a.of('warning').length, 12);
  assert.equal(a.of('extended').length, 12);
});

test('case=123 a warning gives at least 20 s', async () => {
  const { world, a } = await begin({ warn: 5000 });
  await world.run(900_000);
  assert.equal(a.of('warning')[0].remaining, 20_000);
});

test('case=124 a lifetime cannot be extended, and the warning says so', async () => {
  const { world, server, a } = await begin({}, { server: { lifetime: 1_000_000 } });
  await world.run(850_000);
  assert.deepEqual(a.of('warning').map((e) => [e.extendable, e.limit]), [[true, 'idle']]);
  assert.equal(await a.session.extend(), true);
  await world.run(100_000);
  assert.deepEqual(a.of('warning').map((e) => [e.extendable, e.limit]), [[true, 'idle'], [false, 'lifetime']]);
  assert.equal(a.session.extendable, false);
  assert.equal(await a.session.extend(), false);
  await world.run(60_000);
  assert.equal(a.of('ended')[0].reason, 'lifetime');
  assert.equal(server.session, null);
});

test('case=124 where the next poll would be one too many, none is sent', async () => {
  for (const whileOpen of [false, true]) {
    const world = new World();
    const { server } = world;
    const { limit } = server;
    server.limit = () => [limit.call(server)[0], 'poll max'];
    server.start();
    const a = world.open('a', { whileOpen });
    await world.run(850_000);
    assert.deepEqual(a.of('warning').map((e) => [e.extendable, e.limit]), [[false, 'poll max']]);
    a.input();
    await world.run(1000);
    assert.equal(a.session.extendable, false);
    assert.equal(await a.session.extend(), false);
    assert.equal(server.count('/session/keepalive'), 0);
    // A touch makes room for polls.
    server.limit = limit;
    await a.session.fetch('/data');
    await world.run(0);
    assert.equal(a.session.extendable, true);
    await world.run(300_000);
    a.input();
    await world.run(0);
    assert.equal(server.count('/session/keepalive'), 1);
  }
});

test('case=124 a warning of the time-out becomes one of the lifetime', async () => {
  const { world, a } = await begin({}, { server: { lifetime: 905_000 } });
  await world.run(850_000);
  await a.session.fetch('/data');
  await world.run(0);
  assert.equal(a.types(), 'warning extended warning');
  assert.deepEqual(a.of('warning').map((e) => [e.extendable, e.limit]), [[true, 'idle'], [false, 'lifetime']]);
});

test('case=124 the server is asked anew when the end has moved', async () => {
  const { world, server, a } = await begin({}, { server: { lifetime: 960_000 } });
  await world.run(50_000);
  server.touch(); // the end is at 950 s now, for the time-out
  await world.run(845_000);
  assert.equal(a.types(), 'extended warning');
  server.touch(); // and at 960 s, for the lifetime
  await world.run(10_000);
  assert.equal(a.types(), 'extended warning extended warning');
  assert.deepEqual(a.of('warning').map((e) => [e.extendable, e.limit]), [[true, 'idle'], [false, 'lifetime']]);
});

test('times that differ by a millisecond are no reason to ask', async () => {
  const { world, server, a } = await begin({}, { cookieStore: true });
  const { deliver } = server;
  let n = 0;
  server.deliver = (jar) => {
    if (server.session) jar.sessionExpiry = String(+jar.sessionExpiry + (++n % 2));
    deliver.call(server, jar);
  };
  for (let i = 0; i < 100; i++) {
    await world.run(9000);
    if (server.session) server.setCookies(); // as a peek of the page's does
  }
  await world.run(HOUR);
  assert.equal(a.types(), 'warning ended');
  assert.ok(server.requests.length <= 5, `${server.requests.length} requests`);
});

test('a move of less than a second ends a warning, too', async () => {
  const { world, server, a } = await begin({}, { server: { idle: 60_600, warn: 60_000 } });
  await world.run(900);
  assert.equal(a.types(), 'warning');
  server.touch();
  a.session.check();
  await world.run(0);
  assert.equal(a.types(), 'warning extended');
});

test('answers that overtake one another', async () => {
  for (const cookieStore of [true, false]) {
    const { world, server, a } = await begin({}, { cookieStore });
    const b = world.open('b');
    await world.run(1000);
    server.latency = 8000;
    const slow = a.session.fetch('/data', { headers: { 'X-Session-Activity': 'peek' } }); // answered at 5 s, heard at 9 s
    await world.run(6000);
    server.latency = 0;
    await a.session.fetch('/data'); // at 7 s
    const asked = server.count('/session/status');
    await world.run(MINUTE);
    await slow;
    assert.equal(a.session.remaining, 900_000 - MINUTE);
    assert.equal(b.session.remaining, 900_000 - MINUTE);
    assert.equal(server.count('/session/status'), asked);
  }
});

test('a status that took long is asked for again', async () => {
  const world = new World();
  world.server.start();
  world.server.latency = 8000;
  const a = world.open('a');
  await world.run(7000);
  world.server.latency = 0;
  await world.run(2000);
  assert.equal(world.server.count('/session/status'), 2);
  assert.equal(a.env.Date.now() - a.session.offset, world.server.now());
});

test('one status request at a time', async () => {
  const world = new World();
  world.server.start();
  world.server.latency = 1000;
  const a = world.open('a');
  await world.run(500);
  a.env.fire('pageshow', { persisted: true });
  assert.equal(world.server.count('/session/status'), 1);
  await world.run(5000);
  assert.equal(world.server.count('/session/status'), 2);
});

test('without cookies the header tells of the end', async () => {
  const { world, server, a } = await begin();
  server.deliver = () => {};
  world.jar = {};
  await world.run(100_000);
  await a.session.fetch('/data');
  assert.equal(a.session.remaining, 900_000);
});

test('case=125 alone it still works', async () => {
  const { world, server, a } = await begin({}, { locks: false, channel: false, storage: false });
  await world.run(300_000);
  assert.ok(a.session.leads);
  a.input();
  await world.run(0);
  assert.equal(server.count('/session/keepalive'), 1);
  await world.run(900_000);
  assert.equal(a.types(), 'extended warning ended');
});

test('case=125 what others write to the storage is none of ours', async () => {
  const { world, a } = await begin({}, { channel: false });
  for (const event of [
    { key: 'other', newValue: '[{"t":"ended","detail":{}}]' },
    { key: 'lapse:/session/', newValue: 'no JSON' },
    { key: 'lapse:/session/', newValue: 'null' },
    { key: 'lapse:/session/', newValue: '[]' },
    { key: 'lapse:/session/', newValue: '[{"t":"of a later version"}]' },
    { key: 'lapse:/session/', newValue: null },
    { key: null, newValue: null },
  ]) {
    a.env.fire('storage', event);
  }
  await world.run(1000);
  assert.equal(a.session.state, 'live');
});

test('case=125 storage that throws, and locks that are refused', async () => {
  const { world, server, a } = await begin({}, {}, {});
  a.session.dispose();
  a.env.navigator.locks = { request: async () => { throw new DOMException('no', 'SecurityError'); } };
  a.env.BroadcastChannel = class { constructor() { throw new Error('SecurityError'); } };
  a.env.localStorage = { setItem() { throw new Error('QuotaExceededError'); }, getItem() { return null; } };
  a.start();
  await world.run(300_000);
  assert.ok(a.session.leads);
  a.input();
  await world.run(0);
  assert.equal(server.count('/session/keepalive'), 1);
});

test('case=126 a hidden window\'s requests are polls at most', async () => {
  const { world, server, a } = await begin();
  await a.session.fetch('/data');
  assert.equal(server.requests.at(-1).activity, null);
  a.show(false);
  await world.run(0);
  await a.session.fetch('/data');
  assert.equal(server.requests.at(-1).activity, 'poll');
  await a.session.fetch('/data', { headers: { 'X-Session-Activity': 'peek' } });
  assert.equal(server.requests.at(-1).activity, 'peek');
  await a.session.fetch(new Request('https://site.test/data', { headers: { 'X-Session-Activity': 'peek' } }));
  assert.equal(server.requests.at(-1).activity, 'peek');
  await a.session.fetch('https://elsewhere.test/data');
  assert.equal(server.elsewhere.at(-1).activity, null, 'and other sites get no header');
});

test('case=126 a page whose base is another site', async () => {
  const world = new World();
  const { server } = world;
  server.start();
  const a = world.open('a', {}, { start: false });
  a.env.document.baseURI = 'https://elsewhere.test/';
  a.start({ stream: true });
  await world.run(1000);
  assert.equal(a.session.state, 'live');
  assert.equal(server.streams.size, 1);
  a.show(false);
  await a.session.fetch('data');
  assert.deepEqual(server.elsewhere.map((r) => [r.path, r.activity]), [['/data', null]]);
  await a.session.fetch('https://site.test/data');
  assert.equal(server.requests.at(-1).activity, 'poll');
  await world.run(1000);
  assert.equal(await a.session.extend(), true);
  await a.session.logout();
  assert.equal(server.elsewhere.length, 1);
});

test('a request is sent as it is, but for the activity', async () => {
  const { a } = await begin();
  const sent = [];
  a.env.fetch = async (...args) => {
    sent.push(args);
    return new Response();
  };
  const request = new Request('https://site.test/data', { referrerPolicy: 'origin', headers: { 'X-Of': 'the page' } });
  const init = { method: 'PUT', body: 'x' };
  await a.session.fetch(request);
  await a.session.fetch('/data', init);
  assert.deepEqual(sent, [[request, undefined], ['/data', init]]);
  a.show(false);
  sent.length = 0;
  await a.session.fetch(request);
  await a.session.fetch('/data?x', init);
  const [[first], [second]] = sent;
  assert.equal(first.referrerPolicy, 'origin');
  assert.equal(first.headers.get('X-Of'), 'the page');
  assert.deepEqual([second.url, second.method, await second.text()], ['https://site.test/data?x', 'PUT', 'x']);
  for (const r of [first, second]) assert.equal(r.headers.get('X-Session-Activity'), 'poll');
  assert.equal(request.headers.has('X-Session-Activity'), false, 'the page\'s own is as it was');
});

test('case=127 nothing navigates or closes by itself', async () => {
  const { world, a } = await begin();
  await world.run(HOUR);
  assert.equal(a.types(), 'warning ended');
  assert.deepEqual(a.assigned, []);
});

test('case=131 two errors are critical, any other is the page\'s', async () => {
  const { world, server, a } = await begin();
  const answer = (status, body) => () => new Response(JSON.stringify(body), { status });
  server.routes['/no'] = answer(401, { success: false, error: 'NO_SUCH_PAGE' });
  server.routes['/broken'] = answer(500, { success: false, error: 'SESSION_TIMEOUT' });
  server.routes['/html'] = () => new Response('<p>no', { status: 401 });
  server.routes['/fine'] = answer(200, { success: 'x', error: false });
  for (const path of ['/no', '/broken', '/html', '/fine']) {
    const response = await a.session.fetch(path);
    assert.equal(response.critical, false, path);
    assert.ok(await response.text(), 'the body is still the caller\'s');
  }
  assert.equal(a.types(), '');
  // The cookies are gone, as after a log-out that wiped them.
  world.jar = {};
  server.session = null;
  server.routes['/gone'] = answer(401, { success: false, error: 'NOT_LOGGED_IN', login: '/login' });
  assert.equal((await a.session.fetch('/gone')).critical, true);
  assert.deepEqual(a.of('ended').map((e) => [e.error, e.login, e.confirmed]), [['NOT_LOGGED_IN', 'https://site.test/login?next=%2Fpage', true]]);
});

test('case=132 twenty requests that fail at once: one notice, one redirect', async () => {
  const { world, server, a } = await begin({ redirect: true });
  const b = world.open('b');
  await world.run(MINUTE);
  server.latency = 50;
  server.end('idle');
  const asked = server.count('/session/status');
  const all = Promise.all(Array.from({ length: 20 }, (_, i) => [a, b][i % 2].session.fetch('/data')));
  await world.run(100);
  assert.ok((await all).every((r) => r.critical && r.status === 401));
  await world.run(MINUTE);
  assert.deepEqual(a.of('ended').map((e) => [e.error, e.reason]), [['SESSION_TIMEOUT', 'idle']]);
  assert.deepEqual(a.assigned, ['https://site.test/login?next=%2Fpage']);
  assert.equal(b.types(), 'ended', 'and one notice in the other window');
  assert.equal(server.count('/session/status'), asked);
});

test('a redirect waits until the server has confirmed the end', async () => {
  const { world, server, a } = await begin({ redirect: true });
  server.reachable = false;
  await world.run(920_000);
  assert.equal(a.types(), 'warning ended');
  assert.deepEqual(a.assigned, []);
  server.reachable = true;
  a.env.fire('online');
  await world.run(0);
  assert.deepEqual(a.assigned, ['https://site.test/login?next=%2Fpage']);
});

test('a refusal of before the log-in is no end of the new session', async () => {
  const { world, server, a } = await begin();
  server.end('idle');
  server.latency = 2000;
  const late = a.session.fetch('/data'); // refused a second from now, heard after two
  await world.run(1000);
  server.latency = 0;
  server.start();
  a.env.fire('pageshow', { persisted: true });
  await world.run(5000);
  assert.equal((await late).critical, true);
  assert.equal(a.session.state, 'live');
  assert.equal(a.types(), '');
});

test('an end that is told late is none of the session that has followed', async () => {
  const ended = (server) => ({ reason: 'expired', endedAt: server.now() });
  const ways = {
    'by the stream': (server, detail) => {
      for (const stream of server.streams) stream.push('ended', detail);
    },
    'by the stream, which does not know when': (server) => {
      for (const stream of server.streams) stream.push('ended', { login: '/login' });
    },
    'by another window': (server, detail, b) => tell(b, { t: 'ended', detail, at: detail.endedAt - 1 }),
    'by another window, of an older version': (server, detail, b) => tell(b, { t: 'ended', detail }),
  };
  for (const [name, way] of Object.entries(ways)) {
    for (const cookieStore of [false, true]) {
      // A log-in takes its time, or none.
      for (const latency of [0, 40]) {
        const { world, server, a } = await begin({ stream: true, redirect: true }, { cookieStore });
        const b = world.open('b', { redirect: true });
        await world.run(10_000);
        const streams = [...server.streams];
        assert.equal(streams.length, 1);
        server.streams.clear(); // these are of the first session and tell of it below
        let detail;
        server.latency = latency;
        server.routes['/login'] = () => {
          detail = ended(server);
          server.start();
          return server.live('{}');
        };
        b.session.fetch('/login', { method: 'POST' });
        await world.run(100);
        way({ streams }, detail, b);
        await world.run(MINUTE);
        for (const w of [a, b]) {
          assert.equal(w.of('ended').length, 0, `${name}: ${w.name}`);
          assert.equal(w.session.state, 'live');
          assert.deepEqual(w.assigned, []);
        }
      }
    }
  }
});

test('an end that another window tells on time needs no question', async () => {
  const { world, server, a } = await begin();
  await world.run(10_000);
  const asked = server.count('/session/status');
  tell(a, { t: 'ended', detail: { reason: 'evicted' }, at: server.now() });
  await world.run(0);
  assert.deepEqual(a.of('ended').map((e) => [e.reason, e.confirmed]), [['evicted', true]]);
  assert.equal(server.count('/session/status'), asked);
});

test('a refusal of a request without an id ends nothing while the session lives', async () => {
  for (const idle of [900_000, 0]) {
    const { world, server, a } = await begin({ redirect: true }, { server: { idle } });
    const b = world.open('b', { redirect: true });
    await world.run(10_000);
    server.routes['/other'] = () => new Response('{"success":false,"error":"NOT_LOGGED_IN"}', { status: 401 });
    const asked = server.count('/session/status');
    assert.equal((await a.session.fetch('/other', { credentials: 'omit' })).critical, true);
    await world.run(MINUTE);
    for (const w of [a, b]) {
      assert.equal(w.types(), '', w.name);
      assert.equal(w.session.state, 'live');
      assert.deepEqual(w.assigned, []);
    }
    assert.equal(server.count('/session/status'), asked + 1);
  }
});

test('a refusal that the cookies contradict is believed once the status agrees', async () => {
  const { world, server, a } = await begin();
  const b = world.open('b');
  await world.run(10_000);
  server.setCookies = () => {};
  server.session = null; // and the server knows no more of it
  await a.session.fetch('/data');
  assert.equal(a.types(), '', 'not yet');
  await world.run(1000);
  for (const w of [a, b]) assert.deepEqual(w.of('ended').map((e) => e.confirmed), [true], w.name);
});

test('a log-in in another window is noticed', async () => {
  const { world, server, a } = await begin();
  await world.run(HOUR);
  assert.equal(a.session.state, 'ended');
  server.start();
  const b = world.open('b');
  await world.run(0);
  assert.equal(b.session.state, 'live');
  assert.equal(a.types(), 'warning ended extended');
  assert.equal(a.of('extended')[0].again, true);
});

test('an answer that comes late does not bring an ended session back', async () => {
  const { world, server, a } = await begin();
  server.routes['/slow'] = () => {
    const response = server.live('{}');
    return response;
  };
  server.latency = 4000;
  const slow = a.session.fetch('/slow'); // answered at 2 s, heard at 4 s
  await world.run(3000);
  server.latency = 0;
  server.end('expired');
  server.setCookies();
  a.env.fire('pageshow', { persisted: true });
  await world.run(0);
  assert.equal(a.session.state, 'ended');
  await world.run(2000);
  await slow;
  await world.run(MINUTE);
  assert.equal(a.types(), 'ended');
});

test('a status of before the end does not bring the session back', async () => {
  for (const how of ['broadcast', 'refusal', 'stream']) {
    const { world, server, a } = await begin({ stream: how === 'stream' });
    const b = world.open('b');
    await world.run(1000);
    server.latency = 4000;
    a.env.fire('pageshow', { persisted: true }); // asked now, answered at 2 s, heard at 4 s
    await world.run(3000);
    server.latency = 0;
    if (how === 'broadcast') await b.session.logout();
    else server.end('expired');
    if (how === 'refusal') await a.session.fetch('/data');
    await world.run(0);
    assert.equal(a.session.state, 'ended', how);
    await world.run(MINUTE);
    assert.equal(a.types(), 'ended', how);
    assert.equal(a.session.ended.reason, 'expired');
  }
});

test('case=110 the reason reaches all windows, though the server tells it to one only', async () => {
  for (const clear of [false, true]) {
    const { world, server, a } = await begin({}, { cookieStore: true });
    const b = world.open('b');
    const c = world.open('c');
    await world.run(1000);
    server.latency = 40;
    // The id is gone from the browser with the first answer; over TLS a log-out
    // wipes what the page could see, too.
    const respond = server.respond;
    server.respond = (path, request) => {
      const response = respond.call(server, path, request);
      if (path === '/session/logout') {
        server.ended = null;
        if (clear) server.cookies = {};
      }
      return response;
    };
    // As browsers do that have storage to clear.
    server.lag['/session/logout'] = 200;
    const done = b.session.logout();
    await world.run(1000);
    await done;
    for (const w of [a, b, c]) {
      assert.deepEqual(w.of('ended').map((e) => [e.reason, e.confirmed]), [['expired', true]], w.name);
    }
  }
});

test('a log-in follows a log-out at once', async () => {
  const { world, server, a } = await begin();
  const b = world.open('b');
  await world.run(1000);
  server.end('expired');
  server.ended = null;
  a.env.fire('pageshow', { persisted: true });
  await world.run(100);
  server.start();
  b.env.fire('pageshow', { persisted: true });
  await world.run(MINUTE);
  assert.equal(a.session.state, 'live');
  assert.equal(a.of('ended').length, 0);
});

test('the reason of an end that was due is its limit, if the server does not know any more', async () => {
  const { world, server, a } = await begin();
  await world.run(899_000);
  Object.defineProperty(server, 'ended', { get: () => null, set() {} });
  await world.run(2000);
  assert.deepEqual(a.of('ended').map((e) => [e.reason, e.confirmed]), [['idle', true]]);
});

test('a browser that has lost its id still learns where to sign in', async () => {
  const { world, server, a } = await begin();
  await world.run(61_000);
  server.session = null;
  server.setCookies();
  await world.run(10_000);
  assert.deepEqual(a.of('ended').map((e) => [e.login, e.confirmed]), [['https://site.test/login?next=%2Fpage', true]]);
});

test('cookies of before the end do not bring the session back either', async () => {
  const { world, server, a } = await begin();
  await world.run(1000);
  server.touch();
  const late = { serverTime: String(server.now()), sessionExpiry: String(server.now() + 900_000) };
  await world.run(1000);
  const b = world.open('b');
  await b.session.logout();
  await world.run(0);
  world.jar = late;
  const asked = server.count('/session/status');
  await world.run(MINUTE);
  assert.equal(a.types(), 'ended');
  assert.ok(server.count('/session/status') > asked);
});

test('a page without a session is told nothing', async () => {
  const world = new World();
  const a = world.open('a');
  await world.run(HOUR);
  assert.equal(a.session.state, 'none');
  assert.equal(a.types(), '');
  assert.equal(world.server.count('/session/status'), 1);
  // Until somebody signs in.
  world.server.start();
  await world.run(10_000);
  assert.equal(a.session.state, 'live');
});

test('a page of somebody who never signed in is told of no end', async () => {
  for (const asked of [true, false]) {
    const world = new World();
    const a = world.open('a');
    // Before the first status is there, or after it.
    if (asked) await world.run(1000);
    assert.equal((await a.session.fetch('/data')).critical, true);
    tell(a, { t: 'ended', detail: { reason: 'idle' }, at: world.server.now() });
    await world.run(MINUTE);
    assert.equal(a.types(), '');
    assert.equal(a.session.state, 'none');
  }
});

test('a failing server is not asked again and again', async () => {
  const world = new World();
  world.server.start();
  world.server.reachable = false;
  const a = world.open('a', {}, { fromNetwork: false });
  await world.run(HOUR);
  const n = world.server.count('/session/status');
  assert.ok(n >= 10 && n <= 25, `${n} in an hour`);
  assert.equal(a.session.state, 'unknown');
  assert.equal(a.types(), '');
  assert.equal(a.of('error').length, n);
});

test('a long time-out is no short one', async () => {
  // setTimeout takes more than 24.8 days for none.
  const { world, a, server } = await begin({ every: 40 * 24 * HOUR }, { server: { idle: 60 * 24 * HOUR } });
  let least = Infinity;
  const set = a.env.setTimeout;
  a.env.setTimeout = (f, ms) => {
    assert.ok(ms <= 2 ** 31 - 1);
    least = Math.min(least, ms);
    return set(f, ms);
  };
  a.session.check();
  await world.run(60 * 24 * HOUR - MINUTE - 1);
  assert.equal(a.types(), '');
  await world.run(2 * MINUTE);
  assert.equal(a.types(), 'warning ended');
  assert.ok(server.requests.length < 10);
});

test('stream: the end is pushed to all windows at once, over one connection', async () => {
  for (const stream of [true, 'auto']) {
    const world = new World();
    world.server.start();
    const windows = ['a', 'b', 'c'].map((n) => world.open(n, { stream }));
    await world.run(61_000);
    assert.equal(world.server.streams.size, 1);
    world.server.end('expired');
    await world.run(0);
    for (const w of windows) assert.deepEqual(w.of('ended').map((e) => [e.reason, e.confirmed]), [['expired', true]]);
    assert.equal(world.server.streams.size, 0);
  }
});

test('stream: an extension is pushed, too', async () => {
  const { world, server, a } = await begin({ stream: true });
  const b = world.open('b');
  await world.run(850_000);
  assert.equal(b.types(), 'warning');
  server.touch();
  await world.run(0);
  assert.equal(a.types(), 'warning extended');
  assert.equal(b.types(), 'warning extended');
});

test('stream: the server\'s warning counts, too', async () => {
  const { world, server, a } = await begin({ stream: true });
  await world.run(100_000);
  server.idle = 150_000; // the class's policy has changed
  for (const stream of server.streams) stream.push('warning', server.status());
  await world.run(0);
  assert.equal(a.types(), 'warning');
  assert.equal(a.of('warning')[0].remaining, 50_000);
});

test('stream: the next leader opens it again, also for windows that want it only', async () => {
  const world = new World();
  world.server.start();
  const a = world.open('a');
  await world.run(1000);
  world.open('b', { stream: true });
  await world.run(0);
  assert.deepEqual([...world.server.streams].map((s) => s.window.name), ['a']);
  const c = world.open('c');
  await world.run(1000);
  a.close();
  for (const s of [...world.server.streams]) if (s.window === a) s.close();
  await world.run(3000);
  assert.equal(world.server.streams.size, 1);
  assert.equal([...world.server.streams][0].window.session.leads, true);
  assert.equal(c.types(), '');
});

test('stream: a leader that has come later learns that it is wanted', async () => {
  const world = new World({ locks: false });
  world.server.start();
  const a = world.open('a');
  await world.run(1000);
  const b = world.open('b', { stream: true });
  b.show(false);
  await world.run(1000);
  const c = world.open('c');
  await world.run(1000);
  a.close();
  for (const s of [...world.server.streams]) if (s.window === a) s.close();
  await world.run(5000);
  assert.equal(b.session.leads, false);
  assert.deepEqual([...world.server.streams].map((s) => s.window.name), ['c']);
  assert.ok(c.session.leads);
});

test('stream: auto gives up where there is none, true tries again', async () => {
  for (const [stream, least, most] of [['auto', 1, 1], [true, 5, 30]]) {
    const world = new World({ server: { idle: HOUR } });
    world.server.start();
    world.server.noStream = true;
    const a = world.open('a', { stream });
    await world.run(10 * MINUTE);
    const n = world.server.count('/session/events');
    assert.ok(n >= least && n <= most, `${stream}: ${n}`);
    assert.equal(a.session.state, 'live');
  }
});

test('dispose and an aborted signal stop everything', async () => {
  const abort = new AbortController();
  const { world, server, a } = await begin({ signal: abort.signal, stream: true });
  await world.run(1000);
  assert.equal(server.streams.size, 1);
  abort.abort();
  const n = server.requests.length;
  a.env.fire('focus');
  a.input();
  await world.run(HOUR);
  assert.equal(server.requests.length, n);
  assert.equal(a.types(), '');
  assert.equal(server.streams.size, 0);
  assert.equal(world.channels.size, 0);
  assert.equal(world.queue.filter((i) => i.window === a).length, 0);
  for (const target of [a.env, a.env.document]) {
    for (const [type, set] of target.listeners) assert.equal(set.size, 0, type);
  }
  a.session.dispose();
  a.start({ signal: AbortSignal.abort() });
  await world.run(HOUR);
  assert.equal(server.requests.length, n);
});

test('a listener may dispose', async () => {
  const { world, a } = await begin();
  a.session.addEventListener('warning', () => a.session.dispose());
  await world.run(HOUR);
  assert.equal(a.types(), 'warning');
});

test('the fetch of the module goes by the latest watch', async () => {
  const { server, a } = await begin();
  const response = await sessionFetch('/data');
  assert.equal(response.critical, false);
  assert.equal(server.requests.at(-1).path, '/data');
  a.session.dispose();
});

test('options that make no sense are named', () => {
  const env = new World().open('a', {}, { start: false }).env;
  for (const [options, name] of [
    [{ grace: -1 }, /grace/],
    [{ every: 0 }, /every/],
    [{ every: NaN }, /every/],
    [{ warn: '60' }, /warn/],
    [{ stream: 'yes' }, /stream/],
    [{ prefix: 5 }, /prefix/],
    [{ intervall: 5 }, /intervall/],
  ]) {
    assert.throws(() => watch(options, env), (e) => e instanceof TypeError && name.test(e.message));
  }
  assert.throws(() => watch(), /window/);
});
