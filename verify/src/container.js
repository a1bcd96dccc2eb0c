// A whole container (docs/FORMATS.md, "Container"): a ZIP in one profile, whose every entry is what its manifest says. Read from a Blob, piece by piece.
// What it is not, is a file like any other.

import { hasher, hex, textOf } from './bytes.js';
import { MANIFEST_NAME, SIGNATURE_NAME, readEntryName, readManifest } from './manifest.js';
import { CONTAINER_ENTRIES_MAX, CONTAINER_RATIO_GRACE_BYTES, CONTAINER_RATIO_MAX, MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX } from './limits.js';

const MIMETYPE = 'application/vnd.etsi.asic-e+zip';
const LOCAL = 0x04034b50;
const DESCRIPTOR = 0x08074b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const SEE_64 = 0xffffffff;
const FLAG_DESCRIPTOR = 0x0008;
const FLAGS_KNOWN = 0x080e;
const STORED = 0;
const DEFLATE = 8;
const VERSION_MAX = 45;

class NoContainer extends Error {}

const must = (holds) => {
  if (!holds) throw new NoContainer();
};

/** The manifest's bytes, when `blob` is a whole container; null when it is not. */
export async function manifestOf(blob) {
  try {
    return await readContainer(blob);
  } catch (error) {
    // NoContainer is ours; TypeError tells of DEFLATE data that is damaged, too short or too long, RangeError of a place outside of what was read.
    if (error instanceof NoContainer || error instanceof TypeError || error instanceof RangeError) return null;
    throw error;
  }
}

async function readContainer(blob) {
  const end = await readEnd(blob);
  const records = readDirectory(await read(blob, end.start, end.length), end.count);
  const budget = { left: Math.max(CONTAINER_RATIO_GRACE_BYTES, blob.size * CONTAINER_RATIO_MAX) };
  const found = new Map();
  let at = 0;
  for (const [place, record] of records.entries()) {
    must(record.offset === at && !found.has(record.name));
    const { data, next } = await locate(blob, record);
    found.set(record.name, await readEntry(data, record, budget));
    if (place === 0) must(record.name === 'mimetype' && record.method === STORED && textOf(found.get('mimetype').kept) === MIMETYPE);
    at = next;
  }
  must(at === end.start);
  return checkCoverage(found);
}

/** Every entry in the manifest with its digest, and every reference an entry. */
function checkCoverage(found) {
  const manifest = found.get(MANIFEST_NAME);
  must(manifest !== undefined && found.has(SIGNATURE_NAME));
  const { references, refused } = readManifest(manifest.kept);
  must(refused === undefined && references.length === found.size - 3);
  must(references.every(({ name, digest }) => kindOf(name) === 'content' && found.get(name)?.digest === digest));
  return manifest.kept;
}

function kindOf(name) {
  if (name === 'mimetype' || name === MANIFEST_NAME || name === SIGNATURE_NAME) return name;
  const isReserved = name.toLowerCase() === 'mimetype' || name.split('/')[0].toUpperCase() === 'META-INF';
  return isReserved ? 'unknown' : 'content';
}

const KEPT_MAX = { mimetype: MIMETYPE.length, [MANIFEST_NAME]: MANIFEST_BYTES_MAX, [SIGNATURE_NAME]: SIGNATURE_BYTES_MAX };

async function read(blob, start, length) {
  must(start >= 0 && start + length <= blob.size);
  return new DataView(await blob.slice(start, start + length).arrayBuffer());
}

const u16 = (view, at) => view.getUint16(at, true);
const u32 = (view, at) => view.getUint32(at, true);

function u64(view, at) {
  const number = view.getBigUint64(at, true);
  must(number <= BigInt(Number.MAX_SAFE_INTEGER));
  return Number(number);
}

// The end of central directory stands at the very end, without a comment; zip64 records may stand before it.
async function readEnd(blob) {
  const at = blob.size - 22;
  const end = await read(blob, at, 22);
  must(u32(end, 0) === END && u16(end, 4) === 0 && u16(end, 6) === 0 && u16(end, 20) === 0);
  const short = { counts: [u16(end, 8), u16(end, 10)], length: u32(end, 12), start: u32(end, 16) };
  const locator = at >= 76 ? await read(blob, at - 20, 20) : null;
  if (locator === null || u32(locator, 0) !== LOCATOR_64) {
    must(short.counts[0] === short.counts[1] && short.start + short.length === at);
    return { count: short.counts[0], length: short.length, start: short.start };
  }
  const wide = await readEnd64(blob, at - 76, locator);
  must(short.counts.every((count) => count === wide.count || count === 0xffff));
  must([wide.length, SEE_64].includes(short.length) && [wide.start, SEE_64].includes(short.start));
  return wide;
}

async function readEnd64(blob, at, locator) {
  must(u32(locator, 4) === 0 && u64(locator, 8) === at && u32(locator, 16) === 1);
  const end = await read(blob, at, 56);
  must(u32(end, 0) === END_64 && u64(end, 4) === 44 && u16(end, 14) <= VERSION_MAX && u32(end, 16) === 0 && u32(end, 20) === 0);
  const [count, again, length, start] = [24, 32, 40, 48].map((place) => u64(end, place));
  must(count === again && start + length === at);
  return { count, length, start };
}

