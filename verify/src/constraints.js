// Name constraints (RFC 5280 4.2.1.10): which names the certificates below an authority may bear. Directory, DNS, e-mail, URI and IP names are compared;
// a name of another form is refused where that form is constrained. Every fault is thrown as `Broken`.

import { Malformed, SEQUENCE, context, contextPrimitive, elements, inside, parse } from './der.js';
import { addressesIn, hasLookAlikes, partsOf } from './name.js';
import { NAME_COMPARISONS_MAX } from './limits.js';

/** Why a path breaks the rules. */
export class Broken extends Error {}

const must = (holds, why) => {
  if (!holds) throw new Broken(why);
};

const FORMS = { [contextPrimitive(1)]: 'e-mail address', [contextPrimitive(2)]: 'DNS name', [context(4)]: 'directory name', [contextPrimitive(6)]: 'URI', [contextPrimitive(7)]: 'IP address' };
// otherName, x400Address, ediPartyName, registeredID.
const OTHER_FORMS = [context(0), context(3), context(5), contextPrimitive(8)];
const EMAIL = contextPrimitive(1);
const DIRECTORY = context(4);

/** One GeneralName (RFC 5280 4.2.1.6): its form is its tag, its value a text, bytes, or the parts of a directory name. */
function readGeneralName({ tag, content }) {
  if (tag === DIRECTORY) {
    const { whole } = parse(content, SEQUENCE);
    return { form: tag, value: partsOf(whole), isAmbiguous: hasLookAlikes(whole) };
  }
  if (tag === contextPrimitive(7)) return { form: tag, value: content };
  if (FORMS[tag] !== undefined) return { form: tag, value: ascii(content) };
  if (!OTHER_FORMS.includes(tag)) throw new Malformed('a name of a form that is none');
  return { form: tag, value: null };
}

function ascii(content) {
  if (content.some((byte) => byte >= 0x80)) throw new Malformed('a name that is not of ASCII');
  return String.fromCharCode(...content);
}

/** All names of a certificate for which constraints hold; the e-mail addresses of its subject, too. */
function namesOf({ subject, ruling }) {
  const names = [];
  const parts = partsOf(subject);
  if (parts.length > 0) names.push({ form: DIRECTORY, value: parts, isAmbiguous: hasLookAlikes(subject) });
  for (const value of addressesIn(subject)) names.push({ form: EMAIL, value });
  if (ruling.subjectAltName === null) return names;
  const alternative = elements(parse(ruling.subjectAltName, SEQUENCE), Infinity);
  if (alternative.length === 0) throw new Malformed('no names at all');
  return [...names, ...alternative.map(readGeneralName)];
}

/** All constraints that stand above a certificate. */
export class NameConstraints {
  constructor() {
    // Of each authority a list: a name of a form that stands there must be within one of that form.
    this.permitted = [];
    this.excluded = [];
    this.comparisonsLeft = NAME_COMPARISONS_MAX;
  }

  /** Adds the nameConstraints of an authority, null where it has none. */
  add(der) {
    if (der === null) return;
    const fields = inside(parse(der, SEQUENCE));
    const [permitted, excluded] = [fields.optional(context(0)), fields.optional(context(1))];
    fields.finish();
    must(permitted !== null || excluded !== null, 'its name constraints are empty');
    if (permitted !== null) this.permitted.push(readSubtrees(permitted));
    if (excluded !== null) this.excluded.push(...readSubtrees(excluded));
  }

  /** Checks every name of a certificate below. */
  check(certificate) {
    if (this.permitted.length + this.excluded.length === 0) return;
    for (const name of namesOf(certificate)) this.checkName(name);
  }

  checkName(name) {
    const what = FORMS[name.form] ?? 'name of another form';
    this.comparisonsLeft -= this.excluded.length + this.permitted.reduce((sum, subtrees) => sum + subtrees.length, 0);
    must(this.comparisonsLeft >= 0, 'there are too many names and constraints on names to compare');
    for (const subtree of this.excluded.filter(({ form }) => form === name.form)) {
      must(!isWithin(subtree, name, true, what), `its ${what} is one that an authority above it excludes`);
      // Whether it is excluded would rest on letters that nobody can tell apart.
      must(!name.isAmbiguous, 'its name mixes alphabets or has invisible characters, so it cannot be told whether it is excluded');
    }
    for (const subtrees of this.permitted) {
      const ofForm = subtrees.filter(({ form }) => form === name.form);
      must(ofForm.length === 0 || ofForm.some((subtree) => isWithin(subtree, name, false, what)), `its ${what} is none of those that an authority above it permits`);
    }
  }
}

