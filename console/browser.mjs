/** Opens an installed Chromium, headless and with a temporary profile. */

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const BROWSER_PATHS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** MapLibre needs WebGL; without a GPU this renders it in software. */
const SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const NO_GL = ["--disable-gpu", "--disable-software-rasterizer", "--disable-3d-apis"];
/** Long, because without a GPU on a busy machine the first frame is slow. */
const PAGE_TIMEOUT_MS = 60_000;

/** Path of the browser, or null if there is none; CHROMIUM names another. */
export function findBrowser() {
  return process.env.CHROMIUM ?? BROWSER_PATHS.find((path) => existsSync(path)) ?? null;
}

/** A page of a new browser, its console errors and warnings, and a function that closes both. */
export async function openPage({ width = 1440, height = 900, scale = 1, hasGl = true } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "console-browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: findBrowser(),
    args: [...FLAGS, ...(hasGl ? SOFTWARE_GL : NO_GL)],
    viewport: { width, height },
    deviceScaleFactor: scale,
  });
  browser.setDefaultTimeout(PAGE_TIMEOUT_MS);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const consoleErrors = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) consoleErrors.push(message.text());
  });
  page.on("pageerror", (error) => consoleErrors.push(String(error)));
  const close = async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { page, consoleErrors, close };
}
