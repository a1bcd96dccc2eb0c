use std::time::Instant;

use super::*;
use crate::asn1::{self, OCTET_STRING, SET, oid as oid_der, tlv};

const ISSUER: &str = "CA";

fn name(common: &str) -> Vec<u8> {
    let value = tlv(SEQUENCE, &[&tlv(0x06, &[&[0x55, 4, 3]]), &tlv(0x0c, &[common.as_bytes()])]);
    tlv(SEQUENCE, &[&tlv(SET, &[&value])])
}

fn extension(id: der::asn1::ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(asn1::BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    tlv(SEQUENCE, &[&oid_der(id), &critical, &tlv(OCTET_STRING, &[value])])
}

fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = match extensions.concat() {
        none if none.is_empty() => none,
        some => tlv(SEQUENCE, &[&some]),
    };
    tlv(SEQUENCE, &[&tlv(INTEGER, &[serial]), &tlv(UTC_TIME, &[b"240101000000Z"]), &extensions])
}

/// A list with these entries and extensions; its signature is none.
fn list(entries: &[Vec<u8>], extensions: &[Vec<u8>]) -> Result<Crl, CrlError> {
    let algorithm = asn1::algorithm(oid::ECDSA_SHA256);
    let extensions = tlv(context(0), &[&tlv(SEQUENCE, &[&extensions.concat()])]);
    let tbs = tlv(
        SEQUENCE,
        &[
            &[2, 1, 1],
            &algorithm,
            &name(ISSUER),
            &tlv(UTC_TIME, &[b"240101000000Z"]),
            &tlv(UTC_TIME, &[b"300101000000Z"]),
            &tlv(SEQUENCE, &[&entries.concat()]),
            &extensions,
        ],
    );
    Crl::from_der(&tlv(SEQUENCE, &[&tbs, &algorithm, &[3, 2, 0, 0]]))
}

fn listed(list: &Crl, issuer: &str, serial: &[u8]) -> Option<Listed> {
    list.look_up(&ComparableName::of(&name(issuer)).unwrap(), serial).map(|(_, state)| state)
}

fn reason(code: u8) -> Vec<u8> {
    extension(oid::CRL_REASON, false, &[ENUMERATED, 1, code])
}

const REVOKED: Option<Listed> = Some(Listed::Revoked(RevocationReason::Unspecified));

#[test]
fn serial_numbers_are_found_whatever_zeros_stand_before_them_and_their_sign_counts() {
    let list = list(&[entry(&[0, 0, 5], &[]), entry(&[0, 0xff], &[]), entry(&[1, 0], &[])], &[]).unwrap();
    for (serial, expected) in [
        (&[5][..], REVOKED),
        (&[0, 0xff], REVOKED),
        (&[0xff], None),
        (&[1, 0], REVOKED),
        (&[1], None),
        (&[0, 1, 0], REVOKED),
    ] {
        assert_eq!(listed(&list, ISSUER, serial), expected, "{serial:?}");
    }
    assert_eq!(listed(&list, "another", &[5]), None);
}

#[test]
fn a_removal_stands_in_delta_lists_alone_and_numbers_say_which_list_they_continue() {
    let number = |value: &[u8]| extension(oid::CRL_NUMBER, false, &tlv(INTEGER, &[value]));
    let base_of = |value: &[u8]| extension(oid::CRL_DELTA_INDICATOR, true, &tlv(INTEGER, &[value]));
    let removal = [entry(&[5], &[reason(8)])];
    assert!(matches!(list(&removal, &[number(&[1])]), Err(CrlError::Malformed)));
    let delta = list(&removal, &[number(&[1, 0]), base_of(&[9])]).unwrap();
    assert!(delta.is_delta());
    assert_eq!(listed(&delta, ISSUER, &[5]), Some(Listed::Removed));
    for (of_base, continues) in
        [(&[8][..], false), (&[9], true), (&[0, 0xff], true), (&[1, 0], false), (&[1, 1], false)]
    {
        assert_eq!(delta.continues(&list(&[], &[number(of_base)]).unwrap()), continues, "{of_base:?}");
    }
    assert!(!delta.continues(&list(&[], &[]).unwrap()), "a list without a number is continued by none");
    let twice = [entry(&[5], &[reason(8)]), entry(&[5], &[reason(1)])];
    let twice = list(&twice, &[number(&[10]), base_of(&[9])]).unwrap();
    assert_eq!(listed(&twice, ISSUER, &[5]), Some(Listed::Revoked(RevocationReason::KeyCompromise)));
}

