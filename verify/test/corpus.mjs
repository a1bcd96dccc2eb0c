// Holds the page against the Rust verifier: `node corpus.mjs corpus.json`, made by evidence/tests/it/verify_page.rs. Every case goes through the page's
// own verifier in headless Chromium; verdict and the outcome of every check must be the same. Some go through the page's inputs, as a person uses them.

import { readFileSync } from 'node:fs';
import { give, verdicts, withPage } from './browser.mjs';

const { checks, cases, bundleChecks, statusChecks, bundles } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const BATCH = 40;
// Everybody's first receipts, one of each verdict, and one with a document go through the inputs.
const BY_HAND = ['valid-consignment', 'valid-with-document', 'valid-with-revocation-lists', 'the-container', 'another-document', 'provisional', 'valid-witnessed', 'too-few-cosignatures', 'ledger-key-of-somebody-else', 'carriage-returns', 'revoked-by-its-issuer-before'];

const BUNDLES_BY_HAND = ['right', 'with-statuses', 'a-status-altered', 'right-with-document', 'two-recipients', 'another-document', 'two-histories', 'a-provisional-receipt', 'cut-short', 'no-receipts', 'signed-by-a-stranger', 'all-receipts-of-another-document', 'answers-revoked-before', 'answers-of-no-use-unknown', 'another-content-under-the-same-number', 'two-submissions-under-one-number', 'the-relay-denies-it', 'delivered-late', 'a-stranger-with-another-content', 'proven-once-more-later', 'taken-and-refused-later', 'consignment-before-the-submission', 'stamped-days-later', 'through-todays-axis', 'by-another-than-it-says', 'a-status-set-long-before-it-was-stated', 'manifest-with-half-a-character', 'certificate-that-a-later-directory-stops-before', 'certificate-that-a-later-directory-stops-since'];

const disagreements = [];
const counts = { bundles: {}, 'bundles by hand': {}, 'by program': {}, 'by program, Ed25519 by the library': {}, 'by hand': {} };

// Of what is bent at random each reads as far as it can, and not always equally far; but what passes here never fails there.
const isDisagreement = (isBent, here, there) => here !== there && (!isBent || [here, there].sort().join() === 'failed,passed');

function compare(expected, found, how, names = checks) {
  const place = `${expected.name} (${how})`;
  if (found.refused !== undefined) return disagreements.push(`${place}: the page refused the trust files: ${found.refused} ${found.detail ?? ''}`);
  const levels = found.summary?.levels?.join();
  if (!expected.bent && expected.levels && levels !== undefined && levels !== expected.levels.join()) return disagreements.push(`${place}: it rests on ${levels}, not ${expected.levels}`);
  const steps = found.steps.filter(({ outcome }, at) => isDisagreement(expected.bent, outcome, expected.steps[at]));
  if (found.verdict === expected.verdict && steps.length === 0) return (counts[how][found.verdict] = (counts[how][found.verdict] ?? 0) + 1);
  const told = steps.map(({ check, outcome, detail }) => `${check} ${outcome} (${detail.en ?? detail}), not ${expected.steps[names.indexOf(check)]}`);
  return disagreements.push(`${place}: ${found.verdict}, not ${expected.verdict}: ${told.join('; ')}`);
}

async function byProgram(page, ed25519ByLibrary, chosen) {
  for (let at = 0; at < chosen.length; at += BATCH) {
    const batch = chosen.slice(at, at + BATCH).map(({ name, steps, verdict, levels, ...given }) => ({ ...given, ed25519ByLibrary }));
    const found = await page.evaluate((all) => Promise.all(all.map((one) => globalThis.trucVerify.verify(one))), batch);
    found.forEach((report, place) => compare(chosen[at + place], report, ed25519ByLibrary ? 'by program, Ed25519 by the library' : 'by program'));
  }
}

