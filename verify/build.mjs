// Makes docs/verify.html: one file with everything in it, the same bytes from the same sources.
// `--check` compares with the file that is there instead of writing it; `--lint` only looks at the sources.

import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const source = (name) => readFileSync(join(here, 'src', name), 'utf8');
const target = join(here, '..', 'docs', 'verify.html');
// Packages that end up in the page, with the licences that must go with them.
const BUNDLED = ['@noble/curves', '@noble/hashes', 'pkijs', 'asn1js', '@peculiar/utils', 'bytestreamjs'];

const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

function licences() {
  const texts = BUNDLED.map((name) => {
    const folder = join(here, 'node_modules', name);
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
    return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}`;
  });
  const text = `This page holds parts of these libraries:\n\n${texts.join('\n\n----\n\n')}`.replace(/\r\n/g, '\n');
  // Two hyphens would end an HTML comment.
  return `<!--\n${text.replace(/--+/g, (run) => '='.repeat(run.length))}\n-->\n`;
}

async function script() {
  const made = await build({
    absWorkingDir: here,
    entryPoints: ['src/main.js'],
    bundle: true,
    write: false,
    format: 'iife',
    charset: 'utf8',
    legalComments: 'none',
    minifyWhitespace: false,
    target: ['chrome103', 'firefox113', 'safari16.4'],
    logLevel: 'warning',
  });
  const text = made.outputFiles[0].text;
  if (/<\/script/i.test(text)) throw new Error('the script would end its own element');
  return text;
}

async function page() {
  const [code, style] = [await script(), source('page.css')];
  const policy = `default-src 'none'; script-src ${hash(code)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
  const parts = { policy, style, script: code };
  const html = source('page.html').replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]);
  return html.replace('<!doctype html>\n', `<!doctype html>\n${licences()}`);
}

function lint() {
  for (const name of readdirSync(join(here, 'src')).filter((file) => file.endsWith('.js'))) {
    execFileSync(process.execPath, ['--check', join(here, 'src', name)], { stdio: 'inherit' });
    const broken = source(name).split('\n').findIndex((line) => /\s$|\t|innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b/.test(line));
    if (broken >= 0) throw new Error(`src/${name}:${broken + 1}: white space at the end, a tab, or something that reads HTML or code from text`);
  }
}

lint();
if (process.argv.includes('--lint')) process.exit(0);
const made = await page();
if (!process.argv.includes('--check')) writeFileSync(target, made);
else if (readFileSync(target, 'utf8') !== made) {
  console.error('docs/verify.html is not what verify/ makes; run: cd verify && npm ci && npm run build');
  process.exit(1);
}
