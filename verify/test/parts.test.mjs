// The parts by themselves, where the corpus does not reach: signatures that truc verifies and never writes, made by openssl; the two Ed25519s; JSON.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { webcrypto } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { after, test } from 'node:test';
import { concat, fromBase64, fromHex, hex, utf8 } from '../src/bytes.js';
import { ed25519Holds } from '../src/signature.js';
import { inclusionFault, leafHash } from '../src/merkle.js';
import { readCertificates, readableCertificate } from '../src/x509.js';
import { readEntryName, readManifest } from '../src/manifest.js';
import { comparable } from '../src/name.js';
import { judge, looksLikePolicy, readPolicy } from '../src/policy.js';
import { readCheckpoint } from '../src/note.js';
import { readJson } from '../src/json.js';
import { time } from '../src/fields.js';
import { pathTo, trustStore, validate } from '../src/path.js';
import { verifyDetached } from '../src/cms.js';
import { visible } from '../src/text.js';

// Node 18 has it under this name alone.
globalThis.crypto ??= webcrypto;

const folder = mkdtempSync(join(tmpdir(), 'truc-verify-'));
after(() => rmSync(folder, { recursive: true }));
const at = (name) => join(folder, name);
const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
const bytes = (name) => new Uint8Array(readFileSync(at(name)));

const LEAF = 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=emailProtection\nsubjectKeyIdentifier=hash\n';

