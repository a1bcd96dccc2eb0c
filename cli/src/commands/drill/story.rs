//! What happens in the drill, in order.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};
use truc_evidence::{Confirmation, verify_revocation};
use truc_proto::{
    Raw, SignedBinding, SignedRevocation,
    node_v1::{
        CertificatesRequest, ImportCertificateRequest, KeyState, ListInboxRequest, RequestCertificateRequest,
        RetireCertificateRequest, RevokeCertificateRequest, RotateRequest, StatusReply, StatusRequest,
        key_state::State,
    },
};

use super::Drill;
use crate::{
    clock::now,
    commands::{
        demo::{
            account::Account,
            network::{Cast, Network, NodePlan},
        },
        directory::state_as_asked,
        load::{Settled, Stream, Tally, find, settle},
    },
    output::Output,
};

/// How long anything may take before the drill says that it did not happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(5);
/// Documents on their way before anything happens.
const FIRST: usize = 10;
const CODES: &str = "code,name,valid_from\nA01,Văn phòng,2020-09-15T00:00:00+07:00\n";
const WHY: &str = "diễn tập: mất khóa";

/// The slots of the keys that are stolen.
const STOLEN: [&str; 3] = ["tls", "service:H26", "sealing:H26"];

pub(super) async fn play(dir: &Path, every: Duration, output: &Output) -> anyhow::Result<Drill> {
    let started = Instant::now();
    output.line(format!("Development PKI, directory, relay and nodes in {}", dir.display()));
    let nodes = vec![
        NodePlan::new("G22", vec![("G22", "Văn phòng Chính phủ")]),
        NodePlan::new("H26", vec![("H26", "UBND thành phố Hà Nội")]),
    ];
    let network =
        Network::start(dir, Cast { axis: "vn-drill", nodes, codes: CODES, changes: None, stamps: false }).await?;
    let drill = Drill { account: Account::default(), steps: Vec::new(), output: *output };
    let mut story = Story { network, drill, every };
    story.drill.account.fact("dir", json!(dir));
    let played = async {
        story.stolen().await.context("H26's keys are stolen")?;
        story.lost().await.context("H26's sealing key is lost")
    };
    let played = played.await;
    let Story { network, mut drill, .. } = story;
    network.stop().await;
    played?;
    drill.account.took = started.elapsed();
    Ok(drill)
}

struct Story {
    network: Network,
    drill: Drill,
    every: Duration,
}

/// Mail that flows until it is told to stop.
struct Flow {
    from: &'static str,
    to: &'static str,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Tally>,
}

