// The receipt file: a C2SP tlog-proof with an `extra` line (docs/FORMATS.md, "Receipt").

import { fromBase64, textOf, utf8 } from './bytes.js';
import { NOTE_BYTES_MAX, PROOF_HASHES_MAX, RECEIPT_BYTES_MAX } from './limits.js';

export const HEADER = 'c2sp.org/tlog-proof@v1';

/**
 * Takes a receipt file apart: `{body, index, proof, checkpoint, refused}`, or `{refused}` alone where it is no receipt at all.
 * A file whose lines end with carriage returns is refused and still read, so that the other checks can say what they find.
 */
export function readReceipt(bytes) {
  if (bytes.length > RECEIPT_BYTES_MAX) return { refused: `the receipt has ${bytes.length} bytes, more than the ${RECEIPT_BYTES_MAX} allowed` };
  const text = textOf(bytes);
  if (text === null) return { refused: 'it is not UTF-8 text' };
  const strict = readLines(text);
  if (!strict.refused || !text.includes('\r\n')) return strict;
  const loose = readLines(text.replaceAll('\r\n', '\n'));
  return loose.refused ? strict : { ...loose, refused: strict.refused };
}

function readLines(text) {
  const end = text.indexOf('\n\n');
  if (end < 0) return { refused: 'no blank line before the checkpoint' };
  const checkpoint = utf8(text.slice(end + 2));
  if (checkpoint.length > NOTE_BYTES_MAX || checkpoint.includes(0x0d)) return { refused: 'the checkpoint is too long or has carriage returns' };
  const [header, extra = '', index = '', ...hashes] = text.slice(0, end).split('\n');
  if (header !== HEADER) return { refused: `the first line is not \`${HEADER}\`` };
  const body = extra.startsWith('extra ') ? fromBase64(extra.slice(6)) : null;
  if (body === null) return { refused: 'no `extra` line in base64' };
  const digits = /^index (0|[1-9][0-9]{0,19})$/.exec(index)?.[1];
  if (digits === undefined || BigInt(digits) >= 1n << 64n) return { refused: 'no `index` line with a plain decimal number' };
  if (hashes.length > PROOF_HASHES_MAX) return { refused: 'the inclusion proof is too long' };
  const proof = hashes.map(fromBase64);
  if (proof.some((hash) => hash?.length !== 32)) return { refused: 'a proof line is not base64 of 32 bytes' };
  return { body, index: BigInt(digits), proof, checkpoint, refused: null };
}
