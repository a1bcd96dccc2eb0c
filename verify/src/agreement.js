// Whether receipts of one envelope id are about the same thing (docs/FORMATS.md, "Receipts agree").

import { both } from './text.js';
import { firstOf } from './signer.js';

export const isSubmission = ({ event }) => event === 'SubmissionAcceptance';

/** What the others are held against: the first submission, else the first that says what the envelope is; null where none does. */
function measureOf(summaries) {
  const submission = summaries.find(isSubmission);
  const first = submission ?? summaries.find(({ hashes }) => hashes !== null);
  if (first === undefined) return null;
  const keys = new Map(first.keyEnvelopes);
  for (const { keyEnvelopes } of submission === undefined ? summaries : []) {
    for (const [code, digest] of keyEnvelopes) if (!keys.has(code)) keys.set(code, digest);
  }
  return { first, keys };
}

function agrees({ first, keys }, summary) {
  if (summary.hashes === null) return true;
  const isSame = first.hashes !== null && Object.entries(summary.hashes).every(([what, hash]) => first.hashes[what] === hash);
  return isSame && [...summary.keyEnvelopes].every(([code, digest]) => keys.get(code) === digest) && isFor(first, summary);
}

/** Whether the envelope is for the recipient that is named, where its submission says for whom it is. */
function isFor({ sealedFor, legacy }, { event, recipient }) {
  if (recipient === null || sealedFor.length + legacy.length === 0) return true;
  return legacy.includes(recipient) || (event !== 'RelayToNonERDS' && sealedFor.includes(recipient));
}

/** What of `[{name, report}]` does not agree, for people; null where all of it does. What is invalid, or cannot be read, states nothing. */
export function disagreement(receipts) {
  const read = receipts.filter(({ report }) => report.verdict !== 'invalid' && report.summary !== null);
  const measure = measureOf(read.map(({ report }) => report.summary));
  if (measure === null) return null;
  const others = read.filter(({ report }) => !agrees(measure, report.summary));
  if (others.length === 0) return null;
  const names = firstOf(others.map(({ name }) => name));
  const { name } = read.find(({ report }) => report.summary === measure.first);
  const isTwice = isSubmission(measure.first) && others.some(({ report }) => isSubmission(report.summary));
  return isTwice
    ? both(`${names}: hai lần gửi dưới cùng một mã gói tin: ${name}`, `${names}: two submissions under one envelope: ${name}`)
    : both(`${names}: không về điều được nêu trong ${name}`, `${names}: not about what is stated in ${name}`);
}
