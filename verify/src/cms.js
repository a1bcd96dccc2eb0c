// CMS signatures (CAdES-B-B and -B-T, ETSI EN 319 122-1): does one hold over these bytes, and who made it?

import { Malformed, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Reader, algorithm, context, contextPrimitive, elements, inside, normalise, oidOf, parse, tlv } from './der.js';
import { compare, equal } from './bytes.js';
import { cmsScheme, hashBytes, hashName, hashOf, holds } from './signature.js';
import { readableCertificate } from './x509.js';
import { CMS_ATTRIBUTES_MAX, CMS_BYTES_MAX, CMS_CERTIFICATES_MAX } from './limits.js';

const SIGNED_DATA = '1.2.840.113549.1.7.2';
const DATA = '1.2.840.113549.1.7.1';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_TIME = '1.2.840.113549.1.9.5';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.12';
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';
const TIME_STAMP_TOKEN = '1.2.840.113549.1.9.16.2.14';
const TST_INFO = '1.2.840.113549.1.9.16.1.4';

// All that is written on the axis; and what time-stamping authorities write, which are not ours to change: any of SHA-2, and the certificate named as it was
// done before SHA-2.
const DOCUMENT = { contentType: DATA, isWide: false };
const TIME_STAMP = { contentType: TST_INFO, isWide: true };

/**
 * Verifies a detached signature over `content`; the signer is looked for in it and among `supplied`. `{certificate, others, signingTime, signature, tokens}`,
 * or `{refused}`. Says nothing about whether the certificate may be believed. `tokens`: the time-stamps it carries, not verified.
 */
export const verifyDetached = (cms, content, supplied) =>
  reading(cms, async (data) => {
    if (data.attached !== null) throw new Malformed('it carries its content, a detached signature is expected');
    const signed = await verify(data, DOCUMENT, content, supplied);
    return signed.refused === undefined ? { ...signed, signature: data.signer.signature, tokens: readTokens(data.signer.unsigned) } : signed;
  });

/** Verifies the signature of a time-stamp token over the TSTInfo inside: `{certificate, others, info}`, or `{refused}`. */
export const verifyToken = (token) =>
  reading(token, async (data) => {
    if (data.attached === null) throw new Malformed('it does not carry its content');
    const info = parse(data.attached.content, OCTET_STRING).content;
    return { ...(await verify(data, TIME_STAMP, info, [])), info };
  });

async function reading(cms, use) {
  try {
    if (cms.length > CMS_BYTES_MAX) return { refused: 'the CMS is too large' };
    return await use(readSignedData(normalise(cms)));
  } catch (error) {
    if (error instanceof Malformed) return { refused: `not a well-formed CMS signature: ${error.message}` };
    throw error;
  }
}

function readSignedData(der) {
  const info = inside(parse(der, SEQUENCE));
  if (info.oid() !== SIGNED_DATA) throw new Malformed('no SignedData');
  const explicit = info.expect(context(0));
  info.finish();
  const data = inside(parse(explicit.content, SEQUENCE));
  const version = data.small();
  if (version < 1 || version > 5) throw new Malformed('another version of SignedData');
  data.expect(SET); // digestAlgorithms: a hint for one-pass readers; the SignerInfo says it again
  const encapsulated = data.sequence();
  const contentType = encapsulated.expect(OID);
  const attached = encapsulated.optional(context(0));
  encapsulated.finish();
  const certificates = elements(data.optional(context(0)), CMS_CERTIFICATES_MAX);
  data.optional(context(1)); // revocation lists inside are passed over: only those that were given count
  const signers = elements(data.expect(SET), 2);
  data.finish();
  if (signers.length !== 1) throw new Malformed('it does not carry exactly one signature');
  return { contentType, attached, certificates, signer: readSigner(signers[0]) };
}

function readSigner(element) {
  const reader = inside(element, SEQUENCE);
  const version = reader.small();
  const identifier = reader.any();
  // RFC 5652 5.3: version 1 goes with issuerAndSerialNumber, 3 with subjectKeyIdentifier.
  if (!(version === 1 && identifier.tag === SEQUENCE) && !(version === 3 && identifier.tag === contextPrimitive(0))) throw new Malformed('the signer is not named');
  const digestAlgorithm = algorithm(reader.any());
  const attributes = reader.expect(context(0));
  const signatureAlgorithm = algorithm(reader.any());
  const signature = reader.expect(OCTET_STRING).content;
  const unsigned = reader.optional(context(1));
  reader.finish();
  return { identifier, digestAlgorithm, attributes, signatureAlgorithm, signature, unsigned };
}

async function verify({ contentType, certificates, signer }, { contentType: wanted, isWide }, content, supplied) {
  const hash = hashName(signer.digestAlgorithm);
  const scheme = hash === null || (!isWide && hash !== 'SHA-256') ? null : cmsScheme(signer.signatureAlgorithm, hash);
  if (scheme === null) return { refused: 'it uses an algorithm that is not accepted' };
  const attributes = readAttributes(signer.attributes, hash, isWide);
  const { certificate, others } = await findSigner(certificates, signer, supplied, attributes.certificateName);
  if (certificate === null) return { refused: "the signer's certificate is not in the CMS" };
  const isWanted = oidOf(contentType) === wanted && equal(attributes.contentType.whole, contentType.whole);
  if (!isWanted) return { refused: 'the signed attribute content-type is not that of the content' };
  if (!equal(attributes.messageDigest, await hashOf(hash, content))) return { refused: 'the content is not what was signed' };
  if (!(await isNameOf(attributes.certificateName, certificate))) return { refused: `it was made under another certificate than that of ${certificate.name}` };
  // RFC 5652 5.4: signed is the SET OF, so the received bytes change their first byte and nothing else.
  const signed = tlv(SET, signer.attributes.content);
  if (!(await holds(certificate.publicKey, scheme, signed, signer.signature))) return { refused: `it does not hold under the certificate of ${certificate.name}` };
  return { certificate, others, signingTime: attributes.signingTime };
}

