/**
 * What authors implement: a policy, with the hooks that it has an opinion on.
 * @module
 */
import type { Cluster, App, Node, Volume } from "./rows.js";
import type { Copied, Incident, Request } from "./questions.js";
import type { Droppable, Due, Move, Score, Verdict } from "./answers.js";
export type Hooks<S> = {
    /**
     * A JSON schema of the settings. The host checks what the operator wrote against it, and shows it to operators. The
     * `default`s of its properties are filled in. Without a schema there are no settings, and any are refused.
     */
    settingsSchema?: object;
    /**
     * Looks at settings that fit the schema. What it throws refuses them: the plugin is then not loaded, and the operator
     * reads the message. What it returns takes their place.
     */
    configure?: (settings: S) => S | void;
    /**
     * *Placement*: how good a node would be for an app.
     */
    score?: (node: Node, request: Request, settings: S) => Score;
    /**
     * *Placement*: the same for all candidates at once, for policies that compare nodes. As many scores as nodes, in their
     * order. It takes the place of `score`.
     */
    scoreAll?: (nodes: Node[], request: Request, settings: S) => Score[];
    /**
     * *Rebalance*: which apps had better be elsewhere, at most `maxMoves` of them. Only apps in `movable` may be moved, each
     * once; a target has to satisfy the hard rules and every placement policy as well.
     */
    plan?: (cluster: Cluster, movable: App[], maxMoves: number, settings: S) => Move[];
    /**
     * *Failover*: what becomes of a volume of a node that stays silent. Nothing is promoted before the node is fenced and
     * enough others agree that it is silent, whatever the answer.
     */
    decide?: (cluster: Cluster, incident: Incident, volume: Volume, settings: S) => Verdict;
    /**
     * *Backups*: what is due for a volume until `nowMs + horizonMs`; what is due later is left for the next time.
     */
    due?: (cluster: Cluster, volume: Volume, nowMs: number, horizonMs: number, settings: S) => Due[];
    /**
     * *Backups*: after what time it wants to be asked again, though the host may ask earlier. The horizon if left out.
     */
    askAgainMs?: (horizonMs: number, settings: S) => number;
    /**
     * *Backups*: which of a volume's copies in a lane may go, oldest first in `copies`. If left out, all are kept: a copy goes
     * only if every policy says so.
     */
    prune?: (volume: Volume, lane: string, copies: Copied[], nowMs: number, settings: S) => Droppable[];
};
/** @import { Cluster, App, Node, Volume } from "./rows.js" */
/** @import { Copied, Incident, Request } from "./questions.js" */
/** @import { Droppable, Due, Move, Score, Verdict } from "./answers.js" */
/**
 * What a policy does. Leave out the hooks that it has no opinion on; it is asked only what it has. Answers must follow from
 * the question alone, so that a decision can be replayed.
 *
 * Every function gets the operator's settings last, of the type `S`.
 * @template S
 * @typedef {object} Hooks
 * @property {object} [settingsSchema]
 *   A JSON schema of the settings. The host checks what the operator wrote against it, and shows it to operators. The
 *   `default`s of its properties are filled in. Without a schema there are no settings, and any are refused.
 * @property {(settings: S) => S | void} [configure]
 *   Looks at settings that fit the schema. What it throws refuses them: the plugin is then not loaded, and the operator
 *   reads the message. What it returns takes their place.
 * @property {(node: Node, request: Request, settings: S) => Score} [score]
 *   *Placement*: how good a node would be for an app.
 * @property {(nodes: Node[], request: Request, settings: S) => Score[]} [scoreAll]
 *   *Placement*: the same for all candidates at once, for policies that compare nodes. As many scores as nodes, in their
 *   order. It takes the place of `score`.
 * @property {(cluster: Cluster, movable: App[], maxMoves: number, settings: S) => Move[]} [plan]
 *   *Rebalance*: which apps had better be elsewhere, at most `maxMoves` of them. Only apps in `movable` may be moved, each
 *   once; a target has to satisfy the hard rules and every placement policy as well.
 * @property {(cluster: Cluster, incident: Incident, volume: Volume, settings: S) => Verdict} [decide]
 *   *Failover*: what becomes of a volume of a node that stays silent. Nothing is promoted before the node is fenced and
 *   enough others agree that it is silent, whatever the answer.
 * @property {(cluster: Cluster, volume: Volume, nowMs: number, horizonMs: number, settings: S) => Due[]} [due]
 *   *Backups*: what is due for a volume until `nowMs + horizonMs`; what is due later is left for the next time.
 * @property {(horizonMs: number, settings: S) => number} [askAgainMs]
 *   *Backups*: after what time it wants to be asked again, though the host may ask earlier. The horizon if left out.
 * @property {(volume: Volume, lane: string, copies: Copied[], nowMs: number, settings: S) => Droppable[]} [prune]
 *   *Backups*: which of a volume's copies in a lane may go, oldest first in `copies`. If left out, all are kept: a copy goes
 *   only if every policy says so.
 */
