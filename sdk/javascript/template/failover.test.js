import assert from "node:assert/strict";
import { test } from "node:test";

import { Cluster, Incident, Node, Volume } from "flocker-sdk";
import policy from "./policy.js";

test("a volume without a copy is left to an operator", () => {
  const node = Node.sample("a");
  const cluster = Cluster.sample({ nodes: [node], volumes: [Volume.sample("shop.data", { node: "a" })] });
  const incident = Incident.sample(node, { nowMs: 1_000_000, silentMs: 120_000 });

  const verdict = policy.decide(cluster, incident, cluster.volume("shop.data"));

  assert(verdict.isFreeze, verdict.reason);
});
