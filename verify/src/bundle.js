// Bundles (docs/FORMATS.md, "Bundle"): all receipts about one envelope in one signed container. Who packed it is one question, what each receipt proves
// is another: a receipt stands by itself, whatever is wrong around it.

import { BUNDLE, readStatement } from './statements.js';
import { NOT_APPLICABLE, NOT_REACHED, failed, notApplicable, passed, revokedFinding, unknown, verifyReceipt } from './checks.js';
import { counts, endedBy, isForked, isOfDomain, togetherOf } from './together.js';
import { both } from './text.js';
import { disagreement } from './agreement.js';
import { moment } from './moment.js';
import { StatusReader, judgeStatus, placeOf, statusBytesMax } from './statuses.js';
import { addStatuses, conclude } from './conclusion.js';
import { eachValid, eachValidOf, firstOf, signerFinding, signerPath } from './signer.js';
import { openContainer } from './container.js';
import { trustAsOf } from './path.js';
import { readableAnswer } from './ocsp.js';
import { verifyDetached } from './cms.js';
import { BUNDLE_ANSWERS_MAX, BUNDLE_ENTRIES_MAX, BUNDLE_MADE_MS_MAX, OCSP_BYTES_MAX, RECEIPT_BYTES_MAX, SKEW_MS, STATEMENT_BYTES_MAX } from './limits.js';

const ABOUT = 'bundle.json';
const RECEIPTS = 'receipts/';

/** Whether a file that begins so is to be read as a bundle: as a ZIP does. */
export const isBundle = (start) => [0x50, 0x4b, 3, 4].every((byte, at) => start[at] === byte);

/**
 * Verifies a bundle as of `now`, with the document if one is shown: `{verdict, steps, about, signer, receipts: [{name, report}], statuses,
 * others: [{name, length}], conclusions}`. `options.progress` is told after each receipt how many were verified.
 */
