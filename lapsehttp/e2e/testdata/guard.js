// Runs before all others: takes away what this page shall not have, onNAME for
// the events of that name, and tells the console whatever the
// Content-Security-Policy refuses.

(() => {
  document.addEventListener('securitypolicyviolation', (event) => {
    console.error(`refused by ${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
  });
  for (const name of (document.currentScript.dataset.without ?? '').split(' ')) {
    if (/^on/.test(name)) addEventListener(name.slice(2), (event) => event.stopImmediatePropagation(), true);
    else if (name === 'locks') Object.defineProperty(navigator, name, { value: undefined });
    else if (/Storage$/.test(name)) Object.defineProperty(globalThis, name, { get() { throw new DOMException('denied', 'SecurityError'); } });
    else if (name) Object.defineProperty(globalThis, name, { value: undefined });
  }
})();