/** A root, and a certificate it issued; `made` says how the root signs. */
function issue(name, rootKey, leafKey, { extensions = LEAF, signing = [] } = {}) {
  writeFileSync(at(`${name}.ext`), extensions);
  openssl('req', '-x509', '-newkey', ...rootKey, '-noenc', '-keyout', `${name}-root.key`, '-out', `${name}-root.pem`, '-subj', `/CN=Root ${name}`, '-days', '30', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
  openssl('req', '-new', '-newkey', ...leafKey, '-noenc', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=Leaf ${name}`);
  openssl('x509', '-req', '-in', `${name}.csr`, '-CA', `${name}-root.pem`, '-CAkey', `${name}-root.key`, '-days', '20', '-out', `${name}.pem`, '-extfile', `${name}.ext`, ...signing);
  return { root: readCertificates(bytes(`${name}-root.pem`)), leaf: readCertificates(bytes(`${name}.pem`))[0] };
}

const P256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const P384 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'];
const RSA = ['rsa:2048'];
const PSS = ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32', '-sigopt', 'rsa_mgf1_md:sha256'];

function sign(name, ...more) {
  writeFileSync(at('content'), 'content');
  openssl('cms', '-sign', '-binary', '-cades', '-md', 'sha256', '-in', 'content', '-signer', `${name}.pem`, '-inkey', `${name}.key`, '-outform', 'DER', '-out', `${name}.p7s`, ...more);
  return bytes(`${name}.p7s`);
}

for (const [name, root, leaf, more, signing] of [
  ['p256', P256, P256, [], []],
  ['p384-root', P384, P256, [], ['-sha384']],
  ['rsa', RSA, RSA, [], ['-sha512']],
  ['pss', RSA, RSA, ['-keyopt', 'rsa_padding_mode:pss', '-keyopt', 'rsa_pss_saltlen:32', '-keyopt', 'rsa_mgf1_md:sha256'], PSS],
  ['by-key-id', P256, P256, ['-keyid'], []],
]) {
  test(`a CMS of openssl holds, and its certificate leads to its root: ${name}`, async () => {
    const { root: anchors, leaf: certificate } = issue(name, root, leaf, { signing });
    const cms = sign(name, ...more);
    const found = await verifyDetached(cms, utf8('content'), []);
    assert.equal(found.refused, undefined);
    assert.equal(found.certificate.sha256, certificate.sha256);
    assert.notEqual((await verifyDetached(cms, utf8('Content'), [])).refused, undefined);
    const path = await validate(trustStore(anchors, [], []), certificate, [], 'node', Date.now());
    assert.deepEqual([path.refused, path.revoked], [undefined, null]);
    const bent = cms.slice();
    bent[bent.length - 5] ^= 1;
    assert.notEqual((await verifyDetached(bent, utf8('content'), [])).refused, undefined);
  });
}

test('a CMS in BER, as streaming writers make it, is brought into DER first', async () => {
  issue('streamed', P256, P256);
  const der = sign('streamed');
  assert.deepEqual([...der.subarray(0, 2)], [0x30, 0x82]);
  const ber = concat(new Uint8Array([0x30, 0x80]), der.subarray(4), new Uint8Array(2));
  assert.equal((await verifyDetached(ber, utf8('content'), [])).refused, undefined);
  assert.notEqual((await verifyDetached(ber.subarray(0, ber.length - 1), utf8('content'), [])).refused, undefined);
});

test('other keys, weak signatures and attached content are refused', async () => {
  issue('attached', P256, P256);
  assert.match((await verifyDetached(sign('attached', '-nodetach'), utf8('content'), [])).refused, /carries its content/);
  assert.throws(() => issue('weak', ['rsa:1024'], P256));
  const { leaf } = issue('other', P256, P256);
  const { root } = issue('another', P256, P256);
  assert.match((await validate(trustStore(root, [], []), leaf, [], 'node', Date.now())).refused, /no path/);
});

test('the names that an authority allows are all that count below it', async () => {
  openssl('req', '-x509', '-newkey', ...P256, '-noenc', '-keyout', 'nc.key', '-out', 'nc.pem', '-subj', '/CN=Restricted', '-addext', 'nameConstraints=critical,permitted;DNS:example', '-addext', 'keyUsage=critical,keyCertSign');
  openssl('req', '-new', '-newkey', ...P256, '-noenc', '-keyout', 'under.key', '-out', 'under.csr', '-subj', '/CN=Under');
  for (const [names, fault] of [['', undefined], ['subjectAltName=DNS:a.example', undefined], ['subjectAltName=DNS:a.other', /none of those that an authority above it permits/]]) {
    writeFileSync(at('nc.ext'), LEAF + names);
    openssl('x509', '-req', '-in', 'under.csr', '-CA', 'nc.pem', '-CAkey', 'nc.key', '-days', '20', '-out', 'under.pem', '-extfile', 'nc.ext');
    const [leaf] = readCertificates(bytes('under.pem'));
    const { refused } = await validate(trustStore(readCertificates(bytes('nc.pem')), [], []), leaf, [], 'node', Date.now());
    if (fault === undefined) assert.equal(refused, undefined);
    else assert.match(refused, fault);
  }
});

// Sections of NIST PKITS that ask nothing of revocation, under the settings that a verifier of receipts has: any policy will do, and none.
const PKITS_SECTIONS = ['4.1', '4.2', '4.3', '4.5', '4.6', '4.8', '4.9', '4.10', '4.11', '4.12', '4.13', '4.16'];
// DSA is not accepted; nothing is valid since 1950; invalid by revocation alone.
const PKITS_OTHERWISE = ['4.1.4', '4.1.5', '4.2.3', '4.5.2', '4.5.5', '4.5.7'];

test('paths of NIST PKITS, their policies and constraints on names come out as the suite says', async () => {
  const suite = JSON.parse(gunzipSync(readFileSync(new URL('../../tests/vectors/pkits/pkits.json.gz', import.meta.url))));
  const wrong = [];
  let count = 0;
  for (const one of suite.tests) {
    const [number] = one.Name.split(' ');
    const isDefault = one.InitialPolicySet.join() === 'anyPolicy' && !one.InitialExplicitPolicy && !one.InitialPolicyMappingInhibit && !one.InitialAnyPolicyInhibit;
    if (!isDefault || !PKITS_SECTIONS.includes(number.split('.').slice(0, 2).join('.')) || PKITS_OTHERWISE.includes(number)) continue;
    count += 1;
    const path = one.CertPath.map((name) => readableCertificate(fromBase64(suite.certificates[name])));
    const { refused } = path.includes(null) ? { refused: 'unreadable' } : await pathTo({ anchors: path.slice(0, 1), intermediates: path.slice(1, -1) }, path.at(-1), [], Date.UTC(2024, 0, 1));
    if ((refused === undefined) !== one.ShouldValidate) wrong.push(`${one.Name}: ${refused}`);
  }
  assert.deepEqual(wrong, []);
  assert.equal(count, 137);
});

test('the browser and the library agree on Ed25519', async () => {
  // RFC 8032 7.1, test 3.
  const key = fromHex('fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025');
  const signature = fromHex('6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a');
  for (const byLibrary of [false, true]) {
    assert.equal(await ed25519Holds(key, fromHex('af82'), signature, byLibrary), true);
    assert.equal(await ed25519Holds(key, fromHex('af83'), signature, byLibrary), false);
    assert.equal(await ed25519Holds(key.fill(0xff, 31), fromHex('af82'), signature, byLibrary), false);
    key[31] = 0x25;
  }
});

test('JSON has one reading or is objected to', () => {
  const objection = (text) => readJson(utf8(text)).objection;
  assert.equal(objection('{"a":[1,"Đ\\u0110",true,{}],"b":-9007199254740991}'), null);
  for (const text of ['{"a":1,"a":1}', '[null]', '1.0', '1e3', '-0', '9007199254740992', '{"a":{"b":1,"\\u0062":2}}', '['.repeat(17) + ']'.repeat(17)]) {
    const { value, objection: why } = readJson(utf8(text));
    assert.ok(value !== undefined && why !== null, text);
  }
  for (const text of ['', '{', '{"a"}', '[1,]', '01', '"\\ud800"', '"\t"', '{} x', '\ufeff{}', '['.repeat(200) + ']'.repeat(200)]) {
    assert.equal(readJson(utf8(text)).value, undefined, text);
  }
});

test('times, base64 and names have one form', () => {
  assert.equal(time('2025-06-30T19:00:00+07:00'), Date.UTC(2025, 5, 30, 12));
  for (const text of ['2025-06-30T19:00:00', '2025-06-30T19:00:00.0001Z', '1969-12-31T23:59:59Z', '2025-02-30T00:00:00Z', '2025-06-30x19:00:00Z']) {
    assert.throws(() => time(text), undefined, text);
  }
  assert.deepEqual(['AAA=', 'AAB=', 'AA==', 'AA', 'A A=', 'AAAA====', 'AA=='].map((text) => fromBase64(text)?.length ?? null), [2, null, 1, null, null, null, 1]);
  assert.deepEqual(['a/b.pdf', '../a', 'a//b', 'C:a', 'a\u202eb', 'e\u0301', ''].map((name) => readEntryName(utf8(name))), ['a/b.pdf', null, null, null, null, null, null]);
  assert.equal(visible('a\u202egpj.exe\u0000'), 'a⟦U+202E⟧gpj.exe⟦U+0000⟧');
});

test('a leaf is in a tree by its own place alone', () => {
  const [one, two] = [leafHash(utf8('1')), leafHash(utf8('2'))];
  assert.equal(inclusionFault(one, 0n, 1n, [], one), null);
  assert.notEqual(inclusionFault(one, 1n, 1n, [], one), null);
  assert.notEqual(inclusionFault(one, 0n, 2n, [two], one), null);
  assert.notEqual(inclusionFault(one, 0n, 1n, [two], one), null);
});

test('a manifest is of the one profile', () => {
  const reference = (digest) => `<asic:DataObjectReference URI="a%20b"><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>${digest}</ds:DigestValue></asic:DataObjectReference>`;
  const zero = `${'A'.repeat(43)}=`;
  const manifest = (inside) =>
    `<?xml version="1.0" encoding="UTF-8"?>\n<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><asic:SigReference URI="META-INF/signature001.p7s"/>${inside}</asic:ASiCManifest>`;
  assert.deepEqual(readManifest(utf8(manifest(reference(zero)))).references, [{ name: 'a b', digest: hex(new Uint8Array(32)) }]);
  for (const bad of [reference(zero) + reference(zero), reference('AAAA'), `<!-- -->${reference(zero)}`, `x${reference(zero)}`, '<other/>', reference(`&#65;${zero.slice(1)}`)]) {
    assert.notEqual(readManifest(utf8(manifest(bad))).refused, undefined, bad);
  }
});

