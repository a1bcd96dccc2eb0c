// Which kind of thing a dropped file is. By its content; a name decides only where the content cannot.
//
// A bundle is among the receipts; which of the two a file is, its first bytes say.

import { readCertificates, pemBlocks } from './x509.js';
import { isBundle } from './bundle.js';
import { looksLikeAnswer } from './ocsp.js';
import { HEADER } from './receipt.js';
import { looksLikePolicy } from './policy.js';
import { Malformed } from './der.js';
import { PEM_BYTES_MAX } from './limits.js';
import { textOf } from './bytes.js';

/** What the page takes; of a document and a policy one at a time. */
export const KINDS = ['receipts', 'anchors', 'operator', 'document', 'policy', 'lists'];
export const SINGLE = ['document', 'policy'];
export const ASIDE = ['policy', 'lists'];

/** The bytes of a file, and one more than allowed where it is longer: readers refuse it then, without all of it in memory. */
export const readUpTo = async (file, bytesMax) => new Uint8Array(await file.slice(0, bytesMax + 1).arrayBuffer());

export async function kindOf(file) {
  const start = await readUpTo(file, PEM_BYTES_MAX);
  const text = textOf(start.subarray(0, 64)) ?? '';
  if (text.startsWith(HEADER.split('@')[0]) || /\.receipt$/i.test(file.name) || (await isOurBundle(file, start))) return 'receipts';
  if (/\.(crl|ocsp)$/i.test(file.name) || pemOf(start, 'X509 CRL') || looksLikeAnswer(start)) return 'lists';
  if (pemOf(start, 'CERTIFICATE') || (start[0] === 0x30 && /\.(cer|crt|der)$/i.test(file.name))) return certificateKind(start);
  return looksLikePolicy(textOf(start) ?? '') ? 'policy' : 'document';
}

// A ZIP, as documents may be, with an entry of that name: in its header, or in the directory at the end. Of a bundle that is cut short one is left.
async function isOurBundle(file, start) {
  if (!isBundle(start)) return false;
  const end = new Uint8Array(await file.slice(Math.max(0, file.size - PEM_BYTES_MAX)).arrayBuffer());
  return [start, end].some((part) => /PK(?:\x03\x04[^]{26}|\x01\x02[^]{42})bundle\.json/.test(new TextDecoder('latin1').decode(part)));
}

function pemOf(bytes, label) {
  try {
    return pemBlocks(bytes, label).length > 0;
  } catch (error) {
    if (error instanceof Malformed) return true;
    throw error;
  }
}

// Authorities alone are anchors; with a subscriber among them it is the operator's file with its chain.
function certificateKind(bytes) {
  try {
    return readCertificates(bytes).every((certificate) => certificate.isCa) ? 'anchors' : 'operator';
  } catch (error) {
    if (error instanceof Malformed) return 'anchors';
    throw error;
  }
}
