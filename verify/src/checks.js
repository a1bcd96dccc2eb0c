// The checks, in the order of docs/FORMATS.md ("Verifying a receipt"), each by itself over the bytes in the file: one that fails hides no other.

import { ROLES } from './statements.js';
import { compare, equal, fromHex, hex, sha256, toBase64, utf8 } from './bytes.js';
import { cmsKeyId, findLine, ledgerKeyId } from './note.js';
import { ed25519Holds } from './signature.js';
import { inclusionFault, leafHash } from './merkle.js';
import { readableCertificate } from './x509.js';
import { NO_STAMPS, readStamps } from './stamps.js';
import { both } from './text.js';
import { readFacts } from './facts.js';
import { trustAsOf, validate } from './path.js';
import { verifyDetached } from './cms.js';
import { DIRECTORY_GRACE_MS, ENVELOPE_TTL_MAX_MS, SKEW_MS } from './limits.js';
import { judge, unchecked } from './policy.js';
import { levelsOf } from './levels.js';
import { moment } from './moment.js';

// What one check finds, with values and causes: a text, or one in each language. `NOT_APPLICABLE`: nothing is there, and need not be. `NOT_REACHED`: what it is about cannot be read.
export const passed = (detail = '') => ({ outcome: 'passed', detail });
export const failed = (detail) => ({ outcome: 'failed', detail });
export const unknown = (detail) => ({ outcome: 'unknown', detail });
export const passedIf = (holds, detail) => (holds ? passed(detail) : failed(detail));
export const notApplicable = (detail) => ({ outcome: 'not-applicable', detail });
export const NOT_APPLICABLE = notApplicable('');
export const NOT_REACHED = { outcome: 'not-reached', detail: '' };

const form = ({ refused }) => (refused === null ? passed() : failed(refused));
const formOf = (part) => (part === null ? NOT_APPLICABLE : form(part));

/**
 * Verifies a receipt file as of `now`, with the document if one is shown: `{verdict: 'valid' | 'invalid' | 'cannot-tell', steps, summary}`.
 * `options.ed25519ByLibrary` as old browsers do it.
 */
export async function verifyReceipt(bytes, given, document, now, options = {}) {
  const trust = trustAsOf(given, now);
  const facts = readFacts(bytes);
  if (facts.unreadable !== undefined) {
    const steps = Object.keys(CHECKS).map((check) => ({ check, ...(check === 'receipt-form' ? failed(facts.unreadable) : NOT_REACHED) }));
    return report(steps, null);
  }
  const known = { facts, trust, document, now, options, signing: await readSigning(facts, trust, now), operator: await readOperator(facts, trust, now) };
  const steps = [];
  for (const [check, find] of Object.entries(CHECKS)) steps.push({ check, ...(await find(known)) });
  const summary = summaryOf(known);
  return report(steps, summary === null ? null : { ...summary, levels: levelsOf(steps) });
}

function report(steps, summary) {
  const any = (...outcomes) => steps.some(({ outcome }) => outcomes.includes(outcome));
  const verdict = any('failed') ? 'invalid' : any('unknown', 'not-reached') || summary === null ? 'cannot-tell' : 'valid';
  return { verdict, steps, summary };
}

