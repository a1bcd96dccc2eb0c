//! A node made by hand, that may lie: it has a real node's keys and ledger, seals and signs like one, and says whatever a test wants said.

use std::{collections::BTreeMap, io::Write as _, sync::Arc};

use ring::rand::{SecureRandom as _, SystemRandom};
use tonic::{Streaming, transport::Channel};
use truc_evidence::prove;
use truc_ledger::{Fold, FoldError, Ledger, LedgerKey, Record, Replayed, StoreTag, volume::DirVolume};
use truc_link::{Link, NotAdmitted};
use truc_proto::{
    Actor, AgencyId, AttachmentDigest, Digest, ENVELOPE_ENTRY, EnvelopeId, EnvelopeJson, EnvelopeKind, Event, EventUri,
    KeyManifest, KeyUse, NodeId, PACKET_ENTRY, Preamble, Priority, Raw, Role, SealedTo, Submission, Suite, Timestamp,
    TraceStamp,
    relay_v1::{self as wire, offer_reply::Outcome, relay_client::RelayClient, watch_event},
    wire_v1,
};
use truc_signer::{
    Certificate, SealingAlgorithm, SoftKey,
    asic::{ContainerWriter, ContentSalt, content_commitment},
    seal_key, sign_detached,
    stream::{FileKey, StreamParams, StreamSealer},
};

use super::{World, world};

/// A ledger without a state of its own.
struct Nothing;

impl Fold for Nothing {
    fn reset(&mut self) {}
    fn load_snapshot(&mut self, _: &mut dyn Iterator<Item = Vec<u8>>) -> Result<(), FoldError> {
        Ok(())
    }
    fn apply(&mut self, _: Replayed<'_>) -> Result<(), FoldError> {
        Ok(())
    }
}

/// The hand-made node.
pub(crate) struct Forger {
    pub(crate) node: NodeId,
    pub(crate) ledger: Ledger,
    pub(crate) relay: RelayClient<Channel>,
    next_leaf: u64,
    events: Option<Streaming<wire::WatchEvent>>,
    pub(crate) seen: Vec<Event>,
}

type Edit<T> = Option<Box<dyn Fn(&mut T)>>;

/// A document to be forged; without edits it is as it should be.
pub(crate) struct Forgery {
    pub(crate) preamble: Preamble,
    pub(crate) packet: Vec<u8>,
    pub(crate) service: SoftKey,
    /// Other sealing certificates than the directory's, by code.
    pub(crate) sealing: BTreeMap<AgencyId, Certificate>,
    /// Entries besides packet and `envelope.json`.
    pub(crate) more: Vec<(String, Vec<u8>)>,
    pub(crate) envelope: Edit<EnvelopeJson>,
    pub(crate) container: Edit<Vec<u8>>,
    pub(crate) manifest: Edit<KeyManifest>,
    pub(crate) payload: Edit<Vec<u8>>,
    pub(crate) submission: Edit<Submission>,
}

/// A sealed forgery, to be offered.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) preamble: Raw<Preamble>,
    pub(crate) submission: Submission,
    pub(crate) key_envelopes: Vec<wire::KeyEnvelope>,
    pub(crate) payload: Vec<u8>,
}

impl Sealed {
    pub(crate) fn id(&self) -> String {
        self.preamble.envelope.to_string()
    }
}

/// An edXML packet from one code to another, as short as one may be.
pub(crate) fn packet(from: &str, to: &[&str], subject: &str) -> Vec<u8> {
    let organ = |tag: &str, code: &str| {
        format!(
            "<edXML:{tag}><edXML:OrganId>{code}</edXML:OrganId><edXML:OrganName>Cơ quan {code}</edXML:OrganName></edXML:{tag}>"
        )
    };
    let to: String = to.iter().map(|code| organ("To", code)).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<edXML xmlns=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\">\
         <edXML:edXMLEnvelope xmlns:edXML=\"http://www.mic.gov.vn/TBT/QCVN_102_2016\"><edXML:edXMLHeader><edXML:MessageHeader>\
         {}{to}<edXML:DocumentId>{from},2026/11/20,45/KH-THU</edXML:DocumentId>\
         <edXML:Code><edXML:CodeNumber>45</edXML:CodeNumber><edXML:CodeNotation>KH-THU</edXML:CodeNotation></edXML:Code>\
         <edXML:PromulgationInfo><edXML:Place>Hà Nội</edXML:Place><edXML:PromulgationDate>2026/11/20</edXML:PromulgationDate></edXML:PromulgationInfo>\
         <edXML:DocumentType><edXML:Type>1</edXML:Type><edXML:TypeName>Công văn</edXML:TypeName></edXML:DocumentType>\
         <edXML:Subject>{subject}</edXML:Subject><edXML:OtherInfo><edXML:Priority>1</edXML:Priority></edXML:OtherInfo></edXML:MessageHeader>\
         <edXML:TraceHeaderList><edXML:Bussiness><edXML:BussinessDocType>0</edXML:BussinessDocType><edXML:BussinessDocReason>Văn bản mới</edXML:BussinessDocReason></edXML:Bussiness>\
         <edXML:TraceHeader><edXML:OrganId>{from}</edXML:OrganId><edXML:Timestamp>2026/11/20 08:09:10</edXML:Timestamp></edXML:TraceHeader></edXML:TraceHeaderList>\
         </edXML:edXMLHeader></edXML:edXMLEnvelope></edXML>\n",
        organ("From", from)
    )
    .into_bytes()
}

