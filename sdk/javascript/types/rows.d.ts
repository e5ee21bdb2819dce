/**
 * The cluster as a policy sees it: nodes, apps, volumes and replicas that lead to each other.
 * @module
 */
/** @import { Cells, Tables } from "./tables.js" */
/**
 * A row of a table.
 *
 * Numbers are ordinary JavaScript numbers. Moments are milliseconds since 1970, as of `Date.now()`; spans are milliseconds.
 */
export declare class Row {
    /** Its name. */
    get name(): string;
    /**
     * Any number column of the row's table (wit/columns.md); undefined where it is missing.
     * @param {string} column
     */
    number(column: string): number | undefined;
    /**
     * Any text column of the row's table; undefined where it is missing.
     * @param {string} column
     */
    text(column: string): string | undefined;
    /**
     * Whether this is the same row of the same table. `===` is not enough: each question makes its rows anew.
     * @param {Row | undefined} other
     */
    is(other: Row | undefined): boolean;
}
export type NodeSample = {
    /**
     * true if left out
     */
    alive?: boolean;
    draining?: boolean;
    memory?: number;
    memoryPromised?: number;
    cpuMillis?: number;
    cpuPromisedMillis?: number;
    pool?: number;
    poolFree?: number;
    loadMillis?: number;
    apps?: number;
    volumes?: number;
    labels?: Record<string, string>;
    /**
     * any others of wit/columns.md
     */
    columns?: Record<string, number | string>;
};
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
export declare class Node extends Row {
    /** Whether it answered lately. */
    get isAlive(): boolean;
    /** Whether an operator wants it empty. */
    get isDraining(): boolean;
    /** Memory of the machine, in bytes; 0 while it has not said. */
    get memory(): number;
    /** Memory that no app was promised, in bytes. */
    get memoryFree(): number;
    /** Memory that apps were promised, in bytes. */
    get memoryPromised(): number;
    /** CPUs of the machine, in thousandths. */
    get cpuMillis(): number;
    /** CPU that apps were promised, in thousandths. */
    get cpuPromisedMillis(): number;
    /** Size of its storage pool, in bytes. */
    get pool(): number;
    /** What is free in its storage pool, in bytes. */
    get poolFree(): number;
    /** One-minute load average, in thousandths. */
    get loadMillis(): number;
    /** How many apps it holds, arriving ones included. */
    get apps(): number;
    /** How many volumes it owns. */
    get volumes(): number;
    /** The apps that it holds, arriving ones included. */
    get residents(): App[];
    /**
     * A label, from its configuration or from an operator.
     * @param {string} key
     */
    label(key: string): string | undefined;
    /**
     * For tests: a node that exists nowhere.
     * @param {string} name
     * @param {NodeSample} [has]
     */
    static sample(name: string, has?: NodeSample): Node;
}
export type AppSample = {
    /**
     * the name of the node where it is
     */
    node?: string;
    memory?: number;
    cpuMillis?: number;
    size?: number;
    placedMs?: number;
    labels?: Record<string, string>;
    /**
     * any others of wit/columns.md
     */
    columns?: Record<string, number | string>;
};
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
export declare class App extends Row {
    /** Where it is. */
    get node(): Node | undefined;
    /** Memory that it may use, in bytes; 0 where it is not limited. */
    get memory(): number;
    /** CPU that it may use, in thousandths; 0 where it is not limited. */
    get cpuMillis(): number;
    /** What its volumes may hold, in bytes. */
    get size(): number;
    /** When it came to its node. */
    get placedMs(): number | undefined;
    /** Its volumes. */
    get volumes(): Volume[];
    /**
     * A label of its containers.
     * @param {string} key
     */
    label(key: string): string | undefined;
    /**
     * For tests: an app that exists nowhere.
     * @param {string} name
     * @param {AppSample} [has]
     */
    static sample(name: string, has?: AppSample): App;
}
export type VolumeSample = {
    /**
     * the name of the app that uses it
     */
    app?: string;
    /**
     * the name of its owner
     */
    node?: string;
    size?: number;
    used?: number;
    writtenMs?: number;
    snapshotMs?: number;
    /**
     * any others of wit/columns.md
     */
    columns?: Record<string, number | string>;
};
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
export declare class Volume extends Row {
    /** The app that uses it. */
    get app(): App | undefined;
    /** Its owner. */
    get node(): Node | undefined;
    /** What may be written to it, in bytes. */
    get size(): number;
    /** What is written to it, in bytes. */
    get used(): number;
    /** When somebody was last seen to write to it. */
    get writtenMs(): number | undefined;
    /** When its newest snapshot by schedule was taken. */
    get snapshotMs(): number | undefined;
    /** Its copies on other nodes. */
    get replicas(): Replica[];
    /**
     * For tests: a volume that exists nowhere.
     * @param {string} name
     * @param {VolumeSample} [has]
     */
    static sample(name: string, has?: VolumeSample): Volume;
}
/** A read-only copy of a volume on another node; it has no name of its own. In tests, make one with `Replica.sample`. */
export declare class Replica extends Row {
    /** What it is a copy of. */
    get volume(): Volume | undefined;
    /** Where it is. */
    get node(): Node | undefined;
    /** When the snapshot that it holds was taken. */
    get takenMs(): number | undefined;
    /**
     * For tests: a copy of the volume of this name on the node of this name.
     * @param {string} volume
     * @param {string} node
     * @param {{ takenMs?: number }} [has]
     */
    static sample(volume: string, node: string, has?: {
        takenMs?: number;
    }): Replica;
}
export type ClusterSample = {
    nodes?: Node[];
    apps?: App[];
    volumes?: Volume[];
    replicas?: Replica[];
};
/**
 * What a made-up cluster has.
 * @typedef {object} ClusterSample
 * @property {Node[]} [nodes]
 * @property {App[]} [apps]
 * @property {Volume[]} [volumes]
 * @property {Replica[]} [replicas]
 */
/** Everything that is known of the cluster. In tests, make one with `Cluster.sample`. */
export declare class Cluster {
    #private;
    /** All nodes, in alphabetical order. */
    get nodes(): Node[];
    /** All apps, in alphabetical order. */
    get apps(): App[];
    /** All volumes, in alphabetical order. */
    get volumes(): Volume[];
    /** All replicas of all volumes. */
    get replicas(): Replica[];
    /**
     * The node of this name. Throws if there is none.
     * @param {string} name
     */
    node(name: string): Node;
    /**
     * The app of this name. Throws if there is none.
     * @param {string} name
     */
    app(name: string): App;
    /**
     * The volume of this name. Throws if there is none.
     * @param {string} name
     */
    volume(name: string): Volume;
    /**
     * For tests: a cluster of these samples. What they say of each other by name leads from one to the other.
     * @param {ClusterSample} has
     */
    static sample({ nodes, apps, volumes, replicas }: ClusterSample): Cluster;
}
