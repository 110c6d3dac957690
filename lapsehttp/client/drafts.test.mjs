// What is kept of a form, and what never is.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, fill, keepable, openDrafts } from './drafts.js';
import { World } from './world.mjs';

/** A field as a form has it. */
function field(name, value = '', more = {}) {
  return {
    name, value, type: 'text', disabled: false, autocomplete: '', heard: [],
    dispatchEvent(event) { this.heard.push(event.type); },
    ...more,
  };
}

/** A form as a document has it; `draft` is its attribute, null if it has none. */
function form(draft, ...elements) {
  return { id: '', elements, draft, dataset: { sessionDraft: draft } };
}

test('case=127 secrets are never kept', () => {
  for (const f of [
    field('password', 'x', { type: 'password' }),
    field('note', 'x', { type: 'hidden' }),
    field('file', 'x', { type: 'file' }),
    field('go', 'x', { type: 'submit' }),
    field('csrf', 'x'),
    field('gorilla.csrf.Token', 'x'),
    field('authenticity_token', 'x'),
    field('_xsrf', 'x'),
    field('newPassword', 'x'), // shown as text
    field('pin', 'x', { autocomplete: 'one-time-code' }),
    field('field7', 'x', { autocomplete: 'current-password' }),
    field('card', 'x', { autocomplete: 'billing cc-number' }),
    field('', 'x'),
    field('off', 'x', { disabled: true }),
    { name: 'set', type: 'fieldset', disabled: false },
  ]) {
    assert.equal(keepable(f), false, f.name || f.type);
    assert.deepEqual(collect(form('', f)), {});
  }
  for (const f of [field('title', 'x'), field('text', 'x', { type: 'textarea' }), field('when', 'x', { type: 'date' })]) {
    assert.equal(keepable(f), true);
  }
});

test('case=127 a form comes back as it was', () => {
  const make = (filled) => form(
    '',
    field('title', filled ? 'Dear all' : ''),
    field('password', 'a secret', { type: 'password' }),
    field('tag', filled ? 'one' : ''),
    field('tag', filled ? 'two' : ''),
    field('yes', 'on', { type: 'checkbox', checked: filled }),
    field('pick', 'a', { type: 'radio', checked: !filled }),
    field('pick', 'b', { type: 'radio', checked: filled }),
    field('many', '', { type: 'select-multiple', options: [{ selected: false }, { selected: filled }] }),
  );
  const kept = collect(make(true));
  assert.equal(JSON.stringify(kept).includes('secret'), false);
  const fresh = make(false);
  fill(fresh, JSON.parse(JSON.stringify(kept)));
  const want = make(true);
  const plain = (f) => f.elements.map(({ value, checked, options }) => ({ value, checked, options }));
  assert.deepEqual(plain(fresh), plain(want));
  assert.deepEqual(fresh.elements[0].heard, ['input', 'change'], 'the page hears of it');
  assert.deepEqual(fresh.elements[1].heard, []);
});

test('case=127 a draft does not fill what has become a secret', () => {
  const f = form('', field('a', '', { type: 'password' }));
  fill(f, { 'a 1': 'x' });
  assert.equal(f.elements[0].value, '');
});

/** A window with these forms, whose session ends after a while. */
async function ended(forms, options, world = new World()) {
  world.server.start();
  const w = world.open('a', options, { forms });
  await world.run(0);
  await world.run(3_600_000);
  return { world, w };
}

/** The page again, in the same tab, after a log-in. */
async function again({ world, w }, forms, options) {
  world.server.start();
  const after = world.open('b', options, { forms, start: false });
  for (const [k, v] of w.own) after.own.set(k, v);
  after.start(options);
  await world.run(0);
  return after;
}

test('case=127 drafts of marked forms are there after the log-in, and no others', async () => {
  const make = (a, b, c) => [form('', field('x', a)), form(null, field('x', b)), form('note', field('x', c))];
  const before = await ended(make('one', 'two', 'three'));
  assert.equal(before.w.types(), 'warning ended');
  const forms = make('', '', '');
  const after = await again(before, forms);
  assert.deepEqual(forms.map((f) => f.elements[0].value), ['one', '', 'three']);
  assert.equal(after.own.size, 0, 'and are kept no longer');
});

