// What valid receipts about one envelope prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

import { agreeing } from './agreement.js';
import { PROVEN_LATE_MS, SKEW_MS } from './limits.js';

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
 * `[{recipient, name, standing, remarks, events, statuses}]` by recipients' codes, each with its summaries and their `remarks`, the earliest first. Receipts
 * that are not valid prove nothing here, nor those that do not agree on what the envelope is.
 */
export function conclude(reports) {
  const proven = agreeing(reports.filter(({ verdict }) => verdict === 'valid').map(({ summary }) => summary));
  const codes = proven.flatMap(({ sealedFor, legacy, recipient }) => [...sealedFor, ...legacy, ...(recipient === null ? [] : [recipient])]);
  const found = new Map([...new Set(codes)].sort().map((code) => [code, []]));
  const outside = new Set(proven.flatMap(({ legacy }) => legacy));
  for (const summary of proven) {
    // The submission is about everybody; what the relay has of it is not for those whom it never reaches.
    const isFor = (code) => (summary.recipient === null ? summary.role !== 'relay' || !outside.has(code) : code === summary.recipient);
    for (const [code, events] of found) if (isFor(code)) events.push(summary);
  }
  return [...found].map(([recipient, events]) => concluded(recipient, events));
}

function concluded(recipient, events) {
  events.sort((a, b) => a.time - b.time || standingOf(a) - standingOf(b));
  const furthest = events.reduce((step, summary) => Math.max(step, standingOf(summary)), 0);
  const name = events.find(({ actor }) => actor === recipient)?.actorName ?? null;
  const told = events.map((summary) => ({ ...summary, remarks: timeRemarks(summary, events) }));
  return { recipient, name, standing: STANDINGS[furthest], remarks: remarksOf(events), events: told, statuses: [] };
}

function timeRemarks(summary, events) {
  const [, step] = about(summary);
  const isBefore = (other) => about(other)[2] && about(other)[1] < step;
  const isEarly = events.some((other) => isBefore(other) && other.time > summary.time + SKEW_MS);
  return [...(isEarly ? ['out-of-order'] : []), ...(isLate(summary.time, summary.provenBy ?? summary.signedAt) ? ['proven-late'] : [])];
}

/** Whether something was stated, signed or proven (null: it was not) long after the time that it names. */
export const isLate = (named, proven) => proven !== null && proven > named + PROVEN_LATE_MS;

/** What does not go together in it. */
function remarksOf(events) {
  const shows = (standing) => events.some((summary) => about(summary)[0] === standing);
  const took = Math.min(...events.filter(({ event }) => event === 'ContentHandover').map(({ time }) => time));
  const all = {
    'no-submission': !shows('sent'),
    'relay-denies': shows('failed') && events.some(({ role }) => role === 'recipient'),
    'opened-and-not': shows('consigned') && shows('not-opened'),
    'took-and-refused': events.some(({ event, time }) => event === 'ContentHandoverFailure' && time > took),
  };
  return Object.keys(all).filter((remark) => all[remark]);
}

/** Adds what statuses prove to the recipients that they are of, the earliest first; they change nothing of where one stands. */
export function addStatuses(conclusions, statuses) {
  const sorted = [...statuses].sort((a, b) => a.time - b.time || a.sequence - b.sequence);
  for (const one of conclusions) one.statuses = sorted.filter(({ from, to }) => from === one.recipient || to === one.recipient);
}
