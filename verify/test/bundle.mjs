// A bundle as a node made it, through the page's inputs: `node bundle.mjs BUNDLE TRUST OPERATOR DOCUMENT`. It must be valid, and every receipt in it be
// about the document; tells what is concluded.

import { give, verdicts, withPage } from './browser.mjs';

const [bundle, trust, operator, document] = process.argv.slice(2);

await withPage(async (page, complaints) => {
  await give(page, 'document', [document]);
  await give(page, 'any', [trust, operator, bundle]);
  const [verdict] = await verdicts(page, 1);
  if (verdict !== 'valid') throw new Error(`${verdict}: ${await page.textContent('#result')}`);
  const told = (all) => all.map((one) => [one.dataset.recipient, one.dataset.standing, ...[...one.querySelectorAll('[data-status]')].map((line) => line.dataset.status)].join(' '));
  const standings = await page.$$eval('.recipient', told);
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  console.log([...standings, await page.textContent('[data-proven]')].join('\n'));
});
