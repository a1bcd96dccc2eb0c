// X.509 certificates as received. The fields that decisions need byte for byte are read from the bytes; names and extensions by PKI.js, which is at
// the same time the second opinion on well-formedness. Whether a certificate may be believed is the business of `path.js`.

import { Certificate as PkiCertificate } from 'pkijs';
import { BIT_STRING, INTEGER, Malformed, Reader, SEQUENCE, algorithm, bitString, context, contextPrimitive, extensionIn, inside, parse } from './der.js';
import { equal, fromBase64, hex, sha256, textOf } from './bytes.js';
import { comparable, hasUniversalString } from './name.js';
import { OIDS, certificateScheme, publicKey } from './signature.js';
import { CERTIFICATE_BYTES_MAX, PEM_BYTES_MAX, PEM_CERTIFICATES_MAX } from './limits.js';

const EXTENSION = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  distributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  policyMappings: '2.5.29.33',
  policyConstraints: '2.5.29.36',
  extendedKeyUsage: '2.5.29.37',
  inhibitAnyPolicy: '2.5.29.54',
  ocspNoCheck: '1.3.6.1.5.5.7.48.1.5',
};
const RULING = ['subjectAltName', 'nameConstraints', 'certificatePolicies', 'policyMappings', 'policyConstraints', 'inhibitAnyPolicy'];
// What a critical extension may be: the path search looks at all of these.
const UNDERSTOOD = ['keyUsage', 'subjectAltName', 'basicConstraints', 'nameConstraints', 'distributionPoints', 'extendedKeyUsage', 'certificatePolicies', 'inhibitAnyPolicy', 'policyMappings', 'policyConstraints'].map((name) => EXTENSION[name]);

const KEY_USAGES = ['digitalSignature', 'nonRepudiation', 'keyEncipherment', 'dataEncipherment', 'keyAgreement', 'keyCertSign', 'cRLSign'];

/** Reads one certificate; throws `Malformed` with the reason where it cannot be used. */
export function readCertificate(der) {
  if (der.length > CERTIFICATE_BYTES_MAX) throw new Malformed(`a certificate has at most ${CERTIFICATE_BYTES_MAX} bytes`);
  const fields = readFields(der);
  if ([fields.subject, fields.issuer].some(hasUniversalString)) throw new Malformed('a certificate with a UniversalString in a name');
  const parsed = byLibrary(der);
  const extensions = readExtensions(parsed.extensions ?? []);
  const isSelfIssued = equal(fields.subject, fields.issuer);
  // A self-issued one may carry any signature: an anchor is believed because it was given, nobody relies on its signature.
  if (!isSelfIssued && !isAcceptable(fields.signatureAlgorithm)) throw new Malformed('a certificate signed with an algorithm that is not accepted');
  return {
    der,
    sha256: hex(sha256(der)),
    ...fields,
    isSelfIssued,
    name: nameText(parsed.subject),
    issuerName: nameText(parsed.issuer),
    subjectKey: comparable(fields.subject),
    issuerKey: comparable(fields.issuer),
    ...extensions,
  };
}

