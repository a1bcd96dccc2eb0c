// OCSP answers (RFC 6960) as evidence, beside the revocation lists (docs/FORMATS.md, "OCSP answers"): who gave one, about what, and whether it still counts.

import { BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, Reader, SEQUENCE, algorithm, bitString, context, contextPrimitive, extensionIn, inside, parse } from './der.js';
import { both } from './text.js';
import { byLists, readReason, serialOf, HOLD } from './crl.js';
import { equal } from './bytes.js';
import { hashOf, holds, listScheme } from './signature.js';
import { moment } from './moment.js';
import { readableCertificate, schemeOf } from './x509.js';
import { useFault } from './usage.js';
import { OCSP_AGE_MS_MAX, OCSP_BYTES_MAX, OCSP_CERTIFICATES_MAX, OCSP_OF_ONE_MAX, OCSP_SINGLES_MAX } from './limits.js';

const BASIC = '1.3.6.1.5.5.7.48.1.1';
const NONCE = '1.3.6.1.5.5.7.48.1.2';
const NONCE_BYTES_MAX = 128;
const HASHES = { '1.3.14.3.2.26': 'SHA-1', '2.16.840.1.101.3.4.2.1': 'SHA-256' };

/** Whether a file is to be read as an answer: a SEQUENCE that begins with a status, which no certificate and no list does. */
export function looksLikeAnswer(bytes) {
  try {
    return bytes[0] === SEQUENCE && inside(parse(bytes, SEQUENCE)).next === ENUMERATED;
  } catch (error) {
    if (error instanceof Malformed) return false;
    throw error;
  }
}

