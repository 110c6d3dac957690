// What the server's answers mean.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkStatus, critical, loginAddress, refusal } from './answers.js';
import { inputFilter } from './input.js';

test('case=131 two codes are critical', () => {
  for (const code of ['SESSION_TIMEOUT', 'NOT_LOGGED_IN']) {
    assert.equal(critical(code), true);
    assert.equal(critical({ success: false, error: code }), true);
  }
  for (const other of ['OUT_OF_STOCK', 'SESSION_TIMEOUT_X', '', undefined, null, 5, true, {}, { error: false }, { error: 'X' }, []]) {
    assert.equal(critical(other), false, JSON.stringify(other));
  }
});

test('case=131 only a 401 with such a body is a refusal', async () => {
  const make = (status, body) => new Response(body, { status });
  assert.equal((await refusal(make(401, '{"error":"SESSION_TIMEOUT","reason":"idle"}'))).reason, 'idle');
  for (const response of [
    make(200, '{"error":"SESSION_TIMEOUT"}'),
    make(403, '{"error":"SESSION_TIMEOUT"}'),
    make(401, '{"error":"OTHER"}'),
    make(401, 'null'),
    make(401, '<html>'),
    make(401, ''),
  ]) {
    assert.equal(await refusal(response), null);
  }
});

test('a status is checked', () => {
  for (const good of [
    { state: 'live', serverTime: 5, expiresAt: 9 },
    { state: 'live', serverTime: 5 },
    { state: 'none', serverTime: 5 },
    { state: 'ended', serverTime: 5, reason: 'idle' },
  ]) {
    assert.equal(checkStatus(good), good);
  }
  for (const bad of [null, 5, {}, { state: 'live' }, { state: 'odd', serverTime: 5 }, { state: 'live', serverTime: '5' }, { state: 'live', serverTime: 5, expiresAt: 'x' }]) {
    assert.throws(() => checkStatus(bad), /status endpoint/);
  }
});

test('the way to the log-in is an address of the web', () => {
  const here = 'https://site.test/page?x=1&y=2#part';
  const back = '?next=%2Fpage%3Fx%3D1%26y%3D2';
  assert.equal(loginAddress(undefined, '/login', here), 'https://site.test/login' + back);
  assert.equal(loginAddress(undefined, '/login?a=b', here), 'https://site.test/login?a=b&' + back.slice(1));
  assert.equal(loginAddress(undefined, '/login?next=/', here), 'https://site.test/login?next=/');
  assert.equal(loginAddress(undefined, 'https://sso.test/in', here), 'https://sso.test/in' + back);
  assert.equal(loginAddress('/own', '/login', here), 'https://site.test/own', 'the page has its own words');
  for (const bad of ['javascript:alert(1)', 'data:text/html,x', 'https://', undefined, '']) {
    assert.equal(loginAddress(undefined, bad, here), 'https://site.test/page?x=1&y=2', String(bad));
    if (bad) assert.equal(loginAddress(bad, '/login', here), 'https://site.test/page?x=1&y=2', bad);
  }
});

test('what is input', () => {
  const real = inputFilter();
  const at = (now, type, more) => real({ type, isTrusted: true, ...more }, now);
  assert.equal(at(0, 'scroll'), false, 'a script scrolls');
  assert.equal(at(0, 'pointermove', { screenX: 1, screenY: 1 }), false, 'where it lay all along');
  assert.equal(at(0, 'pointermove', { screenX: 1, screenY: 1 }), false);
  assert.equal(real({ type: 'keydown', isTrusted: false }, 0), false);
  assert.equal(at(10, 'pointermove', { screenX: 2, screenY: 1 }), true);
  assert.equal(at(3009, 'scroll'), true, 'the momentum of it');
  assert.equal(at(3011, 'scroll'), false);
  for (const type of ['keydown', 'pointerdown', 'wheel', 'touchstart', 'touchmove']) assert.equal(at(9000, type), true);
});
