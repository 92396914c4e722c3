/** Builds the console into console/dist: `npm run build`. Every asset's name has its content's hash. */

import { copyFile, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createHash } from "node:crypto";
import { basename, dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { build } from "esbuild";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = join(HERE, "dist");
const ASSETS = join(DIST, "assets");
/** Folder with an operator's own style.json and the PMTiles, glyphs and sprites that it names. */
const BASEMAP = process.env.CONSOLE_BASEMAP ?? null;
/** Smaller files are not compressed. */
const COMPRESS_BYTES_MIN = 1_024;
const COMPRESSED_SUFFIXES = new Set([".js", ".css", ".svg", ".json"]);
/** Compressed size of the first page load at most; the build fails above it. */
const BUDGET_BYTES = 750_000;

const COMMON = {
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome110", "firefox115", "safari16.4"],
  outdir: ASSETS,
  metafile: true,
  legalComments: "linked",
  logLevel: "warning",
};

/** Files of this build; anything else in dist is from an earlier one and is removed. */
const writtenFiles = new Set();

await mkdir(ASSETS, { recursive: true });
if (BASEMAP !== null) checkBasemap(BASEMAP);
const worker = await buildWorker();
const page = await buildPage(worker);
const favicon = await addHashed(join(HERE, "favicon.svg"));
if (BASEMAP !== null) await copyBasemap(BASEMAP);
await compressAssets();
// Last, so that a page served during the build always finds its files.
await writePage({ ...page, favicon });
await removeOld();
await reportSizes();

async function buildWorker() {
  const result = await build({
    ...COMMON,
    entryPoints: ["maplibre-gl/dist/maplibre-gl-worker.mjs"],
    entryNames: "worker-[hash]",
    absWorkingDir: HERE,
  });
  return outputs(result).find(({ file }) => file.endsWith(".js")).file;
}

async function buildPage(worker) {
  const result = await build({
    ...COMMON,
    entryPoints: ["src/main.ts"],
    entryNames: "[name]-[hash]",
    chunkNames: "[name]-[hash]",
    assetNames: "[name]-[hash]",
    absWorkingDir: HERE,
    splitting: true,
    loader: { ".woff2": "file" },
    define: {
      WORKER_FILE: JSON.stringify(basename(worker)),
      BASEMAP_FOLDER: JSON.stringify(BASEMAP === null ? null : "basemap"),
    },
  });
  const files = outputs(result);
  const entry = files.find(({ entryPoint }) => entryPoint === "src/main.ts");
  const font = files.find(({ file }) => file.endsWith(".woff2"));
  return { script: entry.file, style: relative(DIST, join(HERE, entry.cssBundle)), font: font.file };
}

/** Output files of a build, with their paths relative to dist. */
function outputs({ metafile }) {
  return Object.entries(metafile.outputs).map(([path, output]) => {
    writtenFiles.add(join(HERE, path));
    return { ...output, file: relative(DIST, join(HERE, path)) };
  });
}

async function addHashed(path) {
  const bytes = await readFile(path);
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 8).toUpperCase();
  const name = basename(path).replace(/(\.\w+)$/, `-${hash}$1`);
  await write(join(ASSETS, name), bytes);
  return `assets/${name}`;
}

async function writePage({ script, style, font, favicon }) {
  const names = { "%SCRIPT%": script, "%STYLE%": style, "%FONT%": font, "%FAVICON%": favicon };
  let html = await readFile(join(HERE, "index.html"), "utf8");
  for (const [placeholder, name] of Object.entries(names)) html = html.replaceAll(placeholder, name);
  const left = html.match(/%[A-Z]+%/);
  if (left) throw new Error(`index.html has ${left[0]}, which the build does not replace`);
  const newPage = join(DIST, "index.new.html");
  await writeFile(newPage, html);
  await rename(newPage, join(DIST, "index.html"));
  writtenFiles.add(join(DIST, "index.html"));
}

function checkBasemap(folder) {
  if (!existsSync(join(folder, "style.json"))) {
    throw new Error(`CONSOLE_BASEMAP is ${folder}, but there is no style.json in it`);
  }
  try {
    import.meta.resolve("pmtiles");
  } catch {
    throw new Error("an operator's own basemap needs one more package: npm install --no-save pmtiles");
  }
}

async function copyBasemap(folder) {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const from = join(entry.parentPath, entry.name);
    const to = join(DIST, "basemap", relative(folder, from));
    await mkdir(dirname(to), { recursive: true });
    await copyFile(from, to);
    writtenFiles.add(to);
  }
}

/** Write `.br` and `.gz` copies, which the server sends if the browser accepts them. */
async function compressAssets() {
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  for (const path of [...writtenFiles]) {
    if (!COMPRESSED_SUFFIXES.has(extname(path))) continue;
    const bytes = await readFile(path);
    if (bytes.length < COMPRESS_BYTES_MIN) continue;
    await write(`${path}.br`, await promisify(brotliCompress)(bytes, quality));
    await write(`${path}.gz`, await promisify(gzip)(bytes, { level: 9 }));
  }
}

async function write(path, bytes) {
  await writeFile(path, bytes);
  writtenFiles.add(path);
}

async function removeOld() {
  for (const path of await listFiles()) {
    // The Makefile keeps a hidden file there with the time of the build.
    if (!writtenFiles.has(path) && !basename(path).startsWith(".")) await rm(path);
  }
}

async function listFiles() {
  const entries = await readdir(DIST, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function reportSizes() {
  const sizes = new Map();
  for (const path of await listFiles()) {
    sizes.set(relative(DIST, path), (await readFile(path)).length);
  }
  let sent = 0;
  for (const [name, bytes] of [...sizes].sort()) {
    if (/\.(br|gz|txt)$/.test(name) || name.startsWith("basemap/")) continue;
    const compressed = sizes.get(`${name}.br`) ?? bytes;
    sent += compressed;
    console.log(`${name.padEnd(42)} ${kb(bytes)}  ${kb(compressed)} sent`);
  }
  console.log(`${"first page load".padEnd(42)} ${" ".repeat(9)}  ${kb(sent)} sent`);
  if (sent > BUDGET_BYTES) throw new Error(`the first page load may have at most ${kb(BUDGET_BYTES)}`);
}

function kb(bytes) {
  return `${(bytes / 1_000).toFixed(1)} kB`.padStart(9);
}
