// The event stream, over which the server pushes what happens to the session.

/**
 * Opens the stream. Calls `news` with each status that comes, `ended` with the
 * end, and `closed` when the browser has given up, with whether it ever worked.
 * Returns what closes it.
 */
export function openStream(env, url, news, ended, closed) {
  const source = new env.EventSource(url);
  let worked = false;
  const on = (type, f) => source.addEventListener(type, (event) => f(event.data && JSON.parse(event.data)));
  on('open', () => { worked = true; });
  on('extended', news);
  on('warning', news);
  on('ended', ended);
  // Unless it is closed, it tries again by itself.
  on('error', () => source.readyState === 2 && closed(worked));
  return source;
}