function summaryOf({ facts, signing, now }) {
  const leaf = facts.leaf.value;
  if (leaf === null) return null;
  const preamble = facts.preamble?.value ?? null;
  const stated = leaf.isSubmission ? preamble : null;
  return {
    event: leaf.event,
    role: leaf.actor.role,
    actor: leaf.actor.code,
    actorName: facts.agency?.value?.names[0] ?? null,
    node: leaf.actor.node,
    time: leaf.time,
    envelope: leaf.envelope,
    sender: leaf.sender ?? preamble?.sender ?? leaf.actor.code,
    recipient: leaf.recipient,
    recipients: preamble === null ? [] : [...preamble.recipients, ...preamble.legacy],
    // Whom the envelope is for is stated by its submission; another event speaks of its own recipient.
    sealedFor: stated?.recipients ?? [],
    legacy: stated?.legacy ?? [],
    hashes: leaf.hashes,
    keyEnvelopes: leaf.keyEnvelopes,
    domain: facts.root.value === null ? null : { axis: facts.root.value.axis, lane: facts.root.value.lane },
    certificate: signing?.cms.certificate?.sha256 ?? null,
    nodeCertificates: boundFor('node', facts.node.value),
    serviceCertificates: boundFor('service', facts.agency?.value ?? null),
    reason: leaf.statement.reason ?? null,
    successor: leaf.statement.successor ?? null,
    checkpoint: facts.checkpoint === null ? null : { origin: facts.checkpoint.origin, size: String(facts.checkpoint.size), root: hex(facts.checkpoint.root) },
    ledgerKey: facts.node.value === null ? null : hex(facts.node.value.ledger_key),
    leaf: leaf.hash,
    signedAt: signing?.cms.signingTime ?? null,
    provenBy: signing?.stamps.before?.latest ?? null,
    directoryVersion: facts.root.value?.version ?? null,
    directoryIssued: facts.root.value?.issued ?? null,
    checkedAt: now,
  };
}

/** The certificates that an entry (null: there is none) binds for a use. */
const boundFor = (use, entry) => (entry?.certificates ?? []).filter(({ uses }) => uses.includes(use)).map((bound) => ({ sha256: bound.sha256, from: bound.valid_from, to: bound.valid_to, ended: bound.status_since }));

// --- What is known about the two signatures ----------------------------------------------------------------------------------------------------

/** The certificate's line under the checkpoint; null where there is none. */
async function readSigning({ note, checkpoint, node, leaf }, trust, now) {
  if (checkpoint === null || node.value === null || leaf.value === null) return null;
  const line = certificateLine(note, checkpoint.origin, node.value, leaf.value.time);
  if (line === null) return null;
  const bound = readableCertificate(line.binding.der);
  const cms = await verifyDetached(line.cms, utf8(note.text), bound === null ? [] : [bound]);
  const at = cms.signingTime ?? leaf.value.time;
  const certificate = cms.certificate ?? bound;
  const path = certificate === null ? null : await pathOf(trust, certificate, cms.others ?? [], 'node', at);
  const stamps = cms.refused === undefined ? await readStamps(cms, Math.max(at, leaf.value.time), trust, now) : NO_STAMPS;
  return { ...line, cms, certificate, at, path, stamps };
}

/** The line by a certificate of the entry that is for signing checkpoints; of several, one in force at `at` before others. */
function certificateLine(note, origin, node, at) {
  const lines = node.certificates
    .filter((binding) => binding.uses.includes('node'))
    .map((binding) => ({ binding, line: findLine(note, origin, cmsKeyId(origin, binding.sha256)) }))
    .filter(({ line }) => line !== null);
  const inForce = ({ binding }) => binding.valid_from <= at && at < binding.valid_to && (binding.status_since === null || binding.status_since > at);
  const chosen = lines.find(inForce) ?? lines[0];
  return chosen === undefined ? null : { binding: chosen.binding, cms: chosen.line.signature };
}

async function readOperator({ body, root }, trust, now) {
  const cms = await verifyDetached(body.directory_cms, body.directory, trust.operator);
  const certificate = cms.certificate ?? trust.operator[0];
  const path = root.value === null ? null : await pathOf(trust, certificate, cms.others ?? [], 'operator', root.value.issued);
  const issued = root.value?.issued;
  const stamps = root.value === null || cms.refused !== undefined ? NO_STAMPS : await readStamps(cms, Math.max(cms.signingTime ?? issued, issued), trust, now);
  return { cms, certificate, path, stamps };
}

/** The path at the time nearest to `at` at which the certificate is valid: whether it was valid *then* is a check of its own. */
const pathOf = (trust, certificate, others, use, at) =>
  validate(trust.store, certificate, others, use, Math.max(Math.min(at, certificate.notAfter), certificate.notBefore));

const wasValid = (certificate, at) => certificate.notBefore <= at && at <= certificate.notAfter;

