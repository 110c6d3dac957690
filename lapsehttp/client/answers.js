// What the server answers: a refusal of a script's request, and the status.

/**
 * Whether an answer means that nobody is signed in any more: its error is
 * SESSION_TIMEOUT or NOT_LOGGED_IN. Any other error is the page's to show.
 * Takes the parsed body of an answer, or its code alone.
 */
export function critical(answer) {
  return /^(SESSION_TIMEOUT|NOT_LOGGED_IN)$/.test(answer?.error ?? answer);
}

/** The parsed body of a refusal, or null if the response is anything else. */
export async function refusal(response) {
  if (response.status !== 401) return null;
  const body = await response.clone().json().catch(() => null);
  return critical(body) ? body : null;
}

/** The response, if it is a success. Throws an Error otherwise. */
export function ok(response) {
  if (!response.ok) throw new Error(`lapse: ${response.url} answered ${response.status}`);
  return response;
}

/** The answer of the status endpoint. Throws an Error on anything else. */
export function checkStatus(answer) {
  const times = [answer?.serverTime, answer?.expiresAt ?? 0];
  if (!/^(live|ended|none)$/.test(answer?.state) || !times.every(Number.isFinite)) {
    throw new Error('lapse: the status endpoint answered ' + JSON.stringify(answer));
  }
  return answer;
}

/**
 * Where to sign in: the page's `own` address if it has one; else the server's
 * `login` with this page as the place to come back to, as the server's own
 * redirects have it; else this page itself, from which the server leads there.
 * Never anything but an address of the web.
 */
export function loginAddress(own, login, here) {
  const plain = here.split('#')[0];
  try {
    const url = new URL(own ?? login ?? plain, here);
    if (!/^https?:$/.test(url.protocol)) return plain;
    const query = url.searchParams;
    if (login && own == null && !query.has('next')) query.set('next', plain.slice(new URL(here).origin.length));
    return url.href;
  } catch {
    return plain;
  }
}