test('hostile sizes end in a refusal', async () => {
  const many = concat(new Uint8Array([0x30, 0x80]), new Uint8Array(1_000_000).map((_, place) => (place % 2 === 0 ? 0x04 : 0)), new Uint8Array(2));
  const deep = new Uint8Array(1_000_000).map((_, place) => (place % 2 === 0 ? 0x30 : 0x80));
  for (const cms of [many, deep, new Uint8Array(2 * 1024 * 1024)]) assert.notEqual((await verifyDetached(cms, utf8('x'), [])).refused, undefined);
  assert.equal(fromBase64('A'.repeat(4_000_000)).length, 3_000_000);
  assert.throws(() => readCertificates(concat(new Uint8Array([0x30, 0x82, 0x3f, 0xf0]), deep.subarray(0, 0x3ff0))));
});

const witnessed = new URL('../../proto/testdata/witness/', import.meta.url);
const vector = (name) => new Uint8Array(readFileSync(new URL(name, witnessed)));

test('policies of another writer are read as their names say', () => {
  const names = readdirSync(witnessed).filter((name) => name.endsWith('.policy'));
  assert.ok(names.length > 25);
  for (const name of names) assert.equal(readPolicy(vector(name)).refused !== undefined, name.startsWith('refused-'), name);
});

