// The way from one window to the others of the same site.

/**
 * Opens the bus of the given name; `hear` gets what other windows post. Takes a
 * BroadcastChannel, else the storage events of localStorage, else nothing: then
 * `alone` is true and post does nothing.
 */
export function openBus(env, name, hear) {
  if (env.BroadcastChannel) {
    try {
      const channel = new env.BroadcastChannel(name);
      channel.onmessage = (event) => hear(event.data ?? {});
      return {
        alone: false,
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
  if (store) {
    const listen = (event) => {
      if (event.key !== name || !event.newValue) return;
      try {
        hear(JSON.parse(event.newValue).message ?? {});
      } catch {
        // Somebody else wrote to our key.
      }
    };
    env.addEventListener('storage', listen);
    return {
      alone: false,
      post: (message) => {
        try {
          // An event comes only with a new value, so no two may be alike.
          store.setItem(name, JSON.stringify({ message, unlike: Math.random() }));
        } catch {
          // Full or forbidden: as if alone.
        }
      },
      close: () => env.removeEventListener('storage', listen),
    };
  }
  return { alone: true, post() {}, close() {} };
}
