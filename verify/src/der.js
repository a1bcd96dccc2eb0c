// Strict DER over the bytes as they stand: what was signed is verified over the bytes received, never over bytes written anew.
// One exception: a CMS may come in BER, as streaming writers make it, and is brought into DER first.

import { concat, concatAll } from './bytes.js';
import { CMS_DEPTH_MAX } from './limits.js';

export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OID = 0x06;
export const ENUMERATED = 0x0a;
export const SEQUENCE = 0x30;
export const SET = 0x31;
const NULL = 0x05;
const BOOLEAN = 0x01;
const UTC_TIME = 0x17;
export const GENERALIZED_TIME = 0x18;
const CONSTRUCTED_OCTETS = 0x24;
export const context = (n) => 0xa0 | n;
export const contextPrimitive = (n) => 0x80 | n;

/** The bytes are not the DER that was expected. */
export class Malformed extends Error {}

const malformed = () => {
  throw new Malformed('not well-formed DER');
};

/** Reads the elements of one content in turn; each is `{tag, whole, content}`. */
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  get isEmpty() {
    return this.at === this.bytes.length;
  }

  get next() {
    return this.bytes[this.at];
  }

  any() {
    const start = this.at;
    const { tag, length, minimal, at } = header(this.bytes, start);
    if (length === null || !minimal || at + length > this.bytes.length) malformed();
    this.at = at + length;
    return { tag, whole: this.bytes.subarray(start, this.at), content: this.bytes.subarray(at, this.at) };
  }

  expect(tag) {
    const element = this.any();
    return element.tag === tag ? element : malformed();
  }

  optional(tag) {
    return !this.isEmpty && this.next === tag ? this.any() : null;
  }

  /** A reader of what stands inside the SEQUENCE that comes next. */
  sequence() {
    return new Reader(this.expect(SEQUENCE).content);
  }

  /** An INTEGER from 0 to 127. */
  small() {
    const { content } = this.expect(INTEGER);
    return content.length === 1 && content[0] < 0x80 ? content[0] : malformed();
  }

  oid() {
    return oidOf(this.expect(OID));
  }

  /** UTCTime or GeneralizedTime in the form of RFC 5280 4.1.2.5, as milliseconds since 1970. */
  time() {
    return timeOf(this.any());
  }

  isTime() {
    return !this.isEmpty && (this.next === UTC_TIME || this.next === GENERALIZED_TIME);
  }

  bool() {
    const element = this.optional(BOOLEAN);
    if (element !== null && !(element.content.length === 1 && [0, 0xff].includes(element.content[0]))) malformed();
    return element !== null && element.content[0] === 0xff;
  }

  finish() {
    if (!this.isEmpty) malformed();
  }
}

/** Exactly one element of this tag, nothing behind it. */
export function parse(bytes, tag) {
  const reader = new Reader(bytes);
  const element = reader.expect(tag);
  reader.finish();
  return element;
}

export const inside = (element, tag = element.tag) => (element.tag === tag ? new Reader(element.content) : malformed());

/** The Extension (RFC 5280 4.1) that comes next: `{id, critical, value}`. */
export function extensionIn(reader) {
  const fields = reader.sequence();
  const [id, critical] = [fields.oid(), fields.bool()];
  const value = fields.expect(OCTET_STRING).content;
  fields.finish();
  return { id, critical, value };
}

/** All elements of a content, at most so many. */
export function elements(element, countMax) {
  const all = [];
  const reader = new Reader(element === null ? new Uint8Array() : element.content);
  while (!reader.isEmpty) {
    if (all.length === countMax) malformed();
    all.push(reader.any());
  }
  return all;
}

/** AlgorithmIdentifier: `{oid, parameters, whole}`; `plain` where parameters are absent or NULL, the two spellings of none. */
export function algorithm(element) {
  const reader = inside(element, SEQUENCE);
  const oid = reader.oid();
  const parameters = reader.isEmpty ? null : reader.any();
  reader.finish();
  const plain = parameters === null || (parameters.tag === NULL && parameters.content.length === 0);
  return { oid, parameters, plain, whole: element.whole };
}

