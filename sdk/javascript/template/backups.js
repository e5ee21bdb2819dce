// Says what is snapshotted when, and which copies may go: here, one snapshot per hour, and the last 24 are kept.

import { policy, SNAPSHOT } from "flocker-sdk";

const HOUR_MS = 3_600_000;
const KEPT = 24;

export default policy({
  due(cluster, volume, nowMs, horizonMs) {
    const last = volume.snapshotMs;
    const atMs = last === undefined ? nowMs : last + HOUR_MS;
    return atMs - nowMs > horizonMs ? [] : [{ atMs, lane: SNAPSHOT, label: "hourly" }];
  },

  prune(volume, lane, copies) {
    const old = copies.slice(0, Math.max(0, copies.length - KEPT));
    return old.map((copy) => ({ copy, reason: `the last ${KEPT} are kept` }));
  },
});
