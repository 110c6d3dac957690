// The page that only looks: each of its requests is a peek.

import { open, seconds } from './session.js';
import { follow } from './look.js';

const peeks = document.getElementById('peeks');
const moved = document.getElementById('moved');

const session = open({ keepAlive: false });
let count = 0;
const follower = follow(session, (look, before) => {
  peeks.textContent = ++count;
  follower?.mark('peek');
  if (!before) return;
  const by = look.left - Math.max(0, before.left - (performance.now() - before.at));
  if (by > 300) moved.textContent = `Another window has moved the end by ${seconds(by)} s. This page has not.`;
});
session.addEventListener('ended', () => { moved.textContent = `The session has ended, after ${count} peeks of this page.`; });
