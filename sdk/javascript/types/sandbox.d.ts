/**
 * The world that a policy runs in: the clock stands at the moment of the question, randomness follows its seed, and the
 * console leads to the node's log. Answers to the same question are then the same, whenever and wherever it is asked.
 * Importing this changes the globals; only components do so.
 * @module
 */
/**
 * Answers a question, in its world.
 * @template T
 * @param {{ nowMs: number, seed: number }} moment
 * @param {() => T} answer
 * @returns {T}
 */
export declare function within<T>(moment: {
    nowMs: number;
    seed: number;
}, answer: () => T): T;
