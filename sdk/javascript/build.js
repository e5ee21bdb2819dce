#!/usr/bin/env node
/**
 * Builds a component of a policy: `npx flocker-build`, in the folder of the policy's package.json. It takes the name, the
 * version and the source from there (`main`; `policy.js` or `policy.ts` if there is none).
 * @module
 */

import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { componentize } from "componentize-qjs";
import { build } from "esbuild";

const SDK = fileURLToPath(new URL("src", import.meta.url));
/** The contract, of the checkout that this SDK is in. */
const WIT = fileURLToPath(new URL("../../wit", import.meta.url));
/** By hook: the world that exports it, and the name of the export in JavaScript. */
const HOOKS = {
  placement: ["placement-policy", "placement"],
  rebalance: ["rebalance-policy", "rebalance"],
  failover: ["failover-policy", "failover"],
  "backup-schedule": ["backup-policy", "backupSchedule"],
};

/** Why there is no component, with a hint. */
class BuildError extends Error {}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    output: { type: "string", short: "o" },
    test: { type: "string" },
    help: { type: "boolean", short: "h" },
  },
});
if (values.help) {
  console.log("flocker-build [FOLDER] [-o FILE]: builds a component of the policy in a folder, NAME.wasm");
  console.log("flocker-build --test FILE.ts: runs tests that are written in TypeScript");
  process.exit();
}
const scratch = mkdtempSync(join(tmpdir(), "flocker-build-"));
try {
  if (values.test === undefined) await make(resolve(positionals[0] ?? "."), values.output);
  else process.exitCode = await test(resolve(values.test));
} catch (error) {
  console.error(error instanceof BuildError ? `error: ${error.message}` : error);
  process.exitCode = 1;
} finally {
  rmSync(scratch, { recursive: true });
}

/** Builds the policy in a folder. */
async function make(folder, output) {
  if (!existsSync(WIT)) {
    throw new BuildError(`\`${WIT}\` does not exist\nhint: install the SDK from its folder in a checkout of flocker-runtime`);
  }
  const { name, version, source } = manifest(folder);
  const hooks = (await policyIn(source)).hooks;
  const entry = `
    import "${SDK}/sandbox.js";
    import policy from ${JSON.stringify(source)};
    import { exportsOf } from "${SDK}/glue.js";
    export const { lifecycle, ${hooks.map((hook) => HOOKS[hook][1]).join(", ")} } =
      exportsOf(policy, ${JSON.stringify(name)}, ${JSON.stringify(version)});`;
  const { component } = await componentize({
    witPath: contractFor(hooks),
    world: "built",
    jsSource: await bundle({ stdin: { contents: entry, resolveDir: folder } }),
    sync: true,
    stubWasi: true,
  });
  const file = output ?? join(folder, `${name}.wasm`);
  writeFileSync(file, withViewsThatEnd(component));
  console.log(`${file}: ${(component.length / 1e6).toFixed(1)} MB`);
}

/** Runs tests in this version of Node.js, which may know no types. */
async function test(source) {
  const file = join(scratch, "policy.test.mjs");
  writeFileSync(file, await bundle({ entryPoints: [source], platform: "node" }));
  return spawnSync(process.execPath, ["--test", file], { stdio: "inherit" }).status ?? 1;
}

/** Name, version and source of the policy in a folder. */
function manifest(folder) {
  const path = join(folder, "package.json");
  if (!existsSync(path)) {
    throw new BuildError(`there is no \`${path}\`\nhint: \`flocker plugin new javascript NAME\` writes one`);
  }
  const { name, version, main } = JSON.parse(readFileSync(path, "utf8"));
  if (typeof name !== "string" || typeof version !== "string") {
    throw new BuildError(`\`${path}\` lacks a name or a version\nhint: it needs both`);
  }
  const sources = (main === undefined ? ["policy.js", "policy.ts"] : [main]).map((file) => join(folder, file));
  const source = sources.find(existsSync);
  if (source === undefined) {
    throw new BuildError(`there is no \`${sources.join("` and no `")}\`\nhint: \`main\` in package.json names the policy's source`);
  }
  return { name, version, source };
}

/** The policy that a source exports. Runs the source here, with the console that it has here. */
async function policyIn(source) {
  const file = join(scratch, "policy.mjs");
  writeFileSync(file, await bundle({ entryPoints: [source] }));
  const { default: policy } = await import(pathToFileURL(file).href);
  if (!Array.isArray(policy?.hooks)) {
    throw new BuildError(`\`${source}\` exports no policy\nhint: \`export default policy({ score(node, request) { … } })\``);
  }
  return policy;
}

/** One module of a source and all that it imports; types are taken off. */
async function bundle(from) {
  const done = await build({
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    // Names are what operators see when a policy fails.
    keepNames: true,
    target: "es2023",
    // The host's own.
    external: ["flocker:*"],
    alias: { "flocker-sdk": join(SDK, "index.js") },
    logLevel: "silent",
    ...from,
  }).catch((error) => {
    const said = (error.errors ?? []).map(({ text, location: at }) => (at ? `${at.file}:${at.line}: ${text}` : text));
    throw new BuildError(said.length > 0 ? said.join("\n") : String(error));
  });
  return done.outputFiles[0].text;
}

/**
 * The same component, whose glue can give the host's view of the cluster back before a question is answered.
 *
 * The contract lends the view for one question, and the answer must not be given while it is held. The runtime of
 * componentize-qjs lets go of what was lent to it only afterwards, which ends the instance. What it *owns* it lets go of when
 * JavaScript says so; and between the two it is told apart by two imports of one type, which lie side by side. Once they
 * have changed places, what is lent comes as owned. Nothing of the contract is passed as owned.
 */
function withViewsThatEnd(component) {
  const lent = /(\x03env\x15wit_dylib_push_borrow\x00.)(\x03env\x12wit_dylib_push_own\x00.)/gs;
  // One character per byte.
  const bytes = component.toString("latin1");
  const found = [...bytes.matchAll(lent)];
  if (found.length !== 1 || found[0][1].at(-1) !== found[0][2].at(-1)) {
    throw new BuildError("this version of componentize-qjs makes components that this SDK does not know\nhint: use the version in the SDK's package.json");
  }
  return Buffer.from(bytes.replace(lent, "$2$1"), "latin1");
}

/** The contract with one more world, of these hooks. */
function contractFor(hooks) {
  for (const file of readdirSync(WIT).filter((file) => file.endsWith(".wit"))) {
    copyFileSync(join(WIT, file), join(scratch, file));
  }
  const worlds = hooks.map((hook) => `include ${HOOKS[hook][0]};`).join(" ");
  writeFileSync(join(scratch, "built.wit"), `package flocker:plugin@0.1.0;\nworld built { ${worlds} }\n`);
  return scratch;
}
