/** What {@link watch} is to do. All times are milliseconds; each option may be left out. */
export interface WatchOptions {
  /** Where the server has mounted its endpoints: Options.Prefix. Default: '/session/'. */
  prefix?: string;
  /** How long after the end the client waits for the server's word before it says so itself. Default: 15000. */
  grace?: number;
  /** How often to look at the cookies; at least 1. Whatever falls due in between is done on time. Default: 10000. */
  every?: number;
  /**
   * How long before the end to warn. Default: what the session's class says
   * (Policy.Warn), else 60000. Never less than 20000, which somebody needs to
   * read and to act, unless half of the time-out is less.
   */
  warn?: number;
  /**
   * Whether input (pointer, key, touch, wheel) in a visible window keeps the
   * session alive: one keep-alive per quarter of the time-out for all windows,
   * from one of them. Default: true.
   */
  keepAlive?: boolean;
  /** Whether the session stays alive while this page is open: a keep-alive per half of the time-out, without any input. Default: false. */
  whileOpen?: boolean;
  /**
   * Whether to hold an event stream, one for all windows, over which the server
   * tells of the end at once. 'auto' gives up where the first try fails; true
   * goes on trying. Default: false.
   */
  stream?: boolean | 'auto';
  /**
   * Where to sign in. Default: Options.LoginURL, with this page in the parameter
   * next (lapsehttp.ReturnPath); where that is empty this page itself.
   */
  login?: string;
  /** Whether to go there when the server has confirmed the end. Default: false; the client never leaves a page by itself. */
  redirect?: boolean;
  /** Whose page this is, in whatever words: drafts of another user are dropped. Default: drafts are restored for anybody in this tab. */
  user?: string;
  /** Aborting it is the same as {@link Session.dispose}. */
  signal?: AbortSignal;
}

/** Why a session ended, or will: the server's words. Empty if it is not known. */
export type Reason = '' | 'idle' | 'lifetime' | 'poll cap' | 'poll max' | 'expired' | 'evicted' | 'shutdown' | (string & {});

/** The session is near its end. Comes once for an end, never after it. */
export interface WarningDetail {
  /** Milliseconds until the end. */
  remaining: number;
  /** Whether {@link Session.extend} can work; before a lifetime or a limit of polls it cannot. */
  extendable: boolean;
  /** Which limit will end it. */
  limit: Reason;
}

/** The end has moved: a warning is over, or an `ended` was taken back. */
export interface ExtendedDetail {
  /** Milliseconds until the end; Infinity if there is none. */
  remaining: number;
  limit: Reason;
  /** Whether this is another session, after a log-in in another window: perhaps of another user. */
  again: boolean;
}

/** The session has ended. Comes once. */
export interface EndedDetail {
  reason: Reason;
  /** The code of the refusal that told so, if one did. */
  error?: 'SESSION_TIMEOUT' | 'NOT_LOGGED_IN';
  /** When it ended, by the server's clock, if that is known. */
  endedAt?: number;
  /** Where to sign in: always an http or https address. */
  login: string;
  /**
   * Whether the server says so. If not, the client could not ask it within the
   * grace; `extended` follows should the session be alive after all.
   */
  confirmed: boolean;
}

/** A request of the client failed; it tries again by itself. */
export interface ErrorDetail {
  during: 'status' | 'keepalive';
  error: unknown;
}

export interface SessionEventMap {
  warning: CustomEvent<WarningDetail>;
  extended: CustomEvent<ExtendedDetail>;
  ended: CustomEvent<EndedDetail>;
  error: CustomEvent<ErrorDetail>;
}

/** The session of this browser, as this window knows it. */
export interface Session extends EventTarget {
  /** 'unknown' until the server has been asked; 'none' if nobody is signed in. */
  readonly state: 'unknown' | 'live' | 'warning' | 'ended' | 'none';
  /** Milliseconds until the end, now; Infinity: no limit; 0: ended; NaN: unknown. */
  readonly remaining: number;
  /** The end by the server's clock, in milliseconds since the epoch; Infinity: no limit; NaN: unknown or ended. */
  readonly expiresAt: number;
  /** Which limit will end it, as far as is known. */
  readonly limit: Reason;
  /** Whether {@link extend} can work. */
  readonly extendable: boolean;
  /** How far the clock of this device (Date) is ahead of the server's; negative if behind; NaN: unknown. */
  readonly offset: number;
  /** Whether this window sends the keep-alives for all. */
  readonly leads: boolean;
  /** What `ended` told; null while the session lives. */
  readonly ended: EndedDetail | null;
  /** Set it while the user is being asked whether to stay: then input alone does not extend. */
  asking: boolean;
  /** Looks at once, as it does by itself every now and then. */
  check(): void;
  /** Sends a keep-alive now, for a user who wants to stay, where that can work; whether the session lives longer for it. Never rejects. */
  extend(): Promise<boolean>;
  /**
   * fetch for the requests of this page. Requests of a hidden window are polls
   * at most. The response is the caller's as ever; `critical` is true if it is a
   * 401 that says that nobody is signed in any more, and then `ended` tells the
   * page so, once, however many requests fail. If the cookies say otherwise, or
   * somebody has signed in since, the server is asked first.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response & { critical?: boolean }>;
  /** Signs out; all windows are told, and drop their drafts. Rejects if the server does not do it. */
  logout(): Promise<void>;
  /** Stops everything: no event, timer, listener or connection is left. */
  dispose(): void;
  addEventListener<K extends keyof SessionEventMap>(
    type: K,
    listener: ((this: Session, event: SessionEventMap[K]) => unknown) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof SessionEventMap>(
    type: K,
    listener: ((this: Session, event: SessionEventMap[K]) => unknown) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

/**
 * Watches the session of this browser. Throws a TypeError that names an option
 * that makes no sense, and an Error outside of a page.
 *
 * What was typed into forms with the attribute data-session-draft is kept over
 * the log-in, in sessionStorage; passwords, hidden fields, and what is named or
 * filled in like a secret never are. Nothing is kept after a log-out (the reason
 * 'expired'), nor once the page has learned that the session goes on.
 */
export function watch(options?: WatchOptions): Session;

/** {@link Session.fetch} of the latest watch that has not been disposed; the browser's own fetch if there is none. */
export function fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response & { critical?: boolean }>;

/**
 * Whether an answer, or its error code, means that nobody is signed in any more:
 * SESSION_TIMEOUT or NOT_LOGGED_IN. Any other error is the page's to show.
 */
export function critical(answer: unknown): boolean;
