// Headless Chromium with docs/verify.html open from the disk, as its user opens it. A request to anywhere is an error.

import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

export const PAGE = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'verify.html');

const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Runs `work` with the page; complaints of the browser and requests to the network end up in `complaints`. */
export async function withPage(work, { url = pathToFileURL(PAGE).href, ...options } = {}) {
  const executablePath = process.env.TRUC_CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    const page = await browser.newPage(options);
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(`console: ${message.text()}`));
    page.on('request', (request) => request.url() === url || request.url().startsWith('blob:') || complaints.push(`request: ${request.url()}`));
    await page.goto(url);
    return await work(page, complaints);
  } finally {
    await browser.close();
  }
}

/** Gives files to one of the page's inputs, as a person would: paths, or pairs of name and bytes. */
export async function give(page, kind, files) {
  const given = files.map((file) => (typeof file === 'string' ? file : { name: file[0], mimeType: 'application/octet-stream', buffer: file[1] }));
  await page.setInputFiles(`input[data-kind="${kind}"]`, given);
}

/** The verdicts that the page shows, once it shows this many. */
export async function verdicts(page, count) {
  await page.waitForFunction((wanted) => document.querySelectorAll('.receipt').length === wanted, count);
  return page.$$eval('.receipt', (shown) => shown.map((one) => one.dataset.verdict));
}
