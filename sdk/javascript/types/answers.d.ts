/**
 * What a policy says: scores, moves, verdicts, what is due and what may go.
 * @module
 */
import type { App, Node, Replica } from "./rows.js";
import type { Copied } from "./questions.js";
/** @import { App, Node, Replica } from "./rows.js" */
/** @import { Copied } from "./questions.js" */
/** The best score. */
export declare const SCORE_MAX = 10000;
/** The lane of snapshots on the owner's node. */
export declare const SNAPSHOT = "snapshot";
/**
 * How good a node would be, or that it must not be taken. The scale is absolute and shared by all policies: an app is moved
 * by itself only if another node is better by 2000 points.
 */
export declare class Score {
    /** From 0 to 10000; -1 is a refusal. @readonly */
    points: number;
    /** Why. @readonly */
    reason: string | undefined;
    /** A number for the reason: one of wit/codes.md, or one of your own from 1000 on. @readonly */
    code: number;
    /**
     * @param {number} points
     * @param {string} [reason]
     * @param {number} [code]
     */
    constructor(points: number, reason?: string, code?: number);
    /**
     * From 0 (as bad as it gets, but possible) to 10000 (perfect). What lies outside counts as the end that it passed.
     * @param {number} points
     */
    static good(points: number): Score;
    /**
     * `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole.
     * @param {number} part
     * @param {number} whole
     */
    static share(part: number, whole: number): Score;
    /**
     * The node must not be taken, and this is why. One policy's refusal is final.
     * @param {string} why
     * @param {number} [code]
     */
    static refuse(why: string, code?: number): Score;
    /**
     * Says why; `flocker explain` shows it.
     * @param {string} why
     * @param {number} [code]
     */
    because(why: string, code?: number): Score;
    /** Whether the node must not be taken. */
    get isRefusal(): boolean;
}
export type Move = {
    app: App;
    target: Node;
    /**
     * how much better the cluster is for it; compared only with your own other moves, the largest first
     */
    gain: number;
    /**
     * `flocker explain` shows it
     */
    reason?: string;
};
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
export declare class Verdict {
    /** As in wit/codes.md: 0 waits, 1 promotes, 2 freezes. @readonly */
    code: 0 | 1 | 2;
    /** Why; operators read it. @readonly */
    reason: string;
    /** How long it waits, if it does. @readonly */
    waitMs: number | undefined;
    /** What it promotes, if it does. @readonly */
    replica: Replica | undefined;
    /**
     * Ask again after this time.
     * @param {number} waitMs
     * @param {string} [why]
     */
    static wait(waitMs: number, why?: string): Verdict;
    /**
     * Make this replica the owner's copy. What was written after its snapshot is lost.
     * @param {Replica} replica
     * @param {string} [why]
     */
    static promote(replica: Replica, why?: string): Verdict;
    /**
     * Leave it to an operator, and this is why.
     * @param {string} why
     */
    static freeze(why: string): Verdict;
    /** Whether it leaves the volume to an operator. */
    get isFreeze(): boolean;
    /**
     * Whether it promotes this replica.
     * @param {Replica} replica
     */
    promotes(replica: Replica): boolean;
}
export type Due = {
    /**
     * when; now, if that has passed
     */
    atMs: number;
    /**
     * what: `snapshot`, `replicate`, or the name of a repository
     */
    lane: string;
    /**
     * for people, and for the policy itself when it prunes
     */
    label?: string;
};
export type Droppable = {
    /**
     * one of the copies of the question
     */
    copy: Copied;
    /**
     * for people
     */
    reason: string;
};
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
