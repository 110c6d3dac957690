// The cookies that the server writes for the page.

/**
 * Reads serverTime and sessionExpiry from the text of document.cookie. Null if
 * either is missing or is no whole number of milliseconds: the end is unknown
 * then, it has not come.
 */
export function readCookies(text) {
  const read = (name) => {
    const found = new RegExp(`(?:^|;\\s*)${name}="?(\\d{1,16})"?(?:;|$)`).exec(text);
    return found ? +found[1] : null;
  };
  const serverTime = read('serverTime');
  const expiresAt = read('sessionExpiry');
  return serverTime == null || expiresAt == null ? null : { serverTime, expiresAt };
}

/** Whether the page came over the network just now, and its cookies with it, and not out of a cache. */
export function fromNetwork(env) {
  const [page] = env.performance.getEntriesByType('navigation');
  return page && page.type !== 'back_forward' && page.transferSize > 0;
}