function readDirectory(view, count) {
  must(count > 0 && count <= CONTAINER_ENTRIES_MAX);
  const records = [];
  let at = 0;
  for (let place = 0; place < count; place += 1) {
    must(at + 46 <= view.byteLength && u32(view, at) === CENTRAL);
    const [nameLength, extraLength, commentLength, disk] = [28, 30, 32, 34].map((field) => u16(view, at + field));
    must(commentLength === 0 && disk === 0 && at + 46 + nameLength + extraLength <= view.byteLength);
    const attributes = u32(view, at + 38);
    must((attributes & 0x10) === 0 && [0, 0o100_000].includes((attributes >>> 16) & 0o170_000));
    const name = readEntryName(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength));
    must(name !== null && kindOf(name) !== 'unknown');
    const extra = new DataView(view.buffer, view.byteOffset + at + 46 + nameLength, extraLength);
    const [length, packed, offset] = wideNumbers([u32(view, at + 24), u32(view, at + 20), u32(view, at + 42)], extra);
    records.push({ name, length, packed, offset, ...common(view, at + 6) });
    at += 46 + nameLength + extraLength;
  }
  must(at === view.byteLength);
  return records;
}

const common = (view, at) => ({
  version: u16(view, at),
  flags: u16(view, at + 2),
  method: u16(view, at + 4),
  time: u16(view, at + 6),
  date: u16(view, at + 8),
  crc: u32(view, at + 10),
});

// Each number stands in the zip64 field exactly where its own field says so, and nothing else stands there.
function wideNumbers(short, extra) {
  const wide = short.filter((number) => number === SEE_64).length;
  must(extra.byteLength === (wide === 0 ? 0 : 4 + 8 * wide));
  if (wide > 0) must(u16(extra, 0) === 1 && u16(extra, 2) === 8 * wide);
  let at = 4;
  return short.map((number) => {
    if (number !== SEE_64) return number;
    at += 8;
    return u64(extra, at - 8);
  });
}

/** The data of an entry, and where the next one begins; local header and descriptor must say what the directory says. */
async function locate(blob, record) {
  const fixed = await read(blob, record.offset, 30);
  must(u32(fixed, 0) === LOCAL);
  const [nameLength, extraLength] = [u16(fixed, 26), u16(fixed, 28)];
  const rest = await read(blob, record.offset + 30, nameLength + extraLength);
  const name = new Uint8Array(rest.buffer, 0, nameLength);
  must(readEntryName(name) === record.name);
  const local = common(fixed, 4);
  must(['flags', 'method', 'time', 'date'].every((field) => local[field] === record[field]));
  must(local.version <= record.version && record.version <= VERSION_MAX && (local.flags & ~FLAGS_KNOWN) === 0);
  must((local.flags & 0x0800) !== 0 || name.every((byte) => byte < 0x80));
  const has64 = extraLength > 0;
  const short = [u32(fixed, 22), u32(fixed, 18)];
  must(!has64 || short.every((number) => number === SEE_64));
  const [length, packed] = wideNumbers(short, new DataView(rest.buffer, nameLength, extraLength));
  const start = record.offset + 30 + nameLength + extraLength;
  const data = { start, end: start + record.packed, blob };
  if ((local.flags & FLAG_DESCRIPTOR) === 0) {
    must(local.crc === record.crc && length === record.length && packed === record.packed);
    return { data, next: data.end };
  }
  must(local.crc === 0 && length === 0 && packed === 0 && local.method === DEFLATE);
  return { data, next: await checkDescriptor(blob, data.end, record, has64) };
}

async function checkDescriptor(blob, at, record, has64) {
  const size = has64 ? 24 : 16;
  const view = await read(blob, at, size);
  must(u32(view, 0) === DESCRIPTOR && u32(view, 4) === record.crc);
  const [packed, length] = has64 ? [u64(view, 8), u64(view, 16)] : [u32(view, 8), u32(view, 12)];
  must(packed === record.packed && length === record.length);
  return at + size;
}

async function readEntry({ blob, start, end }, record, budget) {
  must(end <= blob.size && (record.method === DEFLATE || (record.method === STORED && record.packed === record.length)));
  const packed = blob.slice(start, end).stream();
  const stream = record.method === STORED ? packed : packed.pipeThrough(new DecompressionStream('deflate-raw'));
  const keptMax = KEPT_MAX[record.name] ?? 0;
  const [hash, kept] = [hasher(), []];
  let [length, sum] = [0, CRC_START];
  for await (const piece of pieces(stream)) {
    length += piece.length;
    budget.left -= piece.length;
    must(length <= record.length && budget.left >= 0 && (keptMax === 0 || length <= keptMax));
    hash.update(piece);
    sum = crc(sum, piece);
    if (keptMax > 0) kept.push(piece);
  }
  must(length === record.length && (sum ^ CRC_START) >>> 0 === record.crc);
  return { digest: hex(hash.digest()), kept: new Uint8Array(await new Blob(kept).arrayBuffer()) };
}

/** The pieces of a stream; leaving early ends it. */
export async function* pieces(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const CRC_START = 0xffffffff;
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc(sum, bytes) {
  let value = sum;
  for (const byte of bytes) value = (value >>> 8) ^ CRC_TABLE[(value ^ byte) & 0xff];
  return value >>> 0;
}