const isNameOf = async ({ hash, value }, certificate) => equal(value, await hashOf(hash, certificate.der));

// Certificates inside are hints, and nobody signed them: what cannot be read is passed over, and of several under the signer's name the one counts that the
// signed attributes name by its hash; another is taken only to say that it is another.
async function findSigner(certificates, signer, supplied, name) {
  const inside = certificates.map(({ whole }) => readableCertificate(whole)).filter((read) => read !== null);
  const named = [...inside, ...supplied].filter((one) => isSigner(signer, one));
  const fits = await Promise.all(named.map((one) => isNameOf(name, one)));
  const certificate = named.find((_, at) => fits[at]) ?? named[0] ?? null;
  return { certificate, others: inside.filter((one) => one.sha256 !== certificate?.sha256) };
}

function isSigner({ identifier }, certificate) {
  if (identifier.tag === contextPrimitive(0)) return certificate.subjectKeyId !== null && equal(certificate.subjectKeyId, identifier.content);
  return equal(identifier.whole, tlv(SEQUENCE, certificate.issuer, tlv(INTEGER, certificate.serial)));
}

function readAttributes(set, hash, isWide) {
  const all = elements(set, CMS_ATTRIBUTES_MAX);
  // X.690 11.6: DER sorts a SET OF; another order would make two readings of one signature.
  if (all.some((attribute, at) => at > 0 && compare(all[at - 1].whole, attribute.whole) > 0)) throw new Malformed('the signed attributes are not in order');
  const readers = new Map([
    [CONTENT_TYPE, (value) => value],
    [MESSAGE_DIGEST, (value) => valueOf(hash, value)],
    [SIGNING_CERTIFICATE_V2, (value) => firstCertificate(value, isWide)],
    [SIGNING_TIME, timeOf],
    ...(isWide ? [[SIGNING_CERTIFICATE, firstOldCertificate]] : []),
  ]);
  const found = new Map();
  for (const attribute of all) {
    const { id, values } = typeAndValues(attribute);
    const value = values.any();
    values.finish();
    if (!readers.has(id)) continue;
    if (found.has(id)) throw new Malformed('a signed attribute stands twice');
    found.set(id, readers.get(id)(value));
  }
  const certificateName = found.get(SIGNING_CERTIFICATE_V2) ?? found.get(SIGNING_CERTIFICATE);
  if (!found.has(CONTENT_TYPE) || !found.has(MESSAGE_DIGEST) || certificateName === undefined) throw new Malformed('a signed attribute is missing; the signature is not CAdES-B');
  return { contentType: found.get(CONTENT_TYPE), messageDigest: found.get(MESSAGE_DIGEST), certificateName, signingTime: found.get(SIGNING_TIME) ?? null };
}

function typeAndValues(attribute) {
  const reader = inside(attribute, SEQUENCE);
  const id = reader.oid();
  const values = inside(reader.expect(SET));
  reader.finish();
  return { id, values };
}

/** A value of this hash in an OCTET STRING. */
function valueOf(hash, { tag, content }) {
  if (tag !== OCTET_STRING || content.length !== hashBytes(hash)) throw new Malformed(`a hash that is no ${hash}`);
  return content;
}

// The first ESSCertIDv2, the one of the signer (RFC 5035 3); SHA-256 by default or by name, or another of SHA-2 where any will do.
function firstCertificate(value, isAny) {
  const first = inside(value, SEQUENCE).sequence().sequence();
  const named = first.optional(SEQUENCE);
  const hash = named === null ? 'SHA-256' : hashName(algorithm(named));
  if (hash === null || (!isAny && hash !== 'SHA-256')) throw new Malformed('signing-certificate-v2 with a hash that is not accepted');
  return { hash, value: valueOf(hash, first.expect(OCTET_STRING)) };
}

// The first ESSCertID (RFC 2634 5.4.1): SHA-1, which names the certificate and protects nothing; the signature does.
const firstOldCertificate = (value) => ({ hash: 'SHA-1', value: valueOf('SHA-1', inside(value, SEQUENCE).sequence().sequence().expect(OCTET_STRING)) });

const timeOf = (value) => new Reader(value.whole).time();

// Nobody signed the unsigned attributes; they must only be well-formed and few.
function readTokens(set) {
  const tokens = [];
  for (const attribute of elements(set, CMS_ATTRIBUTES_MAX)) {
    const { id, values } = typeAndValues(attribute);
    while (id === TIME_STAMP_TOKEN && !values.isEmpty) {
      if (tokens.length === CMS_ATTRIBUTES_MAX) throw new Malformed('too many time-stamps');
      tokens.push(values.any().whole);
    }
  }
  return tokens;
}