const validity = (certificate) => `${certificate.name}: ${moment(certificate.notBefore)} – ${moment(certificate.notAfter)}`;

const stampFault = ({ wrong, nothing }) => wrong ?? nothing;

/** The first text, then why no time-stamp shows what is wanted. */
function unshown(vi, en, stamps) {
  const why = stampFault(stamps);
  const said = (language) => (why === null ? '' : `: ${why[language] ?? why}`);
  return unknown(both(`${vi}không có dấu thời gian chứng tỏ${said('vi')}`, `${en}no time-stamp shows it${said('en')}`));
}

/** Revoked before it signed, or since: then a time-stamp says whether it had signed before. */
export function revokedFinding(since, signed, stamps) {
  const [end, at] = [moment(since), moment(signed)];
  if (since <= signed) return failed(both(`thu hồi hoặc tạm dừng từ ${end}, ký lúc ${at}`, `revoked or suspended since ${end}, signed ${at}`));
  if (stamps.before === null) return unshown(`thu hồi hoặc tạm dừng từ ${end}; tự ghi là ký lúc ${at}, `, `revoked or suspended since ${end}; says it signed ${at}, and `, stamps);
  return shownBefore(stamps.before, stamps.before.latest < since, both(`thu hồi hoặc tạm dừng từ ${end}`, `revoked or suspended since ${end}`));
}

/** Expired: a time-stamp says whether it had signed before. */
export function expiredFinding(certificate, stamps) {
  const end = moment(certificate.notAfter);
  if (stamps.before === null) return unshown(`hết hạn ${end}; `, `expired ${end}; `, stamps);
  return shownBefore(stamps.before, stamps.before.latest <= certificate.notAfter, both(`hết hạn ${end}`, `expired ${end}`));
}

function shownBefore({ latest, by }, isBefore, ended) {
  const at = moment(latest);
  if (isBefore) return passed(both(`${ended.vi}; đã ký trước ${at}, theo dấu thời gian của ${by}`, `${ended.en}; signed before ${at}, by the time-stamp of ${by}`));
  return failed(both(`${ended.vi}; dấu thời gian của ${by} chỉ chứng tỏ đã ký từ ${at}`, `${ended.en}; that it had signed is shown from ${at} on only, by ${by}`));
}

/** What the check of the time-stamps finds. */
export function stampFinding({ wrong, before, nothing }) {
  if (wrong !== null) return failed(wrong);
  if (before !== null) return passed(both(`trước ${moment(before.latest)}, theo ${before.by}`, `before ${moment(before.latest)}, by ${before.by}`));
  if (nothing === null) return NOT_APPLICABLE;
  return notApplicable(both(`không chứng tỏ thời điểm nào: ${nothing.vi ?? nothing}`, `it proves no time: ${nothing.en ?? nothing}`));
}

function notExpired(certificate, signed, now, stamps) {
  // Signed outside its validity: that is the other check's finding.
  if (!wasValid(certificate, signed)) return NOT_APPLICABLE;
  return now <= certificate.notAfter ? passed(moment(certificate.notAfter)) : expiredFinding(certificate, stamps);
}

const pathFinding = (path) => (path.refused === undefined ? passed() : failed(path.refused));

function revocationKnown({ facts, trust }, path) {
  const root = facts.root.value;
  const [version, issued] = root === null ? ['?', '?'] : [root.version, moment(root.issued)];
  const isLooked = trust.store.lists.length + trust.store.answers.length > 0 && path !== null && path.revoked !== undefined;
  const why = (language, words) => (path.unknown === null ? null : `${words}: ${path.unknown[language] ?? path.unknown}`);
  const untold = { vi: () => why('vi', 'danh sách thu hồi và trả lời OCSP đã đưa không cho biết'), en: () => why('en', 'the revocation lists and OCSP answers given do not tell') };
  const later = isLooked ? both(untold.vi() ?? 'không bị thu hồi theo danh sách thu hồi và trả lời OCSP hiện có', untold.en() ?? 'not revoked by the revocation lists and OCSP answers at hand') : both('sau đó không kiểm tra', 'not checked later');
  return both(`còn hiệu lực theo danh bạ bản ${version}, phát hành ${issued}; ${later.vi}`, `good as of directory ${version} of ${issued}; ${later.en}`);
}

