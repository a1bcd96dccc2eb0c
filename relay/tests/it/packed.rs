//! Key envelopes that come packed: an offer as any other, bounded as any other.

use bytes::Bytes;
use truc_proto::{Reason, pack_key_envelopes, relay_v1 as wire};

use crate::{
    client::draft,
    flows::{accepted, consign, offer, refused},
    world::World,
};

fn packed(mut offer: wire::OfferRequest) -> wire::OfferRequest {
    offer.packed_key_envelopes = pack_key_envelopes(std::mem::take(&mut offer.key_envelopes));
    offer
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_key_envelopes_are_taken_as_if_they_had_come_one_by_one() {
    let (_world, nodes, mut clients) = World::ready().await;
    let document = draft(1, &["H26"], b"sealed bytes".to_vec());
    let plain = nodes[0].offer(&document);
    let first = accepted(offer(&mut clients[0], &packed(plain.clone())).await);
    assert_eq!(accepted(offer(&mut clients[0], &plain).await).leaf, first.leaf, "the same offer");
    consign(&mut clients[1], &nodes[1], &document, &plain, "H26").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_packed_key_envelopes_is_refused_and_the_offer_itself_is_not() {
    let (_world, nodes, mut clients) = World::ready().await;
    let plain = nodes[0].offer(&draft(1, &["H26"], b"sealed bytes".to_vec()));
    let both = wire::OfferRequest { key_envelopes: plain.key_envelopes.clone(), ..packed(plain.clone()) };
    let zeros = wire::KeyEnvelope { recipient: "H26".into(), cms: vec![0; 64 << 20].into() };
    let bomb = wire::OfferRequest { packed_key_envelopes: pack_key_envelopes(vec![zeros]), ..packed(plain.clone()) };
    let noise = wire::OfferRequest { packed_key_envelopes: Bytes::from_static(b"\x07noise"), ..packed(plain.clone()) };
    let none = wire::OfferRequest { packed_key_envelopes: pack_key_envelopes(vec![]), ..packed(plain.clone()) };
    for (bent, reason, says) in [
        (both, Reason::Invalid, "not both ways"),
        (bomb, Reason::TooLarge, "inflate to more than"),
        (noise, Reason::Invalid, "inflated"),
        (none, Reason::Invalid, "not those of the submission"),
    ] {
        let refusal = refused(offer(&mut clients[0], &bent).await);
        assert_eq!(refusal.reason, reason.as_str(), "{refusal:?}");
        assert!(refusal.english.contains(says) && !refusal.vietnamese.is_empty(), "{says}: {refusal:?}");
    }
    accepted(offer(&mut clients[0], &plain).await);
}
