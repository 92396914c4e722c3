// The operations console in a real browser: live map, lists, keyboard, reconnects, sign-in.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { openPage } from "../../console/browser.mjs";
import { runSteps, token } from "./app_client.mjs";

const SERVER = new URL(process.env.REEYO_URL);
const EXPIRED = { iat: 1_700_000_000, exp: 1_700_003_600 };
// A drawn map has at least this size as PNG; a single colour takes a few kilobytes.
const SCREENSHOT_BYTES_MIN = 60_000;

let desktop, mobile, proxy;

const waitForSelector = (page, selector) => page.waitForSelector(selector);
const text = (page, selector) => page.textContent(selector);
const waitUntilLive = (page) => waitForSelector(page, '#link[data-state="live"]');
const waitForCount = (page, name) =>
  waitForSelector(page, `[data-counter="${name}"]:not(:text-is("–")):not(:text-is("0"))`);

/** A TCP proxy to the server that can be cut and restored. */
function openProxy() {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((clientSocket) => {
    if (isCut) return clientSocket.destroy();
    const serverSocket = connect(Number(SERVER.port), SERVER.hostname);
    for (const socket of [clientSocket, serverSocket]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    clientSocket.pipe(serverSocket).pipe(clientSocket);
  });
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  const restore = () => (isCut = false);
  return new Promise((done) => {
    server.listen(0, "127.0.0.1", () => {
      done({ url: `http://127.0.0.1:${server.address().port}`, cut, restore });
    });
  });
}

async function pasteToken(page, badToken, message) {
  await page.fill("#token", badToken);
  await page.keyboard.press("Enter");
  await waitForSelector(page, `#sign-in-error:has-text("${message}")`);
  assert.equal(await page.inputValue("#token"), "", "a refused token is cleared");
}

await runSteps([
  ["a page of a server under --dev signs in by itself", async () => {
    proxy = await openProxy();
    desktop = await openPage();
    await desktop.page.goto(`${proxy.url}/`);
    await waitUntilLive(desktop.page);
    assert.equal(new URL(desktop.page.url()).pathname, "/console/");
  }],
  ["the page loads files from its own origin only", async () => {
    await waitForSelector(desktop.page, 'body[data-map="ready"]');
    const names = await desktop.page.evaluate(() =>
      performance.getEntriesByType("resource").map((entry) => new URL(entry.name).origin),
    );
    assert.deepEqual([...new Set(names)], [new URL(proxy.url).origin]);
  }],
  ["orders are placed, offered and assigned live", async () => {
    for (const name of ["ordersPlaced", "offersMade", "ordersOpen"]) await waitForCount(desktop.page, name);
    await desktop.page.click("#tab-events");
    for (const kind of ["placed", "offered", "assigned"])
      await waitForSelector(desktop.page, `#events [data-kind="${kind}"]`);
    const screenshot = await desktop.page.screenshot();
    assert.ok(screenshot.length > SCREENSHOT_BYTES_MIN, `the screenshot has ${screenshot.length} bytes`);
  }],
  ["a rider is selected by keyboard, followed, and deselected", async () => {
    const { page } = desktop;
    await page.focus("#tab-events");
    await page.keyboard.press("ArrowLeft");
    await waitForSelector(page, '#tab-riders[aria-selected="true"]');
    await waitForSelector(page, "#riders .row");
    await page.focus("#riders .row");
    const name = await text(page, "#riders .row strong");
    await page.keyboard.press("Enter");
    await waitForSelector(page, `#details h2:text-is("${name}")`);
    await waitForSelector(page, '#details .secondary[aria-pressed="true"]');
    await page.keyboard.press("Escape");
    assert.equal(await page.isVisible("#details"), false);
  }],
  ["the search filters the orders", async () => {
    const { page } = desktop;
    await page.click("#tab-orders");
    await waitForSelector(page, "#orders .row");
    await page.fill("#orders input", "nothing is called like this");
    assert.equal(await page.locator("#orders .row").count(), 0);
    assert.match(await text(page, "#orders .list-footer"), /Nothing here/);
    await page.fill("#orders input", "");
    await waitForSelector(page, "#orders .row");
  }],
  ["there were no console errors so far", () => {
    assert.deepEqual(desktop.consoleErrors, []);
  }],
  ["a lost connection is shown, and restored by itself", async () => {
    proxy.cut();
    await waitForSelector(desktop.page, '#link[data-state="lost"]');
    proxy.restore();
    await waitUntilLive(desktop.page);
    await desktop.close();
  }],
  ["on a narrow screen the lists are a sheet that opens and closes", async () => {
    mobile = await openPage({ width: 390, height: 844 });
    const { page } = mobile;
    await page.goto(`${SERVER.origin}/console/`);
    await waitUntilLive(page);
    assert.equal(await page.isVisible("#lists"), false);
    await page.click("#sheet-handle");
    await waitForSelector(page, "#orders");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, 390, "nothing is wider than the screen");
    await page.click("#sheet-handle");
    assert.equal(await page.isVisible("#lists"), false);
    assert.deepEqual(mobile.consoleErrors, []);
    await mobile.close();
  }],
  ["without WebGL a message is shown, and lists and counters work", async () => {
    const withoutGl = await openPage({ hasGl: false });
    await withoutGl.page.goto(`${SERVER.origin}/console/`);
    await waitUntilLive(withoutGl.page);
    await waitForSelector(withoutGl.page, '#no-map:has-text("WebGL")');
    await waitForCount(withoutGl.page, "ordersPlaced");
    assert.deepEqual(withoutGl.consoleErrors, []);
    await withoutGl.close();
  }],
  ["a token in the URL is removed from it, and each refused token is explained", async () => {
    const visitor = await openPage({ hasGl: false });
    const { page } = visitor;
    await page.goto(`${SERVER.origin}/console/#token=rubbish`);
    await waitForSelector(page, '#sign-in-error:has-text("not valid")');
    assert.equal(new URL(page.url()).hash, "");
    await pasteToken(page, "more rubbish", "not valid");
    await pasteToken(page, token("ADMIN", "ops_1", EXPIRED), "expired");
    await pasteToken(page, token("RIDER", "rdr_1"), "not an operator");
    await page.fill("#token", token("ADMIN", "ops_1"));
    await page.click(".primary");
    await waitUntilLive(page);
    assert.equal(await page.isVisible("#sign-in"), false);
    await page.reload();
    await waitUntilLive(page);
    await visitor.close();
  }],
]);
