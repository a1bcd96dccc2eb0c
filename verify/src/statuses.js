// Business statuses in a bundle (docs/FORMATS.md, "A status in a bundle"): each is an envelope of its own, whose receipts say who stated it and when, and
// whose opening shows what was stated.

import { STATUS, readStatement } from './statements.js';
import { NOT_APPLICABLE, NOT_REACHED, failed, notApplicable, passed, passedIf, revokedFinding, unknown, verifyReceipt } from './checks.js';
import { both } from './text.js';
import { disagreement } from './agreement.js';
import { eachValid, firstOf, signerFinding, signerPath } from './signer.js';
import { hex, sha256 } from './bytes.js';
import { isLate } from './conclusion.js';
import { isOfDomain } from './together.js';
import { moment } from './moment.js';
import { readFacts } from './facts.js';
import { verifyDetached } from './cms.js';
import { RECEIPT_BYTES_MAX, SIGNATURE_BYTES_MAX, SKEW_MS, STATUS_BYTES_MAX } from './limits.js';

const STATUSES = 'statuses/';
const STATEMENT = 'status.json';
const SIGNATURE = 'signature001.p7s';
const STATES = ['SubmissionAcceptance', 'ReceivedFromNonERDS'];
// Who says which (docs/FORMATS.md, "Business status"); the other codes mean nothing.
const SET_BY_SENDER = '13';
const SET_BY_RECEIVER = ['01', '02', '03', '04', '05', '06', '15', '16'];
const ARRIVALS = ['ContentConsignment', 'ReceivedFromNonERDS'];

/** `{folder, file}` of an entry under `statuses/`, or null. */
export function placeOf(name) {
  if (!name.startsWith(STATUSES)) return null;
  const inner = name.slice(STATUSES.length);
  const end = inner.lastIndexOf('/');
  return { folder: inner.slice(0, Math.max(end, 0)), file: inner.slice(end + 1) };
}

export const statusBytesMax = (file) => ({ [STATEMENT]: STATUS_BYTES_MAX, [SIGNATURE]: SIGNATURE_BYTES_MAX })[file] ?? RECEIPT_BYTES_MAX;

/** Takes statuses' files one after the other: `take`, then `end` gives `[{name, status, receipts, known}]`, to be judged. */
export class StatusReader {
  #open = null;
  #read = [];

  constructor(trust, now, options) {
    Object.assign(this, { trust, now, options });
  }

  async take({ folder, file }, bytes) {
    if (this.#open !== null && this.#open.name !== folder) await this.#close();
    this.#open ??= { name: folder, bytes: null, signature: null, stated: null, receipts: [] };
    const open = this.#open;
    if (file === STATEMENT) open.bytes = bytes;
    else if (file === SIGNATURE) open.signature = bytes;
    else await this.#receipt(open, file, bytes);
  }

  /** What document was shown beside the bundle is no question to a status's receipts. */
  async #receipt(open, name, bytes) {
    const report = await verifyReceipt(bytes, this.trust, null, this.now, this.options);
    open.receipts.push({ name, report });
    // Read of a receipt that is valid, and of nothing else.
    if (open.stated !== null || report.verdict !== 'valid' || !STATES.includes(report.summary.event)) return;
    const { preamble, opening, agency } = readFacts(bytes);
    open.stated = {
      summary: report.summary,
      preamble: preamble?.value ?? null,
      manifest: opening?.manifestBytes ?? null,
      references: opening?.references ?? null,
      bindings: agency?.value?.certificates ?? [],
    };
  }

  async #close() {
    const { name, bytes, signature, stated, receipts } = this.#open;
    this.#open = null;
    const statement = bytes === null ? null : readStatement(STATUS, bytes);
    const manifest = stated?.manifest ?? null;
    const cms = signature === null || manifest === null ? null : await verifyDetached(signature, manifest, this.trust.store.intermediates);
    const holds = cms !== null && cms.refused === undefined;
    const known = {
      statement,
      status: statement === null || statement.refused !== null ? null : statement.value,
      digest: bytes === null ? null : hex(sha256(bytes)),
      stated: stated === null ? null : { ...stated, manifest: null },
      receipts,
      isSigned: signature !== null,
      cms,
      path: holds ? await signerPath(cms, cms.signingTime ?? stated.summary.time, this.trust, this.now) : null,
    };
    this.#read.push({ name, receipts, known });
  }

  async end() {
    if (this.#open !== null) await this.#close();
    return this.#read;
  }
}

/** `{name, verdict, steps, status, proven, receipts}` of what was read, in a bundle about `about`. */
export function judgeStatus({ name, receipts, known }, about) {
  const all = { ...known, about };
  const steps = Object.entries(STATUS_CHECKS).map(([check, find]) => ({ check, ...find(all) }));
  const any = (...outcomes) => steps.some(({ outcome }) => outcomes.includes(outcome));
  const verdict = any('failed') ? 'invalid' : any('unknown', 'not-reached') ? 'cannot-tell' : 'valid';
  return { name, verdict, steps, status: known.status, proven: verdict === 'valid' ? provenOf(known, about) : null, receipts };
}

