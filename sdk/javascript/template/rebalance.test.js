import assert from "node:assert/strict";
import { test } from "node:test";

import { App, Cluster, Node } from "flocker-sdk";
import policy from "./policy.js";

test("nothing moves for a difference of one", () => {
  const nodes = [Node.sample("a", { apps: 2 }), Node.sample("b", { apps: 1 })];
  const cluster = Cluster.sample({ nodes, apps: [App.sample("shop", { node: "a" })] });

  assert.deepEqual(policy.plan(cluster, cluster.apps, 5), []);
});

test("an app leaves the crowd", () => {
  const nodes = [Node.sample("a", { apps: 3 }), Node.sample("b", { apps: 1 })];
  const cluster = Cluster.sample({ nodes, apps: [App.sample("shop", { node: "a" })] });

  const [move] = policy.plan(cluster, cluster.apps, 5);
  assert(move?.target.is(cluster.node("b")));
});
