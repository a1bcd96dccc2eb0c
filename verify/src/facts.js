// Takes a receipt apart into facts, each as far as it can be read. What a strict reader refuses stands as a failed form check, and is read all the same,
// so that every other check can say what it finds. Nothing that was read so can make a receipt valid.

import { ENTRY, ENVELOPE, EVENT, PREAMBLE, RECEIPT_BODY, ROOT, SUBMISSION, readStatement, typeOf } from './statements.js';
import { hex, sha256 } from './bytes.js';
import { leafHash } from './merkle.js';
import { readCheckpoint } from './note.js';
import { readManifest } from './manifest.js';
import { readReceipt } from './receipt.js';

/** `{unreadable}` where it is no receipt at all; else all that is in it. */
export function readFacts(bytes) {
  const file = readReceipt(bytes);
  if (file.body === undefined) return { unreadable: file.refused };
  const { value: body, refused: bodyRefused } = readStatement(RECEIPT_BODY, file.body);
  if (body === null) return { unreadable: bodyRefused };
  const { note = null, checkpoint = null, refused: checkpointRefused = null } = readCheckpoint(file.checkpoint);
  return {
    refused: file.refused ?? bodyRefused ?? checkpointRefused,
    index: file.index,
    proof: file.proof,
    note,
    checkpoint,
    body,
    leaf: readLeaf(body.leaf),
    root: readStatement(ROOT, body.directory),
    node: readEntry(body.node, ['node', 'relay']),
    agency: body.agency === null ? null : readEntry(body.agency, ['agency']),
    preamble: body.preamble.length === 0 ? null : readStatement(PREAMBLE, body.preamble),
    opening: body.opening === null ? null : readOpening(body.opening),
  };
}

function readLeaf(bytes) {
  const kind = { submission: SUBMISSION, event: EVENT }[typeOf(bytes)];
  if (kind === undefined) return { value: null, refused: 'it is neither a submission nor an event of version 1' };
  const { value, refused, inconsistent } = readStatement(kind, bytes);
  if (value === null) return { value, refused };
  const isSubmission = kind === SUBMISSION;
  const hash = hex(leafHash(bytes));
  const leaf = {
    isSubmission,
    statement: value,
    inconsistency: kind.check(value),
    event: value.event,
    actor: value.actor,
    time: value.time,
    envelope: value.envelope,
    // A submission's sender stands in the preamble.
    sender: isSubmission ? null : value.sender,
    recipient: isSubmission ? null : value.recipient,
    preamble: value.preamble,
    commitment: value.commitment,
    hashes: envelopeHashes(value, isSubmission, hash),
    // By recipient: a submission names all of them, another event its recipient's.
    keyEnvelopes: isSubmission ? new Map(value.key_envelopes) : new Map(value.recipient === null || value.key_envelope === null ? [] : [[value.recipient, value.key_envelope]]),
    hash,
  };
  // Whether the fields contradict each other is a check of its own.
  return { value: leaf, refused: inconsistent ? null : refused };
}

/** What the envelope is, where all of it is named; what was never submitted here begins with who took it over. */
function envelopeHashes({ event, submission = null, preamble, payload, commitment }, isSubmission, own) {
  const hashes = { submission: isSubmission ? own : (submission ?? (event === 'ReceivedFromNonERDS' ? own : null)), preamble, payload, commitment };
  return Object.values(hashes).includes(null) ? null : hashes;
}

function readEntry(entry, kinds) {
  const { value, refused } = readStatement(ENTRY, entry.bytes);
  const fits = value !== null && kinds.includes(value.kind);
  return { value: fits ? value : null, refused: refused ?? (fits ? null : 'it is an entry of another kind') };
}

function readOpening({ salt, manifest, envelope }) {
  const read = readManifest(manifest);
  return {
    salt,
    manifestBytes: manifest,
    references: read.references ?? null,
    manifestRefused: read.refused ?? null,
    envelopeDigest: hex(sha256(envelope)),
    envelope: readStatement(ENVELOPE, envelope),
  };
}
