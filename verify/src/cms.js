// Detached CMS signatures (CAdES-B-B, ETSI EN 319 122-1): does one hold over these bytes, and who made it?

import { Malformed, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Reader, algorithm, context, contextPrimitive, elements, inside, normalise, oidOf, parse, tlv } from './der.js';
import { compare, equal, hex, sha256 } from './bytes.js';
import { OIDS, cmsScheme, holds } from './signature.js';
import { readableCertificate } from './x509.js';
import { CMS_ATTRIBUTES_MAX, CMS_BYTES_MAX, CMS_CERTIFICATES_MAX } from './limits.js';

const SIGNED_DATA = '1.2.840.113549.1.7.2';
const DATA = '1.2.840.113549.1.7.1';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_TIME = '1.2.840.113549.1.9.5';
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';
const TIME_STAMP_TOKEN = '1.2.840.113549.1.9.16.2.14';

/**
 * Verifies a detached signature over `content`; the signer is looked for in it and among `supplied`. `{certificate, others, signingTime}`, or `{refused}`.
 * Says nothing about whether the certificate may be believed.
 */
export async function verifyDetached(cms, content, supplied) {
  try {
    if (cms.length > CMS_BYTES_MAX) return { refused: 'the CMS is too large' };
    return await verify(readSignedData(normalise(cms)), content, supplied);
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
  if (attached !== null) throw new Malformed('it carries its content, a detached signature is expected');
  const certificates = elements(data.optional(context(0)), CMS_CERTIFICATES_MAX);
  data.optional(context(1)); // revocation lists inside are passed over: only those that were given count
  const signers = elements(data.expect(SET), 2);
  data.finish();
  if (signers.length !== 1) throw new Malformed('it does not carry exactly one signature');
  return { contentType, certificates, signer: readSigner(signers[0]) };
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

async function verify({ contentType, certificates, signer }, content, supplied) {
  const isSha256 = signer.digestAlgorithm.oid === OIDS.sha256 && signer.digestAlgorithm.plain;
  const scheme = isSha256 ? cmsScheme(signer.signatureAlgorithm) : null;
  if (scheme === null) return { refused: 'it uses an algorithm that is not accepted' };
  const attributes = readAttributes(signer.attributes);
  const { certificate, others } = findSigner(certificates, signer, supplied, hex(attributes.certificateHash));
  if (certificate === null) return { refused: "the signer's certificate is not in the CMS" };
  const isData = oidOf(contentType) === DATA && equal(attributes.contentType.whole, contentType.whole);
  if (!isData) return { refused: 'the signed attribute content-type is not that of the content' };
  if (!equal(attributes.messageDigest, sha256(content))) return { refused: 'the content is not what was signed' };
  if (hex(attributes.certificateHash) !== certificate.sha256) return { refused: `it was made under another certificate than that of ${certificate.name}` };
  checkUnsigned(signer.unsigned);
  // RFC 5652 5.4: signed is the SET OF, so the received bytes change their first byte and nothing else.
  const signed = tlv(SET, signer.attributes.content);
  if (!(await holds(certificate.publicKey, scheme, signed, signer.signature))) return { refused: `it does not hold under the certificate of ${certificate.name}` };
  return { certificate, others, signingTime: attributes.signingTime };
}

// Certificates inside are hints, and nobody signed them: what cannot be read is passed over, and of several under the signer's name the one counts that the
// signed attributes name by its hash; another is taken only to say that it is another.
function findSigner(certificates, signer, supplied, hash) {
  const inside = certificates.map(({ whole }) => readableCertificate(whole)).filter((read) => read !== null);
  const named = [...inside, ...supplied].filter((one) => isSigner(signer, one));
  const certificate = named.find((one) => one.sha256 === hash) ?? named[0] ?? null;
  return { certificate, others: inside.filter((one) => one.sha256 !== certificate?.sha256) };
}

function isSigner({ identifier }, certificate) {
  if (identifier.tag === contextPrimitive(0)) return certificate.subjectKeyId !== null && equal(certificate.subjectKeyId, identifier.content);
  return equal(identifier.whole, tlv(SEQUENCE, certificate.issuer, tlv(INTEGER, certificate.serial)));
}

function readAttributes(set) {
  const all = elements(set, CMS_ATTRIBUTES_MAX);
  // X.690 11.6: DER sorts a SET OF; another order would make two readings of one signature.
  if (all.some((attribute, at) => at > 0 && compare(all[at - 1].whole, attribute.whole) > 0)) throw new Malformed('the signed attributes are not in order');
  const found = new Map();
  for (const attribute of all) {
    const { id, values } = typeAndValues(attribute);
    const value = values.any();
    values.finish();
    if (!WANTED.has(id)) continue;
    if (found.has(id)) throw new Malformed('a signed attribute stands twice');
    found.set(id, WANTED.get(id)(value));
  }
  for (const id of [CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2]) {
    if (!found.has(id)) throw new Malformed('a signed attribute is missing; the signature is not CAdES-B');
  }
  return {
    contentType: found.get(CONTENT_TYPE),
    messageDigest: found.get(MESSAGE_DIGEST),
    certificateHash: found.get(SIGNING_CERTIFICATE_V2),
    signingTime: found.get(SIGNING_TIME) ?? null,
  };
}

function typeAndValues(attribute) {
  const reader = inside(attribute, SEQUENCE);
  const id = reader.oid();
  const values = inside(reader.expect(SET));
  reader.finish();
  return { id, values };
}

function hashOf({ tag, content }) {
  if (tag !== OCTET_STRING || content.length !== 32) throw new Malformed('a hash that is no SHA-256');
  return content;
}

// The hash in the first ESSCertIDv2, the one of the signer (RFC 5035 3); SHA-256, by default or by name.
function firstCertificateHash(value) {
  const first = inside(value, SEQUENCE).sequence().sequence();
  const named = first.optional(SEQUENCE);
  const about = named === null ? null : algorithm(named);
  if (about !== null && !(about.oid === OIDS.sha256 && about.plain)) throw new Malformed('signing-certificate-v2 with another hash than SHA-256');
  return hashOf(first.expect(OCTET_STRING));
}

const timeOf = (value) => new Reader(value.whole).time();

const WANTED = new Map([
  [CONTENT_TYPE, (value) => value],
  [MESSAGE_DIGEST, hashOf],
  [SIGNING_CERTIFICATE_V2, firstCertificateHash],
  [SIGNING_TIME, timeOf],
]);

// Nobody signed these; they must only be well-formed and few.
function checkUnsigned(set) {
  let tokens = 0;
  for (const attribute of elements(set, CMS_ATTRIBUTES_MAX)) {
    const { id, values } = typeAndValues(attribute);
    while (id === TIME_STAMP_TOKEN && !values.isEmpty) {
      values.any();
      tokens += 1;
      if (tokens > CMS_ATTRIBUTES_MAX) throw new Malformed('too many time-stamps');
    }
  }
}
