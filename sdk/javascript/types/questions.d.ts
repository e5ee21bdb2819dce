/**
 * What a policy is asked about, beside the cluster: a request for a place, an incident, copies.
 * @module
 */
import type { Node } from "./rows.js";
export type RequestSample = {
    /**
     * `create` if left out
     */
    purpose?: string;
    memory?: number;
    cpuMillis?: number;
    size?: number;
    volumes?: number;
    labels?: Record<string, string>;
    /**
     * the node where it is
     */
    at?: Node;
    /**
     * nodes that hold a copy of its data
     */
    heldBy?: Node[];
};
/** @import { Node } from "./rows.js" */
/**
 * What a made-up request has; what is left out is 0, and nothing.
 * @typedef {object} RequestSample
 * @property {string} [purpose] `create` if left out
 * @property {number} [memory]
 * @property {number} [cpuMillis]
 * @property {number} [size]
 * @property {number} [volumes]
 * @property {Record<string, string>} [labels]
 * @property {Node} [at] the node where it is
 * @property {Node[]} [heldBy] nodes that hold a copy of its data
 */
/** Which app needs a place, and what it needs. In tests, start from `Request.sample`. */
export declare class Request {
    #private;
    /** The app's name. @readonly */
    name: string;
    /** Why it is asked: `create`, `operator`, `drain` or `rebalance`. @readonly */
    purpose: string;
    /** Memory that it may use, in bytes; 0 where it is not limited. @readonly */
    memory: number;
    /** CPU that it may use, in thousandths; 0 where it is not limited. @readonly */
    cpuMillis: number;
    /** What its volumes may hold, in bytes. @readonly */
    size: number;
    /** How many volumes it has. The node where it is counts them among its own. @readonly */
    volumes: number;
    /** The labels of its containers. @readonly @type {ReadonlyMap<string, string>} */
    labels: ReadonlyMap<string, string>;
    /**
     * A label of its containers.
     * @param {string} key
     */
    label(key: string): string | undefined;
    /**
     * Whether it is on this node now. What it uses there is among what the node has promised.
     * @param {Node} node
     */
    isAt(node: Node): boolean;
    /**
     * Whether this node holds a copy of its data, so that less has to travel.
     * @param {Node} node
     */
    isHeldBy(node: Node): boolean;
    /**
     * For tests: a new app that needs what you say.
     * @param {string} name
     * @param {RequestSample} [has]
     */
    static sample(name: string, has?: RequestSample): Request;
}
/** A node that does not answer. In tests, make one with `Incident.sample`. */
export declare class Incident {
    /** The node. @readonly */
    node: Node;
    /** When the question is asked. @readonly */
    nowMs: number;
    /** For how long the node has been silent. @readonly */
    silentMs: number;
    /** Whether it is certain that it cannot write any more. The host promotes nothing before it is. @readonly */
    isFenced: boolean;
    /** How many nodes agree that it is silent. @readonly */
    votes: number;
    /** How many must agree. The host promotes nothing before they do. @readonly */
    quorum: number;
    /** When the node was last heard of. */
    get silentSinceMs(): number;
    /**
     * For tests: this node has been silent for so long; unless you say otherwise it is fenced, and enough others agree.
     * @param {Node} node
     * @param {{ nowMs: number, silentMs: number, fenced?: boolean, votes?: number, quorum?: number }} has
     */
    static sample(node: Node, has: {
        nowMs: number;
        silentMs: number;
        fenced?: boolean;
        votes?: number;
        quorum?: number;
    }): Incident;
}
export type Copied = {
    /**
     * its name
     */
    tag: string;
    /**
     * when it was taken
     */
    takenMs: number;
    /**
     * the label of what was due
     */
    label: string;
    /**
     * what it refers to
     */
    bytes: number;
};
/**
 * A snapshot or a backup.
 * @typedef {object} Copied
 * @property {string} tag its name
 * @property {number} takenMs when it was taken
 * @property {string} label the label of what was due
 * @property {number} bytes what it refers to
 */
