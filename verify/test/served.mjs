// The page as a node serves it: `node served.mjs http://127.0.0.1:7450/verify`. It works there as from the disk, and asks for nothing more.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { give, verdicts, withPage } from './browser.mjs';

const vectors = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'proto', 'testdata', 'formats');
const vector = (name) => [name, readFileSync(join(vectors, name))];

await withPage(
  async (page, complaints) => {
    await give(page, 'any', ['anchors.pem', 'operator.pem', 'cong-van.txt', 'receipt.receipt', 'receipt-provisional.receipt'].map(vector));
    // The vectors are of no time in particular: what matters here is that both are judged.
    const found = await verdicts(page, 2);
    const passed = await page.$$eval('[data-check="document"].passed', (lines) => lines.length);
    if (found.some((verdict) => verdict === undefined) || passed === 0) throw new Error(`${found}; the document is proven by ${passed}`);
    if (complaints.length > 0) throw new Error(complaints.join('\n'));
    console.log(found.join(', '));
  },
  { url: process.argv[2] },
);
