/** Runs the console's unit tests, which need no browser: `node console/test.mjs`. */

import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const TESTS = join(HERE, "tests");

const outputFolder = await mkdtemp(join(tmpdir(), "console-tests-"));
try {
  const names = (await readdir(TESTS)).filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: names.map((name) => join(TESTS, name)),
    outdir: outputFolder,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "warning",
  });
  const files = names.map((name) => join(outputFolder, name.replace(/\.ts$/, ".mjs")));
  process.exitCode = await run(["--test", "--test-reporter=tap", ...files]);
} finally {
  await rm(outputFolder, { recursive: true, force: true });
}

function run(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}
