// The arithmetic of a session's end. Nothing here reads a clock: times are
// numbers of milliseconds that the caller hands in.
//
// "Local" times are of a clock that only goes forward (see client.js); a Date that
// somebody moves does not reach them. "Server" times are the server's, as it
// says them in cookies and answers. The offset is local minus server, with its
// sign: a device that is five seconds ahead has an offset of +5000.

/** How far a server time may be from where it should be and still be believed. */
export const SLACK = 5000;

/** How long to wait for another window that may know why the session is gone. */
export const HEARING = 500;

/** How long the leader may take over a keep-alive for another window. */
export const ANSWER = 4000;

/** How far apart the times of one response may be. */
export const MOMENT = 100;

/** How far the device's clock may run off ours between two checks. */
export const DRIFT = 2000;

/** The longest wait after requests that failed. */
export const LONGEST_RETRY = 300_000;

/** The longest delay that setTimeout knows; a longer one would fire at once. */
const LONGEST = 2 ** 31 - 1;

/** The least that a warning gives to somebody who has to read it and to act. */
const LEAST_WARNING = 20_000;

/** How long before a warning the server is asked whether it is still due. */
const AHEAD = 2000;

/** How far the local clock is ahead of the server's. */
export const offsetOf = (local, server) => local - server;

/** What is left of the session; below zero if the end has passed. */
export const leftOf = (local, offset, expiry) => expiry - (local - offset);

/**
 * How long before the end to warn. `asked` is what the page or the server want,
 * or 0; `idle` is the time-out, or 0. The default is a minute, and nobody gets
 * less than 20 seconds; both give way where the time-out is so short that half
 * of it would be a warning.
 */
export function leadOf(asked, idle) {
  const lead = Math.max(asked || 60_000, LEAST_WARNING);
  return idle && lead > asked ? Math.max(asked, Math.min(lead, idle / 2)) : lead;
}

/**
 * Where the session stands: 'live'; 'near', when the server is asked so that a
 * warning is right when it is due; 'warning'; 'grace', which begins with the
 * end; 'expired', which is so iff local - offset > expiry + grace. Empty if the
 * end is unknown.
 */
export function verdict(left, lead, grace) {
  if (Number.isNaN(left)) return '';
  if (left < -grace) return 'expired';
  if (left <= 0) return 'grace';
  if (left <= lead) return 'warning';
  return left <= lead + AHEAD ? 'near' : 'live';
}

/**
 * How long to wait until the next check: `period`, or less if something is due
 * before. `others` are further waits; those that are over do not count.
 */
export function nextCheck(left, lead, grace, period, ...others) {
  let wait = period;
  for (const t of [left - lead - AHEAD, left - lead, left, left + grace + 1, ...others]) {
    if (t > 0 && t < wait) wait = t;
  }
  return Math.min(Math.max(1, Math.ceil(wait)), LONGEST);
}

/**
 * Judges a pair of server times that was written at an unknown moment after
 * `since`, as the cookies are or another window's word. Returns the offset to go
 * on with, or null if the pair does not fit what is known: a clock was moved,
 * or the pair is old, and only the server can tell.
 */
export function reconcile(offset, serverTime, since, local) {
  const written = serverTime + offset;
  if (!(written <= local + SLACK && written >= since - SLACK)) return null;
  // It was not written in the future, so the offset can be no larger than this.
  return Math.min(offset, offsetOf(local, serverTime));
}

/**
 * When a keep-alive is due: a quarter of the time-out after the session was last
 * seen if there has been input since; half of it, or well before the warning, if
 * the page is to stay alive while it is open; never otherwise. `idle` is 0 where
 * there is nothing to extend.
 */
export function keepAliveDue(seen, idle, lead, input, whileOpen) {
  if (!idle) return Infinity;
  if (input > seen) return seen + idle / 4;
  return whileOpen ? seen + Math.max(idle / 4, Math.min(idle / 2, idle - lead - 2 * AHEAD)) : Infinity;
}
