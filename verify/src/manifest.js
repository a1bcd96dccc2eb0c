// `META-INF/ASiCManifest.xml` (ETSI EN 319 162-1 A.4) in the one profile of docs/FORMATS.md, and names of entries. Read strictly: no DOCTYPE, comment,
// CDATA section, processing instruction, entity in text, foreign element or foreign attribute; SHA-256 alone.

import { fromBase64, hex, textOf, utf8 } from './bytes.js';
import { trimmed } from './text.js';
import { CONTAINER_ENTRIES_MAX, ENTRY_NAME_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_NAMESPACES_MAX, MEDIA_TYPE_BYTES_MAX } from './limits.js';

export const MANIFEST_NAME = 'META-INF/ASiCManifest.xml';
export const SIGNATURE_NAME = 'META-INF/signature001.p7s';

const ASIC = 'http://uri.etsi.org/02918/v1.2.1#';
const DS = 'http://www.w3.org/2000/09/xmldsig#';
const SHA256 = 'http://www.w3.org/2001/04/xmlenc#sha256';
// Namespaces in XML 1.0, 3: for the prefixes xml and xmlns alone.
const KEPT = ['http://www.w3.org/XML/1998/namespace', 'http://www.w3.org/2000/xmlns/'];
const SIGNATURE_TYPES = [undefined, 'application/pkcs7-signature', 'application/x-pkcs7-signature'];

class Refused extends Error {}

const refuse = (why) => {
  throw new Refused(why);
};

/** Reads a manifest: `{references: [{name, digest}]}` with digests in hexadecimal, or `{refused}`. */
export function readManifest(bytes, referencesMax = CONTAINER_ENTRIES_MAX) {
  try {
    if (bytes.length > MANIFEST_BYTES_MAX) refuse('the manifest is too large');
    const text = textOf(bytes) ?? refuse('the manifest is not UTF-8');
    if (NO_CHARACTER.test(text)) refuse('a character that XML does not have, or a byte order mark');
    if (text.includes('&#')) refuse('a reference by number');
    return { references: new Parser(text).manifest(referencesMax) };
  } catch (error) {
    if (error instanceof Refused) return { refused: error.message };
    throw error;
  }
}

