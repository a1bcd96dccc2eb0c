// What valid receipts about one envelope prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

import { counts, isForked } from './together.js';
import { isSubmission } from './agreement.js';
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
  return [...new Set([...all.naming.keys(), ...all.named.keys()])].sort().flatMap((code) => conclusionOf(code, all) ?? []);
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

const isOwn = ({ role }) => role === 'recipient';
const byLeaf = (a, b) => (a.leaf < b.leaf ? -1 : 1);

const contentOf = ({ hashes }) => (hashes === null ? '' : JSON.stringify([hashes.submission, hashes.preamble, hashes.payload, hashes.commitment]));

/** Everything proven about one envelope id: submissions by content, those that name an agency, what names nobody by content, what names one by that. */
function sorted(proofs) {
  const all = { submissions: new Map(), naming: new Map(), ofAll: new Map(), named: new Map() };
  const put = (map, key, proof) => (map.has(key) ? map.get(key).push(proof) : map.set(key, [proof]));
  for (const proof of proofs.sort((a, b) => a.time - b.time || byLeaf(a, b))) {
    const content = contentOf(proof);
    if (isSubmission(proof)) {
      all.submissions.set(content, proof);
      for (const code of [...proof.sealedFor, ...proof.legacy]) put(all.naming, code, proof);
    } else if (proof.recipient !== null) put(all.named, proof.recipient, proof);
    else if ((all.ofAll.get(content)?.length ?? 0) < EVENTS_OF_ALL_MAX) put(all.ofAll, content, proof);
  }
  return all;
}

/**
 * Which of several contents is told of a recipient: that of its own word, first where it was sent to it; else the one sent to it of which others than the
 * sender know; else the first sent to it; else what others say at all.
 */
function measureOf(named, naming, ofAll) {
  const isOf = (one, other) => contentOf(one) === contentOf(other);
  const furthest = (own) => own.filter(isOwn).reduce((found, one) => (found === undefined || (standingOf(one) - standingOf(found) || one.time - found.time || byLeaf(one, found)) > 0 ? one : found), undefined);
  const isKnown = (found) => [...(ofAll.get(contentOf(found)) ?? []), ...named].some((proof) => proof.role !== 'sender' && isOf(found, proof));
  const sent = furthest(named.filter((proof) => naming.some((found) => isOf(found, proof))));
  const found = sent ?? furthest(named) ?? naming.find(isKnown) ?? naming[0] ?? named.find(({ hashes }) => hashes !== null);
  return found === undefined || found.hashes === null ? ([...ofAll.keys()].filter((content) => content !== '').sort()[0] ?? '') : contentOf(found);
}

/** What is proven about one; null where only others name somebody whom the submission does not. */
function conclusionOf(code, all) {
  const [named, naming] = [all.named.get(code) ?? [], all.naming.get(code) ?? []];
  const measure = measureOf(named, naming, all.ofAll);
  const agrees = (one) => one.hashes === null || contentOf(one) === measure;
  const submission = (measure === '' ? null : all.submissions.get(measure)) ?? null;
  const isAddressed = submission === null || naming.includes(submission);
  const isOutside = submission !== null && submission.legacy.includes(code);
  const own = named.filter(isOwn);
  if (!isAddressed && !own.some(agrees)) return null;
  // Of one whom the submission does not name its own word alone counts, and what was passed on went to an agency of today's axis.
  const isCounted = (one) => isOwn(one) || (isAddressed && (one.event !== 'RelayToNonERDS' || submission === null || isOutside));
  // What the relay has is not for those whom it never reaches.
  const ofAll = [...new Set(['', measure])].flatMap((content) => all.ofAll.get(content) ?? []).filter(({ role }) => role !== 'relay' || !isOutside);
  const events = [...(submission === null ? [] : [submission]), ...ofAll, ...named.filter((one) => agrees(one) && isCounted(one))];
  const isOther = submission === null && naming.length > 0;
  const found = {
    // A submission of another content is one, too.
    'no-submission': naming.length === 0 && !events.some(({ role }) => role === 'sender'),
    'two-submissions': all.submissions.size > 1,
    'not-addressed': !isAddressed,
    'other-content': isOther || own.some((one) => !agrees(one)),
  };
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
