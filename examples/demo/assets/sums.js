// What the pages work out from the server's answers. It uses nothing of a
// browser.

/**
 * By how many milliseconds the end has moved between two looks. Both count by
 * the server's clock, so that it does not matter how long they were on the way.
 */
export function moved(before, after) {
  if (!before || before.left < 0 || after.left < 0) return 0;
  return after.now + after.left - (before.now + before.left);
}

/**
 * Adds a snapshot to those of the last two seconds. However long ago the one
 * before was, it stays: there must be something to compare.
 */
export function keep(past, shot) {
  past.push(shot);
  while (past.length > 2 && shot.now - past[0].now > 2000) past.shift();
}

/** How fast a counter rises, by the snapshots that were kept. */
export function perSecond(past, name) {
  const [first, last] = [past[0], past.at(-1)];
  const seconds = (last.now - first.now) / 1000;
  return seconds > 0 ? Math.max(0, (last[name] - first[name]) / seconds) : 0;
}

/** Why the session ended: of several refusals only the first one may know. */
export const reasonOf = (refusal, ended) => refusal.reason || ended?.reason || 'unknown reason';