// GeneralSubtrees. minimum and maximum are fixed by RFC 5280: 0 and absent.
function readSubtrees(set) {
  const subtrees = elements(set, Infinity).map((element) => {
    const fields = inside(element, SEQUENCE);
    const base = readGeneralName(fields.any());
    const minimum = fields.optional(contextPrimitive(0));
    const isPlain = (minimum === null || (minimum.content.length === 1 && minimum.content[0] === 0)) && fields.isEmpty;
    must(isPlain, 'its name constraints state a minimum or a maximum, which is not supported');
    must(base.form !== contextPrimitive(7) || isNetwork(base.value), 'its constraint on IP addresses is no network');
    return base;
  });
  if (subtrees.length === 0) throw new Malformed('no names at all');
  return subtrees;
}

const WITHIN = {
  [contextPrimitive(1)]: emailWithin,
  [contextPrimitive(2)]: dnsWithin,
  [contextPrimitive(6)]: uriWithin,
  [contextPrimitive(7)]: addressWithin,
  [DIRECTORY]: (subtree, name) => subtree.length <= name.length && subtree.every((part, at) => part === name[at]),
};

/** `isExcluding`: a wildcard counts for all that it may stand for. */
function isWithin(subtree, name, isExcluding, what) {
  const found = WITHIN[name.form]?.(subtree.value, name.value, isExcluding) ?? null;
  must(found !== null, `its ${what} cannot be compared with a constraint that stands above it`);
  return found;
}

const isHost = (host) => host.length <= 253 && host.split('.').every((label) => /^[0-9A-Za-z_-]{1,63}$/.test(label));
const domainOf = (subtree) => (subtree.startsWith('.') ? subtree.slice(1) : subtree);

// One label more, at least; everything is below the empty domain.
const isBelow = (host, subtree) => domainOf(subtree) === '' || (host.endsWith(`.${domainOf(subtree)}`) && host.length > domainOf(subtree).length + 1);

// Null where the name is no DNS name, or the constraint none.
function dnsWithin(given, name, isExcluding) {
  const [subtree, lower] = [given.toLowerCase(), name.toLowerCase()];
  const isWildcard = lower.startsWith('*.');
  const host = isWildcard ? lower.slice(2) : lower;
  if (!isHost(host) || !(subtree === '' || isHost(domainOf(subtree)))) return null;
  // What a wildcard stands for is one label below its host.
  if (isBelow(host, subtree) || host === (isWildcard ? domainOf(subtree) : subtree)) return true;
  // `*.example.vn` may stand for `a.example.vn`.
  const domain = domainOf(subtree);
  return isExcluding && isWildcard && domain.includes('.') && domain.slice(domain.indexOf('.') + 1) === host;
}

// For e-mail and URIs: one host, or with a dot in front all that is below.
const hostWithin = (subtree, host) => (subtree.startsWith('.') || subtree === '' ? isBelow(host, subtree) : host === subtree);

function emailWithin(subtree, address) {
  const [local, host] = splitLast(address, '@') ?? ['', ''];
  if (local === '' || !isHost(host)) return null;
  const one = splitLast(subtree, '@');
  if (one !== null) return one[0] === local && one[1].toLowerCase() === host.toLowerCase();
  return hostWithin(subtree.toLowerCase(), host.toLowerCase());
}

function splitLast(text, separator) {
  const at = text.lastIndexOf(separator);
  return at < 0 ? null : [text.slice(0, at), text.slice(at + 1)];
}

// Null where the URI has no host name.
function uriWithin(subtree, uri) {
  const start = uri.indexOf('://');
  if (start < 0) return null;
  const [authority] = uri.slice(start + 3).split(/[/?#]/);
  const place = splitLast(authority, '@')?.[1] ?? authority;
  const port = splitLast(place, ':');
  const host = (port !== null && /^[0-9]*$/.test(port[1]) ? port[0] : place).toLowerCase();
  return isHost(host) && !isAddress(host) ? hostWithin(subtree.toLowerCase(), host) : null;
}

const isAddress = (host) => /^(?:(?:0|[1-9][0-9]{0,2})(?:\.(?!$)|$)){4}$/.test(host) && host.split('.').every((part) => Number(part) < 256);

// Address and mask, the mask's ones in front.
function isNetwork(octets) {
  const bits = [...octets.subarray(octets.length >> 1)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return [8, 32].includes(octets.length) && /^1*0*$/.test(bits);
}

function addressWithin(network, address) {
  if (![4, 16].includes(address.length)) return null;
  const length = network.length >> 1;
  return length === address.length && address.every((octet, at) => ((octet ^ network[at]) & network[length + at]) === 0);
}
