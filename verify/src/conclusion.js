// What valid receipts about one envelope prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

import { counts, isForked } from './together.js';
import { EVENTS_OF_ALL_MAX, PROVEN_LATE_MS, SKEW_MS } from './limits.js';
import { LEVELS } from './levels.js';

/** How far a recipient provably is, from nothing on. From `taken` on it is the recipient itself that states it. */
export const STANDINGS = ['nothing', 'not-sent', 'sent', 'relayed', 'failed', 'passed-on', 'taken', 'not-opened', 'consigned', 'refused', 'handed-over'];

/** Per event: what it shows, which step of the way it is, and whether another step can only come behind it. */
const EVENTS = {
  SubmissionAcceptance: ['sent', 0, true],
  SubmissionRejection: ['not-sent', 0, false],
  RelayAcceptance: ['relayed', 1, true],
  RelayRejection: ['failed', 1, false],
  RelayToNonERDS: ['passed-on', 1, false],
  'RelayAcceptance recipient': ['taken', 2, true],
  ReceivedFromNonERDS: ['consigned', 2, true],
  RelayFailure: ['failed', 2, false],
  ContentConsignment: ['consigned', 3, true],
  ContentConsignmentFailure: ['not-opened', 3, false],
  ContentHandover: ['handed-over', 4, true],
  ContentHandoverFailure: ['refused', 4, false],
};

const about = ({ event, role }) => EVENTS[`${event} ${role}`] ?? EVENTS[event];
const standingOf = (summary) => STANDINGS.indexOf(about(summary)[0]);

/**
 * `[{recipient, name, standing, remarks, events, statuses}]` by recipients' codes, each with its summaries and their `remarks`, the earliest first, from
 * `[{report}]`. Receipts that are not valid, or that others `together` stop, prove nothing here.
 */
export function conclude(receipts, together) {
  const all = sorted(once(receipts, together));
  const codes = [...all.submissions.flatMap(({ sealedFor, legacy }) => [...sealedFor, ...legacy]), ...all.named.keys()];
  return [...new Set(codes)].sort().flatMap((code) => conclusionOf(code, all) ?? []);
}

/** Each event once, however many receipts prove it, with the earliest proof. */
function once(receipts, together) {
  const found = new Map();
  for (const { report } of receipts.filter((receipt) => counts(together, receipt.report))) {
    const { summary } = report;
    const proof = { ...summary, isForked: isForked(together, report) };
    const before = found.get(summary.leaf);
    if (before === undefined) found.set(summary.leaf, proof);
    else found.set(summary.leaf, { ...before, signedAt: least(before.signedAt, proof.signedAt), provenBy: least(before.provenBy, proof.provenBy), levels: LEVELS.filter((level) => before.levels.includes(level) || proof.levels.includes(level)), isForked: before.isForked && proof.isForked });
  }
  return [...found.values()];
}

const least = (a, b) => (a === null || b === null ? (a ?? b) : Math.min(a, b));

const isSubmission = ({ event }) => event === 'SubmissionAcceptance';
const isOwn = ({ role }) => role === 'recipient';
const byLeaf = (a, b) => (a.leaf < b.leaf ? -1 : 1);

/** Everything proven about one envelope id: submissions, what names nobody but them, and by recipient what names one. */
function sorted(proofs) {
  const earliest = (some) => some.sort((a, b) => a.time - b.time || byLeaf(a, b)).slice(0, EVENTS_OF_ALL_MAX);
  const named = new Map();
  for (const proof of proofs.filter((one) => !isSubmission(one) && one.recipient !== null)) {
    if (!named.has(proof.recipient)) named.set(proof.recipient, []);
    named.get(proof.recipient).push(proof);
  }
  const ofAll = proofs.filter((one) => !isSubmission(one) && one.recipient === null);
  return { submissions: earliest(proofs.filter(isSubmission)), ofAll: earliest(ofAll), named };
}

const addresses = ({ sealedFor, legacy }, code) => sealedFor.includes(code) || legacy.includes(code);
const isSame = (a, b) => a !== null && b !== null && Object.entries(a).every(([what, hash]) => b[what] === hash);
const last = (some, order) => some.reduce((found, one) => (found === undefined || order(one, found) >= 0 ? one : found), undefined);

