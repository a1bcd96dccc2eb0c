// Whether a path, its signatures and times in order, keeps the rules of RFC 5280 6.1 on names and policies.

import { Broken, NameConstraints } from './constraints.js';
import { Malformed } from './der.js';
import { Policies } from './policies.js';

/** What is wrong with a whole path, the anchor last; null where nothing is. */
export function rulesFault(path) {
  const below = path.slice(0, -1);
  const names = new NameConstraints();
  const policies = new Policies(below.length);
  let at = path.at(-1);
  try {
    // An anchor's own constraints on names hold (RFC 5937); nothing else in it is looked at.
    names.add(at.ruling.nameConstraints);
    for (const certificate of below.reverse()) {
      at = certificate;
      checkOne(names, policies, certificate, certificate === path[0]);
    }
    return null;
  } catch (error) {
    if (error instanceof Broken) return `${error.message} (${at.name})`;
    if (error instanceof Malformed) return `an extension is not well-formed (${at.name})`;
    throw error;
  }
}

function checkOne(names, policies, certificate, isLeaf) {
  const { ruling } = certificate;
  const isSelfIssued = certificate.subjectKey === certificate.issuerKey;
  if (isLeaf || !isSelfIssued) names.check(certificate);
  policies.add(ruling.certificatePolicies, isSelfIssued, isLeaf);
  if (isLeaf) return policies.finish(ruling.policyConstraints);
  policies.map(ruling.policyMappings);
  policies.constrain(ruling.policyConstraints, ruling.inhibitAnyPolicy, isSelfIssued);
  return names.add(ruling.nameConstraints);
}
