import assert from "node:assert/strict";
import { test } from "node:test";

import { Volume } from "flocker-sdk";
import policy from "./policy.js";

test("the newest are kept", () => {
  const copies = Array.from({ length: 30 }, (_, n) => ({ tag: `${n}`, takenMs: n, label: "hourly", bytes: 0 }));

  const gone = policy.prune(Volume.sample("shop.data"), "snapshot", copies, 30);

  assert.deepEqual(gone.map(({ copy }) => copy.tag), ["0", "1", "2", "3", "4", "5"]);
});