/**
 * A policy, as `policy()` makes it. Its methods are the author's own; in tests, settings may be left out where all of them
 * have defaults.
 * @template S
 */
export declare class Policy<S> {
    #private;
    /** The hooks that it has, as the contract names them. */
    get hooks(): string[];
    /** The JSON schema of its settings, as text; empty where there is none. */
    get settingsSchema(): string;
    /**
     * Settings as the hooks get them, from what an operator may write. Throws what is wrong with them.
     * @param {object} [given]
     * @returns {S}
     */
    settings(given?: object): S;
    /**
     * *Placement*: how good a node would be.
     * @param {Node} node
     * @param {Request} request
     * @param {S} [settings]
     * @returns {Score}
     */
    score(node: Node, request: Request, settings?: S): Score;
    /**
     * *Placement*: how good each of these nodes would be.
     * @param {Node[]} nodes
     * @param {Request} request
     * @param {S} [settings]
     * @returns {Score[]}
     */
    scoreAll(nodes: Node[], request: Request, settings?: S): Score[];
    /**
     * *Rebalance*: which apps had better be elsewhere.
     * @param {Cluster} cluster
     * @param {App[]} movable
     * @param {number} maxMoves
     * @param {S} [settings]
     * @returns {Move[]}
     */
    plan(cluster: Cluster, movable: App[], maxMoves: number, settings?: S): Move[];
    /**
     * *Failover*: what becomes of a volume of a silent node.
     * @param {Cluster} cluster
     * @param {Incident} incident
     * @param {Volume} volume
     * @param {S} [settings]
     * @returns {Verdict}
     */
    decide(cluster: Cluster, incident: Incident, volume: Volume, settings?: S): Verdict;
    /**
     * *Backups*: what is due for a volume.
     * @param {Cluster} cluster
     * @param {Volume} volume
     * @param {number} nowMs
     * @param {number} horizonMs
     * @param {S} [settings]
     * @returns {Due[]}
     */
    due(cluster: Cluster, volume: Volume, nowMs: number, horizonMs: number, settings?: S): Due[];
    /**
     * *Backups*: after what time it wants to be asked again.
     * @param {number} horizonMs
     * @param {S} [settings]
     * @returns {number}
     */
    askAgainMs(horizonMs: number, settings?: S): number;
    /**
     * *Backups*: which copies may go.
     * @param {Volume} volume
     * @param {string} lane
     * @param {Copied[]} copies
     * @param {number} nowMs
     * @param {S} [settings]
     * @returns {Droppable[]}
     */
    prune(volume: Volume, lane: string, copies: Copied[], nowMs: number, settings?: S): Droppable[];
}
/**
 * Makes a policy of functions: `export default policy({ score(node, request) { … } })`.
 * @template [S=Record<string, never>]
 * @param {Hooks<S>} does
 */
export declare function policy<S = Record<string, never>>(does: Hooks<S>): Policy<S>;
