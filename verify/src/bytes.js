// Bytes and texts: strict base64, strict UTF-8, hexadecimal, SHA-256.

import { sha256 as hash } from '@noble/hashes/sha2.js';

export const sha256 = (...parts) => {
  const hasher = hash.create();
  for (const part of parts) hasher.update(part);
  return hasher.digest();
};

/** SHA-256 piece by piece. */
export const hasher = () => hash.create();

const encoder = new TextEncoder();
export const utf8 = (text) => encoder.encode(text);

/** The text, or null where the bytes are not UTF-8. */
export function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** RFC 4648 with padding, no white space, no stray bits; null for anything else. */
export function fromBase64(text) {
  if (text.length % 4 !== 0 || !BASE64.test(text) || strayBits(text)) return null;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

// Bits of the last digit that stand for nothing must be zero, or two texts would mean the same bytes.
function strayBits(text) {
  if (text.endsWith('==')) return ALPHABET.indexOf(text.at(-3)) & 0b1111;
  if (text.endsWith('=')) return ALPHABET.indexOf(text.at(-2)) & 0b11;
  return 0;
}

export function toBase64(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary);
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Lower-case hexadecimal to bytes; the caller has checked its form. */
export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));

export const equal = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);

export const concat = (...parts) => concatAll(parts);

/** As `concat`, of a list that a stranger may have made long. */
export function concatAll(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Bytewise order, as directories and DER sort. */
export function compare(a, b) {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
    if (a[at] !== b[at]) return a[at] - b[at];
  }
  return a.length - b.length;
}
