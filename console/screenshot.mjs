/** Takes a picture of the console: `node console/screenshot.mjs URL OUT.png [--width --height --wait]`.
 *
 * Prints one line of JSON with what the page shows and what it complained of. Ends with 3 where
 * there is no Chromium, with 4 where the page does not come to show what it is waited for.
 */

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  // MapLibre needs WebGL; where there is no graphics card this draws it.
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** Without a graphics card on a busy machine the first picture takes its time. */
const READY_MS = 60_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "1440" },
    height: { type: "string", default: "900" },
    /** Milliseconds after all else, for a picture with some history in its charts. */
    wait: { type: "string", default: "6000" },
    /** CSS selectors that must come to match, one after the other. */
    until: { type: "string", multiple: true, default: [] },
    /** CSS selectors to click first, one after the other. */
    click: { type: "string", multiple: true, default: [] },
    /** How many dots of the picture a CSS pixel has. */
    scale: { type: "string", default: "1" },
  },
});
const [url, out] = positionals;
if (!url || !out) {
  console.error("usage: node console/screenshot.mjs URL OUT.png [--width --height --wait --click --scale]");
  process.exit(2);
}

const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
if (!executablePath) {
  console.error(`no Chromium at ${PLACES.join(", ")}; install one or name it in CHROMIUM`);
  process.exit(3);
}

const profile = await mkdtemp(join(tmpdir(), "console-picture-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  args: FLAGS,
  viewport: { width: Number(values.width), height: Number(values.height) },
  deviceScaleFactor: Number(values.scale),
});
try {
  console.log(JSON.stringify(await takePicture()));
} catch (error) {
  console.error(error.message);
  process.exitCode = 4;
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}

async function takePicture() {
  const page = browser.pages()[0] ?? (await browser.newPage());
  const complaints = [];
  page.on("console", (said) => {
    if (["error", "warning"].includes(said.type())) complaints.push(said.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.setDefaultTimeout(READY_MS);
  await page.goto(url);
  await page.waitForSelector('[data-counter="ordersOpen"]:not(:text-is("–"))');
  await page.waitForSelector("body[data-map]");
  for (const selector of values.click) await page.click(selector);
  for (const selector of values.until) await page.waitForSelector(selector);
  await page.waitForTimeout(Number(values.wait));
  await page.screenshot({ path: out });
  return { ...(await page.evaluate(readPage)), complaints };
}

/** Runs in the page. */
function readPage() {
  const counters = {};
  for (const element of document.querySelectorAll("[data-counter]")) {
    counters[element.dataset.counter] = Number(element.textContent.replaceAll(",", ""));
  }
  return {
    link: document.getElementById("link").dataset.state,
    map: document.body.dataset.map,
    counters,
    orders: document.querySelectorAll("#orders .row").length,
    riders: document.querySelectorAll("#riders .row").length,
    events: document.querySelectorAll("#events .event").length,
    address: location.href,
  };
}
