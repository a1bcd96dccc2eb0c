// A whole container (docs/FORMATS.md, "Container"): a ZIP in one profile, whose every entry is what its manifest says. Read from a Blob, piece by piece.
// What it is not, is a file like any other. Of what was taken from it nothing is believed before it was read to its end.

import { concatAll, hasher, hex, textOf } from './bytes.js';
import { MANIFEST_NAME, SIGNATURE_NAME, readEntryName, readManifest } from './manifest.js';
import { CONTAINER_BYTES_MAX, CONTAINER_ENTRIES_MAX, CONTAINER_RATIO_GRACE_BYTES, CONTAINER_RATIO_MAX, ENTRY_NAME_BYTES_MAX, MANIFEST_BYTES_MAX, SIGNATURE_BYTES_MAX } from './limits.js';

const MIMETYPE = 'application/vnd.etsi.asic-e+zip';
const LOCAL = 0x04034b50;
const DESCRIPTOR = 0x08074b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const SEE_64 = 0xffffffff;
const FLAG_DESCRIPTOR = 0x0008;
const FLAG_UTF8 = 0x0800;
const FLAGS_KNOWN = FLAG_UTF8 | FLAG_DESCRIPTOR | 0x0006;
const STORED = 0;
const DEFLATE = 8;
const VERSION_MAX = 45;
// A record of the directory with the longest name and all of its numbers in the zip64 field.
const RECORD_BYTES_MAX = 46 + ENTRY_NAME_BYTES_MAX + 28;

class NoContainer extends Error {}

const must = (holds, why) => {
  if (!holds) throw new NoContainer(why);
};

const nothing = { entriesMax: CONTAINER_ENTRIES_MAX, keptMax: () => 0, take: () => {} };

/** The manifest's bytes, when `blob` is a whole container; null when it is not. */
export const manifestOf = async (blob) => (await openContainer(blob)).manifest ?? null;

/**
 * Reads a container to its end: `{manifest, signature, entries}` with the bytes of the first two and `[{name, length}]` of the content, or `{refused}`.
 * Each content entry of which `keptMax(name)` wants bytes (more refuse the container) is handed to `take(name, bytes)`, in order.
 */
export async function openContainer(blob, options = {}) {
  try {
    return await readContainer(blob, { ...nothing, ...options });
  } catch (error) {
    if (error instanceof NoContainer) return { refused: error.message };
    // TypeError tells of DEFLATE data that is damaged, too short or too long, RangeError of a place outside of what was read.
    if (error instanceof TypeError || error instanceof RangeError) return { refused: 'the compressed data or the structure of the file is damaged' };
    throw error;
  }
}

async function readContainer(blob, { entriesMax, keptMax, take }) {
  const end = await readEnd(blob);
  must(end.length <= entriesMax * RECORD_BYTES_MAX, 'the directory is too large');
  const records = readDirectory(await read(blob, end.start, end.length), end.count, entriesMax);
  const found = new Map();
  let [at, decoded] = [0, 0];
  for (const [place, record] of records.entries()) {
    const { name } = record;
    must(record.offset === at, `${name} does not begin where the one before it ends`);
    must(!found.has(name), `it holds ${name} twice`);
    const { data, isWide, next } = await locate(blob, record);
    const kind = kindOf(name);
    const entry = await readEntry(data, record, kind === 'content' ? keptMax(name) : KEPT_MAX[name], decoded);
    if (place === 0) must(!isWide && isMimetype(record, entry), 'it does not begin with the mimetype of ASiC-E');
    const { kept, ...remembered } = entry;
    found.set(name, kind === 'content' ? remembered : entry);
    if (kind === 'content' && keptMax(name) > 0) await take(name, kept);
    decoded += entry.length;
    at = next;
  }
  must(at === end.start, 'something stands between the entries and the directory');
  const manifest = checkCoverage(found, entriesMax);
  const entries = [...found].filter(([name]) => kindOf(name) === 'content').map(([name, { length }]) => ({ name, length }));
  return { manifest, signature: found.get(SIGNATURE_NAME).kept, entries };
}

const isMimetype = ({ name, method, flags }, { kept }) => name === 'mimetype' && method === STORED && (flags & ~FLAG_UTF8) === 0 && textOf(kept) === MIMETYPE;

