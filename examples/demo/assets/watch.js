// The page that only looks: each of its requests is a peek.

import { open, seconds } from './session.js';
import { follow } from './look.js';
import { moved } from './sums.js';

const peeks = document.getElementById('peeks');
const news = document.getElementById('moved');

const session = open({ keepAlive: false });
let count = 0;
const follower = follow(session, (look, before) => {
  peeks.textContent = ++count;
  follower?.mark('peek');
  const by = moved(before, look);
  if (by > 50) news.textContent = `Another window has moved the end by ${seconds(by)} s. This page has not.`;
});
session.addEventListener('ended', () => { news.textContent = `The session has ended, after ${count} peeks of this page.`; });