/** What is proven about one; null where only others name somebody whom the submission does not. */
function conclusionOf(code, { submissions, ofAll, named: all }) {
  const named = all.get(code) ?? [];
  const own = last(named.filter(isOwn), (a, b) => standingOf(a) - standingOf(b) || a.time - b.time);
  // Which of several contents: the one that the recipient's own word names, else the one that was sent to it first.
  const measure = (own ?? submissions.find((one) => addresses(one, code)) ?? named[0] ?? ofAll[0])?.hashes;
  if (measure === undefined) return null;
  const agrees = ({ hashes }) => hashes === null || isSame(hashes, measure);
  const submission = submissions.find(agrees) ?? null;
  const isAddressed = submission === null || addresses(submission, code);
  const isOutside = submission !== null && submission.legacy.includes(code);
  if (!isAddressed && own === undefined) return null;
  // Of one whom the submission does not name its own word alone counts, and what was passed on went to an agency of today's axis.
  const isCounted = (one) => isOwn(one) || (isAddressed && (one.event !== 'RelayToNonERDS' || submission === null || isOutside));
  // What the relay has is not for those whom it never reaches.
  const ofAllOfIt = ofAll.filter((one) => agrees(one) && (one.role !== 'relay' || !isOutside));
  const events = [...(submission === null ? [] : [submission]), ...ofAllOfIt, ...named.filter((one) => agrees(one) && isCounted(one))];
  const found = { 'two-submissions': submissions.length > 1, 'not-addressed': !isAddressed };
  return concluded(code, events, found);
}

function concluded(recipient, events, found) {
  events.sort((a, b) => a.time - b.time || standingOf(a) - standingOf(b) || byLeaf(a, b));
  const furthest = events.reduce((step, summary) => Math.max(step, standingOf(summary)), 0);
  const name = events.find(({ actor }) => actor === recipient)?.actorName ?? null;
  // The earliest statement of each step: a relay that was recovered states its own once more.
  const steps = [Infinity, Infinity, Infinity, Infinity, Infinity];
  for (const one of events.filter((event) => about(event)[2])) steps[about(one)[1]] = Math.min(steps[about(one)[1]], one.time);
  const told = events.map((summary) => ({ ...summary, remarks: stepRemarks(summary, steps) }));
  return { recipient, name, standing: STANDINGS[furthest], remarks: remarksOf(events, found), events: told, statuses: [] };
}

function stepRemarks(summary, steps) {
  const isEarly = steps.slice(0, about(summary)[1]).some((time) => time !== Infinity && time > summary.time + SKEW_MS);
  return [...(isEarly ? ['out-of-order'] : []), ...(isLate(summary.time, summary.provenBy ?? summary.signedAt) ? ['proven-late'] : [])];
}

/** Whether something was stated, signed or proven (null: it was not) long after the time that it names. */
export const isLate = (named, proven) => proven !== null && proven > named + PROVEN_LATE_MS;

/** What does not go together in it. */
function remarksOf(events, found) {
  const any = (...wanted) => events.some(({ event }) => wanted.includes(event));
  const took = Math.min(...events.filter(({ event }) => event === 'ContentHandover').map(({ time }) => time));
  const all = {
    'no-submission': !any('SubmissionAcceptance'),
    ...found,
    'two-histories': events.some((one) => one.isForked),
    'relay-denies': events.some(isOwn) && any('RelayRejection'),
    'delivered-late': events.some(isOwn) && any('RelayFailure'),
    'opened-and-not': any('ContentConsignment', 'ReceivedFromNonERDS') && any('ContentConsignmentFailure'),
    'took-and-refused': events.some(({ event, time }) => event === 'ContentHandoverFailure' && time > took),
  };
  return Object.keys(all).filter((remark) => all[remark]);
}

/** Adds what statuses prove to the recipients that they are of, the earliest first; they change nothing of where one stands. */
export function addStatuses(conclusions, statuses) {
  const sorted = [...statuses].sort((a, b) => a.time - b.time || a.sequence - b.sequence);
  for (const one of conclusions) one.statuses = sorted.filter(({ from, to }) => from === one.recipient || to === one.recipient);
}
