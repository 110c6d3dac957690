// The page's own script: it watches the session as the page's element asks for,
// and notes what it was told.

import * as client from '/session/client.js';

const { watch: options, dialog } = document.documentElement.dataset;

/** What the session told the page, as [type, detail, when by this clock]. */
globalThis.told = [];
globalThis.client = client;
globalThis.session = client.watch(JSON.parse(options));
for (const type of ['warning', 'extended', 'ended', 'error']) {
  session.addEventListener(type, ({ detail }) => told.push([type, detail, Date.now()]));
}
/** How often it told one of these. */
globalThis.times = (type) => told.filter(([t]) => t === type).length;
/** What it told last under this name. */
globalThis.last = (type) => told.findLast(([t]) => t === type)?.[1];

if (dialog) {
  const { dialog: open } = await import('/session/dialog.js');
  globalThis.box = open(session, JSON.parse(dialog)).element;
}
globalThis.ready = true;
