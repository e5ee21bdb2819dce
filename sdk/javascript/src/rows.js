/**
 * The cluster as a policy sees it: nodes, apps, volumes and replicas that lead to each other.
 * @module
 */

import { SampleTables, placeOf } from "./tables.js";

/** @import { Cells, Tables } from "./tables.js" */

/**
 * A row of a table.
 *
 * Numbers are ordinary JavaScript numbers. Moments are milliseconds since 1970, as of `Date.now()`; spans are milliseconds.
 */
export class Row {
  /** @internal @readonly @type {Tables} */
  _tables;
  /** @internal @readonly @type {number} */
  _place;

  /**
   * @internal
   * @param {Tables} tables
   * @param {number} place
   */
  constructor(tables, place) {
    this._tables = tables;
    this._place = place;
  }

  /** @internal */
  get _table() {
    return "";
  }

  /** Its name. */
  get name() {
    return this.text("name") ?? "";
  }

  /**
   * Any number column of the row's table (wit/columns.md); undefined where it is missing.
   * @param {string} column
   */
  number(column) {
    return this._tables.number(this._table, column, this._place);
  }

  /**
   * Any text column of the row's table; undefined where it is missing.
   * @param {string} column
   */
  text(column) {
    return this._tables.text(this._table, column, this._place);
  }

  /**
   * Whether this is the same row of the same table. `===` is not enough: each question makes its rows anew.
   * @param {Row | undefined} other
   */
  is(other) {
    return other !== undefined && this._table === other._table && this._place === other._place;
  }

  /**
   * @internal
   * @template {Row} T
   * @param {string} column
   * @param {new (tables: Tables, place: number) => T} kind
   * @returns {T | undefined}
   */
  _reference(column, kind) {
    const place = this.number(column);
    if (place === undefined) return undefined;
    const row = new kind(this._tables, place);
    return this._tables.has(row._table, place) ? row : undefined;
  }
}

/**
 * @param {Record<string, string>} labels
 * @returns {Cells}
 */
function labelled(labels) {
  const entries = Object.entries(labels);
  return Object.fromEntries(entries.map(([key, value]) => [`label:${key}`, value]));
}

/**
 * @template {Row} T
 * @param {new (tables: Tables, place: number) => T} kind
 * @param {string} name
 * @param {Cells} cells
 * @returns {T}
 */
function sample(kind, name, cells) {
  const tables = new SampleTables();
  const row = new kind(tables, placeOf(name));
  tables.add(row._table, row._place, { name, ...cells });
  return row;
}

/** @param {string | undefined} name */
function placeIfAny(name) {
  return name === undefined ? undefined : placeOf(name);
}

/**
 * What a made-up node has; what is left out is 0.
 * @typedef {object} NodeSample
 * @property {boolean} [alive] true if left out
 * @property {boolean} [draining]
 * @property {number} [memory]
 * @property {number} [memoryPromised]
 * @property {number} [cpuMillis]
 * @property {number} [cpuPromisedMillis]
 * @property {number} [pool]
 * @property {number} [poolFree]
 * @property {number} [loadMillis]
 * @property {number} [apps]
 * @property {number} [volumes]
 * @property {Record<string, string>} [labels]
 * @property {Record<string, number | string>} [columns] any others of wit/columns.md
 */

/** A node. In tests, make one with `Node.sample`. */
export class Node extends Row {
  /** @internal @override */
  get _table() {
    return "nodes";
  }

  /** Whether it answered lately. */
  get isAlive() {
    return (this.number("alive") ?? 0) !== 0;
  }

  /** Whether an operator wants it empty. */
  get isDraining() {
    return (this.number("draining") ?? 0) !== 0;
  }

  /** Memory of the machine, in bytes; 0 while it has not said. */
  get memory() {
    return this.number("memory-bytes") ?? 0;
  }

  /** Memory that no app was promised, in bytes. */
  get memoryFree() {
    return this.number("memory-free-bytes") ?? 0;
  }

  /** Memory that apps were promised, in bytes. */
  get memoryPromised() {
    return this.number("memory-promised-bytes") ?? 0;
  }

  /** CPUs of the machine, in thousandths. */
  get cpuMillis() {
    return this.number("cpu-millis") ?? 0;
  }

  /** CPU that apps were promised, in thousandths. */
  get cpuPromisedMillis() {
    return this.number("cpu-promised-millis") ?? 0;
  }

  /** Size of its storage pool, in bytes. */
  get pool() {
    return this.number("pool-bytes") ?? 0;
  }

