// The page: takes files, asks the verifier, shows what it found. Whatever comes out of a file is put into the page as text.

import { CHECKS, verifyReceipt } from './checks.js';
import { KINDS, kindOf, readUpTo } from './intake.js';
import { CHECK_TEXTS, GROUPS, MEANINGS, OUTCOMES, PAGE, REASON_TEXTS, SENTENCES, TRUST_FAULTS, VERDICTS } from './texts.js';
import { fill, visible } from './text.js';
import { hasCrypto } from './signature.js';
import { hex, sha256 } from './bytes.js';
import { moment } from './moment.js';
import { readDocument } from './document.js';
import { readTrust } from './trust.js';
import { CRL_BYTES_MAX, PEM_BYTES_MAX, RECEIPTS_MAX, RECEIPT_BYTES_MAX } from './limits.js';

const NEEDED = ['receipts', 'anchors', 'operator'];

const state = { language: 'vi', files: Object.fromEntries(KINDS.map((kind) => [kind, []])), hasBundle: false, outcome: null, round: 0 };

const at = (id) => document.getElementById(id);
const say = (key, values = {}) => fill(PAGE[state.language][key], values);
const word = (key, values = {}) => fill(SENTENCES[state.language][key], values);

/** An element with text and elements in it. Texts are texts: nothing here reads HTML. */
function element(tag, attributes, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

// What a stranger wrote: visible, and with a direction of its own.
const foreign = (text, charsMax) => element('bdi', {}, visible(text, charsMax));

export function start() {
  at('no-crypto').hidden = hasCrypto();
  for (const kind of KINDS) at(kind === 'lists' ? 'more-kinds' : 'kinds').append(kindRow(kind));
  for (const input of document.querySelectorAll('input[type="file"]')) input.addEventListener('change', () => taken(input));
  for (const button of document.querySelectorAll('[data-language]')) button.addEventListener('click', () => speak(button.dataset.language));
  at('clear').addEventListener('click', clear);
  at('print').addEventListener('click', () => window.print());
  at('at').addEventListener('change', check);
  listenForDrops();
  window.addEventListener('beforeprint', () => document.querySelectorAll('.receipt details').forEach((details) => (details.open = true)));
  speak('vi');
}

function kindRow(kind) {
  const input = element('input', { type: 'file', 'data-kind': kind, 'aria-labelledby': `${kind}-name`, ...(kind !== 'document' && { multiple: '' }) });
  return element(
    'div',
    { class: 'kind' },
    element('strong', { id: `${kind}-name`, 'data-text': kind }),
    element('label', { class: 'choose' }, input, element('span', { 'data-text': 'choose' })),
    element('small', { 'data-text': `${kind}-hint` }),
    element('ul', { id: `${kind}-files` }),
  );
}

function listenForDrops() {
  const over = (is) => at('drop').classList.toggle('over', is);
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    over(true);
  });
  document.addEventListener('dragleave', () => over(false));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    over(false);
    take([...event.dataTransfer.files], 'any');
  });
}

function taken(input) {
  take([...input.files], input.dataset.kind);
  input.value = '';
}

/** Takes files of a kind, or of whatever kind each turns out to be. What was chosen for a kind before stays; a document is replaced. */
async function take(files, wanted) {
  for (const file of files) {
    const found = await kindOf(file).catch(() => 'document');
    state.hasBundle ||= found === 'bundle';
    if (found === 'bundle') continue;
    const kind = wanted === 'any' ? found : wanted;
    state.files[kind] = kind === 'document' ? [file] : [...state.files[kind], file];
  }
  await check();
}

async function clear() {
  for (const kind of KINDS) state.files[kind] = [];
  state.hasBundle = false;
  at('at').value = '';
  await check();
}

function speak(language) {
  state.language = language;
  document.documentElement.lang = language;
  document.title = say('title');
  for (const button of document.querySelectorAll('[data-language]')) button.setAttribute('aria-pressed', String(button.dataset.language === language));
  show();
}

/** Checks everything anew; an older round that is still at work is forgotten. */
async function check() {
  state.round += 1;
  const { round } = state;
  state.outcome = { working: true };
  show();
  // A file that cannot be read, a folder for one; anything else is a defect of ours, and must not look like a verdict either.
  const outcome = await outcomeOf(state.files, at('at').value).catch((error) => ({ broken: error.message }));
  if (round !== state.round) return;
  state.outcome = outcome;
  show();
}