// --- Small questions ---------------------------------------------------------------------------------------------------------------------------

const roleFits = (leaf) => ROLES[leaf.event].includes(leaf.actor.role) && leaf.isSubmission === (leaf.event === 'SubmissionAcceptance');

function codeFits({ actor, sender, recipient }) {
  if (actor.role === 'relay') return actor.code === null;
  if (actor.role === 'recipient') return actor.code !== null && actor.code === recipient;
  // A submission's sender stands in the preamble, which has a check of its own.
  return actor.code !== null && (sender === null || actor.code === sender);
}

function included(entry, root) {
  if (entry === null) return NOT_APPLICABLE;
  if (root === null) return NOT_REACHED;
  const proof = entry.proof.map(fromHex);
  const fault = inclusionFault(leafHash(entry.bytes), BigInt(entry.index), BigInt(root.size), proof, fromHex(root.root));
  return fault === null ? passed(both(`mục ${entry.index} trong ${root.size}`, `entry ${entry.index} of ${root.size}`)) : failed(fault);
}

/** When an agency's code may still state evidence (docs/FORMATS.md, "Verifying a receipt"). */
function codeInForce(agency, leaf, preamble) {
  const { valid_from: from, valid_to: to, serves_until: serves } = agency;
  if (leaf.time < from) return false;
  if (to === null || leaf.time < to) return true;
  const isNewMail = leaf.isSubmission && preamble !== null && preamble.kind !== 'status' && preamble.supersedes === null && preamble.created >= to;
  if (isNewMail) return false;
  const isHandover = leaf.actor.role === 'recipient' && ['ContentHandover', 'ContentHandoverFailure'].includes(leaf.event);
  return isHandover || leaf.time < Math.max(to, serves ?? to) + ENVELOPE_TTL_MAX_MS;
}

/** The name under which the manifest has this hash; '' when it could only be searched as text; null when it has not. */
function manifestName(opening, digest) {
  if (opening.references !== null) return opening.references.find((reference) => reference.digest === digest)?.name ?? null;
  const text = new TextDecoder().decode(opening.manifestBytes);
  return text.includes(toBase64(fromHex(digest))) ? '' : null;
}

const LEVELS = { ordinary: ['ordinary', 'classified'], mat: ['classified'], 'toi-mat': ['classified'], 'tuyet-mat': [] };

/** A check about the preamble, which may be absent or unreadable. */
const ofPreamble = (find) => (known) => {
  const part = known.facts.preamble;
  if (part === null) return NOT_APPLICABLE;
  return part.value === null ? NOT_REACHED : find(part.value, known);
};

/** A check that needs these facts: the value of each is handed on; where one cannot be read, it is not reached. */
const needs =
  (names, find) =>
  (known) => {
    const values = names.map((name) => (name === 'checkpoint' ? known.facts.checkpoint : known.facts[name].value));
    return values.some((value) => value === null) ? NOT_REACHED : find(...values, known);
  };

/** A check about the agency's entry, which may be absent or unreadable, and other facts. */
const ofAgency = (names, find) => (known) => {
  if (known.facts.agency === null) return NOT_APPLICABLE;
  return needs(['agency', ...names], find)(known);
};

const ofSigning = (find) => (known) => (known.signing === null ? NOT_APPLICABLE : find(known.signing, known));

const ofOpening = (find) => (known) => (known.facts.opening === null ? NOT_APPLICABLE : find(known.facts.opening, known));

/** A check about `envelope.json`, which may be unreadable. */
const ofEnvelope = (find) => ofOpening((opening, known) => (opening.envelope.value === null ? NOT_REACHED : find(opening.envelope.value, known)));

// --- The checks --------------------------------------------------------------------------------------------------------------------------------

