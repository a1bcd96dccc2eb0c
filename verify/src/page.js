// The page: takes files, asks the verifier, shows what it found. Whatever comes out of a file is put into the page as text.

import { isBundle, verifyBundle } from './bundle.js';
import { CHECKS, verifyReceipt } from './checks.js';
import { ASIDE, KINDS, SINGLE, kindOf, readUpTo } from './intake.js';
import { BASIS_TEXTS, BUNDLE_CHECK_TEXTS, CHECK_TEXTS, EVENT_NAMES, GROUPS, LANE_TEXTS, LEVEL_TEXTS, MEANINGS, OUTCOMES, PAGE, REASON_TEXTS, REMARK_TEXTS, SENTENCES, STANDING_TEXTS, STATUS_CHECK_TEXTS, STATUS_NAMES, STATUS_UNKNOWN, STEP_REMARK_TEXTS, TRUST_FAULTS, VERDICTS } from './texts.js';
import { fill, visible } from './text.js';
import { hasCrypto } from './signature.js';
import { hex, sha256 } from './bytes.js';
import { moment } from './moment.js';
import { digestOf, readDocument } from './document.js';
import { readTrust } from './trust.js';
import { disagreement } from './agreement.js';
import { endedBy, togetherOf } from './together.js';
import { CRL_BYTES_MAX, PEM_BYTES_MAX, POLICY_BYTES_MAX, RECEIPTS_MAX, RECEIPT_BYTES_MAX } from './limits.js';

const NEEDED = ['receipts', 'anchors', 'operator'];

const state = { language: 'vi', files: Object.fromEntries(KINDS.map((kind) => [kind, []])), outcome: null, round: 0 };

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
  for (const kind of KINDS) at(ASIDE.includes(kind) ? 'more-kinds' : 'kinds').append(kindRow(kind));
  for (const input of document.querySelectorAll('input[type="file"]')) input.addEventListener('change', () => taken(input));
  for (const button of document.querySelectorAll('[data-language]')) button.addEventListener('click', () => speak(button.dataset.language));
  at('clear').addEventListener('click', clear);
  at('print').addEventListener('click', () => window.print());
  at('at').addEventListener('change', check);
  listenForDrops();
  window.addEventListener('beforeprint', () => document.querySelectorAll('.receipt > details').forEach((details) => (details.open = true)));
  speak('vi');
}