/** As `readAnswer`; null where it is none. */
export function readableAnswer(der) {
  try {
    return readAnswer(der);
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/** Reads one OCSPResponse; throws `Malformed`. Whether it may be believed is seen when it is used. */
export function readAnswer(der) {
  if (der.length > OCSP_BYTES_MAX) throw new Malformed(`an OCSP answer has at most ${OCSP_BYTES_MAX} bytes`);
  const outer = inside(basicIn(der));
  const signed = outer.expect(SEQUENCE);
  const scheme = listScheme(algorithm(outer.expect(SEQUENCE)));
  const signature = bitString(outer.expect(BIT_STRING));
  const certificates = readCertificates(outer.optional(context(0)));
  outer.finish();
  if (scheme === null) throw new Malformed('an OCSP answer signed with an algorithm that is not accepted');
  const data = inside(signed);
  const version = data.optional(context(0));
  if (version !== null && new Reader(version.content).small() !== 0) throw new Malformed('another version');
  const responder = readResponder(data.any());
  const producedAt = generalizedTime(data);
  const singles = readSingles(data.sequence());
  const extensions = data.optional(context(1));
  if (extensions !== null) checkExtensions(extensions, true);
  data.finish();
  return { tbs: signed.whole, scheme, signature, certificates, responder, producedAt, singles, judged: new Map() };
}

function basicIn(der) {
  const outer = inside(parse(der, SEQUENCE));
  const status = outer.expect(ENUMERATED).content;
  if (status.length !== 1 || status[0] !== 0) throw new Malformed('the OCSP responder gave an error and no answer');
  const explicit = outer.expect(context(0));
  outer.finish();
  const bytes = inside(parse(explicit.content, SEQUENCE));
  if (bytes.oid() !== BASIC) throw new Malformed('another kind of OCSP answer');
  const basic = bytes.expect(OCTET_STRING);
  bytes.finish();
  return parse(basic.content, SEQUENCE);
}

// One that cannot be read cannot be the responder's; it is passed over.
function readCertificates(explicit) {
  if (explicit === null) return [];
  const reader = inside(parse(explicit.content, SEQUENCE));
  const found = [];
  for (let count = 0; !reader.isEmpty; count += 1) {
    if (count === OCSP_CERTIFICATES_MAX) throw new Malformed('too many certificates in an OCSP answer');
    found.push(readableCertificate(reader.expect(SEQUENCE).whole));
  }
  return found.filter((certificate) => certificate !== null);
}

function readResponder({ tag, content }) {
  if (tag === context(1)) return { name: parse(content, SEQUENCE).whole };
  if (tag === context(2)) return { key: parse(content, OCTET_STRING).content };
  throw new Malformed('an OCSP answer that names no responder');
}

const generalizedTime = (reader) => new Reader(reader.expect(GENERALIZED_TIME).whole).time();

function readSingles(reader) {
  const singles = [];
  while (!reader.isEmpty) {
    if (singles.length === OCSP_SINGLES_MAX) throw new Malformed('an OCSP answer about too many certificates');
    const single = readSingle(reader.sequence());
    // Named under another hash: about none that we know.
    if (single.hash !== undefined) singles.push(single);
  }
  return singles;
}

function readSingle(fields) {
  const named = fields.sequence();
  const about = algorithm(named.expect(SEQUENCE));
  const issuerName = named.expect(OCTET_STRING).content;
  const issuerKey = named.expect(OCTET_STRING).content;
  const serial = serialOf(named.expect(INTEGER).content);
  named.finish();
  const status = readStatus(fields.any());
  const thisUpdate = generalizedTime(fields);
  const next = fields.optional(context(0));
  const until = next === null ? thisUpdate + OCSP_AGE_MS_MAX : generalizedTime(exactly(next));
  const extensions = fields.optional(context(1));
  if (extensions !== null) checkExtensions(extensions, false);
  fields.finish();
  return { hash: about.plain ? HASHES[about.oid] : undefined, issuerName, issuerKey, serial, status, thisUpdate, until };
}

/** A reader of an explicit tag that holds one time and nothing else. */
function exactly({ content }) {
  parse(content, GENERALIZED_TIME);
  return new Reader(content);
}

function readStatus({ tag, content }) {
  if (tag === contextPrimitive(0) && content.length === 0) return { good: true };
  if (tag === contextPrimitive(2) && content.length === 0) return {};
  if (tag !== context(1)) throw new Malformed('a status that is none');
  const fields = new Reader(content);
  const since = generalizedTime(fields);
  const reason = fields.optional(context(0));
  fields.finish();
  return { since, reason: reason === null ? 0 : readReason(reason.content) };
}

function checkExtensions(explicit, mayHaveNonce) {
  const reader = inside(parse(explicit.content, SEQUENCE));
  let hasNonce = false;
  while (!reader.isEmpty) {
    const { id, critical, value } = extensionIn(reader);
    if (mayHaveNonce && id === NONCE) {
      const { length } = parse(value, OCTET_STRING).content;
      if (hasNonce || length === 0 || length > NONCE_BYTES_MAX) throw new Malformed('a nonce that is none');
      hasNonce = true;
    } else if (critical) {
      throw new Malformed('an OCSP answer with a critical extension that is not known');
    }
  }
}

/** What lists and answers together say of `certificate`, issued by `issuer`: `{revoked: since}`, `{unknown: why, isListMissing}` or `{}` where it is good. */
export async function revocation(store, certificate, issuer, at) {
  const lists = await byLists(store.lists, certificate, issuer, at);
  const found = [];
  for (const { answer, said } of await statements(store.answers, certificate, issuer)) found.push(await weigh(store, answer, said, issuer, at));
  const since = [lists, ...found].map(({ revoked }) => revoked).filter((time) => time !== undefined);
  if (since.length > 0) return { revoked: Math.min(...since) };
  if (lists.unknown === undefined || found.some(({ good }) => good)) return {};
  const useless = found.find((one) => one.useless !== undefined)?.useless;
  return lists.isListMissing && useless !== undefined ? { unknown: useless, isListMissing: false } : lists;
}

/** The first few answers with what they say of the certificate. */
async function statements(answers, certificate, issuer) {
  const found = [];
  const serial = serialOf(certificate.serial);
  for (const answer of answers) {
    const ofSerial = answer.singles.filter((single) => single.serial === serial);
    const said = ofSerial.length === 0 ? null : await newestAbout(ofSerial, certificate, issuer);
    if (said !== null) found.push({ answer, said });
    if (found.length === OCSP_OF_ONE_MAX) break;
  }
  return found;
}

async function newestAbout(singles, certificate, issuer) {
  let newest = null;
  for (const single of singles) {
    if (newest !== null && single.thisUpdate < newest.thisUpdate) continue;
    const [name, key] = await Promise.all([hashOf(single.hash, certificate.issuer), hashOf(single.hash, issuer.publicKey.raw)]);
    if (equal(name, single.issuerName) && equal(key, single.issuerKey)) newest = single;
  }
  return newest;
}

/** What an answer says of the time judged at: `{revoked}`, `{good}`, or why it says neither: `{useless}`. */
async function weigh(store, answer, { status, thisUpdate, until }, issuer, at) {
  const time = Math.max(answer.producedAt, thisUpdate);
  if (time > store.last) return { useless: both(`trả lời OCSP đề ngày ${moment(time)}, ở tương lai`, `the OCSP answer is dated ${moment(time)}, which is still to come`) };
  if (!answer.judged.has(issuer.sha256)) answer.judged.set(issuer.sha256, await authority(answer, issuer));
  const { refused, appointed } = answer.judged.get(issuer.sha256);
  if (refused !== undefined) return { useless: refused };
  const doubt = appointed === null ? null : await responderFault(store, appointed, issuer, answer.producedAt);
  if (doubt !== null) return { useless: doubt };
  if (status.since !== undefined && (status.reason !== HOLD || at <= until)) return { revoked: status.since };
  if (status.since === undefined && !status.good) return { useless: both('bên trả lời OCSP không biết chứng thư này', 'the OCSP responder does not know the certificate') };
  return at <= until ? { good: true } : { useless: both(`trả lời OCSP có giá trị đến ${moment(until)}`, `the OCSP answer counted until ${moment(until)}`) };
}

/** Whose word an answer is: the issuer's own (`appointed` is null), that of whom it appointed with a certificate of its own, or nobody's who may (`refused`). */
async function authority(answer, issuer) {
  const signs = async (certificate) => (await isNamed(answer, certificate)) && holds(certificate.publicKey, answer.scheme, answer.tbs, answer.signature);
  if (await signs(issuer)) return { appointed: null };
  let responder = null;
  for (const certificate of answer.certificates) {
    if (responder === null && (await signs(certificate))) responder = certificate;
  }
  if (responder === null) return refused('chữ ký của trả lời OCSP không đúng với bên trả lời được ghi', 'the signature of the OCSP answer does not hold under the responder that it names');
  // Directly: a path of more certificates does not do (RFC 6960 4.2.2.2).
  const scheme = schemeOf(responder);
  const isOwn = responder.issuerKey === issuer.subjectKey && scheme !== null && (await holds(issuer.publicKey, scheme, responder.tbs, responder.signature));
  if (!isOwn) return refused('chứng thư của bên trả lời OCSP do cơ quan khác cấp', 'another authority issued the certificate of the OCSP responder');
  if (useFault(responder, 'ocsp') !== null) return refused('chứng thư của bên trả lời không dùng cho OCSP', 'the certificate of the responder is not for answering OCSP');
  const isInTime = responder.notBefore <= answer.producedAt && answer.producedAt <= responder.notAfter;
  return isInTime ? { appointed: responder } : refused('chứng thư của bên trả lời OCSP không có hiệu lực khi trả lời', 'the certificate of the OCSP responder was not valid when it answered');
}

const refused = (vi, en) => ({ refused: both(vi, en) });

const isNamed = async ({ responder }, certificate) =>
  responder.name === undefined ? equal(responder.key, await hashOf('SHA-1', certificate.publicKey.raw)) : equal(responder.name, certificate.subject);

/** It may have been revoked itself: the issuer's lists must clear it, unless it says that nobody need look. */
async function responderFault(store, responder, issuer, at) {
  const found = await byLists(store.lists, responder, issuer, at);
  if (found.revoked !== undefined) return both('chứng thư của bên trả lời OCSP đã bị thu hồi', 'the certificate of the OCSP responder is revoked');
  if (found.unknown === undefined || responder.isNoCheck) return null;
  return both('không rõ chứng thư của bên trả lời OCSP có bị thu hồi không', 'the certificate of the OCSP responder cannot be cleared');
}
