// What the person gives: trusted authorities, the axis operator's certificate, revocation lists and OCSP answers, a witness policy. Nothing of it is remembered anywhere.

import { Malformed } from './der.js';
import { readCertificates } from './x509.js';
import { looksLikeAnswer, readAnswer } from './ocsp.js';
import { readLists } from './crl.js';
import { readPolicy } from './policy.js';
import { trustStore } from './path.js';

/**
 * Puts together what was given: `{store, operator, policy}`, or `{refused: code, detail}`. Each argument is a list of files' bytes.
 * Authorities in the operator's file are passed over: pinned is the operator itself.
 */
export function readTrust(anchorFiles, operatorFiles, listFiles, policyFiles = []) {
  try {
    const certificates = anchorFiles.flatMap(readCertificates);
    const operator = operatorFiles.flatMap(readCertificates).filter((certificate) => !certificate.isCa);
    if (certificates.length === 0) return { refused: 'no-anchor' };
    if (operator.length === 0) return { refused: 'no-operator' };
    const lists = listFiles.filter((bytes) => !looksLikeAnswer(bytes)).flatMap(readLists);
    const store = trustStore(certificates, lists, listFiles.filter(looksLikeAnswer).map(readAnswer));
    const policy = policyFiles.length === 0 ? null : readPolicy(policyFiles[0]);
    if (policy?.refused !== undefined) return { refused: 'bad-policy', detail: policy.refused };
    return store.refused === undefined ? { store, operator, policy } : store;
  } catch (error) {
    if (error instanceof Malformed) return { refused: 'unreadable', detail: error.message };
    throw error;
  }
}
