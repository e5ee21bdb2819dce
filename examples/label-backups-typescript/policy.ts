// Snapshots as often as an app's label `backup` says (`hourly`, `daily`, `never`), and keeps of each day before today only
// the last one.

import { policy, SNAPSHOT, type Copied, type Volume } from "flocker-sdk";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const EVERY_MS = { hourly: HOUR_MS, daily: DAY_MS, never: Infinity };
type Often = keyof typeof EVERY_MS;

interface Settings {
  /** For apps that do not say. */
  often: Often;
  /** Copies of days before today that are kept, one of each day. */
  days: number;
}

/** How often a volume is copied, and its app's word where that means nothing. */
function often(volume: Volume, settings: Settings): Often {
  const said = volume.app?.label("backup");
  if (said === undefined) return settings.often;
  if (said in EVERY_MS) return said as Often;
  console.warn(`the label backup=${said} of ${volume.app?.name} means nothing; it counts as ${settings.often}`);
  return settings.often;
}

/** The day of a moment, in UTC. */
const day = (ms: number) => Math.floor(ms / DAY_MS);

export default policy<Settings>({
  settingsSchema: {
    type: "object",
    properties: {
      often: { enum: ["hourly", "daily", "never"], default: "daily", description: "For apps without a label `backup`" },
      days: { type: "integer", minimum: 1, default: 14, description: "Days of which the last copy is kept" },
    },
    additionalProperties: false,
  },

  due(cluster, volume, nowMs, horizonMs, settings) {
    const label = often(volume, settings);
    const atMs = volume.snapshotMs === undefined ? nowMs : volume.snapshotMs + EVERY_MS[label];
    if (label === "never" || atMs > nowMs + horizonMs) return [];
    return [{ atMs, lane: SNAPSHOT, label }];
  },

  prune(volume, lane, copies, nowMs, settings) {
    const today = day(nowMs);
    // Oldest first, so that the last one of a day is the one that stays.
    const lastOf = new Map<number, Copied>(copies.map((copy) => [day(copy.takenMs), copy]));
    return copies.flatMap((copy) => {
      const of = day(copy.takenMs);
      if (of >= today) return [];
      if (of < today - settings.days) return [{ copy, reason: `it is older than ${settings.days} days` }];
      return lastOf.get(of) === copy ? [] : [{ copy, reason: "the day has a later one" }];
    });
  },
});