  /** What is free in its storage pool, in bytes. */
  get poolFree() {
    return this.number("pool-free-bytes") ?? 0;
  }

  /** One-minute load average, in thousandths. */
  get loadMillis() {
    return this.number("load-millis") ?? 0;
  }

  /** How many apps it holds, arriving ones included. */
  get apps() {
    return this.number("apps") ?? 0;
  }

  /** How many volumes it owns. */
  get volumes() {
    return this.number("volumes") ?? 0;
  }

  /** The apps that it holds, arriving ones included. */
  get residents() {
    const places = this._tables.referring("apps", "node", this._place);
    return places.map((place) => new App(this._tables, place));
  }

  /**
   * A label, from its configuration or from an operator.
   * @param {string} key
   */
  label(key) {
    return this.text(`label:${key}`);
  }

  /**
   * For tests: a node that exists nowhere.
   * @param {string} name
   * @param {NodeSample} [has]
   */
  static sample(name, has = {}) {
    const { memory = 0, memoryPromised = 0 } = has;
    return sample(Node, name, {
      alive: Number(has.alive ?? true),
      draining: Number(has.draining ?? false),
      "memory-bytes": memory,
      "memory-promised-bytes": memoryPromised,
      "memory-free-bytes": Math.max(0, memory - memoryPromised),
      "cpu-millis": has.cpuMillis ?? 0,
      "cpu-promised-millis": has.cpuPromisedMillis ?? 0,
      "pool-bytes": has.pool ?? 0,
      "pool-free-bytes": has.poolFree ?? 0,
      "load-millis": has.loadMillis ?? 0,
      apps: has.apps ?? 0,
      volumes: has.volumes ?? 0,
      ...labelled(has.labels ?? {}),
      ...has.columns,
    });
  }
}

/**
 * What a made-up app has; what is left out is 0 or not known.
 * @typedef {object} AppSample
 * @property {string} [node] the name of the node where it is
 * @property {number} [memory]
 * @property {number} [cpuMillis]
 * @property {number} [size]
 * @property {number} [placedMs]
 * @property {Record<string, string>} [labels]
 * @property {Record<string, number | string>} [columns] any others of wit/columns.md
 */

/** An app. In tests, make one with `App.sample`. */
export class App extends Row {
  /** @internal @override */
  get _table() {
    return "apps";
  }

  /** Where it is. */
  get node() {
    return this._reference("node", Node);
  }

  /** Memory that it may use, in bytes; 0 where it is not limited. */
  get memory() {
    return this.number("memory-bytes") ?? 0;
  }

  /** CPU that it may use, in thousandths; 0 where it is not limited. */
  get cpuMillis() {
    return this.number("cpu-millis") ?? 0;
  }

  /** What its volumes may hold, in bytes. */
  get size() {
    return this.number("size-bytes") ?? 0;
  }

  /** When it came to its node. */
  get placedMs() {
    return this.number("placed-ms");
  }

  /** Its volumes. */
  get volumes() {
    const places = this._tables.referring("volumes", "app", this._place);
    return places.map((place) => new Volume(this._tables, place));
  }

  /**
   * A label of its containers.
   * @param {string} key
   */
  label(key) {
    return this.text(`label:${key}`);
  }

  /**
   * For tests: an app that exists nowhere.
   * @param {string} name
   * @param {AppSample} [has]
   */
  static sample(name, has = {}) {
    return sample(App, name, {
      node: placeIfAny(has.node),
      "memory-bytes": has.memory ?? 0,
      "cpu-millis": has.cpuMillis ?? 0,
      "size-bytes": has.size ?? 0,
      "placed-ms": has.placedMs,
      ...labelled(has.labels ?? {}),
      ...has.columns,
    });
  }
}

/**
 * What a made-up volume has; what is left out is 0 or not known.
 * @typedef {object} VolumeSample
 * @property {string} [app] the name of the app that uses it
 * @property {string} [node] the name of its owner
 * @property {number} [size]
 * @property {number} [used]
 * @property {number} [writtenMs]
 * @property {number} [snapshotMs]
 * @property {Record<string, number | string>} [columns] any others of wit/columns.md
 */

/** A volume. In tests, make one with `Volume.sample`. */
export class Volume extends Row {
  /** @internal @override */
  get _table() {
    return "volumes";
  }

  /** The app that uses it. */
  get app() {
    return this._reference("app", App);
  }

