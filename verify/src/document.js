// The document shown beside a receipt, by what verification needs of it: its hash and, when it is a whole container, its manifest.

import { hasher, hex } from './bytes.js';
import { manifestOf, pieces } from './container.js';
import { DOCUMENT_BYTES_MAX } from './limits.js';

/** Reads a document from a Blob, in constant memory: `{digest, manifest}`, or `{refused}` where it is too large. */
export async function readDocument(blob) {
  if (blob.size > DOCUMENT_BYTES_MAX) return { refused: 'too-large' };
  return { digest: await digestOf(blob), manifest: await manifestOf(blob) };
}

/** The SHA-256 of a Blob, in constant memory. */
export async function digestOf(blob) {
  const hash = hasher();
  for await (const piece of pieces(blob.stream())) hash.update(piece);
  return hex(hash.digest());
}
