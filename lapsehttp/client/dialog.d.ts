import type { Session } from './client.js';

export { critical, fetch, watch } from './client.js';

/** The words of the dialog. {left} stands for the time that is left, such as "1 minute", in the language of the page. */
export interface DialogTexts {
  warningTitle: string;
  warning: string;
  /** The title when staying did not work. */
  failedTitle: string;
  /** The title and the text where nothing can be extended. */
  finalTitle: string;
  final: string;
  /** The same for one limit, where that has words of its own. */
  'final lifetime': string;
  'final poll cap': string;
  'final poll max': string;
  endedTitle: string;
  /** The text after the end, which follows that of the reason. */
  ended: string;
  /** Why it ended; a key for each reason that has words, none for the others. */
  idle: string;
  lifetime: string;
  'poll cap': string;
  'poll max': string;
  expired: string;
  evicted: string;
  shutdown: string;
  /** The buttons and the link. */
  stay: string;
  understood: string;
  signIn: string;
  close: string;
}

export interface DialogOptions {
  /** Words to use in place of the English ones; each may be left out. */
  texts?: Partial<DialogTexts>;
  /** The target of the link to the log-in, such as '_blank' to keep this page. Default: none. */
  target?: string;
  /** Where the dialog is put while it is open. Default: document.body. */
  parent?: Element;
}

/**
 * Shows a session's warnings and its end in an accessible dialog. Its looks
 * follow these custom properties, which the page may set on :root or on
 * .lapse-dialog: --lapse-background, --lapse-color, --lapse-accent,
 * --lapse-accent-color, --lapse-border, --lapse-backdrop, --lapse-shadow,
 * --lapse-radius, --lapse-width, --lapse-font and --lapse-color-scheme
 * ('light dark': as the device prefers). Throws a TypeError if `session` is not
 * what watch returned.
 */
export function dialog(session: Session, options?: DialogOptions): {
  /** The <dialog>; part of the page while it is open. */
  readonly element: HTMLDialogElement;
  /**
   * Shows the warning or the end again, if there is one: for a user who has closed
   * the dialog and does what cannot work any more.
   */
  show(): void;
  /** Closes it and shows nothing any more. The session is watched on. */
  dispose(): void;
};