export async function verifyBundle(blob, given, document, now, options = {}) {
  const trust = trustAsOf(given, now);
  // What the bundle brings counts for this bundle alone.
  const answers = [...given.store.answers];
  trust.store.answers = answers;
  const receipts = [];
  const reader = new StatusReader(trust, now, options);
  let statement = null;
  const take = async (name, bytes) => {
    const place = placeOf(name);
    if (place !== null) {
      await reader.take(place, bytes);
    } else if (name === ABOUT) {
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
  if (opened.refused !== undefined) return report({ broken: opened.refused }, { about: null, signer: null, receipts: [], statuses: [], others: [], conclusions: [] });
  const about = statement === null || statement.refused !== null ? null : statement.value;
  const cms = await verifyDetached(opened.signature, opened.manifest, trust.store.intermediates);
  const statuses = (await reader.end()).map((read) => judgeStatus(read, about));
  const together = togetherOf([...receipts, ...statuses.flatMap((status) => status.receipts)]);
  const path = cms.refused === undefined ? await signerPath(cms, cms.signingTime ?? cms.certificate.notBefore, trust, now) : null;
  const known = { statement, about, cms, receipts, statuses, together, path };
  const conclusions = conclude(receipts.filter((receipt) => isAbout(receipt, about)), together);
  const proven = statuses.filter((status) => status.proven !== null && status.receipts.every((receipt) => counts(together, receipt.report)));
  const isTwofold = (status) => status.receipts.some((receipt) => isForked(together, receipt.report));
  addStatuses(conclusions, proven.map((status) => ({ ...status.proven, remarks: [...status.proven.remarks, ...(isTwofold(status) ? ['two-histories'] : [])] })));
  return report(known, {
    about,
    signer: cms.refused === undefined ? { subject: cms.certificate.name, signedAt: cms.signingTime } : null,
    receipts,
    statuses,
    others: opened.entries.filter(({ name }) => keptMax(name) === 0 || isAnswer(name)),
    conclusions,
  });
}

function keptMax(name) {
  const place = placeOf(name);
  if (place !== null) return statusBytesMax(place.file);
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

// The receipts stand by themselves: that nobody says whether the packer's certificate was revoked is said, and takes nothing from them.
function signer({ cms: { certificate }, path }) {
  const { outcome, detail } = signerFinding(certificate, path);
  const said = (language) => [certificate.name, detail[language] ?? detail].filter((part) => part !== '').join(': ');
  return { outcome, detail: both(said('vi'), said('en')) };
}

function isAbout({ report: { summary } }, about) {
  if (about === null || summary === null) return false;
  return isOfDomain(summary, about) && summary.envelope === about.envelope && summary.sender === about.sender;
}

// What cannot be read says nothing of another document either.
function oneDocument({ about, receipts }) {
  if (about === null) return NOT_REACHED;
  const others = receipts.filter((receipt) => receipt.report.summary !== null && !isAbout(receipt, about));
  if (others.length > 0) return failed(names(others));
  const told = disagreement(receipts);
  return told === null ? passed(`${about.envelope} · ${about.sender}`) : failed(told);
}

/** Whether who is said to have put it together, and when, is who signed, and when it was. */
function maker({ about, cms, path, receipts, statuses }) {
  if (about === null || path === null) return NOT_REACHED;
  const { certificate, signingTime } = cms;
  if (signingTime !== null && (about.made > signingTime + SKEW_MS || signingTime > about.made + BUNDLE_MADE_MS_MAX)) {
    return failed(both(`lập ${moment(about.made)}, ký ${moment(signingTime)}`, `made ${moment(about.made)}, signed ${moment(signingTime)}`));
  }
  const bound = new Map();
  for (const { report } of [...receipts, ...statuses.flatMap((status) => status.receipts)]) {
    if (report.verdict !== 'valid') continue;
    const { actor, serviceCertificates, directoryVersion: version } = report.summary;
    const binding = serviceCertificates.find(({ sha256 }) => sha256 === certificate.sha256);
    // The newest version in which the certificate is bound to an agency says how it is bound.
    if (actor !== null && binding !== undefined && isOfDomain(report.summary, about) && !(bound.get(actor)?.version >= version)) bound.set(actor, { version, binding });
  }
  const binding = bound.get(about.by)?.binding;
  const at = signingTime ?? about.made;
  if (binding !== undefined && (at < binding.from || at >= binding.to)) return failed(`${moment(at)}; ${moment(binding.from)} – ${moment(binding.to)}`);
  if (binding !== undefined) return binding.ended === null ? passed(`${about.by}: ${certificate.name}`) : revokedFinding(binding.ended, path.signed, path.stamps);
  const others = firstOf([...bound.keys()].sort());
  if (others !== '') return failed(both(`${certificate.name} là của ${others}, không phải của ${about.by}`, `${certificate.name} is of ${others}, not of ${about.by}`));
  return notApplicable(both(`${about.by}: không biên nhận nào cho biết chứng thư ký là của ai: đây là lời tự nêu`, `${about.by}: no receipt in it shows whose certificate signed: this is its own word`));
}

const noFork = ({ together: { forks } }) => (forks.length === 0 ? passed() : failed(firstOf(forks.map(({ place }) => place))));

function noneStopped({ together, receipts, statuses }) {
  const all = [...receipts, ...statuses.flatMap((status) => status.receipts)];
  const of = (wanted) => {
    const stopped = all.map(({ name, report }) => ({ name, found: endedBy(together, report) })).filter(({ found }) => found?.outcome === wanted);
    const told = (words) => firstOf(stopped.map(({ name, found }) => `${name}: ${words} ${moment(found.since)}`));
    return stopped.length === 0 ? null : both(told('thu hồi hoặc tạm dừng từ'), told('revoked or suspended since'));
  };
  const [stopped, doubtful] = [of('failed'), of('unknown')];
  if (stopped !== null) return failed(stopped);
  return doubtful === null ? passed() : unknown(doubtful);
}

const names = (receipts) => firstOf(receipts.map(({ name }) => name));

const eachStatusValid = ({ statuses }) => (statuses.length === 0 ? NOT_APPLICABLE : eachValidOf(statuses));

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
  'bundle-maker': ofWhole(maker),
  'bundle-one-document': ofWhole(oneDocument),
  'bundle-no-fork': ofWhole(noFork),
  'bundle-none-stopped': ofWhole(noneStopped),
  'bundle-receipts': ofWhole(({ receipts }) => eachValid(receipts)),
  'bundle-statuses': ofWhole(eachStatusValid),
};