/** Beside the checks: each receipt's verdict, what is concluded for each recipient, what else is in it. */
async function bundlesByProgram(page) {
  for (const { name, verdict, steps, bundle, trust, operator, lists, answers, document, now, bent, ...expected } of bundles) {
    const found = await page.evaluate((one) => globalThis.trucVerify.verify(one), { bundle, trust, operator, lists, answers, document, now });
    compare({ name, verdict, steps, bent }, found, 'bundles', bundleChecks);
    if (found.refused !== undefined || (bent && verdict !== 'valid')) continue;
    const told = {
      receipts: found.receipts.map((receipt) => [receipt.name, receipt.report.verdict]),
      conclusions: found.conclusions.map((one) => [one.recipient, one.name, one.standing, one.remarks, one.events.map(eventTold), one.statuses.map(statusTold)]),
      statuses: found.statuses.map((one) => [one.name, one.verdict, one.steps.map(({ outcome }) => outcome), one.receipts.map((receipt) => [receipt.name, receipt.report.verdict])]),
      others: found.others.map((other) => [other.name, other.length]),
      signed_at: found.signer === null ? null : found.signer.signedAt,
    };
    for (const [what, value] of Object.entries(told)) {
      if (JSON.stringify(value) !== JSON.stringify(expected[what])) disagreements.push(`${name}: ${what} ${JSON.stringify(value)}, not ${JSON.stringify(expected[what])}`);
    }
  }
}

const eventTold = ({ event, role, time, signedAt, provenBy, remarks }) => [event, role, time, signedAt, provenBy, remarks];

const statusTold = ({ code, from, to, time, stated, remarks, sequence, reason, staff, envelope, basis, received }) => [code, from, to, time, stated, remarks, sequence, reason, staff, envelope, basis, received];

const localTime = (ms) => new Date(ms).toISOString().slice(0, 19);

const bytes = (base64) => Buffer.from(base64, 'base64');

async function byHand(page, expected, name = 'one.receipt') {
  await show(page, expected, name, expected.receipt);
  const [verdict] = await verdicts(page, 1);
  const steps = await stepsShown(page, '.steps li');
  compare(expected, { verdict, steps }, 'by hand');
}

/** Dropped as a person does it: the page must find out by itself that it is a bundle. */
async function bundleByHand(page, name) {
  const expected = bundles.find((one) => one.name === name);
  await show(page, expected, `${name}.zip`, expected.bundle, 'any');
  const [verdict] = await verdicts(page, 1);
  compare(expected, { verdict, steps: await stepsShown(page, '.bundle-steps > li') }, 'bundles by hand', bundleChecks);
  const standings = await page.$$eval('.recipient', (all) => all.map((one) => [one.dataset.recipient, one.dataset.standing, [...one.querySelectorAll('[data-remark]')].map((line) => line.dataset.remark), one.querySelectorAll('.timeline:not(.statuses) li').length, [...one.querySelectorAll('.statuses li')].map((line) => line.dataset.status)]));
  const wanted = expected.conclusions.map(([recipient, , standing, remarks, events, statuses]) => [recipient, standing, [...remarks, ...events.flatMap((event) => event.at(-1)), ...statuses.flatMap((status) => status[5])], events.length, statuses.map(([code]) => code)]);
  if (JSON.stringify(standings) !== JSON.stringify(wanted)) disagreements.push(`${name} (by hand): ${JSON.stringify(standings)}, not ${JSON.stringify(wanted)}`);
  const inner = await page.$$eval('.inner', (all) => all.map((one) => one.dataset.inner).sort());
  const innerStatuses = await page.$$eval('.inner-status', (all) => all.map((one) => one.dataset.innerStatus));
  const statusesWanted = expected.statuses.map(([, one]) => one);
  if (innerStatuses.join() !== statusesWanted.join()) disagreements.push(`${name} (by hand): statuses ${innerStatuses}, not ${statusesWanted}`);
  const verdictsWanted = expected.receipts.map(([, one]) => one).sort();
  if (inner.join() !== verdictsWanted.join()) disagreements.push(`${name} (by hand): receipts ${inner}, not ${verdictsWanted}`);
}

const stepsShown = (page, selector) => page.$$eval(selector, (lines) => lines.map((line) => ({ check: line.dataset.check, outcome: line.className, detail: '' })));

