// A ready-made dialog for the warning and for the end:
//
//	import { watch, dialog } from '/session/dialog.js';
//	dialog(watch());
//
// It is an alertdialog: it is announced once, when it opens, not each second;
// it takes the focus, at the end to where no key does anything, and gives it
// back; Escape extends, or closes where nothing can be extended. It offers to
// stay only where staying can work, never leaves the page by itself, and needs
// neither inline style nor inline script. Its looks follow the custom properties
// --lapse-..., its words options.texts.

import { critical, fetch, watch } from './client.js';

export { critical, fetch, watch };

const AWAY = 'Nothing had happened for a while.';

/** The words, in English. {left} is the time that is left, such as "1 minute". */
const TEXTS = {
  warningTitle: 'Are you still there?',
  warning: 'You will be signed out within {left} because nothing has happened for a while.',
  failedTitle: 'That did not work, please try again',
  finalTitle: 'Your session ends soon',
  final: 'You will be signed out within {left}, and staying longer is not possible. Save what you are doing, then sign in again.',
  endedTitle: 'You have been signed out',
  ended: 'Sign in again to go on. Until then this page stays as it is.',
  idle: AWAY,
  'poll cap': AWAY,
  'poll max': AWAY,
  lifetime: 'A session lasts only so long, however active it is.',
  stay: 'Stay signed in',
  understood: 'I understand',
  signIn: 'Sign in again',
  close: 'Not now',
};

const STYLE = `
.lapse-dialog{color-scheme:var(--lapse-color-scheme,light dark);box-sizing:border-box;width:var(--lapse-width,27rem);margin:auto;padding:1.5rem;border:1px solid var(--lapse-border,light-dark(#0002,#fff3));border-radius:var(--lapse-radius,.75rem);background:var(--lapse-background,light-dark(#fff,#1f2328));color:var(--lapse-color,light-dark(#1f2328,#e8eaed));font:var(--lapse-font,1rem/1.5 system-ui,sans-serif);box-shadow:var(--lapse-shadow,0 1rem 3rem #0006);text-wrap:pretty}
.lapse-dialog::backdrop{background:var(--lapse-backdrop,#0009)}
.lapse-dialog *{scroll-margin:1rem}
.lapse-dialog h2{margin:0 0 .5rem;font:inherit;font-size:1.25rem;font-weight:600}
.lapse-dialog p{margin:0 0 1rem}
.lapse-clock{font-size:2.5rem;line-height:1;font-weight:600;font-variant-numeric:tabular-nums}
.lapse-actions{display:flex;flex-flow:row-reverse wrap;gap:.75rem;margin-top:1.5rem}
.lapse-actions>*{box-sizing:border-box;min-height:2.75rem;padding:.5rem 1.25rem;border:1px solid;border-radius:calc(var(--lapse-radius,.75rem)*.67);background:none;color:inherit;font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
.lapse-actions>:first-child{border-color:transparent;background:var(--lapse-accent,light-dark(#0b57d0,#a8c7fa));color:var(--lapse-accent-color,light-dark(#fff,#062e6f))}
.lapse-actions>:focus-visible{outline:3px solid var(--lapse-accent,light-dark(#0b57d0,#a8c7fa));outline-offset:2px}
@media(max-width:30rem){.lapse-actions>*{flex:1 0 100%}}
@media(prefers-reduced-motion:no-preference){.lapse-dialog{animation:lapse .2s}}
@keyframes lapse{from{opacity:0}}
`;

let sheet;

/**
 * Shows the warnings and the end of a session that watch returned. See
 * dialog.d.ts for the options.
 */
