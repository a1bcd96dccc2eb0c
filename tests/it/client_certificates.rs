//! Client certificates at the local API: who shows one is who it was let in as, with the role it was given, as long as it is believed.

use std::collections::BTreeSet;

use tonic::{Code, Request as Call, transport::Channel};
use truc_certs_dev::{KeyKind, Profile, Request, Subject};
use truc_link::{Identity, connect_local};
use truc_node::{
    quota::Quota,
    settings::Settings,
    tokens::{TokenError, add_certificate},
};
use truc_proto::{
    CallerRole, Lane,
    node_v1::{
        AdministrationLogRequest, CertificatesRequest, StatusRequest, administration_client::AdministrationClient,
        node_client::NodeClient, oversight_client::OversightClient,
    },
};
use truc_signer::Certificate;

use crate::support::{
    World, until,
    world::{hang_up, now},
};

const NODE: &str = "N-H26";

/// A way to the node with this certificate; none: without.
async fn with(world: &World, identity: Option<&Identity>) -> Channel {
    let address = format!("https://localhost:{}", world.node_address(NODE).port());
    let authorities = Certificate::from_pem(&std::fs::read(world.file("anchors.pem")).unwrap()).unwrap();
    connect_local(&address, &authorities, identity).await.unwrap()
}

async fn asks(channel: Channel) -> Result<(), tonic::Status> {
    NodeClient::new(channel).status(StatusRequest {}).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_who_it_was_let_in_as_until_it_is_revoked() {
    let mut world = World::make(Lane::Ordinary, &[(NODE, &["H26"])]).await;
    world.issue("local", Request::new(Profile::Tls, KeyKind::P256, Subject::endpoint(NODE)));
    for name in ["lan", "binh", "stranger"] {
        world.issue(name, Request::new(Profile::Tls, KeyKind::P256, Subject::new(name)));
    }
    let home = world.node_folder(NODE);
    let settings = Settings { local_tls: Some(world.key_source("local")), ..Settings::load(&home).unwrap() };
    std::fs::write(home.join("truc-node.toml"), settings.to_toml()).unwrap();
    assert_eq!(Settings::load(&home).unwrap(), settings);
    let add = |name: &str, of: &str, role| {
        let sha256 = world.issued(of).fingerprint();
        add_certificate(&settings.tokens, name, sha256, role, BTreeSet::new(), Quota::default(), now())
    };
    add("lan", "lan", CallerRole::CipherAdmin).unwrap();
    add("binh", "binh", CallerRole::Officer).unwrap();
    assert!(
        matches!(add("again", "lan", CallerRole::Officer), Err(TokenError::CertificateKnown { name }) if name == "lan")
    );
    world.serve_node(NODE).await;

    let lan = with(&world, Some(&world.identity("lan"))).await;
    AdministrationClient::new(lan.clone()).certificates(CertificatesRequest {}).await.unwrap();
    let binh = with(&world, Some(&world.identity("binh"))).await;
    asks(binh.clone()).await.unwrap();
    let refused = OversightClient::new(binh).administration_log(AdministrationLogRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "its role is an officer's: {refused:?}");

    let refused = asks(with(&world, Some(&world.identity("stranger"))).await).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("is not let in") && refused.message().contains("chưa được phép"), "{refused:?}");
    let without = with(&world, None).await;
    assert_eq!(asks(without.clone()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut call = Call::new(StatusRequest {});
    call.metadata_mut().insert("authorization", format!("Bearer {}", world.token(NODE)).parse().unwrap());
    NodeClient::new(without).status(call).await.expect("a token is as good as ever");

    // Its fingerprint is no token's text.
    let mut call = Call::new(StatusRequest {});
    let sha256 = world.issued("lan").fingerprint().to_string();
    call.metadata_mut().insert("authorization", format!("Bearer {sha256}").parse().unwrap());
    assert_eq!(NodeClient::new(lan.clone()).status(call).await.unwrap_err().code(), Code::Unauthenticated);

    // Revoked, it is refused on the connection that is open.
    world.revoke("lan", now());
    world.push_lists_to_node(NODE);
    hang_up();
    until("the revoked one to be refused", || async {
        let refused = AdministrationClient::new(lan.clone()).certificates(CertificatesRequest {}).await.err()?;
        (refused.code() == Code::Unauthenticated && refused.message().contains("is revoked since")).then_some(())
    })
    .await;
    asks(with(&world, Some(&world.identity("binh"))).await).await.unwrap();
}