test('cosignatures of another writer hold and meet its policy', async () => {
  const { note, checkpoint } = readCheckpoint(vector('cosigned.note'));
  const policy = readPolicy(vector('one-of-the-relay-or-two-nodes.policy'));
  const signed = 1_795_312_800_000;
  const { met } = await judge(policy, note, checkpoint, signed, signed);
  assert.deepEqual(met.map(({ name, time }) => [name, time]), [['truc/dev/ordinary/R1/1', signed], ['truc/dev/ordinary/N-G22/1', signed]]);
  assert.ok((await judge(policy, note, checkpoint, signed, signed - 301_000)).failed.en.includes('future'));
});

test('a policy is known by its first line that says something', () => {
  for (const text of ['quorum none', '# a\n\n \t# b\n witness\tx y\n', 'log x\n']) assert.ok(looksLikePolicy(text), text);
  for (const text of ['', '# a\n', 'Quorum of the meeting\n', 'a log of\nlog x\n']) assert.ok(!looksLikePolicy(text), text);
});

/** A Name of one common name. */
function named(text, tag = 0x0c) {
  const value = typeof text === 'string' ? utf8(text) : text;
  const wrap = (outer, inner) => concat(new Uint8Array([outer, inner.length]), inner);
  return wrap(0x30, wrap(0x31, wrap(0x30, concat(new Uint8Array([6, 3, 0x55, 4, 3]), wrap(tag, value)))));
}

test('names are equal by letters, not by look', () => {
  const isSame = (one, other) => comparable(named(one)) === comparable(named(other));
  assert.ok(isSame('UBND THÀNH PHỐ HÀ NỘI', 'ubnd  thành phố hà nội '));
  assert.ok(isSame('Ha\u0300 No\u0323\u0302i', 'Hà Nội'));
  assert.equal(comparable(named('Root CA', 0x13)), comparable(named('ROOT  CA')));
  assert.equal(comparable(named(new Uint8Array([0, 0x52, 0, 0x61]), 0x1e)), comparable(named('Ra')));
  for (const posing of ['\u0412\u0410N', 'BAN\u200b', '\uff22\uff21\uff2e', 'B\u00a0AN', 'BANG']) assert.ok(!isSame('BAN', posing), posing);
  assert.notEqual(comparable(named('\xff'.repeat(2), 0x14)), comparable(named('\xff'.repeat(2))));
  assert.equal(comparable(new Uint8Array([0x30, 1])), '3001');
});
