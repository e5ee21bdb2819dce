// The wrapper, without a host: rows, answers, settings, and what is asked of the host.

import assert from "node:assert/strict";
import { test } from "node:test";

import { App, Cluster, Node, Replica, Request, Score, Verdict, Volume, policy } from "../src/index.js";
import { HostTables } from "../src/tables.js";

const cluster = Cluster.sample({
  nodes: [Node.sample("b"), Node.sample("a")],
  apps: [App.sample("shop", { node: "a" }), App.sample("news", { node: "b" })],
  volumes: [Volume.sample("data", { app: "shop", node: "a" })],
  replicas: [Replica.sample("data", "b", { takenMs: 7 })],
});

test("a column is fetched once, and others never", () => {
  const asked = [];
  const tables = new HostTables({
    rows: () => 2,
    f64s: (table, column) => (asked.push(column), column === "apps" ? [7, NaN] : null),
    ids: (table, column) => (asked.push(column), column === "label:zone" ? [4, 0] : null),
    texts: (ids) => ids.map((id) => `text ${id}`),
  });
  const [a, b] = new Cluster(tables).nodes;

  assert.deepEqual([a.apps, b.apps, b.number("apps")], [7, 0, undefined]);
  assert.deepEqual([a.label("zone"), b.label("zone")], ["text 4", undefined]);
  assert.deepEqual([a.number("no-such"), b.number("no-such")], [undefined, undefined]);
  assert.deepEqual(asked, ["apps", "label:zone", "no-such"]);
});

test("rows lead to each other in both directions", () => {
  const [a, shop, data] = [cluster.node("a"), cluster.app("shop"), cluster.volume("data")];

  assert(shop.node?.is(a) && data.app?.is(shop));
  assert.deepEqual(a.residents.map((app) => app.name), ["shop"]);
  assert(shop.volumes[0]?.is(data));
  const [replica] = data.replicas;
  assert(replica?.node?.is(cluster.node("b")) && replica.volume?.is(data));
  assert.equal(replica.takenMs, 7);
});

test("rows are in alphabetical order, as on a node", () => {
  assert.deepEqual(cluster.nodes.map((node) => node.name), ["a", "b"]);
});

test("a row that is alone refers to nothing", () => {
  const shop = App.sample("shop", { node: "a" });
  assert.deepEqual([shop.node, shop.volumes], [undefined, []]);
});

test("two nodes of one name are a mistake in the test", () => {
  assert.throws(() => Cluster.sample({ nodes: [Node.sample("a"), Node.sample("a")] }), /have the name a/);
});

test("an app is held where it is, and where copies are", () => {
  const [a, b, c] = ["a", "b", "c"].map((name) => Node.sample(name));
  const request = Request.sample("shop", { at: a, heldBy: [b] });
  assert.deepEqual([a, b, c].map((node) => request.isAt(node)), [true, false, false]);
  assert.deepEqual([a, b, c].map((node) => request.isHeldBy(node)), [true, true, false]);
});

test("a share is never out of range, and never NaN", () => {
  for (const [part, whole, points] of [[3, 4, 7500], [5, 4, 10_000], [0, 0, 0], [-1, 4, 0]]) {
    assert.equal(Score.share(part, whole).points, points, `${part} of ${whole}`);
  }
  assert.throws(() => Score.good(NaN), RangeError);
});

test("a verdict promotes the replica that it names, and no other", () => {
  const [replica] = cluster.replicas;
  assert(Verdict.promote(replica).promotes(replica));
  assert(!Verdict.promote(Replica.sample("other", "b")).promotes(replica));
  assert(!Verdict.wait(5).promotes(replica) && !Verdict.wait(5).isFreeze);
});

test("settings are the schema's defaults and what was given", () => {
  const settingsSchema = { type: "object", properties: { zone: { default: "eu" }, least: { default: 1 } } };
  const checked = policy({
    settingsSchema,
    configure({ least }) {
      if (least > 9) throw new RangeError("least is at most 9");
    },
    score: (node, request, { zone, least }) => Score.good(least).because(zone),
  });

  const score = (settings) => checked.score(Node.sample("a"), Request.sample("shop"), settings);
  assert.deepEqual([score().reason, score().points], ["eu", 1]);
  assert.deepEqual([score(checked.settings({ zone: "us" })).reason, JSON.parse(checked.settingsSchema)], ["us", settingsSchema]);
  assert.throws(() => checked.settings({ least: 10 }), /at most 9/);
});

test("a policy without a schema refuses any setting", () => {
  const plain = policy({ plan: () => [] });
  assert.deepEqual([plain.settings({}), plain.settingsSchema], [{}, ""]);
  assert.throws(() => plain.settings({ zone: "eu" }), /has no settings/);
});

test("a policy is asked what it has, and needs to have something", () => {
  assert.deepEqual(policy({ scoreAll: () => [], due: () => [] }).hooks, ["placement", "backup-schedule"]);
  assert.throws(() => policy({}), /one of: score/);
  assert.throws(() => policy({ due: () => [] }).plan(cluster, [], 1), /has no plan/);
});
