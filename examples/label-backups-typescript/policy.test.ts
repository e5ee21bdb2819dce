import assert from "node:assert/strict";
import { test } from "node:test";

import { App, Cluster, Volume } from "flocker-sdk";
import policy from "./policy.js";

const HOUR_MS = 3_600_000;
const NOW_MS = Date.UTC(2026, 0, 31, 12);

function due(backup: string | undefined, agoMs: number) {
  const labels = backup === undefined ? {} : { backup };
  const cluster = Cluster.sample({
    apps: [App.sample("shop", { labels })],
    volumes: [Volume.sample("data", { app: "shop", snapshotMs: NOW_MS - agoMs })],
  });
  return policy.due(cluster, cluster.volume("data"), NOW_MS, 60_000).map(({ label }) => label);
}

test("an app says how often", () => {
  assert.deepEqual(due("hourly", HOUR_MS), ["hourly"]);
  assert.deepEqual(due("hourly", HOUR_MS / 2), []);
  assert.deepEqual(due("never", 1000 * HOUR_MS), []);
});

test("one that says nothing, or nonsense, gets what the operator says", () => {
  assert.deepEqual([due(undefined, 23 * HOUR_MS), due(undefined, 24 * HOUR_MS)], [[], ["daily"]]);
  assert.deepEqual(due("sometimes", 24 * HOUR_MS), ["daily"]);
});

test("of each day before today the last one stays, as long as the days go", () => {
  const copy = (tag: string, hoursAgo: number) => ({ tag, takenMs: NOW_MS - hoursAgo * HOUR_MS, label: "", bytes: 0 });
  const copies = [copy("old", 24 * 20), copy("morning", 36), copy("evening", 14), copy("today", 3), copy("now", 0)];

  const gone = policy.prune(Volume.sample("data"), "snapshot", copies, NOW_MS);

  assert.deepEqual(gone.map(({ copy }) => copy.tag), ["old", "morning"]);
});
