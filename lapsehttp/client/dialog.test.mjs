// The dialog's behavior, in a document that has just what it uses. How it looks
// and what a screen reader makes of it is for a real browser.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { dialog } from './dialog.js';

class Element extends EventTarget {
  attributes = {};
  children = [];
  textContent = '';
  hidden = false;
  open = false;
  isConnected = false;
  shown = 0;
  constructor(name) {
    super();
    this.name = name;
  }
  get id() { return this.attributes.id; }
  get firstChild() { return this.children[0]; }
  setAttribute(key, value) { this.attributes[key] = value; }
  append(...children) {
    for (const child of children) {
      if (typeof child === 'string') {
        this.textContent += child;
        continue;
      }
      this.children.push(child);
      child.isConnected = true;
    }
  }
  replaceChildren(...children) { this.children = children; }
  remove() { this.isConnected = false; }
  focus() { document.activeElement = this; }
  showModal() {
    if (this.open) throw new Error('InvalidStateError: it is open');
    this.open = true;
    this.shown++;
  }
  close() {
    if (!this.open) return;
    this.open = false;
    queueMicrotask(() => this.dispatchEvent(new Event('close')));
  }
  click() { this.dispatchEvent(new Event('click')); }
}

/** A session as watch returns it, which does as it is told. */
class Session extends EventTarget {
  state = 'live';
  remaining = 60_000;
  extendable = true;
  asking = false;
  ended = null;
  extensions = 0;
  extend = async () => {
    this.extensions++;
    if (this.extendable) this.tell('extended', 'live');
    return this.extendable;
  };
  tell(type, state, detail = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
let page;

beforeEach(() => {
  page = new Element('textarea');
  page.isConnected = true;
  globalThis.CSSStyleSheet = class { replaceSync() {} };
  globalThis.document = {
    body: new Element('body'),
    documentElement: { lang: 'en' },
    adoptedStyleSheets: [],
    activeElement: page,
    createElement: (name) => new Element(name),
  };
});

function open(options) {
  const session = new Session();
  const made = dialog(session, options);
  const [title, text, clock, actions] = made.element.children;
  return { session, box: made.element, title, text, clock, actions, show: made.show, dispose: made.dispose };
}

test('case=123 it says how long, asks one thing, and closes when that is done', async (t) => {
  const { session, box, text, clock, actions, dispose } = open();
  t.after(dispose);
  assert.equal(box.isConnected, false, 'nothing is in the page before');
  session.tell('warning', 'warning');
  assert.equal(box.open, true);
  assert.equal(box.attributes.role, 'alertdialog');
  assert.match(text.textContent, /within 1 minute/);
  assert.equal(clock.textContent, '1:00');
  assert.equal(clock.attributes['aria-hidden'], 'true', 'the countdown is not announced');
  assert.equal(actions.children.length, 1);
  assert.equal(document.activeElement, actions.children[0]);
  assert.equal(session.asking, true, 'meanwhile moving the mouse is no answer');
  actions.children[0].click();
  actions.children[0].click();
  await settle();
  assert.equal(session.extensions, 1);
  assert.equal(box.open, false);
  assert.equal(box.isConnected, false);
  assert.equal(session.asking, false);
  assert.equal(document.activeElement, page, 'the focus is back');
  assert.equal(box.shown, 1, 'announced once');
});

test('case=123 the clock moves when a second is over, not up to a second later', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const { session, clock, dispose } = open();
  t.after(dispose);
  const pass = (ms) => {
    session.remaining -= ms;
    t.mock.timers.tick(ms);
  };
  session.remaining = 20_300;
  session.tell('warning', 'warning');
  assert.equal(clock.textContent, '0:21');
  pass(301);
  assert.equal(clock.textContent, '0:20');
  pass(1000);
  assert.equal(clock.textContent, '0:19');
});

test('case=123 Escape extends, also where the browser closes the dialog itself', async () => {
  for (const forced of [false, true]) {
    const { session, box } = open();
    session.tell('warning', 'warning');
    if (forced) {
      box.close();
    } else {
      const cancel = new Event('cancel', { cancelable: true });
      box.dispatchEvent(cancel);
      assert.equal(cancel.defaultPrevented, true);
    }
    await settle();
    assert.equal(session.extensions, 1);
    assert.equal(box.open, false);
    assert.equal(document.activeElement, page);
  }
});

test('case=123 staying that does not work is said', async (t) => {
  const { session, box, title, actions, dispose } = open();
  t.after(dispose);
  session.tell('warning', 'warning');
  session.extend = async () => false;
  actions.children[0].click();
  await settle();
  assert.equal(box.open, true);
  assert.equal(box.shown, 2, 'so it is announced again');
  assert.match(title.textContent, /try again/);
  session.extend = async () => true; // by so little that no event comes
  actions.children[0].click();
  await settle();
  assert.equal(box.open, false);
  assert.equal(document.activeElement, page);
});

test('case=124 before a lifetime it offers no stay', async () => {
  const { session, box, text, actions } = open();
  session.extendable = false;
  session.remaining = 45_000;
  session.tell('warning', 'warning');
  assert.match(text.textContent, /45 seconds.*sign in again/);
  assert.deepEqual(actions.children.map((c) => c.textContent), ['I understand']);
  box.dispatchEvent(new Event('cancel', { cancelable: true }));
  await settle();
  assert.equal(session.extensions, 0);
  assert.equal(box.open, false);
});

test('case=124 a stay that turns out to be impossible becomes that', async (t) => {
  const { session, actions, dispose } = open();
  t.after(dispose);
  session.tell('warning', 'warning');
  session.extendable = false;
  actions.children[0].click();
  await settle();
  assert.deepEqual(actions.children.map((c) => c.textContent), ['I understand']);
});

test('case=127 after the end there is a link, and the page stays', async () => {
  const { session, box, title, text, clock, actions, show, dispose } = open({ target: '_blank' });
  session.tell('warning', 'warning');
  session.tell('ended', 'ended', { reason: 'idle', login: 'https://site.test/login' });
  await settle();
  assert.equal(box.open, true);
  assert.equal(box.shown, 2);
  assert.match(title.textContent, /signed out/);
  assert.match(text.textContent, /^Nothing had happened for a while\. Sign in again/);
  assert.equal(clock.hidden, true);
  assert.equal(document.activeElement, title, 'no key of somebody who is typing leaves the page');
  const [link, close] = actions.children;
  assert.deepEqual([link.name, link.attributes.href, link.attributes.target], ['a', 'https://site.test/login', '_blank']);
  close.click();
  await settle();
  assert.equal(box.open, false);
  assert.equal(document.activeElement, page, 'what had the focus before the warning');
  session.ended = { reason: 'idle', login: 'https://site.test/login' };
  show();
  assert.equal(box.open, true, 'again, for who goes on all the same');
  dispose();
  show();
  assert.equal(box.open, false);
});

test('case=123 Tab goes round', (t) => {
  const { session, box, actions, dispose } = open();
  t.after(dispose);
  session.tell('ended', 'ended', { reason: '', login: 'https://site.test/login' });
  const [link, close] = actions.children;
  // From the title, which has the focus first.
  const tab = (shiftKey) => {
    const event = Object.assign(new Event('keydown', { cancelable: true }), { key: 'Tab', shiftKey });
    box.dispatchEvent(event);
    assert.equal(event.defaultPrevented, true);
    return document.activeElement;
  };
  assert.deepEqual([tab(), tab(), tab(), tab(true), tab(true)], [link, close, link, close, link]);
});

test('words, and the language of the page', (t) => {
  document.documentElement.lang = 'de';
  const { session, text, actions, dispose } = open({ texts: { warning: 'Noch {left}.', stay: 'Bleiben' } });
  t.after(dispose);
  session.remaining = 119_500;
  session.tell('warning', 'warning');
  assert.equal(text.textContent, 'Noch 2 Minuten.');
  assert.equal(actions.children[0].textContent, 'Bleiben');
  document.documentElement.lang = 'no such language';
  session.remaining = 59_001;
  session.tell('warning', 'warning');
  assert.match(text.textContent, /60|1/);
});

test('a dialog that comes late shows what is', (t) => {
  const session = new Session();
  session.state = 'warning';
  const late = dialog(session);
  t.after(late.dispose);
  assert.equal(late.element.open, true);
  const after = new Session();
  after.state = 'ended';
  after.ended = { reason: 'lifetime', login: 'https://site.test/login' };
  const later = dialog(after);
  t.after(later.dispose);
  assert.match(later.element.children[1].textContent, /lasts only so long/);
});

test('dispose closes it and shows nothing any more', async () => {
  const { session, box, dispose } = open();
  session.tell('warning', 'warning');
  dispose();
  session.tell('warning', 'warning');
  await settle();
  assert.equal(box.open, false);
  assert.equal(session.asking, false);
  assert.equal(session.extensions, 0);
});

test('dispose while a stay is being tried', async () => {
  for (const extended of [true, false]) {
    const { session, box, actions, dispose } = open();
    let done;
    session.extend = () => new Promise((resolve) => { done = resolve; });
    session.tell('warning', 'warning');
    actions.children[0].click();
    dispose();
    done(extended);
    await settle();
    assert.equal(box.shown, 1);
    assert.equal(box.open, false);
    assert.equal(session.asking, false);
  }
});

test('what is no session is named', () => {
  assert.throws(() => dialog({}), /dialog\(watch\(\)\)/);
});