test('case=127 what is typed after the end is kept when the page is left', async () => {
  const forms = [form('', field('x', 'one'))];
  const before = await ended(forms);
  forms[0].elements[0].value = 'one and more';
  before.w.env.fire('pagehide', { persisted: false });
  const fresh = [form('', field('x'))];
  await again(before, fresh);
  assert.equal(fresh[0].elements[0].value, 'one and more');
});

test('case=127 another user does not see them', async () => {
  const before = await ended([form('', field('x', 'private'))], { user: 'anna' });
  const forms = [form('', field('x'))];
  const after = await again(before, forms, { user: 'ben' });
  assert.equal(forms[0].elements[0].value, '');
  assert.equal(after.own.size, 0);
});

test('case=127 a log-out in this window keeps nothing', async () => {
  const world = new World();
  world.server.start();
  const w = world.open('a', {}, { forms: [form('', field('x', 'private'))] });
  await world.run(0);
  await w.session.logout();
  w.env.fire('pagehide', { persisted: false });
  assert.equal(w.own.size, 0);
});

test('case=127 a log-out keeps nothing in any window', async () => {
  const ways = {
    'here': (world, w) => w.session.logout(),
    'in another window': (world, w, other) => other.session.logout(),
    'without the client': (world) => world.server.end('expired'),
  };
  for (const [name, way] of Object.entries(ways)) {
    const world = new World();
    world.server.start();
    const forms = [form('', field('x', 'private'))];
    const other = world.open('b', { stream: true });
    const w = world.open('a', {}, { forms });
    await world.run(10_000);
    await way(world, w, other);
    await world.run(1000);
    assert.equal(w.types(), 'ended', name);
    assert.equal(w.own.size, 0, name);
    // The next session's are kept again.
    world.server.start();
    await world.run(20_000);
    assert.equal(w.types(), 'ended extended');
    await world.run(3_600_000);
    assert.equal(w.session.state, 'ended');
    assert.match([...w.own.values()].join(), /private/);
  }
});

test('case=127 a log-out whose reason is told late keeps nothing, too', async () => {
  const world = new World({ channel: false });
  world.server.start();
  const w = world.open('a', {}, { forms: [form('', field('x', 'private'))] });
  await world.run(10_000);
  world.server.session = null;
  world.server.setCookies();
  await world.run(20_000);
  assert.equal(w.session.ended.reason, '');
  assert.equal(w.own.size, 1);
  w.env.fire('storage', { key: 'lapse:/session/', newValue: '[{"t":"ended","detail":{"reason":"expired"}}]' });
  w.env.fire('pagehide', { persisted: false });
  assert.equal(w.own.size, 0);
});

test('case=127 what was sent after a log-in in another window does not come back', async () => {
  for (const confirmed of [true, false]) {
    const world = new World();
    const { server } = world;
    server.start();
    const w = world.open('a', {}, { forms: [form('', field('x', 'my comment'))] });
    await world.run(0);
    // The end is confirmed, or taken back because it was none.
    if (!confirmed) {
      server.idle = 4 * 3_600_000;
      server.reachable = false;
    }
    await world.run(920_000);
    assert.equal(w.session.ended.confirmed, confirmed);
    assert.equal(w.own.size, 1);
    server.reachable = true;
    if (confirmed) server.start();
    w.env.fire('online');
    await world.run(20_000);
    assert.deepEqual(w.of('extended').map((e) => e.again), [confirmed]);
    // The comment is sent, and the page loads anew in the same tab.
    w.env.fire('pagehide', { persisted: false });
    const fresh = [form('', field('x'))];
    await again({ world, w }, fresh);
    assert.equal(fresh[0].elements[0].value, '');
  }
});

test('case=127 what is no draft of ours does no harm', () => {
  const world = new World();
  const forms = [form('', field('x'))];
  const { env, own } = world.open('a', {}, { forms, start: false });
  for (const text of ['', 'x', '5', '{}', '{"content":5}', '{"content":{"0":5}}', '{"content":{"0":[5]}}']) {
    own.set('lapse:draft:/page', text);
    openDrafts(env).restore();
    assert.equal(forms[0].elements[0].value, '');
  }
  env.sessionStorage = { getItem() { throw new Error('no'); }, setItem() { throw new Error('full'); }, removeItem() { throw new Error('no'); } };
  const drafts = openDrafts(env);
  drafts.save();
  drafts.restore();
  drafts.forget();
  env.sessionStorage = undefined;
  drafts.save();
  drafts.restore();
  drafts.forget();
});
