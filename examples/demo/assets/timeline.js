// The line of time: what was done lies left of now and moves away; the end of
// the session stands to the right and comes nearer.

const NS = 'http://www.w3.org/2000/svg';
const AXIS = 74;

const make = (parent, name, attributes = {}, text = '') => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
};

export function timeline(svg) {
  const marks = []; // { at, kind, shape }
  const left = make(svg, 'line', { class: 'left', y1: AXIS, y2: AXIS });
  const axis = make(svg, 'line', { class: 'axis', x1: 0, y1: AXIS, y2: AXIS });
  const scale = make(svg, 'g');
  const warn = make(svg, 'line', { class: 'warn', y1: 30, y2: AXIS });
  const flag = make(svg, 'g', { class: 'flag' });
  make(flag, 'line', { y1: 14, y2: AXIS });
  make(flag, 'path', { d: 'M0 14 L18 21 L0 28 Z' });
  const when = make(flag, 'text', { y: 11, 'text-anchor': 'middle' });
  const group = make(svg, 'g');
  const now = make(svg, 'line', { class: 'now', y1: 40, y2: 88 });
  const label = make(svg, 'text', { y: 102, 'text-anchor': 'middle' }, 'now');

  let width = 0;
  let ahead = 0;
  let origin = 0;
  let unit = 1;

  /** Fits the line to the window, and to what lies ahead. */
  function fit(most) {
    const next = svg.clientWidth;
    if (next === width && most === ahead) return;
    [width, ahead] = [next, most];
    origin = Math.round(width * 0.36);
    unit = (width - origin - 26) / ahead; // pixels a millisecond
    axis.setAttribute('x2', width);
    for (const line of [now, label]) line.setAttribute(line === now ? 'x1' : 'x', origin);
    now.setAttribute('x2', origin);
    left.setAttribute('x1', origin);
    scale.replaceChildren();
    const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 3600].find((s) => s * 1000 * unit >= 52) ?? 7200;
    for (let s = -step * 20; s * 1000 < ahead * 1.1; s += step) {
      const x = origin + s * 1000 * unit;
      if (x < 14 || s === 0 || x > width - 14) continue;
      make(scale, 'text', { x, y: 102, 'text-anchor': 'middle' }, `${s > 0 ? '+' : '−'}${Math.abs(s)} s`);
      make(scale, 'line', { class: 'axis', x1: x, x2: x, y1: AXIS - 4, y2: AXIS + 4 });
    }
  }

  return {
    /** Something was done `ago` milliseconds before now. */
    mark(kind, ago) {
      const shape =
        kind === 'peek'
          ? make(group, 'line', { class: 'mark peek', y1: AXIS - 11, y2: AXIS + 11 })
          : make(group, 'circle', { class: `mark ${kind}`, r: 6, cy: AXIS });
      marks.push({ at: performance.now() - ago, shape });
      while (marks.length > 200) marks.shift().shape.remove();
    },
    /** Draws the line as it is at `t`: the end comes in `rest`, and the warning `lead` before it. */
    draw(t, rest, most, lead) {
      fit(most);
      if (!width) return;
      for (const { at, shape } of marks) shape.setAttribute('transform', `translate(${(origin + (at - t) * unit).toFixed(1)} 0)`);
      while (marks.length && origin + (marks[0].at - t) * unit < -20) marks.shift().shape.remove();
      const known = Number.isFinite(rest);
      for (const element of [flag, left]) element.toggleAttribute('hidden', !known);
      warn.toggleAttribute('hidden', !known || lead >= rest);
      if (!known) return;
      const x = Math.min(width - 8, origin + rest * unit);
      flag.setAttribute('transform', `translate(${x.toFixed(1)} 0)`);
      left.setAttribute('x2', x);
      const at = origin + (rest - lead) * unit;
      warn.setAttribute('x1', at);
      warn.setAttribute('x2', at);
      const text = `${Math.ceil(rest / 1000)} s`;
      if (when.textContent !== text) when.textContent = text;
    },
  };
}
