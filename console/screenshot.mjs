/** Takes a screenshot of the console: `node console/screenshot.mjs URL OUT.png [--width --height --wait]`.
 *
 * Prints one line of JSON with the page's state and its console errors. Exits with 3 if there is no
 * Chromium, with 4 if the page does not show what is waited for.
 */

import { parseArgs } from "node:util";
import { findBrowser, openPage } from "./browser.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: "string", default: "1440" },
    height: { type: "string", default: "900" },
    /** Image pixels per CSS pixel. */
    scale: { type: "string", default: "1" },
    /** CSS selectors to click, one after the other. */
    click: { type: "string", multiple: true, default: [] },
    /** CSS selectors to wait for, one after the other. */
    until: { type: "string", multiple: true, default: [] },
    /** Milliseconds to wait at the end, so that the charts have some history. */
    wait: { type: "string", default: "6000" },
  },
});
const [url, out] = positionals;
if (!url || !out) {
  console.error("usage: node console/screenshot.mjs URL OUT.png [--width --height --scale --wait]");
  process.exit(2);
}
if (findBrowser() === null) {
  console.error("no Chromium found; install one, or set CHROMIUM to its path");
  process.exit(3);
}

const { width, height, scale } = values;
const size = { width: Number(width), height: Number(height), scale: Number(scale) };
const { page, consoleErrors, close } = await openPage(size);
try {
  await takeScreenshot();
  console.log(JSON.stringify({ ...(await page.evaluate(readPage)), consoleErrors }));
} catch (error) {
  console.error(error.message);
  process.exitCode = 4;
} finally {
  await close();
}

async function takeScreenshot() {
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
