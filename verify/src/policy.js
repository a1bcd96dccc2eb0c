// Witness policies (C2SP tlog-policy; docs/FORMATS.md, "Witness policy"): whose cosignatures count, and how many are asked for.

import { concat, equal, fromBase64, hex, textOf, utf8 } from './bytes.js';
import { cosignatureKeyId, findLine, isKeyName, ledgerKeyId } from './note.js';
import { ed25519Holds } from './signature.js';
import { POLICY_BYTES_MAX, POLICY_LINES_MAX, SKEW_MS } from './limits.js';

const TYPE_LOG = 0x01;
const TYPE_WITNESS = 0x04;
const COSIGNATURE_BYTES = 72;

class Fault extends Error {}

/** Whether a file is to be taken for a policy: its first line that says something begins with one of the format's words. */
export const looksLikePolicy = (text) => /^[ \t]*(?:log|witness|group|quorum)[ \t]/.test(text.replace(/^(?:[ \t]*(?:#[^\n]*)?\n)*/, ''));

/** `{logs, witnesses, parts, quorum}`, or `{refused}`. Members stand before the groups they are of: one pass decides. */
export function readPolicy(bytes) {
  const text = bytes.length > POLICY_BYTES_MAX ? null : textOf(bytes);
  if (text === null) return { refused: 'it is too long or no UTF-8 text' };
  if (/[\x00-\x08\x0b-\x1f\x7f]/.test(text)) return { refused: 'it holds control characters (Windows line ends, for one)' };
  const lines = text.split('\n');
  if (lines.length > POLICY_LINES_MAX) return { refused: `it has more than ${POLICY_LINES_MAX} lines` };
  const policy = { logs: [], witnesses: [], parts: [], names: new Map(), members: new Set(), quorum: undefined };
  for (const [place, line] of lines.entries()) {
    try {
      readLine(policy, line.split(/[ \t]+/).filter((word) => word !== ''));
    } catch (error) {
      if (error instanceof Fault) return { refused: `line ${place + 1}: ${error.message}` };
      throw error;
    }
  }
  return policy.quorum === undefined ? { refused: 'there is no quorum line' } : policy;
}

function readLine(policy, words) {
  const [kind, name, ...rest] = words;
  if (words.length === 0 || kind.startsWith('#')) return;
  if (kind === 'log' && words.length >= 2 && words.length <= 3) return addKey(policy.logs, readVkey(name, TYPE_LOG, ledgerKeyId));
  if (kind === 'witness' && words.length >= 3 && words.length <= 4) {
    addKey(policy.witnesses, readVkey(rest[0], TYPE_WITNESS, cosignatureKeyId));
    return define(policy, name, { witness: policy.witnesses.length - 1 });
  }
  if (kind === 'group' && words.length >= 4) {
    const [threshold, ...members] = rest;
    return define(policy, name, { threshold: readThreshold(threshold, members.length), members: members.map((member) => memberOf(policy, member)) });
  }
  if (kind === 'quorum' && words.length === 2) {
    const quorum = name === 'none' ? null : defined(policy, name);
    if (policy.quorum !== undefined) throw new Fault('there is a quorum line already');
    policy.quorum = quorum;
    return;
  }
  throw new Fault('it is none of the lines of a policy');
}

// The same key under two names would count twice.
function addKey(keys, key) {
  if (keys.some((known) => equal(known.key, key.key))) throw new Fault('the key stands in the policy already');
  keys.push(key);
}

function define({ names, parts }, name, part) {
  if (name === 'none' || names.has(name)) throw new Fault('the name is taken');
  names.set(name, parts.length);
  parts.push(part);
}

function defined({ names }, name) {
  if (!names.has(name)) throw new Fault(`no line before defines ${name}`);
  return names.get(name);
}

function memberOf(policy, name) {
  const place = defined(policy, name);
  if (policy.members.has(place)) throw new Fault(`${name} is a member of a group already`);
  policy.members.add(place);
  return place;
}

function readThreshold(word, members) {
  if (word === 'all') return members;
  if (word === 'any') return 1;
  const threshold = /^[1-9][0-9]{0,5}$/.test(word) ? Number(word) : 0;
  if (threshold < 1 || threshold > members) throw new Fault('the threshold is no number from 1 to the number of members');
  return threshold;
}

/** `name+key id+base64(type ‖ key)` of that type. */
function readVkey(text, type, idOf) {
  const [, name, id, blob] = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/.exec(text) ?? [];
  const bytes = blob === undefined ? null : fromBase64(blob);
  if (bytes?.length !== 33 || bytes[0] !== type || !isKeyName(name)) throw new Fault('the key is no Ed25519 verification key of the kind that belongs here');
  const key = { name, key: bytes.subarray(1) };
  if (hex(idOf(name, key.key)) !== id) throw new Fault("the key's id is another's");
  return key;
}

function isMet({ parts, quorum }, cosigned) {
  const met = [];
  for (const part of parts) met.push(part.witness === undefined ? part.members.filter((member) => met[member]).length >= part.threshold : cosigned.has(part.witness));
  return quorum === null || met[quorum];
}

/** What the policy says of a checkpoint's note: `{failed: {vi, en}}`, `{met: [{name, time}]}` or `{notAsked: true}`. */
export async function judge(policy, note, checkpoint, leafTime, now, byLibrary) {
  const text = utf8(note.text);
  if (policy.logs.length > 0 && !(await isOfLog(policy, note, checkpoint, byLibrary))) {
    return failed(`chính sách không nêu sổ cái ${checkpoint.origin} với khóa này`, `the policy names no log ${checkpoint.origin} whose key signed this`);
  }
  const held = new Map();
  for (const [place, { name, key }] of policy.witnesses.entries()) {
    // Nobody is a witness of its own ledger.
    const line = name === checkpoint.origin ? null : findLine(note, name, cosignatureKeyId(name, key));
    if (line === null) continue;
    const seconds = readSeconds(line.signature);
    const message = concat(utf8(`cosignature/v1\ntime ${seconds}\n`), text);
    if (seconds === null || !(await ed25519Holds(key, message, line.signature.subarray(8), byLibrary))) {
      return failed(`chữ ký chứng kiến của ${name} không đúng`, `the cosignature by ${name} does not hold`);
    }
    const time = Number(seconds) * 1000;
    if (time > now + SKEW_MS) return failed(`${name} ký chứng kiến ở tương lai`, `${name} cosigned in the future`);
    if (leafTime > time + SKEW_MS) return failed(`${name} ký chứng kiến trước sự kiện`, `${name} cosigned before the event`);
    held.set(place, { name, time });
  }
  if (!isMet(policy, held)) return failed(`chưa đủ số theo chính sách: ${held.size} bên chứng kiến`, `quorum not met: ${held.size} witnesses of the policy cosigned`);
  return policy.quorum === null ? { notAsked: true } : { met: [...held.values()] };
}

// Eight bytes before the signature; of more than 63 bits they tell no time.
function readSeconds({ buffer, byteOffset, length }) {
  const seconds = length === COSIGNATURE_BYTES ? new DataView(buffer, byteOffset).getBigUint64(0) : null;
  return seconds === null || seconds >= 1n << 63n ? null : seconds;
}

const failed = (vi, en) => ({ failed: { vi, en } });

async function isOfLog({ logs }, note, { origin }, byLibrary) {
  for (const { name, key } of logs) {
    const line = name === origin ? findLine(note, origin, ledgerKeyId(origin, key)) : null;
    if (line !== null && (await ed25519Holds(key, utf8(note.text), line.signature, byLibrary))) return true;
  }
  return false;
}

/** Lines that look like cosignatures of others: without a policy nobody's key is known, and they prove nothing. */
export const unchecked = (note, { origin }) => note.lines.filter((line) => line.name !== origin && line.signature.length === COSIGNATURE_BYTES).length;