export const CHECKS = {
  'receipt-form': ({ facts }) => form(facts),
  'leaf-form': ({ facts }) => form(facts.leaf),
  'role-fits-event': needs(['leaf'], (leaf) => passedIf(roleFits(leaf), `${leaf.event}: ${leaf.actor.role}`)),
  'code-fits-role': needs(['leaf'], (leaf) => passedIf(codeFits(leaf), [leaf.actor.code ?? leaf.actor.node, leaf.actor.role].join(': '))),
  'leaf-consistent': needs(['leaf'], (leaf) => {
    // The statement's own rules ask for role and code, too; those have checks of their own.
    if (!roleFits(leaf) || !codeFits(leaf)) return NOT_APPLICABLE;
    return leaf.inconsistency === null ? passed() : failed(leaf.inconsistency);
  }),

  'leaf-included': needs(['checkpoint'], (checkpoint, { facts }) => {
    const fault = inclusionFault(leafHash(facts.body.leaf), facts.index, checkpoint.size, facts.proof, checkpoint.root);
    return fault === null ? passed(both(`lá ${facts.index} trong ${checkpoint.size}`, `leaf ${facts.index} of ${checkpoint.size}`)) : failed(fault);
  }),
  'checkpoint-origin': needs(['checkpoint', 'node'], (checkpoint, node) => passedIf(checkpoint.origin === node.origin, checkpoint.origin)),
  'ledger-signature': needs(['checkpoint', 'node'], async (checkpoint, node, { facts, options }) => {
    // Under the name that the checkpoint gives itself: whether it is the right name is a check of its own.
    const line = findLine(facts.note, checkpoint.origin, ledgerKeyId(checkpoint.origin, node.ledger_key));
    if (line === null) return failed(both('điểm chốt không có chữ ký của khóa sổ cái', 'the checkpoint carries no signature by the ledger key'));
    const holds = await ed25519Holds(node.ledger_key, utf8(facts.note.text), line.signature, options.ed25519ByLibrary);
    return passedIf(holds, `Ed25519 ${hex(node.ledger_key)}`);
  }),
  'certificate-line': needs(['checkpoint', 'node'], (_checkpoint, _node, { signing, facts }) => {
    const count = facts.note.lines.length;
    if (signing !== null) return passed();
    if (count <= 1) return unknown(both('điểm chốt không có chữ ký nào ngoài khóa sổ cái', "the checkpoint has no line beside the ledger key's"));
    return unknown(both(`không chữ ký nào trong ${count} chữ ký là của chứng thư gắn với nút này`, `none of the ${count} lines is of a certificate that is bound to this node`));
  }),
  'certificate-signature': ofSigning(({ cms }) => (cms.refused === undefined ? passed(cms.certificate.name) : failed(cms.refused))),
  'certificate-signer': ofSigning(({ cms, binding }) =>
    cms.refused === undefined ? passedIf(cms.certificate.sha256 === binding.sha256, `sha256 ${cms.certificate.sha256}`) : NOT_APPLICABLE,
  ),
  'certificate-path': ofSigning(({ path }) => (path === null ? failed(both('không đọc được chứng thư trong danh bạ', 'the bound certificate cannot be read')) : pathFinding(path))),
  'certificate-time': ofSigning(({ certificate, at }) =>
    certificate === null ? NOT_APPLICABLE : passedIf(wasValid(certificate, at), `${moment(at)}; ${validity(certificate)}`),
  ),
  // The status is judged with revocation, so that each fault shows under its own name.
  'certificate-bound': ofSigning(({ binding, at }) =>
    passedIf(binding.valid_from <= at && at < binding.valid_to, `${moment(at)}; ${moment(binding.valid_from)} – ${moment(binding.valid_to)}`),
  ),
  // Directory and lists may both speak; whoever names the earlier end is believed.
  'certificate-revocation': ofSigning(({ binding, path, at, stamps }, known) => {
    const since = [binding.status === 'good' ? null : binding.status_since, path?.revoked ?? null].filter((time) => time !== null);
    return since.length > 0 ? revokedFinding(Math.min(...since), at, stamps) : passed(revocationKnown(known, path));
  }),
  'certificate-expiry': ofSigning(({ certificate, at, stamps }, { now }) => (certificate === null ? NOT_APPLICABLE : notExpired(certificate, at, now, stamps))),
  'time-stamps': ofSigning(({ stamps }) => stampFinding(stamps)),
  witnesses: needs(['checkpoint'], async (checkpoint, known) => {
    const { facts, trust, now, options } = known;
    if (trust.policy === null) {
      const count = unchecked(facts.note, checkpoint);
      return count === 0 ? NOT_APPLICABLE : notApplicable(both(`có ${count} bên chứng kiến, chưa kiểm tra: không có chính sách`, `witnessed by ${count}, not checked: no policy given`));
    }
    if (facts.leaf.value === null) return NOT_REACHED;
    const found = await judge(trust.policy, facts.note, checkpoint, facts.leaf.value.time, now, options.ed25519ByLibrary);
    if (found.failed !== undefined) return failed(found.failed);
    if (found.notAsked) return notApplicable(both('chính sách không yêu cầu bên chứng kiến nào', 'the policy asks for no witness'));
    return passed(found.met.map(({ name, time }) => `${name} ${moment(time)}`).join(', '));
  }),

  'root-form': ({ facts }) => form(facts.root),
  'root-signature': ({ operator: { cms } }) => (cms.refused === undefined ? passed(cms.certificate.name) : failed(cms.refused)),
  'root-signer': ({ operator: { cms }, trust }) => {
    if (cms.refused !== undefined) return NOT_APPLICABLE;
    return passedIf(trust.operator.some((pinned) => pinned.sha256 === cms.certificate.sha256), `sha256 ${cms.certificate.sha256}`);
  },
  'operator-path': ({ operator }) => (operator.path === null ? NOT_REACHED : pathFinding(operator.path)),
  'operator-time': needs(['root'], (root, { operator }) => passedIf(wasValid(operator.certificate, root.issued), `${moment(root.issued)}; ${validity(operator.certificate)}`)),
  'operator-revocation': needs(['root'], (root, known) => {
    const since = known.operator.path.revoked ?? null;
    return since === null ? passed(revocationKnown(known, known.operator.path)) : revokedFinding(since, root.issued, known.operator.stamps);
  }),
  'operator-expiry': needs(['root'], (root, { operator, now }) => notExpired(operator.certificate, root.issued, now, operator.stamps)),
  'root-time-stamps': ({ operator: { stamps } }) => stampFinding(stamps),
  'node-form': ({ facts }) => form(facts.node),
  'node-included': ({ facts }) => included(facts.body.node, facts.root.value),
  'agency-form': ({ facts }) => formOf(facts.agency),
  'agency-included': ({ facts }) => included(facts.body.agency, facts.root.value),
  'root-issued': needs(['root', 'leaf'], (root, leaf) => passedIf(root.issued <= leaf.time + SKEW_MS, `${moment(root.issued)}; ${moment(leaf.time)}`)),
  'root-current': needs(['root', 'leaf'], (root, leaf) =>
    passedIf(leaf.time <= root.valid_until + DIRECTORY_GRACE_MS, `${moment(leaf.time)}; ${moment(root.valid_until)}`),
  ),
  'root-relied-on': needs(['leaf'], (leaf, { facts }) => {
    if (!leaf.isSubmission) return NOT_APPLICABLE;
    const root = facts.root.value;
    if (root === null) return NOT_REACHED;
    const { version, root: stated, entry } = leaf.statement.directory;
    if (root.version > version) return passedIf(true, `${root.version}; ${version}`);
    const entryFits = facts.body.agency === null || hex(leafHash(facts.body.agency.bytes)) === entry;
    // What an entry says does not age with the versions that repeat it; whether the root was current then is another check.
    if (root.version < version) return passedIf(entryFits, `${root.version}; ${version}`);
    return passedIf(root.root === stated && entryFits, `${version}`);
  }),

  'node-kind': needs(['leaf', 'node'], (leaf, node) => passedIf((node.kind === 'relay') === (leaf.actor.role === 'relay'), `${node.id}: ${leaf.actor.role}`)),
  'node-is-actor': needs(['leaf', 'node'], (leaf, node) => passedIf(leaf.actor.node === node.id, `${leaf.actor.node}; ${node.id}`)),
  'node-origin': needs(['root', 'node'], (root, node) => passedIf(node.origin === `truc/${root.axis}/${root.lane}/${node.id}/${node.epoch}`, node.origin)),
  'node-lane': needs(['root', 'node'], (root, node) => passedIf(node.lane === root.lane, `${node.lane}; ${root.lane}`)),
  'agency-shown': needs(['leaf'], (leaf, { facts }) => (leaf.actor.role === 'relay' ? NOT_APPLICABLE : passedIf(facts.agency !== null, leaf.actor.code ?? ''))),
  'agency-is-actor': ofAgency(['leaf'], (agency, leaf) => (leaf.actor.code === null ? NOT_APPLICABLE : passedIf(agency.code === leaf.actor.code, `${agency.code}; ${leaf.actor.code}`))),
  'agency-node': ofAgency(['node'], (agency, node) => passedIf(agency.node === node.id, `${agency.code}: ${agency.node ?? '–'}; ${node.id}`)),
  'agency-lane': ofAgency(['root'], (agency, root) => passedIf(agency.lanes.includes(root.lane), `${agency.code}: ${agency.lanes.join(', ')}`)),
  'code-in-force': ofAgency(['leaf'], (agency, leaf, { facts }) => {
    const end = agency.valid_to === null ? '…' : moment(agency.valid_to);
    return passedIf(codeInForce(agency, leaf, facts.preamble?.value ?? null), `${moment(leaf.time)}; ${moment(agency.valid_from)} – ${end}`);
  }),

  'preamble-shown': needs(['leaf'], (leaf, { facts }) => {
    if (facts.preamble !== null) return passed();
    return leaf.isSubmission ? failed(both('sự kiện gửi không kèm phần mở đầu', 'a submission without preamble')) : NOT_APPLICABLE;
  }),
  'preamble-form': ({ facts }) => formOf(facts.preamble),
  // Over the bytes, whatever can be read of them.
  'preamble-hash': ({ facts }) => {
    const leaf = facts.leaf.value;
    if (facts.preamble === null) return NOT_APPLICABLE;
    if (leaf === null) return NOT_REACHED;
    return leaf.preamble === null ? NOT_APPLICABLE : passedIf(hex(sha256(facts.body.preamble)) === leaf.preamble, leaf.preamble);
  },
  'preamble-domain': ofPreamble((preamble, { facts }) => {
    const root = facts.root.value;
    if (root === null) return NOT_REACHED;
    return passedIf(preamble.axis === root.axis && preamble.lane === root.lane, `${preamble.axis} ${preamble.lane}; ${root.axis} ${root.lane}`);
  }),
  'preamble-level': ofPreamble((preamble) => passedIf(LEVELS[preamble.level].includes(preamble.lane), `${preamble.level}; ${preamble.lane}`)),
  'preamble-envelope': ofPreamble((preamble, { facts }) => {
    const leaf = facts.leaf.value;
    if (leaf === null) return NOT_REACHED;
    return leaf.envelope === null ? NOT_APPLICABLE : passedIf(preamble.envelope === leaf.envelope, preamble.envelope);
  }),
  'preamble-sender': ofPreamble((preamble, { facts }) => {
    const leaf = facts.leaf.value;
    if (leaf === null) return NOT_REACHED;
    const sender = leaf.sender ?? leaf.actor.code;
    return sender === null ? NOT_APPLICABLE : passedIf(preamble.sender === sender, `${preamble.sender}; ${sender}`);
  }),
  'preamble-recipient': ofPreamble((preamble, { facts }) => {
    const leaf = facts.leaf.value;
    if (leaf === null) return NOT_REACHED;
    if (leaf.recipient === null) return NOT_APPLICABLE;
    // What the sender passed on went to an agency of today's axis.
    const passedOn = leaf.event === 'RelayToNonERDS';
    const addressed = preamble.legacy.includes(leaf.recipient) || (!passedOn && preamble.recipients.includes(leaf.recipient));
    return passedIf(addressed, leaf.recipient);
  }),
  'submission-recipients': needs(['leaf'], (leaf, { facts }) => {
    if (!leaf.isSubmission || facts.preamble === null) return NOT_APPLICABLE;
    const preamble = facts.preamble.value;
    if (preamble === null) return NOT_REACHED;
    const sealedTo = [...new Map(leaf.statement.key_envelopes).keys()].sort((a, b) => compare(utf8(a), utf8(b)));
    return passedIf(sealedTo.join() === preamble.recipients.join(), sealedTo.join(', '));
  }),
  'preamble-time': ofPreamble((preamble, { facts }) => {
    const leaf = facts.leaf.value;
    return leaf === null ? NOT_REACHED : passedIf(preamble.created <= leaf.time + SKEW_MS, `${moment(preamble.created)}; ${moment(leaf.time)}`);
  }),

  'signed-after': needs(['leaf'], (leaf, { signing }) => {
    const signed = signing?.cms.signingTime ?? null;
    return signed === null ? NOT_APPLICABLE : passedIf(leaf.time <= signed + SKEW_MS, `${moment(leaf.time)}; ${moment(signed)}`);
  }),
  'not-from-future': needs(['leaf'], (leaf, { signing, now }) => {
    const latest = Math.max(leaf.time, signing?.cms.signingTime ?? leaf.time);
    return passedIf(latest <= now + SKEW_MS, `${moment(latest)}; ${moment(now)}`);
  }),

  'opening-commitment': ofOpening((opening, { facts }) => {
    const commitment = facts.leaf.value?.commitment ?? null;
    if (commitment === null) return NOT_REACHED;
    return passedIf(hex(sha256(utf8('truc/content/1'), opening.salt, sha256(opening.manifestBytes))) === commitment, commitment);
  }),
  'manifest-form': ofOpening((opening) => form({ refused: opening.manifestRefused })),
  'envelope-included': ofOpening((opening) => {
    const name = manifestName(opening, opening.envelopeDigest);
    return passedIf(name === '' || name === 'envelope.json', opening.envelopeDigest);
  }),
  'envelope-form': ofOpening((opening) => form(opening.envelope)),
  'envelope-preamble': ofEnvelope((envelope, { facts }) => {
    const leaf = facts.leaf.value;
    if (leaf === null) return NOT_REACHED;
    return leaf.preamble === null ? NOT_APPLICABLE : passedIf(envelope.preamble === leaf.preamble, envelope.preamble);
  }),
  'envelope-fields': ofEnvelope((inside, known) =>
    ofPreamble((outside) => {
      const same = (field) => JSON.stringify(inside[field]) === JSON.stringify(outside[field]);
      const fields = ['axis', 'envelope', 'lane', 'level', 'kind', 'sender', 'supersedes'];
      const different = fields.filter((field) => !same(field));
      return passedIf(different.length === 0, (different.length === 0 ? fields : different).join(', '));
    })(known),
  ),
  'envelope-recipients': ofEnvelope((inside, known) =>
    ofPreamble((outside) => {
      const codes = inside.recipients.map(({ code }) => code);
      return passedIf(codes.join() === outside.recipients.join(), codes.join(', '));
    })(known),
  ),
  document: ({ facts: { opening }, document }) => {
    if (document === null) return NOT_APPLICABLE;
    if (opening === null) return unknown(both('biên nhận không kèm phần mở cam kết; đề nghị nơi giữ cung cấp bản có kèm', 'the receipt carries no opening; ask its holder for one that does'));
    if (document.manifest !== null && equal(document.manifest, opening.manifestBytes)) return passed(both('cả gói', 'the whole container'));
    const name = manifestName(opening, document.digest);
    if (name !== null) return passed(`${name} sha256 ${document.digest}`);
    // A file inside a packet is no entry of its own: envelope.json, itself an entry, names the decoded attachments.
    const attachment = opening.envelope.value?.attachments.find(({ sha256: digest }) => digest === document.digest);
    return passedIf(attachment !== undefined, `${attachment?.name ?? ''} sha256 ${document.digest}`);
  },
};
