// Certificate paths: may this certificate be believed for this use at this time, and what is known of its revocation? (RFC 5280 6.1)

import { equal } from './bytes.js';
import { revocation } from './crl.js';
import { holds } from './signature.js';
import { schemeOf } from './x509.js';
import { PATH_AUTHORITIES_MAX, PATH_SIGNATURES_MAX, TRUST_ITEMS_MAX } from './limits.js';

// Purposes that fit signing, where the extension is there at all: emailProtection, documentSigning (RFC 9336), Microsoft's, any.
const SIGNING_PURPOSES = ['1.3.6.1.5.5.7.3.4', '1.3.6.1.5.5.7.3.36', '1.3.6.1.4.1.311.10.3.12', '2.5.29.37.0'];

/** Which keyUsages will do; one of them must be there. */
const SIGNS = ['digitalSignature', 'nonRepudiation'];
export const USES = { node: ['digitalSignature'], operator: SIGNS, service: SIGNS, timeStamping: SIGNS };
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';

const mayIssue = (certificate) => certificate.isCa && (certificate.keyUsage?.includes('keyCertSign') ?? true);

/** What is trusted: self-issued certificates are anchors, the others intermediates. `{refused}` where that cannot be. */
export function trustStore(certificates, lists) {
  const anchors = certificates.filter((certificate) => certificate.isSelfIssued);
  const intermediates = certificates.filter((certificate) => !certificate.isSelfIssued);
  if (anchors.length === 0) return { refused: 'no-anchor' };
  if (!anchors.every(mayIssue)) return { refused: 'no-authority' };
  if ([anchors, intermediates, lists].some((items) => items.length > TRUST_ITEMS_MAX)) return { refused: 'too-many' };
  return { anchors, intermediates, lists };
}

/**
 * Decides on `certificate` for a use at a time, with `others` that came along as further intermediates:
 * `{refused: why, misused}`, where the last says that it is not for this use; `{untold: why}`; or `{revoked, unknown, isListMissing}`: since when it is revoked and why that cannot be told, of which one or both are null;
 * the last says whether it cannot be told because nobody gave a list.
 */
export async function validate(store, certificate, others, use, at) {
  const fault = timeFault(certificate, at);
  if (fault !== null) return { refused: fault };
  const misuse = useFault(certificate, use);
  if (misuse !== null) return { refused: misuse, misused: true };
  const candidates = [...store.intermediates, ...others].filter(mayIssue);
  const search = { store, candidates, seconds: Math.floor(at / 1000) * 1000, signaturesLeft: PATH_SIGNATURES_MAX };
  const path = await build(search, [certificate]);
  if (path === null) return { refused: `${certificate.name} was issued by ${certificate.issuerName}, from which no path leads to a trusted authority` };
  if (path.slice(1).some((authority) => authority.hasNameConstraints)) return { untold: 'an authority on the path restricts names, which this page does not evaluate' };
  if (path.slice(0, -1).some((one) => one.hasPolicyRules)) return { untold: 'a certificate on the path sets rules for policies, which this page does not evaluate' };
  return judge(store.lists, path, at);
}

function timeFault(certificate, at) {
  if (at < certificate.notBefore) return `the certificate of ${certificate.name} is not valid yet`;
  return at > certificate.notAfter ? `the certificate of ${certificate.name} has expired` : null;
}

function useFault(certificate, use) {
  if (certificate.isCa) return 'it is the certificate of an authority, whose key signs certificates only';
  if (certificate.keyUsage === null) return 'it carries no keyUsage, so it does not say what it is for';
  if (!USES[use].some((wanted) => certificate.keyUsage.includes(wanted))) return `its keyUsage lacks ${USES[use].join(' and ')}`;
  const purposes = certificate.extendedKeyUsage;
  // RFC 3161 2.3: critical, and nothing else.
  if (use === 'timeStamping') return purposes?.join() === TIME_STAMPING && certificate.isPurposeCritical ? null : 'its extended key usage is not timeStamping, critical and alone';
  return purposes === null || purposes.some((purpose) => SIGNING_PURPOSES.includes(purpose)) ? null : 'its extended key usage names neither emailProtection nor document signing';
}

/** The path from the certificate to an anchor, or null. Depth-first, with a bound on authorities and on signatures looked at. */
async function build(search, path) {
  const head = path.at(-1);
  if (!isSound(head, authoritiesBelow(path), search.seconds)) return null;
  for (const anchor of search.store.anchors) {
    if (head.issuerKey === anchor.subjectKey && (await isSignedBy(search, head, anchor))) return [...path, anchor];
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
async function judge(lists, path, at) {
  let [unknown, isListMissing] = [null, false];
  for (const [place, certificate] of path.slice(0, -1).entries()) {
    const found = await revocation(lists, certificate, path[place + 1], at);
    if (found.revoked !== undefined) return { revoked: found.revoked, unknown: null, isListMissing: false };
    if (unknown === null && found.unknown !== undefined) ({ unknown, isListMissing } = found);
  }
  return { revoked: null, unknown, isListMissing };
}
