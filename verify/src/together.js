// What receipts show together about those who made them (docs/FORMATS.md, "Bundle"): ledgers with two histories, and certificates that a later directory
// names as revoked.

/** What `[{name, report}]` show against each other: `{forks, ends}`. */
export function togetherOf(receipts) {
  const forks = [];
  const ends = new Map();
  const seen = new Map();
  for (const { name, report: { verdict, summary } } of receipts) {
    if (verdict === 'invalid' || summary === null) continue;
    if (verdict === 'valid') noteEnds(ends, summary);
    const { checkpoint, ledgerKey } = summary;
    if (checkpoint === null || ledgerKey === null) continue;
    // Both checkpoints carry the ledger key's signature, or their receipts are invalid anyway.
    // Under another key it is another ledger, whatever it calls itself.
    const [place, key] = [`${checkpoint.origin} · ${checkpoint.size}`, `${ledgerKey} ${checkpoint.origin} ${checkpoint.size}`];
    if (!seen.has(key)) seen.set(key, { name, root: checkpoint.root });
    else if (seen.get(key).root !== checkpoint.root) forks.push({ place: `${place}: ${seen.get(key).name}, ${name}`, ledger: ledgerOf(summary) });
  }
  return { forks, ends };
}

const ledgerOf = ({ checkpoint, ledgerKey }) => `${ledgerKey} ${checkpoint.origin}`;

// Versions of two directories do not compare.
const keyOf = ({ axis, lane }, sha256) => `${axis} ${lane} ${sha256}`;

/** Whether what can be read of a receipt's directory is of the bundle's axis and lane. */
export const isOfDomain = ({ domain }, about) => domain === null || (domain.axis === about.axis && domain.lane === about.lane);

/** By axis, lane and certificate: per directory version that binds it to its node, since when it is revoked or suspended there (Infinity: it is not). */
function noteEnds(ends, { nodeCertificates, directoryVersion, domain }) {
  for (const { sha256, ended } of nodeCertificates) {
    const key = keyOf(domain, sha256);
    if (!ends.has(key)) ends.set(key, new Map());
    const versions = ends.get(key);
    versions.set(directoryVersion, Math.min(versions.get(directoryVersion) ?? Infinity, ended ?? Infinity));
  }
}

/** What a later version of the directory among them says against the certificate that signed a receipt: `{outcome, since}`, or null. */
export function endedBy({ ends }, { verdict, summary }) {
  const versions = verdict === 'valid' ? ends.get(keyOf(summary.domain, summary.certificate)) : undefined;
  if (versions === undefined) return null;
  const newest = Math.max(...versions.keys());
  const since = versions.get(newest);
  if (newest <= summary.directoryVersion || since === Infinity) return null;
  const signed = summary.signedAt ?? summary.time;
  if (since <= signed) return { outcome: 'failed', since };
  if (summary.provenBy === null) return { outcome: 'unknown', since };
  return summary.provenBy < since ? null : { outcome: 'failed', since };
}

/** Whether a receipt counts: it is valid, and nothing later stops its certificate. */
export const counts = (together, report) => report.verdict === 'valid' && endedBy(together, report) === null;

/** Whether its ledger shows two histories. Who signed both can deny neither. */
export const isForked = ({ forks }, { summary }) => summary !== null && summary.checkpoint !== null && forks.some(({ ledger }) => ledger === ledgerOf(summary));
