/**
 * Write a policy for flocker-runtime in JavaScript or TypeScript: export the result of `policy()` as default, and build a
 * component with `npx flocker-build`. The README beside this package goes through it step by step.
 *
 * ```js
 * import { policy, Score } from "flocker-sdk";
 *
 * export default policy({
 *   // Prefers the node with the most free memory.
 *   score(node, request) {
 *     if (node.memoryFree < request.memory) return Score.refuse("too little memory");
 *     return Score.share(node.memoryFree, node.memory);
 *   },
 * });
 * ```
 * @module
 */

/** @typedef {import("./answers.js").Droppable} Droppable */
/** @typedef {import("./answers.js").Due} Due */
/** @typedef {import("./answers.js").Move} Move */
/** @typedef {import("./questions.js").Copied} Copied */
/**
 * @template S
 * @typedef {import("./policy.js").Hooks<S>} Hooks
 */

export { SCORE_MAX, SNAPSHOT, Score, Verdict } from "./answers.js";
export { Policy, policy } from "./policy.js";
export { Incident, Request } from "./questions.js";
export { App, Cluster, Node, Replica, Volume } from "./rows.js";
