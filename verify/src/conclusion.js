// What valid receipts about one envelope prove together, recipient by recipient (docs/FORMATS.md, "What a bundle proves").

/** How far a recipient provably is, from nothing on. */
export const STANDINGS = ['nothing', 'sent', 'relayed', 'passed-on', 'taken', 'failed', 'consigned', 'refused', 'handed-over'];

const SHOWN_BY = {
  SubmissionAcceptance: 'sent',
  SubmissionRejection: 'failed',
  RelayAcceptance: 'relayed',
  'RelayAcceptance recipient': 'taken',
  RelayRejection: 'failed',
  RelayFailure: 'failed',
  ContentConsignment: 'consigned',
  ContentConsignmentFailure: 'failed',
  ContentHandover: 'handed-over',
  ContentHandoverFailure: 'refused',
  RelayToNonERDS: 'passed-on',
  ReceivedFromNonERDS: 'consigned',
};

const standingOf = ({ event, role }) => SHOWN_BY[`${event} ${role}`] ?? SHOWN_BY[event];
const stepOf = (summary) => STANDINGS.indexOf(standingOf(summary));

/** `[{recipient, name, standing, events, statuses}]` by recipients' codes, each with its summaries, the earliest first. Receipts that are not valid prove nothing here. */
export function conclude(reports) {
  const proven = reports.filter(({ verdict }) => verdict === 'valid').map(({ summary }) => summary);
  const codes = proven.flatMap(({ addressed, recipient }) => (recipient === null ? addressed : [...addressed, recipient]));
  const found = new Map([...new Set(codes)].sort().map((code) => [code, []]));
  for (const summary of proven) {
    // The submission and the relay's acceptance are about everybody.
    const concerned = summary.recipient === null ? [...found.values()] : [found.get(summary.recipient)];
    for (const events of concerned) events.push(summary);
  }
  return [...found].map(([recipient, events]) => concluded(recipient, events));
}

function concluded(recipient, events) {
  events.sort((a, b) => a.time - b.time || stepOf(a) - stepOf(b));
  const furthest = events.reduce((step, summary) => Math.max(step, stepOf(summary)), 0);
  const name = events.find(({ actor }) => actor === recipient)?.actorName ?? null;
  return { recipient, name, standing: STANDINGS[furthest], events, statuses: [] };
}

/** Adds what statuses prove to the recipients that they are of, the earliest first; they change nothing of where one stands. */
export function addStatuses(conclusions, statuses) {
  const sorted = [...statuses].sort((a, b) => a.time - b.time || a.sequence - b.sequence);
  for (const one of conclusions) one.statuses = sorted.filter(({ from, to }) => from === one.recipient || to === one.recipient);
}
