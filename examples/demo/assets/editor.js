// The editor: the client sends keep-alives while somebody types, or while the
// page is open; a save is a touch.

import { fetch, open } from './session.js';
import { follow } from './look.js';

const { whileOpen } = document.documentElement.dataset;
const form = document.getElementById('editor');
const text = document.getElementById('text');
const auto = document.getElementById('auto');
const saved = document.getElementById('saved');

const session = open({ whileOpen: whileOpen !== undefined });
const follower = follow(session, (look, before) => {
  if (before && look.polls > before.polls) say(`Kept alive: poll ${look.polls} since the last touch.`);
});

let kept = text.value; // what the server has
let timer;

const say = (words) => { saved.textContent = words; };

async function save() {
  clearTimeout(timer);
  const sent = text.value;
  let response;
  try {
    response = await fetch('/editor', {
      method: 'POST',
      headers: { Accept: 'application/json' },
      body: new URLSearchParams({ text: sent }),
    });
  } catch {
    return say('Not saved: the server does not answer.');
  }
  if (response.critical) return say('Not saved: the session has ended. The text stays here, and comes back after the log-in.');
  if (!response.ok) return say(`Not saved: ${(await response.json().catch(() => ({}))).message ?? `status ${response.status}`}.`);
  kept = sent;
  say(`Saved at ${new Date().toLocaleTimeString('en-GB')}: that was a touch.`);
  follower.ask('/look');
}

text.addEventListener('input', () => {
  clearTimeout(timer);
  say(text.value === kept ? 'All is saved.' : 'Not saved yet.');
  if (auto.checked && text.value !== kept) timer = setTimeout(save, 1500);
});
form.addEventListener('submit', (event) => {
  event.preventDefault();
  save();
});