/** Every entry in the manifest with its digest, and every reference an entry. */
function checkCoverage(found, entriesMax) {
  const manifest = found.get(MANIFEST_NAME);
  must(manifest !== undefined && found.has(SIGNATURE_NAME), 'it has no manifest or no signature');
  const { references, refused } = readManifest(manifest.kept, entriesMax);
  must(refused === undefined, refused);
  const signed = new Map(references.map(({ name, digest }) => [name, digest]));
  for (const [name, { digest }] of found) {
    if (kindOf(name) !== 'content') continue;
    must(signed.has(name), `${name} is not covered by the signature`);
    must(signed.get(name) === digest, `${name} is not what the manifest says: it was changed after signing`);
    signed.delete(name);
  }
  for (const name of signed.keys()) must(false, `the manifest names ${name}, which is not there`);
  return manifest.kept;
}

function kindOf(name) {
  if (name === 'mimetype' || name === MANIFEST_NAME || name === SIGNATURE_NAME) return name;
  const isReserved = name.toLowerCase() === 'mimetype' || name.split('/')[0].toUpperCase() === 'META-INF';
  return isReserved ? 'unknown' : 'content';
}

const KEPT_MAX = { mimetype: MIMETYPE.length, [MANIFEST_NAME]: MANIFEST_BYTES_MAX, [SIGNATURE_NAME]: SIGNATURE_BYTES_MAX };

async function read(blob, start, length) {
  must(start >= 0 && start + length <= blob.size, 'it is cut short');
  return new DataView(await blob.slice(start, start + length).arrayBuffer());
}

const u16 = (view, at) => view.getUint16(at, true);
const u32 = (view, at) => view.getUint32(at, true);

function u64(view, at) {
  const number = view.getBigUint64(at, true);
  must(number <= BigInt(Number.MAX_SAFE_INTEGER), 'it names a size beyond all bounds');
  return Number(number);
}

// The end of central directory stands at the very end, without a comment; zip64 records may stand before it.
async function readEnd(blob) {
  const at = blob.size - 22;
  const end = await read(blob, at, 22);
  must(u32(end, 0) === END && u16(end, 4) === 0 && u16(end, 6) === 0 && u16(end, 20) === 0, 'it does not end as a ZIP without comment does');
  const short = { counts: [u16(end, 8), u16(end, 10)], length: u32(end, 12), start: u32(end, 16) };
  const locator = at >= 76 ? await read(blob, at - 20, 20) : null;
  if (locator === null || u32(locator, 0) !== LOCATOR_64) {
    must(short.counts[0] === short.counts[1] && short.start + short.length === at, 'the end of the directory says what is not so');
    return { count: short.counts[0], length: short.length, start: short.start };
  }
  const wide = await readEnd64(blob, at - 76, locator);
  const isSo = short.counts.every((count) => count === wide.count || count === 0xffff);
  must(isSo && [wide.length, SEE_64].includes(short.length) && [wide.start, SEE_64].includes(short.start), 'the two ends of the directory disagree');
  return wide;
}

async function readEnd64(blob, at, locator) {
  const wrong = 'the zip64 end of the directory says what is not so';
  must(u32(locator, 4) === 0 && u64(locator, 8) === at && u32(locator, 16) === 1, wrong);
  const end = await read(blob, at, 56);
  must(u32(end, 0) === END_64 && u64(end, 4) === 44 && u16(end, 14) <= VERSION_MAX && u32(end, 16) === 0 && u32(end, 20) === 0, wrong);
  const [count, again, length, start] = [24, 32, 40, 48].map((place) => u64(end, place));
  must(count === again && start + length === at, wrong);
  return { count, length, start };
}

