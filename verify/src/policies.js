// Certificate policies (RFC 5280 6.1, RFC 9618), as far as a verifier needs them that accepts any policy: whether a path is under one where an authority
// demands it. Of the graph only the newest level matters then: each policy with those that certificates below must state to be under it.

import { INTEGER, Malformed, SEQUENCE, contextPrimitive, inside, parse } from './der.js';
import { Broken } from './constraints.js';
import { CERTIFICATE_POLICIES_MAX } from './limits.js';

const ANY = '2.5.29.32.0';

export class Policies {
  /** Before a path of so many certificates below the anchor. */
  constructor(count) {
    this.level = new Map([[ANY, new Set([ANY])]]);
    // How many certificates may still come before the respective rule holds.
    this.explicit = count + 1;
    this.mapping = count + 1;
    this.any = count + 1;
  }

  /** The certificatePolicies of the next certificate. */
  add(der, isSelfIssued, isLeaf) {
    const stated = der === null ? null : readPolicies(der);
    this.level = this.level === null || stated === null ? null : next(this.level, stated, this.any > 0 || (isSelfIssued && !isLeaf));
    this.mustBeUnderOne();
  }

  /** The policyMappings of an authority. */
  map(der) {
    if (der === null) return;
    const mappings = readMappings(der);
    if (this.level === null) return;
    for (const [from, to] of mappings) {
      if (this.mapping === 0) this.level.delete(from);
      else if (this.level.has(from) || this.level.has(ANY)) this.level.set(from, to);
    }
    if (this.level.size === 0) this.level = null;
  }

  /** The policyConstraints and inhibitAnyPolicy of an authority. */
  constrain(constraints, inhibitAny, isSelfIssued) {
    if (!isSelfIssued) [this.explicit, this.mapping, this.any] = [this.explicit, this.mapping, this.any].map((left) => Math.max(left - 1, 0));
    const { explicit, mapping } = readConstraints(constraints);
    this.explicit = Math.min(this.explicit, explicit);
    this.mapping = Math.min(this.mapping, mapping);
    if (inhibitAny !== null) this.any = Math.min(this.any, skipOf(parse(inhibitAny, INTEGER)));
  }

  /** What the certificate at the end adds, and whether the path is under a policy where it has to be. */
  finish(constraints) {
    this.explicit = readConstraints(constraints).explicit === 0 ? 0 : Math.max(this.explicit - 1, 0);
    this.mustBeUnderOne();
  }

  mustBeUnderOne() {
    if (this.explicit === 0 && this.level === null) throw new Broken('it is not under a certificate policy, as an authority above it demands');
  }
}

/** RFC 5280 6.1.3 (d): what of the level above goes on under the policies stated. */
function next(above, stated, doesAnyCount) {
  const expected = new Set([...above.values()].flatMap((policies) => [...policies]));
  const level = new Map();
  for (const policy of stated) {
    if (policy !== ANY && (expected.has(policy) || above.has(ANY))) level.set(policy, new Set([policy]));
  }
  for (const policy of stated.has(ANY) && doesAnyCount ? expected : []) {
    if (policy === ANY || !stated.has(policy)) level.set(policy, new Set([policy]));
  }
  return level.size === 0 ? null : level;
}

/** The OIDs of certificatePolicies; qualifiers are for people. */
function readPolicies(der) {
  const reader = inside(parse(der, SEQUENCE));
  const policies = new Set();
  while (!reader.isEmpty) {
    if (policies.size === CERTIFICATE_POLICIES_MAX) throw new Broken(`it names more than ${CERTIFICATE_POLICIES_MAX} policies`);
    const fields = reader.sequence();
    const policy = fields.oid();
    fields.optional(SEQUENCE);
    fields.finish();
    if (policies.has(policy)) throw new Broken('it names a policy twice');
    policies.add(policy);
  }
  if (policies.size === 0) throw new Malformed('no policies at all');
  return policies;
}

/** policyMappings: by the authority's policy those of the one below that are the same. */
function readMappings(der) {
  const reader = inside(parse(der, SEQUENCE));
  const mappings = new Map();
  for (let count = 0; !reader.isEmpty; count += 1) {
    if (count === CERTIFICATE_POLICIES_MAX) throw new Broken(`it maps more than ${CERTIFICATE_POLICIES_MAX} policies`);
    const fields = reader.sequence();
    const [from, to] = [fields.oid(), fields.oid()];
    fields.finish();
    if (from === ANY || to === ANY) throw new Broken('it maps "any policy", which must not be mapped');
    mappings.set(from, (mappings.get(from) ?? new Set()).add(to));
  }
  return mappings;
}

/** After how many certificates requireExplicitPolicy and inhibitPolicyMapping hold. */
function readConstraints(der) {
  if (der === null) return { explicit: Infinity, mapping: Infinity };
  const fields = inside(parse(der, SEQUENCE));
  const [explicit, mapping] = [fields.optional(contextPrimitive(0)), fields.optional(contextPrimitive(1))];
  fields.finish();
  if (explicit === null && mapping === null) throw new Broken('its policy constraints are empty');
  return { explicit: explicit === null ? Infinity : skipOf(explicit), mapping: mapping === null ? Infinity : skipOf(mapping) };
}

/** SkipCerts: beyond what a path can be long it does not matter how much. */
function skipOf({ content }) {
  if (content.length === 0 || content[0] >= 0x80) throw new Malformed('a number of certificates that is none');
  return content.length === 1 ? content[0] : Infinity;
}
