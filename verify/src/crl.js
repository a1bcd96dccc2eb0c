// Certificate revocation lists (RFC 5280 5), whole ones only: a delta or partitioned list taken for a whole one would call revoked certificates good.

import { BIT_STRING, ENUMERATED, INTEGER, Malformed, SEQUENCE, algorithm, bitString, context, extensionIn, inside, parse } from './der.js';
import { equal, hex } from './bytes.js';
import { comparable } from './name.js';
import { holds, listScheme } from './signature.js';
import { pemBlocks } from './x509.js';
import { CRL_BYTES_MAX, CRL_ENTRIES_MAX } from './limits.js';

const REASON = '2.5.29.21';
const INVALIDITY_DATE = '2.5.29.24';
const NUMBER = '2.5.29.20';
const DELTA_INDICATOR = '2.5.29.27';
const ISSUING_DISTRIBUTION_POINT = '2.5.29.28';
const AUTHORITY_KEY_ID = '2.5.29.35';
export const HOLD = 6;
// RFC 5280 5.3.1; 7 is unused, 8 (removeFromCRL) stands in delta lists only.
const REASONS = [0, 1, 2, 3, 4, 5, HOLD, 9, 10];

/** The lists of a file, PEM or DER. */
export function readLists(bytes) {
  if (bytes.length > CRL_BYTES_MAX) throw new Malformed(`a revocation list has at most ${CRL_BYTES_MAX} bytes`);
  return (bytes[0] === SEQUENCE ? [bytes] : pemBlocks(bytes, 'X509 CRL')).map(readList);
}

function readList(der) {
  const outer = inside(parse(der, SEQUENCE));
  const signed = outer.expect(SEQUENCE);
  const outerAlgorithm = outer.expect(SEQUENCE);
  const signature = bitString(outer.expect(BIT_STRING));
  outer.finish();
  const scheme = listScheme(algorithm(outerAlgorithm));
  if (scheme === null) throw new Malformed('a revocation list signed with an algorithm that is not accepted');
  const fields = inside(signed);
  if (fields.small() !== 1 || !equal(fields.expect(SEQUENCE).whole, outerAlgorithm.whole)) throw new Malformed('not a revocation list of version 2');
  const issuerKey = comparable(fields.expect(SEQUENCE).whole);
  const thisUpdate = fields.time();
  const nextUpdate = fields.isTime() ? fields.time() : null;
  const revoked = fields.optional(SEQUENCE);
  const entries = revoked === null ? new Map() : readEntries(inside(revoked));
  const extensions = fields.optional(context(0));
  if (extensions !== null) eachExtension(inside(parse(extensions.content, SEQUENCE)), checkListExtension);
  fields.finish();
  return { tbs: signed.whole, scheme, signature, issuerKey, thisUpdate, nextUpdate, entries };
}

function readEntries(reader) {
  const entries = new Map();
  for (let count = 0; !reader.isEmpty; count += 1) {
    if (count === CRL_ENTRIES_MAX) throw new Malformed(`a revocation list has at most ${CRL_ENTRIES_MAX} entries`);
    const fields = reader.sequence();
    const serial = serialOf(fields.expect(INTEGER).content);
    const at = fields.time();
    const reason = reasonOf(fields.optional(SEQUENCE));
    fields.finish();
    // The earliest revocation of a serial number stands, should a list name it twice.
    const known = entries.get(serial);
    if (known === undefined || at < known.at) entries.set(serial, { at, reason });
  }
  return entries;
}

// Without zeros that DER would not write; the sign stays: -1 is not 255.
export function serialOf(content) {
  let start = 0;
  while (start + 1 < content.length && content[start] === 0 && content[start + 1] < 0x80) start += 1;
  return hex(content.subarray(start));
}

function reasonOf(extensions) {
  let reason = 0;
  if (extensions === null) return reason;
  eachExtension(inside(extensions), (id, critical, value) => {
    if (id === REASON) {
      reason = readReason(value);
    } else {
      // certificateIssuer (indirect lists) is critical and ends here.
      mustBePassable(id, critical, [INVALIDITY_DATE]);
    }
  });
  return reason;
}

/** A CRLReason (RFC 5280 5.3.1) as its number. */
export function readReason(der) {
  const { content } = parse(der, ENUMERATED);
  if (content.length !== 1 || !REASONS.includes(content[0])) throw new Malformed('a reason of revocation that is none');
  return content[0];
}

function checkListExtension(id, critical) {
  if (id === DELTA_INDICATOR || id === ISSUING_DISTRIBUTION_POINT) throw new Malformed('not a whole revocation list; load the complete list of the issuer');
  mustBePassable(id, critical, [NUMBER, AUTHORITY_KEY_ID]);
}

function mustBePassable(id, critical, known) {
  if (critical && !known.includes(id)) throw new Malformed('a revocation list with a critical extension that is not known');
}

function eachExtension(reader, check) {
  const seen = new Set();
  while (!reader.isEmpty) {
    const { id, critical, value } = extensionIn(reader);
    if (seen.has(id)) throw new Malformed('an extension twice');
    seen.add(id);
    check(id, critical, value);
  }
}

/** What the lists say of `certificate`, issued by `issuer`: `{revoked: since}`, `{unknown: why, isListMissing}` or `{}` where it is not listed. */
export async function byLists(lists, certificate, issuer, at) {
  const named = lists.filter((list) => list.issuerKey === issuer.subjectKey);
  const own = (await Promise.all(named.map((list) => isSigned(list, issuer)))).flatMap((signed, place) => (signed ? [named[place]] : []));
  own.sort((a, b) => a.thisUpdate - b.thisUpdate);
  const newest = own.at(-1);
  if (newest === undefined) return { unknown: `${named.length > 0 ? 'a revocation list not signed by' : 'no revocation list of'} ${issuer.name}`, isListMissing: named.length === 0 };
  const serial = serialOf(certificate.serial);
  // The newest list decides about suspensions, which may be lifted; a revocation stands once any list names it, even a stale one.
  const older = own.slice(0, -1).reverse().map((list) => list.entries.get(serial));
  const entry = newest.entries.get(serial) ?? older.find((found) => found !== undefined && found.reason !== HOLD);
  if (entry !== undefined) return { revoked: entry.at };
  if (newest.nextUpdate === null || at > newest.nextUpdate) return { unknown: `the revocation list of ${issuer.name} was due to be replaced`, isListMissing: false };
  return {};
}

// An authority without the cRLSign bit does not sign lists (RFC 5280 4.2.1.3).
const isSigned = async (list, issuer) => (issuer.keyUsage?.includes('cRLSign') ?? true) && holds(issuer.publicKey, list.scheme, list.tbs, list.signature);