impl Forgery {
    /// A good document of 1 day.
    pub(crate) fn new(world: &World, sender: &str, recipients: &[&str]) -> Self {
        let now = world::now();
        let mut random = [0; 10];
        SystemRandom::new().fill(&mut random).unwrap();
        let mut codes: Vec<AgencyId> = recipients.iter().map(|code| code.parse().unwrap()).collect();
        codes.sort();
        let preamble = Preamble {
            axis: world::AXIS.parse().unwrap(),
            suite: Suite::S1,
            envelope: EnvelopeId::new(now, random),
            lane: world.lane,
            level: "ordinary".parse().unwrap(),
            sender: sender.parse().unwrap(),
            recipients: codes,
            legacy: Vec::new(),
            kind: EnvelopeKind::Document,
            priority: Priority::ORDINARY,
            created: now,
            expires: now + std::time::Duration::from_secs(86_400),
            supersedes: None,
        };
        Self {
            preamble,
            packet: packet(sender, recipients, "Văn bản giả"),
            service: world.soft_key(&format!("{sender}.service")),
            sealing: BTreeMap::new(),
            more: Vec::new(),
            envelope: None,
            container: None,
            manifest: None,
            payload: None,
            submission: None,
        }
    }

    /// Seals and says what the edits want.
    pub(crate) fn seal(self, world: &World) -> Sealed {
        let directory = world.directory();
        let now = world::now();
        let preamble = Raw::write(self.preamble).unwrap();
        let certificate = |code: &AgencyId| {
            let other = self.sealing.get(code).cloned();
            other.unwrap_or_else(|| directory.certificate(code, KeyUse::Sealing, now).unwrap())
        };
        let mut envelope = EnvelopeJson {
            preamble: preamble.digest(),
            axis: preamble.axis.clone(),
            envelope: preamble.envelope,
            lane: preamble.lane,
            level: preamble.level,
            kind: preamble.kind,
            sender: preamble.sender.clone(),
            recipients: preamble
                .recipients
                .iter()
                .map(|code| SealedTo { code: code.clone(), certificate: certificate(code).sha256() })
                .collect(),
            supersedes: None,
            trace: vec![TraceStamp { organ: preamble.sender.clone(), time: now }],
            attachments: Vec::<AttachmentDigest>::new(),
        };
        edit(&self.envelope, &mut envelope);

        let mut writer = ContainerWriter::new(Vec::new()).unwrap();
        let entries = [(PACKET_ENTRY.to_owned(), self.packet.clone())].into_iter().chain(self.more.clone());
        let entries = entries.chain([(ENVELOPE_ENTRY.to_owned(), Raw::write(envelope).unwrap().bytes().to_vec())]);
        for (name, bytes) in entries {
            writer.begin_entry(&name, "application/octet-stream", None).unwrap();
            writer.write_all(&bytes).unwrap();
            writer.end_entry().unwrap();
        }
        let written = writer.finish(|manifest| sign_detached(&self.service, manifest, Some(now))).unwrap();
        let mut container = written.sink;
        edit(&self.container, &mut container);

        let random = SystemRandom::new();
        let (key, params) = (FileKey::generate(&random).unwrap(), StreamParams::generate(&random).unwrap());
        let salt = ContentSalt::generate(&random).unwrap();
        let mut sealer = StreamSealer::new(&key, params, preamble.digest(), Vec::new());
        sealer.write_all(&container).unwrap();
        let (mut payload, _) = sealer.finish().unwrap();
        edit(&self.payload, &mut payload);

        let mut key_envelopes = Vec::new();
        for code in &preamble.recipients {
            let mut manifest = KeyManifest {
                recipient: code.clone(),
                suite: Suite::S1,
                preamble: preamble.digest(),
                file_key: *key.expose(),
                prefix: *params.prefix(),
                chunk_bytes: u32::try_from(params.chunk_bytes()).unwrap(),
                length: container.len() as u64,
                container: Digest::of(&container),
                salt: salt.0,
            };
            edit(&self.manifest, &mut manifest);
            let cms = seal_key(Raw::write(manifest).unwrap().bytes(), &certificate(code), SealingAlgorithm::EcdhP256)
                .unwrap();
            key_envelopes.push(wire::KeyEnvelope { recipient: code.to_string(), cms: cms.into() });
        }
        let node = directory.agency(&preamble.sender).and_then(|agency| agency.node.clone());
        let mut submission = Submission {
            event: EventUri::SubmissionAcceptance,
            actor: Actor { code: Some(preamble.sender.clone()), node: node.unwrap(), role: Role::Sender },
            time: now,
            envelope: preamble.envelope,
            preamble: preamble.digest(),
            payload: Digest::of(&payload),
            payload_length: payload.len() as u64,
            commitment: content_commitment(&salt, &written.manifest),
            key_envelopes: key_envelopes.iter().map(|e| (e.recipient.parse().unwrap(), Digest::of(&e.cms))).collect(),
            directory: directory.reference(&preamble.sender).unwrap(),
        };
        edit(&self.submission, &mut submission);
        Sealed { preamble, submission, key_envelopes, payload }
    }
}

