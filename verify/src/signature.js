// Signatures, by the browser's WebCrypto. The lists are closed: whatever is not here is refused.

import { ed25519 } from '@noble/curves/ed25519.js';
import { sha512 } from '@noble/hashes/sha2.js';
import { BIT_STRING, INTEGER, Malformed, OID, SEQUENCE, algorithm, bitString, inside, oidOf, parse, significant, tlv } from './der.js';
import { concat, equal } from './bytes.js';

export const OIDS = {
  rsa: '1.2.840.113549.1.1.1',
  mgf1: '1.2.840.113549.1.1.8',
  pss: '1.2.840.113549.1.1.10',
  rsaSha256: '1.2.840.113549.1.1.11',
  rsaSha384: '1.2.840.113549.1.1.12',
  rsaSha512: '1.2.840.113549.1.1.13',
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  ecdsaSha384: '1.2.840.10045.4.3.3',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
};

// Of SHA-2, with the length of their values.
const HASHES = { 'SHA-256': { oid: OIDS.sha256, bytes: 32 }, 'SHA-384': { oid: OIDS.sha384, bytes: 48 }, 'SHA-512': { oid: OIDS.sha512, bytes: 64 } };

const PKCS1 = 'RSASSA-PKCS1-v1_5';
const PSS = 'RSA-PSS';
const ECDSA = 'ECDSA';
const CURVES = { p256: { name: 'P-256', bytes: 32 }, p384: { name: 'P-384', bytes: 48 } };
const RSA_ALGORITHM = tlv(SEQUENCE, tlv(OID, new Uint8Array([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01])), new Uint8Array([5, 0]));

const subtle = () => globalThis.crypto?.subtle;

/** Whether this browser can verify anything: pages that came over plain HTTP from another machine have no WebCrypto. */
export const hasCrypto = () => subtle() !== undefined;

/** Reads a SubjectPublicKeyInfo: `{kind: 'rsa' | 'p256' | 'p384', raw}`; throws `Malformed` for other and for weak keys. */
export function publicKey(spki) {
  const reader = inside(parse(spki, SEQUENCE));
  const about = algorithm(reader.any());
  const raw = bitString(reader.expect(BIT_STRING));
  reader.finish();
  if (about.oid === OIDS.rsa && about.plain) return rsaKey(raw);
  const curve = about.oid === OIDS.ecPublicKey && about.parameters?.tag === OID ? oidOf(about.parameters) : '';
  const kind = curve === OIDS.p256 ? 'p256' : curve === OIDS.p384 ? 'p384' : null;
  if (kind === null || raw.length !== 1 + 2 * CURVES[kind].bytes || raw[0] !== 4) throw new Malformed('a kind of key that is not accepted');
  return { kind, raw };
}

function rsaKey(raw) {
  const reader = inside(parse(raw, SEQUENCE));
  const modulus = significant(reader.expect(INTEGER).content);
  reader.expect(INTEGER);
  reader.finish();
  const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < 2048 || bits > 8192) throw new Malformed('an RSA key of less than 2048 or more than 8192 bits');
  return { kind: 'rsa', raw };
}

/** The hash of SHA-2 that an AlgorithmIdentifier names; null where it names another. */
export const hashName = (about) => Object.keys(HASHES).find((hash) => HASHES[hash].oid === about.oid && about.plain) ?? null;

/** The length of a hash's values; SHA-1 names certificates in old structures, and no signature rests on it. */
export const hashBytes = (hash) => HASHES[hash]?.bytes ?? 20;

export const hashOf = async (hash, bytes) => new Uint8Array(await subtle().digest(hash, bytes));

/** How a signature is made: `{name, hash}` and which keys fit. */
const scheme = (name, hash, ...kinds) => ({ name, hash, kinds });

/** RSASSA-PSS-params (RFC 4055 3.1) for this hash, MGF1 with the same, a salt as long and trailer 1. */
function isPssOf(parameters, hash) {
  if (parameters?.tag !== SEQUENCE) return false;
  const reader = inside(parameters);
  const explicit = (n) => parse(reader.expect(0xa0 | n).content, SEQUENCE);
  const message = algorithm(explicit(0));
  const mask = algorithm(explicit(1));
  const salt = parse(reader.expect(0xa2).content, INTEGER).content;
  const trailer = reader.optional(0xa3);
  reader.finish();
  const maskHash = mask.parameters?.tag === SEQUENCE ? algorithm(mask.parameters) : null;
  const isIt = (about) => about !== null && hashName(about) === hash;
  const defaultTrailer = trailer === null || numberOf(parse(trailer.content, INTEGER).content) === 1;
  return isIt(message) && mask.oid === OIDS.mgf1 && isIt(maskHash) && numberOf(salt) === hashBytes(hash) && defaultTrailer;
}

const numberOf = (content) => (content.length === 1 ? content[0] : -1);

const OF_HASH = {
  'SHA-256': { rsa: OIDS.rsaSha256, ecdsa: OIDS.ecdsaSha256, curve: 'p256' },
  'SHA-384': { rsa: OIDS.rsaSha384, ecdsa: OIDS.ecdsaSha384, curve: 'p384' },
  'SHA-512': { rsa: OIDS.rsaSha512 },
};

/** Of a CMS with this digest algorithm: also the bare rsaEncryption, which it completes (RFC 3370 3.2). Null where it is not accepted. */
export function cmsScheme(about, hash) {
  const { rsa, ecdsa, curve } = OF_HASH[hash];
  if ((about.oid === rsa || about.oid === OIDS.rsa) && about.plain) return scheme(PKCS1, hash, 'rsa');
  if (about.oid === ecdsa && about.plain) return scheme(ECDSA, hash, curve);
  return about.oid === OIDS.pss && isPssOf(about.parameters, hash) ? scheme(PSS, hash, 'rsa') : null;
}

