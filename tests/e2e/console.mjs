// The operators' page in a real browser: what an operator sees, clicks, pastes and waits for.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { openPage } from "../../console/browser.mjs";
import { story, token } from "./app_client.mjs";

const SERVER = new URL(process.env.REEYO_URL);
const EXPIRED = { iat: 1_700_000_000, exp: 1_700_003_600 };
// A map that is drawn is worth so much; one colour is packed into a few kilobytes.
const PICTURE_BYTES_MIN = 60_000;

let desk, phone, proxy;

const shows = (page, selector) => page.waitForSelector(selector);
const text = (page, selector) => page.textContent(selector);
const isLive = (page) => shows(page, '#link[data-state="live"]');
const counts = (page, name) =>
  shows(page, `[data-counter="${name}"]:not(:text-is("–")):not(:text-is("0"))`);

/** A way to the server that can be cut. */
function openProxy() {
  const sockets = new Set();
  let isCut = false;
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    const far = connect(Number(SERVER.port), SERVER.hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    near.pipe(far).pipe(near);
  });
  const cut = () => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  const mend = () => (isCut = false);
  return new Promise((done) => {
    server.listen(0, "127.0.0.1", () => {
      done({ url: `http://127.0.0.1:${server.address().port}`, cut, mend });
    });
  });
}

async function paste(page, wrong, says) {
  await page.fill("#token", wrong);
  await page.keyboard.press("Enter");
  await shows(page, `#sign-in-error:has-text("${says}")`);
  assert.equal(await page.inputValue("#token"), "", "a refused token is not left lying about");
}

await story([
  ["a developer's page signs itself in", async () => {
    proxy = await openProxy();
    desk = await openPage();
    await desk.page.goto(`${proxy.url}/`);
    await isLive(desk.page);
    assert.equal(new URL(desk.page.url()).pathname, "/console/");
  }],
  ["the map is drawn by the page's own files alone", async () => {
    await shows(desk.page, 'body[data-map="ready"]');
    const names = await desk.page.evaluate(() =>
      performance.getEntriesByType("resource").map((entry) => new URL(entry.name).origin),
    );
    assert.deepEqual([...new Set(names)], [new URL(proxy.url).origin]);
  }],
  ["orders are placed, offered and delivered before one's eyes", async () => {
    for (const name of ["ordersPlaced", "offersMade", "ordersOpen"]) await counts(desk.page, name);
    await desk.page.click("#tab-events");
    for (const kind of ["placed", "offered", "assigned"])
      await shows(desk.page, `#events [data-kind="${kind}"]`);
    const picture = await desk.page.screenshot();
    assert.ok(picture.length > PICTURE_BYTES_MIN, `the picture has ${picture.length} bytes`);
  }],
  ["a rider is found by the keyboard alone, followed, and left again", async () => {
    const { page } = desk;
    await page.focus("#tab-events");
    await page.keyboard.press("ArrowLeft");
    await shows(page, '#tab-riders[aria-selected="true"]');
    await shows(page, "#riders .row");
    await page.focus("#riders .row");
    const name = await text(page, "#riders .row strong");
    await page.keyboard.press("Enter");
    await shows(page, `#details h2:text-is("${name}")`);
    await shows(page, '#details .quiet[aria-pressed="true"]');
    await page.keyboard.press("Escape");
    assert.equal(await page.isVisible("#details"), false);
  }],
  ["a word finds an order among the others", async () => {
    const { page } = desk;
    await page.click("#tab-orders");
    await shows(page, "#orders .row");
    await page.fill("#orders input", "nothing is called like this");
    assert.equal(await page.locator("#orders .row").count(), 0);
    assert.match(await text(page, "#orders .rest"), /Nothing here/);
    await page.fill("#orders input", "");
    await shows(page, "#orders .row");
  }],
  ["nothing was complained of so far", () => {
    assert.deepEqual(desk.complaints, []);
  }],
  ["a server that is away is said to be away, and comes back by itself", async () => {
    proxy.cut();
    await shows(desk.page, '#link[data-state="lost"]');
    proxy.mend();
    await isLive(desk.page);
    await desk.close();
  }],
  ["on a phone the lists are a sheet that opens and closes", async () => {
    phone = await openPage({ width: 390, height: 844 });
    const { page } = phone;
    await page.goto(`${SERVER.origin}/console/`);
    await isLive(page);
    assert.equal(await page.isVisible("#lists"), false);
    await page.click("#grip");
    await shows(page, "#orders");
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(wide, 390, "nothing is wider than the phone");
    await page.click("#grip");
    assert.equal(await page.isVisible("#lists"), false);
    assert.deepEqual(phone.complaints, []);
    await phone.close();
  }],
  ["without WebGL there is a word about it, and lists and figures work", async () => {
    const plain = await openPage({ hasGl: false });
    await plain.page.goto(`${SERVER.origin}/console/`);
    await isLive(plain.page);
    await shows(plain.page, '#no-map:has-text("WebGL")');
    await counts(plain.page, "ordersPlaced");
    assert.deepEqual(plain.complaints, []);
    await plain.close();
  }],
  ["a token in the address is taken out of it; one that does not fit is explained", async () => {
    const visitor = await openPage({ hasGl: false });
    const { page } = visitor;
    await page.goto(`${SERVER.origin}/console/#token=rubbish`);
    await shows(page, '#sign-in-error:has-text("not valid")');
    assert.equal(new URL(page.url()).hash, "");
    await paste(page, "more rubbish", "not valid");
    await paste(page, token("ADMIN", "ops_1", EXPIRED), "expired");
    await paste(page, token("RIDER", "rdr_1"), "not an operator");
    await page.fill("#token", token("ADMIN", "ops_1"));
    await page.click(".loud");
    await isLive(page);
    assert.equal(await page.isVisible("#sign-in"), false);
    await page.reload();
    await isLive(page);
    await visitor.close();
  }],
]);
