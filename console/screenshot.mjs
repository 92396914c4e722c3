/** Takes a picture of the console: `node console/screenshot.mjs URL OUT.png [--width --height --wait]`.
 *
 * Prints one line of JSON with what the page shows and what it complained of. Ends with 3 where
 * there is no Chromium, with 4 where the page does not come to show what it is waited for.
 */

import { parseArgs } from "node:util";
import { findBrowser, openPage } from "./browser.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "1440" },
    height: { type: "string", default: "900" },
    /** How many dots of the picture a CSS pixel has. */
    scale: { type: "string", default: "1" },
    /** CSS selectors to click, one after the other. */
    click: { type: "string", multiple: true, default: [] },
    /** CSS selectors that must come to match, one after the other. */
    until: { type: "string", multiple: true, default: [] },
    /** Milliseconds after all else, for a picture with some history in its charts. */
    wait: { type: "string", default: "6000" },
  },
});
const [url, out] = positionals;
if (!url || !out) {
  console.error("usage: node console/screenshot.mjs URL OUT.png [--width --height --scale --wait]");
  process.exit(2);
}
if (findBrowser() === null) {
  console.error("no Chromium here; install one, or say in CHROMIUM where it is");
  process.exit(3);
}

const { width, height, scale } = values;
const size = { width: Number(width), height: Number(height), scale: Number(scale) };
const { page, complaints, close } = await openPage(size);
try {
  await takePicture();
  console.log(JSON.stringify({ ...(await page.evaluate(readPage)), complaints }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 4;
} finally {
  await close();
}

async function takePicture() {
  await page.goto(url);
  await page.waitForSelector('[data-counter="ordersOpen"]:not(:text-is("–"))');
  await page.waitForSelector("body[data-map]");
  for (const selector of values.click) await page.click(selector);
  for (const selector of values.until) await page.waitForSelector(selector);
  await page.waitForTimeout(Number(values.wait));
  await page.screenshot({ path: out });
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
  };
}
