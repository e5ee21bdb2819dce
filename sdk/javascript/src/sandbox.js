/**
 * The world that a policy runs in: the clock stands at the moment of the question, randomness follows its seed, and the
 * console leads to the node's log. Answers to the same question are then the same, whenever and wherever it is asked.
 * Importing this changes the globals; only components do so.
 * @module
 */

import log from "flocker:plugin/log@0.1.0";

/** While the component is built there is no host, and nobody who would read a line. */
let isAsked = false;
let nowMs = 0;
/** @type {() => number} */
let random = randomness(0);

/**
 * Answers a question, in its world.
 * @template T
 * @param {{ nowMs: number, seed: number }} moment
 * @param {() => T} answer
 * @returns {T}
 */
export function within(moment, answer) {
  isAsked = true;
  nowMs = moment.nowMs;
  random = randomness(moment.seed);
  try {
    return answer();
  } finally {
    isAsked = false;
  }
}

/**
 * Numbers from 0 to 1 (mulberry32). Both halves of the seed count.
 * @param {number} seed
 */
function randomness(seed) {
  let state = (seed >>> 0) ^ Math.floor(seed / 2 ** 32);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const RealDate = Date;

class FrozenDate extends RealDate {
  /** @param {any[]} given */
  constructor(...given) {
    // As the real one: no argument means now.
    super(...(given.length === 0 ? /** @type {[number]} */ ([nowMs]) : /** @type {[number]} */ (given)));
  }

  /** @override */
  static now() {
    return nowMs;
  }
}

/** @param {unknown} value */
function shown(value) {
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** @param {"debug" | "info" | "warn" | "error"} level */
function writer(level) {
  /** @param {unknown[]} values */
  return (...values) => {
    if (isAsked) log.write(level, values.map(shown).join(" "), []);
  };
}

Object.assign(globalThis, {
  Date: FrozenDate,
  console: {
    debug: writer("debug"),
    log: writer("info"),
    info: writer("info"),
    warn: writer("warn"),
    error: writer("error"),
  },
});
Math.random = () => random();
