// The receipts of a whole run, `truc demo --dir FOLDER`, with the documents that came out of it: `node demo.mjs FOLDER`. All must be valid, and the
// files must be proven by the receipts of the document they belong to.

import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { give, verdicts, withPage } from './browser.mjs';

const folder = process.argv[2];
const file = (...parts) => join(folder, ...parts);
const receipts = readdirSync(join(folder, 'receipts')).map((name) => file('receipts', name));
const bundles = readdirSync(join(folder, 'bundles')).filter((name) => name.endsWith('.zip')).map((name) => file('bundles', name));
// The packet as it was delivered carries the stamps of its way, and is no part of what was signed; the one that was sent is.
const documents = ['received/H26', 'outgoing']
  .flatMap((part) => readdirSync(file(part)).map((name) => file(part, name)))
  .filter((path) => basename(path) !== 'packet.edxml');
if (existsSync(file('unsealed', 'container.asice'))) documents.push(file('unsealed', 'container.asice'));

await withPage(async (page, complaints) => {
  await give(page, 'any', [file('trust.pem'), file('pki', 'operator.pem'), ...receipts]);
  const alone = await verdicts(page, receipts.length);
  if (alone.some((verdict) => verdict !== 'valid')) throw new Error(`not all of ${receipts.length} receipts are valid: ${alone}`);
  for (const document of documents) {
    const name = basename(document);
    await give(page, 'document', [document]);
    await page.waitForFunction((shown) => document.querySelector('#document-files').textContent === shown && document.querySelector('.receipt') !== null, name);
    const proven = await page.$$eval('[data-check="document"].passed', (lines) => lines.length);
    if (proven === 0) throw new Error(`no receipt proves ${name}`);
    console.log(`${name}: proven by ${proven} of ${receipts.length} receipts`);
  }
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
});
console.log(`${receipts.length} of ${receipts.length} receipts valid`);
for (const bundle of bundles) {
  await withPage(async (page, complaints) => {
    await give(page, 'any', [file('trust.pem'), file('pki', 'operator.pem'), bundle]);
    const [verdict] = await verdicts(page, 1);
    if (verdict !== 'valid') throw new Error(`${basename(bundle)}: ${verdict}`);
    if (complaints.length > 0) throw new Error(complaints.join('\n'));
    console.log(`${basename(bundle)}: ${await page.$$eval('.recipient', (all) => all.map((one) => `${one.dataset.recipient} ${one.dataset.standing}`).join(', '))}`);
  });
}