function readDirectory(view, count, entriesMax) {
  must(count > 0 && count <= entriesMax, `it has no entry, or more than ${entriesMax}`);
  const records = [];
  let at = 0;
  for (let place = 0; place < count; place += 1) {
    must(at + 46 <= view.byteLength && u32(view, at) === CENTRAL, 'the directory does not hold what its end says');
    const [nameLength, extraLength, commentLength, disk] = [28, 30, 32, 34].map((field) => u16(view, at + field));
    must(commentLength === 0 && disk === 0 && at + 46 + nameLength + extraLength <= view.byteLength, 'an entry has a comment or lies on a second disk');
    const attributes = u32(view, at + 38);
    must((attributes & 0x10) === 0 && [0, 0o100_000].includes((attributes >>> 16) & 0o170_000), 'it holds a folder, a link or a device');
    const name = readEntryName(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength));
    must(name !== null, 'an entry has an unsafe name');
    must(kindOf(name) !== 'unknown', `it holds ${name}, which is not of this profile`);
    const extra = new DataView(view.buffer, view.byteOffset + at + 46 + nameLength, extraLength);
    const [length, packed, offset] = wideNumbers([u32(view, at + 24), u32(view, at + 20), u32(view, at + 42)], extra);
    records.push({ name, length, packed, offset, ...common(view, at + 6) });
    at += 46 + nameLength + extraLength;
  }
  must(at === view.byteLength, 'the directory holds more than its end says');
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
  const foreign = 'an entry has an extra field that is not of this profile';
  must(extra.byteLength === (wide === 0 ? 0 : 4 + 8 * wide), foreign);
  if (wide > 0) must(u16(extra, 0) === 1 && u16(extra, 2) === 8 * wide, foreign);
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
  const differs = `the directory and ${record.name} itself tell different things`;
  must(u32(fixed, 0) === LOCAL, differs);
  const [nameLength, extraLength] = [u16(fixed, 26), u16(fixed, 28)];
  const rest = await read(blob, record.offset + 30, nameLength + extraLength);
  const name = new Uint8Array(rest.buffer, 0, nameLength);
  must(readEntryName(name) === record.name, differs);
  const local = common(fixed, 4);
  must(['flags', 'method', 'time', 'date'].every((field) => local[field] === record[field]), differs);
  must(local.version <= record.version && record.version <= VERSION_MAX && (local.flags & ~FLAGS_KNOWN) === 0, `${record.name} uses encryption or another feature that is not of this profile`);
  must((local.flags & FLAG_UTF8) !== 0 || name.every((byte) => byte < 0x80), `${record.name} has a name in an unknown encoding`);
  const has64 = extraLength > 0;
  const short = [u32(fixed, 22), u32(fixed, 18)];
  must(!has64 || short.every((number) => number === SEE_64), `${record.name} has an extra field that is not of this profile`);
  const [length, packed] = wideNumbers(short, new DataView(rest.buffer, nameLength, extraLength));
  const start = record.offset + 30 + nameLength + extraLength;
  const data = { start, end: start + record.packed, blob };
  if ((local.flags & FLAG_DESCRIPTOR) === 0) {
    must(local.crc === record.crc && length === record.length && packed === record.packed, differs);
    return { data, isWide: has64, next: data.end };
  }
  must(local.crc === 0 && length === 0 && packed === 0 && local.method === DEFLATE, `${record.name} has sizes both before and after its data, or none`);
  return { data, isWide: has64, next: await checkDescriptor(blob, data.end, record, has64) };
}

async function checkDescriptor(blob, at, record, has64) {
  const size = has64 ? 24 : 16;
  const view = await read(blob, at, size);
  const differs = `the data of ${record.name} is not followed by its descriptor, or that says what is not so`;
  must(u32(view, 0) === DESCRIPTOR && u32(view, 4) === record.crc, differs);
  const [packed, length] = has64 ? [u64(view, 8), u64(view, 16)] : [u32(view, 8), u32(view, 12)];
  must(packed === record.packed && length === record.length, differs);
  return at + size;
}

/** `decoded`: bytes that came out of the entries before this one. */
async function readEntry({ blob, start, end }, record, keptMax, decoded) {
  const { name } = record;
  must(end <= blob.size, 'it is cut short');
  must(record.method === DEFLATE || (record.method === STORED && record.packed === record.length), `${name} uses another compression than DEFLATE, or tells two sizes`);
  const packed = blob.slice(start, end).stream();
  const stream = record.method === STORED ? packed : packed.pipeThrough(new DecompressionStream('deflate-raw'));
  // Past the grace at most so many times as much may have come out as was read.
  const decodedMax = Math.min(CONTAINER_BYTES_MAX, Math.max(CONTAINER_RATIO_GRACE_BYTES, (end + 1) * CONTAINER_RATIO_MAX - 1));
  const [hash, kept] = [hasher(), []];
  let [length, sum] = [0, CRC_START];
  for await (const piece of pieces(stream)) {
    length += piece.length;
    must(length <= record.length, `${name} has another size than the container says`);
    must(decoded + length <= decodedMax, `the container unpacks to more than ${CONTAINER_RATIO_MAX} times its size`);
    must(keptMax === 0 || length <= keptMax, `${name} is longer than the ${keptMax} bytes that such an entry may have`);
    hash.update(piece);
    sum = crc(sum, piece);
    if (keptMax > 0) kept.push(piece);
  }
  must(length === record.length, `${name} has another size than the container says`);
  must((sum ^ CRC_START) >>> 0 === record.crc, `${name} has another checksum than the container says`);
  return { digest: hex(hash.digest()), length, kept: concatAll(kept) };
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
