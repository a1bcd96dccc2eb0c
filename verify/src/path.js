// Certificate paths: may this certificate be believed for this use at this time, and what is known of its revocation? (RFC 5280 6.1)

import { equal } from './bytes.js';
import { revocation } from './ocsp.js';
import { rulesFault } from './rules.js';
import { useFault } from './usage.js';
import { holds } from './signature.js';
import { schemeOf } from './x509.js';
import { PATH_AUTHORITIES_MAX, PATH_SIGNATURES_MAX, SKEW_MS, TRUST_ITEMS_MAX } from './limits.js';

const mayIssue = (certificate) => certificate.isCa && (certificate.keyUsage?.includes('keyCertSign') ?? true);

/** What is trusted: self-issued certificates are anchors, the others intermediates. `{refused}` where that cannot be. */
export function trustStore(certificates, lists, answers) {
  const anchors = certificates.filter((certificate) => certificate.isSelfIssued);
  const intermediates = certificates.filter((certificate) => !certificate.isSelfIssued);
  if (anchors.length === 0) return { refused: 'no-anchor' };
  if (!anchors.every(mayIssue)) return { refused: 'no-authority' };
  if ([anchors, intermediates, lists, answers].some((items) => items.length > TRUST_ITEMS_MAX)) return { refused: 'too-many' };
  return { anchors, intermediates, lists, answers, last: Infinity };
}

/** The same, judged at `now`: OCSP answers that come from after it do not count. */
export const trustAsOf = (trust, now) => ({ ...trust, store: { ...trust.store, last: now + SKEW_MS } });

/**
 * Decides on `certificate` for a use at a time, with `others` that came along as further intermediates:
 * `{refused: why, misused}`, where the last says that it is not for this use; or `{revoked, unknown, isListMissing}`: since when it is revoked and why that cannot be told, of which one or both are null;
 * the last says whether it cannot be told because there is neither list nor answer.
 */
export async function validate(store, certificate, others, use, at) {
  const fault = timeFault(certificate, at);
  if (fault !== null) return { refused: fault };
  const misuse = useFault(certificate, use);
  if (misuse !== null) return { refused: misuse, misused: true };
  const { path, refused } = await pathTo(store, certificate, others, at);
  return refused === undefined ? judge(store, path, at) : { refused };
}

/** The path from the certificate to an anchor, whatever the certificate is for and whoever was revoked: `{path}`, or `{refused}`. */
export async function pathTo(store, certificate, others, at) {
  const candidates = [...store.intermediates, ...others].filter(mayIssue);
  const search = { store, candidates, seconds: Math.floor(at / 1000) * 1000, signaturesLeft: PATH_SIGNATURES_MAX, fault: null };
  const path = await build(search, [certificate]);
  return path === null ? { refused: search.fault ?? `${certificate.name} was issued by ${certificate.issuerName}, from which no path leads to a trusted authority` } : { path };
}

function timeFault(certificate, at) {
  if (at < certificate.notBefore) return `the certificate of ${certificate.name} is not valid yet`;
  return at > certificate.notAfter ? `the certificate of ${certificate.name} has expired` : null;
}

/** The path from the certificate to an anchor that keeps the rules, or null. Depth-first, with a bound on authorities and on signatures looked at. */
async function build(search, path) {
  const head = path.at(-1);
  if (!isSound(head, authoritiesBelow(path), search.seconds)) return null;
  for (const anchor of search.store.anchors) {
    if (head.issuerKey !== anchor.subjectKey || !(await isSignedBy(search, head, anchor))) continue;
    const fault = rulesFault([...path, anchor]);
    if (fault === null) return [...path, anchor];
    search.fault = fault;
  }
  if (path.length > PATH_AUTHORITIES_MAX) return null;
  for (const candidate of search.candidates) {
    if (head.issuerKey !== candidate.subjectKey || path.some((known) => isSame(known, candidate))) continue;
    const found = (await isSignedBy(search, head, candidate)) ? await build(search, [...path, candidate]) : null;
    if (found !== null) return found;
  }
  return null;
}

const isSame = (a, b) => a.subjectKey === b.subjectKey && equal(a.spki, b.spki);

// RFC 5280 6.1.4 (l): authorities that hand over to their own next key do not count. -1 for the certificate at the path's end.
const authoritiesBelow = (path) => (path.length === 1 ? -1 : path.slice(1, -1).filter((one) => one.subjectKey !== one.issuerKey).length);

/** `below`: how many authorities stand between this one and the certificate at the path's end; -1 for that certificate itself. */
function isSound(certificate, below, seconds) {
  const isInTime = certificate.notBefore <= seconds && seconds <= certificate.notAfter;
  const mayStandHere = below < 0 || certificate.pathLength === null || below <= certificate.pathLength;
  return isInTime && certificate.isUnderstood && mayStandHere;
}

async function isSignedBy(search, certificate, issuer) {
  const scheme = schemeOf(certificate);
  if (scheme === null || search.signaturesLeft === 0) return false;
  search.signaturesLeft -= 1;
  return holds(issuer.publicKey, scheme, certificate.tbs, certificate.signature);
}

/** Every certificate of the path but the anchor. Revoked outweighs unknown, unknown outweighs good. */
async function judge(store, path, at) {
  let [unknown, isListMissing] = [null, false];
  for (const [place, certificate] of path.slice(0, -1).entries()) {
    const found = await revocation(store, certificate, path[place + 1], at);
    if (found.revoked !== undefined) return { revoked: found.revoked, unknown: null, isListMissing: false };
    if (unknown === null && found.unknown !== undefined) ({ unknown, isListMissing } = found);
  }
  return { revoked: null, unknown, isListMissing };
}
