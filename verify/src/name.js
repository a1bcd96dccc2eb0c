// Names as they are compared (RFC 5280 7.1): case and runs of spaces do not count, composed and decomposed letters are the same. Nothing invisible is
// dropped and no compatibility form is folded, so that letters that only look alike never make two names equal.

import { hex, textOf } from './bytes.js';
import { Malformed, OID, SEQUENCE, SET, inside, parse } from './der.js';

const UTF8_STRING = 0x0c;
const PRINTABLE_STRING = 0x13;
const IA5_STRING = 0x16;
const UNIVERSAL_STRING = 0x1c;
const BMP_STRING = 0x1e;

/** A text that is the same for names that are equal. A name that cannot be read so equals none but itself. */
export function comparable(der) {
  try {
    const name = inside(parse(der, SEQUENCE));
    const parts = [];
    while (!name.isEmpty) parts.push(part(inside(name.expect(SET))));
    return JSON.stringify(parts);
  } catch (error) {
    if (error instanceof Malformed) return hex(der);
    throw error;
  }
}

function part(reader) {
  const values = [];
  while (!reader.isEmpty) {
    const fields = reader.sequence();
    const type = hex(fields.expect(OID).content);
    const value = fields.any();
    fields.finish();
    const text = textIn(value);
    values.push(JSON.stringify([type, text === null ? hex(value.whole) : folded(text), text === null]));
  }
  if (values.length === 0) throw new Malformed('an empty part of a name');
  return values.sort();
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
