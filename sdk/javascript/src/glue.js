/**
 * Between the component's exports and the author's policy. Not for authors.
 * @module
 */

import { within } from "./sandbox.js";
import { Incident, Request } from "./questions.js";
import { App, Cluster, Node, Volume } from "./rows.js";
import { HostTables } from "./tables.js";

/** @import { Policy } from "./policy.js" */
/** @import { Score, Verdict } from "./answers.js" */
/** @import { View } from "./tables.js" */
/** @typedef {View & { [Symbol.dispose](): void }} Lent */

/**
 * What each question comes with (wit/types.wit).
 * @typedef {{ nowMs: number, seed: number }} Context
 * @typedef {{ key: string, value: string }} Attr
 */

const U32_MAX = 2 ** 32 - 1;

/** @typedef {{ policy: Policy<any>, settings: any }} Configured */

/**
 * The interfaces that a component of this policy exports.
 * @param {Policy<any>} policy
 * @param {string} name
 * @param {string} version
 */
export function exportsOf(policy, name, version) {
  /** @type {Configured} */
  const configured = { policy, settings: undefined };
  return {
    lifecycle: lifecycle(configured, name, version),
    placement: placement(configured),
    rebalance: rebalance(configured),
    failover: failover(configured),
    backupSchedule: backupSchedule(configured),
  };
}

/**
 * @param {Configured} configured
 * @param {string} name
 * @param {string} version
 */
function lifecycle(configured, name, version) {
  const { policy } = configured;
  return {
    describe: () => ({ name, version, settingsSchema: policy.settingsSchema, attrs: [] }),
    /** @param {string} settings */
    configure(settings) {
      within({ nowMs: 0, seed: 0 }, () => {
        try {
          configured.settings = policy.settings(JSON.parse(settings.trim() || "{}"));
        } catch (error) {
          // 1 is "the settings are not understood" in wit/codes.md.
          throw failure(1, error instanceof Error ? error.message : String(error));
        }
      });
    },
  };
}

/** @param {Configured} configured */
function placement(configured) {
  return {
    /**
     * @param {Context} context
     * @param {Lent} view
     * @param {any} asked
     * @param {ArrayLike<number>} candidates
     */
    evaluate(context, view, asked, candidates) {
      return answer(context, view, () => {
        const tables = new HostTables(view);
        const rows = Array.from(candidates);
        const nodes = rows.map((row) => new Node(tables, row));
        const scores = configured.policy.scoreAll(nodes, request(asked), configured.settings);
        return { scores: scores.map((s) => s.points), reasons: reasons(rows, scores), askAgainMs: null, attrs: [] };
      });
    },
  };
}

/**
 * @param {number[]} rows
 * @param {Score[]} scores
 */
function reasons(rows, scores) {
  const given = [];
  for (const [n, { reason, code }] of scores.entries()) {
    const candidate = rows[n];
    if (reason !== undefined && candidate !== undefined) given.push({ candidate, code, text: reason });
  }
  return given;
}

/** @param {any} asked */
function request(asked) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const { key, value } of /** @type {Attr[]} */ (asked.attrs)) {
    if (key.startsWith("label:")) labels[key.slice("label:".length)] = value;
  }
  return new Request({
    name: asked.name,
    purpose: asked.purpose,
    memory: asked.memoryBytes,
    cpuMillis: asked.cpuMillis,
    size: asked.sizeBytes,
    volumes: asked.volumes.length,
    labels,
    current: asked.current ?? undefined,
    holders: Array.from(asked.holders),
  });
}

/** @param {Configured} configured */
function rebalance(configured) {
  return {
    /**
     * @param {Context} context
     * @param {Lent} view
     * @param {ArrayLike<number>} movable
     * @param {number} maxMoves
     */
    plan(context, view, movable, maxMoves) {
      return answer(context, view, () => {
        const tables = new HostTables(view);
        const apps = Array.from(movable, (row) => new App(tables, row));
        const { policy, settings } = configured;
        const moves = policy.plan(new Cluster(tables), apps, maxMoves, settings);
        return moves.map(({ app, target, gain, reason = "" }) => {
          return { app: app._place, target: target._place, gain, reason, attrs: [] };
        });
      });
    },
  };
}

