/**
 * Between the component's exports and the author's policy. Not for authors.
 * @module
 */
import type { Policy } from "./policy.js";
import type { View } from "./tables.js";
export type Lent = View & {
    [Symbol.dispose](): void;
};
export type Context = {
    nowMs: number;
    seed: number;
};
export type Attr = {
    key: string;
    value: string;
};
export type Configured = {
    policy: Policy<any>;
    settings: any;
};
/** @typedef {{ policy: Policy<any>, settings: any }} Configured */
/**
 * The interfaces that a component of this policy exports.
 * @param {Policy<any>} policy
 * @param {string} name
 * @param {string} version
 */
export declare function exportsOf(policy: Policy<any>, name: string, version: string): {
    lifecycle: {
        describe: () => {
            name: string;
            version: string;
            settingsSchema: string;
            attrs: never[];
        };
        /** @param {string} settings */
        configure(settings: string): void;
    };
    placement: {
        /**
         * @param {Context} context
         * @param {Lent} view
         * @param {any} asked
         * @param {ArrayLike<number>} candidates
         */
        evaluate(context: Context, view: Lent, asked: any, candidates: ArrayLike<number>): {
            scores: number[];
            reasons: {
                candidate: number;
                code: number;
                text: string;
            }[];
            askAgainMs: null;
            attrs: never[];
        };
    };
    rebalance: {
        /**
         * @param {Context} context
         * @param {Lent} view
         * @param {ArrayLike<number>} movable
         * @param {number} maxMoves
         */
        plan(context: Context, view: Lent, movable: ArrayLike<number>, maxMoves: number): {
            app: number;
            target: number;
            gain: number;
            reason: string;
            attrs: never[];
        }[];
    };
    failover: {
        /**
         * @param {Context} context
         * @param {Lent} view
         * @param {any} what
         * @param {ArrayLike<number>} volumes
         */
        decide(context: Context, view: Lent, what: any, volumes: ArrayLike<number>): {
            code: 0 | 1 | 2;
            replica: number | null;
            waitMs: number;
            reason: string;
            attrs: never[];
        }[];
    };
    backupSchedule: {
        /**
         * @param {Context} context
         * @param {Lent} view
         * @param {ArrayLike<number>} volumes
         * @param {number} horizonMs
         */
        next(context: Context, view: Lent, volumes: ArrayLike<number>, horizonMs: number): {
            due: {
                volume: number;
                atMs: number;
                lane: string;
                label: string;
                attrs: never[];
            }[];
            askAgainMs: number;
        };
        /**
         * @param {Context} context
         * @param {Lent} view
         * @param {number} volume
         * @param {string} lane
         * @param {any[]} copies
         */
        prune(context: Context, view: Lent, volume: number, lane: string, copies: any[]): {
            copy: number;
            reason: string;
        }[];
    };
};