impl Story {
    /// The keys by which H26 connects, signs and is sealed to are in other hands, while mail flows.
    async fn stolen(&mut self) -> anyhow::Result<()> {
        self.drill.chapter(
            "A machine with H26's keys is stolen while mail flows both ways",
            "Máy chứa các khóa của H26 bị mất trong khi văn bản vẫn lưu thông",
        );
        let flows = [self.flow("G22", "H26").await?, self.flow("H26", "G22").await?];
        self.until("mail flows", async |story| {
            Ok((story.received("H26").await? >= FIRST && story.received("G22").await? >= FIRST).then_some(()))
        })
        .await?;
        let before: BTreeMap<String, String> =
            self.keys().await?.into_iter().map(|key| (key.slot, key.certificate)).collect();
        let (thief, _connected) = self.network.connect_with_copy("H26").await.context("connect with the stolen key")?;

        let declared = Instant::now();
        let requests = self.declare(&before).await?;
        self.drill.step(
            declared,
            "declared by the cipher administrator; the node does nothing more with the keys",
            "quản trị mật mã khai báo; nút ngừng dùng các khóa",
        );
        self.until("H26 to be away", async |story| Ok((!story.status("H26").await?.connected).then_some(()))).await?;
        self.drill.step(declared, "H26 has closed its connection", "H26 đã đóng kết nối");
        let held = self.one("H26", "G22", "stolen").await?;
        self.drill.promise(
            "what H26 sends meanwhile is held, not refused",
            "văn bản H26 gửi đi được giữ, không bị từ chối",
            held.held == 1 && held.refused.is_empty(),
            held.refused.join("; "),
        );
        self.drill.promise(
            "a copy of the key connects until the operator has acted",
            "trước khi đơn vị vận hành xử lý, bản sao khóa vẫn kết nối được",
            !thief.peers().is_empty(),
            "which is why it hurries",
        );

        let acting = Instant::now();
        let signers = self.operator_revokes(&requests).await?;
        self.drill.step(
            acting,
            "the operator has checked the requests, signed the next version, published it",
            "đơn vị vận hành đã kiểm tra yêu cầu, ký và phát hành danh bạ",
        );
        self.drill.promise(
            "the operator can tell that H26 asks",
            "đơn vị vận hành xác nhận được chính H26 yêu cầu",
            signers.iter().all(|signers| *signers > 0),
            format!("{signers:?} certificates signed beside the ledger's key"),
        );
        self.until("the relay to close the thief's connection", async |_| Ok(thief.peers().is_empty().then_some(())))
            .await?;
        self.drill.step(
            acting,
            "the relay has closed what was connected with the stolen key",
            "trục đã đóng kết nối dùng khóa bị mất",
        );
        let again = self.network.connect_with_copy("H26").await.err().map(|error| format!("{error:#}"));
        self.drill.promise(
            "the relay lets the stolen key in no more",
            "trục không cho khóa bị mất kết nối nữa",
            again.is_some(),
            again.unwrap_or_default(),
        );
        self.until_version("G22").await?;
        self.drill.step(acting, "G22 seals nothing more to the stolen key", "G22 ngừng niêm theo khóa bị mất");
        let waits = self.one("G22", "H26", "stolen").await?;
        self.drill.promise(
            "mail to H26 is held by its sender, not refused",
            "văn bản gửi H26 được bên gửi giữ, không bị từ chối",
            waits.held == 1 && waits.refused.is_empty(),
            waits.refused.join("; "),
        );

        let renewing = Instant::now();
        self.renew(&STOLEN).await?;
        self.drill.step(
            renewing,
            "successors requested, certified, imported, bound by the operator's next version",
            "đã xin, cấp, nạp khóa mới và gắn vào danh bạ",
        );
        self.until("H26 to be back", async |story| {
            let status = story.status("H26").await?;
            Ok((status.connected && story.keys().await?.iter().filter(|key| key.state() == State::InUse).count() == 4)
                .then_some(()))
        })
        .await?;
        self.drill.step(
            declared,
            "since the declaration: H26 is back under its new keys",
            "kể từ khi khai báo: H26 hoạt động lại với khóa mới",
        );
        let first: Vec<String> = held.envelopes.into_iter().collect();
        self.settled("H26", &first).await?;
        self.settled("G22", &waits.envelopes).await?;
        self.drill.step(
            declared,
            "since the declaration: what was held has arrived",
            "kể từ khi khai báo: văn bản được giữ đã đến nơi",
        );
        for flow in flows {
            self.end(flow).await?;
        }
        Ok(())
    }

