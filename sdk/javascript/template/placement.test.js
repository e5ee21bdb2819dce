import assert from "node:assert/strict";
import { test } from "node:test";

import { Node, Request } from "flocker-sdk";
import policy from "./policy.js";

test("the emptier node is better", () => {
  const empty = Node.sample("a", { memory: 100 });
  const full = Node.sample("b", { memory: 100, memoryPromised: 90 });
  const app = Request.sample("shop", { memory: 5 });

  assert(policy.score(empty, app).points > policy.score(full, app).points);
});