function provenOf({ status, stated, receipts, isSigned }, about) {
  const isLateStated = stated.summary.event !== 'ReceivedFromNonERDS' && isLate(status.time, stated.summary.time);
  const isWrongSide = SET_BY_RECEIVER.includes(status.code) ? status.from === about.sender : status.code === SET_BY_SENDER && status.from !== about.sender;
  const arrivals = receipts.map(({ report }) => report.summary).filter(({ event }) => ARRIVALS.includes(event));
  return {
    code: status.code,
    from: status.from,
    to: status.to,
    time: status.time,
    stated: stated.summary.time,
    remarks: [...(isLateStated ? ['proven-late'] : []), ...(isWrongSide ? ['wrong-side'] : [])],
    sequence: status.sequence,
    reason: status.reason,
    staff: status.staff,
    envelope: stated.summary.envelope,
    basis: stated.summary.event === 'ReceivedFromNonERDS' ? 'taken-over' : isSigned ? 'signed' : 'stated',
    received: arrivals.length === 0 ? null : Math.min(...arrivals.map(({ time }) => time)),
  };
}

function receiptsFinding({ receipts, stated }) {
  const found = eachValid(receipts);
  if (found.outcome !== 'passed' || stated !== null) return found;
  return failed(both('không có biên nhận nào của bên nêu', 'none of them states it'));
}

function envelopeFinding({ receipts, stated }) {
  if (stated === null) return NOT_REACHED;
  const { envelope, sender } = stated.summary;
  const others = receipts.filter(({ report: { summary } }) => summary !== null && (summary.envelope !== envelope || summary.sender !== sender));
  if (others.length > 0) return failed(firstOf(others.map(({ name }) => name)));
  const told = disagreement(receipts);
  if (told !== null) return failed(told);
  return passedIf(stated.preamble?.kind === 'status', envelope);
}

function contentFinding({ digest, stated }) {
  if (digest === null || stated === null) return NOT_REACHED;
  if (stated.references === null) return unknown(both('biên nhận của bên nêu không kèm phần mở cam kết', 'the receipt that states it carries no opening'));
  return passedIf(stated.references.some((reference) => reference.name === STATEMENT && reference.digest === digest), digest);
}

function partiesFinding({ status, stated }) {
  const preamble = stated?.preamble ?? null;
  if (status === null || preamble === null) return NOT_REACHED;
  const goesTo = [...preamble.recipients, ...preamble.legacy];
  return passedIf(status.from === preamble.sender && goesTo.length === 1 && goesTo[0] === status.to, `${status.from} → ${status.to}`);
}

function timeFinding({ status, stated }) {
  if (status === null || stated === null) return NOT_REACHED;
  const { event, time } = stated.summary;
  const detail = both(`đặt lúc ${moment(status.time)}, nêu lúc ${moment(time)}`, `set ${moment(status.time)}, stated ${moment(time)}`);
  // Its time is today's axis's, by whatever clock.
  return event === 'ReceivedFromNonERDS' ? notApplicable(detail) : passedIf(status.time <= time + SKEW_MS, detail);
}

function documentFinding({ status, about, receipts }) {
  if (status === null || about === null) return NOT_REACHED;
  const others = receipts.filter(({ report: { summary } }) => summary !== null && !isOfDomain(summary, about));
  const named = firstOf(others.map(({ name }) => name));
  if (others.length > 0) return failed(both(`của trục hoặc luồng khác: ${named}`, `of another axis or lane: ${named}`));
  return passedIf(status.document === about.envelope && [status.from, status.to].includes(about.sender), `${status.document} · ${status.from} → ${status.to}`);
}

function signatureFinding({ isSigned, cms }) {
  if (!isSigned) return NOT_APPLICABLE;
  if (cms === null) return NOT_REACHED;
  return cms.refused === undefined ? passed() : failed(cms.refused);
}

function ofAgency({ isSigned, cms, path, stated }) {
  if (!isSigned) return NOT_APPLICABLE;
  if (path === null) return NOT_REACHED;
  const { certificate } = cms;
  const { event, time } = stated.summary;
  // The entry beside it is that of who took it.
  if (event === 'ReceivedFromNonERDS') return failed(both('từ trục hiện hành thì không ai ký số', "nobody signs what comes from today's axis"));
  const { signed } = path;
  const binding = stated.bindings.find(({ uses, sha256: bound }) => uses.includes('service') && bound === certificate.sha256);
  if (binding === undefined) return failed(both(`${certificate.name}: không phải chứng thư của cơ quan này trong danh bạ`, `${certificate.name}: not a service certificate of the agency in the directory`));
  if (signed > time + SKEW_MS) return failed(both(`ký ${moment(signed)}, sau khi nêu ${moment(time)}`, `signed ${moment(signed)}, after it was stated, ${moment(time)}`));
  if (signed < binding.valid_from || signed >= binding.valid_to) return failed(`${moment(signed)}; ${moment(binding.valid_from)} – ${moment(binding.valid_to)}`);
  const found = signerFinding(certificate, path);
  return binding.status_since === null || found.outcome === 'failed' ? found : revokedFinding(binding.status_since, signed, path.stamps);
}

export const STATUS_CHECKS = {
  'status-form': ({ statement }) => {
    if (statement === null) return failed(both('không có status.json', 'there is no status.json'));
    return statement.refused === null ? passed() : failed(`status.json: ${statement.refused}`);
  },
  'status-receipts': receiptsFinding,
  'status-envelope': envelopeFinding,
  'status-content': contentFinding,
  'status-parties': partiesFinding,
  'status-time': timeFinding,
  'status-document': documentFinding,
  'status-signature': signatureFinding,
  'status-signer': ofAgency,
};
