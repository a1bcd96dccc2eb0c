//! A development PKI as a directory. Never overwrites: a name that is there already refuses the whole run.
//!
//! ```text
//! DIR/ (0700)
//!   anchors.pem         the root: trust anchor            intermediates.pem   the sub-CA
//!   operator.pem        the axis operator's certificate alone, to be pinned
//!   crl/root.pem  crl/sub.pem                             revocation lists, in force for a year
//!   ca/root.key  ca/sub.key                               keys of the authorities, to issue or revoke more with openssl
//!   operator/operator.*                                   signs directories
//!   relay/tls.*  relay/node.*                             the relay's connection and checkpoint certificates
//!   nodes/<node>/tls.*  nodes/<node>/node.*               the same for each node
//!   agencies/<code>/service.*  sealing.*  seal.*  person.*
//!   services/tsa.*  services/ocsp.*                       time-stamping authority, OCSP responder
//!   revoked/service.*                                     a sample that crl/sub.pem revokes (keyCompromise)
//! ```
//! Each `X.*` is four files: `X.pem` (certificate, then sub-CA), `X.key` (PKCS#8 PEM, 0600), `X.p12` (PKCS#12, 0600) and
//! `X.password` (the PKCS#12 password without a line end, 0600).

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom, SystemRandom};
use truc_proto::Timestamp;

use crate::{
    RevocationReason,
    agencies::{AgencyPlan, Plan, is_groups},
    der::blocks,
    issued::{Issued, pem},
    pki::{Pki, PkiError, Request},
    profile::{Profile, Subject},
};

/// The files of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFiles {
    /// Certificate and sub-CA, PEM.
    pub certificate: PathBuf,
    /// PKCS#8 PEM.
    pub key: PathBuf,
    /// PKCS#12.
    pub pkcs12: PathBuf,
    /// The password of the PKCS#12 file.
    pub password: PathBuf,
}

impl KeyFiles {
    /// The four files of the key that is called `stem`, e.g. `DIR/nodes/H26/tls`.
    #[must_use]
    pub fn at(stem: &Path) -> Self {
        let with = |end: &str| stem.with_extension(end);
        Self { certificate: with("pem"), key: with("key"), pkcs12: with("p12"), password: with("password") }
    }
}

/// A written tree: where everything stands in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    /// The directory.
    pub root: PathBuf,
}

impl Tree {
    /// The trust anchor, PEM.
    #[must_use]
    pub fn anchors(&self) -> PathBuf {
        self.root.join("anchors.pem")
    }

    /// The sub-CA, PEM.
    #[must_use]
    pub fn intermediates(&self) -> PathBuf {
        self.root.join("intermediates.pem")
    }

    /// The operator's certificate alone, PEM.
    #[must_use]
    pub fn operator_certificate(&self) -> PathBuf {
        self.root.join("operator.pem")
    }

    /// The revocation lists of root and sub-CA, PEM.
    #[must_use]
    pub fn crls(&self) -> [PathBuf; 2] {
        ["crl/root.pem", "crl/sub.pem"].map(|name| self.root.join(name))
    }

    /// The operator's key.
    #[must_use]
    pub fn operator(&self) -> KeyFiles {
        self.files("operator/operator")
    }

    /// A key of the relay: `tls` or `node`.
    #[must_use]
    pub fn relay(&self, which: &str) -> KeyFiles {
        self.files(&format!("relay/{which}"))
    }

    /// A key of a node: `tls` or `node`.
    #[must_use]
    pub fn node(&self, id: &str, which: &str) -> KeyFiles {
        self.files(&format!("nodes/{id}/{which}"))
    }

    /// A key of an agency: `service`, `sealing`, `seal` or `person`.
    #[must_use]
    pub fn agency(&self, code: &str, which: &str) -> KeyFiles {
        // Not `with_extension` on the code: its dots stand in the folder's name, not in the file's.
        self.files(&format!("agencies/{code}/{which}"))
    }

