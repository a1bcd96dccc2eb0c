// Bundles (docs/FORMATS.md, "Bundle"): all receipts about one envelope in one signed container. Who packed it is one question, what each receipt proves
// is another: a receipt stands by itself, whatever is wrong around it.

import { BUNDLE, readStatement } from './statements.js';
import { expiredFinding, failed, NOT_REACHED, passed, revokedFinding, stampFinding, unknown, verifyReceipt } from './checks.js';
import { both } from './text.js';
import { conclude } from './conclusion.js';
import { openContainer } from './container.js';
import { readStamps } from './stamps.js';
import { trustAsOf, validate } from './path.js';
import { readableAnswer } from './ocsp.js';
import { verifyDetached } from './cms.js';
import { BUNDLE_ANSWERS_MAX, BUNDLE_ENTRIES_MAX, OCSP_BYTES_MAX, RECEIPT_BYTES_MAX, STATEMENT_BYTES_MAX } from './limits.js';

const ABOUT = 'bundle.json';
const RECEIPTS = 'receipts/';

/** Whether a file that begins so is to be read as a bundle: as a ZIP does. */
export const isBundle = (start) => [0x50, 0x4b, 3, 4].every((byte, at) => start[at] === byte);

/**
 * Verifies a bundle as of `now`, with the document if one is shown: `{verdict, steps, about, signer, receipts: [{name, report}], others: [{name, length}],
 * conclusions}`. `options.progress` is told after each receipt how many were verified.
 */
export async function verifyBundle(blob, given, document, now, options = {}) {
  const trust = trustAsOf(given, now);
  // What the bundle brings counts for this bundle alone.
  const answers = [...given.store.answers];
  trust.store.answers = answers;
  const receipts = [];
  let statement = null;
  const take = async (name, bytes) => {
    if (name === ABOUT) {
      statement = readStatement(BUNDLE, bytes);
    } else if (isAnswer(name)) {
      const answer = readableAnswer(bytes);
      if (answer !== null && answers.length < given.store.answers.length + BUNDLE_ANSWERS_MAX) answers.push(answer);
    } else {
      receipts.push({ name: name.slice(RECEIPTS.length), report: await verifyReceipt(bytes, trust, document, now, options) });
      await options.progress?.(receipts.length);
    }
  };
  const opened = await openContainer(blob, { entriesMax: BUNDLE_ENTRIES_MAX, keptMax, take });
  // Of a container that is not whole nothing is believed, however much of it could be read.
  if (opened.refused !== undefined) return report({ broken: opened.refused }, { about: null, signer: null, receipts: [], others: [], conclusions: [] });
  const about = statement === null || statement.refused !== null ? null : statement.value;
  const cms = await verifyDetached(opened.signature, opened.manifest, trust.store.intermediates);
  const forked = forks(receipts);
  const known = { statement, about, cms, receipts, forked, trust, path: cms.refused === undefined ? await signerPath(cms, trust, now) : null };
  return report(known, {
    about,
    signer: cms.refused === undefined ? { subject: cms.certificate.name, signedAt: cms.signingTime } : null,
    receipts,
    others: opened.entries.filter(({ name }) => keptMax(name) === 0 || isAnswer(name)),
    conclusions: conclude(receipts.filter((receipt) => isAbout(receipt, about) && !isForked(receipt, forked)).map((receipt) => receipt.report)),
  });
}

function keptMax(name) {
  if (name === ABOUT) return STATEMENT_BYTES_MAX;
  if (isAnswer(name)) return OCSP_BYTES_MAX;
  return name.startsWith(RECEIPTS) ? RECEIPT_BYTES_MAX : 0;
}

const isAnswer = (name) => name.startsWith('revocation/') && name.endsWith('.ocsp');

function report(known, found) {
  const steps = Object.entries(BUNDLE_CHECKS).map(([check, find]) => ({ check, ...find(known) }));
  const any = (...outcomes) => steps.some(({ outcome }) => outcomes.includes(outcome));
  const verdict = any('failed') ? 'invalid' : any('unknown', 'not-reached') ? 'cannot-tell' : 'valid';
  return { verdict, steps, ...found };
}

/** When it signed, as it says, and the path at the time nearest to that at which its certificate is valid. */
async function signerPath(cms, trust, now) {
  const { certificate, others, signingTime } = cms;
  const signed = signingTime ?? certificate.notBefore;
  const at = Math.max(Math.min(signed, certificate.notAfter), certificate.notBefore);
  const stamps = await readStamps(cms, signed, trust, now);
  return { ...(await validate(trust.store, certificate, others, 'service', at)), signed, isInTime: signed === at, stamps, isExpired: now > certificate.notAfter };
}