#[test]
fn an_indirect_list_names_the_issuer_once_for_all_that_follow() {
    let of = |issuer: &str| {
        extension(oid::CRL_CERTIFICATE_ISSUER, true, &tlv(SEQUENCE, &[&tlv(context(4), &[&name(issuer)])]))
    };
    let entries = [entry(&[1], &[]), entry(&[2], &[of("other")]), entry(&[3], &[]), entry(&[4], &[of(ISSUER)])];
    let indirect = extension(oid::CRL_ISSUING_DISTRIBUTION_POINT, true, &[SEQUENCE, 3, 0x84, 1, 0xff]);
    let whole = list(&entries, &[indirect]).unwrap();
    for (issuer, serial, expected) in [
        (ISSUER, 1, REVOKED),
        ("OTHER", 2, REVOKED),
        ("other", 3, REVOKED),
        (ISSUER, 4, REVOKED),
        (ISSUER, 2, None),
        ("other", 1, None),
    ] {
        assert_eq!(listed(&whole, issuer, &[serial]), expected, "{issuer} {serial}");
    }
    assert!(
        matches!(list(&entries, &[]), Err(CrlError::UnknownExtension { .. })),
        "in a list of one issuer it is not known"
    );
}

#[test]
fn what_changes_a_list_and_is_not_known_is_refused() {
    let unknown = der::asn1::ObjectIdentifier::new_unwrap("1.2.3.4");
    assert!(matches!(list(&[], &[extension(unknown, true, &[])]), Err(CrlError::UnknownExtension { .. })));
    assert!(list(&[], &[extension(unknown, false, &[])]).is_ok());
    let in_entry = [entry(&[1], &[extension(unknown, true, &[])])];
    assert!(matches!(list(&in_entry, &[]), Err(CrlError::UnknownExtension { .. })));
    for malformed in [&[SEQUENCE, 3, 0x84, 1, 1][..], &[SEQUENCE, 1, 0], &[SEQUENCE, 2, 0xa0, 0], &[]] {
        let point = extension(oid::CRL_ISSUING_DISTRIBUTION_POINT, true, malformed);
        assert!(matches!(list(&[], &[point]), Err(CrlError::Malformed)), "{malformed:?}");
    }
}

/// The figures are printed, not asserted: the machine is shared.
#[test]
fn a_list_of_120_000_entries_keeps_16_bytes_an_entry_beside_what_was_signed() {
    let serial = |n: u32| [&[0x40][..], &[0x5a; 11], &n.to_be_bytes()].concat();
    let entries: Vec<Vec<u8>> =
        (0..120_000u32).map(|n| entry(&serial(n.wrapping_mul(0x9e37_79b9)), &[reason(1)])).collect();
    let start = Instant::now();
    let list = list(&entries, &[]).unwrap();
    let read = start.elapsed();
    assert_eq!(list.revoked_count(), 120_000);
    let issuer = ComparableName::of(&name(ISSUER)).unwrap();
    let start = Instant::now();
    let found =
        (0..1_000u32).filter(|n| list.look_up(&issuer, &serial((n * 120).wrapping_mul(0x9e37_79b9))).is_some()).count();
    let each = start.elapsed() / 1_000;
    assert_eq!(found, 1_000);
    let bytes = list.tbs.len() + list.entries.len() * size_of::<Entry>();
    println!("120,000 entries: read in {read:?}, {bytes} bytes kept, a look-up takes {each:?}");
    assert!(bytes < list.tbs.len() + 16 * 120_001);
}