    /// Nobody has H26's sealing key any more, H26 included, while something sealed to it is on its way.
    async fn lost(&mut self) -> anyhow::Result<()> {
        self.drill.chapter(
            "H26's sealing key is destroyed while a document sealed to it is on its way",
            "Khóa mở niêm của H26 bị hủy trong khi còn văn bản niêm theo khóa đó",
        );
        let before = self.in_use("sealing:H26").await?;
        self.network.stop_relay().await?;
        let on_its_way = self.one("G22", "H26", "on-its-way").await?;
        let [on_its_way] = on_its_way.envelopes.as_slice() else { anyhow::bail!("G22 did not take a document") };
        self.network.stop_node("G22").await?;
        self.network.start_relay().await?;
        self.until("H26 to be back", async |story| Ok(story.status("H26").await?.connected.then_some(()))).await?;

        let declared = Instant::now();
        let requests = self.declare(&BTreeMap::from([("sealing:H26".to_owned(), before.clone())])).await?;
        self.operator_revokes(&requests).await?;
        self.until_version("H26").await?;
        let request = RetireCertificateRequest { certificate: before, why: WHY.into(), now: false };
        self.network.administrator("H26").await?.retire_certificate(request).await?;
        self.drill.step(
            declared,
            "declared, revoked by the operator, destroyed",
            "đã khai báo, đơn vị vận hành thu hồi, đã hủy",
        );
        let delivering = Instant::now();
        self.network.start_node("G22").await?;
        self.until_version("G22").await?;
        let envelope = on_its_way.clone();
        self.until("H26 to say that it cannot open the document", async |story| {
            let item = find(&mut story.network.node("G22").await?, &envelope).await?;
            Ok(item.filter(|item| item.recipients.iter().any(|to| to.state == "failed")).map(drop))
        })
        .await?;
        self.drill.step(
            delivering,
            "H26 has said that it cannot open what was sealed to the lost key",
            "H26 đã báo không mở được văn bản niêm theo khóa bị mất",
        );
        let held = self.one("G22", "H26", "lost").await?;
        self.drill.promise(
            "mail to a code without a sealing key is held",
            "văn bản gửi mã chưa có khóa mở niêm được giữ",
            held.held == 1 && held.refused.is_empty(),
            held.refused.join("; "),
        );
        let count = self.received("H26").await?;
        self.renew(&["sealing:H26"]).await?;
        self.settled("G22", &held.envelopes).await?;
        self.until("the document to come again", async |story| {
            Ok((story.received("H26").await? >= count + 2).then_some(()))
        })
        .await?;
        self.drill.step(
            delivering,
            "what could not be opened was sealed anew by its sender and has arrived",
            "bên gửi đã tự niêm lại và văn bản đã đến nơi",
        );
        let received = self.received("H26").await?;
        self.drill.promise(
            "a lost sealing key leads to one new sealing, by itself",
            "mất khóa mở niêm: bên gửi tự niêm lại đúng một lần",
            received == count + 2,
            format!("{} more at H26: the one on its way, and the one held", received - count),
        );
        Ok(())
    }

    async fn flow(&self, from: &'static str, to: &'static str) -> anyhow::Result<Flow> {
        let (stop, stopped) = oneshot::channel();
        let stream = self.stream(from, to, "flow").await?;
        let task = tokio::spawn(stream.run(async { _ = stopped.await }));
        Ok(Flow { from, to, stop, task })
    }

    async fn stream(&self, from: &str, to: &str, name: &str) -> anyhow::Result<Stream> {
        let (from, to, name) = (from.to_owned(), to.to_owned(), format!("{name}-{from}"));
        Ok(Stream { node: self.network.node(&from).await?, from, to, name, every: self.every })
    }

    /// One document; what became of it at its own node.
    async fn one(&self, from: &str, to: &str, name: &str) -> anyhow::Result<Tally> {
        Ok(self.stream(from, to, name).await?.one().await)
    }

    /// All of a flow has arrived once.
    async fn end(&mut self, flow: Flow) -> anyhow::Result<()> {
        let Flow { from, to, stop, task } = flow;
        // It may have ended by itself; then its tally says so.
        let _ = stop.send(());
        let tally = task.await.context("a flow of mail panicked")?;
        let settled = self.settled(from, &tally.envelopes).await?;
        let count = tally.envelopes.len();
        let again = self.doubled(to).await?;
        let detail = format!(
            "{count} documents, {} of them held first, {} refused, {} missing, {again} twice; longest acceptance {} ms",
            tally.held,
            tally.refused.len(),
            settled.missing.len(),
            tally.longest.as_millis()
        );
        let held =
            count > FIRST && tally.refused.is_empty() && settled.arrived == count && again == 0 && tally.doubled() == 0;
        self.drill.promise(
            &format!("from {from} to {to} nothing is lost, doubled or refused"),
            "không mất, không trùng, không bị từ chối",
            held,
            detail,
        );
        self.drill.promise(
            &format!("every receipt of what {from} sent is final"),
            "mọi biên nhận đều hoàn chỉnh",
            settled.proven == count,
            format!("{} of {count}", settled.proven),
        );
        Ok(())
    }

    async fn settled(&self, from: &str, envelopes: &[String]) -> anyhow::Result<Settled> {
        settle(&mut self.network.node(from).await?, envelopes, PATIENCE).await
    }

