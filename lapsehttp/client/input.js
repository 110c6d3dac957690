// What counts as a sign that somebody is there.

/** The events to listen for. */
export const INPUT = ['pointerdown', 'pointermove', 'keydown', 'touchstart', 'touchmove', 'wheel', 'scroll'];

/** How long after input a scroll is still the user's. */
const MOMENTUM = 3000;

/**
 * Makes a function that says whether an event is real input: not a script's, no
 * scroll that nobody began, and no pointer that lies still while the page moves
 * under it.
 */
export function inputFilter() {
  let latest = -Infinity;
  let place;
  return (event, now) => {
    if (!event.isTrusted) return false;
    if (event.type === 'scroll') return now - latest < MOMENTUM;
    if (event.type === 'pointermove') {
      const before = place;
      place = event.screenX + ' ' + event.screenY;
      if (!before || before === place) return false;
    }
    latest = now;
    return true;
  };
}