fn edit<T>(edit: &Edit<T>, value: &mut T) {
    if let Some(edit) = edit {
        edit(value);
    }
}

impl Forger {
    /// Takes the keys of a node of the world (which must not run), connects and says Hello.
    pub(crate) async fn connect(world: &World, id: &str) -> Self {
        let node: NodeId = id.parse().unwrap();
        let directory = world.directory();
        let origin = directory.node(&node).unwrap().1.origin.clone();
        let key = LedgerKey::from_file(&origin, &world.node_folder(id).join("keys/ledger.pk8")).unwrap();
        let tag =
            StoreTag { axis: world::AXIS.into(), lane: world.lane.to_string(), kind: "forged".into(), id: id.into() };
        let volume = DirVolume::create(world.folder.path().join(format!("{id}-forged"))).unwrap();
        let (ledger, recovered) =
            truc_ledger::open(Arc::new(volume), tag, origin, key, truc_ledger::Settings::default(), &mut Nothing)
                .unwrap();
        let relay = Self::dial(world, &format!("{id}.tls")).await.unwrap();
        let mut forger = Self { node, ledger, relay, next_leaf: recovered.next_leaf, events: None, seen: Vec::new() };
        forger.hello(world).await.unwrap();
        forger
    }

    /// A connection to the relay under a certificate of the world.
    pub(crate) async fn dial(world: &World, tls: &str) -> Result<RelayClient<Channel>, truc_link::ConnectError> {
        let relay = world.issued("relay.tls").fingerprint();
        let admission = move |fingerprint: &Digest| {
            if *fingerprint == relay {
                Ok(world::RELAY.parse::<NodeId>().unwrap())
            } else {
                Err(NotAdmitted::Unlisted(*fingerprint))
            }
        };
        let link = Link::new(world.lane, world.identity(tls), world.link_trust(), admission);
        let connected = link
            .connect(&world.relay_address().to_string(), &world::RELAY.parse().unwrap(), world::patiently())
            .await?;
        Ok(RelayClient::new(connected.channel).max_decoding_message_size(16 << 20))
    }

    async fn hello(&mut self, world: &World) -> Result<wire::HelloReply, tonic::Status> {
        let mine = if self.next_leaf > 0 { self.ledger.head().note.to_string().into_bytes() } else { Vec::new() };
        let request = wire::HelloRequest {
            axis: world::AXIS.into(),
            lane: world.lane.to_string(),
            node: self.node.to_string(),
            held_of_you: bytes::Bytes::new(),
            mine: mine.into(),
            directory_version: world.directory().version(),
        };
        Ok(self.relay.hello(request).await?.into_inner())
    }

    /// Appends a leaf to the forger's own ledger and proves it.
    pub(crate) async fn leaf(&mut self, leaf: Vec<u8>) -> wire_v1::ProvenLeaf {
        let (sender, done) = tokio::sync::oneshot::channel();
        let record = Record::with_leaf(Vec::new(), leaf.clone());
        self.ledger.submit(vec![record], Box::new(move |_| _ = sender.send(()))).unwrap();
        done.await.unwrap();
        let index = self.next_leaf;
        self.next_leaf += 1;
        prove(&self.ledger, leaf, index, &self.ledger.head()).unwrap()
    }