async function outcomeOf(files, asOf) {
  if (!hasCrypto() || NEEDED.some((kind) => files[kind].length === 0)) return null;
  const read = (kind, bytesMax) => Promise.all(files[kind].map((file) => readUpTo(file, bytesMax)));
  const trust = readTrust(await read('anchors', PEM_BYTES_MAX), await read('operator', PEM_BYTES_MAX), await read('lists', CRL_BYTES_MAX));
  if (trust.refused !== undefined) return { trust };
  const shown = files.document[0] ?? null;
  const document = shown === null ? null : await documentOf(shown);
  const now = asOf === '' ? Date.now() : new Date(asOf).getTime();
  const receipts = [];
  for (const file of files.receipts.slice(0, RECEIPTS_MAX)) {
    const bytes = await readUpTo(file, RECEIPT_BYTES_MAX);
    const report = await verifyReceipt(bytes, trust, document, now);
    receipts.push({ file: file.name, sha256: hex(sha256(bytes)), document: shown?.name ?? null, report });
  }
  return { trust, receipts, now, left: files.receipts.length - receipts.length };
}

// A document may take a minute to hash; it is read once, however often something else changes.
const documents = new WeakMap();

function documentOf(file) {
  if (!documents.has(file)) documents.set(file, readDocument(file));
  return documents.get(file);
}

// --- Showing ------------------------------------------------------------------------------------------------------------------------------------

function show() {
  for (const part of document.querySelectorAll('[data-text]')) part.textContent = say(part.dataset.text);
  for (const kind of KINDS) {
    const files = state.files[kind].map((file) => element('li', {}, foreign(file.name, 120)));
    at(`${kind}-files`).replaceChildren(...files);
  }
  const bundle = state.hasBundle ? [element('p', { class: 'notice' }, say('bundle'))] : [];
  at('result').replaceChildren(...bundle, ...result());
  at('status').textContent = statusText();
  at('print').disabled = !state.outcome?.receipts;
}

/** For those who hear the page: the verdicts, not all that is below them. */
function statusText() {
  const receipts = state.outcome?.receipts ?? [];
  return receipts.map(({ report }) => VERDICTS[report.verdict][state.language]).join(', ');
}

function result() {
  const { outcome } = state;
  const missing = NEEDED.filter((kind) => state.files[kind].length === 0).map((kind) => say(kind));
  if (outcome?.working) return [element('p', {}, say('working'))];
  if (outcome === null) return missing.length === 0 ? [] : [element('p', {}, say('waiting', { missing: missing.join(', ') }))];
  if (outcome.broken !== undefined) return [element('p', { class: 'notice', role: 'alert' }, say('broken', { why: visible(outcome.broken) }))];
  if (outcome.trust.refused !== undefined) return [trustFault(outcome.trust)];
  const { receipts, left, now } = outcome;
  const valid = receipts.filter(({ report }) => report.verdict === 'valid').length;
  return [
    ...(receipts.length > 1 ? [element('p', {}, element('strong', {}, say('count', { valid, all: receipts.length })))] : []),
    ...(left > 0 ? [element('p', { class: 'notice' }, say('too-many', { max: RECEIPTS_MAX }))] : []),
    ...receipts.map((receipt) => article(receipt, receipts.length === 1)),
    trusted(outcome.trust),
    element('p', {}, element('small', {}, say('checked', { now: moment(Date.now()), at: moment(now) }))),
  ];
}

function trustFault({ refused, detail }) {
  const why = TRUST_FAULTS[refused][state.language];
  const technical = detail === undefined ? [] : [element('br', {}), element('small', {}, visible(detail))];
  return element('p', { class: 'notice', role: 'alert' }, say('bad-trust', { why }), ...technical);
}

function article({ file, sha256: digest, document: shown, report }, isOpen) {
  const { verdict, steps, summary } = report;
  const { mark, ...name } = VERDICTS[verdict];
  return element(
    'article',
    { class: `receipt ${verdict}`, 'data-verdict': verdict },
    element('h3', {}, foreign(file, 120)),
    element('p', { class: 'verdict' }, element('span', { 'aria-hidden': 'true' }, `${mark} `), name[state.language]),
    element('p', { class: 'meaning' }, meaning(report, shown)),
    ...(summary === null ? [] : [element('h4', {}, word(verdict === 'valid' ? 'facts' : 'claims')), facts(summary, digest)]),
    element('details', isOpen ? { open: '' } : {}, element('summary', {}, stepsHeading(steps)), ...groups(steps)),
  );
}

