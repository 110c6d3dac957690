// The options of watch, checked.

const text = [(v) => typeof v === 'string', 'a string'];
const flag = [(v) => typeof v === 'boolean', 'true or false'];
const time = [(v) => typeof v === 'number' && v >= 0 && v < Infinity, 'milliseconds, zero or more'];

const RIGHT = {
  prefix: text,
  grace: time,
  every: [(v) => v >= 1 && time[0](v), 'milliseconds, one or more'],
  warn: time,
  keepAlive: flag,
  whileOpen: flag,
  stream: [(v) => /^(true|false|auto)$/.test(v), "true, false or 'auto'"],
  login: text,
  redirect: flag,
  user: text,
  signal: [(v) => 'aborted' in v, 'an AbortSignal'],
};

/** The options with their defaults. Throws a TypeError that names what makes no sense. */
export function settings(options) {
  const o = { prefix: '/session/', grace: 15_000, every: 10_000, keepAlive: true };
  for (const name in options) {
    const value = options[name];
    if (value == null) continue;
    const [fits, right] = RIGHT[name] ?? [() => false, 'one of ' + Object.keys(RIGHT)];
    if (!fits(value)) throw new TypeError(`lapse: watch({${name}: ${value}}): want ${right}`);
    o[name] = value;
  }
  if (!o.prefix.endsWith('/')) o.prefix += '/';
  return o;
}
