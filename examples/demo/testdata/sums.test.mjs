// What the pages work out, in Node: see script_test.go.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

// The file is a module for browsers, which Node takes for one by this road only.
const source = await readFile(new URL('../assets/sums.js', import.meta.url));
const { keep, moved, perSecond, reasonOf } = await import(`data:text/javascript;base64,${source.toString('base64')}`);

test('the end moves by what the server says, however long the answers took', () => {
  const before = { now: 10_000, left: 20_000 };
  assert.equal(moved(before, { now: 14_000, left: 16_000 }), 0);
  assert.equal(moved(before, { now: 14_000, left: 20_000 }), 4000);
  assert.equal(moved(before, { now: 14_000, left: -1 }), 0, 'without an end');
  assert.equal(moved({ now: 10_000, left: -1 }, { now: 14_000, left: 16_000 }), 0, 'without an end before');
  assert.equal(moved(null, { now: 14_000, left: 16_000 }), 0, 'the first look');
});

test('what happens in a second is known to who looks seldom, too', () => {
  for (const [every, looks] of [[250, 9], [2000, 2], [2010, 2], [60_000, 2]]) {
    const past = [];
    for (let i = 0; i < 20; i++) {
      keep(past, { now: i * every, ended: i * every / 100 });
      assert.equal(Math.round(perSecond(past, 'ended')), i ? 10 : 0, `every ${every} ms, look ${i}`);
    }
    assert.equal(past.length, looks, `every ${every} ms`);
  }
});

test('a counter that begins anew is no negative rate', () => {
  const past = [];
  keep(past, { now: 0, ended: 100 });
  keep(past, { now: 1000, ended: 3 });
  assert.equal(perSecond(past, 'ended'), 0);
});

test('the reason is told by whichever answer has it', () => {
  assert.equal(reasonOf({ reason: 'poll cap' }), 'poll cap');
  assert.equal(reasonOf({}, { reason: 'poll cap' }), 'poll cap');
  assert.equal(reasonOf({ reason: '' }, { reason: 'idle' }), 'idle');
  assert.equal(reasonOf({}, null), 'unknown reason');
});