    /// A newer revocation list of the sub-CA, DER, that names these serial numbers, each revoked at this moment for a lost key.
    ///
    /// # Errors
    /// When the sub-CA's files cannot be read, or it cannot sign.
    pub fn sub_list(
        &self,
        revoked: &[(&[u8], Timestamp)],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<u8>, TreeError> {
        let failed = |source| TreeError::Pki { name: "crl".to_owned(), source };
        let read = |path: &Path| {
            let text = fs::read_to_string(path).map_err(|source| TreeError::Write { path: path.to_owned(), source })?;
            blocks(&text).into_iter().next().ok_or(TreeError::Pki { name: "crl".to_owned(), source: PkiError::Key })
        };
        let (certificate, key) = (read(&self.intermediates())?, read(&self.root.join("ca/sub.key"))?);
        crate::pki::list_of(&certificate, &key, revoked, from, to).map_err(failed)
    }

    /// Answers a request (PKCS#10, PEM) as it stands: its subject, uses and names, for four years. The certificate and the sub-CA's, PEM.
    ///
    /// # Errors
    /// When the request or the sub-CA's files cannot be read, or the request's signature does not hold.
    pub fn answer(&self, request_pem: &str, now: Timestamp) -> Result<String, TreeError> {
        let failed = |source| TreeError::Pki { name: "an answer".to_owned(), source };
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Ok(text) => blocks(&text).into_iter().next().ok_or_else(|| failed(PkiError::Key)),
            Err(source) => Err(TreeError::Read { path, source }),
        };
        let (certificate, key) = (read(self.intermediates())?, read(self.root.join("ca/sub.key"))?);
        crate::pki::answer_of(&certificate, &key, request_pem, now).map_err(failed)
    }

    /// Any key by its name in the layout, e.g. `services/tsa`.
    #[must_use]
    pub fn files(&self, stem: &str) -> KeyFiles {
        KeyFiles::at(&self.root.join(stem))
    }
}

/// Why a tree was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// Something stands where the tree would go.
    #[error("{} is there already and nothing was written; keys are never overwritten: name another directory, or move that away", .0.display())]
    Occupied(PathBuf),
    /// A code or id that cannot be a folder's name.
    #[error("{0:?} is not a code or id of 0-9 and A-Z, so no folder can be named after it")]
    Name(String),
    /// A certificate could not be made.
    #[error("cannot make {name}")]
    Pki {
        /// Its name in the layout.
        name: String,
        /// Why.
        source: PkiError,
    },
    /// The disk's fault.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The disk's fault.
    #[error("cannot write {}; what was written before it is incomplete: remove it and run again", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

const TOP: [&str; 10] = [
    "anchors.pem",
    "intermediates.pem",
    "operator.pem",
    "crl",
    "ca",
    "operator",
    "relay",
    "nodes",
    "agencies",
    "services",
];
const REVOKED: &str = "revoked";

/// Makes a PKI for the plan and writes it under `out`, which is created if missing. Reads the clock.
///
/// # Errors
/// When any top-level name of the layout exists in `out` (nothing is written then), or a certificate or file cannot be made.
pub fn write_tree(out: &Path, plan: &Plan) -> Result<Tree, TreeError> {
    check_names(plan)?;
    if let Some(name) = TOP.iter().chain([&REVOKED]).find(|name| out.join(name).symlink_metadata().is_ok()) {
        return Err(TreeError::Occupied(out.join(name)));
    }
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| TreeError::Pki { name, source }
    };
    let mut pki = Pki::new(plan.authority_keys, crate::now()).map_err(failed("the authorities"))?;
    let jobs = jobs(plan, pki.now());
    let issued = issue_all(&pki, &jobs)?;

    for (job, made) in jobs.iter().zip(&issued) {
        write_key(&out.join(&job.stem), made)?;
        if job.stem == "operator/operator" {
            write(&out.join("operator.pem"), made.issued.leaf_pem().as_bytes(), 0o644)?;
        }
        if job.stem.starts_with(REVOKED) {
            let at = pki.now().before(Duration::from_secs(3_600));
            pki.revoke(&made.issued, at, RevocationReason::KeyCompromise);
        }
    }
    write_authorities(out, &pki)?;
    Ok(Tree { root: out.to_owned() })
}

fn write_authorities(out: &Path, pki: &Pki) -> Result<(), TreeError> {
    let now = pki.now();
    let until = now + Duration::from_secs(365 * 86_400);
    let lists = pki
        .crls(now.before(Duration::from_secs(3_600)), until)
        .map_err(|source| TreeError::Pki { name: "crl".to_owned(), source })?;
    write(&out.join("anchors.pem"), pki.anchors_pem.as_bytes(), 0o644)?;
    write(&out.join("intermediates.pem"), pki.intermediates_pem.as_bytes(), 0o644)?;
    for ((name, list), key) in ["root", "sub"].iter().zip(&lists).zip(pki.authority_keys_pem()) {
        write(&out.join(format!("crl/{name}.pem")), pem("X509 CRL", list).as_bytes(), 0o644)?;
        write(&out.join(format!("ca/{name}.key")), key.as_bytes(), 0o600)?;
    }
    Ok(())
}

/// One key to make: where it goes and what it is.
struct Job {
    stem: String,
    request: Request,
}

struct Made {
    issued: Issued,
    pkcs12: Vec<u8>,
    password: String,
}

