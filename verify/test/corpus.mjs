// Holds the page against the Rust verifier: `node corpus.mjs corpus.json`, made by evidence/tests/it/verify_page.rs. Every case goes through the page's
// own verifier in headless Chromium; verdict and the outcome of every check must be the same. Some go through the page's inputs, as a person uses them.

import { readFileSync } from 'node:fs';
import { give, verdicts, withPage } from './browser.mjs';

const { checks, cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const BATCH = 40;
// Everybody's first receipts, one of each verdict, and one with a document go through the inputs.
const BY_HAND = ['valid-consignment', 'valid-with-document', 'valid-with-revocation-lists', 'the-container', 'another-document', 'provisional', 'ledger-key-of-somebody-else', 'carriage-returns'];

const disagreements = [];
const counts = { 'by program': {}, 'by program, Ed25519 by the library': {}, 'by hand': {} };

// Of what is bent at random each reads as far as it can, and not always equally far; but what passes here never fails there.
const isDisagreement = (isBent, here, there) => here !== there && (!isBent || [here, there].sort().join() === 'failed,passed');

function compare(expected, found, how) {
  const place = `${expected.name} (${how})`;
  if (found.refused !== undefined) return disagreements.push(`${place}: the page refused the trust files: ${found.refused} ${found.detail ?? ''}`);
  const steps = found.steps.filter(({ outcome }, at) => isDisagreement(expected.bent, outcome, expected.steps[at]));
  if (found.verdict === expected.verdict && steps.length === 0) return (counts[how][found.verdict] = (counts[how][found.verdict] ?? 0) + 1);
  const told = steps.map(({ check, outcome, detail }) => `${check} ${outcome} (${detail.en ?? detail}), not ${expected.steps[checks.indexOf(check)]}`);
  return disagreements.push(`${place}: ${found.verdict}, not ${expected.verdict}: ${told.join('; ')}`);
}

async function byProgram(page, ed25519ByLibrary, chosen) {
  for (let at = 0; at < chosen.length; at += BATCH) {
    const batch = chosen.slice(at, at + BATCH).map(({ name, steps, verdict, ...given }) => ({ ...given, ed25519ByLibrary }));
    const found = await page.evaluate((all) => Promise.all(all.map((one) => globalThis.trucVerify.verify(one))), batch);
    found.forEach((report, place) => compare(chosen[at + place], report, ed25519ByLibrary ? 'by program, Ed25519 by the library' : 'by program'));
  }
}

const localTime = (ms) => new Date(ms).toISOString().slice(0, 19);

async function byHand(page, expected, name = 'one.receipt') {
  await page.click('#clear');
  const bytes = (base64) => Buffer.from(base64, 'base64');
  await page.evaluate((time) => Object.assign(document.getElementById('at'), { value: time }), localTime(expected.now));
  await give(page, 'any', [
    ['trust.pem', Buffer.from(expected.trust)],
    ['operator.pem', Buffer.from(expected.operator)],
  ]);
  if (expected.lists !== '') await give(page, 'lists', [['lists.pem', Buffer.from(expected.lists)]]);
  if (expected.document !== null) await give(page, 'document', [['document', bytes(expected.document)]]);
  await give(page, 'receipts', [[name, bytes(expected.receipt)]]);
  const [verdict] = await verdicts(page, 1);
  const steps = await page.$$eval('.steps li', (lines) => lines.map((line) => ({ check: line.dataset.check, outcome: line.className, detail: '' })));
  compare(expected, { verdict, steps }, 'by hand');
}

/** What strangers wrote is text: no element comes of it, and what turns its direction is shown. */
async function hostileNames(page) {
  const expected = cases.find(({ name }) => name === 'agency-with-a-hostile-name');
  await byHand(page, expected, 'x<img src=x onerror=alert(1)>\u202egpj.receipt');
  const text = await page.textContent('#result');
  for (const shown of ['x<img src=x onerror=alert(1)>⟦U+202E⟧gpj.receipt', '<script>alert(1)</script>⟦U+202E⟧fdp']) {
    if (!text.includes(shown)) disagreements.push(`the page does not show ${shown}`);
  }
  const made = await page.$$eval('#result img, #result script, #given img', (elements) => elements.length);
  if (made > 0) disagreements.push('a name became an element');
}

/** A bundle is no broken receipt and no document: the page says what to do with it. */
async function bundle(page) {
  await page.click('#clear');
  for (const kind of ['any', 'receipts']) {
    await give(page, kind, [['bundle.zip', Buffer.from('PK\x03\x04 bundle.json receipts/', 'latin1')]]);
    await page.waitForSelector('#result .notice');
    if ((await page.$$('#receipts-files li, #document-files li')).length > 0) disagreements.push('a bundle was taken for a receipt or a document');
  }
}

await withPage(
  async (page, complaints) => {
    const own = await page.evaluate(() => globalThis.trucVerify.checks);
    if (own.join() !== checks.join()) throw new Error(`the page makes other checks, or in another order: ${own.join()}`);
    await byProgram(page, false, cases);
    await byProgram(page, true, cases.slice(0, 60));
    for (const name of BY_HAND) await byHand(page, cases.find((one) => one.name === name));
    await hostileNames(page);
    await bundle(page);
    disagreements.push(...complaints);
  },
  { timezoneId: 'UTC' },
);

console.log(`${cases.length} receipts; agreements ${JSON.stringify(counts)}`);
if (disagreements.length > 0) {
  console.error(`${disagreements.length} disagreements\n${disagreements.join('\n')}`);
  process.exit(1);
}