  /** Its owner. */
  get node() {
    return this._reference("node", Node);
  }

  /** What may be written to it, in bytes. */
  get size() {
    return this.number("size-bytes") ?? 0;
  }

  /** What is written to it, in bytes. */
  get used() {
    return this.number("used-bytes") ?? 0;
  }

  /** When somebody was last seen to write to it. */
  get writtenMs() {
    return this.number("written-ms");
  }

  /** When its newest snapshot by schedule was taken. */
  get snapshotMs() {
    return this.number("snapshot-ms");
  }

  /** Its copies on other nodes. */
  get replicas() {
    const places = this._tables.referring("replicas", "volume", this._place);
    return places.map((place) => new Replica(this._tables, place));
  }

  /**
   * For tests: a volume that exists nowhere.
   * @param {string} name
   * @param {VolumeSample} [has]
   */
  static sample(name, has = {}) {
    return sample(Volume, name, {
      app: placeIfAny(has.app),
      node: placeIfAny(has.node),
      "size-bytes": has.size ?? 0,
      "used-bytes": has.used ?? 0,
      "written-ms": has.writtenMs,
      "snapshot-ms": has.snapshotMs,
      ...has.columns,
    });
  }
}

/** A read-only copy of a volume on another node; it has no name of its own. In tests, make one with `Replica.sample`. */
export class Replica extends Row {
  /** @internal @override */
  get _table() {
    return "replicas";
  }

  /** What it is a copy of. */
  get volume() {
    return this._reference("volume", Volume);
  }

  /** Where it is. */
  get node() {
    return this._reference("node", Node);
  }

  /** When the snapshot that it holds was taken. */
  get takenMs() {
    return this.number("taken-ms");
  }

  /**
   * For tests: a copy of the volume of this name on the node of this name.
   * @param {string} volume
   * @param {string} node
   * @param {{ takenMs?: number }} [has]
   */
  static sample(volume, node, has = {}) {
    const cells = { volume: placeOf(volume), node: placeOf(node), "taken-ms": has.takenMs };
    return sample(Replica, `${volume}@${node}`, cells);
  }
}

/**
 * What a made-up cluster has.
 * @typedef {object} ClusterSample
 * @property {Node[]} [nodes]
 * @property {App[]} [apps]
 * @property {Volume[]} [volumes]
 * @property {Replica[]} [replicas]
 */

/** Everything that is known of the cluster. In tests, make one with `Cluster.sample`. */
export class Cluster {
  #tables;

  /**
   * @internal
   * @param {Tables} tables
   */
  constructor(tables) {
    this.#tables = tables;
  }

  /** All nodes, in alphabetical order. */
  get nodes() {
    return this.#tables.places("nodes").map((place) => new Node(this.#tables, place));
  }

  /** All apps, in alphabetical order. */
  get apps() {
    return this.#tables.places("apps").map((place) => new App(this.#tables, place));
  }

  /** All volumes, in alphabetical order. */
  get volumes() {
    return this.#tables.places("volumes").map((place) => new Volume(this.#tables, place));
  }

  /** All replicas of all volumes. */
  get replicas() {
    return this.#tables.places("replicas").map((place) => new Replica(this.#tables, place));
  }

  /**
   * The node of this name. Throws if there is none.
   * @param {string} name
   */
  node(name) {
    return named(this.nodes, name);
  }

  /**
   * The app of this name. Throws if there is none.
   * @param {string} name
   */
  app(name) {
    return named(this.apps, name);
  }

  /**
   * The volume of this name. Throws if there is none.
   * @param {string} name
   */
  volume(name) {
    return named(this.volumes, name);
  }

  /**
   * For tests: a cluster of these samples. What they say of each other by name leads from one to the other.
   * @param {ClusterSample} has
   */
  static sample({ nodes = [], apps = [], volumes = [], replicas = [] }) {
    const tables = new SampleTables();
    for (const row of [...nodes, ...apps, ...volumes, ...replicas]) {
      if (!(row._tables instanceof SampleTables)) throw new Error(`${row.name} is not a sample`);
      tables.add(row._table, row._place, row._tables.cells(row._table, row._place));
    }
    return new Cluster(tables);
  }
}

/**
 * @template {Row} T
 * @param {T[]} rows
 * @param {string} name
 * @returns {T}
 */
function named(rows, name) {
  const found = rows.find((row) => row.name === name);
  if (found === undefined) throw new Error(`nothing in this cluster has the name ${name}`);
  return found;
}