/** As `readCertificate`; null where it cannot be used. */
export function readableCertificate(der) {
  try {
    return readCertificate(der);
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

// Known and not broken; whether a path may be built with it is `certificateScheme`'s narrower question.
const isAcceptable = ({ oid }) => [OIDS.rsaSha256, OIDS.rsaSha384, OIDS.rsaSha512, OIDS.pss, OIDS.ecdsaSha256, OIDS.ecdsaSha384, '1.2.840.10045.4.3.4'].includes(oid);

function byLibrary(der) {
  try {
    return PkiCertificate.fromBER(der);
  } catch {
    throw new Malformed('not a well-formed X.509 certificate');
  }
}

function readFields(der) {
  const outer = inside(parse(der, SEQUENCE));
  const signed = outer.expect(SEQUENCE);
  const outerAlgorithm = outer.expect(SEQUENCE);
  const signature = bitString(outer.expect(BIT_STRING));
  outer.finish();
  const tbs = inside(signed);
  // Version 3 only: without extensions there is no keyUsage to check.
  if (new Reader(tbs.expect(context(0)).content).small() !== 2) throw new Malformed('not an X.509 certificate of version 3');
  const serial = tbs.expect(INTEGER).content;
  const innerAlgorithm = tbs.expect(SEQUENCE);
  const issuer = tbs.expect(SEQUENCE).whole;
  const validity = tbs.sequence();
  const [notBefore, notAfter] = [validity.time(), validity.time()];
  validity.finish();
  const subject = tbs.expect(SEQUENCE).whole;
  const spki = tbs.expect(SEQUENCE).whole;
  for (const unique of [1, 2]) tbs.optional(contextPrimitive(unique));
  if (!tbs.isEmpty) checkExtensions(inside(tbs.expect(context(3))));
  tbs.finish();
  // RFC 5280 4.1.2.2, and one more for those who count without the sign.
  if (!equal(innerAlgorithm.whole, outerAlgorithm.whole) || serial.length === 0 || serial.length > 21) throw new Malformed('a certificate that contradicts itself');
  const signatureAlgorithm = algorithm(outerAlgorithm);
  return { tbs: signed.whole, signature, signatureAlgorithm, serial, issuer, subject, notBefore, notAfter, spki, publicKey: publicKey(spki) };
}

/** That they are DER, which PKI.js takes more loosely. */
function checkExtensions(outer) {
  const all = outer.sequence();
  outer.finish();
  while (!all.isEmpty) extensionIn(all);
}

function readExtensions(extensions) {
  const found = new Map();
  let isUnderstood = true;
  let isPurposeCritical = false;
  for (const { extnID, critical, extnValue } of extensions) {
    if (found.has(extnID)) throw new Malformed('a certificate with an extension twice');
    found.set(extnID, extnValue.valueBlock.valueHexView);
    isUnderstood &&= !critical || UNDERSTOOD.includes(extnID);
    isPurposeCritical ||= critical && extnID === EXTENSION.extendedKeyUsage;
  }
  const read = (id, reader) => (found.has(id) ? reader(found.get(id)) : null);
  const basic = read(EXTENSION.basicConstraints, basicConstraints);
  return {
    isUnderstood,
    isPurposeCritical,
    isCa: basic?.isCa ?? false,
    pathLength: basic?.pathLength ?? null,
    keyUsage: read(EXTENSION.keyUsage, keyUsage),
    extendedKeyUsage: read(EXTENSION.extendedKeyUsage, keyPurposes),
    subjectKeyId: read(EXTENSION.subjectKeyId, (bytes) => parse(bytes, 0x04).content),
    isNoCheck: found.has(EXTENSION.ocspNoCheck),
    // What paths through it are ruled by; read when one is found.
    ruling: Object.fromEntries(RULING.map((name) => [name, found.get(EXTENSION[name]) ?? null])),
  };
}

function basicConstraints(bytes) {
  const reader = inside(parse(bytes, SEQUENCE));
  const isCa = reader.bool();
  const pathLength = reader.isEmpty ? null : reader.small();
  reader.finish();
  return { isCa, pathLength };
}

function keyUsage(bytes) {
  const { content } = parse(bytes, BIT_STRING);
  const bit = (at) => ((content[1 + (at >> 3)] ?? 0) & (0x80 >> (at & 7))) !== 0;
  return KEY_USAGES.filter((_, at) => bit(at));
}

function keyPurposes(bytes) {
  const reader = inside(parse(bytes, SEQUENCE));
  const purposes = [];
  while (!reader.isEmpty) purposes.push(reader.oid());
  if (purposes.length === 0) throw new Malformed('an empty list of key purposes');
  return purposes;
}

const SHORT = { '2.5.4.3': 'CN', '2.5.4.6': 'C', '2.5.4.7': 'L', '2.5.4.8': 'ST', '2.5.4.10': 'O', '2.5.4.11': 'OU', '2.5.4.5': 'SERIALNUMBER', '0.9.2342.19200300.100.1.1': 'UID' };

/** The name as text, most specific part first. For people; decisions compare `subjectKey` and `issuerKey`. */
const nameText = (name) => [...name.typesAndValues].reverse().map(({ type, value }) => `${SHORT[type] ?? type}=${value.valueBlock.value ?? ''}`).join(', ');

/** Whether the certificate's signature holds under the issuer's key; `scheme` is null where it may not be relied on. */
export const schemeOf = (certificate) => certificateScheme(certificate.signatureAlgorithm);

/** All certificates of a PEM file, or the one of a DER file; other blocks of a PEM file are passed over. */
export function readCertificates(bytes) {
  if (bytes.length > PEM_BYTES_MAX) throw new Malformed(`a file of certificates has at most ${PEM_BYTES_MAX} bytes`);
  if (bytes[0] === SEQUENCE) return [readCertificate(bytes)];
  const blocks = pemBlocks(bytes, 'CERTIFICATE');
  if (blocks.length > PEM_CERTIFICATES_MAX) throw new Malformed(`a file holds at most ${PEM_CERTIFICATES_MAX} certificates`);
  return blocks.map(readCertificate);
}

/** The blocks of this label in a PEM file (RFC 7468). */
export function pemBlocks(bytes, label) {
  const text = textOf(bytes) ?? '';
  const blocks = [];
  for (const found of text.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----\s([^-]*)-----END \1-----/g)) {
    if (found[1] !== label) continue;
    const der = fromBase64(found[2].replace(/\s/g, ''));
    if (der === null) throw new Malformed('not a well-formed PEM file');
    blocks.push(der);
  }
  return blocks;
}