// The receipts stand by themselves: that nobody says whether the packer's certificate was revoked is said, and takes nothing from them.
function signer({ cms: { certificate }, path }) {
  const { outcome, detail } = signerFinding(certificate, path);
  const said = (language) => [certificate.name, detail[language] ?? detail].filter((part) => part !== '').join(': ');
  return { outcome, detail: both(said('vi'), said('en')) };
}

function signerFinding(certificate, path) {
  if (path.refused !== undefined) return failed(path.refused);
  if (!path.isInTime) return failed(both('ký ngoài thời hạn của chứng thư', "signed outside the certificate's validity"));
  if (path.revoked !== null) return revokedFinding(path.revoked, path.signed, path.stamps);
  const stamped = stampFinding(path.stamps);
  if (stamped.outcome === 'failed') return stamped;
  if (path.isExpired && path.stamps.before !== null) return expiredFinding(certificate, path.stamps);
  if (path.unknown === null) return passed(stamped.detail);
  if (!path.isListMissing) return unknown(path.unknown);
  const said = (language, text) => [stamped.detail[language] ?? stamped.detail, text].filter((part) => part !== '').join('; ');
  return passed(both(said('vi', 'chưa kiểm tra thu hồi: không có danh sách thu hồi và trả lời OCSP'), said('en', 'whether it was revoked was not checked: there is no revocation list and no OCSP answer')));
}

const isAbout = ({ report: { summary } }, about) => about !== null && summary !== null && summary.envelope === about.envelope && summary.sender === about.sender;

// What cannot be read says nothing of another document either.
function oneDocument({ about, receipts }) {
  if (about === null) return NOT_REACHED;
  const others = receipts.filter((receipt) => receipt.report.summary !== null && !isAbout(receipt, about));
  return others.length === 0 ? passed(`${about.envelope} · ${about.sender}`) : failed(names(others));
}

// Origins of ledgers that show two histories, each with where. Both checkpoints carry the ledger key's signature, or their receipts are invalid anyway.
function forks(receipts) {
  const seen = new Map();
  const found = new Map();
  for (const { name, report: { verdict, summary } } of receipts) {
    const checkpoint = summary?.checkpoint ?? null;
    if (verdict === 'invalid' || checkpoint === null) continue;
    const place = `${checkpoint.origin} · ${checkpoint.size}`;
    if (!seen.has(place)) seen.set(place, { name, root: checkpoint.root });
    else if (seen.get(place).root !== checkpoint.root) found.set(`${place}: ${seen.get(place).name}, ${name}`, checkpoint.origin);
  }
  return found;
}

// What a party with two histories states to one it denies to another: nothing of it counts.
const isForked = (receipt, forked) => [...forked.values()].includes(receipt.report.summary?.checkpoint?.origin);

const noFork = ({ forked }) => (forked.size === 0 ? passed() : failed(firstOf([...forked.keys()])));

function eachValid({ receipts }) {
  const of = (verdict) => receipts.filter((receipt) => receipt.report.verdict === verdict);
  if (receipts.length === 0) return failed(both('không có biên nhận nào', 'there is no receipt in it'));
  if (of('invalid').length > 0) return failed(names(of('invalid')));
  return of('cannot-tell').length > 0 ? unknown(names(of('cannot-tell'))) : passed(String(receipts.length));
}

const names = (receipts) => firstOf(receipts.map(({ name }) => name));

/** The first few, and how many more. */
function firstOf(texts) {
  const shown = texts.slice(0, 5).join(', ');
  return texts.length > 5 ? `${shown}, … (${texts.length})` : shown;
}

function form({ statement }) {
  if (statement === null) return failed(both('không có bundle.json', 'there is no bundle.json'));
  return statement.refused === null ? passed() : failed(`bundle.json: ${statement.refused}`);
}

/** A check of what is in a container that is whole. */
const ofWhole = (find) => (known) => (known.broken === undefined ? find(known) : NOT_REACHED);

export const BUNDLE_CHECKS = {
  'bundle-form': (known) => (known.broken === undefined ? form(known) : failed(known.broken)),
  'bundle-signature': ofWhole(({ cms }) => (cms.refused === undefined ? passed() : failed(cms.refused))),
  'bundle-signer': ofWhole((known) => (known.path === null ? NOT_REACHED : signer(known))),
  'bundle-one-document': ofWhole(oneDocument),
  'bundle-no-fork': ofWhole(noFork),
  'bundle-receipts': ofWhole(eachValid),
};
