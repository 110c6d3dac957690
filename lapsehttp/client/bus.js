// The way from one window to the others of the same site.

/**
 * Opens the bus of the given name; `hear` gets what other windows post. Takes a
 * BroadcastChannel, else the storage events of localStorage. Returns nothing if
 * the browser has or grants neither, and each window is alone.
 */
export function openBus(env, name, hear) {
  if (env.BroadcastChannel) {
    try {
      const channel = new env.BroadcastChannel(name);
      channel.onmessage = (event) => hear(event.data ?? {});
      return {
        post: (message) => channel.postMessage(message),
        close: () => channel.close(),
      };
    } catch {
      // Refused, as in a sandbox: try the next one.
    }
  }
  let store;
  try {
    store = env.localStorage;
  } catch {
    // Refused, too.
  }
  if (!store) return undefined;
  const listen = (event) => {
    if (event.key !== name) return;
    try {
      hear(JSON.parse(event.newValue)[0] ?? {});
    } catch {
      // Somebody else wrote to our key, or took it away.
    }
  };
  env.addEventListener('storage', listen);
  return {
    post: (message) => {
      try {
        // An event comes only with a new value, so no two may be alike.
        store.setItem(name, JSON.stringify([message, Math.random()]));
      } catch {
        // Full or forbidden: as if alone.
      }
    },
    close: () => env.removeEventListener('storage', listen),
  };
}