fn jobs(plan: &Plan, now: Timestamp) -> Vec<Job> {
    let axis = "Trục liên thông văn bản DEV";
    let mut jobs = Vec::new();
    let mut add = |stem: String, profile, subject| {
        let mut request = Request::new(profile, plan.keys, subject);
        if profile == Profile::TimeStamping {
            // What it stamps is to outlive those who signed it.
            request.not_after = Some(now + Duration::from_secs(10 * 365 * 86_400));
        }
        jobs.push(Job { stem, request });
    };
    let named = |name: &str| Subject::new(name).organization(axis);
    add("operator/operator".into(), Profile::Operator, named("Đơn vị vận hành trục liên thông văn bản"));
    add("services/tsa".into(), Profile::TimeStamping, named("Dịch vụ cấp dấu thời gian"));
    add("services/ocsp".into(), Profile::Ocsp, named("Dịch vụ OCSP"));
    add("relay/tls".into(), Profile::Tls, Subject::endpoint(&plan.relay));
    add("relay/node".into(), Profile::Node, named(&format!("Máy chuyển tiếp {}", plan.relay)));
    for node in plan.nodes() {
        add(format!("nodes/{node}/tls"), Profile::Tls, Subject::endpoint(node));
        add(format!("nodes/{node}/node"), Profile::Node, named(&format!("Nút trục {node}")));
    }
    for agency in &plan.agencies {
        for (name, profile) in [
            ("service", Profile::Service),
            ("sealing", Profile::Sealing),
            ("seal", Profile::Seal),
            ("person", Profile::Person),
        ] {
            add(format!("agencies/{}/{name}", agency.code), profile, subscriber(agency, profile));
        }
    }
    let sample = named("Dịch vụ đã bị thu hồi chứng thư");
    add(format!("{REVOKED}/service"), Profile::Service, sample);
    jobs
}

/// As the Committee names subscribers: agency `CN=UBND THÀNH PHỐ HÀ NỘI,O=…,L=Hà Nội,C=VN`; person with `OU=`.
fn subscriber(agency: &AgencyPlan, profile: Profile) -> Subject {
    let marked = format!("{} DEV", agency.name);
    let upper = agency.name.to_uppercase();
    let subject = match profile {
        Profile::Service => Subject::new(&format!("Dịch vụ trục văn bản - {upper}")),
        Profile::Sealing => Subject::new(&format!("Niêm văn bản - {upper}")),
        Profile::Person => Subject::new("Nguyễn Văn An").unit("Văn phòng DEV"),
        _ => Subject::new(&upper),
    };
    let subject = subject.organization(&marked);
    // The place is the name without its kind, where the name has one.
    let place = ["UBND thành phố ", "UBND tỉnh "].iter().find_map(|kind| agency.name.strip_prefix(kind));
    subject.locality(place.unwrap_or("Hà Nội"))
}

/// On all cores: an RSA-3072 key costs most of a second, and each PKCS#12 file tens of thousands of hash rounds.
fn issue_all(pki: &Pki, jobs: &[Job]) -> Result<Vec<Made>, TreeError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    let queue = Mutex::new(jobs.iter().enumerate());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let mut made: Vec<(usize, Made)> = std::thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            while let Some((index, job)) = next() {
                let one = make(pki, job).map_err(|source| TreeError::Pki { name: job.stem.clone(), source })?;
                mine.push((index, one));
            }
            Ok(mine)
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("issuing does not panic")?);
        }
        Ok(all)
    })?;
    made.sort_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, one)| one).collect())
}

fn make(pki: &Pki, job: &Job) -> Result<Made, PkiError> {
    let issued = pki.issue_with(job.request.clone())?;
    let mut random = [0; 15];
    SystemRandom::new().fill(&mut random).map_err(|_| PkiError::Random)?;
    let password = BASE32_NOPAD.encode(&random);
    Ok(Made { pkcs12: issued.pkcs12(&password)?, issued, password })
}

fn write_key(stem: &Path, made: &Made) -> Result<(), TreeError> {
    let files = KeyFiles::at(stem);
    write(&files.key, made.issued.key_pem.as_bytes(), 0o600)?;
    write(&files.certificate, made.issued.certificate_pem.as_bytes(), 0o644)?;
    write(&files.pkcs12, &made.pkcs12, 0o600)?;
    write(&files.password, made.password.as_bytes(), 0o600)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TreeError> {
    let written = || {
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(bytes)
    };
    written().map_err(|source| TreeError::Write { path: path.to_owned(), source })
}

fn check_names(plan: &Plan) -> Result<(), TreeError> {
    let codes = plan.agencies.iter().map(|agency| (agency.code.as_str(), '.', 35));
    let ids = plan.nodes().into_iter().chain([plan.relay.as_str()]).map(|id| (id, '-', 40));
    match codes.chain(ids).find(|(name, separator, longest)| !is_groups(name, *separator, *longest)) {
        Some((name, ..)) => Err(TreeError::Name(name.to_owned())),
        None => Ok(()),
    }
}