/** Of a certificate: SHA-1 is not among them, and parameters are as RFC 4055 and RFC 5758 write them. */
export function certificateScheme(about) {
  const isNull = about.parameters !== null && about.plain;
  if (about.oid === OIDS.rsaSha256 && isNull) return scheme(PKCS1, 'SHA-256', 'rsa');
  if (about.oid === OIDS.rsaSha384 && isNull) return scheme(PKCS1, 'SHA-384', 'rsa');
  if (about.oid === OIDS.rsaSha512 && isNull) return scheme(PKCS1, 'SHA-512', 'rsa');
  if (about.oid === OIDS.ecdsaSha256 && about.parameters === null) return scheme(ECDSA, 'SHA-256', 'p256', 'p384');
  if (about.oid === OIDS.ecdsaSha384 && about.parameters === null) return scheme(ECDSA, 'SHA-384', 'p256', 'p384');
  return about.oid === OIDS.pss && isPssOf(about.parameters, 'SHA-256') ? scheme(PSS, 'SHA-256', 'rsa') : null;
}

/** Of a revocation list. */
export function listScheme(about) {
  const known = {
    [OIDS.rsaSha256]: scheme(PKCS1, 'SHA-256', 'rsa'),
    [OIDS.rsaSha384]: scheme(PKCS1, 'SHA-384', 'rsa'),
    [OIDS.rsaSha512]: scheme(PKCS1, 'SHA-512', 'rsa'),
    [OIDS.ecdsaSha256]: scheme(ECDSA, 'SHA-256', 'p256'),
    [OIDS.ecdsaSha384]: scheme(ECDSA, 'SHA-384', 'p384'),
  };
  return about.plain ? (known[about.oid] ?? null) : null;
}

/** Whether `signature` over `message` holds under `key`. */
export async function holds(key, made, message, signature) {
  if (!made.kinds.includes(key.kind)) return false;
  try {
    const [imported, value] = key.kind === 'rsa' ? [await importRsa(key, made), signature] : [await importPoint(key), rawEcdsa(signature, CURVES[key.kind].bytes)];
    const parameters = { name: made.name, hash: made.hash, ...(made.name === PSS && { saltLength: hashBytes(made.hash) }) };
    return await subtle().verify(parameters, imported, value, message);
  } catch (error) {
    // A key or a signature that is none: the platform's DataError, our own Malformed.
    if (error instanceof Malformed || error instanceof DOMException) return false;
    throw error;
  }
}

const importRsa = (key, made) =>
  subtle().importKey(
    'spki',
    tlv(SEQUENCE, RSA_ALGORITHM, tlv(BIT_STRING, new Uint8Array([0]), key.raw)),
    { name: made.name, hash: made.hash },
    false,
    ['verify'],
  );

const importPoint = (key) => subtle().importKey('raw', key.raw, { name: ECDSA, namedCurve: CURVES[key.kind].name }, false, ['verify']);

// X.509 and CMS write an ECDSA signature as two INTEGERs (RFC 3279 2.2.3), WebCrypto as two numbers of fixed length.
function rawEcdsa(der, length) {
  const reader = inside(parse(der, SEQUENCE));
  const numbers = [reader.expect(INTEGER).content, reader.expect(INTEGER).content].map((content) => fixed(content, length));
  reader.finish();
  return concat(...numbers);
}

function fixed(content, length) {
  const digits = significant(content);
  const isMinimal = content.length === digits.length || (digits[0] ?? 0) >= 0x80;
  if (content.length === 0 || content[0] >= 0x80 || !isMinimal || digits.length > length) throw new Malformed('no ECDSA signature');
  return concat(new Uint8Array(length - digits.length), digits);
}

/**
 * Whether an Ed25519 signature holds. Browsers before Chrome 137, Firefox 129 and Safari 17 do not know Ed25519: there, and with `byLibrary`, a library does it.
 */
export async function ed25519Holds(key, message, signature, byLibrary = false) {
  if (signature.length !== 64) return false;
  const imported = byLibrary ? null : await importEd25519(key);
  if (imported === null) return libraryHolds(key, message, signature);
  return imported !== undefined && subtle().verify({ name: 'Ed25519' }, imported, signature, message);
}

// Null where the browser does not know the algorithm, undefined where the key is none.
async function importEd25519(key) {
  try {
    return await subtle().importKey('raw', key, { name: 'Ed25519' }, false, ['verify']);
  } catch (error) {
    return error.name === 'NotSupportedError' ? null : undefined;
  }
}

// RFC 8032 5.1.7 without the cofactor, as the browsers and `truc` do it: encode(S·B − k·A) is R. The library's own `verify` has the cofactor.
function libraryHolds(key, message, signature) {
  const { Point } = ed25519;
  const r = signature.subarray(0, 32);
  const s = littleEndian(signature.subarray(32));
  if (s >= Point.Fn.ORDER) return false;
  const k = littleEndian(sha512(concat(r, key, message))) % Point.Fn.ORDER;
  try {
    const found = Point.BASE.multiplyUnsafe(s).subtract(Point.fromBytes(key).multiplyUnsafe(k));
    return equal(found.toBytes(), r);
  } catch {
    return false; // the key is no point
  }
}

const littleEndian = (bytes) => bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
