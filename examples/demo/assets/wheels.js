// The picture of the wheels: nine rings of 128 slots. Now is at the top, and
// what is to come lies clockwise from there; the finest wheel is the outermost, as
// the seconds are on a clock.

/** The step of the scale for a number of entries: one for each power of ten. */
export const heat = (n) => Math.min(6, String(n).length);

export function wheels(canvas) {
  const dark = matchMedia('(prefers-color-scheme: dark)');
  let colors;
  let last = [];

  function theme() {
    const style = getComputedStyle(canvas);
    const color = (name) => style.getPropertyValue(name).trim();
    colors = {
      heat: [1, 2, 3, 4, 5, 6].map((i) => color(`--heat-${i}`)),
      track: color('--track'),
      text: color('--text'),
      soft: color('--soft'),
    };
  }

  function draw(levels) {
    last = levels;
    const side = canvas.clientWidth;
    if (!side || !levels.length) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(side * scale)) canvas.width = canvas.height = Math.round(side * scale);
    const pen = canvas.getContext('2d');
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, side, side);
    pen.translate(side / 2, side / 2);
    const outer = side / 2 - 12;
    const hole = outer * 0.2;
    const pitch = (outer - hole) / levels.length;
    const slot = (2 * Math.PI) / levels[0].length;
    const radiusOf = (level) => outer - (level + 0.5) * pitch;
    levels.forEach((slots, level) => {
      const radius = radiusOf(level);
      pen.lineWidth = pitch * 0.74;
      pen.strokeStyle = colors.track;
      pen.beginPath();
      pen.arc(0, 0, radius, 0, 2 * Math.PI);
      pen.stroke();
      slots.forEach((n, i) => {
        if (!n) return;
        const from = i * slot - Math.PI / 2;
        pen.strokeStyle = colors.heat[heat(n) - 1];
        pen.beginPath();
        // A hair wider than a slot: a single entry must be seen, too.
        pen.arc(0, 0, radius, from, from + Math.max(slot, 2.5 / radius));
        pen.stroke();
      });
    });
    // The hand.
    pen.strokeStyle = colors.text;
    pen.lineWidth = 1.5;
    pen.beginPath();
    pen.moveTo(0, -hole * 0.62);
    pen.lineTo(0, -outer - 4);
    pen.stroke();
    pen.fillStyle = colors.text;
    pen.beginPath();
    pen.moveTo(-5, -outer - 11);
    pen.lineTo(5, -outer - 11);
    pen.lineTo(0, -outer - 3);
    pen.fill();
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.font = `600 ${Math.max(12, side / 34)}px system-ui, sans-serif`;
    pen.fillText('now', 0, 0);
    pen.font = `${Math.max(9, pitch * 0.6)}px system-ui, sans-serif`;
    pen.fillStyle = colors.soft;
    levels.forEach((_, level) => {
      pen.fillText(String(level), -pitch * 0.45, -radiusOf(level));
    });
  }

  theme();
  dark.addEventListener('change', () => {
    theme();
    draw(last);
  });
  new ResizeObserver(() => draw(last)).observe(canvas);
  return { draw };
}
