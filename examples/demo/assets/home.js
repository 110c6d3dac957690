// The home page: three buttons, and what each does to the end of the session.

import { journal, open, seconds } from './session.js';
import { follow } from './look.js';
import { moved, reasonOf } from './sums.js';

// Nothing but the buttons shall move the end here.
const session = open({ keepAlive: false });
const note = journal();
const follower = follow(session);

const requests = {
  touch: ['/touch', { method: 'POST' }],
  poll: ['/poll', { method: 'POST' }],
  peek: ['/look'],
};

async function act(kind) {
  const before = follower.look;
  const answer = await follower.ask(...requests[kind]);
  if (!answer) return say(kind, 'No answer.', 'The server is away.');
  if (answer.status) {
    note(`${kind}: refused with status ${answer.status}${answer.reason ? `, ${answer.reason}` : ''}`, 'end');
    return say(kind, 'Refused.', answer.message ?? 'The session has ended.');
  }
  if (kind === 'peek') follower.mark('peek');
  const much = moved(before, answer);
  const by = `${much < 50 ? '±0.0' : `+${seconds(much)}`} s`;
  const rest = { idle: 'by idle', 'poll cap': 'by the polling cap', lifetime: 'by its lifetime' }[answer.limit] ?? '';
  const polls = kind === 'poll' ? `Poll ${answer.polls} since the last touch. ` : '';
  say(kind, by, `${polls}${answer.left < 0 ? 'No end.' : `It ends in ${seconds(answer.left)} s, ${rest}.`}`);
  note(`${kind}: the end moved by ${by}`);
}

function say(kind, what, more) {
  const strong = document.createElement('b');
  strong.textContent = what;
  document.querySelector(`[data-effect=${kind}]`).replaceChildren(strong, more);
}

for (const button of document.querySelectorAll('[data-act]')) {
  button.addEventListener('click', () => act(button.dataset.act));
}
session.addEventListener('warning', (e) => note(`warning: ${seconds(e.detail.remaining)} s left`, 'warning'));
session.addEventListener('extended', (e) => {
  if (e.detail.again) note('logged in again, in another window');
});
session.addEventListener('ended', (e) => note(`the session ended: ${reasonOf(e.detail)}`, 'end', e.detail.endedAt || Date.now()));
