// The arithmetic alone.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCookies } from './cookies.js';
import { keepAliveDue, leadOf, leftOf, nextCheck, offsetOf, reconcile, verdict } from './time.js';

const SERVER = 1_700_000_000_000;

test('case=103 offset of a client that is five seconds ahead', () => {
  assert.equal(offsetOf(Date.UTC(2024, 0, 1, 12, 0, 5), Date.UTC(2024, 0, 1, 12)), 5000);
  assert.equal(offsetOf(Date.UTC(2024, 0, 1, 12), Date.UTC(2024, 0, 1, 12, 0, 5)), -5000);
});

test('case=104 expired iff local - offset > expiry + 15000', () => {
  for (const offset of [0, 5000, -3_600_000, 31_536_000_000]) {
    const edge = SERVER + 15_000 + offset;
    assert.equal(verdict(leftOf(edge, offset, SERVER), 60_000, 15_000), 'grace');
    assert.equal(verdict(leftOf(edge + 1, offset, SERVER), 60_000, 15_000), 'expired');
  }
});

test('case=106 a client an hour behind has a negative offset', () => {
  const local = SERVER - 3_600_000;
  const offset = offsetOf(local, SERVER);
  assert.equal(offset, -3_600_000);
  const at = (t) => verdict(leftOf(local + t, offset, SERVER + 900_000), 60_000, 15_000);
  assert.deepEqual([839_999, 840_000, 915_000, 915_001].map(at), ['near', 'warning', 'grace', 'expired']);
});

test('case=108 the warning begins a minute before the end and is over with it', () => {
  const at = (left) => verdict(left, 60_000, 15_000);
  assert.deepEqual([62_001, 62_000, 60_001, 60_000, 1, 0, -15_000, -15_001].map(at), ['live', 'near', 'near', 'warning', 'warning', 'grace', 'grace', 'expired']);
  assert.equal(at(NaN), '');
  assert.equal(at(Infinity), 'live');
});

test('case=113 cookies that are missing or unparsable', () => {
  const both = { serverTime: 1, expiresAt: 2 };
  for (const text of [
    'serverTime=1; sessionExpiry=2',
    'sessionExpiry=2; serverTime=1',
    'a=b; serverTime=1; x=y; sessionExpiry=2; z',
    'serverTime="1"; sessionExpiry="2"',
    'serverTime=1;sessionExpiry=2',
  ]) {
    assert.deepEqual(readCookies(text), both, text);
  }
  for (const text of [
    '',
    'serverTime=1',
    'sessionExpiry=2',
    'serverTime=1; sessionExpiry=',
    'serverTime=1; sessionExpiry=null',
    'serverTime=1; sessionExpiry=2.5',
    'serverTime=1; sessionExpiry=-2',
    'serverTime=1; sessionExpiry=12345678901234567',
    'serverTime=x; sessionExpiry=2',
    'xserverTime=1; xsessionExpiry=2',
    'serverTimes=1; sessionExpirys=2',
  ]) {
    assert.equal(readCookies(text), null, text);
  }
});

test('case=105 case=118 the next check comes after the period, or when something is due', () => {
  const next = (left, ...others) => nextCheck(left, 60_000, 15_000, 10_000, ...others);
  assert.equal(next(900_000), 10_000);
  assert.equal(next(66_000), 4000, 'before the warning the server is asked');
  assert.equal(next(62_000), 2000, 'the warning');
  assert.equal(next(65_000, 500), 500);
  assert.equal(next(60_000), 10_000);
  assert.equal(next(5000), 5000, 'the end');
  assert.equal(next(0), 10_000);
  assert.equal(next(-10_000), 5001, 'the end of the grace');
  assert.equal(next(-20_000), 10_000);
  assert.equal(next(NaN), 10_000);
  assert.equal(next(Infinity, Infinity, -Infinity, -5, NaN), 10_000);
  assert.equal(next(0.25), 1, 'a timer is never set for now');
  assert.equal(nextCheck(1e11, 60_000, 15_000, 1e12), 2 ** 31 - 1, 'what setTimeout takes at most');
});

test('case=112 times of an unknown moment', () => {
  // offset 1000: local 11 000 is server 10 000.
  assert.equal(reconcile(NaN, 10_000, 11_000, 11_000), null, 'nothing is known');
  assert.equal(reconcile(1000, 10_000, 11_000, 11_000), 1000);
  assert.equal(reconcile(1000, 10_000, 11_000, 20_000), 1000, 'some time ago');
  assert.equal(reconcile(1000, 10_500, 11_000, 11_000), 500, 'no pair is written in the future');
  assert.equal(reconcile(1000, 15_001, 11_000, 11_000), null, 'too far in it');
  assert.equal(reconcile(1000, 3000, 11_000, 20_000), null, 'stale');
});

test('case=121 a keep-alive is due a quarter after the session was seen', () => {
  const due = (input, whileOpen, lead = 60_000, idle = 400_000) => keepAliveDue(1000, idle, lead, input, whileOpen);
  assert.equal(due(1001, false), 101_000);
  assert.equal(due(1000, false), Infinity, 'no input since');
  assert.equal(due(0, true), 201_000, 'twice a time-out while open');
  assert.equal(due(0, true, 200_000), 197_000, 'and before a warning');
  assert.equal(due(0, true, 350_000), 101_000, 'but at most once a quarter');
  assert.equal(due(1001, true), 101_000);
  assert.equal(due(1001, true, 60_000, 0), Infinity, 'nothing to extend');
  assert.equal(keepAliveDue(-Infinity, 400, 60, 5, false), -Infinity, 'never seen: now');
});

test('case=123 how long before the end to warn', () => {
  assert.equal(leadOf(0, 900_000), 60_000, 'the default');
  assert.equal(leadOf(0, 0), 60_000);
  assert.equal(leadOf(300_000, 900_000), 300_000);
  assert.equal(leadOf(5000, 900_000), 20_000, 'nobody gets less than 20 s');
  assert.equal(leadOf(20_000, 900_000), 20_000);
  assert.equal(leadOf(0, 90_000), 45_000, 'unless the time-out is as short');
  assert.equal(leadOf(0, 10_000), 5000);
  assert.equal(leadOf(8000, 20_000), 10_000);
  assert.equal(leadOf(8000, 10_000), 8000, 'but never less than was asked for');
  assert.equal(leadOf(60_000, 90_000), 60_000);
});
