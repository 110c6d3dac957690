// The election alone, message by message.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { candidate, elect } from './leader.js';

test('case=122 the first window leads when nobody answers', () => {
  const me = candidate(0.5, 0);
  assert.equal(elect(me, 'tick', 299, true), null);
  assert.deepEqual(elect(me, 'tick', 300, true), { t: 'lead', id: 0.5, visible: true });
  assert.equal(me.leads, true);
});

test('case=122 who comes later asks and follows', () => {
  const a = candidate(0.5, 0);
  elect(a, 'tick', 300, true);
  const b = candidate(0.1, 1000);
  const claim = elect(a, 'who', 1000, true);
  elect(b, 'lead', 1000, true, claim);
  for (let t = 1300; t < 1000 + 1800; t += 100) assert.equal(elect(b, 'tick', t, true), null, `at ${t}`);
  assert.equal(b.leads, false);
  assert.equal(elect(b, 'who', 1000, true), null, 'a follower answers nobody');
});

test('case=122 silence makes a leader within 3 s', () => {
  const b = candidate(0.1, 0);
  elect(b, 'lead', 5000, true, { id: 0.5, visible: true });
  // Its ticks come once a second.
  const at = [5999, 6999, 7999].find((t) => elect(b, 'tick', t, true));
  assert.ok(at - 5000 < 3000);
});

test('case=122 a leader that says good-bye is replaced at the next tick', () => {
  const b = candidate(0.1, 0);
  elect(b, 'lead', 5000, true, { id: 0.5, visible: true });
  elect(b, 'bye', 5100, true);
  assert.ok(elect(b, 'tick', 5101, true));
});

test('of two leaders the visible one stays, then the lower id', () => {
  const clash = (mine, theirs) => {
    const me = { ...candidate(mine.id, 0), leads: true };
    const answer = elect(me, 'lead', 0, mine.visible, theirs);
    assert.equal(me.leads, !!answer, 'who stays says so');
    return me.leads;
  };
  assert.equal(clash({ id: 2, visible: true }, { id: 1, visible: false }), true);
  assert.equal(clash({ id: 1, visible: false }, { id: 2, visible: true }), false);
  for (const visible of [true, false]) {
    assert.equal(clash({ id: 1, visible }, { id: 2, visible }), true);
    assert.equal(clash({ id: 2, visible }, { id: 1, visible }), false);
  }
});

test('another one\'s good-bye is no news to the leader', () => {
  const me = candidate(0.5, 0);
  elect(me, 'tick', 300, true);
  assert.equal(elect(me, 'bye', 2, true), null);
  assert.equal(me.leads, true);
});
