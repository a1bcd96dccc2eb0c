// Time-stamps (RFC 3161) on a signature: what they come to (docs/FORMATS.md, "Time-stamps").

import { GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, SEQUENCE, algorithm, context, contextPrimitive, inside, parse, utc } from './der.js';
import { both } from './text.js';
import { equal } from './bytes.js';
import { hashName, hashOf } from './signature.js';
import { moment } from './moment.js';
import { validate } from './path.js';
import { verifyToken } from './cms.js';
import { SKEW_MS, STAMP_ACCURACY_MS_MAX, STAMP_BYTES_MAX } from './limits.js';

// What EN 319 421 asks of every authority; counts where a token does not state its accuracy.
const ACCURACY_DEFAULT_MS = 1_000;
const BOOLEAN = 0x01;

/**
 * The time-stamps of a CMS that was made at `made` or later by its own account: `{wrong, before, nothing}`. `wrong`: what is wrong with the first that cannot
 * be right; `before`: `{latest, by}` of the believed one that puts the signature earliest; `nothing`: why the first of the others proves nothing. Null each
 * where there is none.
 */
export async function readStamps({ signature, tokens }, made, { store }, now) {
  const found = { wrong: null, before: null, nothing: null };
  for (const token of tokens) {
    const stamp = await readStamp(token, signature);
    const worth = stamp.refused === undefined ? await worthOf(stamp, store, made, now) : { wrong: stamp.refused };
    if (worth.wrong !== undefined) found.wrong ??= worth.wrong;
    else if (worth.nothing !== undefined) found.nothing ??= worth.nothing;
    else if (found.before === null || stamp.latest < found.before.latest) found.before = { latest: stamp.latest, by: stamp.certificate.name };
  }
  return found;
}

export const NO_STAMPS = { wrong: null, before: null, nothing: null };

/** A token whose signature holds and which is over `signature`; else `{refused}`. */
async function readStamp(token, signature) {
  if (token.length > STAMP_BYTES_MAX) return { refused: 'the time-stamp is too large' };
  const signed = await verifyToken(token);
  if (signed.refused !== undefined) return signed;
  try {
    const info = readInfo(signed.info);
    if (!equal(info.imprint, await hashOf(info.hash, signature))) return { refused: both('dấu thời gian thuộc chữ ký khác', 'the time-stamp is of another signature') };
    const accuracy = info.accuracy ?? ACCURACY_DEFAULT_MS;
    if (accuracy > STAMP_ACCURACY_MS_MAX) return { refused: both('dấu thời gian không đủ chính xác', 'the time-stamp is not accurate enough') };
    return { ...signed, time: info.time, latest: info.time + accuracy };
  } catch (error) {
    if (error instanceof Malformed) return { refused: `not a well-formed TSTInfo: ${error.message}` };
    throw error;
  }
}

/** `{wrong}`, `{nothing}` or `{}` where it proves its time. */
async function worthOf({ certificate, others, time }, store, made, now) {
  if (time > now + SKEW_MS) return { wrong: both(`dấu thời gian ${moment(time)} ở tương lai`, `the time-stamp says ${moment(time)}, which is in the future`) };
  if (time + SKEW_MS < made) return { wrong: both(`dấu thời gian ${moment(time)} có trước khi ký`, `the time-stamp says ${moment(time)}, before what it stamps was made`) };
  if (time < certificate.notBefore || time > certificate.notAfter) return { wrong: both(`chứng thư ${certificate.name} không có hiệu lực khi đóng dấu`, `the certificate of ${certificate.name} was not valid when it stamped`) };
  const path = await validate(store, certificate, others, 'timeStamping', time);
  if (path.misused) return { wrong: path.refused };
  if (path.refused !== undefined) return { nothing: path.refused };
  if (path.revoked !== null) {
    const said = both(`chứng thư ${certificate.name} bị thu hồi từ ${moment(path.revoked)}`, `the certificate of ${certificate.name} is revoked since ${moment(path.revoked)}`);
    return path.revoked <= time ? { wrong: said } : { nothing: said };
  }
  if (now <= certificate.notAfter) return {};
  return { nothing: both(`chứng thư ${certificate.name} đã hết hạn ${moment(certificate.notAfter)}`, `the certificate of ${certificate.name} has expired ${moment(certificate.notAfter)}`) };
}

/** TSTInfo (RFC 3161 2.4.2), as far as it matters. */
function readInfo(der) {
  const info = inside(parse(der, SEQUENCE));
  if (info.small() !== 1) throw new Malformed('another version');
  info.oid(); // the policy: whoever asked for the time-stamp looked at it
  const message = info.sequence();
  const hash = hashName(algorithm(message.expect(SEQUENCE)));
  const imprint = message.expect(OCTET_STRING).content;
  message.finish();
  if (hash === null) throw new Malformed('an imprint by another hash');
  info.expect(INTEGER); // the serial number
  const time = readTime(info.expect(GENERALIZED_TIME).content);
  const stated = info.optional(SEQUENCE);
  const accuracy = stated === null ? null : readAccuracy(inside(stated));
  info.optional(BOOLEAN); // ordering
  info.optional(INTEGER); // the nonce
  info.optional(context(0)); // a hint of the authority's name
  const extensions = info.optional(context(1));
  if (extensions !== null) checkExtensions(inside(extensions));
  info.finish();
  return { hash, imprint, time, accuracy };
}

/** `YYYYMMDDhhmmss[.f]Z`, up to nine digits of a fraction, rounded up to the millisecond. */
function readTime(content) {
  const text = String.fromCharCode(...content.subarray(0, 32));
  const found = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  if (found === null || content.length > 32) throw new Malformed('a time that is none');
  const whole = utc(...found.slice(1, 7).map(Number));
  if (whole < 0) throw new Malformed('a time before 1970');
  return whole + Math.ceil(Number((found[7] ?? '0').padEnd(9, '0')) / 1e6);
}

/** In milliseconds; a fraction of one counts as one. */
function readAccuracy(fields) {
  const [seconds, millis, micros] = [INTEGER, contextPrimitive(0), contextPrimitive(1)].map((tag) => number(fields.optional(tag)));
  fields.finish();
  if (millis > 999 || micros > 999) throw new Malformed('an accuracy that is none');
  return seconds * 1000 + millis + Math.min(micros, 1);
}

function number(element) {
  if (element === null) return 0;
  const { content } = element;
  if (content.length === 0 || content.length > 4 || content[0] >= 0x80) throw new Malformed('an accuracy that is none');
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

function checkExtensions(reader) {
  while (!reader.isEmpty) {
    const fields = reader.sequence();
    fields.expect(OID);
    if (fields.bool()) throw new Malformed('a critical extension that is not known');
    fields.expect(OCTET_STRING);
    fields.finish();
  }
}