export function dialog(session, options = {}) {
  if (!(session instanceof EventTarget)) {
    throw new TypeError('lapse: dialog needs what watch returned: dialog(watch())');
  }
  const texts = { ...TEXTS, ...options.texts };
  let mode = ''; // 'stay', 'final', 'ended' while it is open
  let before; // what had the focus
  let timer;
  let busy = false;
  const off = new AbortController(); // dispose

  const make = (name, attributes, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const title = make('h2', { id: 'lapse-title', tabindex: -1 });
  const text = make('p', { id: 'lapse-text' });
  const clock = make('p', { class: 'lapse-clock', 'aria-hidden': 'true' });
  const actions = make('div', { class: 'lapse-actions' });
  const box = make(
    'dialog',
    { class: 'lapse-dialog', role: 'alertdialog', 'aria-modal': 'true', 'aria-labelledby': title.id, 'aria-describedby': text.id },
    title, text, clock, actions,
  );
  const button = (label, f) => {
    const made = make('button', { type: 'button' }, label);
    made.addEventListener('click', f);
    return made;
  };

  if (!sheet && 'adoptedStyleSheets' in document) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    // The page's own sheets come later and win.
    document.adoptedStyleSheets = [sheet, ...document.adoptedStyleSheets];
  }

  /** The time that is left in words, in the language of the page. */
  function left() {
    const seconds = Math.ceil(session.remaining / 1000);
    const short = seconds < 100 && seconds !== 60;
    const options = { style: 'unit', unit: short ? 'second' : 'minute', unitDisplay: 'long' };
    const format = (lang) => new Intl.NumberFormat(lang, options).format(short ? seconds : Math.floor(seconds / 60));
    try {
      return format(document.documentElement.lang || undefined);
    } catch {
      // A language that nobody knows.
      return format();
    }
  }

  function tick() {
    const { remaining } = session;
    const seconds = Math.ceil(remaining / 1000);
    clock.textContent = Math.floor(seconds / 60) + ':' + String(seconds % 60).padStart(2, '0');
    timer = setTimeout(tick, remaining % 1000 || 1000);
  }

  /** Opens the dialog anew, so that it is announced. */
  function show(now, head, body, ...choices) {
    if (off.signal.aborted) return;
    if (!mode) before = document.activeElement;
    mode = now;
    title.textContent = head;
    text.textContent = body.replace('{left}', left);
    clock.hidden = now === 'ended';
    actions.replaceChildren(...choices);
    clearTimeout(timer);
    if (!clock.hidden) tick();
    session.asking = true;
    if (!box.isConnected) (options.parent ?? document.body).append(box);
    if (box.open) box.close();
    box.showModal();
    // Whoever is typing shall neither leave the page nor miss what it says.
    (now === 'ended' ? title : choices[0]).focus();
  }

  function hide() {
    if (!mode) return;
    mode = '';
    session.asking = false;
    clearTimeout(timer);
    box.close();
    // Takes it out, so that it is no part of the page where nothing is to be said.
    box.remove();
    if (before?.isConnected) before.focus({ preventScroll: true });
  }

  async function stay() {
    if (busy) return;
    actions.firstChild.ariaBusy = busy = true;
    const extended = await session.extend();
    busy = false;
    if (extended) hide();
    else if (session.state === 'warning') warn(texts.failedTitle);
  }

  function warn(head) {
    if (session.extendable) show('stay', head, texts.warning, button(texts.stay, stay));
    else show('final', texts.finalTitle, texts['final ' + session.limit] ?? texts.final, button(texts.understood, hide));
  }

  const on = {
    warning: () => warn(texts.warningTitle),
    extended: hide,
    ended: ({ detail }) => {
      const link = make('a', { href: detail.login, ...(options.target && { target: options.target }) }, texts.signIn);
      const why = texts[detail.reason] ?? '';
      show('ended', texts.endedTitle, `${why} ${texts.ended}`.trim(), link, button(texts.close, hide));
    },
  };
  for (const type in on) session.addEventListener(type, on[type], off);

  box.addEventListener('cancel', (event) => {
    event.preventDefault();
    if (mode === 'stay') stay();
    else hide();
  });
  // A modal dialog lets Tab out to the browser's own bars; here it goes round.
  box.addEventListener('keydown', (event) => {
    if (event.key !== 'Tab') return;
    event.preventDefault();
    const all = [...actions.children];
    const next = all.indexOf(document.activeElement) + (event.shiftKey ? -1 : 1);
    all.at(next % all.length).focus();
  });
  // A browser lets nobody hold a dialog open against a second Escape.
  box.addEventListener('close', () => {
    if (!mode || box.open) return;
    if (mode === 'stay') stay();
    hide();
  });

  const again = () => {
    if (session.state === 'warning') on.warning();
    if (session.ended) on.ended({ detail: session.ended });
  };
  again();

  return {
    element: box,
    show: again,
    dispose() {
      off.abort();
      hide();
    },
  };
}
