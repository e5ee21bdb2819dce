// The policies that `flocker plugin new javascript` begins with, with their own tests, and the types that are kept here.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const SDK = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "flocker-sdk-"));
after(() => rmSync(folder, { recursive: true }));

for (const hook of ["placement", "rebalance", "failover", "backups"]) {
  test(`the policy for ${hook} passes its own tests`, () => {
    const project = join(folder, hook);
    mkdirSync(join(project, "node_modules"), { recursive: true });
    symlinkSync(SDK, join(project, "node_modules/flocker-sdk"));
    writeFileSync(join(project, "package.json"), '{ "type": "module" }');
    copyFileSync(join(SDK, "template", `${hook}.js`), join(project, "policy.js"));
    copyFileSync(join(SDK, "template", `${hook}.test.js`), join(project, "policy.test.js"));

    // It is told apart from this run of tests by the environment.
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const done = spawnSync(process.execPath, ["--test"], { cwd: project, encoding: "utf8", env });

    assert.equal(done.status, 0, done.stdout + done.stderr);
    assert.match(done.stdout, /pass [1-9]/);
  });
}

test("the types in types/ are those of the source", { skip: !existsSync(join(SDK, "node_modules/typescript")) && "TypeScript is not installed: npm install" }, () => {
  const made = join(folder, "types");
  const tsc = join(SDK, "node_modules/.bin/tsc");
  const done = spawnSync(tsc, ["-p", SDK, "--outDir", made], { encoding: "utf8" });
  assert.equal(done.status, 0, done.stdout);
  for (const file of readdirSync(made)) {
    const [now, kept] = [made, join(SDK, "types")].map((types) => readFileSync(join(types, file), "utf8"));
    assert(now === kept, `${file} is stale: npm run types`);
  }
});
