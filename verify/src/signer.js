// Whether an agency's certificate that signed counts (docs/FORMATS.md, "Bundle"), and whether all of a list are valid.

import { both } from './text.js';
import { expiredFinding, failed, passed, revokedFinding, stampFinding, unknown } from './checks.js';
import { readStamps } from './stamps.js';
import { moment } from './moment.js';
import { validate } from './path.js';
import { SKEW_MS } from './limits.js';

/** Of who signed at `signed`: the path at the time nearest to that at which its certificate is valid, and its time-stamps. */
export async function signerPath(cms, signed, trust, now) {
  const { certificate, others } = cms;
  const at = Math.max(Math.min(signed, certificate.notAfter), certificate.notBefore);
  const stamps = await readStamps(cms, signed, trust, now);
  return { ...(await validate(trust.store, certificate, others, 'service', at)), signed, now, isInTime: signed === at, stamps, isExpired: now > certificate.notAfter };
}

export function signerFinding(certificate, path) {
  if (path.refused !== undefined) return failed(path.refused);
  if (!path.isInTime) return failed(both('ký ngoài thời hạn của chứng thư', "signed outside the certificate's validity"));
  if (path.signed > path.now + SKEW_MS) return failed(both(`ký ${moment(path.signed)}, trong khi đang xét tại ${moment(path.now)}`, `signed ${moment(path.signed)}, and it is ${moment(path.now)}`));
  if (path.revoked !== null) return revokedFinding(path.revoked, path.signed, path.stamps);
  const stamped = stampFinding(path.stamps);
  if (stamped.outcome === 'failed') return stamped;
  if (path.isExpired && path.stamps.before !== null) return expiredFinding(certificate, path.stamps);
  if (path.unknown === null) return passed(stamped.detail);
  if (!path.isListMissing) return unknown(path.unknown);
  const said = (language, text) => [stamped.detail[language] ?? stamped.detail, text].filter((part) => part !== '').join('; ');
  return passed(both(said('vi', 'chưa kiểm tra thu hồi: không có danh sách thu hồi và trả lời OCSP'), said('en', 'whether it was revoked was not checked: there is no revocation list and no OCSP answer')));
}

/** Whether there are receipts, `[{name, report}]`, and each is valid. */
export const eachValid = (receipts) =>
  receipts.length === 0 ? failed(both('không có biên nhận nào', 'there is no receipt in it')) : eachValidOf(receipts.map(({ name, report }) => ({ name, verdict: report.verdict })));

/** Whether each of `[{name, verdict}]` is valid. */
export function eachValidOf(all) {
  const of = (wanted) => all.filter(({ verdict }) => verdict === wanted).map(({ name }) => name);
  if (of('invalid').length > 0) return failed(firstOf(of('invalid')));
  return of('cannot-tell').length > 0 ? unknown(firstOf(of('cannot-tell'))) : passed(String(all.length));
}

/** The first few, and how many more. */
export function firstOf(texts) {
  const shown = texts.slice(0, 5).join(', ');
  return texts.length > 5 ? `${shown}, … (${texts.length})` : shown;
}