const DECLARATION = /^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"[Uu][Tt][Ff]-8"|'[Uu][Tt][Ff]-8'))?(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?[ \t\r\n]*\?>/;
// XML 1.0 2.2.
const NO_CHARACTER = /^\ufeff|[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;
const NAME = '[A-Za-z_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_.-]*)?';
// XML's own white space (XML 1.0 2.3), which is less than a regular expression's.
const SPACE = '[ \\t\\r\\n]';
const START = new RegExp(`<(${NAME})((?:${SPACE}+${NAME}${SPACE}*=${SPACE}*(?:"[^"<]*"|'[^'<]*'))*)${SPACE}*(/?)>`, 'y');
const END = new RegExp(`</(${NAME})${SPACE}*>`, 'y');
const ATTRIBUTE = new RegExp(`(${NAME})${SPACE}*=${SPACE}*(?:"([^"]*)"|'([^']*)')`, 'g');
const TEXT = /[^<&]+/y;

class Parser {
  constructor(text) {
    this.text = text;
    this.at = DECLARATION.exec(text)?.[0].length ?? 0;
    this.open = [];
  }

  manifest(referencesMax) {
    this.start(ASIC, 'ASiCManifest', []);
    this.signatureReference();
    const references = [];
    const names = new Set();
    for (let token = this.tag(); token.kind === 'start'; token = this.tag()) {
      const reference = this.reference(token);
      if (names.has(reference.name)) refuse(`the manifest names ${reference.name} twice`);
      if (references.length === referencesMax) refuse('the manifest has too many references');
      names.add(reference.name);
      references.push(reference);
    }
    if (this.next().kind !== 'end-of-text') refuse('something follows the manifest');
    return references;
  }

  signatureReference() {
    const { attributes } = this.start(ASIC, 'SigReference', ['URI', 'MimeType']);
    if (entryName(attributes.get('URI')) !== SIGNATURE_NAME) refuse('SigReference names another signature');
    if (!SIGNATURE_TYPES.includes(attributes.get('MimeType'))) refuse('SigReference has another MimeType');
    this.end();
  }

  reference(token) {
    const attributes = this.expect(token, ASIC, 'DataObjectReference', ['URI', 'MimeType']);
    const name = entryName(attributes.get('URI'));
    if (utf8(attributes.get('MimeType') ?? '').length > MEDIA_TYPE_BYTES_MAX) refuse('a MimeType is too long');
    const method = this.start(DS, 'DigestMethod', ['Algorithm']);
    if (method.attributes.get('Algorithm') !== SHA256) refuse('another DigestMethod than SHA-256');
    this.end();
    this.start(DS, 'DigestValue', []);
    const value = this.next();
    const digest = value.kind === 'text' ? fromBase64(trimmed(value.text, /[ \t\r\n]/)) : null;
    if (digest?.length !== 32) refuse(`the digest of ${name} is not a SHA-256 in base64`);
    this.end();
    this.end();
    return { name, digest: hex(digest) };
  }

  start(namespace, local, allowed) {
    const token = this.tag();
    return { attributes: this.expect(token, namespace, local, allowed) };
  }

  expect(token, namespace, local, allowed) {
    if (token.kind !== 'start' || token.namespace !== namespace || token.local !== local) refuse(`${local} is missing`);
    for (const name of token.attributes.keys()) {
      if (!allowed.includes(name)) refuse(`${local} has the attribute ${name.slice(0, 80)}`);
    }
    return token.attributes;
  }

  end() {
    if (this.tag().kind !== 'end') refuse('an element does not end');
  }

  tag() {
    const token = this.next();
    return token.kind === 'text' ? refuse('text between elements') : token;
  }

  /** The next token that is not white space. */
  next() {
    if (this.pending) {
      this.pending = false;
      return this.close(this.open.at(-1).name);
    }
    for (;;) {
      if (this.at === this.text.length) return this.open.length === 0 ? { kind: 'end-of-text' } : refuse('the manifest is cut short');
      const text = this.match(TEXT)?.[0];
      if (text === undefined) break;
      if (!/^[ \t\r\n]*$/.test(text)) return { kind: 'text', text };
    }
    const end = this.match(END);
    if (end !== null) return this.close(end[1]);
    const start = this.match(START) ?? refuse('something that has no place in a manifest');
    return this.begin(start[1], start[2], start[3] === '/');
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found !== null) this.at = pattern.lastIndex;
    return found;
  }

  begin(name, attributesText, isEmpty) {
    const namespaces = new Map(this.open.at(-1)?.namespaces);
    const attributes = new Map();
    const seen = new Set();
    let declared = 0;
    for (const [, attribute, double, single] of attributesText.matchAll(ATTRIBUTE)) {
      if (seen.has(attribute)) refuse(`the attribute ${attribute} stands twice`);
      seen.add(attribute);
      const raw = double ?? single;
      const bound = /^xmlns(?::(.*))?$/.exec(attribute);
      if (bound === null) attributes.set(attribute, unescaped(raw));
      else if (raw.includes('&') || ['xml', 'xmlns'].includes(bound[1]) || KEPT.includes(raw)) refuse('a namespace that cannot be declared so');
      else namespaces.set(bound[1] ?? '', raw);
      if (bound !== null && (declared += 1) > MANIFEST_NAMESPACES_MAX) refuse('too many namespaces');
    }
    this.open.push({ name, namespaces });
    this.pending = isEmpty;
    const [prefix, local] = name.includes(':') ? name.split(':') : ['', name];
    return { kind: 'start', namespace: namespaces.get(prefix) ?? '', local, attributes };
  }

  close(name) {
    const open = this.open.pop();
    return open?.name === name ? { kind: 'end' } : refuse('an end without its beginning');
  }
}

const ENTITIES = new Map(Object.entries({ lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }));

// XML 1.0 3.3.3: white space becomes a space, references become what they stand for; others than the predefined ones do not exist here.
const unescaped = (value) => value.replace(/[\t\r\n]/g, ' ').replace(/&([^;]*)(;?)/g, (_, name, end) => (end === '' ? undefined : ENTITIES.get(name)) ?? refuse('an entity'));

/** The entry that a percent-encoded URI names. */
function entryName(uri) {
  if (uri === undefined) refuse('a URI is missing');
  if (!/^(?:%[0-9a-fA-F]{2}|[A-Za-z0-9\-._~/!$&'()*+,;=:@])*$/.test(uri)) refuse('a URI that is no percent-encoded relative path');
  const bytes = Uint8Array.from(uri.match(/%..|./g) ?? [], (piece) => (piece.length === 3 ? parseInt(piece.slice(1), 16) : piece.charCodeAt(0)));
  return readEntryName(bytes) ?? refuse('a URI that names no entry');
}

// Characters that are not shown, change the direction of the text, or mean something to a file system (Unicode TR 36, 3.2).
const FORBIDDEN = /[\\\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ufdd0-\ufdef]/u;
const isNoncharacter = (character) => (character.codePointAt(0) & 0xfffe) === 0xfffe;

/** The name of an entry: a relative path in UTF-8 and NFC that stays inside its folder; or null. */
export function readEntryName(bytes) {
  const name = bytes.length === 0 || bytes.length > ENTRY_NAME_BYTES_MAX ? null : textOf(bytes);
  if (name === null || FORBIDDEN.test(name) || [...name].some(isNoncharacter)) return null;
  if (name.split('/').some((part) => ['', '.', '..'].includes(part)) || /^[A-Za-z]:/.test(name)) return null;
  return name.normalize('NFC') === name ? name : null;
}
