/**
 * What a policy says: scores, moves, verdicts, what is due and what may go.
 * @module
 */

/** @import { App, Node, Replica } from "./rows.js" */
/** @import { Copied } from "./questions.js" */

/** The best score. */
export const SCORE_MAX = 10_000;

/** The lane of snapshots on the owner's node. */
export const SNAPSHOT = "snapshot";

/**
 * How good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app is moved
 * by itself only if another node is better by 2000 points.
 */
export class Score {
  /**
   * @param {number} points
   * @param {string} [reason]
   * @param {number} [code]
   */
  constructor(points, reason, code = 0) {
    /** From 0 to 10000; -1 is a refusal. @readonly */
    this.points = points;
    /** Why. @readonly */
    this.reason = reason;
    /** A number for the reason: one of wit/codes.md, or one of your own from 1000 on. @readonly */
    this.code = code;
  }

  /**
   * From 0 (as bad as it gets, but possible) to 10000 (perfect). What lies outside counts as the end that it passed.
   * @param {number} points
   */
  static good(points) {
    if (Number.isNaN(points)) throw new RangeError("a score is a number, not NaN");
    return new Score(Math.trunc(Math.min(Math.max(points, 0), SCORE_MAX)));
  }

  /**
   * `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole.
   * @param {number} part
   * @param {number} whole
   */
  static share(part, whole) {
    return Score.good(whole > 0 ? (part / whole) * SCORE_MAX : 0);
  }

  /**
   * The node must not be taken, and this is why. One policy's refusal is final.
   * @param {string} why
   * @param {number} [code]
   */
  static refuse(why, code) {
    return new Score(-1, why, code);
  }

  /**
   * Says why; `flocker explain` shows it.
   * @param {string} why
   * @param {number} [code]
   */
  because(why, code) {
    return new Score(this.points, why, code);
  }

  /** Whether the node must not be taken. */
  get isRefusal() {
    return this.points < 0;
  }
}

/**
 * An app had better be elsewhere.
 * @typedef {object} Move
 * @property {App} app
 * @property {Node} target
 * @property {number} gain how much better the cluster is for it; compared only with your own other moves, the largest first
 * @property {string} [reason] `flocker explain` shows it
 */

/**
 * What to do with a volume of a silent node. Of several policies the most careful counts: freeze, then wait, then promote.
 */
export class Verdict {
  /**
   * @internal
   * @param {0 | 1 | 2} code
   * @param {string} reason
   * @param {{ waitMs?: number, replica?: Replica }} what
   */
  constructor(code, reason, what) {
    /** As in wit/codes.md: 0 waits, 1 promotes, 2 freezes. @readonly */
    this.code = code;
    /** Why; operators read it. @readonly */
    this.reason = reason;
    /** How long it waits, if it does. @readonly */
    this.waitMs = what.waitMs;
    /** What it promotes, if it does. @readonly */
    this.replica = what.replica;
  }

  /**
   * Ask again after this time.
   * @param {number} waitMs
   * @param {string} [why]
   */
  static wait(waitMs, why = "") {
    return new Verdict(0, why, { waitMs });
  }

  /**
   * Make this replica the owner's copy. What was written after its snapshot is lost.
   * @param {Replica} replica
   * @param {string} [why]
   */
  static promote(replica, why = "") {
    return new Verdict(1, why, { replica });
  }

  /**
   * Leave it to an operator, and this is why.
   * @param {string} why
   */
  static freeze(why) {
    return new Verdict(2, why, {});
  }

  /** Whether it leaves the volume to an operator. */
  get isFreeze() {
    return this.code === 2;
  }

  /**
   * Whether it promotes this replica.
   * @param {Replica} replica
   */
  promotes(replica) {
    return this.replica !== undefined && this.replica.is(replica);
  }
}

/**
 * Something to be done about a volume. Of several policies, everything that one of them finds due is done.
 * @typedef {object} Due
 * @property {number} atMs when; now, if that has passed
 * @property {string} lane what: `snapshot`, `replicate`, or the name of a repository
 * @property {string} [label] for people, and for the policy itself when it prunes
 */

/**
 * A copy that may go. It goes only if every policy says so.
 * @typedef {object} Droppable
 * @property {Copied} copy one of the copies of the question
 * @property {string} reason for people
 */
