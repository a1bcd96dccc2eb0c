// Names as they are compared (RFC 5280 7.1): case and runs of spaces do not count, composed and decomposed letters are the same. Nothing invisible is
// dropped and no compatibility form is folded, so that letters that only look alike never make two names equal.

import { hex, textOf } from './bytes.js';
import { Malformed, OID, SEQUENCE, SET, inside, parse } from './der.js';

const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const IA5_STRING = 0x16;
const UNIVERSAL_STRING = 0x1c;
const BMP_STRING = 0x1e;
// 1.2.840.113549.1.9.1
const EMAIL_ADDRESS = '2a864886f70d010901';

/** A text that is the same for names that are equal. A name that cannot be read so equals none but itself. */
export function comparable(der) {
  try {
    return JSON.stringify(partsOf(der));
  } catch (error) {
    if (error instanceof Malformed) return hex(der);
    throw error;
  }
}

/** The parts of a name, from the outermost on, each as a text that is the same for parts that are equal. */
export const partsOf = (der) => relatives(der).map((values) => JSON.stringify(values.map(({ type, value, text }) => JSON.stringify([type, text === null ? hex(value.whole) : folded(text), text === null])).sort()));

function relatives(der) {
  const name = inside(parse(der, SEQUENCE));
  const parts = [];
  while (!name.isEmpty) parts.push(attributes(inside(name.expect(SET))));
  return parts;
}

function attributes(reader) {
  const values = [];
  while (!reader.isEmpty) {
    const fields = reader.sequence();
    const type = hex(fields.expect(OID).content);
    const value = fields.any();
    fields.finish();
    values.push({ type, value, text: textIn(value) });
  }
  if (values.length === 0) throw new Malformed('an empty part of a name');
  return values;
}

/** Whether a value is a UniversalString, which RFC 5280 4.1.2.4 has for old certificates alone, and hardly a reader takes. */
export function hasUniversalString(der) {
  const name = inside(parse(der, SEQUENCE));
  while (!name.isEmpty) {
    const part = inside(name.expect(SET));
    while (!part.isEmpty) {
      const fields = part.sequence();
      fields.expect(OID);
      if (fields.any().tag === UNIVERSAL_STRING) return true;
    }
  }
  return false;
}

/** The emailAddress attributes of a name: constraints on e-mail names hold for them, too (RFC 5280 4.2.1.10). */
export function addressesIn(der) {
  const found = relatives(der).flat().filter(({ type }) => type === EMAIL_ADDRESS);
  return found.map(({ text }) => text ?? refuse());
}

// The alphabets whose letters pass for one another, and what is not seen (docs/FORMATS.md, "Letters that look alike").
const ALPHABETS = [
  /[\u0000-\u024f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff]/,
  /[\u0370-\u03ff\u1f00-\u1fff]/,
  /[\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f]/,
  /[\u0530-\u058f]/,
  /[\u13a0-\u13ff\uab70-\uabbf]/,
];
const INVISIBLE = /[\p{Cc}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/u;

/** Whether a value of the name mixes such alphabets, or has invisible characters or compatibility forms. */
export const hasLookAlikes = (der) => relatives(der).flat().some(({ text }) => text !== null && looksLikeAnother(text));

function looksLikeAnother(text) {
  if (/^[\u0000-\u007f]*$/.test(text)) return false;
  const composed = text.normalize('NFC');
  const letters = [...composed].filter((letter) => /\p{Alphabetic}/u.test(letter));
  const used = ALPHABETS.filter((alphabet) => letters.some((letter) => alphabet.test(letter)));
  return composed.normalize('NFKC') !== composed || INVISIBLE.test(composed) || used.length > 1;
}

/** The value as text; null for what is no text, or (TeletexString) text that nobody reads alike. */
function textIn({ tag, content }) {
  if (tag === UTF8_STRING) return textOf(content) ?? refuse();
  if (tag === PRINTABLE_STRING || tag === IA5_STRING) return content.every((byte) => byte < 0x80) ? String.fromCharCode(...content) : refuse();
  if (tag === BMP_STRING) return units(content, 2, (value) => String.fromCharCode(value));
  return tag === UNIVERSAL_STRING ? units(content, 4, (value) => (value <= 0x10ffff ? String.fromCodePoint(value) : refuse())) : null;
}

function units(content, bytes, character) {
  if (content.length % bytes !== 0) refuse();
  let text = '';
  for (let at = 0; at < content.length; at += bytes) text += character(content.subarray(at, at + bytes).reduce((value, byte) => value * 256 + byte, 0));
  return /\p{Surrogate}/u.test(text) ? refuse() : text;
}

const folded = (text) => text.normalize('NFC').toLowerCase().normalize('NFC').split(' ').filter((word) => word !== '').join(' ');

function refuse() {
  throw new Malformed('a name that is not well-formed');
}
