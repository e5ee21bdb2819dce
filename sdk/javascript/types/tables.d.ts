/**
 * The cluster's tables. A column is fetched from the host when it is first asked for, once per decision, and others never:
 * that is what keeps a question about thousands of rows cheap.
 * @module
 */
export type View = {
    rows: (table: string) => number | null;
    f64s: (table: string, column: string) => ArrayLike<number> | null;
    ids: (table: string, column: string) => ArrayLike<number> | null;
    texts: (ids: number[]) => string[];
};
/**
 * What the host shows of the cluster, as far as this SDK reads it (wit/host.wit).
 *
 * Numbers are read as floats: they are whole up to 2^53, which in bytes is 9 petabytes, and NaN is one that is missing. The
 * contract's u64 would be the same numbers, with a missing one that looks like any other.
 * @typedef {object} View
 * @property {(table: string) => number | null} rows
 * @property {(table: string, column: string) => ArrayLike<number> | null} f64s
 * @property {(table: string, column: string) => ArrayLike<number> | null} ids
 * @property {(ids: number[]) => string[]} texts
 */
/** Rows and their cells, by table, column and place. */
export declare class Tables {
    #private;
    /**
     * Every row of a table, in alphabetical order of the names.
     * @param {string} _table
     * @returns {number[]}
     */
    places(_table: string): number[];
    /**
     * A cell of a number column.
     * @param {string} _table
     * @param {string} _column
     * @param {number} _place
     * @returns {number | undefined}
     */
    number(_table: string, _column: string, _place: number): number | undefined;
    /**
     * A cell of a text column.
     * @param {string} _table
     * @param {string} _column
     * @param {number} _place
     * @returns {string | undefined}
     */
    text(_table: string, _column: string, _place: number): string | undefined;
    /**
     * Whether there is such a row.
     * @param {string} _table
     * @param {number} _place
     */
    has(_table: string, _place: number): boolean;
    /**
     * The rows of `table` that refer to a row by `column`. Sorted out once, as it is asked for row by row.
     * @param {string} table
     * @param {string} column
     * @param {number} to
     * @returns {number[]}
     */
    referring(table: string, column: string, to: number): number[];
}
/** What the host shows. */
export declare class HostTables extends Tables {
    #private;
    /** @param {View} view */
    constructor(view: View);
    /**
     * @override
     * @param {string} table
     */
    places(table: string): number[];
    /** @override The host refers to rows that exist. */
    has(): boolean;
    /**
     * @override
     * @param {string} table
     * @param {string} column
     * @param {number} place
     */
    number(table: string, column: string, place: number): number | undefined;
    /**
     * @override
     * @param {string} table
     * @param {string} column
     * @param {number} place
     */
    text(table: string, column: string, place: number): string | undefined;
}
export type Cells = Record<string, number | string | undefined>;
/** @typedef {Record<string, number | string | undefined>} Cells What is in a made-up row. */
/** Made-up rows, for tests. */
export declare class SampleTables extends Tables {
    #private;
    /**
     * Adds a row. Two rows of one name are a mistake in the test.
     * @param {string} table
     * @param {number} place
     * @param {Cells} cells
     */
    add(table: string, place: number, cells: Cells): void;
    /**
     * @param {string} table
     * @param {number} place
     * @returns {Cells}
     */
    cells(table: string, place: number): Cells;
    /**
     * @override
     * @param {string} table
     */
    places(table: string): any[];
    /**
     * @override
     * @param {string} table
     * @param {number} place
     */
    has(table: string, place: number): boolean;
    /**
     * @override
     * @param {string} table
     * @param {string} column
     * @param {number} place
     */
    number(table: string, column: string, place: number): number | undefined;
    /**
     * @override
     * @param {string} table
     * @param {string} column
     * @param {number} place
     */
    text(table: string, column: string, place: number): string | undefined;
}
/**
 * The place of made-up rows of this name, so that rows can refer to each other before all of them exist.
 * @param {string} name
 * @returns {number}
 */
export declare function placeOf(name: string): number;