/** The bytes of a BIT STRING without unused bits. */
export const bitString = ({ tag, content }) => (tag === BIT_STRING && content[0] === 0 ? content.subarray(1) : malformed());

export function oidOf({ tag, content }) {
  if (tag !== OID || content.length === 0 || content.at(-1) & 0x80) malformed();
  const arcs = [];
  let arc = 0;
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f);
    if (byte & 0x80) continue;
    arcs.push(arc);
    arc = 0;
  }
  const first = Math.min(Math.floor(arcs[0] / 40), 2);
  return [first, arcs[0] - 40 * first, ...arcs.slice(1)].join('.');
}

function timeOf({ tag, content }) {
  const text = String.fromCharCode(...content.subarray(0, 16));
  const found = (tag === UTC_TIME ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(text);
  if (found === null || (tag !== UTC_TIME && tag !== GENERALIZED_TIME) || content.length > 15) malformed();
  const [digits, month, day, hour, minute, second] = found.slice(1).map(Number);
  // RFC 5280 4.1.2.5.1: two digits from 50 on are of the last century.
  const year = tag === GENERALIZED_TIME ? digits : digits + (digits < 50 ? 2000 : 1900);
  const time = utc(year, month, day, hour, minute, second);
  return time < 0 ? malformed() : time;
}

/** That moment in milliseconds since 1970, if there is such a day and such a time of day. */
export function utc(year, month, day, hour, minute, second) {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) malformed();
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000;
}

/** DER of one element. */
export const tlv = (tag, ...parts) => tlvOf(tag, parts);

function tlvOf(tag, parts) {
  const content = concatAll(parts);
  if (content.length < 0x80) return concat(new Uint8Array([tag, content.length]), content);
  const digits = [];
  for (let rest = content.length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return concat(new Uint8Array([tag, 0x80 | digits.length, ...digits]), content);
}

/** An INTEGER's bytes without the zero that DER puts before a high bit. */
export const significant = (integer) => (integer.length > 1 && integer[0] === 0 ? integer.subarray(1) : integer);

// Tag and length at a place; `length` is null where it is indefinite.
function header(bytes, start) {
  const tag = bytes[start];
  const first = bytes[start + 1];
  if (first === undefined || (tag & 0x1f) === 0x1f || first > 0x84) malformed();
  if (first < 0x80) return { tag, length: first, minimal: true, at: start + 2 };
  if (first === 0x80) return { tag, length: null, minimal: false, at: start + 2 };
  const digits = bytes.subarray(start + 2, start + 2 + (first & 0x7f));
  if (digits.length !== (first & 0x7f)) malformed();
  const length = digits.reduce((number, digit) => number * 256 + digit, 0);
  return { tag, length, minimal: digits[0] !== 0 && length > 0x7f, at: start + 2 + digits.length };
}

/** BER to DER as far as streaming writers need it: definite minimal lengths, OCTET STRING segments joined. Exactly one element. */
export function normalise(bytes) {
  const { element, at } = copy(bytes, 0, bytes.length, CMS_DEPTH_MAX);
  return at === bytes.length ? element : malformed();
}

function copy(bytes, start, end, depthLeft) {
  if (depthLeft === 0 || start >= end) malformed();
  const { tag, length, at } = header(bytes, start);
  const isConstructed = (tag & 0x20) !== 0;
  if (at > end || (length === null && !isConstructed) || (length !== null && at + length > end)) malformed();
  if (!isConstructed) return { element: tlv(tag, bytes.subarray(at, at + length)), at: at + length };
  const children = [];
  const stop = length === null ? end : at + length;
  let place = at;
  for (;;) {
    if (length !== null && place === stop) break;
    if (length === null && bytes[place] === 0 && bytes[place + 1] === 0 && place + 2 <= stop) {
      place += 2;
      break;
    }
    const child = copy(bytes, place, stop, depthLeft - 1);
    children.push(child.element);
    place = child.at;
  }
  const element = tag === CONSTRUCTED_OCTETS ? tlvOf(OCTET_STRING, children.map((child) => parse(child, OCTET_STRING).content)) : tlvOf(tag, children);
  return { element, at: place };
}