async function show(page, expected, name, content, kind = 'receipts') {
  await page.click('#clear');
  await page.evaluate((time) => Object.assign(document.getElementById('at'), { value: time }), localTime(expected.now));
  await give(page, 'any', [
    ['trust.pem', Buffer.from(expected.trust)],
    ['operator.pem', Buffer.from(expected.operator)],
  ]);
  if (expected.lists !== '') await give(page, 'lists', [['lists.pem', Buffer.from(expected.lists)]]);
  for (const [n, answer] of (expected.answers ?? []).entries()) await give(page, 'any', [[`${n}.der`, bytes(answer)]]);
  if (expected.policy) await give(page, 'any', [['policy.txt', Buffer.from(expected.policy)]]);
  if (expected.document !== null) await give(page, 'document', [['document', bytes(expected.document)]]);
  await give(page, kind, [[name, bytes(content)]]);
}

/** What strangers wrote is text: no element comes of it, and what turns its direction is shown. */
async function hostileNames(page) {
  const expected = cases.find(({ name }) => name === 'agency-with-a-hostile-name');
  await byHand(page, expected, 'x<img src=x onerror=alert(1)>\u202egpj.receipt');
  const text = await page.textContent('#result');
  for (const shown of ['x<img src=x onerror=alert(1)>⟦U+202E⟧gpj.receipt', '<script>alert(1)</script>⟦U+202E⟧fdp']) {
    if (!text.includes(shown)) disagreements.push(`the page does not show ${shown}`);
  }
  await bundleByHand(page, 'hostile-names-beside');
  await bundleByHand(page, 'hostile-name-of-a-receipt');
  await page.click('.inner summary');
  await page.waitForSelector('.inner .steps li');
  if (!(await page.textContent('#result')).includes('<script>alert(1)<script>.receipt')) disagreements.push('the page does not show the name of a receipt in a bundle');
  const made = await page.$$eval('#result img, #result script, #given img', (elements) => elements.length);
  if (made > 0) disagreements.push('a name became an element');
}

/** However it was packed, and where it is cut short, too: a bundle is known by its `bundle.json`, and a document with receipts in its text is a document. */
async function kinds(page) {
  const of = (name) => bytes(bundles.find((one) => one.name === name).bundle);
  const files = [
    ['right.zip', of('right'), 'receipts'],
    ['packed.zip', of('by-another-packer'), 'receipts'],
    ['half.zip', of('cut-in-half'), 'receipts'],
    ['a.zip', bytes(cases.find(({ name }) => name === 'the-container').document), 'document'],
    ['b.zip', Buffer.from('PK\x03\x04 bundle.json receipts/', 'latin1'), 'document'],
  ];
  for (const [name, content, kind] of files) {
    await page.click('#clear');
    await give(page, 'any', [[name, content]]);
    await page.waitForFunction(() => document.querySelector('#given li') !== null);
    if ((await page.textContent(`#${kind}-files`)) !== name) disagreements.push(`${name} was not taken for one of ${kind}`);
  }
}

await withPage(
  async (page, complaints) => {
    const own = await page.evaluate(() => globalThis.trucVerify.checks);
    if (own.join() !== checks.join()) throw new Error(`the page makes other checks, or in another order: ${own.join()}`);
    const ownOfBundles = await page.evaluate(() => globalThis.trucVerify.bundleChecks);
    if (ownOfBundles.join() !== bundleChecks.join()) throw new Error(`the page makes other checks of bundles: ${ownOfBundles.join()}`);
    const ownOfStatuses = await page.evaluate(() => globalThis.trucVerify.statusChecks);
    if (ownOfStatuses.join() !== statusChecks.join()) throw new Error(`the page makes other checks of statuses: ${ownOfStatuses.join()}`);
    await byProgram(page, false, cases);
    await byProgram(page, true, cases.slice(0, 60));
    for (const name of BY_HAND) await byHand(page, cases.find((one) => one.name === name));
    await bundlesByProgram(page);
    for (const name of BUNDLES_BY_HAND) await bundleByHand(page, name);
    await hostileNames(page);
    await kinds(page);
    disagreements.push(...complaints);
  },
  { timezoneId: 'UTC' },
);

console.log(`${cases.length} receipts, ${bundles.length} bundles; agreements ${JSON.stringify(counts)}`);
if (disagreements.length > 0) {
  console.error(`${disagreements.length} disagreements\n${disagreements.join('\n')}`);
  process.exit(1);
}
