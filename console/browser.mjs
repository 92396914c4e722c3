/** Opens Debian's (or any) Chromium without a window, in a profile of its own. */

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** MapLibre needs WebGL; where there is no graphics card this draws it. */
const SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
const NO_GL = ["--disable-gpu", "--disable-software-rasterizer", "--disable-3d-apis"];
/** Without a graphics card on a busy machine the first picture takes its time. */
const PATIENCE_MS = 60_000;

/** The browser's program, or null where there is none; CHROMIUM names another. */
export function findBrowser() {
  return process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place)) ?? null;
}

/** One page of a fresh browser, what it complained of, and how to close both. */
export async function openPage({ width = 1440, height = 900, scale = 1, hasGl = true } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "console-browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: findBrowser(),
    args: [...FLAGS, ...(hasGl ? SOFTWARE_GL : NO_GL)],
    viewport: { width, height },
    deviceScaleFactor: scale,
  });
  browser.setDefaultTimeout(PATIENCE_MS);
  const page = browser.pages()[0] ?? (await browser.newPage());
  const complaints = [];
  page.on("console", (said) => {
    if (["error", "warning"].includes(said.type())) complaints.push(said.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  const close = async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true });
  };
  return { page, complaints, close };
}
