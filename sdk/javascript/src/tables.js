/**
 * The cluster's tables. A column is fetched from the host when it is first asked for, once per decision, and others never:
 * that is what keeps a question about thousands of rows cheap.
 * @module
 */

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
export class Tables {
  /** @type {Map<string, Map<number, number[]>>} */
  #referring = new Map();

  /**
   * Every row of a table, in alphabetical order of the names.
   * @param {string} _table
   * @returns {number[]}
   */
  places(_table) {
    return [];
  }

  /**
   * A cell of a number column.
   * @param {string} _table
   * @param {string} _column
   * @param {number} _place
   * @returns {number | undefined}
   */
  number(_table, _column, _place) {
    return undefined;
  }

  /**
   * A cell of a text column.
   * @param {string} _table
   * @param {string} _column
   * @param {number} _place
   * @returns {string | undefined}
   */
  text(_table, _column, _place) {
    return undefined;
  }

  /**
   * Whether there is such a row.
   * @param {string} _table
   * @param {number} _place
   */
  has(_table, _place) {
    return false;
  }

  /**
   * The rows of `table` that refer to a row by `column`. Sorted out once, as it is asked for row by row.
   * @param {string} table
   * @param {string} column
   * @param {number} to
   * @returns {number[]}
   */
  referring(table, column, to) {
    const key = `${table} ${column}`;
    let byTarget = this.#referring.get(key);
    if (byTarget === undefined) {
      byTarget = new Map();
      for (const place of this.places(table)) {
        const target = this.number(table, column, place);
        if (target === undefined) continue;
        const rows = byTarget.get(target);
        if (rows === undefined) byTarget.set(target, [place]);
        else rows.push(place);
      }
      this.#referring.set(key, byTarget);
    }
    return byTarget.get(to) ?? [];
  }
}

/** What the host shows. */
export class HostTables extends Tables {
  #view;
  /** @type {Map<string, ArrayLike<number> | null>} */
  #numbers = new Map();
  /** @type {Map<string, (string | undefined)[] | null>} */
  #texts = new Map();

  /** @param {View} view */
  constructor(view) {
    super();
    this.#view = view;
  }

  /**
   * @override
   * @param {string} table
   */
  places(table) {
    return Array.from({ length: this.#view.rows(table) ?? 0 }, (_, place) => place);
  }

  /** @override The host refers to rows that exist. */
  has() {
    return true;
  }

  /**
   * @override
   * @param {string} table
   * @param {string} column
   * @param {number} place
   */
  number(table, column, place) {
    const key = `${table} ${column}`;
    let cells = this.#numbers.get(key);
    if (cells === undefined) {
      cells = this.#view.f64s(table, column);
      this.#numbers.set(key, cells);
    }
    const cell = cells?.[place];
    return cell === undefined || Number.isNaN(cell) ? undefined : cell;
  }

  /**
   * @override
   * @param {string} table
   * @param {string} column
   * @param {number} place
   */
  text(table, column, place) {
    const key = `${table} ${column}`;
    let cells = this.#texts.get(key);
    if (cells === undefined) {
      cells = this.#fetchTexts(table, column);
      this.#texts.set(key, cells);
    }
    return cells?.[place];
  }

  /**
   * @param {string} table
   * @param {string} column
   * @returns {(string | undefined)[] | null}
   */
  #fetchTexts(table, column) {
    const found = this.#view.ids(table, column);
    if (found === null) return null;
    const ids = Array.from(found);
    // Many rows share few texts (a zone, a kind of disk): each crosses the border once. 0 is a text that is missing.
    const known = [...new Set(ids)].filter((id) => id !== 0);
    const texts = this.#view.texts(known);
    const byId = new Map(known.map((id, n) => [id, texts[n]]));
    return ids.map((id) => byId.get(id));
  }
}

/** @typedef {Record<string, number | string | undefined>} Cells What is in a made-up row. */

/** Made-up rows, for tests. */
export class SampleTables extends Tables {
  /** @type {Map<string, Map<number, Cells>>} */
  #rows = new Map();

  /**
   * Adds a row. Two rows of one name are a mistake in the test.
   * @param {string} table
   * @param {number} place
   * @param {Cells} cells
   */
  add(table, place, cells) {
    const rows = this.#rows.get(table) ?? new Map();
    if (rows.has(place)) throw new Error(`two rows of ${table} have the name ${cells.name}`);
    this.#rows.set(table, rows.set(place, cells));
  }

  /**
   * @param {string} table
   * @param {number} place
   * @returns {Cells}
   */
  cells(table, place) {
    return this.#rows.get(table)?.get(place) ?? {};
  }

  /**
   * @override
   * @param {string} table
   */
  places(table) {
    const rows = [...(this.#rows.get(table) ?? new Map())];
    return rows.sort(([, a], [, b]) => (a.name < b.name ? -1 : 1)).map(([place]) => place);
  }

  /**
   * @override
   * @param {string} table
   * @param {number} place
   */
  has(table, place) {
    return this.#rows.get(table)?.has(place) ?? false;
  }

  /**
   * @override
   * @param {string} table
   * @param {string} column
   * @param {number} place
   */
  number(table, column, place) {
    const cell = this.cells(table, place)[column];
    return typeof cell === "number" ? cell : undefined;
  }

  /**
   * @override
   * @param {string} table
   * @param {string} column
   * @param {number} place
   */
  text(table, column, place) {
    const cell = this.cells(table, place)[column];
    return typeof cell === "string" ? cell : undefined;
  }
}

/** @type {Map<string, number>} */
const places = new Map();

/**
 * The place of made-up rows of this name, so that rows can refer to each other before all of them exist.
 * @param {string} name
 * @returns {number}
 */
export function placeOf(name) {
  const place = places.get(name) ?? places.size;
  places.set(name, place);
  return place;
}
