// The small types that statements are made of (docs/FORMATS.md, "Conventions"). Each takes a JSON value and gives what it means, or throws `Wrong`.

import { AGENCY_ID_BYTES_MAX, FOREIGN_CODE_CHARS_MAX } from './limits.js';
import { fromBase64 } from './bytes.js';
import { JsonObject } from './json.js';
import { trimmed } from './text.js';

/** A value that is not what stands there; the message says what it must be. */
export class Wrong extends Error {}

export const wrong = (what) => {
  throw new Wrong(what);
};

export const string = (value) => (typeof value === 'string' ? value : wrong('not a text'));

export const integer = (value) => (Number.isSafeInteger(value) && value >= 0 ? value : wrong('not a whole number'));

export const matching = (pattern, what) => (value) => (pattern.test(string(value)) ? value : wrong(`not ${what}`));

export const oneOf = (values, what) => (value) => (values.includes(value) ? value : wrong(`not ${what}`));

export const list = (item) => (value) => (Array.isArray(value) ? value.map(item) : wrong('not a list'));

/** An object whose names are read by `name` and values by `item`, as pairs in the order of the file. A repeated name counts once, as last written. */
export const table = (name, item) => (value) =>
  value instanceof JsonObject ? [...value.members].map(([key, inner]) => [name(key), item(inner)]) : wrong('not an object');

export const bytes = (value) => fromBase64(string(value)) ?? wrong('not strict base64');

export const bytesOf = (length) => (value) => {
  const found = bytes(value);
  return found.length === length ? found : wrong(`not base64 of ${length} bytes`);
};

/** A SHA-256; kept as its text, which has one form. */
export const digest = matching(/^[0-9a-f]{64}$/, 'a SHA-256 of 64 lower-case hexadecimal digits');

export const nodeId = matching(/^(?!-)[A-Z0-9-]{1,40}(?<!-)$/, 'a node id');

export const axisId = matching(/^[a-z][a-z0-9-]{0,29}$/, 'an axis id');

/** UUID version 7 of the RFC 9562 variant, lower case with hyphens. */
export const envelopeId = matching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'an envelope id (UUID version 7)');

export const lane = oneOf(['ordinary', 'classified'], 'a lane');

export const level = oneOf(['ordinary', 'mat', 'toi-mat', 'tuyet-mat'], 'a secrecy level');

export const role = oneOf(['sender', 'relay', 'recipient'], 'a role');

const LEVEL_1 = /^[A-Y][0-9]{2}$/;

/** A code of QĐ 20/2020/QĐ-TTg, or of the scheme `Z[0-9]{2}…`; never the old form `000.00.00.H49`. */
export function agencyId(value) {
  const text = string(value);
  const groups = text.split('.');
  const good =
    text.length <= AGENCY_ID_BYTES_MAX &&
    groups.every((group) => /^[0-9A-Z]+$/.test(group)) &&
    (LEVEL_1.test(groups[0]) || /^Z[0-9]{2}/.test(groups[0])) &&
    !isOldForm(groups);
  return good ? text : wrong('not an agency code');
}

function isOldForm(groups) {
  const lengths = groups.map((group) => group.length).join();
  return lengths === '3,2,2,3' && !LEVEL_1.test(groups[0]) && LEVEL_1.test(groups[3]);
}

const ZERO_WIDTH = /[\u200b-\u200d\u2060\ufeff]/gu;

/** A code as somebody else wrote it: 1 to 100 characters, none of them a control character. */
export function foreignCode(value) {
  const core = trimmed(string(value), /[\p{White_Space}\u200b-\u200d\u2060\ufeff]/u);
  if ([...core.slice(0, 4 * FOREIGN_CODE_CHARS_MAX + 2)].length > 2 * FOREIGN_CODE_CHARS_MAX) wrong('an old code that is too long');
  const code = core.normalize('NFC').replace(ZERO_WIDTH, '');
  const length = [...code].length;
  return length > 0 && length <= FOREIGN_CODE_CHARS_MAX && !/\p{Cc}/u.test(code) ? code : wrong('not an older form of a code');
}

const TIME = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;
const LATEST_MS = 253_402_300_799_999;

/** RFC 3339 with zone, to the millisecond at most; as milliseconds since 1970, which no time of ours is before. */
export function time(value) {
  const found = TIME.exec(string(value)) ?? wrong('not an RFC 3339 time with a zone');
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number);
  const fraction = found[7] ?? '';
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const isDate = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!isDate || hour > 23 || minute > 59 || second > 59 || /[1-9]/.test(fraction.slice(3))) wrong('not an RFC 3339 time to the millisecond');
  const local = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + Number(fraction.slice(0, 3).padEnd(3, '0'));
  const ms = local - offset(found[8]);
  return ms >= 0 && ms <= LATEST_MS ? ms : wrong('a time before 1970 or after 9999');
}

function offset(zone) {
  if (zone.toUpperCase() === 'Z') return 0;
  const [hours, minutes] = zone.slice(1).split(':').map(Number);
  if (hours > 23 || minutes > 59) wrong('not a zone');
  return (zone[0] === '-' ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

const EVENT_PREFIX = 'http://uri.etsi.org/19522/Event/';
export const EVENTS = [
  'SubmissionAcceptance',
  'SubmissionRejection',
  'RelayAcceptance',
  'RelayRejection',
  'RelayFailure',
  'ContentConsignment',
  'ContentConsignmentFailure',
  'ContentHandover',
  'ContentHandoverFailure',
  'RelayToNonERDS',
  'ReceivedFromNonERDS',
];

/** An event's URI; kept as the name at its end. */
export function event(value) {
  const text = string(value);
  const name = text.startsWith(EVENT_PREFIX) ? text.slice(EVENT_PREFIX.length) : '';
  return EVENTS.includes(name) ? name : wrong('not an event URI that this axis uses');
}

export const REASONS = [
  'unknown-code',
  'closed-code',
  'not-entitled',
  'wrong-lane',
  'level-refused',
  'id-reused',
  'invalid',
  'certificate-refused',
  'cannot-open',
  'content-mismatch',
  'content-refused',
  'expired',
  'too-old',
  'from-future',
  'too-large',
  'superseded',
  'refused-by-system',
  'withdrawn',
  'held-too-long',
  'refused-by-legacy',
  'legacy-in-doubt',
];
export const reason = oneOf(REASONS, 'a reason of the closed list');

/**
 * Reads an object by its fields: `{name: [reader]}` must be there, `{name: [reader, fallback]}` may be absent. A field that stands twice is no field.
 * Absent optional fields give the fallback; null is absence to a loose reader, and has been objected to before.
 */
export const record = (fields) => (value) => {
  if (!(value instanceof JsonObject)) wrong('not an object');
  const read = {};
  for (const [name, [reader, ...fallback]] of Object.entries(fields)) {
    if (value.doubles.has(name)) wrong(`\`${name}\` stands twice`);
    const found = value.members.get(name);
    const absent = found === undefined || (found === null && fallback[0] === null);
    if (absent && fallback.length === 0) wrong(`\`${name}\` is missing`);
    try {
      read[name] = absent ? fallback[0] : reader(found);
    } catch (error) {
      throw error instanceof Wrong ? new Wrong(`\`${name}\`: ${error.message}`) : error;
    }
  }
  return read;
};