    async fn declare(&self, certificates: &BTreeMap<String, String>) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut admin = self.network.administrator("H26").await?;
        let mut requests = Vec::new();
        // The connection last: whoever asks the node from elsewhere may need it.
        for slot in STOLEN.iter().rev() {
            let Some(certificate) = certificates.get(*slot) else { continue };
            let request =
                RevokeCertificateRequest { certificate: certificate.clone(), why: WHY.into(), ..Default::default() };
            requests.push(admin.revoke_certificate(request).await?.into_inner().request.to_vec());
        }
        Ok(requests)
    }

    /// Checked, stated, signed, published. How many certificates signed each request.
    async fn operator_revokes(&mut self, requests: &[Vec<u8>]) -> anyhow::Result<Vec<usize>> {
        let mut signers = Vec::new();
        let version = self.network.sign_next(|folder, trust| {
            let newest = folder.newest(trust, now())?.context("the operator has a version")?;
            for request in requests {
                let signed = Raw::<SignedRevocation>::parse(request.clone())?;
                let verified = verify_revocation(&signed, &newest, now())?;
                signers.push(verified.signers.len());
                state_as_asked(folder, trust, &verified.request, now())?;
            }
            Ok(())
        })?;
        self.network.publish(&version).await?;
        Ok(signers)
    }

    /// Other keys for these slots, from the request to the version that binds them.
    async fn renew(&mut self, slots: &[&str]) -> anyhow::Result<()> {
        let mut admin = self.network.administrator("H26").await?;
        for slot in slots {
            let request = RequestCertificateRequest { slot: (*slot).to_owned(), why: WHY.into(), ..Default::default() };
            let asked = admin.request_certificate(request).await?.into_inner();
            let certificates = self.network.answer(&asked.request_pem)?.into_bytes().into();
            admin
                .import_certificate(ImportCertificateRequest { certificates, why: WHY.into(), ..Default::default() })
                .await?;
        }
        let reply = admin.rotate(RotateRequest { why: WHY.into(), ..Default::default() }).await?.into_inner();
        let binding = Raw::<SignedBinding>::parse(reply.binding)?;
        // Where no key in force is left to speak for them, the operator calls back.
        let confirmed = Confirmation { sealing: false, endorsement: !reply.unproven.is_empty() };
        let version =
            self.network.sign_next(|folder, trust| folder.add(&[binding], None, confirmed, trust, now()).map(drop))?;
        self.network.publish(&version).await
    }

    async fn keys(&self) -> anyhow::Result<Vec<KeyState>> {
        let reply = self.network.administrator("H26").await?.certificates(CertificatesRequest {}).await?;
        Ok(reply.into_inner().keys)
    }

    async fn in_use(&self, slot: &str) -> anyhow::Result<String> {
        let keys = self.keys().await?;
        let key = keys.into_iter().find(|key| key.slot == slot && key.state() == State::InUse);
        Ok(key.with_context(|| format!("no key of {slot} is in use"))?.certificate)
    }

    async fn status(&self, id: &str) -> anyhow::Result<StatusReply> {
        Ok(self.network.node(id).await?.status(StatusRequest {}).await?.into_inner())
    }

    /// A node uses the operator's newest version.
    async fn until_version(&self, id: &str) -> anyhow::Result<()> {
        let version = self.network.newest_version()?;
        self.until("the node to use the version", async |story| {
            Ok((story.status(id).await?.directory_version >= version).then_some(()))
        })
        .await
    }

    async fn inbox(&self, code: &str) -> anyhow::Result<Vec<String>> {
        let mut node = self.network.node(code).await?;
        let (mut all, mut page) = (Vec::new(), String::new());
        loop {
            let request =
                ListInboxRequest { code: code.into(), with_confirmed: true, page_size: 500, page_token: page };
            let reply = node.list_inbox(request).await?.into_inner();
            all.extend(reply.items.into_iter().map(|item| item.subject));
            page = reply.next_page_token;
            if page.is_empty() {
                return Ok(all);
            }
        }
    }

    async fn received(&self, code: &str) -> anyhow::Result<usize> {
        Ok(self.inbox(code).await?.len())
    }

    /// Documents of a flow that a code has more than once: each has its own subject.
    async fn doubled(&self, code: &str) -> anyhow::Result<usize> {
        let mut subjects = self.inbox(code).await?;
        subjects.retain(|subject| subject.contains("flow"));
        let all = subjects.len();
        subjects.sort_unstable();
        subjects.dedup();
        Ok(all - subjects.len())
    }

    /// Looks until there is something.
    async fn until<T>(&self, what: &str, look: impl AsyncFn(&Self) -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            if let Some(found) = look(self).await? {
                return Ok(found);
            }
            ensure!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
            tokio::time::sleep(GLANCE).await;
        }
    }
}