function kindRow(kind) {
  const input = element('input', { type: 'file', 'data-kind': kind, 'aria-labelledby': `${kind}-name`, ...(!SINGLE.includes(kind) && { multiple: '' }) });
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

/** Takes files of a kind, or of whatever kind each turns out to be. What was chosen for a kind before stays; a document or a policy is replaced. */
async function take(files, wanted) {
  for (const file of files) {
    const kind = wanted === 'any' ? await kindOf(file).catch(() => 'document') : wanted;
    state.files[kind] = SINGLE.includes(kind) ? [file] : [...state.files[kind], file];
  }
  await check();
}

async function clear() {
  for (const kind of KINDS) state.files[kind] = [];
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

/** Thrown out of a round that nobody waits for any more. */
class Forgotten extends Error {}

/** Checks everything anew; an older round that is still at work is forgotten. */
async function check() {
  state.round += 1;
  const { round } = state;
  state.outcome = { working: true };
  show();
  // A file that cannot be read, a folder for one; anything else is a defect of ours, and must not look like a verdict either.
  const isCurrent = () => round === state.round;
  const outcome = await outcomeOf(state.files, at('at').value, isCurrent).catch((error) => (error instanceof Forgotten ? null : { broken: error.message }));
  if (!isCurrent()) return;
  state.outcome = outcome;
  show();
}

async function outcomeOf(files, asOf, isCurrent) {
  if (!hasCrypto() || NEEDED.some((kind) => files[kind].length === 0)) return null;
  const read = (kind, bytesMax) => Promise.all(files[kind].map((file) => readUpTo(file, bytesMax)));
  const trust = readTrust(await read('anchors', PEM_BYTES_MAX), await read('operator', PEM_BYTES_MAX), await read('lists', CRL_BYTES_MAX), await read('policy', POLICY_BYTES_MAX));
  if (trust.refused !== undefined) return { trust };
  const shown = files.document[0] ?? null;
  const document = shown === null ? null : await documentOf(shown);
  const now = asOf === '' ? Date.now() : new Date(asOf).getTime();
  const receipts = [];
  for (const file of files.receipts.slice(0, RECEIPTS_MAX)) {
    const named = { file: file.name, document: shown?.name ?? null };
    const bytes = await readUpTo(file, RECEIPT_BYTES_MAX);
    if (isBundle(bytes)) {
      const report = await verifyBundle(file, trust, document, now, { progress: (count) => tellProgress(count, isCurrent) });
      receipts.push({ ...named, sha256: await digestOf(file), bundle: report, report });
    } else {
      receipts.push({ ...named, sha256: hex(sha256(bytes)), report: await verifyReceipt(bytes, trust, document, now) });
    }
  }
  return { trust, receipts, together: heldTogether(receipts), now, left: files.receipts.length - receipts.length };
}

/** What the receipts of several files show against each other, beside what a bundle says of itself: `{forks, stopped, disagreeing}`. */
function heldTogether(receipts) {
  if (receipts.length < 2) return { forks: [], stopped: [], disagreeing: [] };
  const within = ({ receipts: alone, statuses }) => [...alone, ...statuses.flatMap((status) => status.receipts)];
  const all = receipts.flatMap(({ file, report, bundle }) => (bundle === undefined ? [{ name: file, report }] : within(bundle).map((inner) => ({ ...inner, name: `${file}: ${inner.name}` }))));
  const together = togetherOf(all);
  const stopped = all.map(({ name, report }) => ({ name, ...endedBy(together, report) })).filter(({ outcome }) => outcome !== undefined);
  const loose = new Map();
  for (const { file, report } of receipts.filter((one) => one.bundle === undefined && one.report.summary?.domain)) {
    const { envelope, sender, domain } = report.summary;
    const key = [envelope, sender, domain.axis, domain.lane].join(' ');
    loose.set(key, [...(loose.get(key) ?? []), { name: file, report }]);
  }
  const disagreeing = [...loose.values()].map((some) => disagreement(some)).filter((told) => told !== null);
  return { forks: together.forks.map(({ place }) => place), stopped, disagreeing };
}

/** Large bundles take a while: the page says how far it is, and stops where something else is asked of it by now. */
async function tellProgress(count, isCurrent) {
  if (count % 25 !== 0) return;
  await new Promise((resolve) => setTimeout(resolve));
  if (!isCurrent()) throw new Forgotten();
  at('result').replaceChildren(element('p', {}, say('progress', { count })));
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
  at('result').replaceChildren(...result());
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
  const { receipts, together, left, now } = outcome;
  const valid = receipts.filter(({ report }) => report.verdict === 'valid').length;
  return [
    ...(receipts.length > 1 ? [element('p', {}, element('strong', {}, say('count', { valid, all: receipts.length })))] : []),
    ...together.forks.map((place) => togetherNotice('two-histories', place)),
    ...together.stopped.map(({ name, since, outcome: found }) => togetherNotice(found === 'failed' ? 'stopped-before' : 'stopped-later', name, { since: moment(since) })),
    ...together.disagreeing.map((told) => togetherNotice('disagreeing', told[state.language])),
    ...(left > 0 ? [element('p', { class: 'notice' }, say('too-many', { max: RECEIPTS_MAX }))] : []),
    ...receipts.map((receipt) => (receipt.bundle === undefined ? article : bundleArticle)(receipt, receipts.length === 1)),
    trusted(outcome.trust),
    element('p', {}, element('small', {}, say('checked', { now: moment(Date.now()), at: moment(now) }))),
  ];
}

const togetherNotice = (what, place, values) => element('p', { class: 'notice', role: 'alert', 'data-together': what }, say(what, values), ' ', foreign(place, 400));

function trustFault({ refused, detail }) {
  const why = TRUST_FAULTS[refused][state.language];
  const technical = detail === undefined ? [] : [element('br', {}), element('small', {}, visible(detail))];
  return element('p', { class: 'notice', role: 'alert' }, say('bad-trust', { why }), ...technical);
}

function article({ file, sha256: digest, document: shown, report }, isOpen) {
  const { verdict, steps, summary } = report;
  return element(
    'article',
    { class: `receipt ${verdict}`, 'data-verdict': verdict },
    element('h3', {}, foreign(file, 120)),
    verdictLine(verdict),
    element('p', { class: 'meaning' }, meaning(report, shown)),
    ...(summary === null ? [] : [element('h4', {}, word(verdict === 'valid' ? 'facts' : 'claims')), facts(summary, digest)]),
    element('details', isOpen ? { open: '' } : {}, element('summary', {}, stepsHeading(steps)), ...groups(steps)),
  );
}

function verdictLine(verdict) {
  const { mark, ...name } = VERDICTS[verdict];
  return element('p', { class: 'verdict' }, element('span', { 'aria-hidden': 'true' }, `${mark} `), name[state.language]);
}

function stepsHeading(steps) {
  const count = (...outcomes) => steps.filter(({ outcome }) => outcomes.includes(outcome)).length;
  return say('steps', { passed: count('passed'), against: count('failed', 'unknown', 'not-reached'), other: count('not-applicable') });
}

/** Whether nothing stands against a receipt but that another document was shown. */
const isOtherDocument = (steps) => steps.every(({ check, outcome }) => (check === 'document') === (outcome === 'failed') && outcome !== 'unknown' && outcome !== 'not-reached');

/** What the verdict means, for somebody who reads one sentence. */
function meaning({ verdict, steps, summary }, shown) {
  if (verdict !== 'valid') {
    if (shown !== null && isOtherDocument(steps)) return word('other-document', { document: visible(shown, 120) });
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
  const ofAnother = summary.role === 'sender' || summary.sender === null ? [] : [word('senders-word', { sender: summary.sender })];
  return [said, ...ofAnother, shown === null ? word('not-shown') : word('shown', { document: visible(shown, 120) })].join(' ');
}

// --- Bundles ------------------------------------------------------------------------------------------------------------------------------------

function bundleArticle({ file, sha256: digest, document: shown, bundle }, isOpen) {
  const { verdict, steps, receipts, statuses, others } = bundle;
  const faulty = receipts.filter(({ report }) => report.verdict !== 'valid');
  return element(
    'article',
    { class: `receipt bundle ${verdict}`, 'data-verdict': verdict },
    element('h3', {}, foreign(file, 120)),
    verdictLine(verdict),
    element('p', { class: 'meaning' }, bundleMeaning(bundle, shown)),
    ...(shown === null || receipts.length === 0 ? [] : [element('p', { class: 'meaning', 'data-proven': '' }, documentProven(receipts))]),
    ...recipients(bundle),
    element('h4', {}, word('bundle-about')),
    bundleFacts(bundle, digest),
    ...(others.length === 0 ? [] : [element('h4', {}, word('others')), otherList(others)]),
    element('details', isOpen ? { open: '' } : {}, element('summary', {}, stepsHeading(steps)), element('ol', { class: 'steps bundle-steps' }, ...steps.map(stepLine))),
    ...(receipts.length === 0 ? [] : [element('h4', {}, word('in-it', { count: receipts.length })), ...[...faulty, ...receipts.filter((one) => !faulty.includes(one))].map(innerReceipt)]),
    ...(statuses.length === 0 ? [] : [element('h4', {}, word('statuses-in-it', { count: statuses.length })), ...statuses.map(innerStatus)]),
  );
}

// What fails where somebody else's authority or operator is trusted.
const OF_TRUST = ['certificate-path', 'operator-path', 'root-signature', 'root-signer'];
const isOfOtherTrust = (steps) => steps.some(({ check, outcome }) => outcome === 'failed' && OF_TRUST.includes(check));

function bundleMeaning({ verdict, steps, receipts }, shown) {
  if (verdict === 'valid') return word('bundle', { count: receipts.length });
  const isSoundElse = steps.every(({ check, outcome }) => outcome === 'passed' || outcome === 'not-applicable' || check === 'bundle-receipts');
  if (shown !== null && isSoundElse && receipts.length > 0 && receipts.every(({ report }) => isOtherDocument(report.steps))) return word('bundle-other-document', { document: visible(shown, 120) });
  if (receipts.length > 0 && receipts.every(({ report }) => isOfOtherTrust(report.steps))) return word('wrong-trust');
  const against = steps.find(({ outcome }) => outcome === (verdict === 'invalid' ? 'failed' : 'unknown')) ?? steps.find(({ outcome }) => outcome === 'not-reached');
  return word(verdict === 'invalid' ? 'bundle-invalid' : verdict, { why: BUNDLE_CHECK_TEXTS[against.check][state.language][1] });
}

function documentProven(receipts) {
  const proven = receipts.filter(({ report }) => report.steps.some(({ check, outcome }) => check === 'document' && outcome === 'passed'));
  return word('bundle-document', { proven: proven.length, all: receipts.length });
}

/** What is proven, recipient by recipient, each with its timeline. */
function recipients({ verdict, conclusions, receipts }) {
  if (receipts.length === 0) return [];
  const heading = element('h4', {}, word(verdict === 'valid' ? 'recipients' : 'recipients-alone'));
  return [heading, ...(conclusions.length === 0 ? [element('p', {}, word('no-recipients'))] : conclusions.map(recipientSection))];
}

function recipientSection({ recipient, name, standing, remarks, events, statuses }) {
  const { tone, ...text } = STANDING_TEXTS[standing];
  const { mark } = VERDICTS[tone];
  return element(
    'section',
    { class: `recipient ${tone}`, 'data-recipient': recipient, 'data-standing': standing },
    element('h5', {}, recipient, ...(name === null ? [] : [' · ', foreign(name, 200)])),
    element('p', { class: 'standing' }, element('span', { 'aria-hidden': 'true' }, `${mark} `), `${text[state.language]}.`),
    ...remarks.map((remark) => element('p', { class: 'remark', 'data-remark': remark }, `⚠ ${REMARK_TEXTS[remark][state.language]}.`)),
    element('ol', { class: 'timeline' }, ...events.map(eventLine)),
    ...(statuses.length === 0 ? [] : [element('ol', { class: 'timeline statuses' }, ...statuses.map(statusLine))]),
  );
}

function statusTitle({ code }) {
  return word('status-title', { code, name: (STATUS_NAMES[code] ?? STATUS_UNKNOWN)[state.language] });
}

/** What an agency said of the document, in its words. */
function statusLine(status) {
  const { from, to, time, stated, remarks, reason, staff, basis, received } = status;
  const aside = (text) => element('small', {}, text);
  return element(
    'li',
    { 'data-status': status.code },
    element('time', { datetime: new Date(time).toISOString() }, moment(time)),
    element(
      'span',
      {},
      element('strong', {}, statusTitle(status)),
      ` — ${word('status-from', { from, to })}`,
      ...(reason === null ? [] : [element('small', {}, foreign(reason, 1_000))]),
      ...(staff === null ? [] : [aside(word('status-staff', { staff: visible(staff, 1_000) }))]),
      aside([BASIS_TEXTS[basis][state.language], word('status-stated', { time: moment(stated) }), ...(received === null ? [] : [word('status-received', { to, time: moment(received) })])].join('; ')),
      ...remarks.map(stepRemark),
    ),
  );
}

function eventLine({ event, role, actor, node, time, reason, successor, signedAt, provenBy, levels, remarks }) {
  const named = (EVENT_NAMES[`${event} ${role}`] ?? EVENT_NAMES[event])[state.language];
  const times = [...(signedAt === null ? [] : [word('signed-then', { time: moment(signedAt) })]), provenBy === null ? word('not-stamped') : word('proven-then', { time: moment(provenBy) })];
  const asides = [...(reason === null ? [] : [REASON_TEXTS[reason][state.language]]), ...(successor === null ? [] : [word('successor', { code: successor })]), times.join('; '), ...(levels.length === 0 ? [] : [levelsText(levels)])];
  return element(
    'li',
    {},
    element('time', { datetime: new Date(time).toISOString() }, moment(time)),
    element('span', {}, element('strong', {}, named), ` — ${actor === null ? node : `${actor}, ${node}`}`, ...asides.map((text) => element('small', {}, text)), ...remarks.map(stepRemark)),
  );
}

const stepRemark = (remark) => element('small', { class: 'remark', 'data-remark': remark }, `⚠ ${STEP_REMARK_TEXTS[remark][state.language]}`);

function bundleFacts({ about, signer, steps }, digest) {
  const isShown = steps.some(({ check, outcome }) => check === 'bundle-maker' && outcome === 'passed');
  const rows = {
    domain: domainText(about),
    envelope: about?.envelope ?? null,
    sender: about?.sender ?? null,
    [isShown ? 'by' : 'by-own-word']: about?.by ?? null,
    'by-node': about?.node ?? null,
    made: about === null ? null : moment(about.made),
    'left-out': (about?.statuses_left_out ?? 0) === 0 ? null : String(about.statuses_left_out),
    signer: signer?.subject ?? null,
    signed: (signer?.signedAt ?? null) === null ? null : moment(signer.signedAt),
    file: digest,
  };
  return factList(rows);
}

const OTHERS_SHOWN = 100;

function otherList(others) {
  const lines = others.slice(0, OTHERS_SHOWN).map(({ name, length }) => element('li', {}, foreign(name, 200), ` · ${word('bytes', { count: length })}`));
  if (others.length > OTHERS_SHOWN) lines.push(element('li', {}, word('more', { count: others.length - OTHERS_SHOWN })));
  return element('ul', { class: 'others' }, ...lines);
}

/** One receipt of a bundle. Its steps are made when somebody opens them: a bundle may hold thousands. What stands against it is there at once, for print too. */
function innerReceipt({ name, report }) {
  const { verdict, steps, summary } = report;
  const { mark, ...words } = VERDICTS[verdict];
  const against = steps.filter(({ outcome }) => outcome === 'failed' || outcome === 'unknown');
  const all = element('div', {});
  const details = element(
    'details',
    { class: `inner ${verdict}`, 'data-inner': verdict },
    element('summary', {}, element('strong', { class: 'inner-verdict' }, `${mark} ${words[state.language]}`), ' ', foreign(name, 120)),
    all,
  );
  details.addEventListener(
    'toggle',
    () => all.append(...(summary === null ? [] : [facts(summary, null)]), ...groups(steps)),
    { once: true },
  );
  return verdict === 'valid' ? details : element('div', {}, details, element('ol', { class: 'steps against' }, ...against.map(stepLine)));
}

/** One status of a bundle, with what stands against it and with its receipts. */
function innerStatus({ name, verdict, steps, status, receipts }) {
  const { mark, ...words } = VERDICTS[verdict];
  const title = status === null ? name : `${statusTitle(status)} · ${name}`;
  const summary = element('summary', {}, element('strong', { class: 'inner-verdict' }, `${mark} ${words[state.language]}`), ' ', foreign(title, 200));
  const all = element('div', {});
  const details = element('details', { class: `inner-status ${verdict}`, 'data-inner-status': verdict }, summary, all);
  details.addEventListener('toggle', () => all.append(element('ol', { class: 'steps' }, ...steps.map(stepLine)), ...receipts.map(innerReceipt)), { once: true });
  const against = steps.filter(({ outcome }) => outcome === 'failed' || outcome === 'unknown');
  return verdict === 'valid' ? details : element('div', {}, details, element('ol', { class: 'steps against' }, ...against.map(stepLine)));
}

function facts(summary, digest) {
  const rows = {
    event: summary.event,
    actor: [summary.actor, summary.actorName, summary.node].filter((part) => part !== null).join(' · '),
    time: moment(summary.time),
    domain: domainText(summary.domain),
    sender: summary.sender,
    recipient: summary.recipient ?? (summary.recipients.length > 0 ? summary.recipients.slice(0, 50).join(', ') : null),
    envelope: summary.envelope,
    signedAt: summary.signedAt === null ? null : moment(summary.signedAt),
    provenBy: summary.provenBy === null ? word('not-stamped') : word('proven-then', { time: moment(summary.provenBy) }),
    directory: summary.directoryVersion === null ? null : word('version', { version: summary.directoryVersion, issued: moment(summary.directoryIssued) }),
    levels: levelsText(summary.levels),
    leaf: summary.leaf,
    file: digest,
  };
  return factList(rows);
}

const domainText = (domain) => (domain === null ? null : `${domain.axis} · ${LANE_TEXTS[domain.lane][state.language]}`);

const levelsText = (levels) => (levels.length === 0 ? null : levels.map((level) => LEVEL_TEXTS[level][state.language]).join('; '));

function factList(rows) {
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
  const [holds, otherwise] = (CHECK_TEXTS[check] ?? BUNDLE_CHECK_TEXTS[check] ?? STATUS_CHECK_TEXTS[check])[state.language];
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
