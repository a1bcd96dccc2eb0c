// JSON as statements are written (docs/FORMATS.md, "Statements"): one reading of every text, or none.
//
// The platform's own parser drops repeated names and rounds numbers in silence, so this one is used. It goes on where a text is ambiguous and
// says so in `objection`: the other checks of a receipt can then still say what they find.

import { JSON_DEPTH_MAX } from './limits.js';
import { textOf } from './bytes.js';

// Where the objection is no longer about ambiguity: nothing of ours nests so deep.
const DEPTH_END = 128;

/** An object: `members` by name, and the names that stand more than once. */
export class JsonObject {
  members = new Map();
  doubles = new Set();
}

/** A number that is no safe integer: nothing reads it. */
export const NO_INTEGER = Symbol('no integer');

/**
 * Reads one JSON text. `value` is undefined where it is no JSON at all; `objection` says why it is refused, or is null.
 * Objects are `JsonObject`, integers numbers, other numbers `NO_INTEGER`.
 */
export function readJson(bytes) {
  const text = textOf(bytes);
  if (text === null) return { value: undefined, objection: 'it is not UTF-8 text' };
  const parser = new Parser(text);
  try {
    parser.space();
    const value = parser.value(0);
    parser.space();
    if (parser.at < text.length) parser.stop('something follows the object');
    return { value, objection: parser.objection };
  } catch (error) {
    if (error instanceof NotJson) return { value: undefined, objection: error.message };
    throw error;
  }
}

class NotJson extends Error {}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const SPACE = /[ \n\r\t]*/y;
// eslint-disable-next-line no-control-regex
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.objection = null;
  }

  stop(why) {
    throw new NotJson(`${why} (character ${this.at + 1})`);
  }

  object(why) {
    this.objection ??= why;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  space() {
    this.match(SPACE);
  }

  take(character) {
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  value(depth) {
    switch (this.text[this.at]) {
      case '{':
        return this.members(this.deeper(depth));
      case '[':
        return this.items(this.deeper(depth));
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        this.object('it holds null');
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  deeper(depth) {
    if (depth + 1 > DEPTH_END) this.stop('nested too deep');
    if (depth + 1 > JSON_DEPTH_MAX) this.object(`nested deeper than ${JSON_DEPTH_MAX}`);
    return depth + 1;
  }

  word(word, value) {
    if (!this.text.startsWith(word, this.at)) this.stop('no JSON value');
    this.at += word.length;
    return value;
  }

  number() {
    const digits = this.match(NUMBER);
    if (digits === undefined) this.stop('no JSON value');
    const number = Number(digits);
    if (!/^-?[0-9]+$/.test(digits) || Object.is(number, -0)) {
      this.object('it holds a number that is no integer');
      return NO_INTEGER;
    }
    if (!Number.isSafeInteger(number)) {
      this.object('an integer beyond 2^53 must be written as a string');
      return NO_INTEGER;
    }
    return number;
  }

  string() {
    let text = '';
    this.at += 1;
    for (;;) {
      text += this.match(PLAIN);
      if (this.take('"')) return text;
      if (!this.take('\\')) this.stop('a text does not end or holds a control character');
      text += this.escape();
    }
  }

  escape() {
    const letter = this.text[this.at];
    this.at += 1;
    if (letter !== 'u') return ESCAPES[letter] ?? this.stop('no such escape');
    const unit = this.unit();
    if (unit >= 0xdc00 && unit <= 0xdfff) this.stop('half a character');
    if (unit < 0xd800 || unit > 0xdbff) return String.fromCharCode(unit);
    if (!this.take('\\') || !this.take('u')) this.stop('half a character');
    const low = this.unit();
    if (low < 0xdc00 || low > 0xdfff) this.stop('half a character');
    return String.fromCharCode(unit, low);
  }

  unit() {
    const digits = this.text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.stop('no such escape');
    this.at += 4;
    return parseInt(digits, 16);
  }

  items(depth) {
    const items = [];
    this.at += 1;
    this.space();
    if (this.take(']')) return items;
    for (;;) {
      this.space();
      items.push(this.value(depth));
      this.space();
      if (this.take(']')) return items;
      if (!this.take(',')) this.stop('a list does not go on');
    }
  }

  members(depth) {
    const object = new JsonObject();
    this.at += 1;
    this.space();
    if (this.take('}')) return object;
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') this.stop('a name is missing');
      const name = this.string();
      this.space();
      if (!this.take(':')) this.stop('a colon is missing');
      this.space();
      const value = this.value(depth);
      if (object.members.has(name)) {
        object.doubles.add(name);
        this.object(`the name \`${name.slice(0, 80)}\` stands twice in one object`);
      }
      object.members.set(name, value);
      this.space();
      if (this.take('}')) return object;
      if (!this.take(',')) this.stop('an object does not go on');
    }
  }
}
