/**
 * What a policy is asked about, beside the cluster: a request for a place, an incident, copies.
 * @module
 */

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
export class Request {
  #current;
  #holders;

  /**
   * @internal
   * @param {{ name: string, purpose: string, memory: number, cpuMillis: number, size: number, volumes: number,
   *   labels: Record<string, string>, current: number | undefined, holders: number[] }} asked
   */
  constructor(asked) {
    /** The app's name. @readonly */
    this.name = asked.name;
    /** Why it is asked: `create`, `operator`, `drain` or `rebalance`. @readonly */
    this.purpose = asked.purpose;
    /** Memory that it may use, in bytes; 0 where it is not limited. @readonly */
    this.memory = asked.memory;
    /** CPU that it may use, in thousandths; 0 where it is not limited. @readonly */
    this.cpuMillis = asked.cpuMillis;
    /** What its volumes may hold, in bytes. @readonly */
    this.size = asked.size;
    /** How many volumes it has. The node where it is counts them among its own. @readonly */
    this.volumes = asked.volumes;
    /** The labels of its containers. @readonly @type {ReadonlyMap<string, string>} */
    this.labels = new Map(Object.entries(asked.labels));
    this.#current = asked.current;
    this.#holders = new Set(asked.holders);
  }

  /**
   * A label of its containers.
   * @param {string} key
   */
  label(key) {
    return this.labels.get(key);
  }

  /**
   * Whether it is on this node now. What it uses there is among what the node has promised.
   * @param {Node} node
   */
  isAt(node) {
    return this.#current === node._place;
  }

  /**
   * Whether this node holds a copy of its data, so that less has to travel.
   * @param {Node} node
   */
  isHeldBy(node) {
    return this.isAt(node) || this.#holders.has(node._place);
  }

  /**
   * For tests: a new app that needs what you say.
   * @param {string} name
   * @param {RequestSample} [has]
   */
  static sample(name, has = {}) {
    return new Request({
      name,
      purpose: has.purpose ?? "create",
      memory: has.memory ?? 0,
      cpuMillis: has.cpuMillis ?? 0,
      size: has.size ?? 0,
      volumes: has.volumes ?? 0,
      labels: has.labels ?? {},
      current: has.at?._place,
      holders: (has.heldBy ?? []).map((node) => node._place),
    });
  }
}

/** A node that does not answer. In tests, make one with `Incident.sample`. */
export class Incident {
  /**
   * @internal
   * @param {{ node: Node, nowMs: number, silentMs: number, fenced: boolean, votes: number, quorum: number }} asked
   */
  constructor(asked) {
    /** The node. @readonly */
    this.node = asked.node;
    /** When the question is asked. @readonly */
    this.nowMs = asked.nowMs;
    /** For how long the node has been silent. @readonly */
    this.silentMs = asked.silentMs;
    /** Whether it is certain that it cannot write any more. The host promotes nothing before it is. @readonly */
    this.isFenced = asked.fenced;
    /** How many nodes agree that it is silent. @readonly */
    this.votes = asked.votes;
    /** How many must agree. The host promotes nothing before they do. @readonly */
    this.quorum = asked.quorum;
  }

  /** When the node was last heard of. */
  get silentSinceMs() {
    return this.nowMs - this.silentMs;
  }

  /**
   * For tests: this node has been silent for so long; unless you say otherwise it is fenced, and enough others agree.
   * @param {Node} node
   * @param {{ nowMs: number, silentMs: number, fenced?: boolean, votes?: number, quorum?: number }} has
   */
  static sample(node, has) {
    return new Incident({ fenced: true, votes: 2, quorum: 2, ...has, node });
  }
}

/**
 * A snapshot or a backup.
 * @typedef {object} Copied
 * @property {string} tag its name
 * @property {number} takenMs when it was taken
 * @property {string} label the label of what was due
 * @property {number} bytes what it refers to
 */