/** @param {Configured} configured */
function failover(configured) {
  return {
    /**
     * @param {Context} context
     * @param {Lent} view
     * @param {any} what
     * @param {ArrayLike<number>} volumes
     */
    decide(context, view, what, volumes) {
      return answer(context, view, () => {
        const tables = new HostTables(view);
        const incident = new Incident({
          node: new Node(tables, what.node),
          nowMs: context.nowMs,
          silentMs: what.silentMs,
          fenced: what.fenced,
          votes: what.votes,
          quorum: what.quorum,
        });
        const { policy, settings } = configured;
        const cluster = new Cluster(tables);
        return Array.from(volumes, (row) => {
          return decision(policy.decide(cluster, incident, new Volume(tables, row), settings));
        });
      });
    },
  };
}

/** @param {Verdict} verdict */
function decision({ code, replica, waitMs = 0, reason }) {
  const place = replica === undefined ? null : replica._place;
  return { code, replica: place, waitMs: Math.min(whole(waitMs), U32_MAX), reason, attrs: [] };
}

/** @param {Configured} configured */
function backupSchedule(configured) {
  return {
    /**
     * @param {Context} context
     * @param {Lent} view
     * @param {ArrayLike<number>} volumes
     * @param {number} horizonMs
     */
    next(context, view, volumes, horizonMs) {
      return answer(context, view, () => {
        const { policy, settings } = configured;
        const tables = new HostTables(view);
        const cluster = new Cluster(tables);
        const due = Array.from(volumes).flatMap((row) => {
          const found = policy.due(cluster, new Volume(tables, row), context.nowMs, horizonMs, settings);
          return found.map(({ atMs, lane, label = "" }) => {
            return { volume: row, atMs: whole(atMs), lane, label, attrs: [] };
          });
        });
        return { due, askAgainMs: whole(policy.askAgainMs(horizonMs, settings)) };
      });
    },

    /**
     * @param {Context} context
     * @param {Lent} view
     * @param {number} volume
     * @param {string} lane
     * @param {any[]} copies
     */
    prune(context, view, volume, lane, copies) {
      return answer(context, view, () => {
        const { policy, settings } = configured;
        const row = new Volume(new HostTables(view), volume);
        const copied = copies.map(({ tag, takenMs, label, bytes }) => ({ tag, takenMs, label, bytes }));
        const mayGo = policy.prune(row, lane, copied, context.nowMs, settings);
        return mayGo.map(({ copy, reason }) => {
          const position = copied.findIndex((one) => one === copy);
          if (position < 0) throw new RangeError(`${copy.tag} is not one of the copies that were asked about`);
          return { copy: position, reason };
        });
      });
    },
  };
}

/**
 * Answers a question. What the author's code throws is the answer "failed", and where it was thrown is in the log. The view
 * is the host's again before the answer is given.
 * @template T
 * @param {Context} context
 * @param {Lent} view
 * @param {() => T} ask
 * @returns {T}
 */
function answer(context, view, ask) {
  return within(context, () => {
    try {
      return ask();
    } catch (error) {
      console.error(error);
      throw failure(0, String(error));
    } finally {
      view[Symbol.dispose]();
    }
  });
}

/**
 * @param {number} code
 * @param {string} message
 */
function failure(code, message) {
  return { code, message, retryAfterMs: null };
}

/**
 * Milliseconds as the contract writes them: whole, not negative, and never more than JavaScript can count.
 * @param {number} millis
 */
function whole(millis) {
  if (Number.isNaN(millis)) throw new RangeError("a number of milliseconds is NaN");
  return Math.trunc(Math.min(Math.max(millis, 0), Number.MAX_SAFE_INTEGER));
}
