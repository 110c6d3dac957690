// Drafts: what was typed into forms with the attribute data-session-draft is
// kept in this window's sessionStorage over the log-in. Without the attribute
// nothing is kept, and secrets never are.

const SECRET_TYPE = /^(password|hidden|file|submit|button|image|reset)$/;
const SECRET_NAME = /pass|pwd|secret|csrf|xsrf|token|nonce|otp|cvc|cvv/i;
const SECRET_FILL = /password|one-time-code|cc-/;

/** Whether a field's content may be kept. */
export function keepable(field) {
  return (
    !!field.name &&
    !field.disabled &&
    'value' in field &&
    !SECRET_TYPE.test(field.type) &&
    !SECRET_NAME.test(field.name) &&
    !SECRET_FILL.test(field.autocomplete ?? '')
  );
}

/**
 * The fields of a form that may be kept, each with a key that is the same when
 * the form comes back: its name and its place among all fields of that name.
 */
function fields(form) {
  const count = {};
  const all = [...form.elements].map((field) => {
    count[field.name] = (count[field.name] ?? 0) + 1;
    return [field.name + ' ' + count[field.name], field];
  });
  return all.filter(([, field]) => keepable(field));
}

const isChoice = (field) => /^(checkbox|radio)$/.test(field.type);

/** The content of a form, by the keys of its fields. */
export function collect(form) {
  const read = (field) => {
    if (isChoice(field)) return field.checked;
    return field.type === 'select-multiple' ? [...field.options].map((o) => o.selected) : field.value;
  };
  return Object.fromEntries(fields(form).map(([key, field]) => [key, read(field)]));
}

/** Puts what collect gave back into a form, and tells the page of each change. */
export function fill(form, kept) {
  for (const [key, field] of fields(form)) {
    const content = kept[key];
    if (content == null) continue;
    if (isChoice(field)) field.checked = content;
    else if (field.type === 'select-multiple') [...field.options].forEach((o, i) => { o.selected = content[i]; });
    else field.value = content;
    for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, { bubbles: true }));
  }
}

/** The drafts of one page; `user` says whose they are, if the page knows. */
export function openDrafts(env, user) {
  const key = 'lapse:draft:' + env.location.pathname;
  let off;
  const forms = () =>
    [...env.document.querySelectorAll('form[data-session-draft]')].map((form, i) => [form.dataset.sessionDraft || form.id || i, form]);
  // Storage may be full, forbidden, or hold what is not ours: then there is no
  // draft, and the forms on the page keep what they have.
  const attempt = (f) => () => {
    try {
      f(env.sessionStorage);
    } catch {
      // As said.
    }
  };
  const drop = attempt((store) => store.removeItem(key));
  /** Forgets them, and with `off` keeps none until the next forget or restore. */
  const forget = (now) => {
    off = now;
    drop();
  };
  return {
    save: attempt((store) => {
      const content = forms().map(([name, form]) => [name, collect(form)]);
      if (!off && content.length) store.setItem(key, JSON.stringify({ user, content: Object.fromEntries(content) }));
    }),
    /** Puts the drafts back and forgets them; those of another user it only forgets. */
    restore: attempt((store) => {
      const text = store.getItem(key);
      forget();
      const draft = JSON.parse(text);
      if (draft?.user !== user) return;
      for (const [name, form] of forms()) fill(form, draft.content[name] ?? {});
    }),
    forget,
  };
}