function stepsHeading(steps) {
  const count = (...outcomes) => steps.filter(({ outcome }) => outcomes.includes(outcome)).length;
  return say('steps', { passed: count('passed'), against: count('failed', 'unknown', 'not-reached'), other: count('not-applicable') });
}

/** What the verdict means, for somebody who reads one sentence. */
function meaning({ verdict, steps, summary }, shown) {
  if (verdict !== 'valid') {
    const isOther = shown !== null && steps.every(({ check, outcome }) => (check === 'document') === (outcome === 'failed') && outcome !== 'unknown' && outcome !== 'not-reached');
    if (isOther) return word('other-document', { document: visible(shown, 120) });
    const against = steps.find(({ outcome }) => outcome === (verdict === 'invalid' ? 'failed' : 'unknown')) ?? steps.find(({ outcome }) => outcome === 'not-reached');
    return word(verdict, { why: CHECK_TEXTS[against.check][state.language][1] });
  }
  const text = (MEANINGS[`${summary.event} ${summary.role}`] ?? MEANINGS[summary.event])[state.language];
  const said = fill(text, {
    actor: summary.actorName === null ? (summary.actor ?? summary.node) : `${visible(summary.actorName, 200)} (${summary.actor})`,
    node: summary.node,
    sender: summary.sender ?? '–',
    recipient: summary.recipient ?? word('unnamed'),
    recipients: summary.recipients.length > 12 ? `${summary.recipients.slice(0, 12).join(', ')}, … (${summary.recipients.length})` : summary.recipients.join(', '),
    time: moment(summary.time),
    reason: summary.reason === null ? '' : REASON_TEXTS[summary.reason][state.language],
  });
  return `${said} ${shown === null ? word('not-shown') : word('shown', { document: visible(shown, 120) })}`;
}

function facts(summary, digest) {
  const rows = {
    event: summary.event,
    actor: [summary.actor, summary.actorName, summary.node].filter((part) => part !== null).join(' · '),
    time: moment(summary.time),
    sender: summary.sender,
    recipient: summary.recipient ?? (summary.recipients.length > 0 ? summary.recipients.slice(0, 50).join(', ') : null),
    envelope: summary.envelope,
    signedAt: summary.signedAt === null ? null : moment(summary.signedAt),
    directory: summary.directoryVersion === null ? null : word('version', { version: summary.directoryVersion, issued: moment(summary.directoryIssued) }),
    leaf: summary.leaf,
    file: digest,
  };
  const shown = Object.entries(rows).filter(([, value]) => value !== null);
  return element('dl', {}, ...shown.flatMap(([key, value]) => [element('dt', {}, word(key)), element('dd', {}, foreign(value))]));
}

function groups(steps) {
  const order = Object.keys(CHECKS);
  const firsts = GROUPS.map(([first]) => order.indexOf(first));
  return GROUPS.flatMap(([, heading], place) => [
    element('h4', {}, heading[state.language]),
    element('ol', { class: 'steps' }, ...steps.slice(firsts[place], firsts[place + 1] ?? order.length).map(stepLine)),
  ]);
}

function stepLine({ check, outcome, detail }) {
  const { mark, ...name } = OUTCOMES[outcome];
  const [holds, otherwise] = CHECK_TEXTS[check][state.language];
  const isAgainst = outcome === 'failed' || outcome === 'unknown';
  const said = element('span', {}, element('span', {}, `${holds} — ${name[state.language]}`));
  if (isAgainst) said.append(element('br', {}), element('strong', {}, otherwise));
  const technical = detail[state.language] ?? detail;
  if (technical !== '') said.append(element('small', {}, `${word('technical')}: `, foreign(technical, 400)));
  return element('li', { class: outcome, 'data-check': check }, element('span', { class: 'mark', 'aria-hidden': 'true' }, mark), said);
}

/** What the person gave as trusted, to be compared with what is published. */
function trusted({ store, operator }) {
  const rows = [...store.anchors, ...store.intermediates, ...operator].flatMap((certificate) => [
    element('dt', {}, foreign(certificate.name, 200)),
    element('dd', {}, element('code', {}, certificate.sha256)),
  ]);
  return element('section', {}, element('h3', {}, say('trusted')), element('dl', { class: 'trusted' }, ...rows), element('p', {}, element('small', {}, say('trusted-hint'))));
}