    /// The request that offers a sealed forgery.
    pub(crate) async fn request(&mut self, sealed: &Sealed) -> wire::OfferRequest {
        let submission = self.leaf(Raw::write(sealed.submission.clone()).unwrap().bytes().to_vec()).await;
        let inline = sealed.payload.len() < truc_proto::limits::INLINE_PAYLOAD_BYTES_MAX;
        wire::OfferRequest {
            packed_key_envelopes: Default::default(),
            preamble: sealed.preamble.bytes().clone(),
            submission: Some(submission),
            key_envelopes: sealed.key_envelopes.clone(),
            payload: if inline { sealed.payload.clone().into() } else { bytes::Bytes::new() },
        }
    }

    pub(crate) async fn offer(&mut self, sealed: &Sealed) -> Outcome {
        let request = self.request(sealed).await;
        self.offer_request(request).await
    }

    pub(crate) async fn offer_request(&mut self, request: wire::OfferRequest) -> Outcome {
        self.relay.offer(request).await.unwrap().into_inner().outcome.unwrap()
    }

    /// Offers what the relay must take; uploads it when it is long.
    pub(crate) async fn deliver(&mut self, sealed: &Sealed) -> wire_v1::ProvenLeaf {
        match self.offer(sealed).await {
            Outcome::Accepted(leaf) => leaf,
            Outcome::NeedFrom(0) => {
                let mut offset = 0;
                let mut chunks = Vec::new();
                for piece in sealed.payload.chunks(1 << 20) {
                    let data = bytes::Bytes::copy_from_slice(piece);
                    chunks.push(wire::UploadChunk {
                        sender: sealed.preamble.sender.to_string(),
                        envelope: sealed.id(),
                        offset,
                        data,
                    });
                    offset += piece.len() as u64;
                }
                let reply = self.relay.upload(tokio_stream::iter(chunks)).await.unwrap().into_inner();
                match reply.outcome.unwrap() {
                    wire::upload_reply::Outcome::Accepted(leaf) => leaf,
                    other => panic!("the relay does not take it: {other:?}"),
                }
            }
            other => panic!("the relay does not take it: {other:?}"),
        }
    }

    /// Offers what the relay must refuse.
    pub(crate) async fn refused(&mut self, sealed: &Sealed, reason: &str) -> wire_v1::Refusal {
        let outcome = self.offer(sealed).await;
        let Outcome::Refused(refusal) = outcome else { panic!("{reason} was wanted: {outcome:?}") };
        super::check_refusal(&refusal);
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        refusal
    }

    /// Waits until the relay hands over an event of others about an envelope that fits.
    pub(crate) async fn event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        if self.events.is_none() {
            self.events = Some(self.relay.watch(wire::WatchRequest {}).await.unwrap().into_inner());
        }
        let found = tokio::time::timeout(truc_tests::wait::PATIENCE, self.next_event(&wanted)).await;
        found.unwrap_or_else(|_| panic!("no event came: {what}; those that did: {:#?}", self.seen))
    }

    async fn next_event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let events = self.events.as_mut().unwrap();
        loop {
            if let Some(found) = self.seen.iter().find(|event| wanted(event)) {
                return found.clone();
            }
            let event = events.message().await.unwrap().expect("the stream of the relay does not end");
            let Some(watch_event::Event::Evidence(delivery)) = event.event else { continue };
            // One delivery may carry several events: all are kept for whoever asks next.
            let items = delivery.batch.unwrap().items.into_iter();
            self.seen.extend(items.filter_map(|item| Some(Raw::<Event>::parse(item.leaf).ok()?.into_value())));
        }
    }

    /// Waits for the consignment, or its failure, of an envelope for a code. Gives the reason of a failure.
    pub(crate) async fn outcome(&mut self, sealed: &Sealed, code: &str) -> Option<String> {
        let (envelope, code): (_, AgencyId) = (sealed.preamble.envelope, code.parse().unwrap());
        let event = self
            .event("an outcome", |event| {
                let terminal =
                    matches!(event.event, EventUri::ContentConsignment | EventUri::ContentConsignmentFailure);
                terminal && event.envelope == Some(envelope) && event.recipient.as_ref() == Some(&code)
            })
            .await;
        event.reason.map(|reason| reason.to_string())
    }
}

/// A moment by milliseconds from now.
pub(crate) fn from_now(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(world::now().unix_ms() + ms)
}
