// C2SP signed notes, and checkpoints, which are notes of three lines (docs/FORMATS.md, "Ledger and checkpoint").

import { concat, equal, fromBase64, fromHex, sha256, textOf, utf8 } from './bytes.js';
import { NAME_OF_KEY_BYTES_MAX, NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, ORIGIN_BYTES_MAX } from './limits.js';

const TYPE_ED25519 = 0x01;
const TYPE_COSIGNATURE = 0x04;
const TYPE_NAMED = 0xff;
const CMS_TYPE = utf8('truc/cms/1');

const keyId = (name, type, key) => sha256(utf8(name), new Uint8Array([0x0a, type]), key).subarray(0, 4);
export const ledgerKeyId = (name, key) => keyId(name, TYPE_ED25519, key);
export const cosignatureKeyId = (name, key) => keyId(name, TYPE_COSIGNATURE, key);
export const cmsKeyId = (name, certificateSha256) => keyId(name, TYPE_NAMED, concat(CMS_TYPE, fromHex(certificateSha256)));

/** The line by the key of this name and id. */
export const findLine = (note, name, id) => note.lines.find((line) => line.name === name && equal(line.keyId, id)) ?? null;

/** Reads a checkpoint's note: `{note: {text, lines}, checkpoint: {origin, size, root}}`, or `{refused}`. */
export function readCheckpoint(bytes) {
  const note = readNote(bytes);
  if (note.refused) return note;
  const checkpoint = readText(note.text);
  return checkpoint.refused ? checkpoint : { note, checkpoint };
}

function readNote(bytes) {
  const whole = bytes.length > NOTE_BYTES_MAX ? null : textOf(bytes);
  if (whole === null) return { refused: 'the note is too long or no UTF-8 text' };
  const end = whole.lastIndexOf('\n\n');
  const text = whole.slice(0, end + 1);
  const signatures = whole.slice(end + 2);
  if (end < 0 || text.length < 2) return { refused: 'the note has no text ended by a blank line' };
  if (/[^\P{Cc}\n]/u.test(text)) return { refused: 'the note holds control characters' };
  if (!signatures.endsWith('\n')) return { refused: 'the signatures do not end with a line' };
  const lines = [];
  for (const line of signatures.slice(0, -1).split('\n')) {
    const read = readLine(line);
    if (read === null) return { refused: `line ${lines.length + 1} of the signatures is not \`— name base64(key id and signature)\`` };
    if (findLine({ lines }, read.name, read.keyId)) return { refused: 'the note carries two signatures by one key' };
    if (lines.length === NOTE_SIGNATURES_MAX) return { refused: `the note carries more than ${NOTE_SIGNATURES_MAX} signatures` };
    lines.push(read);
  }
  return { text, lines };
}

function readLine(line) {
  const [dash, name, blob, ...rest] = line.split(' ');
  if (dash !== '—' || blob === undefined || rest.length > 0 || !isKeyName(name)) return null;
  const bytes = fromBase64(blob);
  return bytes !== null && bytes.length > 4 ? { name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) } : null;
}

/** Whether a key may be called so. */
export const isKeyName = (name) => isName(name, NAME_OF_KEY_BYTES_MAX);

const isName = (name, bytesMax) => name !== '' && utf8(name).length <= bytesMax && !/[\p{White_Space}\p{Cc}+]/u.test(name);

function readText(text) {
  const lines = text.split('\n');
  if (lines.length !== 4 || lines[3] !== '') return { refused: 'a checkpoint is three lines: origin, size, root' };
  const [origin, digits, root] = lines;
  if (!isName(origin, ORIGIN_BYTES_MAX)) return { refused: 'the origin holds spaces, plus signs or control characters, or is too long' };
  const size = /^(0|[1-9][0-9]{0,18})$/.test(digits) ? BigInt(digits) : null;
  if (size === null || size >= 1n << 63n) return { refused: 'the size is not a decimal number without leading zeros, below 2^63' };
  const hash = fromBase64(root);
  return hash?.length === 32 ? { origin, size, root: hash } : { refused: 'the root is not base64 of 32 bytes' };
}

